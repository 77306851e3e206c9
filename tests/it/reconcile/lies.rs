//! Alertmanagers and Prometheus servers that lie, stammer or say nothing: none of it ends an incident.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use connwarden::clock::Clock;
use connwarden::model::labels::Labels;
use jiff::SignedDuration;
use serde_json::json;

use super::{AHEAD, Scene, alertmanager, labels};
use crate::harness::fake::{Answer, FakeMonitor};

/// Time and size limits that a test can wait for.
const IMPATIENT: &str = "observe: { connect_timeout: 300ms, timeout: 300ms }\n";

fn json_answer(body: &str) -> Answer {
    Answer::json(body)
}

/// The status of an Alertmanager that started so long ago.
fn status(up: SignedDuration, cluster: &str) -> String {
    let started_at = Clock::system().now() + AHEAD - up;
    json!({ "uptime": started_at.to_string(), "versionInfo": { "version": "0.33.1" }, "cluster": { "status": cluster } })
        .to_string()
}

fn old() -> String {
    status(SignedDuration::from_hours(9), "ready")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_that_lies_ends_nothing() {
    let elsewhere = FakeMonitor::start(|_| json_answer("[]")).await;
    let there = elsewhere.url.to_string();
    let html = |_: &str| Answer::http("200 OK", &[("Content-Type", "text/html")], "<html>Login</html>");
    let error = |_: &str| {
        Answer::http("500 Internal Server Error", &[("Content-Type", "text/plain")], "oops\nsecret")
    };
    // what it does, and what is said about it
    let lies: Vec<(&str, Lie)> = vec![
        ("content type `text/html`", Box::new(html)),
        ("status 500: oops", Box::new(error)),
        ("which is not followed", Box::new(move |_| Answer::http("302 Found", &[("Location", &there)], ""))),
        ("no complete answer within 300ms", Box::new(|_| Answer::Silence)),
        ("no complete answer within 300ms", Box::new(|_| Answer::Drip(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()))),
        ("is not a list of alerts", Box::new(|_| json_answer(r#"{"alerts":[]}"#))),
        ("is not a list of alerts", Box::new(|_| json_answer("null"))),
        ("is not a list of alerts", Box::new(|_| json_answer("[{}]"))),
        ("broke off", Box::new(|_| Answer::cut_short("[", 100))),
        ("broke off", Box::new(|_| Answer::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec()))),
        ("is not the status of an Alertmanager", Box::new(|_| json_answer("[]"))),
        ("is up for 4m only", Box::new(|path| lists_nothing(path, SignedDuration::from_secs(299), "ready"))),
        ("is up for 0s only", Box::new(|path| lists_nothing(path, SignedDuration::from_hours(-9), "ready"))),
        (
            "is still finding its peers",
            Box::new(|path| lists_nothing(path, SignedDuration::from_hours(9), "settling")),
        ),
        (
            "is not the status of an Alertmanager",
            Box::new(|path| lists_nothing(path, SignedDuration::from_hours(9), "odd")),
        ),
        (
            "compressed",
            Box::new(|_| {
                Answer::http(
                    "200 OK",
                    &[("Content-Type", "application/json"), ("Content-Encoding", "gzip")],
                    "[]",
                )
            }),
        ),
    ];
    for (said, lie) in lies {
        let (state, doubts) = after_it_turned(lie).await;
        assert_eq!(state, "triggered", "{said}");
        assert!(doubts.contains(said), "{said}: {doubts}");
        assert!(!doubts.contains("secret") && !doubts.contains('\n'), "{doubts}");
    }
    assert_eq!(elsewhere.requests(), [""; 0]);

    // the same, by one that tells the truth
    let truth = Box::new(|path: &str| lists_nothing(path, SignedDuration::from_mins(6), "disabled"));
    assert_eq!(after_it_turned(truth).await, ("resolved".to_owned(), String::new()));
}

type Lie = Box<dyn Fn(&str) -> Answer + Send + Sync>;

/// The state of an incident whose alert an Alertmanager has listed before it came to answer like this, three rounds
/// later, and the doubts of the last round.
async fn after_it_turned(lie: Lie) -> (String, String) {
    let turned = Arc::new(AtomicBool::new(false));
    let switch = turned.clone();
    let alertmanager = FakeMonitor::start(move |path| {
        if switch.load(Ordering::SeqCst) {
            lie(path)
        } else {
            json_answer(&if path.ends_with("/status") { old() } else { list() })
        }
    });
    let alertmanager = alertmanager.await;
    let scene = Scene::asking(&[&alertmanager.url], IMPATIENT).await;
    scene.told_to_fire(scene.started_at).await;
    let mut doubts = Vec::new();
    for round in 0..4 {
        turned.store(round > 0, Ordering::SeqCst);
        // the clock stands: an Alertmanager that is young stays so
        doubts = scene.app.state.engine.reconcile().await.unwrap().doubts;
        assert!(round > 0 || doubts.is_empty(), "{doubts:?}");
    }
    let state = scene.state().await;
    scene.app.finish().await;
    (state, doubts.join("; "))
}

/// A list of the alert.
fn list() -> String {
    let labels: Labels = serde_json::from_value(labels()).unwrap();
    let now = Clock::system().now().to_string();
    let alert = json!({
        "labels": labels, "fingerprint": labels.fingerprint(), "startsAt": now, "updatedAt": now,
        "status": { "state": "active" },
    });
    json!([alert]).to_string()
}

/// An Alertmanager that lists nothing.
fn lists_nothing(path: &str, up: SignedDuration, cluster: &str) -> Answer {
    json_answer(&if path.ends_with("/status") { status(up, cluster) } else { "[]".to_owned() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_end_is_not_read_to_its_end() {
    let piece = format!("{},", json!({ "labels": { "alertname": "x".repeat(1 << 16) } })).into_bytes();
    let liar = FakeMonitor::start(move |path| {
        if path.ends_with("/status") {
            return json_answer(&old());
        }
        let piece = piece.clone();
        Answer::made(move || [b"[".to_vec()].into_iter().chain(std::iter::repeat(piece.clone())))
    });
    let liar = liar.await;
    let scene = Scene::asking(&[&liar.url], "").await;
    scene.told_to_fire(scene.started_at).await;
    let doubts = scene.app.state.engine.reconcile().await.unwrap().doubts.join("; ");
    assert!(doubts.contains("larger than 67108864 bytes"), "{doubts}");
    assert_eq!(scene.state().await, "triggered");
    assert!(liar.sent() < 80 << 20, "{} bytes", liar.sent());
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_listed_is_not_over_because_it_is_not_listed() {
    let am = alertmanager().await;
    let scene = Scene::asking(&[&am.url], "").await;
    // by an Alertmanager that is not configured, or by Grafana
    scene.told_to_fire(scene.started_at).await;
    for _ in 0..4 {
        scene.round().await;
    }
    assert_eq!(scene.state().await, "triggered");
    insta::assert_snapshot!(scene.told(&[(&am.url, "http://am")]).await, @r#"
    opened: NatsHighNumberOfConnections of nats-test, on no configured cluster: no matchers hold for the alert and no configured server is named by it, so NATS was not looked at
    alert_joined: fires: server_id="nats-test" instance="nats-1:7777"
    reconciled: no Alertmanager lists server_id="nats-test" instance="nats-1:7777" any more, but it is taken to fire on: no Alertmanager that is configured has ever listed it; is the one that sent it missing (alertmanagers[].url)?
    "#);
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_that_lies_confirms_no_end() {
    let am = alertmanager().await;
    let empty = r#"{"status":"success","data":{"alerts":[]}}"#;
    let partial = r#"{"status":"success","data":{"alerts":[]},"warnings":["store gateway is down"]}"#;
    let no_samples = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let query = move |path: &str, alerts: &str| {
        json_answer(if path.ends_with("/query") { no_samples } else { alerts })
    };
    let lies: Vec<(&str, Lie)> = vec![
        ("store gateway is down", Box::new(move |path| query(path, partial))),
        ("is not a list of Prometheus' alerts", Box::new(move |path| query(path, "[]"))),
        ("is not an instant vector", Box::new(move |_| json_answer(empty))),
        ("no complete answer", Box::new(|_| Answer::Silence)),
        (
            "timeout: too slow",
            Box::new(|_| {
                let body = r#"{"status":"error","errorType":"timeout","error":"too slow"}"#;
                Answer::http("503 Service Unavailable", &[("Content-Type", "application/json")], body)
            }),
        ),
    ];
    for (said, lie) in lies {
        let liar = FakeMonitor::start(lie).await;
        let more = format!("{IMPATIENT}prometheus: [{{ url: '{}' }}]", liar.url);
        let scene = Scene::asking(&[&am.url], &more).await;
        am.push(&scene.pushed(None)).await;
        scene.told_to_fire(scene.started_at).await;
        scene.round().await;
        am.push(&scene.pushed(Some(Clock::system().now()))).await;
        for _ in 0..3 {
            scene.round().await;
        }
        assert_eq!(scene.state().await, "triggered", "{said}");
        let told = scene.told(&[]).await;
        assert!(told.contains(said), "{said}: {told}");
        assert_eq!(told.matches("no Alertmanager lists").count(), 1, "said once: {told}");
        scene.app.finish().await;
    }
}
