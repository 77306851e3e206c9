//! Incidents: from notification to document.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::json;

use crate::harness::document::{groups, timeline};
use crate::harness::fixture;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer};
use crate::harness::test_app::TestApp;
use crate::swarm::{ClientSpec, Options, Population, Swarm};

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_alert_becomes_an_incident_with_a_breakdown() {
    let nats = NatsServer::start(NEWEST, ACCOUNTS).await;
    let model = ClientSpec::new(nats.clients).user("alice", "secret");
    let population = Population::new(model, 30)
        .names([("orders-api-{pod}", 3), ("billing", 1), ("", 1)])
        .sources([Ipv4Addr::new(127, 0, 0, 5), Ipv4Addr::new(127, 0, 0, 6)]);
    let swarm = Swarm::open(population.plan().unwrap(), Options::default()).await.unwrap();

    let app = TestApp::watching([&nats.monitor]).await;
    let answer = app.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    app.run_jobs().await;

    let id = answer.json()["incidents"][0].as_str().unwrap().to_owned();
    let incident = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    let applications: BTreeMap<&str, u64> = groups(&incident, "application");
    assert_eq!(applications, BTreeMap::from([("orders-api", 18), ("billing", 6), ("(unnamed)", 6)]));
    assert_eq!(incident["alerts"][0]["value"], json!(1024.0));
    app.finish().await;
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_notification_changes_nothing_and_causes_no_look() {
    let nats = NatsServer::start(NEWEST, "").await;
    let app = TestApp::watching([&nats.monitor]).await;
    let mut incidents = Vec::new();
    for _ in 0..3 {
        let answer = app.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await;
        app.run_jobs().await;
        let id = answer.json()["incidents"][0].as_str().unwrap().to_owned();
        incidents.push(app.get(&format!("/api/v1/incidents/{id}")).await.json());
    }
    assert_eq!(timeline(&incidents[0]), ["opened", "alert_joined", "observed"]);
    assert_eq!(incidents[0]["alerts"][0]["generation"], 1);
    assert_eq!(incidents[1], incidents[0]);
    assert_eq!(incidents[2], incidents[0]);
    app.finish().await;
}
