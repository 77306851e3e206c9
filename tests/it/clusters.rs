//! Clusters: what is configured, and who holds the connections right now.

use connwarden::config::Config;
use serde_json::{Value, json};
use url::Url;

use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::fixture;
use crate::harness::test_app::TestApp;

/// A port where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn clusters_are_listed_with_what_their_servers_say_of_themselves() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url, &Url::parse(NOBODY).unwrap()]).await;
    let server = |name: Value, id: Value| json!({ "url": nats.url, "name": name, "server_id": id });
    let nobody = json!({ "url": format!("{NOBODY}/"), "name": null, "server_id": null });

    let before = app.get("/api/v1/clusters").await.json();
    let unheard = server(Value::Null, Value::Null);
    assert_eq!(before, json!({ "clusters": [{ "name": "nats", "servers": [unheard, nobody] }] }));

    app.state.engine.learn_servers().await;
    let after = app.get("/api/v1/clusters").await.json();
    let id = "NBAKGI336IOS37UHRV4ZPH6MCIUOTES4PRV7VD7U3SDJQHRVLPXHOMMC";
    let heard = server(json!("labA"), json!(id));
    assert_eq!(after, json!({ "clusters": [{ "name": "nats", "servers": [heard, nobody] }] }));
    app.finish().await;

    let app = TestApp::with(Config::default()).await;
    assert_eq!(app.get("/api/v1/clusters").await.json(), json!({ "clusters": [] }));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breakdown_counts_what_is_asked_for_now() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;

    let breakdown = app.get("/api/v1/clusters/nats/breakdown").await.json();
    assert_eq!(breakdown["cluster"], "nats");
    assert_eq!(
        (&breakdown["coverage"]["seen"], &breakdown["coverage"]["complete"]),
        (&json!(10), &json!(true))
    );
    assert_eq!(dimensions(&breakdown), ["application", "ip"]);

    let breakdown = app.get("/api/v1/clusters/nats/breakdown?by=user,account,%20user&top=1").await.json();
    assert_eq!(dimensions(&breakdown), ["account", "user"]);
    let accounts = &breakdown["breakdowns"]["account"];
    assert_eq!(
        (&accounts["groups"][0]["key"], &accounts["groups"][0]["connections"]),
        (&json!("APP"), &json!(8))
    );
    assert_eq!((&accounts["other"]["groups"], &accounts["other"]["connections"]), (&json!(2), &json!(2)));
    assert_eq!(accounts["total"]["connections"], 10);

    let breakdown = app.get("/api/v1/clusters/nats/breakdown?by=account/ip").await.json();
    assert_eq!(dimensions(&breakdown), ["account/ip"]);
    let crossed = &breakdown["breakdowns"]["account/ip"]["groups"][0];
    assert_eq!((&crossed["key"], &crossed["connections"]), (&json!("APP / 127.0.0.1"), &json!(5)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breakdown_of_servers_that_do_not_answer_says_so() {
    let nats = monitor().await;
    let app = TestApp::watching([&Url::parse(NOBODY).unwrap(), &nats.url]).await;
    let coverage = &app.get("/api/v1/clusters/nats/breakdown").await.json()["coverage"];
    assert_eq!((&coverage["complete"], &coverage["seen"]), (&json!(false), &json!(10)));
    let error = coverage["servers"][0]["error"].as_str().unwrap();
    assert!(error.contains("127.0.0.1:1") && error.contains("refused"), "{error}");
    assert_eq!(coverage["servers"][1]["error"], Value::Null);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_broken_down_is_refused_with_its_reason() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let before = nats.requests();
    let dimensions = "there are application, name, ip, subnet, account, user, library, kind, server";
    let cases = [
        ("elsewhere/breakdown", 404, "no cluster `elsewhere` is configured".to_owned()),
        ("nats/breakdown?by=port", 400, format!("by: unknown dimension `port`; {dimensions}")),
        ("nats/breakdown?by=", 400, format!("by: unknown dimension ``; {dimensions}")),
        ("nats/breakdown?by=ip,Name", 400, format!("by: unknown dimension `Name`; {dimensions}")),
        ("nats/breakdown?by=ip/ip", 400, "by: `ip/ip` crosses a dimension with itself".to_owned()),
        ("nats/breakdown?by=ip/name/user", 400, "`ip/name/user` crosses more than two dimensions".to_owned()),
        ("nats/breakdown?top=all", 400, "top: invalid digit found in string".to_owned()),
        ("nats/breakdown?limit=3", 400, "unknown field `limit`".to_owned()),
        ("nats", 404, "nothing is at this path".to_owned()),
    ];
    for (path, status, expected) in cases {
        let detail = app.get(&format!("/api/v1/clusters/{path}")).await.problem(status);
        assert!(detail.contains(&expected), "{path}: {detail}");
    }
    assert_eq!(nats.requests(), before, "NATS was asked in vain");
    app.finish().await;
}

/// A monitoring port that shows ten captured connections, always the same.
async fn monitor() -> FakeMonitor {
    let [varz, connz] = ["varz", "connz-open-auth"].map(|name| fixture(&format!("nats/2.15.1/{name}.json")));
    FakeMonitor::start(move |path| Answer::json(if path == "/varz" { &varz } else { &connz })).await
}

fn dimensions(document: &Value) -> Vec<&str> {
    document["breakdowns"].as_object().unwrap().keys().map(String::as_str).collect()
}
