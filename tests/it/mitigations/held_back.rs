//! What holds a plan back, as the engine finds it out: earlier runs, what was cut within the hour, silences, and other
//! connwardens. What each guard says of it is tested beside the guards.

use std::time::Duration;

use connwarden::clock::Clock;
use serde_json::{Value, json};

use super::{NEWEST, OPEN, Stage, clients};
use crate::harness::alertmanager::Alertmanager;
use crate::harness::fake::ClosedPort;
use crate::harness::nats::{ACCOUNTS, NatsServer};
use crate::harness::payload::{ALERT, firing, notification};
use crate::swarm::Options;

/// The guards that block a plan.
fn blocking(plan: &Value) -> Vec<&str> {
    let verdicts = plan["plan"]["guards"].as_array().unwrap().iter();
    verdicts
        .filter(|verdict| verdict["passes"] == false)
        .map(|verdict| verdict["guard"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_cut_a_moment_ago_is_not_cut_again_while_it_is_looked_whether_that_helped() {
    let stage = Stage::one(NEWEST, &OPEN.replace("cool_down: 1s", "cool_down: 10m")).await;
    let (leaky, _others) = clients(&stage.servers[0], 30, 40, Options::default()).await;
    let mut some =
        json!({ "cluster": "prod", "action": "kick", "selector": { "application": "leaky" }, "at_most": 5 });
    let plan = async |body: &Value| stage.act("/api/v1/plans", body.clone()).await.json();
    let first = plan(&some).await;
    assert_eq!(blocking(&first), [""; 0]);
    assert_eq!(stage.execute(&first).await.status, 200);
    assert_eq!(stage.run(&first).await["state"], "verifying");
    // others of the same
    let second = plan(&some).await;
    assert_eq!(blocking(&second), ["cool_down"]);
    let refused = stage.step(&second, "propose").await.problem(409);
    assert!(refused.contains("the last run against the same target ended "), "{refused}");
    assert_eq!(leaky.counts().connected, 25);
    // somebody else is another matter
    some["selector"] = json!({ "application": "orders" });
    assert_eq!(blocking(&plan(&some).await), [""; 0]);
    some["selector"] = json!({ "application": "leaky" });
    stage.app.advance(Duration::from_secs(601));
    assert_eq!(blocking(&plan(&some).await), [""; 0]);
    stage.verify(&first).await;
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_within_the_hour_counts_whoever_it_was() {
    let stage = Stage::one(NEWEST, &format!("{OPEN}, hourly_budget: 30")).await;
    let (_leaky, _others) = clients(&stage.servers[0], 20, 60, Options::default()).await;
    let first = stage.plan(json!({ "application": "leaky" }), "kick").await;
    assert_eq!(stage.execute(&first).await.status, 200);
    stage.run(&first).await;
    let others = json!({ "application": "orders" });
    assert_eq!(blocking(&stage.plan(others.clone(), "kick").await), ["hourly_budget"]);
    stage.app.advance(Duration::from_secs(3601));
    assert_eq!(blocking(&stage.plan(others, "kick").await), [""; 0]);
    stage.verify(&first).await;
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_connwarden_on_the_cluster_holds_everything_back() {
    let stage = Stage::one(NEWEST, OPEN).await;
    let (_leaky, _others) = clients(&stage.servers[0], 10, 20, Options::default()).await;
    let leaky = json!({ "application": "leaky" });
    assert_eq!(blocking(&stage.plan(leaky.clone(), "kick").await), [""; 0]);
    let theirs = async_nats::ConnectOptions::with_user_and_password("sys".to_owned(), "secret".to_owned())
        .name("connwarden/theirs/prod")
        .connect(stage.servers[0].url())
        .await
        .unwrap();
    theirs.flush().await.unwrap();
    assert_eq!(blocking(&stage.plan(leaky, "kick").await), ["sole_warden"]);
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_in_alertmanager_means_hands_off() {
    let am = Alertmanager::start(&ClosedPort::new().url).await;
    let more = format!("alertmanagers: [{{url: \"{}\"}}]\n", am.url);
    let servers = vec![NatsServer::start(NEWEST, ACCOUNTS).await];
    let stage = Stage::configured(servers, "", OPEN, &more).await;
    let (_leaky, _others) = clients(&stage.servers[0], 10, 20, Options::default()).await;
    let mut alert = firing(ALERT, "nats-1:7777");
    alert["labels"]["cluster"] = json!("prod");
    stage.app.notify(notification(&[alert.clone()])).await;
    let incidents = stage.app.get("/api/v1/incidents").await.json();
    let path = format!("/api/v1/incidents/{}/plans", incidents["incidents"][0]["id"].as_str().unwrap());
    let body = json!({ "action": "kick", "selector": { "application": "leaky" } });
    let plan = async || stage.act(&path, body.clone()).await.json();
    // it has just started: it has its silences, and has heard of no alert yet
    assert!(blocking(&plan().await).contains(&"not_silenced"));
    am.push(&json!([{ "labels": alert["labels"], "annotations": alert["annotations"] }])).await;
    am.lists(ALERT, "active").await;
    assert!(!blocking(&plan().await).contains(&"not_silenced"));
    am.silence(ALERT, Clock::system().now()).await;
    am.lists(ALERT, "suppressed").await;
    assert!(blocking(&plan().await).contains(&"not_silenced"));
    // nobody who could say so counts as silenced
    am.process.terminate();
    assert!(blocking(&plan().await).contains(&"not_silenced"));
    stage.app.run_jobs().await;
    stage.app.finish().await;
}
