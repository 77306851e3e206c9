//! Changes: told by CI, Argo CD and Grafana, kept once, and shown with the incidents they may have to do with.

use std::time::Duration;

use axum::http::Method;
use connwarden::config::Config;
use connwarden::model::retention::{Keep, Retention};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::harness::daemon::{Daemon, run};
use crate::harness::fake::{Answer as Reply, FakeMonitor};
use crate::harness::nats::{NEWEST, NatsServer, OLDER};
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::test_app::{Answer, TestApp};

const CHANGES: &str = "/api/v1/changes";

async fn tell(app: &TestApp, change: Value) -> Answer {
    app.act(Method::POST, CHANGES, change.to_string()).await
}

async fn titles(app: &TestApp, query: &str) -> Vec<String> {
    let answer = app.get(&format!("{CHANGES}{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let document = answer.json();
    let changes = document["changes"].as_array().unwrap().iter();
    changes.map(|change| change["title"].as_str().unwrap().to_owned()).collect()
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

/// A daemon with one cluster, `nats`, that nobody asks.
async fn app() -> TestApp {
    let nobody: Url = "http://127.0.0.1:1".parse().unwrap();
    TestApp::watching([&nobody]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_kept_as_it_was_told() {
    let app = app().await;
    let answer = tell(
        &app,
        json!({
            "kind": "deploy", "at": "2026-11-24T08:50:00Z", "ended_at": "2026-11-24T08:51:30Z", "cluster": "nats",
            "application": "orders-api", "revision": "1.4.2", "text": "by the nightly pipeline",
            "url": "https://ci.example/runs/7", "tags": ["prod"], "source": "github", "external_id": "run-7",
        }),
    )
    .await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    insta::assert_json_snapshot!(answer.json(), @r#"
    {
      "application": "orders-api",
      "at": "2026-11-24T08:50:00Z",
      "author": "local-operator",
      "cluster": "nats",
      "ended_at": "2026-11-24T08:51:30Z",
      "external_id": "run-7",
      "id": "01a20cc8-8e80-7000-8000-000000000001",
      "kind": "deploy",
      "server": null,
      "source": "github",
      "tags": [
        "prod"
      ],
      "text": "by the nightly pipeline\nrevision 1.4.2",
      "title": "deployment of orders-api at 1.4.2",
      "url": "https://ci.example/runs/7"
    }
    "#);
    assert_eq!(app.get(CHANGES).await.json()["changes"], json!([answer.json()]));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_told_twice_is_one() {
    let app = app().await;
    let timed = json!({ "title": "timed", "at": "2026-11-24T08:00:00.123456789Z" });
    let untimed = json!({ "title": "untimed" });
    let annotation = json!({ "time": 1_795_507_200_000_i64, "text": "annotated", "tags": ["deploy"] });
    for change in [&timed, &untimed, &annotation] {
        let first = tell(&app, change.clone()).await;
        app.advance(Duration::from_secs(9 * 60));
        let again = tell(&app, change.clone()).await;
        assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 200), "{change}: {}", again.text);
        assert_eq!(first.json(), again.json());
    }
    // what has no time of its own may happen again
    app.advance(Duration::from_secs(11 * 60));
    assert_eq!(tell(&app, untimed).await.status, 201);
    assert_eq!(tell(&app, timed.clone()).await.status, 200);
    let elsewhere = json!({ "title": "timed", "at": "2026-11-24T08:00:00.123456789Z", "source": "other" });
    assert_eq!(tell(&app, elsewhere).await.status, 201);
    assert_eq!(titles(&app, "").await, ["untimed", "untimed", "timed", "timed", "annotated"]);

    // also by those who tell at the same time
    let change = json!({ "title": "at once", "source": "ci", "external_id": "1" });
    let at_once = std::iter::repeat_with(|| tell(&app, change.clone())).take(8);
    let answers = futures_join(at_once).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| answer.json()["id"] == answers[0].json()["id"]));
    app.finish().await;
}

/// Awaits all of them at once.
async fn futures_join<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_a_known_id_takes_the_place_of_what_was_told_before() {
    let app = app().await;
    let begun =
        json!({ "title": "rolling out", "source": "ci", "external_id": "7", "application": "orders-api" });
    let begun = tell(&app, begun).await.json();
    app.advance(Duration::from_secs(60));
    let ended = json!({
        "title": "rolled out", "source": "ci", "external_id": "7", "application": "orders-api",
        "ended_at": "2026-11-24T09:01:00Z",
    });
    let answer = tell(&app, ended.clone()).await;
    assert_eq!(answer.status, 200);
    let ended_change = answer.json();
    assert_eq!((&ended_change["id"], &ended_change["at"]), (&begun["id"], &begun["at"]));
    assert_eq!(ended_change["ended_at"], "2026-11-24T09:01:00Z");
    assert_eq!(titles(&app, "").await, ["rolled out"]);
    assert_eq!(tell(&app, ended).await.json(), ended_change);

    let before =
        json!({ "title": "x", "source": "ci", "external_id": "7", "ended_at": "2026-11-24T08:00:00Z" });
    assert_eq!(
        tell(&app, before).await.problem(400),
        "ended_at: is before 2026-11-24T09:00:00Z, when it began"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_with_the_place_and_nothing_is_kept() {
    let app = app().await;
    for (change, expected) in [
        (json!({}), "title: is missing: say in one line what was changed"),
        (
            json!({ "title": "x", "cluster": "prod" }),
            "cluster: no cluster `prod` is configured; leave it out, or give one of `nats`",
        ),
        (json!({ "title": "x", "applicaton": "y" }), "unknown field `applicaton`"),
        (json!({ "title": "x", "at": 1_795_507_200 }), "at: invalid type: integer"),
        (
            json!({ "time": 1_795_507_200, "text": "seconds" }),
            "at: 1970-01-21T18:45:07.2Z is too long ago; were seconds given for milliseconds?",
        ),
        (
            json!({ "title": "x", "source": "connwarden" }),
            "source: `connwarden` is what connwarden has seen itself, say who you are",
        ),
        (json!({ "title": "x", "url": "javascript:alert(1)" }), "url: expected an address that begins with"),
        (json!({ "app": "x", "application": "y" }), "duplicate field `application`"),
        (json!(["x"]), "expected a map"),
    ] {
        let refusal = tell(&app, change.clone()).await.problem(400);
        assert!(refusal.contains(expected), "{change}: {refusal}");
    }
    let broken = app.act(Method::POST, CHANGES, "{\n  \"title\": ").await.problem(400);
    assert!(broken.contains("line 2"), "{broken}");
    for (query, expected) in [
        ("?from=yesterday", "from: "),
        ("?kind=deployment", "kind: `deployment` is not one of deploy, config_reload, server_start"),
        ("?before=7", "`before` is not the `next` of a page"),
        ("?limit=0", "limit: 0 is not between 1 and 500"),
        ("?aplication=x", "unknown field `aplication`"),
    ] {
        let refusal = app.get(&format!("{CHANGES}{query}")).await.problem(400);
        assert!(refusal.contains(expected), "{query}: {refusal}");
    }
    assert_eq!(titles(&app, "").await, Vec::<String>::new());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_listed_by_their_time_page_by_page() {
    let app = app().await;
    // told in another order than they happened, and two at the same moment
    for (title, at, application, kind) in [
        ("c", "2026-11-24T08:30:00Z", "orders-api", "deploy"),
        ("a", "2026-11-24T06:00:00Z", "orders-api", "other"),
        ("d", "2026-11-24T08:30:00Z", "mailer", "deploy"),
        ("b", "2026-11-24T07:00:00Z", "mailer", "deploy"),
    ] {
        let change = json!({ "title": title, "at": at, "application": application, "kind": kind });
        assert_eq!(tell(&app, change).await.status, 201);
    }
    assert_eq!(titles(&app, "").await, ["d", "c", "b", "a"]);
    assert_eq!(titles(&app, "?application=orders-api").await, ["c", "a"]);
    assert_eq!(titles(&app, "?application=orders-api&kind=deploy").await, ["c"]);
    assert_eq!(titles(&app, "?from=2026-11-24T07:00:00Z&to=2026-11-24T08:30:00Z").await, ["b"]);
    assert_eq!(titles(&app, "?cluster=nats").await, Vec::<String>::new(), "none names it");
    for limit in 1..4 {
        let (mut seen, mut query) = (Vec::new(), format!("?limit={limit}"));
        loop {
            let page = app.get(&format!("{CHANGES}{query}")).await.json();
            let changes = page["changes"].as_array().unwrap();
            assert!(!changes.is_empty() && changes.len() <= limit);
            seen.extend(changes.iter().map(|change| change["title"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            query = format!("?limit={limit}&before={next}");
        }
        assert_eq!(seen, ["d", "c", "b", "a"], "{limit}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_shows_what_was_changed_around_it_and_nothing_of_it_is_markup() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    for (title, at, cluster) in [
        ("too early", "2026-11-23T08:59:59Z", Some("nats")),
        ("a day before", "2026-11-23T09:00:00Z", Some("nats")),
        ("<script>alert(1)</script>", "2026-11-24T08:48:00Z", None),
        ("later", "2026-11-24T09:00:30Z", Some("nats")),
    ] {
        let change = json!({
            "title": title, "at": at, "cluster": cluster, "text": "<b>\nby ann", "application": "orders\u{202e}api",
            "url": "https://ci.example/\"><img>", "source": "<i>",
        });
        assert_eq!(tell(&app, change).await.status, 201);
    }
    let receipt = app.notify(notification(&[firing(ALERT, "nats-1:7777")])).await.json();
    let id = receipt["incidents"][0].as_str().unwrap().to_owned();
    let shown = async || {
        let incident = app.get(&format!("/api/v1/incidents/{id}")).await.json();
        let changes = incident["changes"].as_array().unwrap().iter();
        changes.map(|change| change["title"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(shown().await, ["a day before", "<script>alert(1)</script>"], "the last has yet to happen");
    app.advance(Duration::from_secs(60));
    assert_eq!(shown().await, ["a day before", "<script>alert(1)</script>", "later"]);
    let page = app.browse(&format!("/incidents/{id}")).await.text;
    for expected in ["12m before it was opened", "30s after it was opened", "&#60;script&#62;", "deployment"]
    {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    for markup in ["<script>", "<b>", "<i>", "<img>", "\u{202e}"] {
        assert!(!page.contains(markup), "{markup}");
    }

    // what comes after its end has nothing to do with it
    let why = json!({ "reason": "rolled back" }).to_string();
    app.act(Method::POST, &format!("/api/v1/incidents/{id}/resolve"), why).await;
    app.advance(Duration::from_secs(60));
    assert_eq!(tell(&app, json!({ "title": "after the end" })).await.status, 201);
    assert_eq!(shown().await, ["a day before", "<script>alert(1)</script>", "later"]);
    app.run_jobs().await;
    app.advance(Duration::from_secs(3600));
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_very_many_changes_those_nearest_to_the_beginning_of_an_incident_are_shown() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    for minute in 0..60 {
        let at = format!("2026-11-24T08:{minute:02}:00Z");
        assert_eq!(tell(&app, json!({ "title": format!("m{minute}"), "at": at })).await.status, 201);
    }
    let receipt = app.notify(notification(&[firing(ALERT, "nats-1:7777")])).await.json();
    let id = receipt["incidents"][0].as_str().unwrap();
    let incident = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    let changes = incident["changes"].as_array().unwrap();
    assert_eq!(
        (changes.len(), &changes[0]["title"], &changes[49]["title"]),
        (50, &json!("m10"), &json!("m59"))
    );
    app.run_jobs().await;
    let why = json!({ "reason": "seen enough" }).to_string();
    app.act(Method::POST, &format!("/api/v1/incidents/{id}/resolve"), why).await;
    app.advance(Duration::from_secs(3600));
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reporter_tells_under_its_own_name_and_can_do_nothing_else() {
    let config = "
web:
  credentials:
    - {name: pipeline, role: reporter, bearer_token: token-of-the-pipeline}
";
    let config = Config::parse(config, "connwarden.yml", &|_| unreachable!()).unwrap();
    let app = TestApp::with(config).await;
    let shown = [("Authorization", "Bearer token-of-the-pipeline")];
    let send = async |method: Method, path: &str, body: &str| {
        app.request_with(method, path, &shown, body.to_owned().into()).await
    };
    let answer = send(Method::POST, CHANGES, r#"{"title": "orders-api 1.4.2"}"#).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["author"]), (201, &json!("pipeline")));
    for (method, path) in [
        (Method::GET, CHANGES),
        (Method::PUT, CHANGES),
        (Method::GET, "/api/v1/incidents"),
        (Method::POST, "/api/v1/incidents"),
        (Method::POST, "/api/v1/webhook/alertmanager"),
        (Method::GET, "/metrics"),
    ] {
        assert_eq!(send(method.clone(), path, "{}").await.status, 403, "{method} {path}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_go_after_their_time_and_the_oldest_of_too_many() {
    let app = app().await;
    for hour in 0..9 {
        let change = json!({ "title": format!("h{hour}"), "at": format!("2026-11-24T0{hour}:00:00Z") });
        assert_eq!(tell(&app, change).await.status, 201);
    }
    let retain = async |age: u64, count: u64| {
        let retention =
            Retention { changes: Keep { age: Duration::from_secs(age), count }, ..Retention::default() };
        app.state.engine.retain(&retention, &CancellationToken::new()).await.unwrap();
        titles(&app, "").await.len()
    };
    assert_eq!(retain(86_400, 100).await, 9);
    assert_eq!(retain(86_400, 5).await, 5);
    assert_eq!(titles(&app, "").await.last().unwrap(), "h4");
    app.advance(Duration::from_secs(23 * 3600));
    assert_eq!(retain(86_400, 5).await, 1, "h8 is from a day ago exactly");
    assert!(app.get("/metrics").await.text.contains("connwarden_deleted_rows_total{table=\"changes\"} 8"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_a_server_is_seen_once_also_across_a_restart_of_connwarden() {
    let mut nats = NatsServer::start_named("nats-1", NEWEST, "").await;
    let app = TestApp::watching([&nats.monitor]).await;
    let look = async |app: &TestApp| {
        // both ways in which servers are learnt about
        app.state.engine.learn_servers().await;
        assert_eq!(app.get("/api/v1/clusters/nats/breakdown").await.status, 200);
        let changes = app.get(CHANGES).await.json()["changes"].take();
        let changes = changes.as_array().unwrap().iter().map(|change| {
            assert_eq!((&change["cluster"], &change["server"]), (&json!("nats"), &json!("nats-1")));
            assert_eq!((&change["author"], &change["source"]), (&json!("connwarden"), &json!("connwarden")));
            let text = |field: &str| change[field].as_str().unwrap().to_owned();
            (text("kind"), text("title"), text("text"))
        });
        changes.collect::<Vec<_>>()
    };
    assert_eq!(look(&app).await, [], "what is seen for the first time has not changed");
    nats.reload("max_connections: 100").await;
    let title = "nats-1 has loaded its configuration again".to_owned();
    let reloaded = ("config_reload".to_owned(), title.clone(), "its configuration is another one".to_owned());
    for _ in 0..2 {
        assert_eq!(look(&app).await, std::slice::from_ref(&reloaded));
    }
    nats.reload("max_connections: 100").await;
    let again = ("config_reload".to_owned(), title, "its configuration is the same".to_owned());
    assert_eq!(look(&app).await, [again.clone(), reloaded.clone()]);

    let app = app.restart().await;
    assert_eq!(look(&app).await, [again.clone(), reloaded.clone()], "nothing is told again");
    // while nobody looks, another version is started at another address
    nats.kill();
    let nats = NatsServer::start_named("nats-1", OLDER, "").await;
    let app = app.restart_with(Config::from_monitors(vec![nats.monitor.clone()])).await;
    let seen = look(&app).await;
    let [version, start, rest @ ..] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((version.0.as_str(), start.0.as_str()), ("server_version", "server_start"));
    assert!(
        version.1.starts_with("nats-1 runs 2.10.") && version.1.contains("(before: 2.15."),
        "{version:?}"
    );
    assert_eq!(start.1, "nats-1 was started anew");
    assert_eq!(rest, [again, reloaded]);
    assert_eq!(look(&app).await, seen);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_of_changes_and_lists_them() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;
    let storage = directory.path().join("data");
    let storage = if storage.exists() { storage } else { directory.path().to_owned() };
    let call = async |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--server", daemon.url.as_str(), "--storage.path", storage.to_str().unwrap()]);
        let (code, out, err) = run(&all).await;
        format!("{code} {out}{err}")
    };
    let at = ["--at", "2026-11-24T08:00:00Z"];
    let added = call(
        &[
            &[
                "changes",
                "add",
                "--application",
                "orders-api",
                "--revision",
                "1.4.2",
                "--tag",
                "a",
                "--tag",
                "b",
            ],
            &at[..],
        ]
        .concat(),
    )
    .await;
    assert!(
        added.starts_with("0 change ")
            && added.ends_with(" of 2026-11-24T08:00:00Z: deployment of orders-api at 1.4.2\n"),
        "{added}"
    );
    let refused = call(&["changes", "add"]).await;
    assert_eq!(refused, "1 connwarden: title: is missing: say in one line what was changed\n");
    let list = call(&["changes", "list", "--application", "orders-api", "--kind", "deploy"]).await;
    assert!(list.contains("WHAT") && list.contains("deployment of orders-api at 1.4.2"), "{list}");
    assert!(list.contains("local-operator (cli)"), "{list}");
    assert_eq!(call(&["changes", "list", "--application", "mailer"]).await, "0 no changes\n");
    let json = call(&["changes", "list", "-o", "json"]).await;
    let document: Value = serde_json::from_str(json.strip_prefix("0 ").unwrap()).unwrap();
    assert_eq!(document["changes"][0]["tags"], json!(["a", "b"]));
}
