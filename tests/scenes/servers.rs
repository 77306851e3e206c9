//! The NATS servers of a scene: one, or a cluster, each of which can die and come back where it was.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use url::Url;

use crate::harness::process::Process;
use crate::harness::{eventually, http, tool};
use crate::scene::{Scene, Size};
use crate::swarm::random::Random;

/// The password of every user.
pub const PASSWORD: &str = "secret";

/// What a server without connections needs, in mebibytes.
const EMPTY: u64 = 12;

/// Ports below those that the system gives to connections: a server must find its own free when it comes back.
const PORTS: std::ops::Range<u64> = 20_000..32_000;

/// The running servers of a scene.
pub struct NatsServers {
    pub servers: Vec<NatsServer>,
    _directory: TempDir,
}

/// One of them.
pub struct NatsServer {
    pub name: String,
    /// Where clients connect.
    pub clients: SocketAddr,
    /// Its monitoring URL.
    pub monitor: Url,
    program: PathBuf,
    /// `GOMEMLIMIT`, in bytes.
    memory_limit: Option<u64>,
    config: PathBuf,
    process: Option<Process>,
}

impl NatsServers {
    /// Starts the servers of a scene, of a line of releases.
    pub async fn start(scene: &Scene, size: Size, line: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let count = scene.servers.count;
        let ports = free_ports(3 * count);
        let routes: Vec<_> =
            ports[2 * count..].iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let mut servers = Vec::new();
        for number in 0..count {
            let (clients, monitor) = (ports[number], ports[count + number]);
            let name = format!("nats-{number}");
            let home = directory.path().join(&name);
            std::fs::create_dir(&home).unwrap();
            let config = home.join("nats.conf");
            let mut text = format!(
                "server_name: {name}\nlisten: \"127.0.0.1:{clients}\"\nhttp: \"127.0.0.1:{monitor}\"\n{}",
                settings(scene, size)
            );
            if count > 1 {
                let listen = routes[number].trim_start_matches("nats://");
                text += &format!("cluster {{ name: scene, listen: \"{listen}\", routes: {routes:?} }}\n");
            }
            std::fs::write(&config, text).unwrap();
            let mut server = NatsServer {
                name,
                clients: SocketAddr::from(([127, 0, 0, 1], clients)),
                monitor: Url::parse(&format!("http://127.0.0.1:{monitor}/")).unwrap(),
                program: tool(&format!("nats-server-{line}")),
                memory_limit: scene
                    .servers
                    .connections_mebibytes
                    .map(|limit| (EMPTY + limit * size.factor()) << 20),
                config,
                process: None,
            };
            server.start().await;
            servers.push(server);
        }
        Self { servers, _directory: directory }
    }

    /// Where clients connect.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.clients).collect()
    }
}

impl NatsServer {
    /// Starts it where it was, and waits until it serves.
    pub async fn start(&mut self) {
        let home: &Path = self.config.parent().unwrap();
        // the program that sets the environment becomes the server
        let limit = self.memory_limit.map(|bytes| format!("GOMEMLIMIT={bytes}"));
        let environment = limit.as_ref().map(|limit| [OsStr::new("env"), OsStr::new(limit)]);
        let server = [self.program.as_os_str(), OsStr::new("-c"), self.config.as_os_str()];
        let command: Vec<&OsStr> = environment.into_iter().flatten().chain(server).collect();
        self.process = Some(Process::start(Path::new(command[0]), &command[1..], home));
        let health = self.monitor.join("healthz").unwrap();
        let client = http();
        eventually("a healthy nats-server", async || {
            client.get(health.clone()).send().await.ok()?.status().is_success().then_some(())
        })
        .await;
    }

    /// Ends it, without a chance to say good-bye.
    pub fn kill(&mut self) {
        self.process = None;
    }
}

/// What all servers of a scene have in common.
fn settings(scene: &Scene, size: Size) -> String {
    let mut text = String::new();
    let servers = &scene.servers;
    if let Some(limit) = servers.max_connections {
        text += &format!("max_connections: {}\n", limit * size.factor());
    }
    if let Some(bytes) = servers.max_pending_bytes {
        text += &format!("max_pending: {bytes}\n");
    }
    if let Some(deadline) = &servers.write_deadline {
        text += &format!("write_deadline: {deadline:?}\n");
    }
    if !scene.accounts.is_empty() {
        text += "accounts {\n";
        for account in &scene.accounts {
            let users = account.users.iter().map(|user| format!("{{user: {user}, password: {PASSWORD}}}"));
            let users = users.collect::<Vec<_>>().join(", ");
            let limits = account.max_connections.map_or_else(String::new, |limit| {
                format!(", limits {{ max_connections: {} }}", limit * size.factor())
            });
            text += &format!("  {} {{ users: [{users}]{limits} }}\n", account.name);
        }
        text += &format!("  $SYS {{ users: [{{user: sys, password: {PASSWORD}}}] }}\n}}\n");
    }
    text
}

fn free_ports(count: usize) -> Vec<u16> {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let started = STARTED.fetch_add(1, Ordering::Relaxed);
    let mut random = Random::new(u64::from(std::process::id()), &[started]);
    let mut ports = BTreeSet::new();
    while ports.len() < count {
        let port = u16::try_from(PORTS.start + random.below(PORTS.end - PORTS.start)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.insert(port);
        }
    }
    ports.into_iter().collect()
}
