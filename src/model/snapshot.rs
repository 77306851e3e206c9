//! Snapshots: the connections of a cluster at one instant, and how much of them was seen.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::model::breakdown::Breakdowns;
use crate::model::closed::ClosedConnections;
use crate::model::server::ServerKey;
use crate::model::vitals::ServerVitals;

/// One look at a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The cluster's configured name.
    pub cluster: String,
    /// When the look began.
    pub taken_at: Timestamp,
    /// How much was seen.
    pub coverage: Coverage,
    /// What was seen.
    pub breakdowns: Breakdowns,
    /// What the servers remember of connections that ended or were refused; only where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<ClosedConnections>,
}

/// How much of a cluster a snapshot holds, and what the look cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Coverage {
    /// Connections seen.
    pub seen: u64,
    /// Connections there were, by what each server said (`/connz` `total`, else `/varz` `connections`, else as many
    /// as were seen of it).
    pub total: u64,
    /// Whether every server answered in full.
    pub complete: bool,
    /// How long the look took, in milliseconds.
    pub duration_ms: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Each server: those with a monitoring URL in the order of the configuration, then the others by name.
    pub servers: Vec<ServerCoverage>,
    /// Why the system account has not shown which servers there are; `null` if it has, or none is configured.
    #[serde(default)]
    pub system_error: Option<String>,
    /// After how long without activity a connection was counted as idle, in milliseconds; `null` if that was not kept.
    #[serde(default)]
    pub idle_after_ms: Option<u64>,
}

/// A way to a server's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Its monitoring port.
    Http,
    /// A client of the system account.
    System,
}

impl Via {
    /// The way for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::System => "system",
        }
    }
}

/// What one server let us see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerCoverage {
    /// Its configured monitoring URL; `null` if none is configured for it.
    pub url: Option<Url>,
    /// The way by which it was seen; `null` if it was not.
    #[serde(default)]
    pub via: Option<Via>,
    /// Its server name, from `/varz`.
    pub name: Option<String>,
    /// Its nats id, new at each start, from `/varz`.
    pub server_id: Option<String>,
    /// Its version, from `/varz`.
    pub version: Option<String>,
    /// Connections seen of it.
    pub seen: u64,
    /// Connections `/connz` says it has; counts leafnodes too on servers from 2.11.
    pub connz_total: Option<u64>,
    /// Clients `/varz` says it has: the true count behind the alert.
    pub varz_connections: Option<u64>,
    /// Its configured limit; 0 and below mean different things in different versions of nats-server.
    pub max_connections: Option<i64>,
    /// What it says of its configuration, its resources and its counters at `/varz`; `null` where it did not answer
    /// there, and under the second address of a server that has two.
    #[serde(default)]
    pub vitals: Option<ServerVitals>,
    /// How long it took to answer, in milliseconds.
    pub duration_ms: u64,
    /// Bytes received from it.
    pub bytes: u64,
    /// What went wrong, if anything did: what was tried, on which server, and why it failed.
    pub error: Option<String>,
    /// Under which address its connections are counted, where this is the second one of a server that has two; missing
    /// everywhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_at: Option<String>,
}

impl ServerCoverage {
    /// A server of which nothing was seen, and why.
    pub fn unseen(name: String, server_id: Option<String>, error: String) -> Self {
        Self {
            url: None,
            via: None,
            name: Some(name),
            server_id,
            version: None,
            seen: 0,
            connz_total: None,
            varz_connections: None,
            max_connections: None,
            vitals: None,
            duration_ms: 0,
            bytes: 0,
            error: Some(error),
            counted_at: None,
        }
    }

    /// What to call the server: its name, else where it is.
    pub fn display_name(&self) -> &str {
        self.name.as_deref().or_else(|| self.shown_url()).unwrap_or("(nameless)")
    }

    /// Its monitoring URL for people, if it has one.
    pub fn shown_url(&self) -> Option<&str> {
        self.url.as_ref().map(|url| url.as_str().trim_end_matches('/'))
    }

    /// In one word, how it answered; loud unless in full.
    pub fn answer(&self) -> &'static str {
        match (&self.error, self.total()) {
            (None, _) if self.counted_at.is_some() => "duplicate",
            (None, _) => "complete",
            (Some(_), Some(_)) => "INCOMPLETE",
            (Some(_), None) => "UNREACHABLE",
        }
    }

    /// What is left of the coverage of a server that is counted already, under another address. Whatever went wrong
    /// there, nothing of it is missing.
    pub fn counted_as(self, twin: &Self) -> Self {
        let counted_at = Some(twin.place().to_owned());
        Self {
            seen: 0,
            connz_total: None,
            varz_connections: None,
            vitals: None,
            error: None,
            counted_at,
            ..self
        }
    }

    /// Where it is, else what it is called.
    fn place(&self) -> &str {
        self.shown_url().unwrap_or_else(|| self.display_name())
    }

    /// What is worth knowing of it though nothing is wrong, in one line.
    pub fn note(&self) -> Option<String> {
        let counted_at = self.counted_at.as_ref()?;
        Some(format!(
            "{} is the same server as {counted_at}; its connections are counted there",
            self.place()
        ))
    }

    /// How many connections it has, by its own word.
    pub fn total(&self) -> Option<u64> {
        self.connz_total.or(self.varz_connections)
    }
}

impl Coverage {
    /// Sums up what the servers let us see.
    pub fn of(servers: Vec<ServerCoverage>, duration_ms: u64) -> Self {
        Self {
            seen: sum(servers.iter().map(|server| server.seen)),
            total: sum(servers.iter().map(|server| server.total().unwrap_or(server.seen))),
            // where not one is known, it is not known what is missing
            complete: !servers.is_empty() && servers.iter().all(|server| server.error.is_none()),
            duration_ms,
            bytes: sum(servers.iter().map(|server| server.bytes)),
            servers,
            system_error: None,
            idle_after_ms: None,
        }
    }

    /// Whether no server let us see anything.
    pub fn is_blind(&self) -> bool {
        self.servers.iter().all(|server| server.total().is_none() && server.seen == 0)
    }

    /// What went wrong, one line for the system account and one per server.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        let servers = self.servers.iter().filter_map(|server| server.error.as_deref());
        self.system_error.as_deref().into_iter().chain(servers)
    }

    /// What is worth knowing though nothing is wrong, one line per server.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.servers.iter().filter_map(ServerCoverage::note)
    }

    /// The servers, each once, however many addresses it has.
    pub fn each_server(&self) -> impl Iterator<Item = &ServerCoverage> {
        self.servers.iter().filter(|server| server.counted_at.is_none())
    }

    /// The server with this key; under its second address it is the one that is counted.
    pub fn server(&self, key: &ServerKey) -> Option<&ServerCoverage> {
        let meant = self.servers.iter().find(|server| match key {
            ServerKey::Url(url) => server.url.as_ref() == Some(url),
            ServerKey::Name(name) => server.name.as_ref() == Some(name),
        })?;
        if meant.counted_at.is_none() {
            return Some(meant);
        }
        self.each_server().find(|server| server.server_id == meant.server_id)
    }
}

/// Adds up what servers say of themselves; a lying one cannot make it overflow.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with ten connections under an address of its own.
    fn server(place: &str) -> ServerCoverage {
        ServerCoverage {
            url: Some(format!("http://{place}:8222").parse().unwrap()),
            via: Some(Via::Http),
            seen: 10,
            connz_total: Some(10),
            error: None,
            ..ServerCoverage::unseen("n1".to_owned(), Some("NA".to_owned()), String::new())
        }
    }

    #[test]
    fn a_second_address_is_no_gap_and_counts_nothing() {
        let first = server("10.0.0.1");
        let failed = ServerCoverage { error: Some("cut off".to_owned()), ..server("n1.example") };
        let coverage = Coverage::of(vec![first.clone(), failed.counted_as(&first)], 0);
        assert_eq!((coverage.seen, coverage.total, coverage.complete), (10, 10, true));
        assert_eq!(coverage.errors().count(), 0);
        assert_eq!(
            coverage.notes().collect::<Vec<_>>(),
            [
                "http://n1.example:8222 is the same server as http://10.0.0.1:8222; its connections are counted there"
            ]
        );
        assert_eq!(coverage.each_server().count(), 1);
        assert_eq!(
            coverage.servers.iter().map(ServerCoverage::answer).collect::<Vec<_>>(),
            ["complete", "duplicate"]
        );
        let key = ServerKey::Url("http://n1.example:8222".parse().unwrap());
        assert_eq!(coverage.server(&key), Some(&first));

        let gap = Coverage::of(vec![ServerCoverage { error: Some("cut off".to_owned()), ..first }], 0);
        assert!(!gap.complete);
    }

    #[test]
    fn a_second_address_that_was_stored_as_an_error_still_is_one() {
        let stored = serde_json::json!({
            "url": "http://n1.example:8222/", "via": "http", "name": "n1", "server_id": "NA", "version": "2.11.0",
            "seen": 0, "connz_total": null, "varz_connections": null, "max_connections": null, "duration_ms": 1,
            "bytes": 1, "error": "http://n1.example:8222/ is the same server as http://10.0.0.1:8222/"
        });
        let read: ServerCoverage = serde_json::from_value(stored).unwrap();
        assert_eq!((read.counted_at.as_ref(), read.answer()), (None, "UNREACHABLE"));
        let written = serde_json::to_value(&read).unwrap();
        assert!(written.get("counted_at").is_none(), "{written}");
    }
}
