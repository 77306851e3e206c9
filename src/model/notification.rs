//! A notification: one webhook POST from Alertmanager, carrying the alerts of one group.

use crate::model::alert::Alert;

/// What one POST said, whatever sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// The receiver's name as the sender writes it (Alertmanager escapes it as a regular expression).
    pub receiver: String,
    /// The group's key; stable over time and nodes, but not an identity.
    pub group_key: String,
    /// How many alerts of the group the sender left out.
    pub truncated_alerts: u64,
    /// The alerts, each with its own status: the only one to trust.
    pub alerts: Vec<Alert>,
}
