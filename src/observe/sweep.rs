//! A sweep: every server of a cluster asked at once, and what each let us see.

use std::collections::HashSet;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use url::Url;

use crate::clock::Clock;
use crate::model::application::ApplicationRules;
use crate::model::closed::{ClosedConnections, ClosedRing};
use crate::model::mapping::KnownServer;
use crate::model::remote_auth::RemoteAuth;
use crate::model::snapshot::{Coverage, ServerCoverage, Snapshot, Via};
use crate::model::vitals::ServerVitals;
use crate::nats::connz::{Connection, Envelope};
use crate::nats::monitoring::{ConnzOutcome, MonitoringClient, MonitoringError};
use crate::nats::varz::Varz;
use crate::observe::closed::ClosedTally;
use crate::observe::tally::{ServerFacts, Tally, TallyRules};
use crate::observe::users::UserMask;
use crate::observe::wishes::Wishes;

/// The servers of one cluster, and how to ask them.
#[derive(Debug, Clone)]
pub struct ClusterTargets {
    /// The cluster's configured name.
    pub name: String,
    /// Monitoring URLs.
    pub servers: Vec<Url>,
    /// How the monitoring ports want to be asked.
    pub auth: Option<RemoteAuth>,
}

/// Looks at clusters.
#[derive(Debug, Clone)]
pub struct Observer {
    client: MonitoringClient,
    applications: Arc<ApplicationRules>,
    users: UserMask,
    idle_after: Duration,
    clock: Clock,
}

/// What one server let us see, not yet added up.
struct ServerSweep {
    coverage: ServerCoverage,
    tally: Tally,
    closed: Option<ClosedSweep>,
}

/// What one server remembers of its closed connections, as far as it let us see that.
struct ClosedSweep {
    tally: ClosedTally,
    error: Option<MonitoringError>,
}

impl Observer {
    /// Makes an observer; clones share its connections.
    pub fn new(
        client: MonitoringClient,
        applications: Arc<ApplicationRules>,
        users: UserMask,
        idle_after: Duration,
        clock: Clock,
    ) -> Self {
        Self { client, applications, users, idle_after, clock }
    }

    /// What makes an application of a client's name.
    pub fn applications(&self) -> &Arc<ApplicationRules> {
        &self.applications
    }

    /// Looks at every server of a cluster, and counts what it is wished to tell.
    ///
    /// Always answers: what could not be seen is said in the snapshot's coverage.
    #[tracing::instrument(name = "observe.cluster.sweep", skip_all, fields(cluster = %cluster.name))]
    pub async fn sweep(&self, cluster: &ClusterTargets, wishes: &Wishes) -> Snapshot {
        let (taken_at, stopwatch) = (self.clock.now(), self.clock.stopwatch());
        let rules = TallyRules {
            by: wishes.by.clone(),
            applications: self.applications.clone(),
            users: self.users.clone(),
            idle_after_us: i64::try_from(self.idle_after.as_micros()).unwrap_or(i64::MAX),
            // at a whole second, and not before the look begins
            starts: wishes
                .starts
                .then(|| Timestamp::from_second(taken_at.as_second().saturating_add(1)).unwrap_or(taken_at)),
            hashing: RandomState::new(),
        };

        let mut sweeps = JoinSet::new();
        for (place, server) in cluster.servers.iter().enumerate() {
            let (observer, rules, server, auth) =
                (self.clone(), rules.clone(), server.clone(), cluster.auth.clone());
            let closed = wishes.closed;
            sweeps.spawn(async move {
                (place, observer.sweep_server(&server, auth.as_ref(), &rules, closed).await)
            });
        }
        // in the order of the configuration, so that the same cluster gives the same document
        let mut done = sweeps.join_all().await;
        done.sort_by_key(|(place, _)| *place);

        let mut all: Option<Tally> = None;
        let mut closed = wishes.closed.then(|| ClosedCluster::new(&rules, taken_at));
        let mut servers = Vec::with_capacity(done.len());
        for (_, mut sweep) in done {
            // one server under two addresses is counted once
            let id = sweep.coverage.server_id.as_ref();
            let twin =
                servers.iter().find(|other: &&ServerCoverage| id.is_some() && other.server_id.as_ref() == id);
            if let Some(twin) = twin {
                sweep.coverage = sweep.coverage.counted_as(twin);
                servers.push(sweep.coverage);
                continue;
            }
            if let (Some(all), Some(closed)) = (&mut closed, sweep.closed) {
                all.absorb(&sweep.coverage, closed);
            }
            servers.push(sweep.coverage);
            match &mut all {
                Some(all) => all.absorb(sweep.tally),
                None => all = Some(sweep.tally),
            }
        }
        Snapshot {
            cluster: cluster.name.clone(),
            taken_at,
            coverage: Coverage::of(servers, millis(stopwatch.elapsed())),
            breakdowns: all.map(Tally::into_breakdowns).unwrap_or_default(),
            closed: closed.map(ClosedCluster::into_closed),
        }
    }

    /// Asks a server of a cluster what it says of itself.
    ///
    /// # Errors
    ///
    /// No answer, or not the answer of a NATS server.
    pub async fn varz_of(
        &self,
        cluster: &ClusterTargets,
        server: &KnownServer,
    ) -> Result<Varz, MonitoringError> {
        let url = server.url.as_ref().expect("every server has one");
        self.client.varz(url, cluster.auth.as_ref()).await
    }

    /// Asks one server what it says of itself.
    ///
    /// # Errors
    ///
    /// No answer, or not the answer of a NATS server.
    pub async fn varz(&self, server: &Url, auth: Option<&RemoteAuth>) -> Result<Varz, MonitoringError> {
        self.client.varz(server, auth).await
    }

    /// Asks every server of a cluster at once what it says of its configuration, its resources and its counters: by
    /// what the server is called (its URL where it does not say), in the order of the configuration. One server under
    /// two addresses is told once.
    ///
    /// Two of these some time apart, or one and the vitals of an earlier look, make a
    /// [`Churn`](crate::model::vitals::Churn).
    #[tracing::instrument(name = "observe.cluster.vitals", skip_all, fields(cluster = %cluster.name))]
    pub async fn vitals(
        &self,
        cluster: &ClusterTargets,
    ) -> Vec<(String, Result<ServerVitals, MonitoringError>)> {
        let mut asked = JoinSet::new();
        for (place, server) in cluster.servers.iter().enumerate() {
            let (observer, server, auth) = (self.clone(), server.clone(), cluster.auth.clone());
            asked.spawn(async move {
                let varz = observer.varz(&server, auth.as_ref()).await;
                (place, server, varz)
            });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(place, ..)| *place);
        let mut told = HashSet::new();
        let first = answers.into_iter().filter(|(_, _, varz)| {
            varz.as_ref()
                .map_or(true, |varz| varz.server_id.is_empty() || told.insert(varz.server_id.clone()))
        });
        first
            .map(|(_, server, varz)| {
                (server_name(&server, varz.as_ref().ok()), varz.map(|varz| varz.vitals()))
            })
            .collect()
    }

    async fn sweep_server(
        &self,
        server: &Url,
        auth: Option<&RemoteAuth>,
        rules: &TallyRules,
        closed: bool,
    ) -> ServerSweep {
        let stopwatch = self.clock.stopwatch();
        let mut bytes = 0;
        let closed = if closed {
            let mut tally = ClosedTally::new(rules, self.clock.now().as_microsecond());
            let each = |envelope: &Envelope, connection: &Connection<'_>| tally.add(envelope, connection);
            let outcome = self.client.closed(server, auth, each).await;
            bytes += outcome.bytes;
            Some(ClosedSweep { tally, error: outcome.error })
        } else {
            None
        };
        let varz = self.client.varz(server, auth).await;
        let facts = ServerFacts {
            name: server_name(server, varz.as_ref().ok()),
            since_2_11: varz.as_ref().is_ok_and(Varz::redacts_tokens),
            now_us: self.clock.now().as_microsecond(),
        };
        let mut tally = Tally::new(rules, facts);
        let outcome = match &varz {
            // a port that does not even say who it is holds nobody up twice
            Err(error) if error.is_silence() => ConnzOutcome::default(),
            _ => {
                self.client.connz(server, auth, |envelope, connection| tally.add(envelope, connection)).await
            }
        };
        let mut coverage = coverage(server, varz, outcome, stopwatch.elapsed());
        coverage.bytes = coverage.bytes.saturating_add(bytes);
        ServerSweep { coverage, tally, closed }
    }
}

/// What the servers of a cluster remember of their closed connections.
struct ClosedCluster {
    tally: ClosedTally,
    servers: Vec<ClosedRing>,
    errors: Vec<String>,
}

impl ClosedCluster {
    fn new(rules: &TallyRules, now: Timestamp) -> Self {
        let tally = ClosedTally::new(rules, now.as_microsecond());
        Self { tally, servers: Vec::new(), errors: Vec::new() }
    }

    fn absorb(&mut self, server: &ServerCoverage, sweep: ClosedSweep) {
        let ring = sweep.tally.ring(server.display_name(), server.vitals.as_ref());
        if sweep.error.is_none() || ring.listed > 0 {
            self.servers.push(ring);
        }
        self.errors.extend(sweep.error.map(|error| error.to_string()));
        self.tally.absorb(sweep.tally);
    }

    fn into_closed(self) -> ClosedConnections {
        self.tally.into_closed(self.servers, self.errors)
    }
}

/// What to call a server: its name, else where it is.
fn server_name(server: &Url, varz: Option<&Varz>) -> String {
    let named = varz.map(|varz| varz.server_name.as_str()).filter(|name| !name.is_empty());
    named.unwrap_or_else(|| server.as_str().trim_end_matches('/')).to_owned()
}

fn coverage(
    server: &Url,
    varz: Result<Varz, MonitoringError>,
    outcome: ConnzOutcome,
    duration: Duration,
) -> ServerCoverage {
    let (varz, varz_error) = match varz {
        Ok(varz) => (Some(varz), None),
        Err(error) => (None, Some(error)),
    };
    let seen = outcome.envelope.read;
    // a page is a consistent list; a server that lists less than it claims has not let us see everything
    let short = outcome
        .envelope
        .total
        .filter(|total| *total > seen)
        .map(|total| format!("{}connz: lists {seen} connections and says that it has {total}", server));
    let mut errors: Vec<String> = varz_error.iter().chain(&outcome.error).map(ToString::to_string).collect();
    if outcome.error.is_none() {
        errors.extend(short);
    }
    let named = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    ServerCoverage {
        url: Some(server.clone()),
        via: (varz.is_some() || outcome.bytes > 0).then_some(Via::Http),
        name: varz.as_ref().and_then(|varz| named(&varz.server_name)),
        server_id: varz.as_ref().and_then(|varz| named(&varz.server_id)).or(outcome.envelope.server_id),
        version: varz.as_ref().and_then(|varz| named(&varz.version)),
        seen,
        connz_total: outcome.envelope.total,
        varz_connections: varz.as_ref().map(|varz| varz.connections),
        max_connections: varz.as_ref().and_then(|varz| varz.max_connections),
        vitals: varz.as_ref().map(Varz::vitals),
        duration_ms: millis(duration),
        bytes: outcome.bytes,
        error: (!errors.is_empty()).then(|| errors.join("; ")),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
