//! What operators do: acknowledge, note, resolve, reopen, open and replay, by API and command line.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::harness::daemon::{Daemon, run};
use crate::harness::document::{entries, timeline};
use crate::harness::fake::{Answer as Reply, FakeMonitor};
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::test_app::{Answer, TestApp};

/// An incident of one alert.
async fn incident(app: &TestApp) -> String {
    let answer = app.notify(notification(&[firing(ALERT, "nats-1:7777")])).await;
    answer.json()["incidents"][0].as_str().unwrap().to_owned()
}

async fn act(app: &TestApp, id: &str, act: &str, body: Value) -> Answer {
    app.act(Method::POST, &format!("/api/v1/incidents/{id}/{act}"), body.to_string()).await
}

async fn show(app: &TestApp, id: &str) -> Value {
    app.get(&format!("/api/v1/incidents/{id}")).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_is_in_the_timeline_with_its_actor_and_reason() {
    let app = TestApp::start().await;
    let id = incident(&app).await;
    for (path, body, state) in [
        ("acknowledge", json!({ "reason": "looking" }), "acknowledged"),
        ("notes", json!({ "text": "  it is the new release of orders-api\n" }), "acknowledged"),
        ("resolve", json!({ "reason": "rolled back" }), "resolved"),
        ("reopen", json!({ "reason": "was another one" }), "triggered"),
        ("acknowledge", json!({}), "acknowledged"),
    ] {
        let answer = act(&app, &id, path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!((&answer.json()["state"], &answer.json()["id"]), (&json!(state), &json!(id)), "{path}");
    }
    let incident = show(&app, &id).await;
    let told: Vec<(&str, &str, &str)> = incident["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .skip(2)
        .map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap();
            (text("actor"), text("kind"), text("text"))
        })
        .collect();
    let actor = told[0].0;
    assert_eq!(
        told,
        [
            (actor, "acknowledged", "acknowledged: looking"),
            (actor, "note", "it is the new release of orders-api"),
            (actor, "resolved", "resolved by hand: rolled back"),
            (actor, "reopened", "opened again by hand: was another one"),
            (actor, "acknowledged", "acknowledged"),
        ]
    );
    assert_eq!((&incident["acknowledged_by"], &incident["reopened"]), (&json!(actor), &json!(1)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_that_cannot_be_is_refused_with_its_reason() {
    let app = TestApp::start().await;
    let id = incident(&app).await;
    let nobody = "019b8d7a-0000-7000-8000-00000000000a";
    act(&app, &id, "acknowledge", json!({})).await;
    let cases = [
        (id.as_str(), "acknowledge", json!({}), 409, "cannot acknowledge an incident that is acknowledged"),
        (&id, "reopen", json!({ "reason": "x" }), 409, "cannot reopen an incident that is acknowledged"),
        (
            &id,
            "resolve",
            json!({ "reason": " \n" }),
            400,
            "a text is missing: say why, for whoever reads this later",
        ),
        (
            &id,
            "resolve",
            json!({ "reason": "x".repeat(4001) }),
            400,
            "the text has 4001 characters, at most 4000 are kept",
        ),
        (nobody, "notes", json!({ "text": "x" }), 404, "no incident 019b8d7a-0000-7000-8000-00000000000a"),
    ];
    for (id, path, body, status, detail) in cases {
        assert_eq!(act(&app, id, path, body).await.problem(status), detail);
    }
    for (path, body) in [
        ("resolve", json!({})),
        ("resolve", json!({ "reason": 7 })),
        ("resolve", json!({ "reason": "x", "actor": "somebody else" })),
        ("notes", json!([])),
    ] {
        let answer = act(&app, &id, path, body.clone()).await;
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text);
    }
    assert_eq!(timeline(&show(&app, &id).await), ["opened", "alert_joined", "acknowledged"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_an_operator_acts() {
    let app = TestApp::start().await;
    let id = incident(&app).await;
    for path in [
        format!("/api/v1/incidents/{id}/acknowledge"),
        format!("/api/v1/incidents/{id}/notes"),
        format!("/api/v1/incidents/{id}/resolve"),
        format!("/api/v1/incidents/{id}/reopen"),
        "/api/v1/incidents".to_owned(),
        format!("/api/v1/notifications/{id}/replay"),
    ] {
        let answer = app.request(Method::POST, &path, Body::from("{}")).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text);
    }
    assert_eq!(timeline(&show(&app, &id).await), ["opened", "alert_joined"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_can_be_opened_by_hand_and_alerts_join_it() {
    let monitor = monitor().await;
    let app = TestApp::watching([&monitor.url]).await;
    let open = async |body: Value| app.act(Method::POST, "/api/v1/incidents", body.to_string()).await;
    let body = json!({ "cluster": "nats", "alert_name": ALERT, "reason": "slow for an hour" });
    let answer = open(body.clone()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.headers["location"], format!("/api/v1/incidents/{id}").as_str());
    assert_eq!(answer.json()["mapped_by"], "operator");
    app.run_jobs().await;
    assert_eq!(timeline(&show(&app, &id).await), ["opened", "observed"]);

    let refused = open(body).await.problem(409);
    assert_eq!(refused, format!("cannot open another: incident {id} is triggered and about the same"));
    let refused = open(json!({ "cluster": "none", "reason": "x" })).await.problem(404);
    assert_eq!(refused, "no cluster `none` is configured");

    let answer = app.notify(notification(&[firing(ALERT, "nats-1:7777")])).await;
    assert_eq!(answer.json()["incidents"], json!([id]));
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_of_its_kind_is_opened_again() {
    let monitor = monitor().await;
    let app = TestApp::watching([&monitor.url]).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let body = json!({ "cluster": "nats", "reason": "x" }).to_string();
        let answer = app.act(Method::POST, "/api/v1/incidents", body).await;
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        act(&app, &id, "resolve", json!({ "reason": "x" })).await;
        ids.push(id);
    }
    let refused = act(&app, &ids[0], "reopen", json!({ "reason": "x" })).await.problem(409);
    assert_eq!(refused, format!("cannot reopen: incident {} is resolved and about the same", ids[1]));
    assert_eq!(act(&app, &ids[1], "reopen", json!({ "reason": "x" })).await.status, 200);
    assert_eq!(show(&app, &ids[1]).await["previous"], json!(ids[0]));
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_notification_is_taken_in_once_more() {
    let monitor = monitor().await;
    let app = TestApp::watching([&monitor.url]).await;
    let body = notification(&[firing(ALERT, "nats-1:7777")]);
    let receipt = app.notify(body.clone()).await.json();
    app.run_jobs().await;
    let notification = receipt["notification"].as_str().unwrap();

    let path = format!("/api/v1/notifications/{notification}");
    assert_eq!(app.get(&path).await.json()["seen_count"], 1);
    assert_eq!(app.get(&format!("{path}/body")).await.text, body);
    let list = app.get("/api/v1/notifications").await.json();
    assert_eq!(list["notifications"][0]["id"], json!(notification));

    app.advance(Duration::from_secs(1));
    let looks = monitor.requests().len();
    let why = json!({ "reason": "the mapping was wrong" }).to_string();
    let answer = app.act(Method::POST, &format!("{path}/replay"), why).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["incidents"], receipt["incidents"]);
    app.run_jobs().await;
    assert!(monitor.requests().len() > looks, "NATS is looked at again");
    let incident = show(&app, receipt["incidents"][0].as_str().unwrap()).await;
    assert_eq!(timeline(&incident), ["opened", "alert_joined", "observed", "replayed", "observed"]);
    let told: Vec<&str> = entries(&incident).map(|(_, text)| text).collect();
    assert_eq!(told[3], "a stored notification was taken in once more: the mapping was wrong");
    assert_eq!(app.get(&path).await.json()["seen_count"], 1, "nobody has sent it again");

    let unknown = "/api/v1/notifications/019b8d7a-0000-7000-8000-00000000000a";
    let why = json!({ "reason": "x" }).to_string();
    let refused = app.act(Method::POST, &format!("{unknown}/replay"), why).await.problem(404);
    assert_eq!(refused, "no notification 019b8d7a-0000-7000-8000-00000000000a");
    assert_eq!(app.get(unknown).await.status, 404);
    assert_eq!(app.get(&format!("{unknown}/body")).await.status, 404);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_acts_as_the_operator_of_its_host() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;
    let (status, receipt) = daemon.notify(notification(&[firing(ALERT, "nats-1:7777")])).await;
    assert_eq!(status, 202, "{receipt}");
    let receipt: Value = serde_json::from_str(&receipt).unwrap();
    let (id, notification) =
        (receipt["incidents"][0].as_str().unwrap(), receipt["notification"].as_str().unwrap());
    let storage = directory.path().join("data");
    let storage = if storage.exists() { storage } else { directory.path().to_owned() };
    let call = async |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--server", daemon.url.as_str(), "--storage.path", storage.to_str().unwrap()]);
        let (code, out, err) = run(&all).await;
        let text = format!("{out}{err}").replace(id, "ID").replace(notification, "NOTIFICATION");
        format!("{code} {}", text.trim_end())
    };
    let told = [
        call(&["incidents", "acknowledge", id, "--reason", "looking"]).await,
        call(&["incidents", "acknowledge", id]).await,
        call(&["incidents", "note", id, "it is orders-api"]).await,
        call(&["incidents", "resolve", id, "--reason", "rolled back"]).await,
        call(&["incidents", "reopen", id, "--reason", "not yet"]).await,
        call(&["incidents", "open", "nowhere", "--reason", "x"]).await,
        call(&["notifications", "replay", notification, "--reason", "mapping"]).await,
        call(&["incidents", "show", "nonsense"]).await.lines().next().unwrap().to_owned(),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
    0 incident ID is acknowledged (by local-operator)
    1 connwarden: cannot acknowledge an incident that is acknowledged
    0 note added to incident ID
    0 incident ID is resolved (manual by local-operator)
    0 incident ID is triggered
    1 connwarden: no cluster `nowhere` is configured
    0 notification NOTIFICATION was taken in once more
      incident ID
    2 error: invalid value 'nonsense' for '<ID>': `nonsense` is not an incident id, `connwarden incidents list` shows them
    ");
    let list = call(&["notifications", "list"]).await;
    assert!(list.contains("NOTIFICATION") && list.contains("SEEN"), "{list}");
    let body = call(&["notifications", "body", notification]).await;
    assert!(body.contains(ALERT), "{body}");
}

/// A server without connections.
async fn monitor() -> FakeMonitor {
    FakeMonitor::start(|path| match path {
        "/varz" => {
            Reply::json(r#"{"server_id":"N1","server_name":"nats-1","version":"2.15.1","connections":0}"#)
        }
        _ => Reply::json(r#"{"num_connections":0,"total":0,"offset":0,"limit":1000000,"connections":[]}"#),
    })
    .await
}
