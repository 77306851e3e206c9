//! The system account: every server of a cluster asked through one permanent connection to any of them.
//!
//! New connections are refused once a server is at its limit, a permanent one is not: it is opened with the first
//! question, never holds up a start, and is made again by itself. A server is addressed by its nats id; its name would
//! reach nobody. A request that the user may not make is never answered: the objection of the server to which the
//! connection is comes beside it, and is taken for the answer.
//!
//! A reply is one NATS message, however many connections it lists: it is held in memory as it came, packed with gzip
//! (about 30 bytes a connection), and unpacked piece by piece into the streaming reader.

pub mod control;
mod link;
mod login;
mod reply;
mod roll_call;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{HeaderMap, Request, RequestErrorKind};
use serde::Serialize;

use crate::model::printable::excerpt;
use crate::model::system_account::{SystemAccess, SystemStatus};
use crate::nats::connz::{Connection, ConnzError, ConnzReader, Envelope};
use crate::nats::monitoring::{CLOSED_TIMEOUT, ConnzOutcome, MonitoringSettings, PAGE_LIMIT, VARZ_TIMEOUT};
use crate::nats::system::link::Link;
use crate::nats::system::reply::Reply;
use crate::nats::varz::Varz;
use crate::telemetry::metrics::Metrics;

pub use crate::nats::system::login::check;
pub use crate::nats::system::roll_call::RollCall;

/// How long servers may take to say that they are there.
pub const ROLL_CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest nats id that is believed; they have 56 characters.
const LONGEST_ID: usize = 64;

/// The largest reply that is no connection list, unpacked, in bytes.
const LARGEST_SMALL_REPLY: u64 = 1024 * 1024;

/// A client of the system account of one cluster. Clones share its connection.
#[derive(Debug, Clone)]
pub struct SystemAccount(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    link: Link,
    settings: MonitoringSettings,
    /// The NATS cluster whose servers are meant, once it is known; `Some(None)` is a server that is in none.
    nats_cluster: Mutex<Option<Option<String>>>,
}

/// What a connection to a system account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// To look at servers.
    Reader,
    /// To cut connections, as somebody else than who looks.
    Actor,
}

impl Role {
    /// The role as metrics name it.
    fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Actor => "actor",
        }
    }
}

/// A server as the system account addresses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRef {
    /// Its nats id, new at each start.
    pub id: String,
    /// Its name; the id again where none is configured.
    pub name: String,
}

/// Which connections are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// Those that are open.
    Open,
    /// The last of those that were closed.
    Closed,
}

impl ConnectionState {
    /// The number by which the system account knows it; names are refused.
    fn number(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Closed => 1,
        }
    }
}

/// The options of a `CONNZ` request.
#[derive(Debug, Serialize)]
struct ConnzOptions {
    auth: bool,
    state: u8,
    offset: u64,
    limit: u64,
}

/// Why the system account gave no usable answer. Says what was asked of whom.
#[derive(Debug, thiserror::Error)]
#[error("{question} over the system account: {cause}")]
pub struct SystemError {
    /// What was asked, and of whom.
    pub question: String,
    /// What happened.
    pub cause: SystemCause,
}

impl SystemError {
    /// Whether nobody answered at all, so that asking for something else is in vain.
    pub fn is_silence(&self) -> bool {
        use SystemCause::{Lost, NoResponders, NotConnected, Timeout};
        matches!(self.cause, NotConnected(_) | NoResponders(_) | Timeout { .. } | Lost(_))
    }
}

/// What happened instead of an answer.
#[derive(Debug, thiserror::Error)]
pub enum SystemCause {
    /// There is no connection.
    #[error("not connected: {0}")]
    NotConnected(String),
    /// Nobody listens to such requests.
    #[error("{0}")]
    NoResponders(&'static str),
    /// No answer came in time; and what a server said against what was asked, if it did.
    #[error("no answer within {within:?}{}", said(.objection.as_deref()))]
    Timeout {
        /// How long was waited.
        within: Duration,
        /// What a server said.
        objection: Option<String>,
    },
    /// The user may not ask that.
    #[error("not allowed: {0}")]
    Denied(String),
    /// The connection does not take the request.
    #[error("cannot ask: {0}")]
    Lost(String),
    /// The server answered with an error.
    #[error("error {code}: {description}")]
    Refused {
        /// The server's code, as those of HTTP.
        code: i64,
        /// Its reason.
        description: String,
    },
    /// Larger than what is read.
    #[error("the reply is larger than {0} bytes")]
    TooLarge(u64),
    /// Packed in a way that was not asked for, or broken.
    #[error("the reply cannot be unpacked: {0}")]
    Packed(String),
    /// Not what was asked for.
    #[error("not the answer to it: {0}")]
    Malformed(String),
    /// It would be done to our own connection.
    #[error("it is our own connection")]
    Own,
    /// Not a connection list.
    #[error(transparent)]
    Connz(#[from] ConnzError),
}

fn said(objection: Option<&str>) -> String {
    objection.map_or_else(String::new, |objection| format!("; a server said: {objection}"))
}

impl SystemAccount {
    /// Makes a client of the system account of `cluster`; it connects when it is first asked something, under the
    /// name `connwarden/<instance>/<cluster>`, with `/actor` behind it for one that acts.
    pub fn new(
        cluster: &str,
        instance: &str,
        role: Role,
        access: SystemAccess,
        settings: MonitoringSettings,
        metrics: Metrics,
    ) -> Self {
        let link = Link::new(cluster, instance, role, access, settings.connect_timeout, metrics);
        Self(Arc::new(Parts { link, settings, nats_cluster: Mutex::default() }))
    }

    /// Begins to connect, unless it has, and does not wait: later it may be too late, because a full server takes no new
    /// connection.
    pub async fn open(&self) {
        self.0.link.begin().await;
    }

    /// The name of its connection.
    pub fn name(&self) -> &str {
        self.0.link.name()
    }

    /// Whether it can be used now.
    pub fn status(&self) -> SystemStatus {
        self.0.link.status()
    }

    /// Asks which servers of the NATS cluster there are. Waits for those that are `expected` by name and for those to
    /// which others have routes, [`ROLL_CALL_TIMEOUT`] at most.
    ///
    /// Servers of other NATS clusters, behind gateways, are not asked.
    ///
    /// # Errors
    ///
    /// No server answered.
    pub async fn roll_call(&self, expected: &BTreeSet<String>) -> Result<RollCall, SystemError> {
        let failed = |cause| SystemError { question: "PING".to_owned(), cause };
        let patience = self.0.settings.timeout.min(ROLL_CALL_TIMEOUT);
        let link = &self.0.link;
        let connected_to = link.connected().await.map_err(failed)?.server_info().cluster;
        let known = self.nats_cluster();
        let nats_cluster = known.clone().unwrap_or_else(|| connected_to.clone());
        let first = roll_call::take(link, nats_cluster.as_deref(), expected, patience).await;
        let call = match first {
            // it has another name now, or it was never this one
            Err(_) if known.is_some_and(|known| known != connected_to) => {
                roll_call::take(link, connected_to.as_deref(), expected, patience).await
            }
            first => first,
        };
        let call = call.map_err(failed)?;
        *self.0.nats_cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(call.nats_cluster.clone());
        Ok(call)
    }

    /// Asks a server what it says of itself.
    ///
    /// # Errors
    ///
    /// No answer, or not the answer of a NATS server.
    pub async fn varz(&self, server: &ServerRef) -> Result<Varz, SystemError> {
        let timeout = self.0.settings.timeout.min(VARZ_TIMEOUT);
        let attempt = async {
            let reply = self.ask(server, "VARZ", Vec::new(), timeout).await?;
            reply.document(LARGEST_SMALL_REPLY)
        };
        attempt.await.map_err(|cause| failure("VARZ", server, cause))
    }

    /// Reads all connections of a server that are in `state` and hands each of them to `each`.
    ///
    /// One page, unless the server has more connections than [`PAGE_LIMIT`].
    pub async fn connz(
        &self,
        server: &ServerRef,
        state: ConnectionState,
        mut each: impl FnMut(&Envelope, &Connection<'_>),
    ) -> ConnzOutcome<SystemError> {
        let mut outcome = ConnzOutcome::default();
        let timeout = match state {
            ConnectionState::Open => self.0.settings.timeout,
            ConnectionState::Closed => self.0.settings.timeout.min(CLOSED_TIMEOUT),
        };
        let mut unpacked = 0;
        // for all pages together: a server that claims a page more each time comes to an end too
        let mut deadline = pin!(tokio::time::sleep(timeout));
        loop {
            let read_before = outcome.envelope.read;
            let options =
                ConnzOptions { auth: true, state: state.number(), offset: read_before, limit: PAGE_LIMIT };
            let options = serde_json::to_vec(&options).expect("numbers can be written");
            let mut reader = ConnzReader::default();
            let page = async {
                let reply = self.ask(server, "CONNZ", options, timeout).await?;
                outcome.bytes += reply.bytes();
                reply
                    .connections(self.0.settings.max_reply_bytes, &mut unpacked, &mut reader, &mut each)
                    .await
            };
            let ended = tokio::select! {
                ended = page => ended,
                () = &mut deadline => Err(SystemCause::Timeout { within: timeout, objection: None }),
            };
            // what arrived in full stands, however the reply ended
            let whole = reader.finish(&mut each).map_err(SystemCause::Connz);
            let ended = ended.and_then(|()| whole.map(|_| ()));
            let page = reader.envelope().clone();
            outcome.envelope = Envelope { read: read_before + page.read, ..page };
            if let Err(cause) = ended {
                outcome.error = Some(failure("CONNZ", server, cause));
                return outcome;
            }
            // a server that claims more than it lists would be asked for ever: an empty page ends it
            let more = outcome.envelope.total.is_some_and(|total| total > outcome.envelope.read);
            if !more || page.read < PAGE_LIMIT {
                return outcome;
            }
        }
    }

    fn nats_cluster(&self) -> Option<Option<String>> {
        self.0.nats_cluster.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(
        &self,
        server: &ServerRef,
        what: &str,
        options: Vec<u8>,
        timeout: Duration,
    ) -> Result<Reply, SystemCause> {
        let client = self.0.link.connected().await?;
        let mut request = Request::new().payload(options.into()).timeout(Some(timeout));
        // packing costs a server more than a millisecond, however little there is: ten times what it takes to cut somebody
        if what == "CONNZ" {
            let mut headers = HeaderMap::new();
            headers.insert("Accept-Encoding", "gzip");
            request = request.headers(headers);
        }
        let subject = format!("$SYS.REQ.SERVER.{}.{what}", server.id);
        let denied = self.0.link.denied(&subject);
        let answer = tokio::select! {
            answer = client.send_request(subject.clone(), request) => answer,
            // nobody else will answer
            denied = denied => return Err(SystemCause::Denied(denied)),
        };
        match answer {
            Ok(message) => Ok(Reply::new(message)),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::TimedOut => {
                    SystemCause::Timeout { within: timeout, objection: self.0.link.objection() }
                }
                RequestErrorKind::NoResponders => SystemCause::NoResponders(
                    "nobody answers to this id: the server has stopped or started anew, or the user is not one of the \
                     system account",
                ),
                _ => SystemCause::Lost(excerpt(&error.to_string())),
            }),
        }
    }
}

/// Whether a text may be the nats id of a server: nothing else becomes part of a subject.
pub fn is_server_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn failure(what: &str, server: &ServerRef, cause: SystemCause) -> SystemError {
    SystemError { question: format!("{what} of {}", excerpt(&server.name)), cause }
}
