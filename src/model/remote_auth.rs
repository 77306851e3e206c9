//! How to be let in by a server that is asked: a monitoring port behind a proxy, an Alertmanager, a Prometheus.

use secrecy::SecretString;

/// What is shown to be let in. Debug output does not show the secrets.
#[derive(Debug, Clone)]
pub enum RemoteAuth {
    /// HTTP basic authentication.
    Basic {
        /// The user.
        username: String,
        /// The user's password.
        password: SecretString,
    },
    /// A bearer token.
    Bearer(SecretString),
}
