//! Capabilities: what can be done to the connections of a cluster, and what is missing for the rest.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::plan::ActionKind;

/// What can be done to the connections of a cluster, as it was found out without doing anything to any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Capabilities {
    /// The configured cluster.
    pub cluster: String,
    /// When it was found out.
    pub probed_at: Timestamp,
    /// Every action.
    pub actions: Vec<Capability>,
}

/// Whether an action can work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Capability {
    /// The action.
    pub action: ActionKind,
    /// Whether it can work on every server of the cluster.
    pub possible: bool,
    /// What is missing; nothing if it is possible.
    pub missing: Vec<Missing>,
}

/// What is missing for an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Missing {
    /// What kind of obstacle it is.
    pub obstacle: Obstacle,
    /// The servers that it is about, by name; none if it is about all of the cluster.
    pub servers: Vec<String>,
    /// What is missing and what to do about it, in one line.
    pub message: String,
}

/// What an action can fail for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// No system account is configured.
    NoSystemAccount,
    /// The system account does not answer.
    NotReached,
    /// The server does not answer.
    ServerMissing,
    /// The server's version does not know such requests.
    TooOld,
    /// The user may not make such requests.
    NotAllowed,
    /// The user is not one of the system account.
    NotInSystemAccount,
    /// There was no clear answer.
    Unclear,
}

impl Capabilities {
    /// What became of an action.
    pub fn of(&self, action: ActionKind) -> Option<&Capability> {
        self.actions.iter().find(|capability| capability.action == action)
    }
}

impl Capability {
    /// Says of an action what is missing for it.
    pub fn new(action: ActionKind, missing: Vec<Missing>) -> Self {
        Self { action, possible: missing.is_empty(), missing }
    }

    /// What is missing, in one line; `None` if it is possible.
    pub fn reason(&self) -> Option<String> {
        let reasons = self.missing.iter().map(|missing| match missing.servers.as_slice() {
            [] => missing.message.clone(),
            servers => format!("{}: {}", servers.join(", "), missing.message),
        });
        (!self.possible).then(|| reasons.collect::<Vec<_>>().join("; "))
    }
}
