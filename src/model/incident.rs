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

/// One problem, as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Its public id.
    pub id: IncidentId,
    /// What it is about.
    pub key: IncidentKey,
    /// Where it stands.
    pub state: IncidentState,
    /// When its first alert was received.
    pub opened_at: Timestamp,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
    /// What there is to know in one line, once the cluster has been looked at.
    pub headline: Option<String>,
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
    /// At least one member fires, as far as anybody has said.
    Triggered,
    /// It is over.
    Resolved {
        /// How that is known.
        resolution: Resolution,
        /// When it was noticed.
        resolved_at: Timestamp,
    },
}

/// How an incident's end is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// The sender said so; nobody looked at NATS itself.
    Unverified,
}

impl Resolution {
    /// The resolution as it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
        }
    }

    /// Reads what [`Resolution::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::Unverified.name()).then_some(Self::Unverified)
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
    /// The state's name, as it is stored and filtered by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Triggered => "triggered",
            Self::Resolved { .. } => "resolved",
        }
    }

    /// Ends the incident because every member was reported resolved.
    ///
    /// # Errors
    ///
    /// Only an unresolved incident can be resolved.
    pub fn resolve(self, resolution: Resolution, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Triggered => Ok(Self::Resolved { resolution, resolved_at: at }),
            other @ Self::Resolved { .. } => {
                Err(InvalidTransition { action: "resolve", state: other.name() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_resolved_only_once() {
        let at = Timestamp::UNIX_EPOCH;
        let resolved = IncidentState::Triggered.resolve(Resolution::Unverified, at).unwrap();
        assert_eq!(resolved.name(), "resolved");
        let refused = resolved.resolve(Resolution::Unverified, at).unwrap_err();
        assert_eq!(refused.to_string(), "cannot resolve an incident that is resolved");
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
