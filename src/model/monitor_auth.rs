//! Credentials for monitoring ports.

use secrecy::SecretString;

/// How to be let in by a monitoring port behind a proxy. Debug output does not show the secrets.
#[derive(Debug, Clone)]
pub enum MonitorAuth {
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
