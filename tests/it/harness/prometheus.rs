//! A real Prometheus, and an exporter for it to scrape.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::payload::ALERT;
use crate::harness::process::Process;
use crate::harness::{eventually, http, tool};

/// An exporter of one number: how many connections the server `nats-test` has. Dropped, it is gone, and nobody listens.
pub struct Exporter {
    server: FakeMonitor,
    connections: Arc<AtomicU64>,
}

impl Exporter {
    /// Starts an exporter that tells `connections`.
    pub async fn start(connections: u64) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), connections).await
    }

    /// Starts one where another was.
    pub async fn start_at(address: SocketAddr, connections: u64) -> Self {
        let connections = Arc::new(AtomicU64::new(connections));
        let told = connections.clone();
        let server = FakeMonitor::start_at(address, move |_| {
            let text = format!(
                "# TYPE gnatsd_connz_num_connections gauge\ngnatsd_connz_num_connections{{server_id=\"nats-test\"}} {}\n",
                told.load(Ordering::SeqCst)
            );
            Answer::http("200 OK", &[("Content-Type", "text/plain; version=0.0.4")], &text)
        });
        Self { server: server.await, connections }
    }

    /// Where it is scraped.
    pub fn target(&self) -> SocketAddr {
        format!("127.0.0.1:{}", self.server.url.port().unwrap()).parse().unwrap()
    }

    /// Tells another number from now on.
    pub fn tell(&self, connections: u64) {
        self.connections.store(connections, Ordering::SeqCst);
    }
}

/// A running Prometheus that looks five times a second.
pub struct Prometheus {
    /// Where it listens.
    pub url: Url,
    _process: Process,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes `exporter` and tells `alertmanager` while there are more than `threshold`
    /// connections. Its external label is `replica`.
    pub async fn start(exporter: &Exporter, alertmanager: &Url, threshold: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = |url: &Url| format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms,\n  \
               external_labels: {{ replica: a }} }}\nrule_files: [rules.yml]\nscrape_configs:\n  \
               - {{ job_name: nats, static_configs: [{{ targets: [\"{}\"] }}] }}\nalerting:\n  \
               alertmanagers: [{{ static_configs: [{{ targets: [\"{}\"] }}] }}]\n",
            authority(&exporter.server.url),
            authority(alertmanager),
        );
        let rules = format!(
            "groups:\n  - name: nats\n    rules:\n      - alert: {ALERT}\n        \
             expr: gnatsd_connz_num_connections > {threshold}\n        labels: {{ severity: warning }}\n        \
             annotations: {{ description: 'VALUE = {{{{ $value }}}}' }}\n"
        );
        std::fs::write(directory.path().join("rules.yml"), rules).unwrap();
        Self::run(directory, &config).await
    }

    /// Starts a Prometheus that scrapes nothing and remembers what the text in the OpenMetrics format says, with its
    /// times.
    pub async fn remembering(history: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("history.txt"), history).unwrap();
        let imported = std::process::Command::new(tool("promtool"))
            .args(["tsdb", "create-blocks-from", "openmetrics", "history.txt", "data"])
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        Self::run(directory, "scrape_configs: []\n").await
    }

    async fn run(directory: TempDir, config: &str) -> Self {
        std::fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        let arguments = [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
            "--rules.alert.resend-delay=1s",
        ];
        let mut process = Process::start(&tool("prometheus"), &arguments, directory.path());
        let url = process
            .logged("Prometheus' address", |line| {
                let address =
                    line.split("msg=\"Listening on\" address=").nth(1)?.split_whitespace().next()?;
                Url::parse(&format!("http://{address}")).ok()
            })
            .await;
        eventually("a ready Prometheus", async || {
            let ready = http().get(url.join("-/ready").unwrap()).send().await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
        Self { url, _process: process, _directory: directory }
    }

    /// Waits until it has so many alerts that fire.
    pub async fn fires(&self, count: usize) {
        eventually("the alerts of Prometheus", async || (self.firing().await.len() == count).then_some(()))
            .await;
    }

    /// The alert that it has.
    pub async fn alert(&self) -> Value {
        self.firing().await.pop().unwrap()
    }

    /// Waits until it can scrape everything.
    pub async fn scrapes(&self) {
        eventually("a target that is up", async || {
            let answer = self.ask("api/v1/query?query=min(up)").await;
            (answer["data"]["result"][0]["value"][1] == "1").then_some(())
        })
        .await;
    }

    async fn firing(&self) -> Vec<Value> {
        let mut answer = self.ask("api/v1/alerts").await;
        let Value::Array(mut alerts) = answer["data"]["alerts"].take() else { panic!("{answer:#}") };
        alerts.retain(|alert| alert["state"] == "firing");
        alerts
    }

    async fn ask(&self, path: &str) -> Value {
        http().get(self.url.join(path).unwrap()).send().await.unwrap().json().await.unwrap()
    }
}
