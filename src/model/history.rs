//! History: the compact samples of a cluster from before and since the problem, oldest first.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::breakdown::Dimension;

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
    /// Connections of all servers that answered.
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
