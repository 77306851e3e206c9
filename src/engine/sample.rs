//! Samples: each cluster is looked at now and then, so that an incident can be compared with what was normal.
//!
//! A look that was made for another reason shortly before is as good. A server that does not answer is left out of a
//! sample, and that is said; of a cluster in which none does, there is no sample.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use crate::engine::{Engine, LookError};
use crate::model::breakdown::{By, Dimension};
use crate::model::history::{SAMPLED, Sample};
use crate::model::printable::excerpt;
use crate::model::sampling::{LookCost, Pace};
use crate::model::snapshot::{Coverage, ServerCoverage, Snapshot};
use crate::observe::wishes::Wishes;
use crate::store::baselines::{Base, PackedSample};
use crate::store::{self, StoreError};
use crate::telemetry::metrics::{SampleFigures, SampleResult};

/// How many keys a transaction notes, beside the sample.
const KEYS_A_TRANSACTION: usize = 500;

/// How many keys of a dimension a sample notes; the others have their turn with the next.
const KEYS_A_SAMPLE: usize = 2000;

/// For how long a key that was noted is not noted again.
const NOTED_AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// How many keys are known to be noted before it is begun anew.
const MOST_NOTED: usize = 100_000;

/// The share of its processors from which on a server is hot.
const HOT: f64 = 0.8;

/// What is remembered between two samples of a cluster.
#[derive(Debug)]
pub struct Sampler {
    cluster: String,
    pace: Pace,
    /// What the next sample can be packed with.
    base: Option<Base>,
    last_at: Option<Timestamp>,
    /// Servers that did not let everything be seen.
    troubled: BTreeSet<String>,
    noted: Noted,
    /// When a look last saw every key of a dimension; read from the store once.
    whole_looks: Option<BTreeMap<Dimension, Timestamp>>,
}

/// The keys that were noted lately, hashed.
#[derive(Debug)]
struct Noted {
    since: Timestamp,
    keys: HashSet<u64>,
    hashing: RandomState,
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The cluster could not be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// No server let anything be seen.
    #[error("no server of cluster `{0}` let its connections be seen")]
    Blind(String),
    /// It could not be kept.
    #[error("cannot keep a sample of cluster `{cluster}`")]
    Store {
        /// The cluster.
        cluster: String,
        /// Why not.
        source: StoreError,
    },
}

impl Sampler {
    /// How fast samples are taken.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Says which servers no longer, or again, let everything be seen.
    fn report(&mut self, coverage: &Coverage) {
        let cluster = &self.cluster;
        let (fallen, risen) = changed(&mut self.troubled, coverage);
        for server in fallen {
            let name = where_it_is(server);
            let error = server.error.as_deref().map(excerpt).unwrap_or_default();
            warn!(%cluster, nats.server = %name, "samples of cluster {cluster} are without all of {name}: {error}");
        }
        for name in risen {
            info!(%cluster, nats.server = %name, "samples of cluster {cluster} have all of {name} again");
        }
    }
}

/// Takes in which servers did not let everything be seen: those that did before, and those that do again.
fn changed<'a>(
    troubled: &mut BTreeSet<String>,
    coverage: &'a Coverage,
) -> (Vec<&'a ServerCoverage>, Vec<String>) {
    let now = coverage.servers.iter().filter(|server| server.error.is_some());
    let before = std::mem::replace(troubled, now.clone().map(where_it_is).collect());
    let fallen = now.filter(|server| !before.contains(&where_it_is(server))).collect();
    (fallen, before.difference(troubled).cloned().collect())
}

/// What stays the same of a server, however it answers: its monitoring URL, else its name.
fn where_it_is(server: &ServerCoverage) -> String {
    server.url.as_ref().map_or_else(|| excerpt(server.display_name()), ToString::to_string)
}

impl Noted {
    /// Forgets what was noted too long ago.
    fn age(&mut self, now: Timestamp) {
        let young = SignedDuration::ZERO..NOTED_AGAIN_AFTER;
        if !young.contains(&now.duration_since(self.since)) || self.keys.len() > MOST_NOTED {
            self.keys.clear();
            self.since = now;
        }
    }

    fn hash(&self, dimension: Dimension, key: &str) -> u64 {
        self.hashing.hash_one((dimension, key))
    }
}

/// The keys of a look that are to be noted, of one dimension.
struct News<'a> {
    dimension: Dimension,
    keys: Vec<&'a str>,
    /// Whether the look has shown every key, and all of them are noted then.
    whole: bool,
}

impl Engine {
    /// Begins to sample a cluster; `None` if samples are not wanted.
    pub fn sampler(&self, cluster: &str) -> Option<Sampler> {
        let sampling = &self.0.sampling;
        sampling.enabled.then(|| Sampler {
            cluster: cluster.to_owned(),
            pace: Pace::new(sampling.interval),
            base: None,
            last_at: None,
            troubled: BTreeSet::new(),
            noted: Noted { since: self.0.clock.now(), keys: HashSet::new(), hashing: RandomState::new() },
            whole_looks: None,
        })
    }

    /// Takes a sample of a cluster and keeps it, and notes what was seen for the first time; when the sample was taken.
    ///
    /// # Errors
    ///
    /// Nothing could be seen, or it could not be kept.
    #[tracing::instrument(name = "engine.samples.take", level = "debug", skip_all, fields(cluster = %sampler.cluster))]
    pub async fn sample(&self, sampler: &mut Sampler) -> Result<Timestamp, SampleError> {
        let stopwatch = self.0.clock.stopwatch();
        let taken = self.take_sample(sampler).await;
        let result = match &taken {
            Ok((_, true)) => SampleResult::Complete,
            Ok((_, false)) => SampleResult::Partial,
            Err(SampleError::Blind(_)) => SampleResult::Blind,
            Err(_) => SampleResult::Failed,
        };
        self.0.metrics.sampling.taken(&SampleFigures {
            cluster: &sampler.cluster,
            result,
            taken_at_seconds: taken.as_ref().ok().map(|(at, _)| at.as_duration().as_secs_f64()),
            took: stopwatch.elapsed(),
            pause: sampler.pace.pause(),
        });
        taken.map(|(at, _)| at)
    }

    /// Takes a sample; when, and whether it is complete.
    async fn take_sample(&self, sampler: &mut Sampler) -> Result<(Timestamp, bool), SampleError> {
        let wishes = Wishes::by(&By::standard());
        let recent = SignedDuration::try_from(self.0.sampling.interval / 2).unwrap_or_default();
        let since = self.0.clock.now().saturating_sub(recent).unwrap_or(Timestamp::MIN);
        let snapshot = self.look_since(&sampler.cluster, &wishes, since).await?;
        let coverage = &snapshot.coverage;
        sampler.pace.adapt(cost(coverage));
        sampler.report(coverage);
        if coverage.is_blind() {
            self.0.metrics.sampling.applications(&sampler.cluster, BTreeMap::new());
            return Err(SampleError::Blind(sampler.cluster.clone()));
        }
        let applications = application_connections(&snapshot, self.0.sampling.metric_applications);
        self.0.metrics.sampling.applications(&sampler.cluster, applications);
        if sampler.last_at != Some(snapshot.taken_at) {
            self.keep_sample(sampler, &snapshot).await.map_err(|source| {
                // perhaps it is the base that is gone
                sampler.base = None;
                SampleError::Store { cluster: sampler.cluster.clone(), source }
            })?;
            sampler.last_at = Some(snapshot.taken_at);
        }
        Ok((snapshot.taken_at, coverage.complete))
    }

    async fn keep_sample(&self, sampler: &mut Sampler, snapshot: &Snapshot) -> Result<(), StoreError> {
        let (cluster, at) = (sampler.cluster.clone(), snapshot.taken_at);
        if sampler.whole_looks.is_none() {
            let mut conn = self.0.store.read().await?;
            sampler.whole_looks = Some(store::first_seen::list_whole_looks(&mut conn, &cluster).await?);
        }
        let whole_looks = sampler.whole_looks.get_or_insert_default();
        sampler.noted.age(at);
        let news = news(snapshot, &sampler.noted);
        for News { dimension, keys, .. } in &news {
            for some in keys.chunks(KEYS_A_TRANSACTION) {
                let mut tx = self.0.store.write().await?;
                let not_seen_at = whole_looks.get(dimension).copied();
                store::first_seen::note(&mut tx, &cluster, *dimension, some, at, not_seen_at).await?;
                store::commit(tx).await?;
                let hashes: Vec<u64> = some.iter().map(|key| sampler.noted.hash(*dimension, key)).collect();
                sampler.noted.keys.extend(hashes);
            }
        }
        let packed = PackedSample::pack(&Sample::of(snapshot, self.0.sampling.top), sampler.base.take());
        let mut tx = self.0.store.write().await?;
        let base = store::baselines::insert(&mut tx, &cluster, packed).await?;
        for News { dimension, .. } in news.iter().filter(|news| news.whole) {
            store::first_seen::save_whole_look(&mut tx, &cluster, *dimension, at).await?;
        }
        store::commit(tx).await?;
        sampler.base = Some(base);
        whole_looks.extend(news.iter().filter(|news| news.whole).map(|news| (news.dimension, at)));
        Ok(())
    }
}

/// What a look has cost the servers.
fn cost(coverage: &Coverage) -> LookCost {
    let whole = coverage.servers.iter().filter(|server| server.error.is_none());
    let longest = whole.map(|server| server.duration_ms).max().unwrap_or(0);
    let strained = coverage.servers.iter().any(is_strained);
    LookCost { longest: Duration::from_millis(longest), strained }
}

/// Whether a server has begun to answer and did not come to an end, or has hardly any processor time left. One that does
/// not answer at all is not asked to do anything.
fn is_strained(server: &ServerCoverage) -> bool {
    let hot = server.vitals.as_ref().is_some_and(|vitals| {
        let cores = vitals.cores.unwrap_or(1).max(1);
        vitals.cpu_percent.is_some_and(|percent| percent >= HOT * 100.0 * cores as f64)
    });
    hot || (server.error.is_some() && server.total().is_some())
}

/// The keys that a look has shown and that were not noted lately.
fn news<'a>(snapshot: &'a Snapshot, noted: &Noted) -> Vec<News<'a>> {
    let news = SAMPLED.into_iter().filter_map(|dimension| {
        let breakdown = snapshot.breakdowns.get(&dimension.into())?;
        let named = breakdown.groups.iter().filter(|group| !group.absent).map(|group| group.key.as_str());
        let mut keys: Vec<&str> =
            named.filter(|key| !noted.keys.contains(&noted.hash(dimension, key))).collect();
        let whole = snapshot.coverage.complete
            && breakdown.other.figures.connections == 0
            && keys.len() <= KEYS_A_SAMPLE;
        keys.truncate(KEYS_A_SAMPLE);
        Some(News { dimension, keys, whole })
    });
    news.collect()
}

/// The connections of the `top` largest applications of a cluster by server and application; all others of a server are
/// `other`.
fn application_connections(snapshot: &Snapshot, top: usize) -> BTreeMap<(String, String), u64> {
    const OTHER: &str = "other";

    let mut connections = BTreeMap::new();
    let breakdown = |by: By| snapshot.breakdowns.get(&by).map_or([].as_slice(), |found| &found.groups);
    let largest: BTreeSet<&str> = breakdown(Dimension::Application.into())
        .iter()
        .map(|group| group.key.as_str())
        .filter(|application| *application != OTHER)
        .take(top)
        .collect();
    for server in breakdown(Dimension::Server.into()) {
        connections.insert((excerpt(&server.key), OTHER.to_owned()), server.figures.connections);
    }
    for group in breakdown(By::crossed(Dimension::Application, Dimension::Server)) {
        let (Some(application), Some(server)) =
            (group.keys.get(&Dimension::Application), group.keys.get(&Dimension::Server))
        else {
            continue;
        };
        if !largest.contains(application.as_str()) {
            continue;
        }
        let (server, count) = (excerpt(server), group.figures.connections);
        if let Some(other) = connections.get_mut(&(server.clone(), OTHER.to_owned())) {
            *other = other.saturating_sub(count);
        }
        // two applications may look alike once they are made visible
        *connections.entry((server, excerpt(application))).or_default() += count;
    }
    connections
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::model::vitals::ServerVitals;

    fn server(place: u16, total: Option<u64>, error: Option<&str>) -> ServerCoverage {
        ServerCoverage {
            url: Url::parse(&format!("http://127.0.0.1:{place}")).ok(),
            via: None,
            name: None,
            server_id: None,
            version: None,
            seen: 0,
            connz_total: total,
            varz_connections: None,
            max_connections: None,
            vitals: None,
            duration_ms: u64::from(place),
            bytes: 0,
            error: error.map(str::to_owned),
            counted_at: None,
        }
    }

    fn hot(percent: f64, cores: Option<u64>) -> ServerCoverage {
        let vitals = ServerVitals { cpu_percent: Some(percent), cores, ..ServerVitals::default() };
        ServerCoverage { vitals: Some(vitals), ..server(1, Some(1), None) }
    }

    #[test]
    fn a_server_that_fails_is_told_of_once_each_time() {
        let mut troubled = BTreeSet::new();
        let mut told = |errors: [Option<&str>; 2]| {
            let servers = errors.into_iter().zip(1..).map(|(error, place)| server(place, None, error));
            let coverage = Coverage::of(servers.collect(), 0);
            let (fallen, risen) = changed(&mut troubled, &coverage);
            (fallen.iter().map(|server| server.duration_ms).collect::<Vec<_>>(), risen.len())
        };
        assert_eq!(told([None, Some("silent")]), (vec![2], 0));
        assert_eq!(told([None, Some("refused now")]), (vec![], 0));
        assert_eq!(told([Some("silent"), Some("silent")]), (vec![1], 0));
        assert_eq!(told([None, None]), (vec![], 2));
        assert_eq!(told([None, Some("silent")]), (vec![2], 0));
    }

    #[test]
    fn what_does_not_answer_costs_nothing_and_what_does_not_come_to_an_end_is_strained() {
        let cost_of = |servers: Vec<ServerCoverage>| {
            let cost = cost(&Coverage::of(servers, 0));
            (cost.longest.as_millis(), cost.strained)
        };
        let whole = || server(40, Some(5), None);
        assert_eq!(cost_of(vec![whole(), server(30_000, None, Some("nobody there"))]), (40, false));
        assert_eq!(cost_of(vec![whole(), server(30_000, Some(9), Some("timeout"))]), (40, true));
        assert_eq!(cost_of(vec![]), (0, false));
        for (percent, cores, strained) in
            [(79.0, None, false), (80.0, None, true), (159.0, Some(2), false), (160.0, Some(2), true)]
        {
            assert_eq!(cost_of(vec![hot(percent, cores)]), (1, strained), "{percent} of {cores:?}");
        }
    }
}
