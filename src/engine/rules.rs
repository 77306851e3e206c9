//! The rules of the lifecycle: when an incident begins anew, and what says that it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::incident::IncidentKey;
use crate::model::instants::later;
use crate::model::member::Member;
use crate::model::threshold::Threshold;

/// What the configuration says about the lifecycle of incidents.
#[derive(Debug, Clone)]
pub struct IncidentRules {
    /// How long after its end an incident is opened again instead of another one.
    pub reopen_window: Duration,
    /// How long a firing may stand against an end that was told before it is believed, where nobody can be asked.
    pub stale_timeout: Duration,
    /// The pause between two looks at NATS while the end of an incident is checked.
    pub verify_interval: Duration,
    /// The alerts whose end is checked by counting connections.
    pub connection_alerts: BTreeSet<String>,
    /// From how many connections of one server on an alert holds, by cluster and alert name.
    pub thresholds: BTreeMap<(String, String), u64>,
    /// Whether an Alertmanager is configured that can be asked what fires.
    pub alertmanager_can_be_asked: bool,
}

impl IncidentRules {
    /// Whether something at `at` comes soon enough after an end to be the same problem. A clock that was set back does
    /// not make it another one.
    pub fn is_same_problem(&self, resolved_at: Timestamp, at: Timestamp) -> bool {
        at <= later(resolved_at, self.reopen_window)
    }

    /// When a firing that has stood against its end since `stale_since` is believed.
    pub fn stale_until(&self, stale_since: Timestamp) -> Timestamp {
        later(stale_since, self.stale_timeout)
    }

    /// The threshold that a member is compared with, if its end can be checked by counting at all.
    pub fn threshold(&self, key: &IncidentKey, member: &Member) -> Option<Threshold> {
        let (cluster, alert_name) = (key.cluster()?, key.alert_name());
        if !self.connection_alerts.contains(alert_name) {
            return None;
        }
        let configured = self.thresholds.get(&(cluster.to_owned(), alert_name.to_owned()));
        configured
            .map(|connections| Threshold::configured(*connections))
            .or_else(|| Threshold::from_generator_url(&member.alert.generator_url))
    }
}
