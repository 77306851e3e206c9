//! The system account: where and as whom all servers of a cluster are asked over NATS itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

/// Where the system account of a cluster is reached, and as whom. Secrets are in files that may be replaced at any
/// time: each connection reads them anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemAccess {
    /// Where clients connect to servers of the cluster, `nats` or `tls`; one is enough, the others are learnt from it.
    pub urls: Vec<Url>,
    /// What is shown to be let in.
    pub login: SystemLogin,
    /// How TLS is spoken; without it, as the URLs and the servers want it.
    pub tls: Option<SystemTls>,
}

/// What is shown to be let in as a user of the system account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemLogin {
    /// A credentials file: a user's JWT and its seed, as `nsc` writes it.
    Credentials(PathBuf),
    /// A file that holds the seed of a user nkey.
    Nkey(PathBuf),
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// A file that holds the user's password.
        password_file: PathBuf,
    },
}

/// How TLS is spoken with the servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemTls {
    /// The CAs that vouch for the servers, in PEM; without it those of the machine.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown to the servers and its private key, both in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Whether the system account of a cluster can be used now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SystemStatus {
    /// Whether there is a connection.
    pub connected: bool,
    /// The name of the server that the connection is to; `null` without one.
    pub server: Option<String>,
    /// Why there is no connection, or what a server said against what was asked; `null` if nothing is known to be wrong.
    pub error: Option<String>,
}
