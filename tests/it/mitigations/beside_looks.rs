//! A run beside looks that hang: its batches have workers of their own.

use serde_json::{Value, json};

use super::clients;
use super::whole_way::OnCall;
use crate::harness::daemon::Daemon;
use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer};
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::{eventually, fixture};
use crate::swarm::Options;

/// Clusters that are never seen: as many as there are workers for looks.
const SILENT: [&str; 2] = ["silent-1", "silent-2"];

/// A server that says who it is, and never who is connected.
async fn silent() -> FakeMonitor {
    let answer = |path: &str| match path {
        "/varz" => Answer::json(&fixture("nats/2.15.1/varz.json")),
        _ => Answer::Silence,
    };
    FakeMonitor::start(answer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_comes_to_its_end_while_every_worker_for_looks_waits_for_a_server() {
    let nats = NatsServer::start(NEWEST, ACCOUNTS).await;
    let (leaky, _others) = clients(&nats, 30, 30, Options::default()).await;
    let servers = [silent().await, silent().await];
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("password"), "secret\n").unwrap();
    let mut text = format!(
        "observe: {{timeout: 5m}}\nbaseline: {{enabled: false}}\n\
         mitigations: {{max_share_percent: 60, keep_minimum: 0, batch: 10, batch_pause: 20ms}}\n\
         clusters:\n  - name: prod\n    match: 'cluster=\"prod\"'\n    \
         system_account: {{urls: [\"{}\"], user: sys, password_file: {:?}}}\n",
        nats.url(),
        directory.path().join("password"),
    );
    for (name, server) in SILENT.iter().zip(&servers) {
        text += &format!("  - name: {name}\n    match: 'cluster=\"{name}\"'\n    monitor: {}\n", server.url);
    }
    let config = directory.path().join("connwarden.yml");
    std::fs::write(&config, text).unwrap();
    let flags = ["--config.file", config.to_str().unwrap()].map(str::to_owned);
    let daemon = Daemon::start(directory.path(), &flags).await;

    for (name, server) in SILENT.iter().zip(&servers) {
        let mut alert = firing(ALERT, "nats:7777");
        alert["labels"]["cluster"] = json!(name);
        assert_eq!(daemon.notify(notification(&[alert])).await.0, 202);
        eventually("a look that hangs", async || {
            server.requests().iter().any(|path| path == "/connz").then_some(())
        })
        .await;
    }
    let storage = directory.path().join("data");
    let on_call = OnCall { daemon: &daemon, storage: &storage };
    let planned =
        on_call.says(&["plan", "kick", "--cluster", "prod", "--application", "leaky", "-o", "json"]).await;
    let plan: Value = serde_json::from_str(&planned).unwrap();
    let (id, digest) = (plan["id"].as_str().unwrap(), plan["plan"]["digest"].as_str().unwrap());
    for act in ["propose", "approve", "execute"] {
        on_call.says(&["mitigations", act, id, "--digest", digest]).await;
    }
    let run = eventually("the end of the run", async || {
        let mitigation = daemon.get(&format!("api/v1/mitigations/{id}")).await;
        (mitigation["state"] != "running").then_some(mitigation)
    })
    .await;
    assert_eq!(
        (&run["state"], &run["progress"]),
        (&json!("verifying"), &json!({ "confirmed": 30 })),
        "{run:#}"
    );
    eventually("the planned ones to be cut", async || (leaky.counts().connected == 0).then_some(())).await;
    let metrics = daemon.client.get(daemon.at("metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nconnwarden_queued_jobs{kind=\"enrich\"} 2\n"), "{metrics}");
}
