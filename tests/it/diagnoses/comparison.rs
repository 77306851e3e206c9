//! Two looks of an incident, or of two incidents, side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::daemon::{Daemon, run};
use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::payload::{firing, notification};
use crate::harness::test_app::TestApp;

/// A server that has other clients whenever it is told to: their names, each with how many there are.
async fn monitor(clients: &'static [&'static [(&'static str, usize)]]) -> (FakeMonitor, Arc<AtomicUsize>) {
    let now = Arc::new(AtomicUsize::new(0));
    let when = now.clone();
    let fake = FakeMonitor::start(move |path| {
        let names = clients[when.load(Ordering::SeqCst)].iter();
        let list: Vec<Value> = names
            .flat_map(|(name, count)| std::iter::repeat_n(json!({ "name": name, "ip": "10.0.0.1" }), *count))
            .zip(1..)
            .map(|(mut client, cid)| {
                client["cid"] = json!(cid);
                client
            })
            .collect();
        if path.starts_with("/varz") {
            let varz = json!({ "server_id": "N", "server_name": "nats-1", "connections": list.len() });
            return Answer::json(&varz.to_string());
        }
        let list = if path.contains("state=closed") { Vec::new() } else { list };
        Answer::json(&json!({ "total": list.len(), "connections": list }).to_string())
    })
    .await;
    (fake, now)
}

const BEFORE: &[(&str, usize)] = &[("billing", 3), ("cron", 2), ("orders", 4), ("web", 1)];
const AFTER: &[(&str, usize)] = &[("billing", 1), ("orders", 9), ("web", 1), ("report", 2)];

async fn incident(app: &TestApp, alert_name: &str, instance: &str) -> String {
    let answer = app.notify(notification(&[firing(alert_name, instance)])).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    app.run_jobs().await;
    answer.json()["incidents"][0].as_str().unwrap().to_owned()
}

/// Key, before, after, kind.
fn deltas<'a>(document: &'a Value, dimension: &str) -> Vec<(&'a str, u64, u64, &'a str)> {
    let deltas = document["by"][dimension]["deltas"].as_array().unwrap().iter();
    deltas
        .map(|delta| {
            let number = |name: &str| delta[name].as_u64().unwrap();
            (
                delta["key"].as_str().unwrap(),
                number("before"),
                number("after"),
                delta["kind"].as_str().unwrap(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_looks_of_an_incident_are_compared_in_exact_numbers() {
    let (nats, now) = monitor(&[BEFORE, AFTER]).await;
    let app = TestApp::watching([&nats.url]).await;
    let id = incident(&app, "High", "nats-1:7777").await;
    let path = format!("/api/v1/incidents/{id}/comparison");
    let alone = app.get(&path).await.problem(409);
    assert!(alone.starts_with("the incident has one look only"), "{alone}");

    now.store(1, Ordering::SeqCst);
    app.advance(Duration::from_secs(60));
    incident(&app, "High", "nats-2:7777").await;
    let document = app.get(&path).await.json();
    assert_eq!(document["total"], json!({ "before": 10, "after": 13 }), "{document:#}");
    let expected = [
        ("orders", 4, 9, "grown"),
        ("billing", 3, 1, "shrunk"),
        ("cron", 2, 0, "gone"),
        ("report", 0, 2, "new"),
    ];
    assert_eq!(deltas(&document, "application"), expected);
    assert_eq!(document["by"]["application"]["unchanged"], 1);
    assert_eq!(deltas(&document, "ip"), [("10.0.0.1", 10, 13, "grown")]);

    // the other way round, and less of it
    let (from, to) = (&document["before"]["snapshot"], &document["after"]["snapshot"]);
    let query = format!("?from={}&to={}&top=1", to.as_str().unwrap(), from.as_str().unwrap());
    let back = app.get(&format!("{path}{query}")).await.json();
    assert_eq!(deltas(&back, "application"), [("orders", 9, 4, "shrunk")]);
    assert_eq!(back["by"]["application"]["other"], json!({ "before": 4, "after": 6 }));

    app.get(&format!("{path}?from={id}")).await.problem(404);
    app.get(&format!("{path}?until=now")).await.problem(400);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_incidents_are_compared_where_they_were_fullest() {
    let (nats, now) = monitor(&[BEFORE, AFTER]).await;
    let app = TestApp::watching([&nats.url]).await;
    let past = incident(&app, "Past", "nats-1:7777").await;
    now.store(1, Ordering::SeqCst);
    app.advance(Duration::from_secs(60));
    let id = incident(&app, "High", "nats-1:7777").await;
    // it is nearly over
    now.store(0, Ordering::SeqCst);
    app.advance(Duration::from_secs(60));
    incident(&app, "High", "nats-2:7777").await;

    let document = app.get(&format!("/api/v1/incidents/{id}/comparison?with={past}")).await.json();
    assert_eq!(document["total"], json!({ "before": 10, "after": 13 }), "{document:#}");
    assert_eq!((&document["before"]["incident"], &document["after"]["incident"]), (&json!(past), &json!(id)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_is_shown_on_the_command_line() {
    let (nats, now) = monitor(&[BEFORE, AFTER]).await;
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::watching(directory.path(), [&nats.url]).await;
    let looks = |count: usize| {
        move |incident: &Value| incident["snapshots"].as_array().is_some_and(|looks| looks.len() == count)
    };
    daemon.notify(notification(&[firing("High", "nats-1:7777")])).await;
    daemon.incident("the first look", looks(1)).await;
    now.store(1, Ordering::SeqCst);
    daemon.notify(notification(&[firing("High", "nats-2:7777")])).await;
    let incident = daemon.incident("the second look", looks(2)).await;
    let id = incident["id"].as_str().unwrap();
    let arguments = ["incidents", "--server", daemon.url.as_str(), "compare", id];
    let (code, text, errors) = run(&arguments).await;
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(text.contains("\n10 connections before, 13 after (+3)\n"), "{text}");
    let tables = text.split_once("\nAPPLICATION").unwrap().1;
    insta::assert_snapshot!(tables.split("\n\n").next().unwrap(), @r"
      BEFORE  AFTER  CHANGE
    orders            4      9      +5  grown
    billing           3      1      -2  shrunk
    cron              2      0      -2  gone
    report            0      2      +2  new
    all others: 1 before, 1 after; 1 groups as large as before
    ");
    let (code, text, _) = run(&[&arguments[..], &["-o", "json"]].concat()).await;
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["total"]["after"], 13);
}
