//! The journal of a run: what became of each victim, written down before and after it is asked for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::victim::VictimKey;

/// What became of one victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VictimState {
    /// Nothing yet.
    Pending,
    /// A request was to be sent; it may have been.
    Sent,
    /// It was asked to leave and has some time to do so. Where the run was stopped and its server could not be seen
    /// afterwards, it is not known whether it did.
    Asked,
    /// It left when it was asked to.
    Left,
    /// It was asked to leave and was still there when its time was over; the run had been stopped, so it was not cut.
    Stayed,
    /// It was cut: its server said so.
    Confirmed,
    /// It was no longer there, or was somebody else's.
    Gone,
    /// It was still there when the run began, but no longer what was meant, and so it was left alone.
    Changed,
    /// Its server refused, or did not answer.
    Error,
    /// It was left alone, because the run ended before.
    Spared,
}

impl VictimState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Sent,
        Self::Asked,
        Self::Left,
        Self::Stayed,
        Self::Confirmed,
        Self::Gone,
        Self::Changed,
        Self::Error,
        Self::Spared,
    ];

    /// The state as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Asked => "asked",
            Self::Left => "left",
            Self::Stayed => "stayed",
            Self::Confirmed => "confirmed",
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::Error => "error",
            Self::Spared => "spared",
        }
    }

    /// Reads what [`VictimState::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The states from which a victim comes into this one. None leads back to [`VictimState::Pending`]: what may have
    /// been sent has been written down for ever.
    pub fn comes_from(self) -> &'static [Self] {
        match self {
            Self::Pending => &[],
            Self::Changed => &[Self::Pending],
            // who was asked to leave and has stayed is cut
            Self::Sent => &[Self::Pending, Self::Asked],
            Self::Gone => &[Self::Pending, Self::Sent],
            // the batch was broken off before it was asked
            Self::Spared => &[Self::Pending, Self::Sent],
            // seen to have left when it was to be cut, or once the run had been stopped
            Self::Left => &[Self::Sent, Self::Asked],
            Self::Stayed => &[Self::Asked],
            // also who was to be cut for having stayed, when the batch was broken off
            Self::Asked => &[Self::Sent],
            Self::Confirmed | Self::Error => &[Self::Sent],
        }
    }
}

/// A victim in the journal of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JournalLine {
    /// Which victim.
    #[serde(flatten)]
    pub victim: VictimKey,
    /// What became of it.
    pub state: VictimState,
    /// When that was written down.
    pub at: Timestamp,
    /// What its server said, where it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
