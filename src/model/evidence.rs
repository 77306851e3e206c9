//! Evidence: everything that a diagnosis is drawn from, as it was observed, and why what is missing is missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::application::ApplicationRules;
use crate::model::breakdown::Dimension;
use crate::model::change::Change;
use crate::model::first_seen::FirstSeen;
use crate::model::history::History;
use crate::model::ids::IncidentId;
use crate::model::log_evidence::LogEvidence;
use crate::model::member::Member;
use crate::model::owner::Owners;
use crate::model::pattern::MetricsEvidence;
use crate::model::snapshot::Snapshot;
use crate::model::threshold::Threshold;
use crate::model::vitals::{Churn, ServerVitals};

/// What was looked at, or why it could not be.
#[derive(Debug, Clone, PartialEq)]
pub enum Looked<T> {
    /// What was seen.
    Seen(T),
    /// Why nothing was.
    Unseen(String),
}

impl<T> Looked<T> {
    /// What was seen, if anything was.
    pub fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(seen) => Some(seen),
            Self::Unseen(_) => None,
        }
    }

    /// Why nothing was seen, if nothing was.
    pub fn unseen(&self) -> Option<&str> {
        match self {
            Self::Seen(_) => None,
            Self::Unseen(why) => Some(why),
        }
    }
}

impl<T> From<Result<T, String>> for Looked<T> {
    fn from(result: Result<T, String>) -> Self {
        result.map_or_else(Self::Unseen, Self::Seen)
    }
}

/// Everything a diagnosis is drawn from.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The incident.
    pub incident: IncidentId,
    /// When it was put together.
    pub at: Timestamp,
    /// When the incident's first alert was received.
    pub opened_at: Timestamp,
    /// The incident's alerts.
    pub alerts: Vec<AlertEvidence>,
    /// What makes an application of a client's name.
    pub applications: Arc<ApplicationRules>,
    /// The look at the cluster: its connections, its servers' vitals, what they remember of closed ones.
    pub snapshot: Arc<Snapshot>,
    /// What became of each server's connections lately.
    pub churn: Vec<Churn>,
    /// What each server said of itself some time before, by its name; those that were not asked twice are missing.
    pub earlier_vitals: BTreeMap<String, ServerVitals>,
    /// What the cluster was like before.
    pub history: Looked<History>,
    /// When groups were first seen in the cluster, as far as that is known: those that the first look of all has shown may
    /// have been there for ever, and are missing.
    pub first_seen: BTreeMap<(Dimension, String), FirstSeen>,
    /// What was deployed, reloaded or restarted lately, as far as anybody told.
    pub changes: Looked<Vec<Change>>,
    /// What Prometheus knows of the servers' connections.
    pub metrics: Looked<MetricsEvidence>,
    /// What the servers' logs say.
    pub logs: Looked<LogEvidence>,
    /// How many connections accounts may have in the whole cluster, as far as that is known.
    pub account_limits: BTreeMap<String, u64>,
    /// Who owns what.
    pub owners: Arc<Owners>,
    /// What the names of the cluster's metrics begin with: `gnatsd` in `gnatsd_varz_connections`.
    pub metric_prefix: String,
}

/// An alert of the incident.
#[derive(Debug, Clone)]
pub struct AlertEvidence {
    /// The alert and its server.
    pub member: Member,
    /// From which count on it fires, if that is known.
    pub threshold: Option<Threshold>,
}
