//! Incidents: from notification to document.

mod document;
mod list;
mod looks;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use connwarden::store;
use serde_json::{Value, json};

use crate::harness::document::{groups, timeline};
use crate::harness::fake::{Answer as Reply, FakeMonitor};
use crate::harness::fixture;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer};
use crate::harness::payload::{ALERT, firing, notification, resolved, restarted};
use crate::harness::test_app::{Answer, TestApp};
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
    for (incident, seen) in incidents.iter().zip(1..) {
        assert_eq!(incident["notifications"].as_array().unwrap().len(), 1);
        assert_eq!(incident["notifications"][0]["seen_count"], seen, "it is counted");
        let mut same = incident.clone();
        same["notifications"] = incidents[0]["notifications"].clone();
        assert_eq!(same, incidents[0], "nothing else changes");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_repeated_later_is_seen_again() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let first = post(&app, "single-firing.am-0.33.1").await;
    let looks = nats.requests();

    app.advance(Duration::from_secs(3600));
    let again = post(&app, "single-repeat.am-0.33.1").await;
    assert_eq!(again["id"], first["id"]);
    assert_eq!(timeline(&again), ["opened", "alert_joined", "observed"]);
    assert_eq!(again["alerts"].as_array().unwrap().len(), 1);
    let seen = &again["notifications"][0];
    assert_eq!(
        (&seen["seen_count"], &seen["received_at"], &seen["last_seen_at"]),
        (&json!(2), &json!("2026-11-24T09:00:00Z"), &json!("2026-11-24T10:00:00Z"))
    );
    assert_eq!(again["updated_at"], first["updated_at"]);
    assert_eq!(nats.requests(), looks, "NATS is looked at when something is new, not for a repetition");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_nodes_of_a_pair_report_one_incident() {
    let app = TestApp::start().await;
    let first = post(&app, "ha-duplicate-node0.am-0.33.1").await;
    let second = post(&app, "ha-duplicate-node1.am-0.33.1").await;
    assert_eq!(first["id"], second["id"]);
    assert_eq!(timeline(&second), ["opened", "alert_joined"]);
    assert_eq!(second["notifications"][0]["seen_count"], 2, "the two differ in nothing but who sent them");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_join_and_resolve_until_the_incident_is_over() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let opened = post(&app, "e2e-prom-3.5.3-firing.am-0.33.1").await;
    assert_eq!((&opened["state"], statuses(&opened)), (&json!("triggered"), vec!["firing"]));

    let joined = post(&app, "e2e-prom-3.5.3-new-alert-added.am-0.33.1").await;
    assert_eq!(statuses(&joined), ["firing", "firing"]);
    let mixed = post(&app, "e2e-prom-3.5.3-mixed.am-0.33.1").await;
    assert_eq!((&mixed["state"], statuses(&mixed)), (&json!("triggered"), vec!["firing", "resolved"]));

    app.advance(Duration::from_secs(60));
    let recovering = post(&app, "e2e-prom-3.5.3-resolved-by-stale-series.am-0.33.1").await;
    assert_eq!(
        (&recovering["state"], statuses(&recovering)),
        (&json!("recovering"), vec!["resolved", "resolved"])
    );
    app.advance(Duration::from_secs(15));
    app.run_jobs().await;
    let over = incident(&app, &recovering).await;
    assert_eq!(
        (&over["state"], &over["resolution"], &over["resolved_at"]),
        (&json!("resolved"), &json!("verified"), &json!("2026-11-24T09:01:15Z"))
    );
    let story = [
        "opened",
        "alert_joined",
        "observed",
        "alert_joined",
        "observed",
        "alert_resolved",
        "alert_resolved",
        "recovering",
        "resolved",
    ];
    assert_eq!(timeline(&over), story);
    for incident in [&joined, &mixed, &over] {
        assert_eq!(incident["id"], opened["id"]);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_resolves_without_having_fired_is_kept_and_opens_nothing() {
    let app = TestApp::start().await;
    let answer = app.notify(fixture("alertmanager/single-resolved.am-0.33.1.json")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["incidents"]), (202, &json!([])));
    let id = serde_json::from_value(answer.json()["notification"].clone()).unwrap();
    let body = store::notifications::find_body(&mut app.state.store.read().await.unwrap(), id).await.unwrap();
    assert!(body.is_some());
    assert_eq!(app.get("/api/v1/incidents").await.json(), json!({ "incidents": [], "next": null }));

    let incident = post(&app, "resolved-without-firing.am-0.33.1").await;
    assert_eq!(statuses(&incident), ["firing"], "only what fired is a member");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_mixed_group_each_alert_has_its_own_status() {
    let app = TestApp::start().await;
    // without a cluster, alerts of three servers are three incidents
    let answer = app.notify(fixture("alertmanager/group3-firing.am-0.33.1.json")).await;
    assert_eq!(answer.json()["incidents"].as_array().unwrap().len(), 3);
    app.finish().await;

    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let mixed_at_once = post(&app, "group3-mixed.am-0.33.1").await;
    assert_eq!(statuses(&mixed_at_once), ["firing", "firing"]);
    let all = post(&app, "group3-firing.am-0.33.1").await;
    assert_eq!(statuses(&all), ["firing", "firing", "firing"]);
    let mixed = post(&app, "group3-mixed.am-0.33.1").await;
    assert_eq!(
        (&mixed["state"], statuses(&mixed)),
        (&json!("triggered"), vec!["firing", "firing", "resolved"])
    );
    let over = post(&app, "group3-rest-resolved.am-0.33.1").await;
    assert_eq!((&over["state"], statuses(&over)), (&json!("recovering"), vec!["resolved"; 3]));
    assert_eq!(over["id"], mixed_at_once["id"]);
    app.advance(Duration::from_secs(15));
    app.run_jobs().await;
    assert_eq!(incident(&app, &over).await["resolution"], "verified");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_flaps_fires_again_in_the_same_incident() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let (one, two) = (firing(ALERT, "nats-1:7777"), firing(ALERT, "nats-2:7777"));
    let flapped = restarted(one.clone(), "2026-11-24T08:59:30Z");
    let ended = resolved(flapped.clone(), "2026-11-24T08:59:45Z");
    let back = restarted(one.clone(), "2026-11-24T08:59:55Z");
    let bodies =
        [vec![one, two.clone()], vec![flapped, two.clone()], vec![ended, two.clone()], vec![back, two]];
    let mut incident = Value::Null;
    for alerts in &bodies {
        let answer = app.notify(notification(alerts)).await;
        app.run_jobs().await;
        incident = show(&app, &answer).await;
    }
    let story = [
        "opened",
        "alert_joined",
        "alert_joined",
        "observed",
        "alert_flapped",
        "observed",
        "alert_resolved",
        "alert_refired",
        "observed",
    ];
    assert_eq!(timeline(&incident), story);
    assert_eq!(
        incident["timeline"][4]["text"],
        r#"has been over meanwhile and fires again: instance="nats-1:7777", value 1024"#
    );
    let generations =
        incident["alerts"].as_array().unwrap().iter().map(|alert| {
            (alert["labels"]["instance"].as_str().unwrap(), alert["generation"].as_u64().unwrap())
        });
    let generations: BTreeMap<_, _> = generations.collect();
    assert_eq!(generations, BTreeMap::from([("nats-1:7777", 3), ("nats-2:7777", 1)]));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_no_configured_cluster_is_an_incident_that_says_so() {
    let app = TestApp::start().await;
    let incident = post(&app, "single-firing.am-0.33.1").await;
    assert_eq!((&incident["cluster"], &incident["mapped_by"]), (&Value::Null, &Value::Null));
    assert_eq!((&incident["subject"], &incident["coverage"]), (&json!("nats-1"), &Value::Null));
    assert_eq!(
        incident["timeline"][0]["text"],
        "NatsHighNumberOfConnections of nats-1, on no configured cluster: no matchers hold for the alert and no \
         configured server is named by it, so NATS was not looked at"
    );
    // and no job was queued: `finish` would find it
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_only_assumed_is_marked() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let incident = post(&app, "single-firing.am-0.33.1").await;
    assert_eq!((&incident["cluster"], &incident["mapped_by"]), (&json!("nats"), &json!("assumed")));
    assert_eq!(
        incident["timeline"][0]["text"],
        "NatsHighNumberOfConnections on cluster nats; the cluster is assumed: nothing in the alert names it, but \
         `nats` is the only one without matchers"
    );
    app.finish().await;
}

/// A monitoring port that shows ten captured connections, always the same.
async fn monitor() -> FakeMonitor {
    let [varz, connz] = ["varz", "connz-open-auth"].map(|name| fixture(&format!("nats/2.15.1/{name}.json")));
    FakeMonitor::start(move |path| match path {
        "/varz" => Reply::json(&varz),
        "/connz" => Reply::json(&connz),
        _ => Reply::http("404 Not Found", &[], ""),
    })
    .await
}

/// Posts a captured notification about one incident, does the work that it causes, and shows the incident.
async fn post(app: &TestApp, name: &str) -> Value {
    let answer = app.notify(fixture(&format!("alertmanager/{name}.json"))).await;
    app.run_jobs().await;
    show(app, &answer).await
}

/// The one incident that a notification was about.
async fn show(app: &TestApp, answer: &Answer) -> Value {
    assert_eq!(answer.status, 202, "{}", answer.text);
    let ids = answer.json()["incidents"].as_array().unwrap().clone();
    assert_eq!(ids.len(), 1, "{}", answer.text);
    app.get(&format!("/api/v1/incidents/{}", ids[0].as_str().unwrap())).await.json()
}

/// An incident as it is now.
async fn incident(app: &TestApp, before: &Value) -> Value {
    app.get(&format!("/api/v1/incidents/{}", before["id"].as_str().unwrap())).await.json()
}

/// The statuses of an incident's alerts.
fn statuses(incident: &Value) -> Vec<&str> {
    incident["alerts"].as_array().unwrap().iter().map(|alert| alert["status"].as_str().unwrap()).collect()
}
