//! Mitigations: actions against connections, from plan to outcome.
//!
//! A mitigation runs once and is never retried: between two attempts the connections it names may have become
//! others. A second attempt starts from a new look.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::guard::GuardVerdict;
use crate::model::ids::{IncidentId, MitigationId};
use crate::model::plan::{ActionKind, Plan};
use crate::model::selector::Conditions;

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

/// Where a mitigation stands. Each variant carries what is known only from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum MitigationState {
    /// It is written down; nobody has been asked.
    Planned,
    /// Guards did not let it be proposed or run.
    Refused {
        /// When.
        refused_at: Timestamp,
        /// Those that blocked it.
        blocked_by: Vec<GuardVerdict>,
    },
    /// It waits for somebody who approves it.
    Proposed {
        /// By whom.
        proposed_by: String,
        /// When.
        proposed_at: Timestamp,
    },
    /// It may run until its approval ends.
    Approved {
        /// By whom.
        approved_by: String,
        /// When.
        approved_at: Timestamp,
        /// Until when.
        valid_until: Timestamp,
    },
    /// Somebody has decided against it.
    Rejected {
        /// By whom.
        rejected_by: String,
        /// When.
        rejected_at: Timestamp,
        /// Why.
        rejection: String,
    },
    /// It waited too long, or the cluster is no longer what it was planned for.
    Expired {
        /// When that was seen.
        expired_at: Timestamp,
        /// Why.
        expiry: String,
    },
    /// Its victims are being asked to leave, or cut.
    Running {
        /// Who approved it.
        approved_by: String,
        /// Who started it.
        started_by: String,
        /// When.
        started_at: Timestamp,
    },
    /// Its victims are gone; it is being looked whether that helped.
    Verifying {
        /// Who approved it.
        approved_by: String,
        /// Who started it.
        started_by: String,
        /// When.
        started_at: Timestamp,
        /// When its last victim had been dealt with.
        executed_at: Timestamp,
    },
    /// It is known what it achieved.
    Finished {
        /// Who approved it.
        approved_by: String,
        /// When it was started.
        started_at: Timestamp,
        /// When its last victim had been dealt with.
        executed_at: Timestamp,
        /// When the outcome was known.
        finished_at: Timestamp,
        /// What it achieved.
        outcome: Outcome,
        /// What that is concluded from, in one line.
        conclusion: String,
    },
    /// It ended before its last victim; what had been done is written down.
    Stopped {
        /// When it was started.
        started_at: Timestamp,
        /// When it ended.
        stopped_at: Timestamp,
        /// By whom.
        stopped_by: String,
        /// Why.
        stop: StopReason,
        /// In words.
        stop_text: String,
    },
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
    /// Nothing was done, as the policy wanted.
    Simulated,
    /// It could not be carried out.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] =
        [Self::Effective, Self::Ineffective, Self::Inconclusive, Self::Simulated, Self::Failed];

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
            Self::Simulated => "simulated",
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

/// Refused because the mitigation has already moved on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {act} a mitigation that is {state}")]
pub struct InvalidTransition {
    /// What was wanted.
    pub act: &'static str,
    /// Where it stands.
    pub state: &'static str,
}

impl MitigationState {
    /// The names of all states.
    pub const NAMES: [&'static str; 10] = [
        "planned",
        "refused",
        "proposed",
        "approved",
        "rejected",
        "expired",
        "running",
        "verifying",
        "finished",
        "stopped",
    ];

    /// The state as it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Refused { .. } => "refused",
            Self::Proposed { .. } => "proposed",
            Self::Approved { .. } => "approved",
            Self::Rejected { .. } => "rejected",
            Self::Expired { .. } => "expired",
            Self::Running { .. } => "running",
            Self::Verifying { .. } => "verifying",
            Self::Finished { .. } => "finished",
            Self::Stopped { .. } => "stopped",
        }
    }

    /// The state in a word or two, with its outcome if it has one.
    pub fn standing(&self) -> String {
        match self {
            Self::Finished { outcome, .. } => format!("finished ({})", outcome.name()),
            Self::Stopped { stop, .. } => format!("stopped ({})", stop.name()),
            state => state.name().to_owned(),
        }
    }

    /// How it ended, in one line, where there is something to say.
    pub fn conclusion(&self) -> Option<String> {
        match self {
            Self::Refused { blocked_by, .. } => {
                let reasons: Vec<&str> = blocked_by.iter().map(|verdict| verdict.reason.as_str()).collect();
                Some(reasons.join("; "))
            }
            Self::Rejected { rejected_by, rejection, .. } => Some(format!("by {rejected_by}: {rejection}")),
            Self::Expired { expiry, .. } => Some(expiry.clone()),
            Self::Finished { conclusion, .. } => Some(conclusion.clone()),
            Self::Stopped { stopped_by, stop_text, .. } => Some(format!("by {stopped_by}: {stop_text}")),
            _ => None,
        }
    }

    /// Whether nothing can become of it any more.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Rejected { .. }
                | Self::Expired { .. }
                | Self::Finished { .. }
                | Self::Stopped { .. }
        )
    }

    fn cannot(&self, act: &'static str) -> InvalidTransition {
        InvalidTransition { act, state: self.name() }
    }

    /// Asks people for their approval.
    ///
    /// # Errors
    ///
    /// Only what is planned can be proposed.
    pub fn propose(self, by: &str, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Planned => Ok(Self::Proposed { proposed_by: by.to_owned(), proposed_at: at }),
            other => Err(other.cannot("propose")),
        }
    }

    /// Gives it up because guards block it.
    ///
    /// # Errors
    ///
    /// Once it runs it can only be stopped.
    pub fn refuse(self, blocked_by: Vec<GuardVerdict>, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Planned | Self::Proposed { .. } | Self::Approved { .. } => {
                Ok(Self::Refused { refused_at: at, blocked_by })
            }
            other => Err(other.cannot("refuse")),
        }
    }

    /// Lets it run until `valid_until`.
    ///
    /// # Errors
    ///
    /// Only what is proposed can be approved.
    pub fn approve(self, by: &str, at: Timestamp, valid_until: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Proposed { .. } => {
                Ok(Self::Approved { approved_by: by.to_owned(), approved_at: at, valid_until })
            }
            other => Err(other.cannot("approve")),
        }
    }

    /// Decides against it.
    ///
    /// # Errors
    ///
    /// Once it runs it can only be stopped.
    pub fn reject(self, by: &str, at: Timestamp, why: &str) -> Result<Self, InvalidTransition> {
        match self {
            Self::Planned | Self::Proposed { .. } | Self::Approved { .. } => {
                Ok(Self::Rejected { rejected_by: by.to_owned(), rejected_at: at, rejection: why.to_owned() })
            }
            other => Err(other.cannot("reject")),
        }
    }

    /// Gives it up because it is out of date.
    ///
    /// # Errors
    ///
    /// Once it runs it can only be stopped.
    pub fn expire(self, at: Timestamp, why: &str) -> Result<Self, InvalidTransition> {
        match self {
            Self::Planned | Self::Proposed { .. } | Self::Approved { .. } => {
                Ok(Self::Expired { expired_at: at, expiry: why.to_owned() })
            }
            other => Err(other.cannot("expire")),
        }
    }

    /// Begins.
    ///
    /// # Errors
    ///
    /// Only what is approved can run.
    pub fn start(self, by: &str, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Approved { approved_by, .. } => {
                Ok(Self::Running { approved_by, started_by: by.to_owned(), started_at: at })
            }
            other => Err(other.cannot("execute")),
        }
    }

    /// Has dealt with its last victim.
    ///
    /// # Errors
    ///
    /// Only what runs can come to its end.
    pub fn complete(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Running { approved_by, started_by, started_at } => {
                Ok(Self::Verifying { approved_by, started_by, started_at, executed_at: at })
            }
            other => Err(other.cannot("complete")),
        }
    }

    /// Ends before its last victim.
    ///
    /// # Errors
    ///
    /// Only what runs can be stopped.
    pub fn stop(
        self,
        by: &str,
        at: Timestamp,
        stop: StopReason,
        text: &str,
    ) -> Result<Self, InvalidTransition> {
        match self {
            Self::Running { started_at, .. } => Ok(Self::Stopped {
                started_at,
                stopped_at: at,
                stopped_by: by.to_owned(),
                stop,
                stop_text: text.to_owned(),
            }),
            other => Err(other.cannot("stop")),
        }
    }

    /// Is known to have achieved something, or not.
    ///
    /// # Errors
    ///
    /// Only what is being verified can be judged.
    pub fn finish(
        self,
        outcome: Outcome,
        conclusion: &str,
        at: Timestamp,
    ) -> Result<Self, InvalidTransition> {
        match self {
            Self::Verifying { approved_by, started_at, executed_at, .. } => Ok(Self::Finished {
                approved_by,
                started_at,
                executed_at,
                finished_at: at,
                outcome,
                conclusion: conclusion.to_owned(),
            }),
            other => Err(other.cannot("finish")),
        }
    }
}
