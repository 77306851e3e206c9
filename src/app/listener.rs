//! The listener: plain TCP, or TLS with clients that may prove who they are.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener as Accepting};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::app::tls::{Certificates, names};
use crate::http::peer::Peer;
use crate::model::credential::CertificateName;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many handshakes may go on at once; who comes later waits.
const MOST_HANDSHAKES: usize = 512;

/// Where requests come from.
#[derive(Debug)]
pub(super) enum Listener {
    /// Anybody can read what is said.
    Plain(TcpListener),
    /// Nobody can.
    Tls(Box<TlsListener>),
}

impl Listener {
    /// Listens on `address`, with TLS if there are certificates.
    pub(super) async fn bind(address: SocketAddr, certificates: Option<Certificates>) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        Ok(match certificates {
            None => Self::Plain(tcp),
            Some(certificates) => Self::Tls(Box::new(TlsListener::new(tcp, certificates))),
        })
    }

    /// The address that was bound.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(tcp) => tcp.local_addr(),
            Self::Tls(tls) => tls.tcp.local_addr(),
        }
    }

    /// The scheme of its URLs.
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            Self::Plain(_) => "http",
            Self::Tls(_) => "https",
        }
    }

    /// Answers requests until told to stop; those that have begun are answered.
    pub(super) async fn serve(self, router: Router, stop: CancellationToken) -> io::Result<()> {
        let service = router.into_make_service_with_connect_info::<Peer>();
        let stopped = stop.cancelled_owned();
        match self {
            Self::Plain(tcp) => axum::serve(tcp, service).with_graceful_shutdown(stopped).await,
            Self::Tls(tls) => axum::serve(*tls, service).with_graceful_shutdown(stopped).await,
        }
    }
}

/// Listens by TLS. Nobody waits for the handshake of somebody else.
#[derive(Debug)]
pub(super) struct TlsListener {
    tcp: TcpListener,
    certificates: Certificates,
    /// They end with the listener.
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    fn new(tcp: TcpListener, certificates: Certificates) -> Self {
        Self { tcp, certificates, handshakes: JoinSet::new() }
    }
}

impl Accepting for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(accepted)) = ended {
                        return accepted;
                    }
                }
                (stream, from) = Accepting::accept(&mut self.tcp), if self.handshakes.len() < MOST_HANDSHAKES => {
                    let acceptor = TlsAcceptor::from(self.certificates.current());
                    self.handshakes.spawn(handshake(acceptor, stream, from));
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    from: SocketAddr,
) -> Option<(TlsStream<TcpStream>, SocketAddr)> {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some((stream, from)),
        Ok(Err(error)) => {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
            if let Some(rustls::Error::InvalidCertificate(_)) = cause {
                tracing::warn!(source = %from.ip(), "refused a client certificate: {error}");
            } else {
                // a port scan is nothing to act on
                tracing::debug!(source = %from.ip(), "no TLS connection: {error}");
            }
            None
        }
        Err(_) => {
            tracing::debug!(source = %from.ip(), "no TLS connection within {HANDSHAKE_TIMEOUT:?}");
            None
        }
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        let (_, tls) = stream.io().get_ref();
        let certificate = tls.peer_certificates().and_then(|chain| chain.first());
        let names = certificate.map(|certificate| Arc::<[CertificateName]>::from(names(certificate)));
        Self { names, ..Self::at(stream.remote_addr().ip()) }
    }
}
