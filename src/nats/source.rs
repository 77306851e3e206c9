//! Where what a server says of itself and its connections come from: its monitoring port, or the system account.

use url::Url;

use crate::model::remote_auth::RemoteAuth;
use crate::model::snapshot::Via;
use crate::nats::connz::{Connection, Envelope};
use crate::nats::monitoring::{ConnzOutcome, MonitoringClient, MonitoringError};
use crate::nats::system::{ConnectionState, ServerRef, SystemAccount, SystemError};
use crate::nats::varz::Varz;

/// One way to one server.
#[derive(Debug, Clone)]
pub enum Source {
    /// Its monitoring port.
    Http {
        /// Who asks.
        client: MonitoringClient,
        /// Where it is.
        url: Url,
        /// How it wants to be asked.
        auth: Option<RemoteAuth>,
    },
    /// The system account of its cluster.
    System {
        /// Who asks.
        account: SystemAccount,
        /// Which server.
        server: ServerRef,
    },
}

/// Why a server gave no usable answer. Says what was asked of whom.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// By its monitoring port.
    #[error(transparent)]
    Monitoring(#[from] MonitoringError),
    /// By the system account.
    #[error(transparent)]
    System(#[from] SystemError),
}

impl SourceError {
    /// Whether nobody answered at all, so that asking for something else is in vain.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Monitoring(error) => error.is_silence(),
            Self::System(error) => error.is_silence(),
        }
    }
}

impl Source {
    /// Which way it is.
    pub fn via(&self) -> Via {
        match self {
            Self::Http { .. } => Via::Http,
            Self::System { .. } => Via::System,
        }
    }

    /// The server's monitoring URL, if that is the way.
    pub fn url(&self) -> Option<&Url> {
        match self {
            Self::Http { url, .. } => Some(url),
            Self::System { .. } => None,
        }
    }

    /// What to call the server as long as it has not said it itself.
    pub fn shown(&self) -> &str {
        match self {
            Self::Http { url, .. } => url.as_str().trim_end_matches('/'),
            Self::System { server, .. } => &server.name,
        }
    }

    /// Asks the server what it says of itself.
    ///
    /// # Errors
    ///
    /// No answer, or not the answer of a NATS server.
    pub async fn varz(&self) -> Result<Varz, SourceError> {
        match self {
            Self::Http { client, url, auth } => Ok(client.varz(url, auth.as_ref()).await?),
            Self::System { account, server } => Ok(account.varz(server).await?),
        }
    }

    /// Reads what the server remembers of its closed connections and hands each of them to `each` while they arrive.
    pub async fn closed(&self, each: impl FnMut(&Envelope, &Connection<'_>)) -> ConnzOutcome<SourceError> {
        match self {
            Self::Http { client, url, auth } => client.closed(url, auth.as_ref(), each).await.by_source(),
            Self::System { account, server } => {
                account.connz(server, ConnectionState::Closed, each).await.by_source()
            }
        }
    }

    /// Reads all open connections of the server and hands each of them to `each` while they arrive.
    pub async fn connz(&self, each: impl FnMut(&Envelope, &Connection<'_>)) -> ConnzOutcome<SourceError> {
        match self {
            Self::Http { client, url, auth } => client.connz(url, auth.as_ref(), each).await.by_source(),
            Self::System { account, server } => {
                account.connz(server, ConnectionState::Open, each).await.by_source()
            }
        }
    }
}

impl<E: Into<SourceError>> ConnzOutcome<E> {
    /// The same, whichever way it was.
    fn by_source(self) -> ConnzOutcome<SourceError> {
        ConnzOutcome { envelope: self.envelope, bytes: self.bytes, error: self.error.map(Into::into) }
    }
}
