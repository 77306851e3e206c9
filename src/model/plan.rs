//! Plans: what a mitigation would do, frozen, with everything that speaks for and against it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::guard::GuardVerdict;
use crate::model::printable::with_commas;
use crate::model::protection::ProtectionReason;
use crate::model::selector::{Conditions, Selector};
use crate::model::victim::{Victim, VictimLimits, VictimOrder};

/// What is done to a victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// It is cut.
    Kick,
    /// It is asked to leave; if it stays, it is cut.
    Drain,
}

impl ActionKind {
    /// Every action.
    pub const ALL: [Self; 2] = [Self::Kick, Self::Drain];

    /// The action as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kick => "kick",
            Self::Drain => "drain",
        }
    }

    /// Reads what [`ActionKind::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// What its requests do to a victim, in words.
    pub fn does(self) -> &'static str {
        match self {
            Self::Kick => "cut",
            Self::Drain => "asked to leave or cut",
        }
    }

    /// What everyone must know before approving it.
    pub fn warning(self) -> &'static str {
        match self {
            Self::Kick => {
                "clients that are tended come back by themselves, within milliseconds to seconds: a kick helps against \
                 leaked connections, against clients that do not reconnect, and together with a limit"
            }
            Self::Drain => {
                "the client libraries that were measured do not leave by themselves when they are asked: applications that do \
                 not listen to it are cut after the wait, and come back if they are tended"
            }
        }
    }
}

/// What a plan is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// What is to be done.
    pub action: ActionKind,
    /// To which connections.
    pub selector: Selector,
    /// Which of them first.
    pub order: VictimOrder,
    /// To how many.
    pub limits: VictimLimits,
}

/// How many victims there are of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hit {
    /// The application, account or address.
    pub key: String,
    /// Its victims.
    pub victims: u64,
}

impl Hit {
    /// Tells the first `shown` in one line, and how many victims the others have.
    pub fn told(hits: &[Self], shown: usize) -> String {
        let told = hits.iter().take(shown).map(|hit| format!("{} {}", with_commas(hit.victims), hit.key));
        let rest: u64 = hits.iter().skip(shown).map(|hit| hit.victims).sum();
        let rest = (rest > 0).then(|| format!("{} others", with_commas(rest)));
        told.chain(rest).collect::<Vec<_>>().join(", ")
    }
}

/// Says of how many connections a plan spares them, and why.
pub fn kept_told(count: impl fmt::Display) -> String {
    format!("{count} so that enough of each application stay")
}

/// Who would be hit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlastRadius {
    /// By application; those without a name are `(unnamed)`. The most first.
    pub applications: Vec<Hit>,
    /// By account.
    pub accounts: Vec<Hit>,
    /// By address.
    pub ips: Vec<Hit>,
    /// By server.
    pub servers: Vec<Hit>,
}

/// What a plan would do, frozen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The configured cluster.
    pub cluster: String,
    /// What is to be done.
    pub action: ActionKind,
    /// To which connections: all conditions hold of each.
    pub selector: Conditions,
    /// Which of them first.
    pub order: VictimOrder,
    /// To how many.
    pub limits: VictimLimits,
    /// When the look began that it was made of.
    pub taken_at: Timestamp,
    /// All connections that were seen then.
    pub total: u64,
    /// Those that the selector means, protected ones among them.
    pub matched: u64,
    /// Of these, those that are protected, by why.
    pub protected: BTreeMap<ProtectionReason, u64>,
    /// Those that stay because a minimum of each application does.
    pub kept: u64,
    /// The victims, first to last.
    pub victims: Vec<Victim>,
    /// Who they are.
    pub blast_radius: BlastRadius,
    /// What is to be expected, in one line.
    pub expected_effect: String,
    /// What everyone must know before approving it.
    pub warning: String,
    /// What each guard said when it was made. All are asked again before it runs.
    pub guards: Vec<GuardVerdict>,
    /// Names exactly this plan: what would be done to whom.
    pub digest: String,
}

impl Plan {
    /// Whether no guard blocked it when it was made.
    pub fn passes(&self) -> bool {
        self.guards.iter().all(|verdict| verdict.passes)
    }
}
