//! Where a mitigation stands, and which act leads from where to where.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::guard::GuardVerdict;
use crate::model::mitigation::{Outcome, StopReason};

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
        /// Who had approved it, if somebody had.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approved_by: Option<String>,
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
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<String>,
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
        /// Who had approved it, if somebody had.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approved_by: Option<String>,
    },
    /// It waited too long, or the cluster is no longer what it was planned for.
    Expired {
        /// When that was seen.
        expired_at: Timestamp,
        /// Why.
        expiry: String,
        /// Who had approved it, if somebody had.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approved_by: Option<String>,
    },
    /// Its victims are being asked to leave, or cut.
    Running {
        /// Who let it begin.
        #[serde(flatten)]
        begun: Begun,
    },
    /// Its victims are gone; it is being looked whether that helped.
    Verifying {
        /// Who let it begin.
        #[serde(flatten)]
        begun: Begun,
        /// When its last victim had been dealt with.
        executed_at: Timestamp,
    },
    /// It is known what it achieved.
    Finished {
        /// Who let it begin.
        #[serde(flatten)]
        begun: Begun,
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
        /// Who let it begin.
        #[serde(flatten)]
        begun: Begun,
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

/// Who let a mitigation begin: every state says so from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Begun {
    /// Who approved it.
    pub approved_by: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// Who started it.
    pub started_by: String,
    /// When it was started.
    pub started_at: Timestamp,
}

/// Refused because the mitigation has already moved on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {act} a mitigation that is {state}{}", self.missing())]
pub struct InvalidTransition {
    /// What was wanted.
    pub act: &'static str,
    /// Where it stands.
    pub state: &'static str,
}

impl InvalidTransition {
    /// What would have to come before, if anything.
    fn missing(&self) -> &'static str {
        match (self.act, self.state) {
            ("approve" | "reject", "planned") => ": it has to be proposed first",
            ("execute", "planned") => ": it has to be proposed and approved first",
            ("execute", "proposed") => ": it has to be approved first",
            _ => "",
        }
    }
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

    /// Who let it run, if somebody has.
    pub fn approved_by(&self) -> Option<&str> {
        match self {
            Self::Refused { approved_by, .. }
            | Self::Rejected { approved_by, .. }
            | Self::Expired { approved_by, .. } => approved_by.as_deref(),
            Self::Approved { approved_by, .. } => Some(approved_by),
            state => state.begun().map(|begun| begun.approved_by.as_str()),
        }
    }

    /// Why somebody let it run, in their words.
    pub fn approval(&self) -> Option<&str> {
        match self {
            Self::Approved { approval, .. } => approval.as_deref(),
            state => state.begun()?.approval.as_deref(),
        }
    }

    /// Who let it begin, if it has.
    pub fn begun(&self) -> Option<&Begun> {
        match self {
            Self::Running { begun }
            | Self::Verifying { begun, .. }
            | Self::Finished { begun, .. }
            | Self::Stopped { begun, .. } => Some(begun),
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

    fn into_approver(self) -> Option<String> {
        match self {
            Self::Approved { approved_by, .. } => Some(approved_by),
            _ => None,
        }
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
                Ok(Self::Refused { refused_at: at, approved_by: self.into_approver(), blocked_by })
            }
            other => Err(other.cannot("refuse")),
        }
    }

    /// Lets it run until `valid_until`; `why` is what whoever lets it says.
    ///
    /// # Errors
    ///
    /// Only what is proposed can be approved.
    pub fn approve(
        self,
        by: &str,
        at: Timestamp,
        valid_until: Timestamp,
        why: Option<&str>,
    ) -> Result<Self, InvalidTransition> {
        match self {
            Self::Proposed { .. } => Ok(Self::Approved {
                approved_by: by.to_owned(),
                approved_at: at,
                approval: why.map(str::to_owned),
                valid_until,
            }),
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
            Self::Planned | Self::Proposed { .. } | Self::Approved { .. } => Ok(Self::Rejected {
                rejected_by: by.to_owned(),
                rejected_at: at,
                rejection: why.to_owned(),
                approved_by: self.into_approver(),
            }),
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
            Self::Planned | Self::Proposed { .. } | Self::Approved { .. } => Ok(Self::Expired {
                expired_at: at,
                expiry: why.to_owned(),
                approved_by: self.into_approver(),
            }),
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
            Self::Approved { approved_by, approval, .. } => Ok(Self::Running {
                begun: Begun { approved_by, approval, started_by: by.to_owned(), started_at: at },
            }),
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
            Self::Running { begun } => Ok(Self::Verifying { begun, executed_at: at }),
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
            Self::Running { begun } => Ok(Self::Stopped {
                begun,
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
            Self::Verifying { begun, executed_at } => Ok(Self::Finished {
                begun,
                executed_at,
                finished_at: at,
                outcome,
                conclusion: conclusion.to_owned(),
            }),
            other => Err(other.cannot("finish")),
        }
    }
}
