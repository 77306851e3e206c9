//! Mitigations: actions against connections, from plan to outcome.
//!
//! A mitigation runs once and is never retried: between two attempts the connections it names may have become
//! others. A second attempt starts from a new look.

mod state;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::ids::{IncidentId, MitigationId};
use crate::model::plan::{ActionKind, Plan};
use crate::model::selector::Conditions;

pub use crate::model::mitigation::state::{Begun, InvalidTransition, MitigationState};

/// An action against connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Mitigation {
    /// Names it.
    pub id: MitigationId,
    /// The incident that it is meant to end, if any.
    pub incident: Option<IncidentId>,
    /// What it does.
    pub plan: Plan,
    /// Who had it planned.
    pub planned_by: String,
    /// When.
    pub planned_at: Timestamp,
    /// Why, in the words of who had it planned.
    pub reason: Option<String>,
    /// Where it stands.
    #[serde(flatten)]
    pub state: MitigationState,
}

/// A mitigation without its plan, as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MitigationSummary {
    /// Names it.
    pub id: MitigationId,
    /// The incident that it is meant to end, if any.
    pub incident: Option<IncidentId>,
    /// The configured cluster.
    pub cluster: String,
    /// What it does.
    pub action: ActionKind,
    /// To which connections.
    pub selector: Conditions,
    /// To how many.
    pub victims: u64,
    /// Names its plan.
    pub digest: String,
    /// Who had it planned.
    pub planned_by: String,
    /// When.
    pub planned_at: Timestamp,
    /// Why, in the words of who had it planned.
    pub reason: Option<String>,
    /// Where it stands.
    #[serde(flatten)]
    pub state: MitigationState,
}

/// What a mitigation achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Most of what was cut stayed away.
    Effective,
    /// Most of it came back, or the count did not fall.
    Ineffective,
    /// It cannot be told.
    Inconclusive,
    /// It could not be carried out.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Effective, Self::Ineffective, Self::Inconclusive, Self::Failed];

    /// Reads what [`Outcome::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// The outcome as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Effective => "effective",
            Self::Ineffective => "ineffective",
            Self::Inconclusive => "inconclusive",
            Self::Failed => "failed",
        }
    }
}

/// Why a run ended before its last victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Somebody wanted it.
    Asked,
    /// Mitigations were paused.
    Paused,
    /// The problem was over.
    ProblemIsOver,
    /// Things got worse.
    Worse,
    /// Too many requests failed.
    Errors,
    /// connwarden ended or crashed in the middle.
    Interrupted,
}

impl StopReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Asked, Self::Paused, Self::ProblemIsOver, Self::Worse, Self::Errors, Self::Interrupted];

    /// Reads what [`StopReason::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// The reason as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Paused => "paused",
            Self::ProblemIsOver => "problem_is_over",
            Self::Worse => "worse",
            Self::Errors => "errors",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether the run counts as failed.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Worse | Self::Errors)
    }
}
