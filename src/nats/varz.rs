//! What a server says of itself at `/varz`, cut down to what is used.

use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::model::vitals::ServerVitals;
use crate::nats::text::{clip, clipped};

/// The part of `/varz` that connwarden reads.
///
/// Every version from 2.9 to 2.15 has `server_id` to `max_connections`. What follows is read leniently: a field that a
/// version does not have, or that holds something else than expected, is not told.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Varz {
    /// The server's nats id (`N…`), new at each start.
    #[serde(deserialize_with = "clipped")]
    pub server_id: String,
    /// Its name; the id again where none is configured.
    #[serde(default, deserialize_with = "clipped")]
    pub server_name: String,
    /// Its version, such as `2.10.26`.
    #[serde(default, deserialize_with = "clipped")]
    pub version: String,
    /// Clients connected now, sockets that have not authenticated yet among them; no leafnodes, no routes.
    #[serde(default)]
    pub connections: u64,
    /// The configured limit, if it is told. 0 and below mean different things in different versions.
    pub max_connections: Option<i64>,
    /// The server's clock.
    #[serde(default, deserialize_with = "told")]
    pub now: Option<Timestamp>,
    /// When it started.
    #[serde(default, deserialize_with = "told")]
    pub start: Option<Timestamp>,
    /// When its configuration was last loaded.
    #[serde(default, deserialize_with = "told")]
    pub config_load_time: Option<Timestamp>,
    /// Digest of its configuration, `sha256:…` (from 2.11 on).
    #[serde(default, deserialize_with = "told")]
    pub config_digest: Option<String>,
    /// The NATS cluster it belongs to; without a name outside of any.
    #[serde(default, deserialize_with = "told")]
    pub cluster: Option<VarzCluster>,
    /// The account of its system: a name, or in operator mode a public key. Every version from 2.9 to 2.15 tells it.
    #[serde(default, deserialize_with = "told")]
    pub system_account: Option<String>,
    /// Connections ever accepted by this run of the server.
    #[serde(default, deserialize_with = "told")]
    pub total_connections: Option<u64>,
    /// Leafnode connections.
    #[serde(default, deserialize_with = "told")]
    pub leafnodes: Option<u64>,
    /// Processor time in percent of one core.
    #[serde(default, deserialize_with = "told")]
    pub cpu: Option<f64>,
    /// Processors of the host.
    #[serde(default, deserialize_with = "told")]
    pub cores: Option<u64>,
    /// Processors that Go uses at once.
    #[serde(default, deserialize_with = "told")]
    pub gomaxprocs: Option<u64>,
    /// Resident memory in bytes.
    #[serde(default, deserialize_with = "told")]
    pub mem: Option<u64>,
    /// Go's soft memory limit in bytes; left out, or the largest number there is, where none is set.
    #[serde(default, deserialize_with = "told")]
    pub gomemlimit: Option<u64>,
    /// Slow consumers since the start.
    #[serde(default, deserialize_with = "told")]
    pub slow_consumers: Option<u64>,
    /// The same by what they were (from 2.10 on).
    #[serde(default, deserialize_with = "told")]
    pub slow_consumer_stats: Option<VarzSlowConsumers>,
    /// Connections closed because they no longer answered pings, since the start (from 2.12 on).
    #[serde(default, deserialize_with = "told")]
    pub stale_connections: Option<u64>,
    /// Times a producer was made to wait, since the start (from 2.12 on).
    #[serde(default, deserialize_with = "told")]
    pub stalled_clients: Option<u64>,
    /// How often an idle client is pinged, in nanoseconds.
    #[serde(default, deserialize_with = "told")]
    pub ping_interval: Option<u64>,
    /// After how many unanswered pings a client is closed.
    #[serde(default, deserialize_with = "told")]
    pub ping_max: Option<u64>,
    /// How long a write to a client may take, in nanoseconds.
    #[serde(default, deserialize_with = "told")]
    pub write_deadline: Option<u64>,
    /// How long a client may take to authenticate, in seconds, with fractions.
    #[serde(default, deserialize_with = "told")]
    pub auth_timeout: Option<f64>,
    /// Bytes that may wait for one client.
    #[serde(default, deserialize_with = "told")]
    pub max_pending: Option<u64>,
    /// Subscriptions.
    #[serde(default, deserialize_with = "told")]
    pub subscriptions: Option<u64>,
    /// Messages received since the start.
    #[serde(default, deserialize_with = "told")]
    pub in_msgs: Option<u64>,
    /// Messages sent since the start.
    #[serde(default, deserialize_with = "told")]
    pub out_msgs: Option<u64>,
    /// Bytes received since the start.
    #[serde(default, deserialize_with = "told")]
    pub in_bytes: Option<u64>,
    /// Bytes sent since the start.
    #[serde(default, deserialize_with = "told")]
    pub out_bytes: Option<u64>,
}

/// What `/varz` says of the NATS cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct VarzCluster {
    /// Its name; left out on a server that is in none.
    #[serde(default, deserialize_with = "told")]
    pub name: Option<String>,
}

/// What `/varz` says of slow consumers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct VarzSlowConsumers {
    /// Those that were clients.
    #[serde(default, deserialize_with = "told")]
    pub clients: Option<u64>,
}

/// Reads what is there if it is what is expected.
fn told<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// Whether a version is 2.11 or newer: it hides tokens, and says what accounts are called. Unknown versions are not.
pub fn is_since_2_11(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= (2, 11),
        _ => false,
    }
}

impl Varz {
    /// Whether this version hides tokens in `authorized_user` (from 2.11 on); unknown versions do not.
    pub fn redacts_tokens(&self) -> bool {
        is_since_2_11(&self.version)
    }

    /// What the server says of its configuration, its resources and its counters.
    pub fn vitals(&self) -> ServerVitals {
        let text = |text: &Option<String>| text.as_deref().map(clip).map(str::to_owned);
        let millis = |nanos: Option<u64>| nanos.map(|nanos| nanos / 1_000_000);
        let seconds = self.auth_timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let no_limit = u64::try_from(i64::MAX).ok();
        let cluster = self.cluster.as_ref().and_then(|cluster| text(&cluster.name));
        ServerVitals {
            at: self.now,
            started_at: self.start,
            config_loaded_at: self.config_load_time,
            config_digest: text(&self.config_digest),
            nats_cluster: cluster.filter(|name| !name.is_empty()),
            system_account: text(&self.system_account),
            connections: self.connections,
            total_connections: self.total_connections,
            max_connections: self.max_connections,
            leafnodes: self.leafnodes,
            cpu_percent: self.cpu,
            cores: [self.cores, self.gomaxprocs].into_iter().flatten().min(),
            memory_bytes: self.mem,
            memory_limit_bytes: self.gomemlimit.filter(|limit| *limit > 0 && Some(*limit) != no_limit),
            slow_consumers: self.slow_consumers,
            slow_clients: self.slow_consumer_stats.as_ref().and_then(|stats| stats.clients),
            stale_connections: self.stale_connections,
            stalled_clients: self.stalled_clients,
            ping_interval_ms: millis(self.ping_interval),
            ping_max: self.ping_max,
            write_deadline_ms: millis(self.write_deadline),
            auth_timeout_ms: seconds.and_then(|timeout| u64::try_from(timeout.as_millis()).ok()),
            max_pending_bytes: self.max_pending,
            subscriptions: self.subscriptions,
            in_msgs: self.in_msgs,
            out_msgs: self.out_msgs,
            in_bytes: self.in_bytes,
            out_bytes: self.out_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_not_told_is_not_0() {
        let read = |json| serde_json::from_str::<Varz>(json).unwrap().max_connections;
        assert_eq!(read(r#"{"server_id":"N","max_connections":0}"#), Some(0));
        assert_eq!(read(r#"{"server_id":"N","max_connections":-1}"#), Some(-1));
        assert_eq!(read(r#"{"server_id":"N"}"#), None);
    }

    /// The vitals in a `/varz` that was captured.
    fn vitals(json: &str) -> ServerVitals {
        serde_json::from_str::<Varz>(json).unwrap().vitals()
    }

    #[test]
    fn the_vitals_of_the_newest_version_are_read_in_full() {
        let vitals = vitals(include_str!("../../tests/fixtures/nats/2.15.1/varz.json"));
        insta::assert_json_snapshot!(vitals, @r#"
        {
          "at": "2026-11-23T08:28:35.332521622Z",
          "started_at": "2026-11-23T08:28:31.519494375Z",
          "config_loaded_at": "2026-11-23T08:28:31.519494375Z",
          "config_digest": "sha256:2477060e602b18b578b0366f283392b553014d0bb88e74e5b389130d189e8139",
          "nats_cluster": null,
          "system_account": "SYS",
          "connections": 9,
          "total_connections": 9,
          "max_connections": 65536,
          "leafnodes": 1,
          "cpu_percent": 0.0,
          "cores": 2,
          "memory_bytes": 21901312,
          "memory_limit_bytes": null,
          "slow_consumers": 0,
          "slow_clients": 0,
          "stale_connections": 0,
          "stalled_clients": 0,
          "ping_interval_ms": 120000,
          "ping_max": 2,
          "write_deadline_ms": 10000,
          "auth_timeout_ms": 2000,
          "max_pending_bytes": 67108864,
          "subscriptions": 99,
          "in_msgs": 1,
          "out_msgs": 4,
          "in_bytes": 2,
          "out_bytes": 2252
        }
        "#);
    }

    #[test]
    fn what_a_version_does_not_tell_is_unknown() {
        let versions = [
            ("2.9.10", include_str!("../../tests/fixtures/nats/2.9.10/varz.json")),
            ("2.10.26", include_str!("../../tests/fixtures/nats/2.10.26/varz.json")),
            ("2.11.11", include_str!("../../tests/fixtures/nats/2.11.11/varz.json")),
            ("2.12.8", include_str!("../../tests/fixtures/nats/2.12.8/varz.json")),
            ("2.15.1", include_str!("../../tests/fixtures/nats/2.15.1/varz.json")),
        ];
        let shown = versions.map(|(version, json)| {
            let document = serde_json::to_value(vitals(json)).unwrap();
            let fields = document.as_object().unwrap().iter();
            let unknown = fields.filter(|(_, value)| value.is_null()).map(|(field, _)| field.as_str());
            format!("{version}: {}", unknown.collect::<Vec<_>>().join(" "))
        });
        insta::assert_snapshot!(shown.join("\n"), @r"
        2.9.10: config_digest memory_limit_bytes nats_cluster slow_clients stale_connections stalled_clients
        2.10.26: config_digest memory_limit_bytes nats_cluster stale_connections stalled_clients
        2.11.11: memory_limit_bytes nats_cluster stale_connections stalled_clients
        2.12.8: memory_limit_bytes nats_cluster
        2.15.1: memory_limit_bytes nats_cluster
        ");
    }

    #[test]
    fn a_field_that_holds_something_else_is_not_told_and_costs_no_other() {
        let vitals = vitals(
            r#"{"server_id":"N","connections":7,"now":"yesterday","cpu":"much","mem":-1,"cluster":"c","leafnodes":null,
                "slow_consumer_stats":{"clients":[]},"auth_timeout":-2,"gomemlimit":9223372036854775807,"in_msgs":5}"#,
        );
        let expected = ServerVitals { connections: 7, in_msgs: Some(5), ..ServerVitals::default() };
        assert_eq!(vitals, expected);
    }

    #[test]
    fn limits_of_processors_memory_and_patience_are_those_that_bind() {
        let vitals = vitals(
            r#"{"server_id":"N","cores":8,"gomaxprocs":2,"gomemlimit":1073741824,"auth_timeout":0.5,
                "ping_interval":120000000000,"write_deadline":1500000000,"cluster":{"name":"east"}}"#,
        );
        assert_eq!((vitals.cores, vitals.memory_limit_bytes), (Some(2), Some(1 << 30)));
        assert_eq!(
            (vitals.auth_timeout_ms, vitals.ping_interval_ms, vitals.write_deadline_ms),
            (Some(500), Some(120_000), Some(1_500))
        );
        assert_eq!(vitals.nats_cluster.as_deref(), Some("east"));
    }

    #[test]
    fn tokens_are_redacted_from_2_11_on() {
        let redacts =
            |version: &str| Varz { version: version.to_owned(), ..Varz::default() }.redacts_tokens();
        assert!(redacts("2.11.0"));
        assert!(redacts("2.15.1"));
        assert!(redacts("3.0.0-beta.1"));
        assert!(!redacts("2.10.26"));
        assert!(!redacts("2.9.10"));
        assert!(!redacts(""));
        assert!(!redacts("devel"));
    }
}
