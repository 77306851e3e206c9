//! Where the logs of a cluster's servers are.

use std::path::PathBuf;

use crate::model::endpoint::Endpoint;

/// One place where logs are.
#[derive(Debug, Clone)]
pub enum LogSource {
    /// The file that a server, or whatever runs it, writes.
    File {
        /// Where it is.
        path: PathBuf,
        /// Which server writes it.
        server: Option<String>,
    },
    /// A Loki that has the logs of any number of servers.
    Loki {
        /// Where it is.
        endpoint: Endpoint,
        /// Which lines: a selector, with a pipeline or without.
        query: String,
    },
}
