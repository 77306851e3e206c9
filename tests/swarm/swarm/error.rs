//! What goes wrong when a swarm is planned, opened or waited for.
//!
//! The messages carry their cause themselves: a failed test prints one line, not a chain.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::registry::Counts;

/// Why a swarm is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// A client is not up after its first attempt.
    #[error(
        "cannot open client {index} (`{name}`) to {server}, {connected} of {wanted} are up: \
         {failure}"
    )]
    NotUp {
        /// The client.
        index: usize,
        /// Its name, empty if it has none.
        name: String,
        /// The server it tried.
        server: SocketAddr,
        /// How many of the clients it was opened with were up then.
        connected: usize,
        /// How many there are of those.
        wanted: usize,
        /// What happened.
        failure: OpenError,
    },

    /// The process may not open that many files.
    #[error(
        "cannot hold the connections: {needed} file descriptors needed, the limit is {limit} \
         (raise it with `ulimit -n {needed}`)"
    )]
    Descriptors {
        /// How many the process needs.
        needed: usize,
        /// How many it may have.
        limit: usize,
    },

    /// The swarm did not become as wanted in time.
    #[error("the swarm is not as wanted after {timeout:?}: {counts}")]
    Waited {
        /// How long it was waited for.
        timeout: Duration,
        /// The counts then.
        counts: Box<Counts>,
    },
}

/// Why one connection is not up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The source address cannot be used, or all its ports are taken.
    #[error("binding to source address {address}: {error}")]
    Bind {
        /// The source address.
        address: IpAddr,
        /// What the system said.
        error: io::Error,
    },

    /// The connection failed.
    #[error("{stage}: {error}")]
    Failed {
        /// What was being done.
        stage: Stage,
        /// What the system said.
        error: io::Error,
    },

    /// The server answered with an error.
    #[error("{stage}: server answered -ERR '{text}'")]
    Refused {
        /// What was being done.
        stage: Stage,
        /// The text of the `-ERR`.
        text: String,
    },

    /// The server closed the connection without a word.
    #[error("{stage}: server closed the connection")]
    Closed {
        /// What was being done.
        stage: Stage,
    },

    /// The server was silent for too long.
    #[error("{stage}: no answer within {timeout:?}")]
    TimedOut {
        /// What was being done.
        stage: Stage,
        /// How long opening may take.
        timeout: Duration,
    },

    /// The server wants TLS.
    #[error("{}: server requires tls, which the swarm does not speak", Stage::Info)]
    TlsRequired,

    /// Something else than a NATS server answered.
    #[error("{stage}: not the NATS protocol: `{line}`")]
    Garbage {
        /// What was being done.
        stage: Stage,
        /// The beginning of what it said.
        line: String,
    },

    /// The client was closed while it was opening.
    #[error("closed by the swarm before it was up")]
    Abandoned,
}

/// How far opening a connection had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Making the TCP connection.
    Dial,
    /// Waiting for the server's INFO.
    Info,
    /// CONNECT, SUBs and PING are sent; waiting for the PONG.
    Pong,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dial => "making the TCP connection",
            Self::Info => "waiting for INFO",
            Self::Pong => "waiting for PONG after CONNECT",
        })
    }
}

/// Why a population cannot be planned.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PopulationError {
    /// All weights of one dimension are zero.
    #[error("cannot divide the clients among the {0}: all weights are zero")]
    NoWeight(&'static str),

    /// A name template has a placeholder that means nothing.
    #[error(
        "cannot expand client name `{template}`: unknown placeholder `{placeholder}` \
         (known: pod, uuid, n, pid, hex)"
    )]
    UnknownPlaceholder {
        /// The whole template.
        template: String,
        /// The part that is unknown.
        placeholder: String,
    },
}
