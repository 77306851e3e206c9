//! Gathering evidence: what others than the NATS servers themselves know of an incident.
//!
//! Each function asks one kind of source, within a bounded time and size, and returns what it knows or why it could not be
//! asked. Nothing is concluded here, and nothing stored.

mod logs;
mod metrics;
mod scope;

pub use logs::LogReader;

use std::collections::BTreeMap;

use crate::engine::Engine;

/// Who knows of a cluster beside its servers.
#[derive(Debug, Clone)]
pub struct EvidenceSources {
    /// What the names of its metrics begin with: `gnatsd` in `gnatsd_varz_connections`.
    pub metric_prefix: String,
    /// How many connections its accounts may have, where the servers do not tell.
    pub account_limits: BTreeMap<String, u64>,
    /// Where the logs of its servers are.
    pub logs: Vec<LogReader>,
}

impl Engine {
    /// Who knows of a cluster beside its servers.
    fn evidence_sources(&self, cluster: &str) -> Result<&EvidenceSources, String> {
        self.0.evidence.get(cluster).ok_or_else(|| format!("no cluster `{cluster}` is configured"))
    }
}
