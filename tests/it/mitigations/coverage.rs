//! What was not seen: nobody is said to have left whose server did not answer, and a second address is no gap.

use serde_json::{Value, json};
use tokio_stream::StreamExt;

use super::{ACCOUNTS, NEWEST, NatsServer, OPEN, Stage, clients};
use crate::swarm::{Options, Swarm};

#[tokio::test(flavor = "multi_thread")]
async fn while_a_server_is_down_nothing_begins_and_nobody_is_said_to_have_left() {
    let (mut stage, plan, swarms) = approved().await;
    stage.servers[1].kill();
    let refused = stage.step(&plan, "execute").await.problem(409);
    assert!(refused.contains("not everything was seen"), "{refused}");
    nothing_was_done(&stage, &plan, &swarms[0]).await;
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_back_for_the_second_look_does_not_make_up_for_the_first() {
    let (stage, plan, swarms) = approved().await;
    let options = async_nats::ConnectOptions::with_user_and_password("sys".to_owned(), "secret".to_owned());
    let witness = options.connect(stage.servers[0].url()).await.unwrap();
    let mut calls = witness.subscribe("$SYS.REQ.SERVER.PING").await.unwrap();
    witness.flush().await.unwrap();
    stage.servers[1].process.hang().await;
    // the first look calls the roll once, and the second once more
    let comes_back = async {
        calls.next().await.unwrap();
        calls.next().await.unwrap();
        stage.servers[1].process.go_on();
    };
    let (execution, ()) = tokio::join!(stage.step(&plan, "execute"), comes_back);
    let refused = execution.problem(409);
    assert!(refused.contains("not everything was seen"), "{refused}");
    nothing_was_done(&stage, &plan, &swarms[0]).await;
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_address_of_a_server_does_not_block_a_plan() {
    let server = NatsServer::start(NEWEST, ACCOUNTS).await;
    let port = server.monitor.port().unwrap();
    let monitors = ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}"));
    let stage = Stage::with_monitors(vec![server], &monitors, OPEN).await;
    let (leaky, others) = clients(&stage.servers[0], 10, 20, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    let guards = plan["plan"]["guards"].as_array().unwrap();
    let complete = guards.iter().find(|it| it["guard"] == "snapshot_complete").unwrap();
    assert_eq!(complete["reason"], "1 of 1 servers were seen with all their connections");
    assert_eq!(plan["plan"]["total"], 31, "each is counted once, and ours");
    assert_eq!(stage.execute(&plan).await.status, 200);
    let run = stage.run(&plan).await;
    assert_eq!(run["progress"], json!({ "confirmed": 10 }), "{run:#}");
    assert_eq!((leaky.disconnects().len(), others.counts().connected), (10, 20));
    assert_eq!(stage.verify(&plan).await["outcome"], "effective");
    stage.app.finish().await;
}

/// A plan against clients on both servers of a cluster, approved; the clients of the first server are named first.
async fn approved() -> (Stage, Value, [Swarm; 4]) {
    let stage = Stage::two(OPEN).await;
    let (first, innocent) = clients(&stage.servers[0], 10, 30, Options::default()).await;
    let (second, also_innocent) = clients(&stage.servers[1], 10, 30, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    assert_eq!(plan["victim_count"], 20, "{plan:#}");
    for act in ["propose", "approve"] {
        assert_eq!(stage.step(&plan, act).await.status, 200);
    }
    (stage, plan, [first, innocent, second, also_innocent])
}

async fn nothing_was_done(stage: &Stage, plan: &Value, victims_on_the_first: &Swarm) {
    let mitigation = stage.mitigation(plan).await;
    assert_eq!(mitigation["state"], "refused", "{mitigation:#}");
    assert_eq!(mitigation["progress"], json!({ "pending": 20 }));
    assert_eq!(victims_on_the_first.counts().connected, 10);
}
