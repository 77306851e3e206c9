//! What is not done: stale plans, second runs, blocked and expired ones, and what a crash leaves behind.

use std::time::Duration;

use axum::http::Method;
use connwarden::model::journal::{JournalLine, VictimState};
use connwarden::model::victim::VictimKey;
use connwarden::store;
use serde_json::{Value, json};

use super::{OPEN, Stage, clients, cut};
use crate::harness::eventually;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer};
use crate::swarm::Options;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_whose_victims_have_left_is_stale() {
    let stage = Stage::one(NEWEST, OPEN).await;
    let (leaky, _others) = clients(&stage.servers[0], 20, 20, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    leaky.close_some(0..3).await;
    eventually("three to be gone", async || (stage.connections().await <= 38).then_some(())).await;
    let refused = stage.execute(&plan).await.problem(409);
    assert_eq!(
        refused,
        "the plan is stale: 3 of 20 victims have left, or are not what was meant any more, since it was made; make a new one"
    );
    assert_eq!(stage.mitigation(&plan).await["state"], "expired");
    assert_eq!(leaky.counts().connected, 17, "nobody was cut");
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_used_again_before_the_run_is_left_alone_and_is_not_said_to_have_gone() {
    let stage = Stage::one(NEWEST, OPEN).await;
    let (leaky, _others) = clients(&stage.servers[0], 19, 40, Options::default()).await;
    let one_more =
        async_nats::ConnectOptions::with_user_and_password("alice".to_owned(), "secret".to_owned())
            .name("leaky-7d9f8b6c5-x2x4z")
            .connect(stage.servers[0].url())
            .await
            .unwrap();
    let unused = json!({ "name_glob": "leaky-*", "kind": "client", "no_traffic": true });
    let plan = stage.plan(unused, "kick").await;
    assert_eq!(plan["victim_count"], 20, "{plan:#}");
    one_more.publish("orders.new", "hello".into()).await.unwrap();
    one_more.flush().await.unwrap();
    let begun = stage.execute(&plan).await;
    assert_eq!(begun.json()["progress"], json!({ "pending": 19, "changed": 1 }), "{}", begun.text);
    let run = stage.run(&plan).await;
    assert_eq!(
        (&run["state"], &run["progress"]),
        (&json!("verifying"), &json!({ "confirmed": 19, "changed": 1 })),
        "{run:#}"
    );
    eventually("the others to be cut", async || (leaky.counts().connected == 0).then_some(())).await;
    one_more.flush().await.unwrap();
    stage.verify(&plan).await;
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_started_anew_between_plan_and_execution_loses_no_stranger() {
    let mut stage = Stage::one(NEWEST, OPEN).await;
    let again = Options { reconnect: true, reconnect_wait: Duration::from_millis(50), ..Options::default() };
    let (leaky, others) = clients(&stage.servers[0], 20, 20, again).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    for act in ["propose", "approve"] {
        assert_eq!(stage.step(&plan, act).await.status, 200);
    }
    stage.servers[0].restart(NEWEST, ACCOUNTS).await;
    // everybody comes back, under numbers that other connections had
    leaky.wait_for(Duration::from_secs(20), |counts| counts.connected == 20).await.unwrap();
    others.wait_for(Duration::from_secs(20), |counts| counts.connected == 20).await.unwrap();
    let cut_before = (cut(&leaky).len(), cut(&others).len());
    let refused = stage.step(&plan, "execute").await.problem(409);
    assert!(refused.starts_with("the plan is stale: 20 of 20 victims have left, or "), "{refused}");
    assert_eq!((cut(&leaky).len(), cut(&others).len()), cut_before);
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_is_refused_while_one_is_going_on() {
    let stage = Stage::one(NEWEST, OPEN).await;
    let (_leaky, _others) = clients(&stage.servers[0], 20, 60, Options::default()).await;
    let first = stage.plan(json!({ "application": "leaky" }), "kick").await;
    let second = stage.plan(json!({ "application": "orders" }), "kick").await;
    assert_eq!(stage.execute(&first).await.status, 200);
    for act in ["propose", "approve"] {
        assert_eq!(stage.step(&second, act).await.status, 200);
    }
    assert_eq!(
        stage.step(&second, "execute").await.problem(409),
        "another mitigation is running in cluster `prod`"
    );
    // its approval still holds, and it may run afterwards
    stage.run(&first).await;
    stage.app.advance(Duration::from_secs(2));
    let begun = stage.step(&second, "execute").await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    stage.run(&second).await;
    stage.verify(&second).await;
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_digest_a_late_approval_and_a_repeated_act_are_refused() {
    let stage = Stage::one(NEWEST, OPEN).await;
    let (leaky, _others) = clients(&stage.servers[0], 5, 20, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    let path = format!("/api/v1/mitigations/{}", plan["id"].as_str().unwrap());
    let other = stage.act(&format!("{path}/propose"), json!({ "digest": "sha256:0" })).await.problem(409);
    assert!(other.starts_with("sha256:0 is not the plan's digest: look at the plan as it is"), "{other}");
    assert!(
        !other.contains(plan["plan"]["digest"].as_str().unwrap()),
        "nobody should approve what they have not seen: {other}"
    );
    assert_eq!(
        stage.step(&plan, "approve").await.problem(409),
        "cannot approve a mitigation that is planned: it has to be proposed first"
    );
    for act in ["propose", "approve"] {
        assert_eq!(stage.step(&plan, act).await.status, 200);
    }
    assert_eq!(
        stage.step(&plan, "approve").await.problem(409),
        "cannot approve a mitigation that is approved"
    );
    stage.app.advance(Duration::from_secs(15 * 60));
    let late = stage.step(&plan, "execute").await.problem(409);
    assert!(late.starts_with("the plan is stale: its approval ended at"), "{late}");
    assert_eq!(stage.mitigation(&plan).await["state"], "expired");
    assert_eq!(leaky.counts().connected, 5);
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_plans_once() {
    let stage = Stage::one(NEWEST, OPEN).await;
    let (_leaky, _others) = clients(&stage.servers[0], 5, 20, Options::default()).await;
    let body = json!({ "cluster": "prod", "action": "kick", "selector": { "application": "leaky" } });
    let ask = async |body: &Value| {
        let token = format!("Bearer {}", crate::harness::test_app::OPERATOR_TOKEN);
        let headers = [("Authorization", token.as_str()), ("Idempotency-Key", "night-7")];
        stage.app.request_with(Method::POST, "/api/v1/plans", &headers, body.to_string().into()).await
    };
    let (first, again) = (ask(&body).await.json(), ask(&body).await.json());
    assert_eq!(first["id"], again["id"]);
    let other = json!({ "cluster": "prod", "action": "kick", "selector": { "application": "orders" } });
    assert_eq!(
        ask(&other).await.problem(409),
        "the idempotency key was used for another request, or by somebody else"
    );
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_guards_block_cannot_be_proposed() {
    let stage = Stage::one(NEWEST, "max_victims: 3, max_share_percent: 60, keep_minimum: 0").await;
    let (leaky, _others) = clients(&stage.servers[0], 10, 20, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    let refused = stage.step(&plan, "propose").await.problem(409);
    assert!(refused.starts_with("refused by 1 of the guards: "), "{refused}");
    let mitigation = stage.mitigation(&plan).await;
    assert_eq!(
        (&mitigation["state"], &mitigation["blocked_by"][0]["guard"]),
        (&json!("refused"), &json!("max_victims"))
    );
    assert_eq!(leaky.counts().connected, 10);
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_mitigations_are_paused_nothing_begins_and_what_runs_stops() {
    let stage = Stage::one(NEWEST, &format!("{OPEN}, batch: 5")).await;
    let (leaky, _others) = clients(&stage.servers[0], 20, 30, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    assert_eq!(stage.execute(&plan).await.status, 200);
    stage.app.run_jobs().await;
    let pause = json!({ "name": "release", "reason": "the release of the week" });
    assert_eq!(stage.act("/api/v1/pauses", pause).await.status, 201);
    let stopped = stage.run(&plan).await;
    assert_eq!((&stopped["state"], &stopped["stop"]), (&json!("stopped"), &json!("paused")), "{stopped:#}");
    assert_eq!(stopped["progress"], json!({ "confirmed": 5, "spared": 15 }));
    eventually("one batch to be cut", async || (leaky.counts().connected == 15).then_some(())).await;

    let another = stage.plan(json!({ "application": "leaky" }), "kick").await;
    let refused = stage.step(&another, "propose").await.problem(409);
    assert!(refused.contains("the release of the week"), "{refused}");
    let ended = stage.app.act(Method::DELETE, "/api/v1/pauses/release", "").await;
    assert_eq!(ended.status, 204);
    assert_eq!(stage.app.act(Method::DELETE, "/api/v1/pauses/release", "").await.status, 404);
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_stopped_at_once_by_a_person() {
    let stage = Stage::one(NEWEST, &format!("{OPEN}, batch: 5")).await;
    let (leaky, _others) = clients(&stage.servers[0], 20, 30, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    assert_eq!(stage.execute(&plan).await.status, 200);
    stage.app.run_jobs().await;
    let path = format!("/api/v1/mitigations/{}/stop", plan["id"].as_str().unwrap());
    let stopped = stage.act(&path, json!({ "reason": "wrong one" })).await.json();
    assert_eq!((&stopped["state"], &stopped["stop"]), (&json!("stopped"), &json!("asked")));
    assert_eq!(stopped["progress"], json!({ "confirmed": 5, "spared": 15 }));
    stage.app.advance(Duration::from_secs(60));
    stage.app.run_jobs().await;
    assert_eq!(leaky.counts().connected, 15);
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_between_request_and_journal_nothing_is_repeated() {
    let stage = Stage::one(NEWEST, &format!("{OPEN}, batch: 5")).await;
    let (leaky, _others) = clients(&stage.servers[0], 20, 30, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    assert_eq!(stage.execute(&plan).await.status, 200);
    stage.app.run_jobs().await;
    // it is written down that the next batch is about to be cut, and then the process ends
    let victims = plan["plan"]["victims"].as_array().unwrap()[5..10].iter().map(|victim| JournalLine {
        victim: serde_json::from_value::<VictimKey>(json!({
            "server_id": victim["server_id"], "cid": victim["cid"], "start": victim["start"],
        }))
        .unwrap(),
        state: VictimState::Sent,
        at: stage.app.clock.now(),
        error: None,
    });
    let victims: Vec<JournalLine> = victims.collect();
    let id = serde_json::from_value(plan["id"].clone()).unwrap();
    let mut tx = stage.app.state.store.write().await.unwrap();
    store::victims::record(&mut tx, id, &victims).await.unwrap();
    store::commit(tx).await.unwrap();
    let Stage { app, servers, _secrets } = stage;
    let stage = Stage { app: app.restart().await, servers, _secrets };

    stage.app.advance(Duration::from_secs(60));
    stage.app.run_jobs().await;
    let mitigation = stage.mitigation(&plan).await;
    assert_eq!(
        (&mitigation["state"], &mitigation["stop"]),
        (&json!("stopped"), &json!("interrupted")),
        "{mitigation:#}"
    );
    assert_eq!(mitigation["progress"], json!({ "confirmed": 5, "sent": 5, "spared": 10 }));
    assert_eq!(leaky.counts().connected, 15, "only the batch before was cut");
    // and it is over: the cluster is free for a new plan
    let another = stage.plan(json!({ "application": "leaky" }), "kick").await;
    assert_eq!(another["victim_count"], 15);
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_system_account_a_plan_says_what_is_missing() {
    let server = NatsServer::start(NEWEST, ACCOUNTS).await;
    let app = crate::harness::test_app::TestApp::watching([&server.monitor]).await;
    let (leaky, _others) = clients(&server, 10, 100, Options::default()).await;
    let body = json!({ "cluster": "nats", "action": "kick", "selector": { "application": "leaky" } });
    let plan = app.act(Method::POST, "/api/v1/plans", body.to_string()).await.json();
    let capability =
        plan["plan"]["guards"].as_array().unwrap().iter().find(|it| it["guard"] == "capability").unwrap();
    assert_eq!(capability["passes"], false);
    assert!(capability["reason"].as_str().unwrap().contains("system account"), "{capability}");
    assert_eq!(leaky.counts().connected, 10);
    app.finish().await;
}
