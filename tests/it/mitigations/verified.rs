//! Whether it helped: clients that stay away, come back at once, or come back somewhere else.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{ACCOUNTS, NEWEST, OPEN, Stage, clients};
use crate::harness::eventually;
use crate::harness::nats::start_cluster;
use crate::swarm::{ClientSpec, Options, Population, Swarm};

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_back_at_once_make_it_ineffective_and_in_the_end_open_the_breaker() {
    let stage = Stage::one(NEWEST, OPEN).await;
    let back = Options { reconnect: true, reconnect_wait: Duration::from_millis(20), ..Options::default() };
    let (leaky, _others) = clients(&stage.servers[0], 20, 30, back).await;
    for round in 0..3 {
        let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
        let begun = stage.execute(&plan).await;
        assert_eq!(begun.status, 200, "round {round}: {}", begun.text);
        stage.run(&plan).await;
        leaky.wait_for(Duration::from_secs(20), |counts| counts.connected == 20).await.unwrap();
        let finished = stage.verify(&plan).await;
        assert_eq!(finished["outcome"], "ineffective", "round {round}: {finished:#}");
        // doubled after each
        stage.app.advance(Duration::from_secs(60));
    }
    let statistics = stage.app.get("/api/v1/mitigations/statistics?cluster=prod").await.json();
    insta::assert_json_snapshot!(statistics, @r#"
    {
      "statistics": [
        {
          "action": "kick",
          "cluster": "prod",
          "effective": 0,
          "failed": 0,
          "inconclusive": 0,
          "ineffective": 3,
          "looked_after": 60,
          "returned": 60,
          "returned_percent": 100.0,
          "runs": 3,
          "stopped": 0,
          "unfinished": 0,
          "victims": 60
        }
      ]
    }
    "#);
    let late = stage.app.get("/api/v1/mitigations/statistics?since=2027-01-01T00:00:00Z").await.json();
    assert_eq!(late, json!({ "statistics": [] }));
    assert_eq!(stage.app.get("/api/v1/mitigations/statistics?since=lately").await.status, 400);
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    let page = stage.app.browse(&format!("/mitigations/{}", plan["id"].as_str().unwrap())).await.text;
    assert!(page.contains("3 runs in this cluster: 3 ineffective; 60 of 60 (100 %) came back"), "{page}");
    let breaker = guard(&plan, "circuit_breaker");
    assert_eq!(breaker["passes"], false, "{breaker}");
    assert_eq!(stage.step(&plan, "propose").await.status, 409);
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_move_to_another_server_are_counted_there() {
    let servers = start_cluster(NEWEST, "prod", 2, ACCOUNTS).await;
    let stage = Stage::start(servers, OPEN).await;
    let elsewhere = Options {
        reconnect: true,
        reconnect_wait: Duration::from_millis(20),
        reconnect_to: vec![stage.servers[1].clients],
        ..Options::default()
    };
    let model = ClientSpec::new(stage.servers[0].clients);
    let leaky = Population::new(model, 20).names([("leaky-{pod}", 1)]).users([("alice", "secret", 1)]);
    let leaky = Swarm::open(leaky.plan().unwrap(), elsewhere).await.unwrap();
    let (_none, _others) = clients(&stage.servers[1], 1, 40, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky", "server": "prod-0" }), "kick").await;
    assert_eq!(plan["victim_count"], 20, "{plan:#}");
    assert_eq!(stage.execute(&plan).await.status, 200);
    stage.run(&plan).await;
    leaky.wait_for(Duration::from_secs(20), |counts| counts.connected == 20).await.unwrap();
    let finished = stage.verify(&plan).await;
    // the count of the selector fell to nothing, and yet they are all there
    assert_eq!(finished["outcome"], "ineffective", "{finished:#}");
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_delays_neither_a_drain_nor_its_looks() {
    let looks = OPEN.replace("[5s, 30s]", "[5s, 30s, 60s]");
    let stage = Stage::one(NEWEST, &format!("{looks}, drain_wait: 4s")).await;
    let (leaky, _others) = clients(&stage.servers[0], 6, 20, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "drain").await;
    assert_eq!(stage.execute(&plan).await.status, 200);
    stage.app.run_jobs().await;
    let set_back = || stage.app.clock.set(stage.app.clock.now() - SignedDuration::from_hours(1));
    assert_eq!(stage.mitigation(&plan).await["progress"], json!({ "asked": 6 }));
    set_back();
    stage.app.run_jobs().await;
    assert_eq!(stage.mitigation(&plan).await["progress"], json!({ "confirmed": 6 }));
    assert_eq!(stage.run(&plan).await["state"], "verifying");
    eventually("all to be cut", async || (leaky.counts().connected == 0).then_some(())).await;

    stage.app.advance(Duration::from_secs(5));
    stage.app.run_jobs().await;
    set_back();
    stage.app.run_jobs().await;
    stage.app.advance(Duration::from_secs(60));
    stage.app.run_jobs().await;
    let finished = stage.mitigation(&plan).await;
    assert_eq!(finished["outcome"], "effective", "{finished:#}");
    let after: Vec<_> = finished["looks"].as_array().unwrap().iter().map(|look| &look["after_ms"]).collect();
    assert!(after.is_sorted_by_key(|after| after.as_u64()) && after.len() == 3, "{after:?}");
    stage.app.finish().await;
}

fn guard<'a>(plan: &'a Value, name: &str) -> &'a Value {
    plan["plan"]["guards"].as_array().unwrap().iter().find(|verdict| verdict["guard"] == name).unwrap()
}
