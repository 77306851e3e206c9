//! Earlier runs, as far as guards are concerned.

use jiff::Timestamp;

use crate::model::mitigation::Outcome;

/// A run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlierRun {
    /// When its last victim had been dealt with, or when it was stopped.
    pub ended_at: Timestamp,
    /// What it achieved; `None` as long as that is not known, and of one that was stopped for no fault of its own.
    pub outcome: Option<Outcome>,
}

impl EarlierRun {
    /// Whether it was in vain: it failed, or did not help.
    pub fn is_vain(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Failed | Outcome::Ineffective))
    }
}
