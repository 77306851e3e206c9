//! History: the compact samples of a cluster from before and since the problem, oldest first.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::breakdown::{Breakdown, Dimension};
use crate::model::snapshot::{ServerCoverage, Snapshot};

/// The dimensions a sample has groups of.
pub const SAMPLED: [Dimension; 5] =
    [Dimension::Application, Dimension::Ip, Dimension::Account, Dimension::User, Dimension::Library];

/// What the sampler remembers of a cluster: enough to say what changed since when.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The samples, oldest first: every one of the last hour, fewer of the time before.
    pub samples: Vec<Sample>,
}

/// A cluster at one instant, compact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it was taken.
    pub at: Timestamp,
    /// Whether every server let everything be seen.
    pub complete: bool,
    /// Each server that answered.
    pub servers: Vec<ServerSample>,
    /// The largest groups by dimension, exact, with what is not listed folded into `other`.
    pub groups: BTreeMap<Dimension, SampledGroups>,
}

/// A server at one instant, compact.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
        Self {
            server: server.display_name().to_owned(),
            connections: server.varz_connections.or(server.total()).unwrap_or(server.seen),
            ..Self::default()
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
