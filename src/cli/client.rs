//! Asks a daemon through its API, as the operator of this host if its token can be found.

mod address;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::{Certificate, RequestBuilder};
use rustls::CertificateError;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::app::operator_token;
use crate::cli::client::address::{below, is_this_host};
use crate::config::Config;
use crate::http::error::Problem;
use crate::model::credential::line_of;
use crate::model::printable::visible;
use crate::outgoing;

/// How long the daemon may take to answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long it may take to do something: a plan takes several looks at a whole cluster, whose servers may be slow.
const ACT_TIMEOUT: Duration = Duration::from_secs(300);

/// Where the daemon is, and what to show it.
#[derive(Debug, Args)]
pub(super) struct ClientArguments {
    /// Where the daemon listens. [default: as --config.file says, or http://127.0.0.1:9480]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "CONNWARDEN_SERVER",
        value_parser = address::parse
    )]
    server: Option<Url>,
    /// File with the certificates, in PEM, that vouch for a daemon with TLS. [default: those the system trusts]
    #[arg(long, global = true, value_name = "FILE", env = "CONNWARDEN_CA_FILE")]
    ca_file: Option<PathBuf>,
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
    /// Configuration file of the daemon on this host, for its address and its storage directory.
    #[arg(long = "config.file", global = true, value_name = "FILE")]
    config_file: Option<PathBuf>,
}

/// A daemon to ask.
#[derive(Debug)]
pub(super) struct Client {
    server: Url,
    /// What vouches for the daemon; none means what the system trusts.
    authorities: Option<Vec<Certificate>>,
    /// What to show, or why there is nothing.
    token: Result<SecretString, String>,
}

impl Client {
    /// Finds out where the daemon is and what to show it.
    ///
    /// # Errors
    ///
    /// A file that was named cannot be used.
    pub(super) fn new(arguments: ClientArguments) -> anyhow::Result<Self> {
        let ClientArguments { server, ca_file, token_file, token, storage_path, config_file } = arguments;
        let needs_storage = token.is_none() && token_file.is_none() && storage_path.is_none();
        let config = match &config_file {
            // its secrets are for the daemon, and often for nobody else
            Some(file) if server.is_none() || needs_storage => Config::load_without_secrets(file)
                .map_err(|problems| anyhow::anyhow!("the configuration is wrong\n{problems}"))?,
            _ => Config::default(),
        };
        let server = match server {
            Some(server) => server,
            None => address::of(&config.web)?,
        };
        let authorities = ca_file.as_deref().map(read_authorities).transpose()?;
        let token = match (token, token_file) {
            (Some(token), _) => Ok(checked(token.expose_secret()).context("reading CONNWARDEN_TOKEN")?),
            (None, Some(file)) => Ok(read(&file).with_context(|| format!("reading {}", file.display()))?),
            // nobody but the daemon on this host is shown what nobody asked to be shown
            (None, None) if is_this_host(&server) => {
                // without one, the daemon may still let us read
                find(&operator_token::path(&storage_path.unwrap_or(config.storage.path)))
            }
            (None, None) => Err("that of this host is for loopback addresses only".to_owned()),
        };
        Ok(Self { server, authorities, token })
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
        let body = self.send(path, |http, url| http.get(with(url, query))).await?;
        self.read(&body)
    }

    /// Asks for a text. It may be anything: make it visible before it is shown.
    ///
    /// # Errors
    ///
    /// Nobody answered, or the daemon refused, or it is none.
    pub(super) async fn get_text(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<String> {
        let body = self.send(path, |http, url| http.get(with(url, query))).await?;
        String::from_utf8(body).map_err(|_| anyhow::anyhow!("the answer of {} is not text", self.server))
    }

    /// Has something done; the document that is answered.
    ///
    /// # Errors
    ///
    /// Nobody answered, or the daemon refused, or it is none.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> anyhow::Result<T> {
        let body = self.send(path, |http, url| http.post(url).timeout(ACT_TIMEOUT).json(body)).await?;
        self.read(&body)
    }

    /// Has something done that is done only once for the same key, however often it is asked for.
    ///
    /// # Errors
    ///
    /// Nobody answered, or the daemon refused, or it is none.
    pub(super) async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> anyhow::Result<T> {
        let request = |http: reqwest::Client, url| {
            let request = http.post(url).timeout(ACT_TIMEOUT).json(body);
            match key {
                Some(key) => request.header("Idempotency-Key", key),
                None => request,
            }
        };
        let body = self.send(path, request).await?;
        self.read(&body)
    }

    /// Has something removed whose name may be any text.
    ///
    /// # Errors
    ///
    /// Nobody answered, or the daemon refused.
    pub(super) async fn delete(&self, path: &str, name: &str) -> anyhow::Result<()> {
        let request = |http: reqwest::Client, mut url: Url| {
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.push(name);
            }
            http.delete(url)
        };
        self.send(path, request).await.map(drop)
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> anyhow::Result<T> {
        serde_json::from_slice(body).map_err(|error| {
            anyhow::anyhow!("reading the document of {}: {}", self.server, visible(&error.to_string()))
        })
    }

    /// Sends a request; the body of an answer that is no refusal.
    async fn send(
        &self,
        path: &str,
        request: impl FnOnce(reqwest::Client, Url) -> RequestBuilder,
    ) -> anyhow::Result<Vec<u8>> {
        let server = &self.server;
        let url = below(server, path).with_context(|| format!("{server} is not the URL of a daemon"))?;
        // what is meant for one address is for no other
        let http = outgoing::client(|builder| {
            let builder = builder.timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
            match &self.authorities {
                Some(authorities) => builder.tls_certs_only(authorities.iter().cloned()),
                None => builder,
            }
        });
        let mut request = request(http, url);
        if let Ok(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let answer = request.send().await.map_err(|error| unreached(server, error))?;
        let status = answer.status();
        let body = answer.bytes().await.with_context(|| format!("reading the answer of {server}"))?;
        if !status.is_success() {
            return Err(match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) => {
                    let hint = match (status.as_u16(), &self.token) {
                        (401 | 403, Err(why)) => format!(
                            " (no token was found to show: {why}; name one with --token-file, or where the daemon \
                             keeps its own with --storage.path or --config.file)"
                        ),
                        (401 | 403, Ok(_)) => " (see --token-file and --storage.path)".to_owned(),
                        _ => String::new(),
                    };
                    anyhow::anyhow!("{}{hint}", visible(&problem.detail))
                }
                Err(_) => anyhow::anyhow!("{server} answers with status {status}: is it connwarden?"),
            });
        }
        Ok(body.into())
    }
}

/// A URL with a query.
fn with(mut url: Url, query: &[(&str, String)]) -> Url {
    url.query_pairs_mut().extend_pairs(query);
    url
}

/// Says why a daemon could not be asked.
fn unreached(server: &Url, error: reqwest::Error) -> anyhow::Error {
    match tls_failure(&error) {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            let said = reason.to_string();
            let advice = match reason {
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "call it by a name of the certificate with --server; --ca-file cannot help"
                }
                // what `openssl req -x509` makes
                _ if said.contains("CaUsedAsEndEntity") => {
                    "it is that of an authority, which no server may show: sign one for the server with it, or make it \
                     with basicConstraints=CA:FALSE, and name it with --ca-file"
                }
                _ => "name the certificate of the authority that signed it with --ca-file",
            };
            anyhow::anyhow!("the TLS certificate of {server} is not trusted: {}; {advice}", visible(&said))
        }
        Some(failure) => {
            let failure = failure.to_string();
            let failure = visible(&failure);
            anyhow::anyhow!(
                "no TLS connection to {server}: {failure}; is it https? (see --server and --ca-file)"
            )
        }
        None => anyhow::Error::new(error)
            .context(format!("asking {server}; is `connwarden serve` running there? (see --server)")),
    }
}

/// What the TLS library said, if it was TLS that failed.
fn tls_failure(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref() {
            return Some(failure);
        }
        cause = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            // what an I/O error wraps is not its source
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Reads the certificates that vouch for a daemon, at least one.
fn read_authorities(file: &Path) -> anyhow::Result<Vec<Certificate>> {
    let place = file.display();
    let pem = std::fs::read(file).with_context(|| format!("reading {place}"))?;
    let authorities = Certificate::from_pem_bundle(&pem)
        .map_err(|error| anyhow::anyhow!("reading {place}: {}", outgoing::root_cause(&error)))?;
    anyhow::ensure!(!authorities.is_empty(), "{place} holds no certificate in PEM");
    Ok(authorities)
}

/// Looks for a token that nobody has named; otherwise where it was looked for, and why it is not there.
fn find(file: &Path) -> Result<SecretString, String> {
    read(file).map_err(|error| {
        let why = match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(ErrorKind::NotFound) => "not found".to_owned(),
            Some(ErrorKind::PermissionDenied) => "permission denied".to_owned(),
            _ => format!("{error:#}"),
        };
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        format!("{}: {why}", file.display())
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown to a server by somebody who names a storage directory with a token, and nothing else.
    fn shown(server: &str, token_file: Option<PathBuf>) -> Option<String> {
        let storage = tempfile::tempdir().unwrap();
        std::fs::write(operator_token::path(storage.path()), "token-of-the-host\n").unwrap();
        let arguments = ClientArguments {
            server: Some(server.parse().unwrap()),
            ca_file: None,
            token_file,
            token: None,
            storage_path: Some(storage.path().to_owned()),
            config_file: None,
        };
        Client::new(arguments).unwrap().token.ok().map(|token| token.expose_secret().to_owned())
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
