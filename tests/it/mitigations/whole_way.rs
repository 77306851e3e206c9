//! The whole way: Alertmanager fires, the diagnosis names somebody, a person approves what is planned against them, they are
//! drained, the count falls, and the incident is over because NATS agrees.

use std::path::Path;

use connwarden::clock::Clock;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::harness::alertmanager::Alertmanager;
use crate::harness::daemon::{Daemon, run};
use crate::harness::eventually;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer};
use crate::swarm::{ClientSpec, Options, Population, Swarm};

/// A daemon that is told what to do from the command line, by whoever is on call.
pub(super) struct OnCall<'a> {
    pub(super) daemon: &'a Daemon,
    pub(super) storage: &'a Path,
}

impl OnCall<'_> {
    pub(super) async fn says(&self, arguments: &[&str]) -> String {
        let server = self.daemon.at("").to_string();
        let storage = self.storage.to_str().unwrap();
        let place = ["--server", &server, "--storage.path", storage];
        let (code, out, err) = run(&[arguments, &place].concat()).await;
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_alert_to_its_verified_end() {
    let nats = NatsServer::start(NEWEST, ACCOUNTS).await;
    let model = || ClientSpec::new(nats.clients).subscriptions(1);
    let names: Vec<String> = (0..10).map(|serial| format!("service{serial}-{{pod}}")).collect();
    let innocent = Population::new(model(), 200)
        .names(names.iter().map(|name| (name.as_str(), 1)))
        .users([("bob", "secret", 1)])
        .sources((2..12).map(|last| std::net::Ipv4Addr::new(127, 0, 0, last)));
    let innocent = Swarm::open(innocent.plan().unwrap(), Options::default()).await.unwrap();
    let leaky = Population::new(model(), 300)
        .names([("image-resizer-{pid}", 1)])
        .users([("alice", "secret", 1)])
        .sources([std::net::Ipv4Addr::new(127, 0, 0, 77)]);
    let leaky = Swarm::open(leaky.plan().unwrap(), Options::default()).await.unwrap();

    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("password"), "secret\n").unwrap();
    let config = directory.path().join("connwarden.yml");
    let text = format!(
        "incidents: {{verify_interval: 1s}}\nclusters:\n  - name: prod\n    monitor: {}\n    match: 'cluster=\"prod\"'\n    \
         system_account: {{urls: [\"{}\"], user: sys, password_file: {:?}}}\n\
         mitigations: {{max_victims: 400, max_share_percent: 80, batch: 50, batch_pause: 100ms, drain_wait: 1s, \
         verify_after: [1s, 2s]}}\n",
        nats.monitor,
        nats.url(),
        directory.path().join("password"),
    );
    std::fs::write(&config, text).unwrap();
    let flags = ["--config.file", config.to_str().unwrap()].map(str::to_owned);
    let daemon = Daemon::start(directory.path(), &flags).await;
    let storage = directory.path().join("data");
    let on_call = OnCall { daemon: &daemon, storage: &storage };
    let alertmanager = Alertmanager::start(&daemon.webhook()).await;
    let starts_at = Clock::system().now() - SignedDuration::from_mins(10);
    let alert = |ended: Option<jiff::Timestamp>| {
        let mut alert = json!({
            "labels": {"alertname": "NatsHighNumberOfConnections", "cluster": "prod", "server_id": "nats-test"},
            "startsAt": starts_at.to_string(),
            "generatorURL": "http://prometheus:9090/graph?g0.expr=gnatsd_connz_num_connections+%3E+400",
        });
        if let Some(ended) = ended {
            alert["endsAt"] = json!(ended.to_string());
        }
        json!([alert])
    };
    alertmanager.push(&alert(None)).await;
    let incident = daemon.incident("a culprit", |incident| incident["culprit"] != Value::Null).await;
    let culprit = &incident["culprit"];
    assert_eq!(
        (&culprit["dimension"], &culprit["key"]),
        (&json!("application"), &json!("image-resizer")),
        "{culprit}"
    );
    let id = incident["id"].as_str().unwrap();

    let planned = on_call
        .says(&[
            "plan",
            "drain",
            "--incident",
            id,
            "--application",
            culprit["key"].as_str().unwrap(),
            "--at-most",
            "150",
            "--output",
            "json",
        ])
        .await;
    let plan: Value = serde_json::from_str(&planned).unwrap();
    let (mitigation, digest) = (plan["id"].as_str().unwrap(), plan["plan"]["digest"].as_str().unwrap());
    assert_eq!(plan["victim_count"], 150, "{planned}");
    for act in ["propose", "approve", "execute"] {
        on_call.says(&["mitigations", act, mitigation, "--digest", digest]).await;
    }
    eventually("the culprit's connections to be gone", async || {
        (leaky.counts().connected == 150).then_some(())
    })
    .await;
    alertmanager.push(&alert(Some(Clock::system().now()))).await;
    let path = format!("api/v1/mitigations/{mitigation}");
    let finished = eventually("the outcome", async || {
        let document = daemon.get(&path).await;
        (document["state"] == "finished").then_some(document)
    })
    .await;
    assert_eq!(finished["outcome"], "effective", "{finished:#}");
    assert_eq!(innocent.counts().connected, 200);
    let over = daemon.incident("the end", |incident| incident["state"] == "resolved").await;
    assert_eq!(over["resolution"], "verified");

    // in the order of what happens to the incident, and of what is done about it
    let entries = over["timeline"].as_array().unwrap().iter();
    let kinds: Vec<&str> = entries.map(|entry| entry["kind"].as_str().unwrap()).collect();
    let (done, told): (Vec<&str>, Vec<&str>) =
        kinds.into_iter().partition(|kind| kind.starts_with("mitigation"));
    insta::assert_snapshot!(told.join(" "), @"opened alert_joined observed diagnosed alert_resolved recovering resolved");
    insta::assert_snapshot!(done.join(" "), @"mitigation_planned mitigation_proposed mitigation_approved mitigation_started mitigation_batch mitigation_batch mitigation_batch mitigation_batch mitigation_batch mitigation_batch mitigation_executed mitigation_looked mitigation_looked mitigation_finished");
    let shown = on_call.says(&["mitigations", "show", mitigation]).await;
    for told in [
        " is finished (effective)\n  most stayed away: of 150 that were cut ",
        "\nguards: all 18 pass\n  ok      protected           no victim is protected\n",
        "  ok      not_silenced        no Alertmanager is configured that could be asked for silences\n",
    ] {
        assert!(shown.contains(told), "{told:?} is not in\n{shown}");
    }
    assert!(
        shown.contains(&format!("and 130 more: connwarden mitigations victims {mitigation}\n")),
        "{shown}"
    );
    assert!(shown.contains("  approved by  local-operator\n  started by   local-operator at "), "{shown}");
    let all = on_call.says(&["mitigations", "victims", mitigation]).await;
    assert_eq!(all.lines().count(), 151, "{all}");
    let none = on_call.says(&["mitigations", "victims", mitigation, "--state", "error"]).await;
    assert_eq!(none, "no victims\n");
    let listed = on_call.says(&["incidents", "show", id]).await;
    let listed = listed.split_once("\nMITIGATIONS\n").expect("a list of mitigations").1;
    assert!(
        listed.lines().nth(1).unwrap().starts_with(&format!("prod     {mitigation}  finished (effective)")),
        "{listed}"
    );
    let report = on_call.says(&["incidents", "report", id]).await;
    let done = report.split_once("\n## What was done\n").unwrap().1.split_once("\n## ").unwrap().0;
    assert!(done.contains(": executed: "), "{done}");
    let statistics = on_call.says(&["mitigations", "statistics", "--cluster", "prod", "--since", "1h"]).await;
    let told: Vec<&str> = statistics.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(told[..4], ["prod", "drain", "1", "1"], "{statistics}");
    assert!(statistics.contains("0 of 150 (0 %)"), "{statistics}");
}
