//! Outgoing HTTP: what every client has in common.

pub mod documents;
pub mod reverse_dns;

use reqwest::{Client, ClientBuilder, RequestBuilder};
use secrecy::ExposeSecret;

use crate::model::printable::excerpt;
use crate::model::remote_auth::RemoteAuth;

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

/// Adds to a request what lets it in.
pub fn authorize(request: RequestBuilder, auth: Option<&RemoteAuth>) -> RequestBuilder {
    match auth {
        None => request,
        Some(RemoteAuth::Basic { username, password }) => {
            request.basic_auth(username, Some(password.expose_secret()))
        }
        Some(RemoteAuth::Bearer(token)) => request.bearer_auth(token.expose_secret()),
    }
}

/// The innermost cause: what the operating system or the TLS library said.
pub fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    excerpt(&cause.to_string())
}
