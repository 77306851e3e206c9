//! A pair of real Alertmanagers, healthy but out of step: the second one reports old news after the end.
//!
//! Node 1 takes down what fires, and waits for node 0 before it posts. Meanwhile node 0 reports the end; then node 1 sees
//! that the last notification had nothing that fires, and posts what it has taken down. Nothing is broken.

use std::rc::Rc;

use connwarden::clock::Clock;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};

use crate::harness::alertmanager::{Pair, route};
use crate::harness::daemon::Daemon;
use crate::harness::eventually;
use crate::harness::tee::Tee;

/// How many alerts fire and end at the same time.
const ALERTS: usize = 8;

/// How often each of them does, one time after the other.
const ROUNDS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_out_of_step_makes_one_incident_a_round_and_old_news_opens_none_again() {
    let directory = tempfile::tempdir().unwrap();
    // each round is to be an incident of its own
    let config = directory.path().join("connwarden.yml");
    std::fs::write(&config, "incidents: {reopen_window: 1ms}\n").unwrap();
    let flags = ["--config.file", config.to_str().unwrap()].map(str::to_owned);
    let daemon = Daemon::start(directory.path(), &flags).await;
    let tee = Tee::before(daemon.webhook()).await;
    // node 0 works groups off 1, 5, 9 s after an alert came, node 1 begins 1 s later and does so after 2, 6, 10 s
    let pair = Pair::start(&tee.url, [route("1s", "4s"), route("2s", "4s")]).await;
    let scene = Rc::new((pair, tee));
    let rounds = LocalSet::new();
    rounds
        .run_until(async {
            let mut rounds = JoinSet::new();
            for number in 0..ALERTS {
                let scene = scene.clone();
                rounds.spawn_local(async move {
                    for _ in 0..ROUNDS {
                        round(&format!("Alert{number}"), &scene.0, &scene.1).await;
                    }
                });
            }
            rounds.join_all().await
        })
        .await;

    let notifications = scene.1.notifications();
    let names: Vec<String> = (0..ALERTS).map(|number| format!("Alert{number}")).collect();
    let rounds = ALERTS * ROUNDS;
    // a round that begins looks the same as old news to whoever does not look at its start: those are taken off
    let stale: usize = names.iter().map(|name| old_news(&said_of(&notifications, name))).sum::<usize>();
    let stale = stale.saturating_sub(rounds - ALERTS);
    eprintln!("ha: rounds {rounds}, notifications {}, stale firings {stale}", notifications.len());
    assert!(stale > 0, "the pair was in step: nothing was shown");

    for name in names {
        let list = daemon.get(&format!("api/v1/incidents?alert_name={name}")).await;
        let incidents = list["incidents"].as_array().unwrap();
        assert_eq!(incidents.len(), ROUNDS, "{name}: {list:#}");
        for incident in incidents {
            assert_eq!(
                (&incident["state"], &incident["reopened"]),
                (&json!("resolved"), &json!(0)),
                "{incident:#}"
            );
        }
    }
}

/// One alert that fires and ends; it comes back from both nodes.
async fn round(name: &str, pair: &Pair, tee: &Tee) {
    let now = || Clock::system().now();
    let alert = |started_at: Timestamp, ended_at: Option<Timestamp>| {
        let mut alert = json!({
            "labels": { "alertname": name, "instance": "nats-1:7777" },
            "startsAt": started_at.to_string(),
        });
        if let Some(ended_at) = ended_at {
            alert["endsAt"] = json!(ended_at.to_string());
        }
        json!([alert])
    };
    let (said_before, flushed_before) =
        (said_of(&tee.notifications(), name).len(), pair.nodes[1].flushes(name));
    let started_at = now();
    pair.nodes[0].push(&alert(started_at, None)).await;
    told(tee, name, said_before + 1).await;
    pair.nodes[1].push(&alert(started_at, None)).await;
    eventually("node 1 has taken down what fires", async || {
        (pair.nodes[1].flushes(name) > flushed_before).then_some(())
    })
    .await;
    let over = alert(started_at, Some(now()));
    for node in &pair.nodes {
        node.push(&over).await;
    }
    // whether there was old news or not, node 1 has the last word
    eventually("the end from both nodes, or from one and nothing to come", async || {
        let said = said_of(&tee.notifications(), name).split_off(said_before);
        let ends = said.iter().filter(|said| **said == "resolved").count();
        let quiet = pair.nodes[1].flushes(name) > flushed_before + 1;
        (ends >= 2 || (ends == 1 && quiet && old_news(&said) == 0)).then_some(())
    })
    .await;
}

/// Waits for so many notifications about an alert.
async fn told(tee: &Tee, name: &str, count: usize) {
    eventually("a notification", async || (said_of(&tee.notifications(), name).len() >= count).then_some(()))
        .await;
}

/// What was said of an alert, in order.
fn said_of(notifications: &[Value], name: &str) -> Vec<String> {
    let alerts = notifications.iter().flat_map(|notification| notification["alerts"].as_array().unwrap());
    let of_name = alerts.filter(|alert| alert["labels"]["alertname"] == name);
    of_name.map(|alert| alert["status"].as_str().unwrap().to_owned()).collect()
}

/// How often it was said to fire after its end had been told.
fn old_news(said: &[String]) -> usize {
    said.windows(2).filter(|pair| *pair == ["resolved", "firing"]).count()
}
