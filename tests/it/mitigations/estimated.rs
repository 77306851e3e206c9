//! Plans on stored looks: what they say is what a plan of the same moment says, or a range that it lies in.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use super::{ACCOUNTS, NEWEST, NatsServer, OLDER, OPEN, Stage, clients};
use crate::harness::fixture;
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::test_app::TestApp;
use crate::swarm::Options;

/// The last stored look of an incident that an alert has just opened.
async fn stored_look(app: &TestApp, alert: &str) -> String {
    let receipt = app.notify(alert.to_owned()).await.json();
    app.run_jobs().await;
    let incident = format!("/api/v1/incidents/{}", receipt["incidents"][0].as_str().unwrap());
    app.get(&incident).await.json()["snapshot"].as_str().unwrap().to_owned()
}

async fn estimate(app: &TestApp, snapshot: &str, body: &Value) -> Value {
    let path = format!("/api/v1/snapshots/{snapshot}/estimates");
    // nothing is changed: nobody has to prove to be an operator
    let answer = app.request(Method::POST, &path, Body::from(body.to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn plan(app: &TestApp, body: &Value) -> Value {
    let answer = app.act(Method::POST, "/api/v1/plans", body.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["plan"].clone()
}

fn exactly(count: &Value) -> Value {
    json!({ "at_least": count, "at_most": count })
}

fn holds(range: &Value, count: u64) -> bool {
    (range["at_least"].as_u64().unwrap()..=range["at_most"].as_u64().unwrap()).contains(&count)
}

/// Checks that each number of the plan lies in that of the estimate.
fn check_held(estimate: &Value, plan: &Value) {
    let victims = plan["victims"].as_array().unwrap().len() as u64;
    assert!(holds(&estimate["victims"], victims), "{victims} victims: {estimate:#}");
    for count in ["matched", "kept"] {
        assert!(holds(&estimate[count], plan[count].as_u64().unwrap()), "{count}: {estimate:#} {plan:#}");
    }
    for dimension in ["applications", "accounts", "ips", "servers"] {
        let ranges = estimate["blast_radius"][dimension].as_array().unwrap();
        for hit in plan["blast_radius"][dimension].as_array().unwrap() {
            let range = ranges.iter().find(|range| range["key"] == hit["key"]);
            let range = range.unwrap_or_else(|| panic!("{hit} is not foreseen: {estimate:#}"));
            assert!(holds(&range["victims"], hit["victims"].as_u64().unwrap()), "{hit} is not in {range}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_of_a_quiet_server_is_the_plan_of_the_same_moment() {
    for line in [NEWEST, OLDER] {
        let nats = NatsServer::start(line, ACCOUNTS).await;
        let (_leaky, _others) = clients(&nats, 30, 40, Options::default()).await;
        let app = TestApp::watching([&nats.monitor]).await;
        let snapshot = stored_look(&app, &fixture("alertmanager/single-firing.am-0.33.1.json")).await;
        for selector in [
            json!({ "application": "leaky" }),
            json!({ "application_glob": "*", "ip": "127.0.0.0/8" }),
            json!({ "application": "orders", "server": "nats-test", "no_traffic": true }),
            json!({ "unnamed": true }),
        ] {
            let body = json!({
                "cluster": "nats", "action": "kick", "selector": selector, "at_most": 60, "at_most_percent": 80, "keep": 1,
            });
            let (estimate, plan) = (estimate(&app, &snapshot, &body).await, plan(&app, &body).await);
            check_held(&estimate, &plan);
            assert!(plan["matched"].as_u64().unwrap() > 0, "{selector}");
            let victims = json!(plan["victims"].as_array().unwrap().len());
            assert_eq!(estimate["total"], plan["total"]);
            for (count, live) in
                [("matched", &plan["matched"]), ("kept", &plan["kept"]), ("victims", &victims)]
            {
                assert_eq!(estimate[count], exactly(live), "{count} of {selector}: {estimate:#}");
            }
            for dimension in ["ips", "servers"] {
                assert_eq!(
                    estimate["blast_radius"][dimension][0]["victims"],
                    exactly(&victims),
                    "{selector}"
                );
            }
        }
        let body = json!({ "action": "kick", "selector": { "application": "leaky" } });
        let estimate = estimate(&app, &snapshot, &body).await;
        assert_eq!(estimate["snapshot"], snapshot.as_str());
        insta::allow_duplicates! {
            insta::assert_snapshot!(estimate["expected_effect"].as_str().unwrap(), @"7 of 70 connections of cluster `nats` would have been cut: 7 of `leaky`; 30 were meant, 1 kept as a minimum");
        }
        assert_eq!(app.get("/api/v1/mitigations").await.json()["mitigations"].as_array().unwrap().len(), 4);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breakdowns_do_not_tell_together_is_a_range_that_holds_the_plan() {
    let stage =
        Stage::one(NEWEST, &format!("{OPEN}, protected: {{applications: [billing], users: [carol]}}")).await;
    let (_leaky, _others) = clients(&stage.servers[0], 30, 40, Options::default()).await;
    let mut alert = firing(ALERT, "nats-1:7777");
    alert["labels"]["cluster"] = json!("prod");
    let snapshot = stored_look(&stage.app, &notification(&[alert])).await;
    let mut ranges = 0;
    for selector in [
        json!({ "kind": "client" }),
        json!({ "account": "APP", "application": "leaky" }),
        json!({ "user": "alice", "name_glob": "*" }),
        json!({ "account": "BATCH" }),
        json!({ "older_than": "1h" }),
        json!({ "younger_than": "1h", "subscriptions_at_least": 1 }),
    ] {
        let body = json!({
            "cluster": "prod", "action": "drain", "selector": selector, "at_most": 60, "at_most_percent": 60, "keep": 1,
        });
        let estimate = estimate(&stage.app, &snapshot, &body).await;
        check_held(&estimate, &plan(&stage.app, &body).await);
        if estimate["victims"]["at_least"] != estimate["victims"]["at_most"] {
            ranges += 1;
            assert!(estimate["notes"].as_array().unwrap().len() > 1, "it is said why: {estimate:#}");
        }
    }
    assert!(ranges > 0);
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_plan_makes_no_estimate() {
    let nats = NatsServer::start(NEWEST, "").await;
    let app = TestApp::watching([&nats.monitor]).await;
    let snapshot = stored_look(&app, &fixture("alertmanager/single-firing.am-0.33.1.json")).await;
    let ask = async |snapshot: &str, body: Value| {
        let path = format!("/api/v1/snapshots/{snapshot}/estimates");
        app.request(Method::POST, &path, Body::from(body.to_string())).await
    };
    let body = json!({ "action": "kick", "selector": { "application": "orders" } });
    let nobody = "019b8d7a-0000-7000-8000-00000000000a";
    assert_eq!(ask(nobody, body.clone()).await.problem(404), format!("no snapshot {nobody}"));
    let nothing = ask(&snapshot, json!({ "action": "kick", "selector": {} })).await.problem(400);
    assert!(nothing.starts_with("selector: a selector without conditions"), "{nothing}");
    let mut other = body.clone();
    other["cluster"] = json!("elsewhere");
    let other = ask(&snapshot, other).await.problem(400);
    assert_eq!(other, format!("snapshot {snapshot} is of cluster `nats`"));
    let mut none = body;
    none["at_most"] = json!(0);
    assert_eq!(ask(&snapshot, none).await.problem(400), "`at_most` must be between 1 and 10000");
    app.finish().await;
}
