//! The daemon as its users run it: a process.

use std::path::Path;

use serde_json::Value;
use url::Url;

use crate::harness::process::Process;
use crate::harness::{PATIENCE, eventually, http};

/// The program under test.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_connwarden"))
}

/// A running `connwarden serve`.
pub struct Daemon {
    /// Where it listens.
    pub url: Url,
    pub process: Process,
    /// Asks it; replaced by one that shows something, where something has to be shown.
    pub client: reqwest::Client,
}

impl Daemon {
    /// Starts a daemon with its storage in `directory`, on a port of the system's choice, and waits until it is ready.
    pub async fn start(directory: &Path, arguments: &[String]) -> Self {
        Self::start_for(http(), directory, arguments).await
    }

    /// Starts a daemon that is asked by `client`.
    pub async fn start_for(client: reqwest::Client, directory: &Path, arguments: &[String]) -> Self {
        Self::started_by(&[], client, directory, arguments).await
    }

    /// Starts a daemon by a command that ends in executing what follows it.
    pub async fn started_by(
        command: &[&str],
        client: reqwest::Client,
        directory: &Path,
        arguments: &[String],
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut all: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        all.extend(
            [program().to_str().unwrap(), "serve", "--web.listen-address", "127.0.0.1:0"].map(str::to_owned),
        );
        all.extend(arguments.iter().cloned());
        let first = Path::new(&all[0]);
        let name = first.file_name().unwrap().to_string_lossy();
        let _ = std::fs::remove_file(directory.join(format!("{name}.log")));
        let mut process = Process::start(first, &all[1..], directory);
        let url = process
            .logged("the daemon's address", |line| {
                let address = line.split("listening on ").nth(1)?.split(';').next()?;
                Url::parse(address).ok()
            })
            .await;
        let daemon = Self { url, process, client };
        eventually("a ready daemon", async || {
            let ready = daemon.client.get(daemon.at("-/ready")).send().await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
        daemon
    }

    /// Starts a daemon that watches the given monitoring URLs as one cluster.
    pub async fn watching<'a>(directory: &Path, monitors: impl IntoIterator<Item = &'a Url>) -> Self {
        let flags = monitors.into_iter().flat_map(|url| ["--nats.monitor".to_owned(), url.to_string()]);
        Self::start(directory, &flags.collect::<Vec<_>>()).await
    }

    /// A URL of the daemon.
    pub fn at(&self, path: &str) -> Url {
        self.url.join(path).unwrap()
    }

    /// Where Alertmanager posts.
    pub fn webhook(&self) -> Url {
        self.at("api/v1/webhook/alertmanager")
    }

    /// Asks for a document.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(self.at(path)).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Posts a notification; status and text of the answer.
    pub async fn notify(&self, body: impl Into<reqwest::Body>) -> (u16, String) {
        let answer = self.client.post(self.webhook()).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Waits until the newest incident looks as wanted.
    pub async fn incident(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            let list = self.get("api/v1/incidents").await;
            let id = list["incidents"][0]["id"].as_str()?.to_owned();
            let incident = self.get(&format!("api/v1/incidents/{id}")).await;
            wanted(&incident).then_some(incident)
        })
        .await
    }
}

/// Runs the program to its end: exit code, standard output, standard error.
pub async fn run(arguments: &[&str]) -> (i32, String, String) {
    // a program that should end and does not must not outlive the test
    let output = tokio::process::Command::new(program()).args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("the program ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}
