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
            (None, _) => "complete",
            (Some(_), Some(_)) => "INCOMPLETE",
            (Some(_), None) => "UNREACHABLE",
        }
    }

    /// What is left of the coverage of a server that is counted already, under another address.
    pub fn counted_as(self, twin: &Self) -> Self {
        let place = |server: &Self| {
            server.url.as_ref().map_or_else(|| server.display_name().to_owned(), Url::to_string)
        };
        let error = format!(
            "{} is the same server as {}; its connections are counted there",
            place(&self),
            place(twin)
        );
        Self { seen: 0, connz_total: None, varz_connections: None, vitals: None, error: Some(error), ..self }
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

    /// The server with this key.
    pub fn server(&self, key: &ServerKey) -> Option<&ServerCoverage> {
        self.servers.iter().find(|server| match key {
            ServerKey::Url(url) => server.url.as_ref() == Some(url),
            ServerKey::Name(name) => server.name.as_ref() == Some(name),
        })
    }
}

/// Adds up what servers say of themselves; a lying one cannot make it overflow.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}
