//! The whole way: a real Alertmanager, the daemon as a process, a real NATS server, thousands of connections.
//!
//! What is stored must be what the test itself has opened, group by group.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use connwarden::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::alertmanager::Alertmanager;
use crate::harness::daemon::Daemon;
use crate::harness::document::{assert_adds_up, figures, groups, timeline};
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer, OLDER};
use crate::swarm::{ClientSpec, Options, Population, Swarm};

/// Name template, application and weight.
const APPLICATIONS: [(&str, &str, u32); 5] = [
    ("orders-api-{pod}", "orders-api", 8),
    ("billing-{uuid}", "billing", 5),
    ("worker-{pid}", "worker", 4),
    ("web-{n}", "web", 2),
    ("", "(unnamed)", 1),
];

/// A server with a swarm, and who watches it.
struct Scene {
    specs: Vec<ClientSpec>,
    daemon: Daemon,
    alertmanager: Alertmanager,
    starts_at: Timestamp,
    swarm: Option<Swarm>,
    _nats: NatsServer,
    _directory: TempDir,
}

impl Scene {
    /// Opens `connections` connections to a server of a line of releases.
    async fn open(line: &str, connections: usize) -> Self {
        let nats = NatsServer::start(line, ACCOUNTS).await;
        let specs = plan(nats.clients, connections);
        let swarm = Swarm::open(specs.clone(), Options::default()).await.unwrap();
        assert_eq!(nats.connections().await, connections as u64);
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("connwarden.yml");
        let text = format!(
            "incidents: {{verify_interval: 1s}}\nclusters: [{{name: nats, monitor: \"{}\"}}]\n",
            nats.monitor
        );
        std::fs::write(&config, text).unwrap();
        let flags = ["--config.file", config.to_str().unwrap()].map(str::to_owned);
        let daemon = Daemon::start(directory.path(), &flags).await;
        let alertmanager = Alertmanager::start(&daemon.webhook()).await;
        let starts_at = Clock::system().now() - SignedDuration::from_mins(10);
        let swarm = Some(swarm);
        Self { specs, daemon, alertmanager, starts_at, swarm, _nats: nats, _directory: directory }
    }

    /// Lets the alert fire, and waits for the incident with all groups of its breakdowns.
    async fn fire(&self) -> Value {
        self.alertmanager.push(&self.alert(None)).await;
        let looked_at =
            |incident: &Value| incident["snapshots"].as_array().is_some_and(|all| !all.is_empty());
        let incident = self.daemon.incident("an incident with a snapshot", looked_at).await;
        let id = incident["id"].as_str().unwrap();
        self.daemon.get(&format!("api/v1/incidents/{id}?top=10000")).await
    }

    /// Lets the alert end although the connections stay, and waits until the incident has seen through it.
    async fn resolve_falsely(&self) -> Value {
        let ended_at = Clock::system().now() - SignedDuration::from_secs(1);
        self.alertmanager.push(&self.alert(Some(ended_at))).await;
        let seen_through = |incident: &Value| timeline(incident).last() == Some(&"false_resolve");
        self.daemon.incident("an incident that is not over", seen_through).await
    }

    /// Lets the connections end, and waits until the incident has noticed.
    async fn end(&mut self) -> Value {
        self.swarm.take().unwrap().close().await;
        self.daemon.incident("a resolved incident", |incident| incident["state"] == "resolved").await
    }

    /// The alert, as Prometheus would push it.
    fn alert(&self, ended_at: Option<Timestamp>) -> Value {
        let mut alert = json!({
            "labels": {
                "alertname": "NatsHighNumberOfConnections",
                "instance": "nats-exporter:7777",
                "server_id": "nats-test",
                "severity": "warning",
            },
            "annotations": {
                "summary": "NATS high number of connections (instance nats-exporter:7777)",
                "description": "High number of NATS connections (1024) for nats-exporter:7777\n  VALUE = 1024",
            },
            "startsAt": self.starts_at.to_string(),
            "generatorURL": "http://prometheus:9090/graph?g0.expr=gnatsd_connz_num_connections+%3E+1000",
        });
        if let Some(ended_at) = ended_at {
            alert["endsAt"] = json!(ended_at.to_string());
        }
        json!([alert])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stored_breakdown_is_what_was_opened() {
    let scene = Scene::open(NEWEST, 1500).await;
    assert_is_what_was_opened(&scene.fire().await, &scene.specs);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_shows_the_same() {
    let scene = Scene::open(OLDER, 1500).await;
    assert_is_what_was_opened(&scene.fire().await, &scene.specs);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_says_1024_gets_its_true_number_and_a_true_end() {
    let mut scene = Scene::open(NEWEST, 3000).await;
    let incident = scene.fire().await;
    assert_is_what_was_opened(&incident, &scene.specs);

    let alert = &incident["alerts"][0];
    assert_eq!(alert["value"], json!(1024.0));
    let truth = json!({
        "server": "nats-test",
        "connections": 3000,
        "at_least": false,
        "varz_connections": 3000,
        "connz_total": 3000,
        "value_saturated": true,
    });
    assert_eq!(alert["truth"], truth);
    insta::assert_snapshot!(
        incident["headline"].as_str().unwrap(),
        @"3,000 connections on nats-test, not 1024: the alert's number is the length of one /connz page; 40 % are orders-api; 150 have no name"
    );

    let not_over = scene.resolve_falsely().await;
    assert_eq!((&not_over["id"], &not_over["state"]), (&incident["id"], &json!("triggered")));
    assert_eq!(not_over["alerts"][0]["status"], "resolved");
    insta::assert_snapshot!(
        not_over["timeline"].as_array().unwrap().last().unwrap()["text"].as_str().unwrap(),
        @"false resolve: all alerts are reported resolved, but nats-test has 3,000 connections (threshold 1000); is the exporter or Prometheus down?"
    );

    let resolved = scene.end().await;
    assert_eq!((&resolved["id"], &resolved["resolution"]), (&incident["id"], &json!("verified")));
    assert_eq!(
        timeline(&resolved),
        ["opened", "alert_joined", "observed", "alert_resolved", "recovering", "false_resolve", "resolved"]
    );
    assert_eq!(resolved["breakdowns"]["application"], incident["breakdowns"]["application"]);
}

/// Fails unless an incident holds exactly the connections of `specs`, along everything that is stored.
fn assert_is_what_was_opened(incident: &Value, specs: &[ClientSpec]) {
    let count = specs.len() as u64;
    let coverage = &incident["coverage"];
    assert_eq!(
        (&coverage["seen"], &coverage["total"], &coverage["complete"]),
        (&json!(count), &json!(count), &json!(true))
    );
    assert_eq!(incident["breakdowns"].as_object().unwrap().len(), DIMENSIONS.len());
    for (dimension, key) in DIMENSIONS {
        let mut opened: BTreeMap<String, u64> = BTreeMap::new();
        for spec in specs {
            *opened.entry(key(spec)).or_default() += 1;
        }
        let opened: BTreeMap<&str, u64> = opened.iter().map(|(key, count)| (key.as_str(), *count)).collect();
        assert_eq!(groups(incident, dimension), opened, "by {dimension}");
        assert_eq!(incident["breakdowns"][dimension]["other"]["groups"], 0, "by {dimension}");
    }
    assert_adds_up(incident);

    let mut addresses: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
    for spec in specs {
        addresses.entry(application(spec)).or_default().extend(spec.source);
    }
    let addresses: BTreeMap<&str, u64> =
        addresses.iter().map(|(application, ips)| (*application, ips.len() as u64)).collect();
    assert_eq!(figures(incident, "application", "distinct_ips"), addresses);
    let subscriptions = &incident["breakdowns"]["application"]["total"]["subscriptions"];
    assert_eq!(*subscriptions, json!(specs.iter().map(|spec| spec.subscriptions).sum::<u32>()));
}

/// Who connects: applications, users and addresses by weight, every third client with an older library.
fn plan(server: SocketAddr, connections: usize) -> Vec<ClientSpec> {
    let population = Population::new(ClientSpec::new(server).subscriptions(2), connections)
        .names(APPLICATIONS.map(|(template, _, weight)| (template, weight)))
        .users([("alice", "secret", 5), ("bob", "secret", 3), ("carol", "secret", 2)])
        .sources((2..=21).map(|last| Ipv4Addr::new(127, 0, 0, last)));
    let specs = population.plan().unwrap().into_iter().enumerate();
    specs.map(|(index, spec)| spec.library("go", if index % 3 == 0 { "1.31.0" } else { "1.47.0" })).collect()
}

/// What a client is in a dimension.
type KeyOf = fn(&ClientSpec) -> String;

/// Everything that is stored of a look, and what a client is in it.
const DIMENSIONS: [(&str, KeyOf); 11] = [
    ("application", |spec| application(spec).to_owned()),
    ("application/ip", |spec| format!("{} / {}", application(spec), spec.source.unwrap())),
    ("application/server", |spec| format!("{} / nats-test", application(spec))),
    ("name", |spec| spec.name.clone().unwrap_or("(unnamed)".to_owned())),
    ("ip", |spec| spec.source.unwrap().to_string()),
    ("subnet", |_| "127.0.0.0/24".to_owned()),
    ("account", |spec| if user(spec) == "carol" { "BATCH" } else { "APP" }.to_owned()),
    ("user", |spec| user(spec).to_owned()),
    ("library", |spec| format!("{} {}", spec.lang, spec.version)),
    ("kind", |_| "client/nats".to_owned()),
    ("server", |_| "nats-test".to_owned()),
];

fn application(spec: &ClientSpec) -> &'static str {
    let name = spec.name.as_deref().unwrap_or_default();
    let is_of = |template: &str| name.starts_with(template.split('{').next().unwrap_or_default());
    APPLICATIONS
        .into_iter()
        .find(|(template, ..)| is_of(template))
        .map(|(_, application, _)| application)
        .unwrap()
}

fn user(spec: &ClientSpec) -> &str {
    spec.user.as_ref().map(|(user, _)| user.as_str()).unwrap()
}
