//! Asks a daemon through its API, as the operator of this host if its token can be found.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use crate::app::operator_token;
use crate::config::{Config, Storage};
use crate::http::error::Problem;
use crate::model::credential::line_of;
use crate::model::printable::visible;
use crate::outgoing;

/// How long the daemon may take to answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the daemon is, and what to show it.
#[derive(Debug, Args)]
pub(super) struct ClientArguments {
    /// Where the daemon listens.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "CONNWARDEN_SERVER",
        default_value = "http://127.0.0.1:9480"
    )]
    server: Url,
    /// File with the token to show the daemon. [default: operator-token in the storage directory, if the daemon is on
    /// this host]
    #[arg(long, global = true, value_name = "FILE", env = "CONNWARDEN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The token itself: only from the environment, where other users of the host do not see it.
    #[arg(long, global = true, hide = true, env = "CONNWARDEN_TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
    /// Storage directory of the daemon on this host, for its token. [default: data]
    #[arg(long = "storage.path", global = true, value_name = "DIR", env = "CONNWARDEN_STORAGE_PATH")]
    storage_path: Option<PathBuf>,
    /// Configuration file of the daemon on this host, for its storage directory.
    #[arg(long = "config.file", global = true, value_name = "FILE")]
    config_file: Option<PathBuf>,
}

/// A daemon to ask.
#[derive(Debug)]
pub(super) struct Client {
    server: Url,
    token: Option<SecretString>,
}

impl Client {
    /// Finds out what to show the daemon.
    ///
    /// # Errors
    ///
    /// The token that was named cannot be read.
    pub(super) fn new(arguments: ClientArguments) -> anyhow::Result<Self> {
        let ClientArguments { server, token_file, token, storage_path, config_file } = arguments;
        let token = match (token, token_file) {
            (Some(token), _) => Some(checked(token.expose_secret()).context("reading CONNWARDEN_TOKEN")?),
            (None, Some(file)) => Some(read(&file).with_context(|| format!("reading {}", file.display()))?),
            // nobody but the daemon on this host is shown what nobody asked to be shown
            (None, None) if is_this_host(&server) => {
                let storage = match (storage_path, config_file) {
                    (Some(path), _) => path,
                    (None, Some(file)) => Config::load(&file)?.storage.path,
                    (None, None) => Storage::default().path,
                };
                // without one, the daemon may still let us read
                read(&operator_token::path(&storage)).ok()
            }
            (None, None) => None,
        };
        Ok(Self { server, token })
    }

    /// Asks for a document.
    ///
    /// # Errors
    ///
    /// Nobody answered, or the daemon refused, or it is none.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        self.send(path, |http, mut url| {
            url.query_pairs_mut().extend_pairs(query);
            http.get(url)
        })
        .await
    }

    /// Has something done; the document that is answered.
    ///
    /// # Errors
    ///
    /// Nobody answered, or the daemon refused, or it is none.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> anyhow::Result<T> {
        self.send(path, |http, url| http.post(url).json(body)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        path: &str,
        request: impl FnOnce(reqwest::Client, Url) -> RequestBuilder,
    ) -> anyhow::Result<T> {
        let server = &self.server;
        let url = below(server, path).with_context(|| format!("{server} is not the URL of a daemon"))?;
        // what is meant for one address is for no other
        let http =
            outgoing::client(|builder| builder.timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()));
        let mut request = request(http, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let answer = request.send().await.with_context(|| {
            format!("asking {server}; is `connwarden serve` running there? (see --server)")
        })?;
        let status = answer.status();
        let body = answer.bytes().await.with_context(|| format!("reading the answer of {server}"))?;
        if !status.is_success() {
            return Err(match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) => {
                    let hint = match (status.as_u16(), &self.token) {
                        (401 | 403, None) => {
                            " (no token was found to show: see --token-file and --storage.path)"
                        }
                        (401 | 403, Some(_)) => " (see --token-file and --storage.path)",
                        _ => "",
                    };
                    anyhow::anyhow!("{}{hint}", visible(&problem.detail))
                }
                Err(_) => anyhow::anyhow!("{server} answers with status {status}: is it connwarden?"),
            });
        }
        serde_json::from_slice(&body).map_err(|error| {
            anyhow::anyhow!("reading the document of {server}: {}", visible(&error.to_string()))
        })
    }
}

/// Reads a token from its file.
fn read(file: &Path) -> anyhow::Result<SecretString> {
    checked(&std::fs::read_to_string(file)?)
}

/// Takes what can be sent for a token. Nothing of it may get into a message.
fn checked(text: &str) -> anyhow::Result<SecretString> {
    let token = line_of(text);
    anyhow::ensure!(
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()),
        "it is not one line of printable ASCII characters without blanks"
    );
    Ok(SecretString::from(token))
}

/// Whether whoever answers there runs on this host.
fn is_this_host(server: &Url) -> bool {
    match server.host() {
        Some(Host::Domain(name)) => name == "localhost" || name == "localhost.",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    }
}

/// A path below the URL of a daemon, which may be a prefix behind a reverse proxy.
fn below(server: &Url, path: &str) -> Option<Url> {
    let mut url = server.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().ok()?.pop_if_empty().extend(path.split('/'));
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_may_be_below_a_prefix() {
        let cases = [
            ("http://host:9480", "http://host:9480/api/v1/incidents"),
            ("http://host/prefix", "http://host/prefix/api/v1/incidents"),
            ("https://host/a/b/?x=y#z", "https://host/a/b/api/v1/incidents"),
        ];
        for (server, url) in cases {
            assert_eq!(below(&server.parse().unwrap(), "api/v1/incidents").unwrap().as_str(), url);
        }
        assert_eq!(below(&"localhost:9480".parse().unwrap(), "api/v1/incidents"), None);
    }

    /// What is shown to a server by somebody who names a storage directory with a token, and nothing else.
    fn shown(server: &str, token_file: Option<PathBuf>) -> Option<String> {
        let storage = tempfile::tempdir().unwrap();
        std::fs::write(operator_token::path(storage.path()), "token-of-the-host\n").unwrap();
        let arguments = ClientArguments {
            server: server.parse().unwrap(),
            token_file,
            token: None,
            storage_path: Some(storage.path().to_owned()),
            config_file: None,
        };
        Client::new(arguments).unwrap().token.map(|token| token.expose_secret().to_owned())
    }

    #[test]
    fn the_token_of_the_host_is_for_this_host_only() {
        for server in
            ["http://127.0.0.1:9480", "http://127.9.9.9", "http://[::1]:9480", "https://LOCALHOST:1/prefix"]
        {
            assert_eq!(shown(server, None).as_deref(), Some("token-of-the-host"), "{server}");
        }
        for server in [
            "http://10.0.0.1:9480",
            "http://warden.example",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.1@evil.example",
            "http://[2001:db8::1]",
        ] {
            assert_eq!(shown(server, None), None, "{server}");
        }
    }

    #[test]
    fn a_token_that_is_named_is_shown_to_whoever_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "given\r\n").unwrap();
        for server in ["http://127.0.0.1:9480", "https://warden.example"] {
            assert_eq!(shown(server, Some(file.clone())).as_deref(), Some("given"), "{server}");
        }
    }
}
