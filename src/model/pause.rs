//! Pauses: reasons why no mitigation runs, given by people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A reason why no mitigation runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pause {
    /// What it is called; it is ended by that.
    pub name: String,
    /// The configured cluster that it is about; every one, where there is none.
    pub cluster: Option<String>,
    /// Why.
    pub reason: String,
    /// Who paused.
    pub paused_by: String,
    /// When.
    pub paused_at: Timestamp,
}

/// What pauses mitigations in every cluster, and is ended in a file: the configuration's, or the pause file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StandingPause {
    /// What it is called.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Which file, or that it is the configuration.
    pub by: String,
}

impl Pause {
    /// Where it holds, for people.
    pub fn place(&self) -> String {
        self.cluster.as_ref().map_or_else(|| "all clusters".to_owned(), |name| format!("cluster `{name}`"))
    }

    /// Whether it holds for a cluster.
    pub fn holds_for(&self, cluster: &str) -> bool {
        self.cluster.as_deref().is_none_or(|paused| paused == cluster)
    }
}
