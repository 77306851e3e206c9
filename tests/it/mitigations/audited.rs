//! The audit log: every act on mitigations and pauses is found again, with who did it, to what, and why.

use axum::http::Method;
use connwarden::config::Config;
use serde_json::{Value, json};

use super::{NEWEST, OPEN, Stage, clients};
use crate::harness::test_app::{Answer, TestApp};
use crate::swarm::Options;

const AUDIT: &str = "/api/v1/audit";

/// The acts that are found, newest first.
async fn acts(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = app.get(&format!("{AUDIT}{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["acts"].as_array().unwrap().clone()
}

/// The same page by page, `limit` acts each.
async fn acts_by_page(app: &TestApp, limit: usize) -> Vec<Value> {
    let (mut seen, mut query) = (Vec::new(), format!("?limit={limit}"));
    loop {
        let page = app.get(&format!("{AUDIT}{query}")).await.json();
        let acts = page["acts"].as_array().unwrap();
        assert!(!acts.is_empty() && acts.len() <= limit, "{page:#}");
        seen.extend(acts.iter().cloned());
        let Some(next) = page["next"].as_str() else { break seen };
        query = format!("?limit={limit}&before={next}");
    }
}

async fn pause(app: &TestApp, name: &str, reason: &str) -> Answer {
    let body = json!({ "name": name, "reason": reason }).to_string();
    app.act(Method::POST, "/api/v1/pauses", body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_without_an_incident_is_found_with_who_did_it_to_what_and_why() {
    let stage = Stage::one(NEWEST, OPEN).await;
    let app = &stage.app;
    let (_leaky, _others) = clients(&stage.servers[0], 10, 20, Options::default()).await;
    let first = stage.plan(json!({ "application": "leaky" }), "kick").await;
    let release = json!({ "name": "release", "cluster": "prod", "reason": "the fair" });
    assert_eq!(stage.act("/api/v1/pauses", release).await.status, 201);
    assert_eq!(stage.execute(&first).await.status, 409, "it is paused");
    assert_eq!(app.act(Method::DELETE, "/api/v1/pauses/release", "").await.status, 204);
    let second = stage.plan(json!({ "application": "leaky" }), "kick").await;
    assert_eq!(stage.execute(&second).await.status, 200);
    stage.run(&second).await;
    assert_eq!(stage.verify(&second).await["outcome"], "effective");

    let all = acts(app, "").await;
    let [first, second] = [&first, &second].map(|plan| plan["id"].as_str().unwrap());
    let told = |line: &Value| {
        let [actor, act, subject, text] =
            ["actor", "act", "subject", "text"].map(|field| line[field].as_str().unwrap());
        format!("{actor} | {act} | {subject} | {text}").replace(first, "(first)").replace(second, "(second)")
    };
    insta::assert_snapshot!(all.iter().rev().map(told).collect::<Vec<_>>().join("\n"), @"
    local-operator | mitigation_planned | (first) | planned: 10 of 31 connections of cluster `prod` are cut: 10 of `leaky`; no more are meant
    local-operator | pause | release | cluster `prod` paused: the fair
    local-operator | mitigation_proposed | (first) | proposed: 10 of 31 connections of cluster `prod` are cut: 10 of `leaky`; no more are meant
    local-operator | mitigation_approved | (first) | approved until 2026-11-24T09:15:00Z
    local-operator | mitigation_refused | (first) | refused by 1 of the guards: mitigations are paused: `release` by local-operator, the fair
    local-operator | resume | release | mitigations may run again
    local-operator | mitigation_planned | (second) | planned: 10 of 31 connections of cluster `prod` are cut: 10 of `leaky`; no more are meant
    local-operator | mitigation_proposed | (second) | proposed: 10 of 31 connections of cluster `prod` are cut: 10 of `leaky`; no more are meant
    local-operator | mitigation_approved | (second) | approved until 2026-11-24T09:15:00Z
    local-operator | mitigation_started | (second) | started: 10 of 10 victims are still there
    connwarden | mitigation_batch | (second) | a batch of 10 was cut: 10 confirmed
    connwarden | mitigation_executed | (second) | executed: 10 confirmed
    connwarden | mitigation_looked | (second) | 5 s after the last victim: of 10 that were cut, none is back; the selector means 0 connections, 10 before
    connwarden | mitigation_looked | (second) | 30 s after the last victim: of 10 that were cut, none is back; the selector means 0 connections, 10 before
    connwarden | mitigation_finished | (second) | effective: most stayed away: of 10 that were cut 0 came back by application and 0 by account, user and address; the selector meant 10 connections before and means 0 now
    ");
    assert_eq!(all.last().unwrap()["at"], "2026-11-24T09:00:00Z");

    let those = |wanted: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        all.iter().filter(|line| wanted(line)).cloned().collect()
    };
    for (query, count, expected) in [
        (&*format!("?subject={second}"), 9, those(&|line| line["subject"] == second)),
        ("?actor=connwarden", 5, those(&|line| line["actor"] == "connwarden")),
        ("?act=mitigation_planned", 2, those(&|line| line["act"] == "mitigation_planned")),
        (
            &format!("?actor=local-operator&act=mitigation_refused&subject={first}"),
            1,
            those(&|line| line["act"] == "mitigation_refused"),
        ),
        ("?actor=nobody", 0, Vec::new()),
    ] {
        let found = acts(app, query).await;
        assert_eq!((found.len(), found), (count, expected), "{query}");
    }
    for limit in [1, 4, all.len(), 500] {
        assert_eq!(acts_by_page(app, limit).await, all, "{limit}");
    }
    assert!(app.browse("/mitigations").await.text.contains("href=\"/api/v1/audit\""));
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_meanwhile_neither_repeats_an_act_nor_leaves_one_out() {
    let app = TestApp::start().await;
    for number in 0..5 {
        assert_eq!(pause(&app, &format!("p{number}"), "why").await.status, 201);
    }
    let names = |page: &Value| -> Vec<String> {
        let acts = page["acts"].as_array().unwrap().iter();
        acts.map(|line| line["subject"].as_str().unwrap().to_owned()).collect()
    };
    let newest = app.get(&format!("{AUDIT}?limit=2")).await.json();
    assert_eq!(names(&newest), ["p4", "p3"]);
    assert_eq!(pause(&app, "meanwhile", "why").await.status, 201);
    let older = format!("{AUDIT}?limit=3&before={}", newest["next"].as_str().unwrap());
    let older = app.get(&older).await.json();
    assert_eq!(
        (names(&older), &older["next"]),
        (["p2", "p1", "p0"].map(str::to_owned).to_vec(), &Value::Null)
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_cannot_be_meant_is_refused_and_not_answered_with_nothing() {
    let app = TestApp::start().await;
    assert_eq!(acts(&app, "").await, Vec::<Value>::new());
    for (query, expected) in [
        ("?act=mitigation_aproved", "act: `mitigation_aproved` is not one of mitigation_planned, "),
        // a kind that timelines have, of incidents
        ("?act=acknowledged", "act: `acknowledged` is not one of mitigation_planned, "),
        ("?before=release", "before: invalid digit"),
        ("?limit=501", "limit: 501 is not between 1 and 500"),
        ("?actr=ann", "unknown field `actr`"),
    ] {
        let refusal = app.get(&format!("{AUDIT}{query}")).await.problem(400);
        assert!(refusal.contains(expected), "{query}: {refusal}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_is_told_and_who_delivers_is_not() {
    let config = "
web:
  credentials:
    - {name: dashboard, role: viewer, bearer_token: token-of-the-dashboard}
    - {name: alertmanager, role: webhook, bearer_token: token-of-the-alertmanager}
    - {name: pipeline, role: reporter, bearer_token: token-of-the-pipeline}
";
    let config = Config::parse(config, "connwarden.yml", &|_| unreachable!()).unwrap();
    let app = TestApp::with(config).await;
    assert_eq!(pause(&app, "night", "sleep").await.status, 201);
    let ask = async |who: &str| {
        let shown = [("Authorization", format!("Bearer token-of-the-{who}"))];
        let shown = shown.each_ref().map(|(name, value)| (*name, value.as_str()));
        app.request_with(Method::GET, AUDIT, &shown, "".into()).await
    };
    let told = ask("dashboard").await.json();
    let night = json!({
        "at": "2026-11-24T09:00:00Z", "actor": "local-operator", "act": "pause", "subject": "night",
        "text": "all clusters paused: sleep",
    });
    assert_eq!(told, json!({ "acts": [night], "next": null }));
    for who in ["alertmanager", "pipeline"] {
        assert!(ask(who).await.problem(403).contains("this takes the role `viewer`"), "{who}");
    }
    app.finish().await;
}
