//! Closed connections: what the servers remember of those that ended or were refused.
//!
//! Each server keeps a ring of the last ten thousand or so, refused ones among them: a storm flushes it within seconds, so
//! how far back it reaches is part of what it says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The closed connections of a cluster, counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClosedConnections {
    /// What each server that answered remembers.
    pub servers: Vec<ClosedRing>,
    /// What went wrong on the others: what was tried, on which server, and why it failed. The look is complete without
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// How many there are in all.
    pub closed: u64,
    /// How many of them were refused: a limit was reached or they could not authenticate.
    pub refused: u64,
    /// By reason as the server writes it, most first.
    pub reasons: Vec<ReasonCount>,
    /// By application, the 200 with most of them, most first; those refused before they said their name are unnamed.
    pub applications: Vec<ClosedGroup>,
    /// By client address, the 200 with most of them, most first.
    pub ips: Vec<ClosedGroup>,
    /// By account, the 200 with most of them, most first; those refused before they had one are in `(no account)`.
    pub accounts: Vec<ClosedGroup>,
    /// By the minute in which they ended, oldest first, at most the last 120 of them.
    pub per_minute: Vec<ClosedMinute>,
}

impl ClosedConnections {
    /// Keeps the `top` largest groups of each kind; `closed` and `refused` go on counting all.
    pub fn top(mut self, top: usize) -> Self {
        for groups in [&mut self.applications, &mut self.ips, &mut self.accounts] {
            groups.truncate(top);
        }
        self
    }
}

/// What one server remembers of its closed connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClosedRing {
    /// The server's name.
    pub server: String,
    /// How many it listed.
    pub listed: u64,
    /// Whether its ring was full, so that older ones are forgotten: it listed as many as a ring usually holds (10,000),
    /// or far fewer than have ended since the server started.
    pub full: bool,
    /// When the oldest of them ended.
    pub reaches_back_to: Option<Timestamp>,
    /// The server's own time of the answer.
    pub at: Timestamp,
}

/// How many connections ended for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonCount {
    /// The reason as the server writes it.
    pub reason: String,
    /// How many.
    pub connections: u64,
    /// Whether the server refused them.
    pub refused: bool,
}

/// The closed connections that share a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClosedGroup {
    /// What they share. Text from strangers, at most 256 bytes.
    pub key: String,
    /// Set on the group of connections that have no value; its key is a placeholder such as `(unnamed)`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// How many ended.
    pub closed: u64,
    /// How many of them were refused.
    pub refused: u64,
    /// How many of them were accepted and ended within ten seconds.
    pub short_lived: u64,
    /// How long half of the accepted ones lasted at most, in seconds; up to an eighth too much, never too little.
    pub median_lifetime_s: Option<f64>,
    /// The most common reason.
    pub top_reason: String,
}

/// What ended within one minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClosedMinute {
    /// When the minute began.
    pub at: Timestamp,
    /// How many ended.
    pub closed: u64,
    /// How many of them were refused.
    pub refused: u64,
}

/// Whether a reason means that the server did not let the client in, or no longer (`ClosedState.String` of nats-server).
pub fn is_refusal(reason: &str) -> bool {
    matches!(
        reason,
        "Maximum Connections Exceeded"
            | "Maximum Account Connections Exceeded"
            | "Authentication Failure"
            | "Authentication Timeout"
            | "Incorrect Port"
            | "TLS Handshake Failure"
    )
}
