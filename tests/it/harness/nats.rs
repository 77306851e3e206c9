//! Real NATS servers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use url::Url;

use crate::harness::process::Process;
use crate::harness::{eventually, http, tool};

/// The newest line of releases that is tested against.
pub const NEWEST: &str = "2.15";

/// An older line, from before tokens were redacted.
pub const OLDER: &str = "2.10";

/// Two accounts with users, and the system account.
pub const ACCOUNTS: &str = "
accounts {
  APP { users: [ { user: alice, password: secret }, { user: bob, password: secret } ] }
  BATCH { users: [ { user: carol, password: secret } ] }
  $SYS { users: [ { user: sys, password: secret } ] }
}
";

/// A running `nats-server`.
pub struct NatsServer {
    /// Where clients connect.
    pub clients: SocketAddr,
    /// Its monitoring URL.
    pub monitor: Url,
    /// Where other servers of its cluster connect, if it is in one.
    pub routes: Option<SocketAddr>,
    /// The process.
    pub process: Process,
    name: String,
    directory: TempDir,
}

impl NatsServer {
    /// Starts a server of a line of releases, with `config` beside what the harness needs.
    pub async fn start(line: &str, config: &str) -> Self {
        Self::start_named("nats-test", line, config).await
    }

    /// Starts a server with a name of its own.
    pub async fn start_named(name: &str, line: &str, config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("nats.conf");
        let config = whole(name, directory.path(), config);
        std::fs::write(&file, config).unwrap();
        let program = tool(&format!("nats-server-{line}"));
        let process = Process::start(&program, &["-c".into(), file.into_os_string()], directory.path());
        let (clients, monitor, routes) = eventually("the ports of nats-server", async || {
            let path = ports_file(&directory)?;
            let ports: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
            let address = |kind: &str| ports[kind][0].as_str()?.split_once("://")?.1.parse().ok();
            Some((address("nats")?, Url::parse(ports["monitoring"][0].as_str()?).ok()?, address("cluster")))
        })
        .await;
        Self { clients, monitor, routes, process, name: name.to_owned(), directory }
    }

    /// Where clients connect, as a URL.
    pub fn url(&self) -> String {
        format!("nats://{}", self.clients)
    }

    /// Gives it another `config` and has it loaded.
    pub async fn reload(&mut self, config: &str) {
        const RELOADED: &str = "Reloaded server configuration";

        let before = self.process.log().matches(RELOADED).count();
        let config = whole(&self.name, self.directory.path(), config);
        std::fs::write(self.directory.path().join("nats.conf"), config).unwrap();
        self.process.hang_up();
        eventually("a reloaded nats-server", async || {
            (self.process.log().matches(RELOADED).count() > before).then_some(())
        })
        .await;
    }

    /// How many clients it says it has.
    pub async fn connections(&self) -> u64 {
        let answer = http().get(self.monitor.join("varz").unwrap()).send().await.unwrap();
        let varz: serde_json::Value = answer.json().await.unwrap();
        varz["connections"].as_u64().unwrap()
    }

    /// Lets it read its configuration again.
    pub fn hang_up(&self) {
        self.process.hang_up();
    }

    /// The id of its process.
    #[allow(dead_code, reason = "only the benchmarks measure it")]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it and starts it anew, on the same port for clients.
    pub async fn restart(&mut self, line: &str, config: &str) {
        self.process.kill();
        let clients = self.clients;
        let config = whole(&self.name, self.directory.path(), config).replacen(
            "listen: \"127.0.0.1:-1\"",
            &format!("listen: \"{clients}\""),
            1,
        );
        let file = self.directory.path().join("nats.conf");
        std::fs::write(&file, config).unwrap();
        if let Some(ports) = ports_file(&self.directory) {
            std::fs::remove_file(ports).unwrap();
        }
        let program = tool(&format!("nats-server-{line}"));
        self.process = Process::start(&program, &["-c".into(), file.into_os_string()], self.directory.path());
        let monitor = eventually("the ports of nats-server", async || {
            let path = ports_file(&self.directory)?;
            let ports: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
            Url::parse(ports["monitoring"][0].as_str()?).ok()
        })
        .await;
        self.monitor = monitor;
    }

    /// Ends it, without a chance to say good-bye.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// A configuration with what the harness needs.
fn whole(name: &str, directory: &Path, config: &str) -> String {
    format!(
        "server_name: {name}\nlisten: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\n\
         ports_file_dir: {directory:?}\n{config}\n"
    )
}

/// Starts the servers of one NATS cluster, each called by its cluster and a number (`east-0`), and waits until each has
/// routes to all others.
pub async fn start_cluster(line: &str, cluster: &str, servers: usize, config: &str) -> Vec<NatsServer> {
    let mut started: Vec<NatsServer> = Vec::new();
    for number in 0..servers {
        let routes: String = started
            .first()
            .and_then(|first| first.routes)
            .map_or_else(String::new, |first| format!("routes: [\"nats-route://{first}\"]"));
        let own = format!("cluster {{ name: {cluster}, listen: \"127.0.0.1:-1\"\n{routes} }}\n{config}");
        started.push(NatsServer::start_named(&format!("{cluster}-{number}"), line, &own).await);
    }
    for server in &started {
        eventually("routes to all other servers", async || {
            let answer = http().get(server.monitor.join("routez").unwrap()).send().await.ok()?;
            let routez: serde_json::Value = answer.json().await.ok()?;
            let names = routez["routes"].as_array()?.iter().filter_map(|route| route["remote_name"].as_str());
            (names.collect::<BTreeSet<_>>().len() + 1 == servers).then_some(())
        })
        .await;
    }
    started
}

fn ports_file(directory: &TempDir) -> Option<PathBuf> {
    let files = std::fs::read_dir(directory.path()).ok()?;
    files
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "ports"))
}
