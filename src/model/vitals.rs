//! Vitals: what a server says of itself beside its connections, and what two such looks say together.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a server says of its configuration, its resources and its counters, by its own clock.
///
/// Every field that a version does not tell is `None`: nothing is taken for 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ServerVitals {
    /// The server's own time of this answer.
    pub at: Option<Timestamp>,
    /// When the server started.
    pub started_at: Option<Timestamp>,
    /// When its configuration was last loaded: changes with each successful reload.
    pub config_loaded_at: Option<Timestamp>,
    /// Digest of its configuration, include files too (from 2.11 on).
    pub config_digest: Option<String>,
    /// The NATS cluster's name; `None` on a server that is in none.
    pub nats_cluster: Option<String>,
    /// Its system account, by name or public key.
    pub system_account: Option<String>,
    /// Clients connected now.
    pub connections: u64,
    /// Connections accepted since the start, refused ones among them.
    pub total_connections: Option<u64>,
    /// The configured limit.
    pub max_connections: Option<i64>,
    /// Leafnode connections.
    pub leafnodes: Option<u64>,
    /// Processor time in percent of one core; may exceed 100.
    pub cpu_percent: Option<f64>,
    /// Processors the server may use: the smaller of `cores` and `gomaxprocs`.
    pub cores: Option<u64>,
    /// Resident memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Go's soft memory limit in bytes, if one is set.
    pub memory_limit_bytes: Option<u64>,
    /// Consumers dropped or warned of because they were too slow, since the start.
    pub slow_consumers: Option<u64>,
    /// Of `slow_consumers`, those that were clients (from 2.10 on).
    pub slow_clients: Option<u64>,
    /// Connections closed because they no longer answered, since the start.
    pub stale_connections: Option<u64>,
    /// Times a producer was made to wait, since the start (from 2.12 on).
    pub stalled_clients: Option<u64>,
    /// How often an idle client is pinged, in milliseconds.
    pub ping_interval_ms: Option<u64>,
    /// After how many unanswered pings a client is closed.
    pub ping_max: Option<u64>,
    /// How long a write to a client may take, in milliseconds.
    pub write_deadline_ms: Option<u64>,
    /// How long a client may take to authenticate, in milliseconds.
    pub auth_timeout_ms: Option<u64>,
    /// Bytes that may wait for one client.
    pub max_pending_bytes: Option<u64>,
    /// Subscriptions.
    pub subscriptions: Option<u64>,
    /// Messages received since the start.
    pub in_msgs: Option<u64>,
    /// Messages sent since the start.
    pub out_msgs: Option<u64>,
    /// Bytes received since the start.
    pub in_bytes: Option<u64>,
    /// Bytes sent since the start.
    pub out_bytes: Option<u64>,
}

/// What became of a server's connections between two looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Churn {
    /// The server's name.
    pub server: String,
    /// Between which times, by the server's clock.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Connections that were attempted: accepted by the socket, whatever became of them.
    pub attempts: u64,
    /// Connections that ended, refused ones among them.
    pub closed: u64,
    /// How many connections there are more than before; negative if less.
    pub grown: i64,
}

impl Churn {
    /// What became of the connections of one run of a server between two looks; `None` if the server started anew in
    /// between, a counter ran backwards, or no time has passed.
    pub fn between(server: &str, before: &ServerVitals, after: &ServerVitals) -> Option<Self> {
        let (from, to) = (before.at?, after.at?);
        if before.started_at != after.started_at || from >= to {
            return None;
        }
        let attempts = after.total_connections?.checked_sub(before.total_connections?)?;
        let grown = i64::try_from(after.connections).ok()? - i64::try_from(before.connections).ok()?;
        let closed = i64::try_from(attempts).ok()?.checked_sub(grown)?;
        Some(Self {
            server: server.to_owned(),
            from,
            to,
            attempts,
            closed: u64::try_from(closed).unwrap_or(0),
            grown,
        })
    }

    /// How long it was.
    pub fn duration(&self) -> Duration {
        self.to.duration_since(self.from).try_into().unwrap_or_default()
    }

    /// Attempts a minute.
    pub fn attempts_per_minute(&self) -> f64 {
        per_minute(self.attempts, self.duration())
    }

    /// Ended connections a minute.
    pub fn closed_per_minute(&self) -> f64 {
        per_minute(self.closed, self.duration())
    }
}

/// What a count over some time is for a minute; 0 over no time.
pub fn per_minute(count: u64, over: Duration) -> f64 {
    if over.is_zero() { 0.0 } else { count as f64 * 60.0 / over.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vitals(at: &str, connections: u64, total_connections: u64) -> ServerVitals {
        ServerVitals {
            at: Some(at.parse().unwrap()),
            started_at: Some(Timestamp::UNIX_EPOCH),
            connections,
            total_connections: Some(total_connections),
            ..ServerVitals::default()
        }
    }

    #[test]
    fn what_came_and_did_not_stay_has_ended() {
        let before = vitals("2026-01-01T00:00:00Z", 100, 1_000);
        let after = vitals("2026-01-01T00:00:30Z", 110, 1_250);
        let churn = Churn::between("n1", &before, &after).unwrap();
        assert_eq!((churn.attempts, churn.closed, churn.grown), (250, 240, 10));
        assert_eq!((churn.attempts_per_minute(), churn.closed_per_minute()), (500.0, 480.0));
    }

    #[test]
    fn a_server_that_started_anew_is_not_compared_with_itself() {
        let before = vitals("2026-01-01T00:00:00Z", 100, 1_000);
        let after = vitals("2026-01-01T00:01:00Z", 110, 1_250);
        let anew =
            ServerVitals { started_at: Some("2026-01-01T00:00:10Z".parse().unwrap()), ..after.clone() };
        let backwards = ServerVitals { total_connections: Some(999), ..after.clone() };
        let silent = ServerVitals { total_connections: None, ..after };
        for after in [&anew, &backwards, &silent, &before] {
            assert_eq!(Churn::between("n1", &before, after), None);
        }
    }
}
