//! Incidents: one open problem each, from first firing to resolved.
//!
//! An incident is identified by (cluster, alert name), and at most one per key is unresolved. Neither the
//! sender's group key nor (fingerprint, start) identifies it: groups are re-cut when a route changes, HA pairs
//! send twice, and a flap moves the start.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::ids::IncidentId;
use crate::model::mapping::MappedBy;
use crate::model::threshold::Verdict;

/// One problem, as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Its public id.
    pub id: IncidentId,
    /// What it is about.
    pub key: IncidentKey,
    /// Where it stands.
    pub state: IncidentState,
    /// How often it was resolved and then opened again.
    pub reopened: u32,
    /// The incident of the same key before it.
    pub previous: Option<IncidentId>,
    /// What the last look at NATS said about its end, while that is asked.
    pub verdict: Option<Verdict>,
    /// When its first alert was received.
    pub opened_at: Timestamp,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
    /// What there is to know in one line, once the cluster has been looked at.
    pub headline: Option<String>,
}

impl Incident {
    /// Opens an incident.
    pub fn open(id: IncidentId, key: IncidentKey, previous: Option<IncidentId>, at: Timestamp) -> Self {
        Self {
            id,
            key,
            state: IncidentState::Triggered,
            reopened: 0,
            previous,
            verdict: None,
            opened_at: at,
            updated_at: at,
            headline: None,
        }
    }
}

/// What an incident is about: the identity under which at most one is unresolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum IncidentKey {
    /// A configured cluster has this alert.
    Cluster {
        /// The cluster's configured name.
        cluster: String,
        /// How the alert was mapped to it.
        mapped_by: MappedBy,
        /// The alert's name.
        alert_name: String,
    },
    /// No configured cluster could be made out.
    Unmapped {
        /// The alert's `server_id`, else its `instance`, else nothing.
        subject: String,
        /// The alert's name.
        alert_name: String,
    },
}

impl IncidentKey {
    /// The configured cluster, if the alert was mapped to one.
    pub fn cluster(&self) -> Option<&str> {
        match self {
            Self::Cluster { cluster, .. } => Some(cluster),
            Self::Unmapped { .. } => None,
        }
    }

    /// The alert's name.
    pub fn alert_name(&self) -> &str {
        match self {
            Self::Cluster { alert_name, .. } | Self::Unmapped { alert_name, .. } => alert_name,
        }
    }

    /// The identity as one string: what is unique among unresolved incidents. How a cluster was found is not
    /// part of it.
    pub fn identity(&self) -> String {
        let parts = match self {
            Self::Cluster { cluster, alert_name, .. } => ["cluster", cluster, alert_name],
            Self::Unmapped { subject, alert_name } => ["unmapped", subject, alert_name],
        };
        // JSON, because names may hold any character
        serde_json::to_string(&parts).expect("strings always serialise")
    }
}

impl fmt::Display for IncidentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster { cluster, alert_name, .. } => write!(f, "{alert_name} on cluster {cluster}"),
            Self::Unmapped { subject, alert_name } if subject.is_empty() => {
                write!(f, "{alert_name} on no configured cluster")
            }
            Self::Unmapped { subject, alert_name } => {
                write!(f, "{alert_name} of {subject}, on no configured cluster")
            }
        }
    }
}

/// Where an incident stands. Each variant carries what is known only from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum IncidentState {
    /// At least one member fires, as far as anybody has said, or NATS says that it is not over.
    Triggered,
    /// Somebody takes care of it.
    Acknowledged(Acknowledgement),
    /// Every member was reported resolved; NATS is asked before that is believed.
    Recovering {
        /// When the last member was reported resolved.
        recovering_since: Timestamp,
        /// Who had acknowledged it before, and when.
        #[serde(flatten)]
        acknowledgement: Option<Acknowledgement>,
    },
    /// It is over.
    Resolved {
        /// How that is known.
        resolution: Resolution,
        /// When it was noticed.
        resolved_at: Timestamp,
        /// Who resolved it, if a person did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resolved_by: Option<String>,
    },
}

/// That somebody takes care of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledgement {
    /// Who: the name of their credential.
    pub acknowledged_by: String,
    /// Since when.
    pub acknowledged_at: Timestamp,
}

/// How an incident's end is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// The sender said so, and NATS agrees.
    Verified,
    /// The sender said so; NATS was not asked, or gave no clear answer.
    Unverified,
    /// A person said so.
    Manual,
    /// Nobody said so, but no Alertmanager knows of it any more.
    Missed,
}

impl Resolution {
    const ALL: [Self; 4] = [Self::Verified, Self::Unverified, Self::Manual, Self::Missed];

    /// The resolution as it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Manual => "manual",
            Self::Missed => "missed",
        }
    }

    /// What the resolution means, in one sentence for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Verified => "the sender of the alert said so, and NATS agrees",
            Self::Unverified => {
                "the sender of the alert said so; NATS was not asked, or gave no clear answer"
            }
            Self::Manual => "a person said so",
            Self::Missed => "nobody said so, but no Alertmanager knows of it any more",
        }
    }

    /// Reads what [`Resolution::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resolution| resolution.name() == name)
    }
}

/// Refused because the incident has already moved on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} an incident that is {state}")]
pub struct InvalidTransition {
    /// What was attempted.
    pub action: &'static str,
    /// The state that forbids it.
    pub state: &'static str,
}

impl IncidentState {
    /// The names of all states, as they are stored and filtered by.
    pub const NAMES: [&str; 4] = ["triggered", "acknowledged", "recovering", "resolved"];

    /// The names of the states in which it is not over.
    pub const UNRESOLVED_NAMES: [&str; 3] = ["triggered", "acknowledged", "recovering"];

    /// The state's name, as it is stored and filtered by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Triggered => "triggered",
            Self::Acknowledged(_) => "acknowledged",
            Self::Recovering { .. } => "recovering",
            Self::Resolved { .. } => "resolved",
        }
    }

    /// When it came into this state; `None` for the first.
    pub fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Triggered => None,
            Self::Acknowledged(by) => Some(by.acknowledged_at),
            Self::Recovering { recovering_since, .. } => Some(*recovering_since),
            Self::Resolved { resolved_at, .. } => Some(*resolved_at),
        }
    }

    /// What else there is to know of the state in a few words, for people.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Triggered | Self::Recovering { acknowledgement: None, .. } => None,
            Self::Acknowledged(by) => Some(format!("by {}", by.acknowledged_by)),
            Self::Recovering { acknowledgement: Some(by), .. } => {
                Some(format!("acknowledged by {}", by.acknowledged_by))
            }
            Self::Resolved { resolution, resolved_by: Some(by), .. } => {
                Some(format!("{} by {by}", resolution.name()))
            }
            Self::Resolved { resolution, resolved_by: None, .. } => Some(resolution.name().to_owned()),
        }
    }

    /// What the state means, in one sentence for people.
    pub fn meaning(&self) -> &'static str {
        match self {
            Self::Triggered => "at least one alert fires, or NATS says that it is not over",
            Self::Acknowledged(_) => "somebody takes care of it",
            Self::Recovering { .. } => {
                "every alert is reported resolved; NATS is asked before that is believed"
            }
            Self::Resolved { resolution, .. } => resolution.meaning(),
        }
    }

    /// Whether it is over.
    pub fn is_resolved(&self) -> bool {
        matches!(self, Self::Resolved { .. })
    }

    /// Notes that `by` takes care of it. Of several the first counts.
    ///
    /// # Errors
    ///
    /// It is acknowledged already, or over.
    pub fn acknowledge(self, by: &str, at: Timestamp) -> Result<Self, InvalidTransition> {
        let acknowledgement = Acknowledgement { acknowledged_by: by.to_owned(), acknowledged_at: at };
        match self {
            Self::Triggered => Ok(Self::Acknowledged(acknowledgement)),
            Self::Recovering { recovering_since, acknowledgement: None } => {
                Ok(Self::Recovering { recovering_since, acknowledgement: Some(acknowledgement) })
            }
            Self::Recovering { acknowledgement: Some(_), .. } => {
                Err(InvalidTransition { action: "acknowledge", state: "acknowledged" })
            }
            other => Err(InvalidTransition { action: "acknowledge", state: other.name() }),
        }
    }

    /// Waits for NATS to say whether it is over, because every member was reported resolved.
    ///
    /// # Errors
    ///
    /// It is recovering already, or over.
    pub fn recover(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Triggered => Ok(Self::Recovering { recovering_since: at, acknowledgement: None }),
            Self::Acknowledged(by) => {
                Ok(Self::Recovering { recovering_since: at, acknowledgement: Some(by) })
            }
            other => Err(InvalidTransition { action: "recover", state: other.name() }),
        }
    }

    /// Goes back to where it was: it is not over, whatever was reported.
    ///
    /// # Errors
    ///
    /// It is not recovering.
    pub fn relapse(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::Recovering { acknowledgement: None, .. } => Ok(Self::Triggered),
            Self::Recovering { acknowledgement: Some(by), .. } => Ok(Self::Acknowledged(by)),
            other => Err(InvalidTransition { action: "relapse", state: other.name() }),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// It is over already.
    pub fn resolve(self, resolution: Resolution, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            other @ Self::Resolved { .. } => {
                Err(InvalidTransition { action: "resolve", state: other.name() })
            }
            _ => Ok(Self::Resolved { resolution, resolved_at: at, resolved_by: None }),
        }
    }

    /// Ends it because a person says so.
    ///
    /// # Errors
    ///
    /// It is over already.
    pub fn resolve_by_hand(self, by: &str, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            other @ Self::Resolved { .. } => {
                Err(InvalidTransition { action: "resolve", state: other.name() })
            }
            _ => Ok(Self::Resolved {
                resolution: Resolution::Manual,
                resolved_at: at,
                resolved_by: Some(by.to_owned()),
            }),
        }
    }

    /// Begins anew: it was not over for long, or not at all. Nobody takes care of it until somebody says so.
    ///
    /// # Errors
    ///
    /// It is not over.
    pub fn reopen(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::Resolved { .. } => Ok(Self::Triggered),
            other => Err(InvalidTransition { action: "reopen", state: other.name() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn acknowledged() -> IncidentState {
        IncidentState::Triggered.acknowledge("ada", at(1)).unwrap()
    }

    fn recovering(from: IncidentState) -> IncidentState {
        from.recover(at(2)).unwrap()
    }

    fn resolved() -> IncidentState {
        IncidentState::Triggered.resolve(Resolution::Unverified, at(3)).unwrap()
    }

    #[test]
    fn each_transition_has_the_states_it_starts_from() {
        type Transition = fn(IncidentState) -> Result<IncidentState, InvalidTransition>;
        let transitions: [(&str, Transition); 6] = [
            ("acknowledge", |state| state.acknowledge("bob", at(9))),
            ("recover", |state| state.recover(at(9))),
            ("relapse", IncidentState::relapse),
            ("resolve", |state| state.resolve(Resolution::Verified, at(9))),
            ("resolve", |state| state.resolve_by_hand("bob", at(9))),
            ("reopen", IncidentState::reopen),
        ];
        let states = [
            ("triggered", IncidentState::Triggered),
            ("acknowledged", acknowledged()),
            ("recovering", recovering(IncidentState::Triggered)),
            ("recovering", recovering(acknowledged())),
            ("resolved", resolved()),
        ];
        // where each transition leads from each state; a dash where it is refused
        let table = [
            ["acknowledged", "-", "recovering", "-", "-"],
            ["recovering", "recovering", "-", "-", "-"],
            ["-", "-", "triggered", "acknowledged", "-"],
            ["resolved", "resolved", "resolved", "resolved", "-"],
            ["resolved", "resolved", "resolved", "resolved", "-"],
            ["-", "-", "-", "-", "triggered"],
        ];
        for ((action, transition), row) in transitions.iter().zip(table) {
            for ((name, state), expected) in states.iter().zip(row) {
                match transition(state.clone()) {
                    Ok(next) => assert_eq!(next.name(), expected, "{action} {name}"),
                    Err(refused) => {
                        assert_eq!(expected, "-", "{action} {name}");
                        assert_eq!(refused.action, *action);
                    }
                }
            }
        }
        let refused = resolved().acknowledge("bob", at(9)).unwrap_err();
        assert_eq!(refused.to_string(), "cannot acknowledge an incident that is resolved");
    }

    #[test]
    fn an_acknowledgement_survives_a_false_recovery() {
        assert_eq!(recovering(acknowledged()).relapse().unwrap(), acknowledged());
        let late = recovering(IncidentState::Triggered).acknowledge("ada", at(1)).unwrap();
        assert_eq!(late.relapse().unwrap(), acknowledged());
    }

    #[test]
    fn every_state_and_resolution_is_read_back_by_its_name() {
        for name in ["verified", "unverified", "manual", "missed"] {
            assert_eq!(Resolution::from_name(name).unwrap().name(), name);
        }
        for state in
            [acknowledged(), recovering(acknowledged()), recovering(IncidentState::Triggered), resolved()]
        {
            let document = serde_json::to_value(&state).unwrap();
            assert!(IncidentState::NAMES.contains(&document["state"].as_str().unwrap()));
            assert_eq!(serde_json::from_value::<IncidentState>(document).unwrap(), state);
        }
    }

    #[test]
    fn the_identity_does_not_depend_on_how_the_cluster_was_found() {
        let key = |mapped_by| IncidentKey::Cluster {
            cluster: "prod".to_owned(),
            mapped_by,
            alert_name: "A".to_owned(),
        };
        assert_eq!(key(MappedBy::Matchers).identity(), key(MappedBy::Assumed).identity());
        let unmapped = IncidentKey::Unmapped { subject: "prod".to_owned(), alert_name: "A".to_owned() };
        assert_ne!(key(MappedBy::Matchers).identity(), unmapped.identity());
    }
}
