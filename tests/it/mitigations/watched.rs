//! What a run is watched by: connections of others that end, compared with what usually ends.

use std::time::Duration;

use serde_json::{Value, json};

use super::{NEWEST, OPEN, Stage, clients};
use crate::harness::eventually;
use crate::swarm::{Options, Swarm};

/// Just long enough for a sample to need a look of its own.
const BETWEEN_SAMPLES: Duration = Duration::from_secs(31);

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_others_that_end_stop_a_run() {
    let run = run_amid_churn(0).await;
    assert_eq!((&run["state"], &run["stop"]), (&json!("stopped"), &json!("worse")), "{run:#}");
    assert_eq!(
        run["stop_text"],
        "on server `nats-test` 30 connections ended or were refused beside the 5 that were cut; usual are 0"
    );
    assert_eq!(run["progress"], json!({ "confirmed": 5, "spared": 15 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_all_the_time_do_not() {
    let run = run_amid_churn(10).await;
    assert_eq!(
        (&run["state"], &run["progress"]),
        (&json!("verifying"), &json!({ "confirmed": 20 })),
        "{run:#}"
    );
}

/// Runs a mitigation in the middle of which thirty others come anew. Between the samples before it all of them do,
/// `usual` times.
async fn run_amid_churn(usual: usize) -> Value {
    let stage = Stage::one(NEWEST, &format!("{OPEN}, batch: 5")).await;
    let (_leaky, others) = clients(&stage.servers[0], 20, 200, Options::default()).await;
    let mut sampler = stage.app.state.engine.sampler("prod").unwrap();
    for _ in 0..4 {
        for _ in 0..usual {
            come_anew(&others, 200).await;
        }
        stage.app.advance(BETWEEN_SAMPLES);
        stage.app.state.engine.sample(&mut sampler).await.unwrap();
    }
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    let before = stage.connections().await;
    assert_eq!(stage.execute(&plan).await.status, 200);
    stage.app.run_jobs().await;
    come_anew(&others, 30).await;
    eventually("the ends of thirty and of five", async || {
        (stage.connections().await == before - 5).then_some(())
    })
    .await;
    let run = stage.run(&plan).await;
    stage.verify(&plan).await;
    stage.app.finish().await;
    run
}

async fn come_anew(swarm: &Swarm, clients: usize) {
    let before = swarm.counts();
    swarm.reopen(0..clients);
    let done = before.reopened + clients as u64;
    let all = before.connected;
    swarm
        .wait_for(crate::harness::PATIENCE, |counts| counts.reopened == done && counts.connected == all)
        .await
        .unwrap();
}
