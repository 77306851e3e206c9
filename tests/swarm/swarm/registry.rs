//! What is known about every client, and how many are in which state.
//!
//! The clients' tasks write here, everybody else reads. A change and the counts that follow
//! from it are made under one lock, so [`Counts`] never contradict themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::error::OpenError;
use super::spec::ClientSpec;

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// It is opening its connection, or waits to try again.
    Connecting,
    /// Its connection is up.
    Connected,
    /// The server closed or refused it and it does not come back.
    Gone,
    /// The swarm closed it.
    Closed,
}

/// One client at one instant.
#[derive(Debug, Clone)]
pub struct ClientStatus {
    /// Its place in the swarm.
    pub index: usize,
    /// What it is to be.
    pub spec: Arc<ClientSpec>,
    /// What it is doing.
    pub state: ClientState,
    /// The server it is connected to, was last, or is trying.
    pub server: SocketAddr,
    /// The id of the server it was connected to last.
    pub server_id: Option<Arc<str>>,
    /// Its cid on that server.
    pub client_id: Option<u64>,
    /// Its own end of that connection.
    pub local: Option<SocketAddr>,
    /// How many of its connections came up.
    pub opened: u32,
    /// How many of those because it came back after the server closed one.
    pub reconnects: u32,
    /// The last `-ERR` text, or why its last attempt failed.
    pub last_error: Option<String>,
    tried: bool,
}

impl ClientStatus {
    /// Tells the name it gave to the server.
    pub fn name(&self) -> Option<&str> {
        self.spec.name.as_deref()
    }

    /// Tells the address it connected from.
    pub fn source(&self) -> Option<IpAddr> {
        self.local.map(|local| local.ip())
    }

    /// Tells whether its connection is up.
    pub fn is_connected(&self) -> bool {
        self.state == ClientState::Connected
    }
}

/// A connection that was up and that the server closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// The client.
    pub index: usize,
    /// The id of the server.
    pub server_id: Arc<str>,
    /// The cid the connection had.
    pub client_id: u64,
    /// The `-ERR` the server gave as the reason; a kick gives none.
    pub error: Option<String>,
}

/// How many clients are in which state, and how often what happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All clients there ever were.
    pub clients: usize,
    /// Clients that are connecting or waiting to.
    pub connecting: usize,
    /// Clients that are up.
    pub connected: usize,
    /// Clients that the server closed or refused and that do not come back.
    pub gone: usize,
    /// Clients that the swarm closed.
    pub closed: usize,
    /// Clients whose first attempt is over, whatever came of it.
    pub tried: usize,
    /// Connections that came up.
    pub opened: u64,
    /// Attempts that failed.
    pub refused: u64,
    /// Connections that were up and that the server closed.
    pub disconnected: u64,
    /// Connections that came up in place of one that the server had closed.
    pub reconnects: u64,
    /// Clients that the swarm closed and opened again.
    pub reopened: u64,
    /// Connections whose client left because the server asked it to.
    pub left: u64,
    /// Requests of servers to leave.
    pub lame_ducks: u64,
    /// PINGs of servers that were answered.
    pub pings: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connected={} connecting={} gone={} closed={} refused={} disconnected={} \
             reconnects={} reopened={} left={} pings={}",
            self.connected,
            self.connecting,
            self.gone,
            self.closed,
            self.refused,
            self.disconnected,
            self.reconnects,
            self.reopened,
            self.left,
            self.pings,
        )
    }
}

/// The record of all the clients of a swarm.
#[derive(Debug, Default)]
pub struct Registry {
    book: Mutex<Book>,
    published: watch::Sender<Counts>,
}

#[derive(Debug, Default)]
struct Book {
    clients: Vec<ClientStatus>,
    counts: Counts,
    server_ids: Vec<Arc<str>>,
    disconnects: Vec<Disconnect>,
    errors: BTreeMap<String, u64>,
    last_error: Option<String>,
}

impl Registry {
    /// Enters a client and says which index it has.
    pub fn register(&self, spec: ClientSpec) -> usize {
        self.change(|book| {
            let index = book.clients.len();
            book.clients.push(ClientStatus {
                index,
                server: spec.server,
                spec: Arc::new(spec),
                state: ClientState::Connecting,
                server_id: None,
                client_id: None,
                local: None,
                opened: 0,
                reconnects: 0,
                last_error: None,
                tried: false,
            });
            book.counts.clients += 1;
            book.counts.connecting += 1;
            index
        })
    }

    /// Notes which server a client is about to try.
    pub fn connecting(&self, index: usize, server: SocketAddr) {
        self.change(|book| {
            book.clients[index].server = server;
            book.enter(index, ClientState::Connecting);
        });
    }

    /// Notes that a client is up.
    pub fn connected(
        &self,
        index: usize,
        server_id: &str,
        client_id: u64,
        local: Option<SocketAddr>,
        came_back: bool,
    ) {
        self.change(|book| {
            let server_id = book.intern(server_id);
            let client = &mut book.clients[index];
            client.server_id = Some(server_id);
            client.client_id = Some(client_id);
            client.local = local;
            client.opened += 1;
            client.reconnects += u32::from(came_back);
            book.counts.opened += 1;
            book.counts.reconnects += u64::from(came_back);
            book.tried(index);
            book.enter(index, ClientState::Connected);
        });
    }

    /// Notes that an attempt of a client failed, and what it does now.
    pub fn refused(&self, index: usize, failure: &OpenError, next: ClientState) {
        self.change(|book| {
            if let OpenError::Refused { text, .. } = failure {
                book.count_error(text);
            }
            let text = failure.to_string();
            book.clients[index].last_error = Some(text.clone());
            book.last_error = Some(text);
            book.counts.refused += 1;
            book.tried(index);
            book.enter(index, next);
        });
    }

    /// Notes what a server sent to a client that is up.
    pub fn heard(&self, index: usize, pings: u32, lame_duck: bool, error: Option<&str>) {
        self.change(|book| {
            book.counts.pings += u64::from(pings);
            book.counts.lame_ducks += u64::from(lame_duck);
            if let Some(text) = error {
                book.count_error(text);
                book.clients[index].last_error = Some(text.to_owned());
                book.last_error = Some(text.to_owned());
            }
        });
    }

    /// Notes that the server closed a client, and what the client does now.
    pub fn disconnected(&self, index: usize, error: Option<String>, next: ClientState) {
        self.change(|book| {
            let client = &book.clients[index];
            if let (Some(server_id), Some(client_id)) = (&client.server_id, client.client_id) {
                book.disconnects.push(Disconnect {
                    index,
                    server_id: Arc::clone(server_id),
                    client_id,
                    error,
                });
            }
            book.counts.disconnected += 1;
            book.enter(index, next);
        });
    }

    /// Notes that a client left because the server asked it to, and what it does now.
    pub fn left(&self, index: usize, next: ClientState) {
        self.change(|book| {
            book.counts.left += 1;
            book.enter(index, next);
        });
    }

    /// Notes that the swarm closed a client.
    pub fn closed(&self, index: usize) {
        self.change(|book| book.enter(index, ClientState::Closed));
    }

    /// Notes that the swarm closed a client and opens it again.
    pub fn reopened(&self, index: usize) {
        self.change(|book| {
            book.counts.reopened += 1;
            book.enter(index, ClientState::Connecting);
        });
    }

    /// Tells how many clients were ever entered.
    pub fn len(&self) -> usize {
        self.book().clients.len()
    }

    /// Shows one client.
    pub fn status(&self, index: usize) -> ClientStatus {
        self.book().clients[index].clone()
    }

    /// Shows all clients.
    pub fn statuses(&self) -> Vec<ClientStatus> {
        self.book().clients.clone()
    }

    /// Lists the indices of the clients that are up.
    pub fn connected_indices(&self) -> Vec<usize> {
        let book = self.book();
        let connected = book.clients.iter().filter(|client| client.is_connected());
        connected.map(|client| client.index).collect()
    }

    /// Shows the connections that servers closed.
    pub fn disconnects(&self) -> Vec<Disconnect> {
        self.book().disconnects.clone()
    }

    /// Counts each `-ERR` text, without the subject it may end with.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.book().errors.clone()
    }

    /// Shows the most recent error of any client.
    pub fn last_error(&self) -> Option<String> {
        self.book().last_error.clone()
    }

    /// Shows the counts.
    pub fn counts(&self) -> Counts {
        self.book().counts
    }

    /// Follows the counts.
    pub fn watch(&self) -> watch::Receiver<Counts> {
        self.published.subscribe()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = self.book();
        let result = change(&mut book);
        self.published.send_replace(book.counts);
        result
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn enter(&mut self, index: usize, state: ClientState) {
        let before = std::mem::replace(&mut self.clients[index].state, state);
        *self.gauge(before) -= 1;
        *self.gauge(state) += 1;
    }

    fn gauge(&mut self, state: ClientState) -> &mut usize {
        match state {
            ClientState::Connecting => &mut self.counts.connecting,
            ClientState::Connected => &mut self.counts.connected,
            ClientState::Gone => &mut self.counts.gone,
            ClientState::Closed => &mut self.counts.closed,
        }
    }

    fn tried(&mut self, index: usize) {
        if !std::mem::replace(&mut self.clients[index].tried, true) {
            self.counts.tried += 1;
        }
    }

    /// Counts an `-ERR` without the subject it may end with: each client has its own.
    fn count_error(&mut self, text: &str) {
        let text = text.split_once(" to \"").map_or(text, |(what, _)| what);
        *self.errors.entry(text.to_owned()).or_default() += 1;
    }

    /// Shares one copy of a server's id among all its clients.
    fn intern(&mut self, server_id: &str) -> Arc<str> {
        if let Some(known) = self.server_ids.iter().find(|known| &***known == server_id) {
            return Arc::clone(known);
        }
        let server_id: Arc<str> = Arc::from(server_id);
        self.server_ids.push(Arc::clone(&server_id));
        server_id
    }
}
