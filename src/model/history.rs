//! History: the compact samples of a cluster from before and since the problem, oldest first.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::breakdown::{Breakdown, Dimension};
use crate::model::snapshot::{ServerCoverage, Snapshot};
use crate::model::vitals::{Churn, ServerVitals};

/// The dimensions a sample has groups of.
pub const SAMPLED: [Dimension; 5] =
    [Dimension::Application, Dimension::Ip, Dimension::Account, Dimension::User, Dimension::Library];

/// What the sampler remembers of a cluster: enough to say what changed since when.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The samples, oldest first: every one of the last hour, fewer of the time before.
    pub samples: Vec<Sample>,
}

/// Fewer pairs of samples than this do not tell what is usual.
const FEWEST_PAIRS: usize = 3;

impl History {
    /// How many connections of a server usually end within a minute: between half of the samples it was less. Nothing
    /// if there are too few that tell.
    pub fn usual_closed_per_minute(&self, server: &str) -> Option<f64> {
        let vitals: Vec<ServerVitals> =
            self.samples.iter().filter_map(|sample| sample.vitals(server)).collect();
        let churn = vitals.windows(2).filter_map(|pair| Churn::between(server, &pair[0], &pair[1]));
        let mut closed: Vec<f64> = churn.map(|churn| churn.closed_per_minute()).collect();
        closed.sort_by(f64::total_cmp);
        (closed.len() >= FEWEST_PAIRS).then(|| closed[closed.len() / 2])
    }
}

/// A cluster at one instant, compact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sample {
    /// When it was taken.
    pub at: Timestamp,
    /// Whether every server let everything be seen.
    pub complete: bool,
    /// Each server that answered.
    pub servers: Vec<ServerSample>,
    /// The largest groups by dimension, exact, with what is not listed folded into `other`.
    #[schema(value_type = BTreeMap<String, SampledGroups>)]
    pub groups: BTreeMap<Dimension, SampledGroups>,
}

/// A server at one instant, compact.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerSample {
    /// The server's name.
    pub server: String,
    /// Clients connected.
    pub connections: u64,
    /// Connections attempted since the server started.
    pub attempts: Option<u64>,
    /// When the server started.
    pub started_at: Option<Timestamp>,
    /// Slow consumers since the start.
    pub slow_consumers: Option<u64>,
    /// Processor time in percent of one core.
    pub cpu_percent: Option<f64>,
    /// Resident memory in bytes.
    pub memory_bytes: Option<u64>,
}

/// The groups of one dimension at one instant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SampledGroups {
    /// Connections by key, the largest groups; the key of those without a value is the dimension's placeholder.
    pub groups: BTreeMap<String, u64>,
    /// Connections in no listed group.
    pub other: u64,
}

impl Sample {
    /// Makes a sample of a look, with the `top` largest groups of each dimension.
    pub fn of(snapshot: &Snapshot, top: usize) -> Self {
        let answered = snapshot.coverage.servers.iter().filter(|server| server.total().is_some());
        let groups = SAMPLED.into_iter().filter_map(|dimension| {
            let breakdown = snapshot.breakdowns.get(&dimension.into())?;
            Some((dimension, SampledGroups::of(breakdown, top)))
        });
        Self {
            at: snapshot.taken_at,
            complete: snapshot.coverage.complete,
            servers: answered.map(ServerSample::of).collect(),
            groups: groups.collect(),
        }
    }

    /// Keeps the `top` largest groups of each dimension and folds the rest into `other`.
    pub fn cut(mut self, top: usize) -> Self {
        for groups in self.groups.values_mut() {
            let mut list: Vec<_> = std::mem::take(&mut groups.groups).into_iter().collect();
            list.sort_by(|(one, few), (two, many)| many.cmp(few).then_with(|| one.cmp(two)));
            let rest = list.split_off(top.min(list.len()));
            groups.other = rest.iter().fold(groups.other, |sum, (_, count)| sum.saturating_add(*count));
            groups.groups = list.into_iter().collect();
        }
        self
    }

    /// Clients of all servers that answered, by their own word.
    pub fn connections(&self) -> u64 {
        self.servers.iter().fold(0, |sum, server| sum.saturating_add(server.connections))
    }

    /// Connections that were counted, in whatever groups.
    pub fn counted(&self) -> u64 {
        self.groups.values().next().map_or_else(|| self.connections(), SampledGroups::connections)
    }

    /// What a server said of itself, as far as it was kept.
    fn vitals(&self, server: &str) -> Option<ServerVitals> {
        let server = self.servers.iter().find(|known| known.server == server)?;
        Some(ServerVitals {
            at: Some(self.at),
            started_at: server.started_at,
            connections: server.connections,
            total_connections: server.attempts,
            ..ServerVitals::default()
        })
    }

    /// Connections of a group: exact if it is listed, 0 if everything is listed and it is not; otherwise unknown.
    pub fn group(&self, dimension: Dimension, key: &str) -> Option<u64> {
        let groups = self.groups.get(&dimension)?;
        match groups.groups.get(key) {
            Some(connections) => Some(*connections),
            None if groups.other == 0 => Some(0),
            None => None,
        }
    }
}

impl ServerSample {
    fn of(server: &ServerCoverage) -> Self {
        let vitals = server.vitals.as_ref();
        Self {
            server: server.display_name().to_owned(),
            connections: server.varz_connections.or(server.total()).unwrap_or(server.seen),
            attempts: vitals.and_then(|vitals| vitals.total_connections),
            started_at: vitals.and_then(|vitals| vitals.started_at),
            slow_consumers: vitals.and_then(|vitals| vitals.slow_consumers),
            cpu_percent: vitals.and_then(|vitals| vitals.cpu_percent),
            memory_bytes: vitals.and_then(|vitals| vitals.memory_bytes),
        }
    }
}

impl SampledGroups {
    fn of(breakdown: &Breakdown, top: usize) -> Self {
        let mut sampled = Self { groups: BTreeMap::new(), other: breakdown.other.figures.connections };
        let mut left = top;
        for group in &breakdown.groups {
            let connections = group.figures.connections;
            // what may be short of some is not exact
            if left > 0 && group.undercount == 0 {
                left -= 1;
                // a client may have the name of the placeholder
                let counted = sampled.groups.entry(group.key.clone()).or_default();
                *counted = counted.saturating_add(connections);
            } else {
                sampled.other = sampled.other.saturating_add(connections);
            }
        }
        sampled
    }

    /// Connections of all groups, listed or not.
    pub fn connections(&self) -> u64 {
        self.groups.values().fold(self.other, |sum, connections| sum.saturating_add(*connections))
    }
}

/// How many samples a history has of the last hour, and how many of the time before: one a minute, and a tenth more
/// because they are not taken in step.
const SAMPLES_OF_A_STRETCH: usize = 66;

/// How far before the end of a history there is one sample more each: as it was yesterday, and a week ago.
const LONG_BEFORE: [SignedDuration; 2] = [SignedDuration::from_hours(24), SignedDuration::from_hours(7 * 24)];

/// How far from these moments a sample may be that stands for them.
const NEAR: SignedDuration = SignedDuration::from_hours(1);

/// The most samples of a history.
pub const LONGEST_HISTORY: usize = 2 * SAMPLES_OF_A_STRETCH + LONG_BEFORE.len();

/// Chooses the samples of a history from `from` to `to` among those taken at `times`, oldest first: their places.
pub fn chosen(times: &[Timestamp], from: Timestamp, to: Timestamp) -> Vec<usize> {
    let earlier = |by: SignedDuration| to.saturating_sub(by).unwrap_or(Timestamp::MIN);
    let last_hour = earlier(SignedDuration::from_hours(1));
    let places = |from: Timestamp, to: Timestamp| {
        times.partition_point(|at| *at < from)..times.partition_point(|at| *at < to)
    };
    let end = times.partition_point(|at| *at <= to);
    let recent = places(from.max(last_hour), to).start..end;
    let mut chosen = spread(places(from, last_hour.max(from)));
    chosen.extend(spread(recent));
    for moment in LONG_BEFORE.map(earlier) {
        let distance = |place: usize| times[place].duration_since(moment).abs();
        let nearest = (0..end).min_by_key(|place| distance(*place));
        chosen.extend(nearest.filter(|place| distance(*place) <= NEAR));
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// Of many places, as many as there may be, evenly spread, the first and the last among them.
fn spread(places: std::ops::Range<usize>) -> Vec<usize> {
    let (first, count) = (places.start, places.len());
    if count <= SAMPLES_OF_A_STRETCH {
        return places.collect();
    }
    (0..SAMPLES_OF_A_STRETCH).map(|nth| first + nth * (count - 1) / (SAMPLES_OF_A_STRETCH - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: i64 = 1_790_000_000;

    fn at(minutes_before: i64) -> Timestamp {
        Timestamp::from_second(END - 60 * minutes_before).unwrap()
    }

    #[test]
    fn a_history_has_all_of_the_last_hour_some_of_before_and_yesterday_and_last_week() {
        let times: Vec<Timestamp> = (0..10 * 1440).rev().map(at).collect();
        let ages = |from: i64, to: i64| -> Vec<i64> {
            let chosen = chosen(&times, at(from), at(to));
            chosen.iter().map(|place| times.len() as i64 - 1 - *place as i64 - to).collect()
        };
        let six_hours = ages(360, 0);
        assert!(six_hours.len() <= LONGEST_HISTORY && six_hours.is_sorted_by(|one, two| one > two));
        assert_eq!(six_hours[..3], [7 * 1440, 1440, 360]);
        assert_eq!(six_hours[six_hours.len() - 61..], (0..61).rev().collect::<Vec<_>>());
        assert!(six_hours[2..].windows(2).all(|pair| pair[0] - pair[1] <= 6));
        assert_eq!(ages(30, 0).len(), 31 + 2);
        assert_eq!(ages(360, 100)[..3], [7 * 1440, 1440, 260]);
    }

    #[test]
    fn what_usually_ends_is_told_by_half_of_the_samples() {
        let sample = |minute: i64, attempts: Option<u64>, started: i64| Sample {
            at: at(100 - minute),
            complete: true,
            servers: vec![ServerSample {
                server: "n1".to_owned(),
                connections: 50,
                attempts,
                started_at: Some(at(1_000 - started)),
                ..ServerSample::default()
            }],
            groups: BTreeMap::new(),
        };
        let usual = |samples: &[Sample]| History { samples: samples.to_vec() }.usual_closed_per_minute("n1");
        // a deployment within one minute is not usual
        let mut samples: Vec<Sample> = [100, 106, 110, 500, 504, 509]
            .into_iter()
            .zip(0..)
            .map(|(attempts, minute)| sample(minute, Some(attempts), 0))
            .collect();
        assert_eq!(usual(&samples), Some(5.0));
        assert_eq!(History { samples: samples.clone() }.usual_closed_per_minute("n2"), None);
        assert_eq!(usual(&samples[..4]), Some(6.0));
        assert_eq!(usual(&samples[..3]), None, "two say too little");
        samples[1].servers[0].attempts = None;
        samples[3].servers[0].started_at = Some(at(900));
        assert_eq!(usual(&samples), None, "only what one run says is compared");
    }

    #[test]
    fn a_history_is_never_longer_than_it_may_be_and_is_empty_without_samples() {
        let dense: Vec<Timestamp> =
            (0..100_000).map(|nth| Timestamp::from_second(END - 200_000 + 2 * nth).unwrap()).collect();
        assert!(chosen(&dense, Timestamp::MIN, at(0)).len() <= LONGEST_HISTORY);
        assert_eq!(chosen(&[], at(60), at(0)), [0; 0]);
        assert_eq!(chosen(&[at(5000)], at(60), at(0)), [0; 0], "what is far from yesterday is not yesterday");
        assert_eq!(chosen(&[at(5), at(-1)], at(60), at(0)), [0], "what is after the end is not of it");
        assert_eq!(chosen(&[at(5)], at(0), at(60)), [0; 0]);
    }
}
