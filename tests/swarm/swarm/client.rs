//! The task behind one client: opens its connection, holds it, and comes back if it is to.
//!
//! It is closed by aborting the task, which drops the socket; only the swarm does that.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep};

use super::Options;
use super::error::{OpenError, Stage};
use super::protocol::{Info, News, Protocol};
use super::random::{Random, digest};
use super::registry::{ClientState, Registry};
use super::spec::{ClientSpec, Traffic};

/// Where the outcome of a client's first attempt is reported.
pub type FirstAttempt = oneshot::Sender<Result<(), OpenError>>;

/// What the system keeps for a client that dozes.
const SLOW_BUFFER_BYTES: u32 = 8 * 1024;

/// One client of a swarm.
pub struct Client {
    index: usize,
    spec: Arc<ClientSpec>,
    registry: Arc<Registry>,
    options: Arc<Options>,
    opening: Arc<Semaphore>,
}

impl Client {
    /// Makes the client with this index, which must be registered.
    pub fn new(
        index: usize,
        registry: Arc<Registry>,
        options: Arc<Options>,
        opening: Arc<Semaphore>,
    ) -> Self {
        Self { index, spec: registry.status(index).spec, registry, options, opening }
    }

    /// Keeps the client connected as its options say. With a `report`, a first attempt that
    /// fails is also the last.
    pub async fn run(self, mut report: Option<FirstAttempt>) {
        let afterwards = if self.options.reconnect { ClientState::Connecting } else { ClientState::Gone };
        let mut random = Random::new(self.index as u64, &[]);
        let mut server = self.spec.server;
        let mut was_up = false;
        let mut failures = 0;
        loop {
            self.registry.connecting(self.index, server);
            // Boxed, so that a client that is up does not carry the room for opening.
            match Box::pin(self.open(server)).await {
                Ok((connection, info)) => {
                    let local = connection.stream.local_addr().ok();
                    self.registry.connected(self.index, &info.server_id, info.client_id, local, was_up);
                    drop(info);
                    if let Some(report) = report.take() {
                        let _ = report.send(Ok(()));
                    }
                    was_up = true;
                    failures = 0;
                    match connection.hold(&self).await {
                        End::Disconnected { error } => {
                            self.registry.disconnected(self.index, error, afterwards);
                        }
                        End::Left => self.registry.left(self.index, afterwards),
                    }
                }
                Err(failure) => {
                    if let Some(report) = report.take() {
                        self.registry.refused(self.index, &failure, ClientState::Gone);
                        let _ = report.send(Err(failure));
                        return;
                    }
                    self.registry.refused(self.index, &failure, afterwards);
                    failures += 1;
                }
            }
            if !self.options.reconnect {
                return;
            }
            sleep(self.wait(failures, &mut random)).await;
            if !self.options.reconnect_to.is_empty() {
                let choice = random.position(self.options.reconnect_to.len());
                server = self.options.reconnect_to[choice];
            }
        }
    }

    fn wait(&self, failures: u32, random: &mut Random) -> Duration {
        let doubled = 1 << failures.saturating_sub(1).min(3);
        (self.options.reconnect_wait * doubled).mul_f64(0.5 + random.fraction())
    }

    async fn open(&self, server: SocketAddr) -> Result<(Connection, Info), OpenError> {
        let _permit = self.opening.acquire().await.expect("the semaphore is never closed");
        let timeout = self.options.connect_timeout;
        let mut stage = Stage::Dial;
        match tokio::time::timeout(timeout, self.attempt(server, &mut stage)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(OpenError::TimedOut { stage, timeout }),
        }
    }

    async fn attempt(&self, server: SocketAddr, stage: &mut Stage) -> Result<(Connection, Info), OpenError> {
        let mut connection = Connection { stream: self.dial(server).await?, protocol: Protocol::default() };
        let mut greeting: Option<Info> = None;
        *stage = Stage::Info;
        loop {
            let mut news = News::default();
            let ended = connection.listen(&mut news).await;
            if let Some(line) = news.garbage {
                return Err(OpenError::Garbage { stage: *stage, line });
            }
            if greeting.is_none()
                && let Some(info) = news.info
            {
                if info.tls_required {
                    return Err(OpenError::TlsRequired);
                }
                greeting = Some(info);
                *stage = Stage::Pong;
                // A server that refuses a client may be gone by now, but its -ERR can still be
                // read: whatever ended the connection shows there.
                let hello = self.spec.hello(self.index);
                let _ = connection.stream.write_all(hello.as_bytes()).await;
            }
            if let Some(text) = news.error {
                if is_fatal(&text) {
                    return Err(OpenError::Refused { stage: *stage, text });
                }
                self.registry.heard(self.index, 0, false, Some(&text));
            }
            if let Some(ended) = ended {
                return Err(ended.during(*stage));
            }
            connection.answer(news.pings).await;
            if news.pong
                && let Some(info) = greeting.take()
            {
                return Ok((connection, info));
            }
        }
    }

    async fn dial(&self, server: SocketAddr) -> Result<TcpStream, OpenError> {
        let failed = |error| OpenError::Failed { stage: Stage::Dial, error };
        let socket =
            if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
        if let Some(address) = self.spec.source {
            socket.bind(SocketAddr::new(address, 0)).map_err(|error| OpenError::Bind { address, error })?;
        }
        if self.spec.dozes.is_some() {
            // the kernel must not read in its place
            socket.set_recv_buffer_size(SLOW_BUFFER_BYTES).map_err(failed)?;
        }
        let stream = socket.connect(server).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(stream)
    }
}

/// Waits until an aborted task is gone, and its socket with it.
pub async fn ended(task: JoinHandle<()>) {
    let _ = task.await;
}

struct Connection {
    stream: TcpStream,
    protocol: Protocol,
}

/// Why a connection that was up no longer is.
enum End {
    Disconnected { error: Option<String> },
    Left,
}

impl Connection {
    async fn hold(mut self, client: &Client) -> End {
        let mut reason = None;
        let mut publishing = client.spec.traffic.as_ref().map(|traffic| Publishing::new(client, traffic));
        loop {
            if let Some(pause) = client.spec.dozes {
                sleep(pause).await;
            }
            let mut news = News::default();
            let ended = match &mut publishing {
                None => self.listen(&mut news).await,
                Some(publishing) => tokio::select! {
                    ended = self.listen(&mut news) => ended,
                    message = publishing.next() => {
                        // if that fails, the next read says why
                        let _ = self.stream.write_all(message.as_bytes()).await;
                        continue;
                    }
                },
            };
            let lame_duck = news.info.is_some_and(|info| info.lame_duck);
            if news.pings > 0 || lame_duck || news.error.is_some() {
                let error = news.error.as_deref();
                client.registry.heard(client.index, news.pings, lame_duck, error);
            }
            reason = news.error.filter(|text| is_fatal(text)).or(reason);
            if ended.is_some() {
                return End::Disconnected { error: reason };
            }
            if lame_duck && client.options.heeds_lame_duck {
                return End::Left;
            }
            self.answer(news.pings).await;
        }
    }

    /// Waits until the server says something and reads all of it.
    async fn listen(&mut self, news: &mut News) -> Option<Ended> {
        if let Err(error) = self.stream.readable().await {
            return Some(Ended::Failed(error));
        }
        self.drain(news)
    }

    /// Reads what is there. Not `async`, so the buffer is on the stack only while it runs and
    /// not part of every idle client.
    fn drain(&mut self, news: &mut News) -> Option<Ended> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Some(Ended::Closed),
                Ok(length) => self.protocol.read(&buffer[..length], news),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(Ended::Failed(error)),
            }
        }
    }

    /// Answers PINGs. If that fails, the next read says why.
    async fn answer(&mut self, pings: u32) {
        for _ in 0..pings {
            let _ = self.stream.write_all(b"PONG\r\n").await;
        }
    }
}

/// When a client publishes next. Boxed: most clients do not.
struct Publishing {
    message: String,
    every: Duration,
    random: Random,
    due: Pin<Box<Sleep>>,
}

impl Publishing {
    fn new(client: &Client, traffic: &Traffic) -> Box<Self> {
        let mut random = Random::new(client.index as u64, &[digest(&client.spec.prefix)]);
        let first = traffic.every.mul_f64(random.fraction());
        Box::new(Self {
            message: client.spec.message(traffic, client.index),
            every: traffic.every,
            random,
            due: Box::pin(sleep(first)),
        })
    }

    /// Waits until a message is due.
    async fn next(&mut self) -> &str {
        self.due.as_mut().await;
        let pause = self.every.mul_f64(0.5 + self.random.fraction());
        let next = self.due.deadline() + pause;
        self.due.as_mut().reset(next);
        &self.message
    }
}

/// How the stream of a connection ended.
enum Ended {
    Closed,
    Failed(io::Error),
}

impl Ended {
    fn during(self, stage: Stage) -> OpenError {
        match self {
            Self::Closed => OpenError::Closed { stage },
            Self::Failed(error) => OpenError::Failed { stage, error },
        }
    }
}

/// Tells whether the server closes the connection after this `-ERR`.
fn is_fatal(text: &str) -> bool {
    !text.starts_with("Permissions Violation") && !text.starts_with("Invalid Subject")
}
