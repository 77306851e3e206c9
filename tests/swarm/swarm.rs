//! A swarm of NATS client connections, for tests and the demo.
//!
//! Every client is a real connection: it reads INFO, sends CONNECT, subscribes, and answers
//! the server's PINGs. It publishes only if its spec has traffic. One small task holds each of them, so that one
//! process carries as many as its file descriptors allow.
//!
//! - [`Swarm::open`] and [`Swarm::add`] wait until every client is up, and fail on the first
//!   that is not. [`Swarm::launch`] and [`Swarm::grow`] only start them; a refused client then
//!   tries again or is counted as gone, depending on [`Options::reconnect`].
//! - A client's `client_id` is the server's cid. A client that came back has a new one; what
//!   it had before is in [`Swarm::disconnects`].
//! - A source address has about 28,000 ephemeral ports, and a closed connection occupies its
//!   port for another minute. Spread larger swarms over several addresses.

#![allow(dead_code, reason = "the command line and each test crate use a part of this module")]

// The paths are spelled out because this file is loaded both as `mod swarm;` and by `#[path]`,
// which look for its children in different folders.
#[path = "swarm/client.rs"]
mod client;
#[path = "swarm/error.rs"]
mod error;
#[path = "swarm/growth.rs"]
mod growth;
#[path = "swarm/names.rs"]
mod names;
#[path = "swarm/population.rs"]
mod population;
#[path = "swarm/protocol.rs"]
mod protocol;
#[path = "swarm/random.rs"]
pub mod random;
#[path = "swarm/registry.rs"]
mod registry;
#[path = "swarm/spec.rs"]
mod spec;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use client::{Client, FirstAttempt};
use registry::Registry;

#[allow(unused_imports, reason = "part of the surface, not named by every user")]
pub use self::{
    error::{OpenError, PopulationError, Stage, SwarmError},
    names::Template,
    population::{Population, apportion},
    registry::{ClientState, ClientStatus, Counts, Disconnect},
    spec::{ClientSpec, Traffic},
};

/// File descriptors left to the rest of the process.
const RESERVED_DESCRIPTORS: usize = 32;

/// How the clients of a swarm behave.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many connections may be opening at the same time.
    pub concurrency: usize,
    /// Whether a client comes back after it was closed or refused.
    pub reconnect: bool,
    /// The mean wait before the first attempt to come back; it doubles with each failure, up
    /// to eight times, and varies by half in both directions.
    pub reconnect_wait: Duration,
    /// Where a client that comes back goes, at random; empty means where it was.
    pub reconnect_to: Vec<SocketAddr>,
    /// How long opening one connection may take.
    pub connect_timeout: Duration,
    /// Whether a client leaves when the server asks it to (INFO with `ldm`). Most real
    /// clients do not.
    pub heeds_lame_duck: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 256,
            reconnect: false,
            reconnect_wait: Duration::from_secs(1),
            reconnect_to: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            heeds_lame_duck: false,
        }
    }
}

/// A set of client connections. Dropping it closes them all.
#[derive(Debug)]
pub struct Swarm {
    registry: Arc<Registry>,
    options: Arc<Options>,
    opening: Arc<Semaphore>,
    tasks: Mutex<Vec<Option<JoinHandle<()>>>>,
    descriptor_limit: Option<usize>,
}

impl Swarm {
    /// Opens a client for each of `specs` and returns when all of them are up.
    ///
    /// # Errors
    ///
    /// [`SwarmError::NotUp`] for the first client that is not up after its first attempt, even
    /// if clients reconnect; [`SwarmError::Descriptors`] before anything is opened.
    pub async fn open(
        specs: impl IntoIterator<Item = ClientSpec>,
        options: Options,
    ) -> Result<Self, SwarmError> {
        let swarm = Self::new(options);
        swarm.add(specs).await?;
        Ok(swarm)
    }

    /// Makes a swarm without clients.
    pub fn new(options: Options) -> Self {
        Self {
            opening: Arc::new(Semaphore::new(options.concurrency.max(1))),
            options: Arc::new(options),
            registry: Arc::default(),
            tasks: Mutex::default(),
            descriptor_limit: descriptor_limit(),
        }
    }

    /// Opens more clients, returns when all of them are up, and says which indices they have.
    ///
    /// # Errors
    ///
    /// As [`Swarm::open`]; the clients of this call are closed again, the others stay.
    pub async fn add(&self, specs: impl IntoIterator<Item = ClientSpec>) -> Result<Range<usize>, SwarmError> {
        let specs: Vec<_> = specs.into_iter().collect();
        self.check_descriptors(specs.len())?;
        let mut added = self.registry.len()..self.registry.len();
        let mut attempts = Vec::with_capacity(specs.len());
        for spec in specs {
            let (report, attempt) = oneshot::channel();
            added.end = self.start(spec, Some(report)) + 1;
            attempts.push(attempt);
        }
        for (index, attempt) in added.clone().zip(attempts) {
            let failure = match attempt.await {
                Ok(Ok(())) => continue,
                Ok(Err(failure)) => failure,
                Err(_) => OpenError::Abandoned,
            };
            let not_up = self.not_up(index, added.clone(), failure);
            self.close_some(added).await;
            return Err(not_up);
        }
        Ok(added)
    }

    /// Starts more clients without waiting for them, and says which indices they have.
    ///
    /// # Errors
    ///
    /// [`SwarmError::Descriptors`] if the process may not have that many.
    pub fn launch(&self, specs: impl IntoIterator<Item = ClientSpec>) -> Result<Range<usize>, SwarmError> {
        let specs: Vec<_> = specs.into_iter().collect();
        self.check_descriptors(specs.len())?;
        let mut launched = self.registry.len()..self.registry.len();
        for spec in specs {
            launched.end = self.start(spec, None) + 1;
        }
        Ok(launched)
    }

    /// Closes the clients with these indices for good and waits until their sockets are closed.
    /// Unknown indices and closed clients are passed over. A server notices a little later: one
    /// that is full may still refuse a client that is opened right afterwards.
    pub async fn close_some(&self, indices: impl IntoIterator<Item = usize>) {
        let stopped: Vec<_> = {
            let mut tasks = self.tasks();
            indices
                .into_iter()
                .filter_map(|index| Some((index, tasks.get_mut(index)?.take()?)))
                .inspect(|(_, task)| task.abort())
                .collect()
        };
        for (index, task) in stopped {
            client::ended(task).await;
            self.registry.closed(index);
        }
    }

    /// Closes the clients with these indices and opens them again, without waiting.
    pub fn reopen(&self, indices: impl IntoIterator<Item = usize>) {
        for index in indices {
            let mut tasks = self.tasks();
            let Some(slot) = tasks.get_mut(index) else {
                continue;
            };
            let before = slot.take();
            if let Some(task) = &before {
                task.abort();
            }
            let client = self.client(index);
            let registry = Arc::clone(&self.registry);
            *slot = Some(tokio::spawn(async move {
                if let Some(task) = before {
                    client::ended(task).await;
                }
                registry.reopened(index);
                client.run(None).await;
            }));
        }
    }

    /// Closes every client and waits until their sockets are closed.
    pub async fn close(&self) {
        self.close_some(0..self.registry.len()).await;
    }

    /// Reports how many clients are in which state, and totals since the start.
    pub fn counts(&self) -> Counts {
        self.registry.counts()
    }

    /// Lists every client as it is now, in the order of their indices.
    pub fn statuses(&self) -> Vec<ClientStatus> {
        self.registry.statuses()
    }

    /// Lists the connections that were up and that the server closed, oldest first.
    pub fn disconnects(&self) -> Vec<Disconnect> {
        self.registry.disconnects()
    }

    /// Counts each `-ERR` text the servers sent, without the subject it may end with.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.registry.errors()
    }

    /// Says why the most recent connection was lost or could not be opened.
    pub fn last_error(&self) -> Option<String> {
        self.registry.last_error()
    }

    /// Waits until the counts are as `wanted` says, and returns them.
    ///
    /// # Errors
    ///
    /// [`SwarmError::Waited`] with the counts as they were when the time was over.
    pub async fn wait_for(
        &self,
        timeout: Duration,
        wanted: impl FnMut(&Counts) -> bool,
    ) -> Result<Counts, SwarmError> {
        let mut changes = self.registry.watch();
        let reached = tokio::time::timeout(timeout, changes.wait_for(wanted)).await;
        match reached {
            Ok(counts) => Ok(*counts.expect("the registry outlives its watcher")),
            Err(_) => Err(SwarmError::Waited { timeout, counts: Box::new(self.counts()) }),
        }
    }

    /// Checks that the process may open `more` connections.
    ///
    /// # Errors
    ///
    /// [`SwarmError::Descriptors`] if it may not.
    pub fn check_descriptors(&self, more: usize) -> Result<(), SwarmError> {
        let counts = self.counts();
        let needed = counts.connected + counts.connecting + more + RESERVED_DESCRIPTORS;
        match self.descriptor_limit {
            Some(limit) if needed > limit => Err(SwarmError::Descriptors { needed, limit }),
            _ => Ok(()),
        }
    }

    fn start(&self, spec: ClientSpec, report: Option<FirstAttempt>) -> usize {
        let mut tasks = self.tasks();
        let index = self.registry.register(spec);
        tasks.push(Some(tokio::spawn(self.client(index).run(report))));
        index
    }

    fn client(&self, index: usize) -> Client {
        Client::new(index, Arc::clone(&self.registry), Arc::clone(&self.options), Arc::clone(&self.opening))
    }

    fn not_up(&self, index: usize, added: Range<usize>, failure: OpenError) -> SwarmError {
        let status = self.registry.status(index);
        let connected = self.registry.connected_indices().into_iter();
        SwarmError::NotUp {
            index,
            name: status.spec.name.clone().unwrap_or_default(),
            server: status.server,
            connected: connected.filter(|index| added.contains(index)).count(),
            wanted: added.len(),
            failure,
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<Option<JoinHandle<()>>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        for task in self.tasks().iter().flatten() {
            task.abort();
        }
    }
}

/// Reads the soft limit on open files; `None` where there is none or it cannot be read.
fn descriptor_limit() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.strip_prefix("Max open files").or_else(|| {
        let (_, rest) = limits.split_once("\nMax open files")?;
        Some(rest)
    })?;
    line.split_whitespace().next()?.parse().ok()
}
