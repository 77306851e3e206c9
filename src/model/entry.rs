//! Entries: the lines of an incident's append-only timeline.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::ids::{MitigationId, NotificationId};

/// One line of an incident's timeline. Entries are written once and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// When it happened.
    pub at: Timestamp,
    /// Who did it: `connwarden`, the sender of the notification, or the name of a person's credential.
    pub actor: String,
    /// What kind of thing happened.
    pub kind: EntryKind,
    /// What happened, for people. May hold text from strangers: escape it where it is shown.
    pub text: String,
    /// The notification that caused it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification: Option<NotificationId>,
}

impl Entry {
    /// The mitigation that it is about, and the text without its id.
    pub fn mitigation(&self) -> Option<(MitigationId, &str)> {
        let (id, text) = self.text.strip_prefix("mitigation ")?.split_once(": ")?;
        Some((id.parse().ok()?, text))
    }
}

/// The closed list of things that can happen to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// The incident was opened, by its first firing alert or by a person.
    Opened,
    /// It was over and began anew.
    Reopened,
    /// An alert became a member.
    AlertJoined,
    /// A member fired again after it had been resolved.
    AlertRefired,
    /// A member began anew, and its end in between was never told.
    AlertFlapped,
    /// A member was said to fire although its end had been told; an old report, until somebody confirms it.
    AlertStale,
    /// A member was resolved.
    AlertResolved,
    /// An alert was resolved that had never been reported to fire.
    AlertResolvedUnheard,
    /// The sender left alerts out of the group.
    Truncated,
    /// All members were reported resolved; NATS is asked before that is believed.
    Recovering,
    /// All members were reported resolved, but NATS says that it is not over.
    FalseResolve,
    /// The incident is over.
    Resolved,
    /// Somebody takes care of it.
    Acknowledged,
    /// Somebody wrote something down.
    Note,
    /// Somebody had a stored notification taken in once more.
    Replayed,
    /// Alertmanager was asked what it knows, and the answer changed something.
    Reconciled,
    /// The cluster was looked at, in whole or in part.
    Observed,
    /// What was observed says something about who, since when and why.
    Diagnosed,
    /// The cluster could not be looked at; it is tried again, or given up.
    ObservationFailed,
    /// A mitigation was planned: what it would do is written down, nothing is done.
    MitigationPlanned,
    /// Somebody was asked to approve a mitigation.
    MitigationProposed,
    /// Somebody let a mitigation run.
    MitigationApproved,
    /// Somebody decided against a mitigation.
    MitigationRejected,
    /// Guards did not let a mitigation be proposed or run.
    MitigationRefused,
    /// A mitigation waited too long, or the cluster was no longer what it was planned for.
    MitigationExpired,
    /// A mitigation began to run.
    MitigationStarted,
    /// A batch of a mitigation's victims was asked to leave, or cut.
    MitigationBatch,
    /// A mitigation ended before its last victim.
    MitigationStopped,
    /// A mitigation had dealt with its last victim.
    MitigationExecuted,
    /// The cluster was looked at to see whether a mitigation helped.
    MitigationLooked,
    /// It is known what a mitigation achieved.
    MitigationFinished,
}

impl EntryKind {
    const ALL: [Self; 31] = [
        Self::Opened,
        Self::Reopened,
        Self::AlertJoined,
        Self::AlertRefired,
        Self::AlertFlapped,
        Self::AlertStale,
        Self::AlertResolved,
        Self::AlertResolvedUnheard,
        Self::Truncated,
        Self::Recovering,
        Self::FalseResolve,
        Self::Resolved,
        Self::Acknowledged,
        Self::Note,
        Self::Replayed,
        Self::Reconciled,
        Self::Observed,
        Self::Diagnosed,
        Self::ObservationFailed,
        Self::MitigationPlanned,
        Self::MitigationProposed,
        Self::MitigationApproved,
        Self::MitigationRejected,
        Self::MitigationRefused,
        Self::MitigationExpired,
        Self::MitigationStarted,
        Self::MitigationBatch,
        Self::MitigationStopped,
        Self::MitigationExecuted,
        Self::MitigationLooked,
        Self::MitigationFinished,
    ];

    /// The kind as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reopened => "reopened",
            Self::AlertJoined => "alert_joined",
            Self::AlertRefired => "alert_refired",
            Self::AlertFlapped => "alert_flapped",
            Self::AlertStale => "alert_stale",
            Self::AlertResolved => "alert_resolved",
            Self::AlertResolvedUnheard => "alert_resolved_unheard",
            Self::Truncated => "truncated",
            Self::Recovering => "recovering",
            Self::FalseResolve => "false_resolve",
            Self::Resolved => "resolved",
            Self::Acknowledged => "acknowledged",
            Self::Note => "note",
            Self::Replayed => "replayed",
            Self::Reconciled => "reconciled",
            Self::Observed => "observed",
            Self::Diagnosed => "diagnosed",
            Self::ObservationFailed => "observation_failed",
            Self::MitigationPlanned => "mitigation_planned",
            Self::MitigationProposed => "mitigation_proposed",
            Self::MitigationApproved => "mitigation_approved",
            Self::MitigationRejected => "mitigation_rejected",
            Self::MitigationRefused => "mitigation_refused",
            Self::MitigationExpired => "mitigation_expired",
            Self::MitigationStarted => "mitigation_started",
            Self::MitigationBatch => "mitigation_batch",
            Self::MitigationStopped => "mitigation_stopped",
            Self::MitigationExecuted => "mitigation_executed",
            Self::MitigationLooked => "mitigation_looked",
            Self::MitigationFinished => "mitigation_finished",
        }
    }

    /// The kinds of things that happen to mitigations, whether they are of an incident or not.
    pub fn of_mitigations() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| kind.name().starts_with("mitigation_"))
    }

    /// Reads what [`EntryKind::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_as_it_is_written_and_shown_as_it_is_stored() {
        for kind in EntryKind::ALL {
            assert_eq!(EntryKind::from_name(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
