//! Precedents: what other incidents say about this one, and who comes back again and again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::breakdown::Dimension;
use crate::model::diagnosis::{FindingKind, Subject};
use crate::model::entry::Entry;
use crate::model::ids::IncidentId;
use crate::model::incident::IncidentState;

/// An earlier incident of the same cluster that was like this one, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SimilarIncident {
    /// Its id.
    pub id: IncidentId,
    /// Its alert's name.
    pub alert_name: String,
    /// Where it stands, and how it ended.
    #[serde(flatten)]
    pub state: IncidentState,
    /// When its first alert was received.
    pub opened_at: Timestamp,
    /// How long it took until it was over, in seconds; `null` if it is not over.
    pub duration_s: Option<u64>,
    /// What there is to know of it in one line.
    pub headline: Option<String>,
    /// The kind of the top finding, if both have the same.
    pub same_kind: Option<FindingKind>,
    /// The culprits that both have, at most five.
    pub shared_culprits: Vec<Subject>,
    /// What people wrote down about it, the last three: notes, and why somebody ended it.
    pub notes: Vec<Entry>,
}

/// Of which other incidents of the same cluster a culprit was one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CulpritHistory {
    /// What the key is of.
    pub dimension: Dimension,
    /// The key. Text from strangers, at most 256 bytes.
    pub key: String,
    /// How many other incidents.
    pub other_incidents: u64,
    /// The newest of them, at most five.
    pub latest: Vec<OtherIncident>,
}

/// Another incident, as it is referred to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OtherIncident {
    /// Its id.
    pub id: IncidentId,
    /// Its alert's name.
    pub alert_name: String,
    /// When its first alert was received.
    pub opened_at: Timestamp,
}

/// Somebody who was a culprit, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Offender {
    /// What the key is of.
    pub dimension: Dimension,
    /// The key. Text from strangers, at most 256 bytes.
    pub key: String,
    /// Of how many incidents.
    pub incidents: u64,
    /// By how many connections it grew in all of them together, or attempted; one incident counts 10¹² at the most.
    pub grown_by: u64,
    /// The newest of them.
    pub last_incident: IncidentId,
    /// The cluster of the newest.
    pub last_cluster: Option<String>,
    /// When the first alert of the newest was received.
    pub last_opened_at: Timestamp,
}

/// What the last diagnosis of an incident comes down to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conclusion {
    /// The kind of the finding that matters most.
    pub top_finding: Option<FindingKind>,
    /// Who explains most of the trouble.
    pub culprit: Option<Subject>,
}
