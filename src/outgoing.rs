//! Outgoing HTTP: what every client has in common.

use reqwest::{Client, ClientBuilder};

/// Makes a client, finished by `set`. It goes through no proxy: whoever is asked is named by the configuration.
///
/// A machine without CA certificates can still ask by plain HTTP; by HTTPS it trusts nobody.
pub fn client(set: impl Fn(ClientBuilder) -> ClientBuilder) -> Client {
    let builder = || {
        let agent = concat!("connwarden/", env!("CARGO_PKG_VERSION"));
        set(Client::builder().no_proxy().user_agent(agent))
    };
    let client = builder().build().or_else(|error| {
        tracing::debug!(error = &error as &dyn std::error::Error, "no CA certificates: {error}");
        builder().tls_certs_only([]).build()
    });
    client.expect("a client that trusts nobody can be built, once a TLS provider is installed")
}
