//! The monitoring port: `/varz` and `/connz` over HTTP.
//!
//! Connections are kept alive: at its descriptor limit a server no longer accepts new ones, but goes on answering
//! those it has. Nothing here follows redirects: whoever answers must be the server that was asked.

use std::pin::{Pin, pin};
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use tokio::time::Sleep;
use url::Url;

use crate::model::printable::excerpt;
use crate::model::remote_auth::RemoteAuth;
use crate::nats::accountz::Accountz;
use crate::nats::connz::{Connection, ConnzError, ConnzReader, Envelope};
use crate::nats::varz::Varz;
use crate::outgoing::{self, root_cause};

/// The page length asked for: above any total, because the server's cost per page grows with all its
/// connections, and only one page is a consistent list.
pub const PAGE_LIMIT: u64 = 1_000_000;

/// How long `/varz` may take, however patient the settings are.
pub const VARZ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the list of closed connections may take, however patient the settings are: it is the first thing that is
/// asked of a server, and all else waits for it.
pub const CLOSED_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest `/varz` that is accepted, in bytes.
const LARGEST_VARZ: u64 = 1024 * 1024;

/// How many bytes of a page are read before other work gets its turn: a page is milliseconds of work, and what waits
/// behind it on the same thread may be a notification.
const TURN: usize = 64 * 1024;

/// How long to wait, and how much to take.
#[derive(Debug, Clone)]
pub struct MonitoringSettings {
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// For one answer as a whole; for `/varz`, which costs a server nothing, at most [`VARZ_TIMEOUT`].
    pub timeout: Duration,
    /// The largest `/connz` reply that is read, in bytes.
    pub max_reply_bytes: u64,
}

/// Asks monitoring ports.
#[derive(Debug, Clone)]
pub struct MonitoringClient {
    http: reqwest::Client,
    settings: MonitoringSettings,
}

/// Why a server's monitoring port gave no usable answer. Says what was asked of whom.
#[derive(Debug, thiserror::Error)]
#[error("GET {url}: {cause}")]
pub struct MonitoringError {
    /// What was asked for.
    pub url: Url,
    /// What happened.
    pub cause: MonitoringCause,
}

impl MonitoringError {
    /// Whether nobody answered at all, so that asking for something else is in vain.
    pub fn is_silence(&self) -> bool {
        matches!(self.cause, MonitoringCause::Connect(_) | MonitoringCause::Timeout(_))
    }
}

/// What happened instead of an answer.
#[derive(Debug, thiserror::Error)]
pub enum MonitoringCause {
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The port accepts connections, but no answer came in time.
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    /// The answer began and then stalled or broke off.
    #[error("the answer broke off after {bytes} bytes: {reason}")]
    BrokeOff {
        /// Bytes received until then.
        bytes: u64,
        /// What the connection said.
        reason: String,
    },
    /// Another status than 200.
    #[error("status {status}: {body}")]
    Status {
        /// The status.
        status: u16,
        /// The first line of the body.
        body: String,
    },
    /// Not what a NATS monitoring port sends.
    #[error("not a NATS monitoring port: content type `{0}`")]
    ContentType(String),
    /// Packed by something between us and the server, which was not asked to.
    #[error("the answer is compressed (`{0}`), which was not asked for")]
    Compressed(String),
    /// Larger than what is read.
    #[error("the reply is larger than {0} bytes")]
    TooLarge(u64),
    /// Not what `/varz` sends.
    #[error("not a /varz document: {0}")]
    Varz(String),
    /// Not what `/accountz` sends.
    #[error("not an /accountz document: {0}")]
    Accountz(String),
    /// Not what `/connz` sends.
    #[error(transparent)]
    Connz(#[from] ConnzError),
}

/// What came of reading connections, whether or not it ended well.
#[derive(Debug)]
pub struct ConnzOutcome<E = MonitoringError> {
    /// What the server said of itself.
    pub envelope: Envelope,
    /// Bytes received.
    pub bytes: u64,
    /// Why it stopped early, if it did; what was handed over until then stands.
    pub error: Option<E>,
}

impl<E> Default for ConnzOutcome<E> {
    fn default() -> Self {
        Self { envelope: Envelope::default(), bytes: 0, error: None }
    }
}

impl MonitoringClient {
    /// Makes a client; its connections are shared by all clones.
    pub fn new(settings: MonitoringSettings) -> Self {
        let http = outgoing::client(|builder| {
            builder
                .connect_timeout(settings.connect_timeout)
                // kept open for as long as the server likes
                .pool_idle_timeout(None)
                .redirect(reqwest::redirect::Policy::none())
        });
        Self { http, settings }
    }

    /// Asks a server what it says of itself.
    ///
    /// # Errors
    ///
    /// No answer, or not the answer of a NATS server.
    pub async fn varz(&self, server: &Url, auth: Option<&RemoteAuth>) -> Result<Varz, MonitoringError> {
        let url = endpoint(server, "varz", &[]);
        let failed = |cause| MonitoringError { url: url.clone(), cause };
        let body = self.body(&url, auth).await.map_err(failed)?;
        serde_json::from_slice(&body)
            .map_err(|error| failed(MonitoringCause::Varz(excerpt(&error.to_string()))))
    }

    /// Asks a server how many connections an account may have: 0 means none, a negative number as many as it likes.
    /// `None` if it does not tell, as in configuration mode, or does not know the account, which in operator mode has
    /// to be named by its public key.
    ///
    /// # Errors
    ///
    /// No answer, or not the answer of a NATS server.
    pub async fn account_limit(
        &self,
        server: &Url,
        auth: Option<&RemoteAuth>,
        account: &str,
    ) -> Result<Option<i64>, MonitoringError> {
        let url = endpoint(server, "accountz", &[("acc", account)]);
        let failed = |cause| MonitoringError { url: url.clone(), cause };
        let body = match self.body(&url, auth).await {
            Err(MonitoringCause::Status { status: 400, body }) if body.ends_with("does not exist") => {
                return Ok(None);
            }
            body => body.map_err(failed)?,
        };
        let read = serde_json::from_slice::<Accountz>(&body);
        let accountz =
            read.map_err(|error| failed(MonitoringCause::Accountz(excerpt(&error.to_string()))))?;
        Ok(accountz.connection_limit())
    }

    /// Reads a document that costs a server nothing.
    async fn body(&self, url: &Url, auth: Option<&RemoteAuth>) -> Result<Vec<u8>, MonitoringCause> {
        let body = async {
            let mut body = Vec::new();
            let mut answer = self.get(url, auth).await?;
            while let Some(chunk) = next_chunk(&mut answer, body.len() as u64).await? {
                body.extend_from_slice(&chunk);
                if body.len() as u64 > LARGEST_VARZ {
                    return Err(MonitoringCause::TooLarge(LARGEST_VARZ));
                }
            }
            Ok(body)
        };
        within(self.settings.timeout.min(VARZ_TIMEOUT), body).await
    }

    /// Reads all connections of a server and hands each of them to `each` while the bytes arrive.
    ///
    /// One page, unless the server has more connections than [`PAGE_LIMIT`].
    pub async fn connz(
        &self,
        server: &Url,
        auth: Option<&RemoteAuth>,
        mut each: impl FnMut(&Envelope, &Connection<'_>),
    ) -> ConnzOutcome {
        let mut outcome = ConnzOutcome::default();
        // for all pages together: a server that claims a page more each time comes to an end too
        let mut deadline = pin!(tokio::time::sleep(self.settings.timeout));
        loop {
            let (limit, offset) = (PAGE_LIMIT.to_string(), outcome.envelope.read.to_string());
            let mut query = vec![("auth", "1"), ("limit", &limit)];
            if outcome.envelope.read > 0 {
                query.push(("offset", &offset));
            }
            let url = endpoint(server, "connz", &query);
            let read_before = outcome.envelope.read;
            let timeout = self.settings.timeout;
            let page = self.page(url, auth, (timeout, deadline.as_mut()), &mut outcome, &mut each).await;
            outcome.envelope = Envelope { read: read_before + page.read, ..page };
            if outcome.error.is_some() {
                return outcome;
            }
            // a server that claims more than it lists would be asked for ever: an empty page ends it
            let more = outcome.envelope.total.is_some_and(|total| total > outcome.envelope.read);
            if !more || outcome.envelope.read - read_before < PAGE_LIMIT {
                return outcome;
            }
        }
    }

    /// Reads what a server remembers of its closed connections, one page, and hands each of them to `each` while the
    /// bytes arrive.
    pub async fn closed(
        &self,
        server: &Url,
        auth: Option<&RemoteAuth>,
        mut each: impl FnMut(&Envelope, &Connection<'_>),
    ) -> ConnzOutcome {
        let limit = PAGE_LIMIT.to_string();
        let url = endpoint(server, "connz", &[("state", "closed"), ("auth", "1"), ("limit", &limit)]);
        let timeout = self.settings.timeout.min(CLOSED_TIMEOUT);
        let deadline = pin!(tokio::time::sleep(timeout));
        let mut outcome = ConnzOutcome::default();
        outcome.envelope = self.page(url, auth, (timeout, deadline), &mut outcome, &mut each).await;
        outcome
    }

    /// Reads one page until the deadline that is so long after the beginning. What arrived in full stands, however the
    /// reply ended.
    async fn page(
        &self,
        url: Url,
        auth: Option<&RemoteAuth>,
        (timeout, deadline): (Duration, Pin<&mut Sleep>),
        outcome: &mut ConnzOutcome,
        each: &mut impl FnMut(&Envelope, &Connection<'_>),
    ) -> Envelope {
        let mut reader = ConnzReader::default();
        let page = self.connz_page(&url, auth, &mut reader, &mut outcome.bytes, each);
        let ended = tokio::select! {
            ended = page => ended,
            () = deadline => Err(MonitoringCause::Timeout(timeout)),
        };
        let whole = reader.finish(each).map_err(MonitoringCause::Connz);
        let ended = ended.and_then(|()| whole.map(|_| ()));
        outcome.error = ended.err().map(|cause| MonitoringError { url, cause });
        reader.envelope().clone()
    }

    async fn connz_page(
        &self,
        url: &Url,
        auth: Option<&RemoteAuth>,
        reader: &mut ConnzReader,
        bytes: &mut u64,
        each: &mut impl FnMut(&Envelope, &Connection<'_>),
    ) -> Result<(), MonitoringCause> {
        let mut answer = self.get(url, auth).await?;
        let mut unbroken = 0;
        while let Some(chunk) = next_chunk(&mut answer, *bytes).await? {
            *bytes += chunk.len() as u64;
            if *bytes > self.settings.max_reply_bytes {
                return Err(MonitoringCause::TooLarge(self.settings.max_reply_bytes));
            }
            // from a server that is near, a chunk is several turns
            for piece in chunk.chunks(TURN) {
                reader.feed(piece, each)?;
                unbroken += piece.len();
                if unbroken >= TURN {
                    // a long list is no reason to hold up other threads, where there are fewer cores, or other tasks
                    std::thread::yield_now();
                    tokio::task::yield_now().await;
                    unbroken = 0;
                }
            }
        }
        Ok(())
    }

    /// Asks, and accepts only what a NATS monitoring port would answer.
    async fn get(&self, url: &Url, auth: Option<&RemoteAuth>) -> Result<reqwest::Response, MonitoringCause> {
        let request = outgoing::authorize(self.http.get(url.clone()), auth);
        let mut answer = request.send().await.map_err(|error| {
            if error.is_connect() && error.is_timeout() {
                MonitoringCause::Connect(format!("no answer within {:?}", self.settings.connect_timeout))
            } else if error.is_connect() {
                MonitoringCause::Connect(root_cause(&error))
            } else {
                MonitoringCause::BrokeOff { bytes: 0, reason: root_cause(&error) }
            }
        })?;
        let status = answer.status();
        if status.is_redirection() {
            let to = answer.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            let body = format!("redirects to {}, which is not followed", excerpt(to));
            return Err(MonitoringCause::Status { status: status.as_u16(), body });
        }
        if status != reqwest::StatusCode::OK {
            let body = answer.chunk().await.ok().flatten().unwrap_or_default();
            let text = String::from_utf8_lossy(&body);
            let body = excerpt(text.lines().next().unwrap_or_default());
            return Err(MonitoringCause::Status { status: status.as_u16(), body });
        }
        let encoding = answer.headers().get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity");
        if let Some(encoding) = encoding {
            return Err(MonitoringCause::Compressed(excerpt(&String::from_utf8_lossy(encoding.as_bytes()))));
        }
        let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        match content_type {
            Some(value) if value.contains("json") => Ok(answer),
            other => Err(MonitoringCause::ContentType(excerpt(other.unwrap_or("none")))),
        }
    }
}

/// Reads the next piece of an answer.
async fn next_chunk(
    answer: &mut reqwest::Response,
    bytes: u64,
) -> Result<Option<bytes::Bytes>, MonitoringCause> {
    answer.chunk().await.map_err(|error| MonitoringCause::BrokeOff { bytes, reason: root_cause(&error) })
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, MonitoringCause>>,
) -> Result<T, MonitoringCause> {
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(MonitoringCause::Timeout(timeout)))
}

fn endpoint(server: &Url, path: &str, query: &[(&str, &str)]) -> Url {
    let mut url = server.clone();
    url.set_path(path);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}
