//! What the logs of the NATS servers say about connections.
//!
//! Counts are of lines, not of events: from 2.12 on a server writes about one line a second for refusals that read alike,
//! however many there are. They say that something happened and when, and never how often.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was read of the logs of a cluster's servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogEvidence {
    /// What was read, for people: files and Loki queries.
    pub source: String,
    /// From when on lines count.
    pub from: Timestamp,
    /// Until when lines count.
    pub to: Timestamp,
    /// Whether everything there is of that time was read.
    pub complete: bool,
    /// The lines that are about connections, those of most lines first.
    pub kinds: Vec<LogCount>,
    /// How many lines were looked at.
    pub lines_read: u64,
    /// Lines among those counted that have no time: they may be older.
    pub undated_lines: u64,
    /// Whether a server writes, or may write, fewer refusals than there are (2.12 and newer): counts are then lower
    /// bounds.
    pub rate_limited_versions: bool,
    /// What could not be read, and what is doubtful about what was.
    pub problems: Vec<String>,
}

/// Lines of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogCount {
    /// What they say.
    pub kind: LogKind,
    /// How many there are.
    pub lines: u64,
    /// The time of the first, if any has a time.
    pub first: Option<Timestamp>,
    /// The time of the last, if any has a time.
    pub last: Option<Timestamp>,
    /// The minutes that have any, with their number, in the order of time.
    pub per_minute: Vec<(Timestamp, u64)>,
    /// How many each server wrote, where that is known.
    pub servers: BTreeMap<String, u64>,
    /// Three at most: the first and the last ones, cut short and with nothing hidden in them.
    pub samples: Vec<String>,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// A connection was refused or cut because the server has `max_connections`.
    ServerLimit,
    /// A connection was refused or cut because its account has its most connections.
    AccountLimit,
    /// Somebody could not prove who they are.
    AuthError,
    /// Somebody did not try to in time (at debug level only).
    AuthTimeout,
    /// The auth callout refused somebody, or did not answer.
    CalloutDenied,
    /// A client did not take what was sent to it.
    SlowConsumer,
    /// A client was slowed down for the sake of those that could not follow.
    StalledProducer,
    /// The server was busy with one client for long.
    SlowReadLoop,
    /// A client did not answer pings (at debug level only).
    Stale,
    /// A TLS handshake failed.
    TlsError,
    /// A client said what is not allowed: garbage, too large a message, too many subscriptions.
    ProtocolError,
    /// The server had no file descriptor for another connection.
    OutOfDescriptors,
    /// Connections were cut to come down to a lower `max_connections`.
    Trimmed,
    /// The configuration was read anew.
    Reload,
    /// The configuration could not be read anew.
    ReloadFailed,
    /// The server started.
    Start,
    /// The server ended.
    Stop,
    /// The server asked its clients to go elsewhere.
    LameDuck,
}

impl LogKind {
    /// All kinds.
    pub const ALL: [Self; 18] = [
        Self::ServerLimit,
        Self::AccountLimit,
        Self::AuthError,
        Self::AuthTimeout,
        Self::CalloutDenied,
        Self::SlowConsumer,
        Self::StalledProducer,
        Self::SlowReadLoop,
        Self::Stale,
        Self::TlsError,
        Self::ProtocolError,
        Self::OutOfDescriptors,
        Self::Trimmed,
        Self::Reload,
        Self::ReloadFailed,
        Self::Start,
        Self::Stop,
        Self::LameDuck,
    ];

    /// What it is, in a few words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::ServerLimit => "over the server's limit",
            Self::AccountLimit => "over the account's limit",
            Self::AuthError => "authentication failed",
            Self::AuthTimeout => "authentication took too long",
            Self::CalloutDenied => "refused by the auth callout",
            Self::SlowConsumer => "slow consumer",
            Self::StalledProducer => "producer stalled",
            Self::SlowReadLoop => "server busy with one client",
            Self::Stale => "stale connection closed",
            Self::TlsError => "TLS handshake failed",
            Self::ProtocolError => "protocol violated",
            Self::OutOfDescriptors => "out of file descriptors",
            Self::Trimmed => "connections cut by a lower limit",
            Self::Reload => "configuration reloaded",
            Self::ReloadFailed => "reload failed",
            Self::Start => "server started",
            Self::Stop => "server stopped",
            Self::LameDuck => "lame duck mode",
        }
    }

    /// Whether servers from 2.12 on write fewer of these lines than there are events.
    pub fn is_rate_limited(self) -> bool {
        matches!(self, Self::ServerLimit | Self::AccountLimit | Self::AuthTimeout | Self::StalledProducer)
    }
}
