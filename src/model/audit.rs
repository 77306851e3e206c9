//! The audit log: every act on mitigations and pauses with its actor, whether there is an incident or not.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::entry::EntryKind;

/// One act. Lines are written once and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    /// When.
    pub at: Timestamp,
    /// Who: `connwarden`, or the name of a person's credential.
    pub actor: String,
    /// What was done, in one word: `pause`, `resume`, or the kind of the entry that a timeline has of it.
    pub act: String,
    /// To what: the id of a mitigation, or the name of a pause.
    pub subject: String,
    /// In words. May hold text from strangers: escape it where it is shown.
    pub text: String,
}

impl AuditLine {
    /// Mitigations were paused.
    pub const PAUSE: &str = "pause";

    /// A pause was ended.
    pub const RESUME: &str = "resume";

    /// Every word that says what was done.
    pub fn acts() -> impl Iterator<Item = &'static str> {
        EntryKind::of_mitigations().map(EntryKind::name).chain([Self::PAUSE, Self::RESUME])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_is_known() {
        insta::assert_snapshot!(AuditLine::acts().collect::<Vec<_>>().join("\n"), @"
        mitigation_planned
        mitigation_proposed
        mitigation_approved
        mitigation_rejected
        mitigation_refused
        mitigation_expired
        mitigation_started
        mitigation_batch
        mitigation_stopped
        mitigation_executed
        mitigation_looked
        mitigation_finished
        pause
        resume
        ");
    }
}
