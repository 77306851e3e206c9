//! The certificate of the TLS listener, and whom it vouches for clients: read again when the files change.
//!
//! Handshakes use what could be used last. A new certificate that cannot be is said in the log and in a metric, and the
//! old one is served on: renewing must not take the listener down.

mod names;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use ring::digest;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::clock::{Clock, Stopwatch};
use crate::config::{Tls, TlsVersion};
use crate::telemetry::metrics::Metrics;

pub(super) use crate::app::tls::names::names;

/// How old what was read of the files may be when a client comes.
const REREAD_AFTER: Duration = Duration::from_secs(1);

/// The largest of the files, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// What the files of a TLS listener make.
#[derive(Debug)]
pub(super) struct Certificates {
    files: Tls,
    clock: Clock,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    /// What the files held when they were last read, or why they could not be.
    seen: Seen,
    read: Stopwatch,
}

/// Tells one content of the files from another.
type Seen = Result<Vec<u8>, String>;

/// What the files hold.
struct Contents {
    chain: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Reads the files as a start would.
///
/// # Errors
///
/// They cannot be used.
pub fn check(files: &Tls) -> anyhow::Result<()> {
    Contents::read(files)?.config(files).map(drop)
}

impl Certificates {
    /// Reads the files for the first time.
    ///
    /// # Errors
    ///
    /// They cannot be used.
    pub(super) fn load(files: Tls, clock: Clock, metrics: Metrics) -> anyhow::Result<Self> {
        let contents = Contents::read(&files)?;
        let (config, seen) = (contents.config(&files)?, Ok(contents.digest()));
        let state = State { config: Arc::new(config), seen, read: clock.stopwatch() };
        Ok(Self { files, clock, metrics, state: Mutex::new(state) })
    }

    /// What a handshake uses now.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.read.elapsed() >= REREAD_AFTER {
            state.read = self.clock.stopwatch();
            self.reread(&mut state);
        }
        state.config.clone()
    }

    fn reread(&self, state: &mut State) {
        let contents = Contents::read(&self.files);
        let seen = match &contents {
            Ok(contents) => Ok(contents.digest()),
            Err(error) => Err(format!("{error:#}")),
        };
        if state.seen == seen {
            return;
        }
        state.seen = seen;
        let file = self.files.cert_file.display();
        match contents.and_then(|contents| contents.config(&self.files)) {
            Ok(config) => {
                state.config = Arc::new(config);
                self.metrics.tls_certificate_refused(false);
                tracing::info!("new connections get the certificate that is in {file} now");
            }
            Err(error) => {
                self.metrics.tls_certificate_refused(true);
                tracing::error!("the earlier certificate is served on: {error:#}");
            }
        }
    }
}

impl Contents {
    fn read(files: &Tls) -> anyhow::Result<Self> {
        Ok(Self {
            chain: read(&files.cert_file)?,
            key: read(&files.key_file)?,
            client_ca: files.client_ca_file.as_deref().map(read).transpose()?,
        })
    }

    fn digest(&self) -> Vec<u8> {
        let mut whole = digest::Context::new(&digest::SHA256);
        for part in [&self.chain, &self.key, self.client_ca.as_ref().unwrap_or(&Vec::new())] {
            whole.update(digest::digest(&digest::SHA256, part).as_ref());
        }
        whole.finish().as_ref().to_vec()
    }

    fn config(&self, files: &Tls) -> anyhow::Result<ServerConfig> {
        let versions: &[&SupportedProtocolVersion] = match files.min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS12, &rustls::version::TLS13],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let chain = certificates(&self.chain, &files.cert_file)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| anyhow::anyhow!("{} holds no private key in PEM", files.key_file.display()))?;
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .context("choosing TLS versions")?;
        let builder = match (&self.client_ca, &files.client_ca_file) {
            (Some(text), Some(file)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(text, file)? {
                    roots.add(certificate).with_context(|| format!("trusting {}", file.display()))?;
                }
                // who shows none may have another credential
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .with_context(|| format!("trusting {}", file.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).with_context(|| {
            format!("using {} with {}", files.cert_file.display(), files.key_file.display())
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The certificates in a PEM text, at least one.
fn certificates(pem: &[u8], file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "{} holds no certificate in PEM", file.display());
    Ok(certificates)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let attempt = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(file)?;
        std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST_FILE), &mut bytes)?;
        Ok(bytes)
    };
    attempt().with_context(|| format!("reading {}", file.display()))
}
