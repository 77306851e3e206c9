//! What the timeline says of reports. Texts from strangers are cut and made visible before they get in.

use jiff::{SignedDuration, Timestamp};

use crate::engine::rules::IncidentRules;
use crate::model::alert::Alert;
use crate::model::ids::IncidentId;
use crate::model::incident::IncidentKey;
use crate::model::mapping::MappedBy;

/// How many alerts of a notification get an entry each, per kind of entry; a group may hold thousands.
pub(in crate::engine) const TOLD_ONE_BY_ONE: usize = 10;

/// The longest text from a stranger that an entry repeats, in characters.
const LONGEST_TOLD: usize = 100;

/// Of an incident whose end nobody has told.
pub(super) const MISSED: &str = "no Alertmanager knows of its alerts any more; their end was never told";

/// Of an incident whose end is checked.
pub(super) const RECOVERING: &str = "all alerts are reported resolved; NATS is asked before that is believed";

/// Why the end of an incident is not checked.
pub(super) fn unverified(key: &IncidentKey, rules: &IncidentRules) -> &'static str {
    if key.cluster().is_none() {
        "all alerts are reported resolved; NATS was not asked, because they are about no configured cluster"
    } else if rules.connection_alerts.contains(key.alert_name()) {
        "all alerts are reported resolved; NATS was not asked, because neither the alert nor the configuration says \
         from how many connections on it holds (clusters[].thresholds)"
    } else {
        "all alerts are reported resolved; NATS was not asked, because the alert is none that counts connections \
         (incidents.connection_alerts)"
    }
}

/// Of a group that was cut by its sender.
pub(super) fn truncated(count: u64, rules: &IncidentRules) -> String {
    let then = if rules.alertmanager_can_be_asked {
        "Alertmanager is asked for them"
    } else {
        "they cannot be asked for, because no Alertmanager is configured (alertmanagers[].url)"
    };
    format!("the sender left {count} more alerts of the group out; {then}")
}

pub(super) fn reopened(resolved_at: Timestamp, at: Timestamp) -> String {
    let ago = at.duration_since(resolved_at).max(SignedDuration::ZERO);
    format!("opened again, {} s after it was over", ago.as_secs())
}

pub(super) fn opened(key: &IncidentKey, previous: Option<IncidentId>) -> String {
    let key = match key {
        IncidentKey::Cluster { cluster, mapped_by, alert_name } => IncidentKey::Cluster {
            cluster: cluster.clone(),
            mapped_by: *mapped_by,
            alert_name: told(alert_name),
        },
        IncidentKey::Unmapped { subject, alert_name } => {
            IncidentKey::Unmapped { subject: told(subject), alert_name: told(alert_name) }
        }
    };
    let opened = match &key {
        IncidentKey::Cluster { mapped_by: MappedBy::Assumed, cluster, .. } => format!(
            "{key}; the cluster is assumed: nothing in the alert names it, but `{cluster}` is the only one \
             without matchers"
        ),
        IncidentKey::Cluster { .. } => key.to_string(),
        IncidentKey::Unmapped { .. } => format!(
            "{key}: no matchers hold for the alert and no configured server is named by it, so NATS was not \
             looked at"
        ),
    };
    match previous {
        Some(previous) => format!("{opened}; the last one was {previous}"),
        None => opened,
    }
}

/// The labels that tell one alert of an incident from another.
pub(in crate::engine) fn describe(alert: &Alert) -> String {
    let mut described = String::new();
    for name in ["server_id", "instance", "pod"] {
        if let Some(value) = alert.labels.get(name) {
            let space = if described.is_empty() { "" } else { " " };
            described.extend([space, name, "=\"", &told(value), "\""]);
        }
    }
    if described.is_empty() {
        described = told(alert.fingerprint.as_str());
    }
    if let Some(value) = alert.value {
        described.extend([", value ", &value.value.to_string()]);
    }
    described
}

/// A text from a stranger as an entry repeats it: cut, and with everything made visible.
pub(in crate::engine) fn told(text: &str) -> String {
    // nearly every text; each alert has several, and its sender waits
    let plain = |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'\\');
    if text.len() <= LONGEST_TOLD && text.bytes().all(plain) {
        return text.to_owned();
    }
    let end = text.char_indices().nth(LONGEST_TOLD).map(|(place, _)| place);
    let (kept, more) = end.map_or((text, ""), |end| (&text[..end], "…"));
    format!("{}{more}", kept.escape_debug())
}

/// Who sent a notification, as the timeline names it: the first word of its `User-Agent`.
pub(super) fn actor(sender: &str) -> String {
    let product = sender.split_whitespace().next().unwrap_or_default();
    if product.is_empty() { "unknown sender".to_owned() } else { product.chars().take(60).collect() }
}
