//! Entries: the lines of an incident's append-only timeline.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One line of an incident's timeline. Entries are written once and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// When it happened.
    pub at: Timestamp,
    /// Who did it: `connwarden`, or the sender of the notification.
    pub actor: String,
    /// What kind of thing happened.
    pub kind: EntryKind,
    /// What happened, for people. May hold text from strangers: escape it where it is shown.
    pub text: String,
}

/// The closed list of things that can happen to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// The incident was opened by its first firing alert.
    Opened,
    /// An alert became a member.
    AlertJoined,
    /// A member fired again after it had been resolved, or with a newer start.
    AlertRefired,
    /// A member was resolved.
    AlertResolved,
    /// All members were resolved, and with them the incident.
    Resolved,
    /// The sender left alerts out of the group.
    Truncated,
    /// The cluster was looked at, in whole or in part.
    Observed,
    /// The cluster could not be looked at; it is tried again, or given up.
    ObservationFailed,
}

impl EntryKind {
    const ALL: [Self; 8] = [
        Self::Opened,
        Self::AlertJoined,
        Self::AlertRefired,
        Self::AlertResolved,
        Self::Resolved,
        Self::Truncated,
        Self::Observed,
        Self::ObservationFailed,
    ];

    /// The kind as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::AlertJoined => "alert_joined",
            Self::AlertRefired => "alert_refired",
            Self::AlertResolved => "alert_resolved",
            Self::Resolved => "resolved",
            Self::Truncated => "truncated",
            Self::Observed => "observed",
            Self::ObservationFailed => "observation_failed",
        }
    }

    /// Reads what [`EntryKind::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
