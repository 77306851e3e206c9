//! Notifications that a test makes up, in Alertmanager's form.

use serde_json::{Value, json};

/// The name of the alert that this is all about.
pub const ALERT: &str = "NatsHighNumberOfConnections";

/// When the alerts of the tests began to fire.
pub const STARTED: &str = "2026-11-24T08:58:00Z";

/// An alert that fires since [`STARTED`].
pub fn firing(alert_name: &str, instance: &str) -> Value {
    json!({
        "status": "firing",
        "labels": { "alertname": alert_name, "instance": instance, "severity": "warning" },
        "annotations": { "description": "High number of NATS connections\n  VALUE = 1024" },
        "startsAt": STARTED,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
    })
}

/// The same alert, over at `ended_at`.
pub fn resolved(mut alert: Value, ended_at: &str) -> Value {
    alert["status"] = json!("resolved");
    alert["endsAt"] = json!(ended_at);
    alert
}

/// The same alert, firing since `started_at`.
pub fn restarted(mut alert: Value, started_at: &str) -> Value {
    alert["status"] = json!("firing");
    alert["startsAt"] = json!(started_at);
    alert["endsAt"] = json!("0001-01-01T00:00:00Z");
    alert
}

/// The body of a notification of these alerts.
pub fn notification(alerts: &[Value]) -> String {
    let body = json!({
        "version": "4",
        "receiver": "connwarden",
        "groupKey": "{}:{}",
        "externalURL": "http://alertmanager.example:9093",
        "truncatedAlerts": 0,
        "alerts": alerts,
    });
    body.to_string()
}
