//! A real Alertmanager.

use tempfile::TempDir;
use url::Url;

use crate::harness::process::Process;
use crate::harness::{eventually, http, tool};

/// A running Alertmanager with one receiver.
pub struct Alertmanager {
    url: Url,
    /// With its log.
    pub process: Process,
    _directory: TempDir,
}

impl Alertmanager {
    /// Starts an Alertmanager that posts everything to `webhook`, one second after it came.
    pub async fn start(webhook: &Url) -> Self {
        Self::start_with(webhook, "").await
    }

    /// Starts one that shows something to the webhook: `http_config` is the YAML of that setting.
    pub async fn start_with(webhook: &Url, http_config: &str) -> Self {
        let http_config: String = http_config.lines().map(|line| format!("          {line}\n")).collect();
        let http_config =
            if http_config.is_empty() { http_config } else { format!("        http_config:\n{http_config}") };
        let directory = tempfile::tempdir().unwrap();
        let config = format!(
            "route:\n  receiver: connwarden\n  group_by: [alertname]\n  group_wait: 1s\n  group_interval: 5s\n\
             \x20 repeat_interval: 1h\nreceivers:\n  - name: connwarden\n    webhook_configs:\n      - url: {webhook}\n{http_config}"
        );
        std::fs::write(directory.path().join("alertmanager.yml"), config).unwrap();
        let arguments = [
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ];
        let mut process = Process::start(&tool("alertmanager"), &arguments, directory.path());
        let url = process
            .logged("Alertmanager's address", |line| {
                let address = line.split("address=").nth(1)?.split_whitespace().next()?.trim_matches('"');
                line.contains("Listening on").then(|| Url::parse(&format!("http://{address}")).ok())?
            })
            .await;
        eventually("a ready Alertmanager", async || {
            let ready = http().get(url.join("-/ready").unwrap()).send().await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
        Self { url, process, _directory: directory }
    }

    /// Pushes alerts, as Prometheus would.
    pub async fn push(&self, alerts: &serde_json::Value) {
        let url = self.url.join("api/v2/alerts").unwrap();
        let answer = http().post(url).json(alerts).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
}
