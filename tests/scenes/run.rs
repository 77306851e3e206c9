//! One run of a scene: real servers, the daemon as a process, the swarm, the webhook, and what comes of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use connwarden::clock::Clock;
use serde_json::{Value, json};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use crate::cast::Cast;
use crate::harness::PATIENCE;
use crate::harness::daemon::Daemon;
use crate::harness::nats::{NEWEST, OLDER};
use crate::look::Look;
use crate::scene::{Key, Scene, Size};
use crate::score::{Culprit, Expectation, Outcome};
use crate::servers::{NatsServer, NatsServers};
use crate::stage::Stage;

/// The exporter asks for one page of `/connz`, and counts what is on it.
const PAGE: u64 = 1024;
/// How often the daemon is asked whether it has finished.
const PAUSE: Duration = Duration::from_millis(50);

/// How a scene is played.
#[derive(Debug, Clone)]
pub struct Play {
    pub scene: Scene,
    pub seed: u64,
    pub size: Size,
    /// The line of releases of the servers.
    pub line: &'static str,
}

impl Play {
    /// Sizes and servers alternate with the seed: four seeds play all four combinations.
    pub fn of(scene: &Scene, seed: u64) -> Self {
        let (size, line) = match seed % 4 {
            1 => (Size::Small, NEWEST),
            2 => (Size::Medium, OLDER),
            3 => (Size::Medium, NEWEST),
            _ => (Size::Small, OLDER),
        };
        let line = if scene.newest { NEWEST } else { line };
        Self { scene: scene.clone(), seed, size, line }
    }

    /// Its name, which is also that of its files.
    pub fn name(&self) -> String {
        format!("{}-{}-{}-{}", self.scene.name, self.seed, self.size.name(), self.line)
    }

    /// Plays it. What breaks off did not happen.
    pub async fn run(self) -> Outcome {
        let (run, top) = (self.name(), self.scene.expect.top.clone());
        // a task of its own: a panic ends this run, and not those after it
        let acting = LocalSet::new();
        acting.run_until(async { spawn_local(self.act()).await }).await.unwrap_or_else(|_| Outcome {
            run,
            not_happened: vec!["it broke off; why stands above".to_owned()],
            expectation: Expectation { top, ..Expectation::default() },
            top: "broke off".to_owned(),
            ..Outcome::default()
        })
    }

    async fn act(self) -> Outcome {
        let Self { scene, seed, size, line } = &self;
        let (seed, size) = (*seed, *size);
        let mut servers = NatsServers::start(scene, size, line).await;
        let cast = || Cast::new(scene, size, seed, servers.addresses());
        let (cast, mut stage) = (cast(), Stage::open(scene, cast()).await);
        let directory = tempfile::tempdir().unwrap();
        let daemon = start_daemon(directory.path(), scene, size, &servers).await;
        sleep(Duration::from_secs(scene.calm_seconds)).await;
        let before = Look::at(&servers).await;

        stage.trouble(scene, &mut servers).await;
        let now = Look::at(&servers).await;
        let threshold = scene.alert.threshold * size.factor();
        let server = &servers.servers[scene.alert.server];
        let count = now.servers[scene.alert.server];
        let mut happened: Vec<_> =
            scene.happens.iter().map(|check| now.check(&before, check, &cast, size)).collect();
        if count <= threshold {
            happened.push(Err(format!("{count} connections raise no alert above {threshold}")));
        }

        let sent = Instant::now();
        let (status, answer) = daemon.notify(notification(server, count, threshold)).await;
        assert_eq!(status, 202, "{answer}");
        let incident = finished(&daemon).await;
        let took = sent.elapsed();
        let mut report = vec![scene.about.clone()];
        report.extend(now.describe(&before));
        report.extend(happened.iter().map(|check| format!("{check:?}")));
        report.push(format!("headline: {}", incident["headline"]));
        report.push(format!("diagnosis: {}", incident["diagnosis"]["headline"]));
        let report = report.join("\n");
        self.keep(&incident, &report);
        stage.close().await;
        Outcome {
            run: self.name(),
            not_happened: happened.into_iter().filter_map(Result::err).collect(),
            diagnosed: incident["diagnosis"].is_object(),
            expectation: expectation(scene, &cast),
            top: top(&incident),
            named: named(&incident),
            took,
            report,
        }
    }

    /// Keeps what there is to look at afterwards.
    fn keep(&self, incident: &Value, report: &str) {
        let folder = folder();
        std::fs::create_dir_all(&folder).unwrap();
        let text = serde_json::to_string_pretty(incident).unwrap();
        std::fs::write(folder.join(format!("{}.json", self.name())), text).unwrap();
        std::fs::write(folder.join(format!("{}.txt", self.name())), report).unwrap();
    }
}

/// Where the runs are kept: `target/scenes`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("scenes")
}

fn expectation(scene: &Scene, cast: &Cast) -> Expectation {
    let resolved = |keys: &[Key]| keys.iter().map(|key| culprit(&cast.key(key))).collect();
    Expectation {
        top: scene.expect.top.clone(),
        culprits: resolved(&scene.expect.culprits),
        tolerated: resolved(&scene.expect.tolerated),
    }
}

fn culprit(key: &Key) -> Culprit {
    (key.dimension().to_owned(), key.key().to_owned())
}

async fn start_daemon(directory: &Path, scene: &Scene, size: Size, servers: &NatsServers) -> Daemon {
    // no server tells the limits that stand in its own configuration
    let limits = scene.accounts.iter().filter_map(|account| {
        let limit = account.max_connections? * size.factor();
        Some(format!("{{account: {}, connections: {limit}}}", account.name))
    });
    let limits = limits.collect::<Vec<_>>().join(", ");
    let config = directory.join("connwarden.yml");
    let monitors: Vec<_> = servers.servers.iter().map(|server| server.monitor.as_str()).collect();
    let mut text = format!(
        "observe: {{idle_after: 5s}}\n\
         clusters: [{{name: scene, monitor: {monitors:?}, account_limits: [{limits}]}}]\n"
    );
    if connwarden::config::KEYS.contains(&"baseline.interval") {
        text += "baseline: {interval: 10s}\n";
    }
    std::fs::write(&config, text).unwrap();
    Daemon::start(directory, &["--config.file".to_owned(), config.to_str().unwrap().to_owned()]).await
}

/// Waits until the incident has its diagnosis.
async fn finished(daemon: &Daemon) -> Value {
    let asked = Instant::now();
    loop {
        let list = daemon.get("api/v1/incidents").await;
        let mut incident = Value::Null;
        if let Some(id) = list["incidents"][0]["id"].as_str() {
            incident = daemon.get(&format!("api/v1/incidents/{id}")).await;
        }
        if incident["diagnosis"].is_object() || asked.elapsed() > PATIENCE {
            return incident;
        }
        sleep(PAUSE).await;
    }
}

/// The kind of the first finding.
fn top(incident: &Value) -> String {
    if !incident["diagnosis"].is_object() {
        return "undiagnosed".to_owned();
    }
    let findings = incident["diagnosis"]["findings"].as_array();
    let first = findings.and_then(|findings| findings.first());
    first.and_then(|finding| finding["kind"].as_str()).unwrap_or("none").to_owned()
}

/// Who is named.
fn named(incident: &Value) -> BTreeSet<Culprit> {
    let culprits = incident["diagnosis"]["culprits"].as_array();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    culprits
        .into_iter()
        .flatten()
        .map(|culprit| (text(&culprit["dimension"]), text(&culprit["key"])))
        .collect()
}

/// What Alertmanager posts about a server with `count` connections.
fn notification(server: &NatsServer, count: u64, threshold: u64) -> String {
    let value = count.min(PAGE);
    let (name, instance) = (&server.name, format!("{}-exporter:7777", server.name));
    let labels = json!({
        "alertname": "NatsHighNumberOfConnections",
        "instance": instance,
        "job": "nats",
        "server_id": name,
        "severity": "warning",
    });
    let annotations = json!({
        "summary": format!("NATS high number of connections (instance {instance})"),
        "description": format!(
            "High number of NATS connections ({value}) for {instance}\n  VALUE = {value}\n  \
             LABELS = map[__name__:gnatsd_connz_num_connections instance:{instance} job:nats server_id:{name}]"
        ),
    });
    let expression = format!("gnatsd_connz_num_connections+%3E+{threshold}");
    let notification = json!({
        "receiver": "connwarden",
        "status": "firing",
        "alerts": [{
            "status": "firing",
            "labels": labels,
            "annotations": annotations,
            "startsAt": Clock::system().now().to_string(),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": format!("http://prometheus.example:9090/graph?g0.expr={expression}&g0.tab=1"),
            "fingerprint": "88c4780a9ad63d8e",
        }],
        "groupLabels": { "alertname": "NatsHighNumberOfConnections" },
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "http://alertmanager.example:9093",
        "version": "4",
        "groupKey": "{}:{alertname=\"NatsHighNumberOfConnections\"}",
        "truncatedAlerts": 0,
    });
    notification.to_string()
}
