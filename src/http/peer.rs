//! Who is at the other end of a connection.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::serve::IncomingStream;
use tokio::net::TcpListener;

use crate::model::credential::CertificateName;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it is, or the last proxy before it.
    pub address: IpAddr,
    /// The names in its certificate, if it has shown one that the CA for clients vouches for.
    pub names: Option<Arc<[CertificateName]>>,
}

impl Peer {
    /// Somebody without a certificate.
    pub fn at(address: IpAddr) -> Self {
        Self { address: address.to_canonical(), names: None }
    }

    /// Who sent a request; a request that came over no connection is from nowhere.
    pub(super) fn of(request: &Request) -> Self {
        let info = request.extensions().get::<ConnectInfo<Self>>();
        info.map_or_else(|| Self::at(Ipv4Addr::UNSPECIFIED.into()), |info| info.0.clone())
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self::at(stream.remote_addr().ip())
    }
}
