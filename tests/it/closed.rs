//! Closed connections: what servers remember of those that ended or were refused is kept with the look.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use connwarden::config::Config;
use serde_json::{Value, json};

use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::fixture;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer, OLDER};
use crate::harness::test_app::TestApp;
use crate::harness::{eventually, http};
use crate::swarm::{ClientSpec, Options, Swarm};

#[tokio::test(flavor = "multi_thread")]
async fn those_that_ended_and_those_that_were_refused_are_told_apart() {
    for line in [OLDER, NEWEST] {
        let nats = NatsServer::start(line, ACCOUNTS).await;
        let client = |name: &str, password| ClientSpec::new(nats.clients).name(name).user("alice", password);
        let churning = vec![client("report-worker-7d9f8b6c5-x2x4z", "secret"); 4];
        let swarm = Swarm::open(churning, Options::default()).await.unwrap();
        swarm.close_some(0..3).await;
        let refused = Swarm::new(Options::default());
        refused.launch([client("impostor", "wrong")]).unwrap();
        ended(&nats, "Authentication Failure").await;

        let app = TestApp::watching([&nats.monitor]).await;
        let incident = look(&app).await;
        refused.close().await;
        swarm.close().await;

        let closed = &incident["closed"];
        let ring = &closed["servers"][0];
        assert_eq!(
            (ring["server"].as_str(), &ring["full"]),
            (Some("nats-test"), &json!(false)),
            "{closed:#}"
        );
        assert_eq!(closed["errors"], Value::Null);
        let worker = group(closed, "applications", "report-worker");
        assert_eq!(
            (&worker["closed"], &worker["refused"], &worker["short_lived"]),
            (&json!(3), &json!(0), &json!(3))
        );
        assert!(worker["median_lifetime_s"].as_f64().is_some_and(|seconds| seconds < 10.0), "{worker}");
        let impostor = group(closed, "applications", "impostor");
        assert_eq!(impostor["closed"], impostor["refused"]);
        assert_eq!(impostor["top_reason"], "Authentication Failure");
        assert_eq!(closed["refused"], impostor["refused"]);
        assert_eq!(group(closed, "accounts", "APP")["closed"], 3);
        assert_eq!(group(closed, "accounts", "(no account)")["absent"], true);
        let minutes = closed["per_minute"].as_array().unwrap();
        let in_minutes: u64 = minutes.iter().map(|minute| minute["closed"].as_u64().unwrap()).sum();
        assert_eq!(closed["closed"].as_u64(), Some(in_minutes));
        assert_eq!(incident["coverage"]["seen"], 1, "those that ended are not open");
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_that_has_forgotten_some_says_so() {
    for line in [OLDER, NEWEST] {
        let nats = NatsServer::start(line, "max_closed_clients: 20").await;
        let clients = vec![ClientSpec::new(nats.clients).name("churner"); 200];
        let swarm = Swarm::open(clients, Options::default()).await.unwrap();
        swarm.close().await;
        eventually("the end of all connections", async || (nats.connections().await == 0).then_some(()))
            .await;

        let app = TestApp::watching([&nats.monitor]).await;
        let incident = look(&app).await;
        let ring = &incident["closed"]["servers"][0];
        assert_eq!((&ring["listed"], &ring["full"]), (&json!(20), &json!(true)), "{line}: {ring}");
        assert!(ring["reaches_back_to"].is_string());
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_are_asked_for_first_and_only_for_incidents() {
    let fake = fake(Answer::json(&fixture("nats/2.15.1/connz-closed-reasons.json"))).await;
    let app = TestApp::with(Config::from_monitors(vec![fake.url.clone()])).await;
    let before = fake.requests().len();
    let incident = look(&app).await;
    assert_eq!(fake.requests()[before..], ["/connz", "/varz", "/connz"]);
    assert_eq!((&incident["closed"]["closed"], &incident["coverage"]["seen"]), (&json!(10), &json!(10)));

    let before = fake.requests().len();
    app.get("/api/v1/clusters/default/breakdown").await;
    let asked = &fake.requests()[before..];
    assert!(asked.len() <= 2, "{asked:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_closed_connections_are_cut_like_all_groups() {
    let fake = fake(Answer::json(&fixture("nats/2.15.1/connz-closed-reasons.json"))).await;
    let app = TestApp::with(Config::from_monitors(vec![fake.url.clone()])).await;
    let incident = look(&app).await;
    assert_eq!(incident["closed"]["applications"].as_array().unwrap().len(), 9);
    let path = format!("/api/v1/incidents/{}?top=2", incident["id"].as_str().unwrap());
    let cut = app.get(&path).await.json();
    assert_eq!(cut["closed"]["applications"].as_array().unwrap().len(), 2);
    assert_eq!(cut["closed"]["closed"], 10);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_list_its_closed_connections_is_seen_in_full() {
    let fake = fake(Answer::http("500 Internal Server Error", &[], "not today")).await;
    let app = TestApp::with(Config::from_monitors(vec![fake.url.clone()])).await;
    let incident = look(&app).await;
    assert_eq!(
        (&incident["coverage"]["complete"], &incident["coverage"]["seen"]),
        (&json!(true), &json!(10))
    );
    let closed = &incident["closed"];
    assert_eq!((&closed["servers"], &closed["closed"]), (&json!([]), &json!(0)));
    let error = closed["errors"][0].as_str().unwrap();
    assert!(error.contains("/connz?state=closed&auth=1&limit=1000000: status 500: not today"), "{error}");
    app.finish().await;
}

/// A server whose first list, that of closed connections, is `closed`.
async fn fake(closed: Answer) -> FakeMonitor {
    let lists = Arc::new(AtomicUsize::new(0));
    FakeMonitor::start(move |path| match path {
        "/varz" => Answer::json(&fixture("nats/2.15.1/varz.json")),
        _ if lists.fetch_add(1, Ordering::SeqCst) == 0 => closed.clone(),
        _ => Answer::json(&fixture("nats/2.15.1/connz-open-auth.json")),
    })
    .await
}

/// Lets an alert fire and looks at the cluster; the incident.
async fn look(app: &TestApp) -> Value {
    let answer = app.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    app.run_jobs().await;
    let id = answer.json()["incidents"][0].as_str().unwrap().to_owned();
    app.get(&format!("/api/v1/incidents/{id}")).await.json()
}

/// Waits until a connection has ended for this reason.
async fn ended(nats: &NatsServer, reason: &str) {
    let page = nats.monitor.join("connz?state=closed").unwrap();
    eventually("a connection that has ended", async || {
        let text = http().get(page.clone()).send().await.ok()?.text().await.ok()?;
        text.contains(reason).then_some(())
    })
    .await;
}

fn group<'a>(closed: &'a Value, kind: &str, key: &str) -> &'a Value {
    let groups = closed[kind].as_array().unwrap();
    groups.iter().find(|group| group["key"] == key).unwrap_or_else(|| panic!("no {key} in {closed:#}"))
}
