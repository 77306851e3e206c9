//! A real Alertmanager, or a pair of them.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::harness::process::Process;
use crate::harness::{eventually, http, tool};

/// A running Alertmanager.
pub struct Alertmanager {
    /// Where it listens.
    pub url: Url,
    /// With its log.
    pub process: Process,
    arguments: Vec<String>,
    directory: TempDir,
}

/// How an Alertmanager is set up, beside where it posts to.
pub struct Setup {
    /// What stands in the route.
    pub route: String,
    /// The lines that stand below the URL of the webhook.
    pub webhook: String,
    /// What stands beside route and receiver, such as `inhibit_rules`.
    pub more: String,
    /// Arguments of its command line, the ones about its cluster among them.
    pub arguments: Vec<String>,
}

impl Default for Setup {
    /// Posts one second after an alert came; has no peers.
    fn default() -> Self {
        Self {
            route: route("1s", "5s"),
            webhook: String::new(),
            more: String::new(),
            arguments: vec!["--cluster.listen-address=".to_owned()],
        }
    }
}

/// A route that groups by alert name.
pub fn route(group_wait: &str, group_interval: &str) -> String {
    format!(
        "group_by: [alertname], group_wait: {group_wait}, group_interval: {group_interval}, repeat_interval: 1h"
    )
}

impl Alertmanager {
    /// Starts an Alertmanager that posts everything to `webhook`, one second after it came.
    pub async fn start(webhook: &Url) -> Self {
        Self::set_up(webhook, Setup::default()).await
    }

    /// Starts one that shows something to the webhook: `http_config` is the YAML of that setting.
    pub async fn start_with(webhook: &Url, http_config: &str) -> Self {
        let lines = http_config.lines().map(|line| format!("  {line}\n"));
        let lines = format!("http_config:\n{}", lines.collect::<String>());
        Self::set_up(webhook, Setup { webhook: lines, ..Setup::default() }).await
    }

    /// Starts an Alertmanager that posts everything to `webhook`.
    pub async fn set_up(webhook: &Url, setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let Setup { route, webhook: beside, more, arguments } = setup;
        let beside: String = beside.lines().map(|line| format!("        {line}\n")).collect();
        let config = format!(
            "route: {{ receiver: connwarden, {route} }}\nreceivers:\n  - name: connwarden\n    webhook_configs:\n      \
             - url: \"{webhook}\"\n{beside}{more}\n"
        );
        std::fs::write(directory.path().join("alertmanager.yml"), config).unwrap();
        let (url, process) = run(directory.path(), "127.0.0.1:0", &arguments).await;
        Self { url, process, arguments, directory }
    }

    /// Pushes alerts, as Prometheus would.
    pub async fn push(&self, alerts: &Value) {
        let url = self.url.join("api/v2/alerts").unwrap();
        let answer = http().post(url).json(alerts).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// Silences every alert of a name for an hour; the silence's id.
    pub async fn silence(&self, alert_name: &str, now: Timestamp) -> String {
        let matcher = json!({ "name": "alertname", "value": alert_name, "isRegex": false, "isEqual": true });
        let silence = json!({
            "matchers": [matcher],
            "startsAt": now.to_string(),
            "endsAt": (now + SignedDuration::from_hours(1)).to_string(),
            "createdBy": "a test",
            "comment": "",
        });
        let url = self.url.join("api/v2/silences").unwrap();
        let answer = http().post(url).json(&silence).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        answer["silenceID"].as_str().unwrap().to_owned()
    }

    /// Waits until an alert of a name is listed in a state: `active`, `suppressed`.
    pub async fn lists(&self, alert_name: &str, state: &str) {
        let url = self.url.join("api/v2/alerts").unwrap();
        eventually("an alert in a state", async || {
            let alerts: Value = http().get(url.clone()).send().await.unwrap().json().await.unwrap();
            let mut alerts = alerts.as_array().unwrap().iter();
            alerts
                .any(|alert| alert["labels"]["alertname"] == alert_name && alert["status"]["state"] == state)
                .then_some(())
        })
        .await;
    }

    /// How often it has begun to work off the group of an alert name, which it says at the log level `debug`: each time
    /// it takes down what the alerts are.
    pub fn flushes(&self, alert_name: &str) -> usize {
        let group = format!(r#"{{alertname=\"{alert_name}\"}}" msg=flushing"#);
        self.process.log().lines().filter(|line| line.contains(&group)).count()
    }

    /// Ends it, without a chance to say good-bye.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it like that and starts it again at the same address: it has forgotten its alerts.
    pub async fn restart(&mut self) {
        self.kill();
        let address = format!("127.0.0.1:{}", self.url.port().unwrap());
        (self.url, self.process) = run(self.directory.path(), &address, &self.arguments).await;
    }

    async fn status(&self) -> Value {
        let url = self.url.join("api/v2/status").unwrap();
        http().get(url).send().await.unwrap().json().await.unwrap()
    }

    /// Where its peers find it.
    async fn peer_address(&self) -> String {
        let status = self.status().await;
        let peers = status["cluster"]["peers"].as_array().unwrap();
        let own = peers.iter().find(|peer| peer["name"] == status["cluster"]["name"]).unwrap();
        own["address"].as_str().unwrap().to_owned()
    }
}

/// Starts a program in a directory that has its configuration, and waits until it is ready.
async fn run(directory: &Path, address: &str, more: &[String]) -> (Url, Process) {
    let mut arguments = vec![
        "--config.file=alertmanager.yml".to_owned(),
        "--storage.path=data".to_owned(),
        format!("--web.listen-address={address}"),
    ];
    arguments.extend_from_slice(more);
    let mut process = Process::start(&tool("alertmanager"), &arguments, directory);
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
    (url, process)
}

/// Two Alertmanagers that know of each other. The second waits `PEER_TIMEOUT` for the first before it posts.
pub struct Pair {
    /// The node that posts first, and the one that waits.
    pub nodes: [Alertmanager; 2],
}

impl Pair {
    /// How long the second node waits for the first, in seconds; 15 by default.
    const PEER_TIMEOUT: u32 = 3;

    /// Starts a healthy pair, each node with its own route.
    pub async fn start(webhook: &Url, routes: [String; 2]) -> Self {
        let [route, other_route] = routes;
        let arguments = || {
            vec![
                "--cluster.listen-address=127.0.0.1:0".to_owned(),
                // twenty times as fast as usual, so that it settles in a second
                "--cluster.gossip-interval=10ms".to_owned(),
                format!("--cluster.peer-timeout={}s", Self::PEER_TIMEOUT),
                "--log.level=debug".to_owned(),
            ]
        };
        let setup = Setup { route, arguments: arguments(), ..Setup::default() };
        // their order is that of their starts
        let first = Alertmanager::set_up(webhook, setup).await;
        let mut arguments = arguments();
        arguments.push(format!("--cluster.peer={}", first.peer_address().await));
        let setup = Setup { route: other_route, arguments, ..Setup::default() };
        let second = Alertmanager::set_up(webhook, setup).await;
        for node in [&first, &second] {
            eventually("a settled pair", async || {
                let cluster = node.status().await["cluster"].take();
                let peers = cluster["peers"].as_array()?.len();
                (cluster["status"] == "ready" && peers == 2).then_some(())
            })
            .await;
        }
        Self { nodes: [first, second] }
    }
}
