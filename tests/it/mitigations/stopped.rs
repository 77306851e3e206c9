//! Runs that are stopped after clients were asked to leave: what became of those is looked at, and not made up.

use std::time::Duration;

use connwarden::model::journal::{JournalLine, VictimState};
use connwarden::store;
use serde_json::{Value, json};

use super::killed::Witness;
use super::{NEWEST, NatsServer, OPEN, Stage};
use crate::harness::eventually;
use crate::swarm::{ClientSpec, Options, Population, Swarm};

#[tokio::test(flavor = "multi_thread")]
async fn who_was_asked_to_leave_before_a_stop_is_looked_at_once_more_and_not_cut() {
    let stage = Stage::one(NEWEST, &format!("{OPEN}, batch: 20, drain_wait: 4s")).await;
    let server = &stage.servers[0];
    let obliging = leaky(server, 8, Options { heeds_lame_duck: true, ..Options::default() }).await;
    let deaf = leaky(server, 6, Options::default()).await;
    let _others = named(server, "orders", 20, Options::default()).await;
    let stopped = stop_a_drain(&stage).await;
    assert_eq!(stopped["progress"], json!({ "asked": 14 }));
    let id = stopped["id"].as_str().unwrap();
    let page = stage.app.browse(&format!("/mitigations/{id}")).await.text;
    assert!(page.contains("14 victims were asked to leave"), "{page}");
    eventually("the obliging ones to leave", async || (obliging.counts().connected == 0).then_some(())).await;

    let look = async || {
        stage.app.run_jobs().await;
        stage.mitigation(&stopped).await["progress"].clone()
    };
    stage.app.advance(Duration::from_secs(3));
    assert_eq!(look().await, json!({ "asked": 14 }), "their time is not over");
    stage.app.advance(Duration::from_secs(1));
    assert_eq!(look().await, json!({ "left": 8, "stayed": 6 }));
    assert_eq!(deaf.counts().connected, 6, "nobody is cut after a stop");
    let page = stage.app.browse(&format!("/mitigations/{id}")).await.text;
    assert!(!page.contains("were asked to leave"), "{page}");
    for (state, count) in [("left", 8), ("stayed", 6)] {
        let rows = page.matches(&format!("\">{state}</span></td>")).count();
        assert_eq!(rows, count, "{page}");
    }
    assert!(page.contains("<dt>Approved</dt><dd>by <bdi>local-operator</bdi></dd>"), "{page}");

    let victims = format!("/api/v1/mitigations/{id}/victims?state=stayed");
    let first = stage.app.get(&format!("{victims}&limit=4")).await.json();
    let rest = stage.app.get(&format!("{victims}&from={}", first["next"])).await.json();
    let lists = [&first, &rest].map(|page| page["victims"].as_array().unwrap());
    assert_eq!((lists[0].len(), lists[1].len(), &rest["next"]), (4, 2, &Value::Null));
    assert!(lists.into_iter().flatten().all(|victim| victim["state"] == "stayed"), "{first:#} {rest:#}");
    let problem = stage.app.get(&format!("/api/v1/mitigations/{id}/victims?state=cut")).await.problem(400);
    assert!(problem.starts_with("state: `cut` is not one of pending, sent, "), "{problem}");
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_whom_nobody_can_see_it_is_not_said_that_they_left() {
    let stage = Stage::two(&format!("{OPEN}, batch: 20, drain_wait: 4s")).await;
    let _seen = leaky(&stage.servers[0], 5, Options::default()).await;
    let _unseen = leaky(&stage.servers[1], 4, Options::default()).await;
    let _others = named(&stage.servers[0], "orders", 20, Options::default()).await;
    let stopped = stop_a_drain(&stage).await;
    assert_eq!(stopped["progress"], json!({ "asked": 9 }));
    stage.servers[1].process.hang().await;
    stage.app.advance(Duration::from_secs(4));
    stage.app.run_jobs().await;
    stage.servers[1].process.go_on();
    assert_eq!(stage.mitigation(&stopped).await["progress"], json!({ "asked": 4, "stayed": 5 }));
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_batch_asks_while_the_run_is_stopped_is_looked_at_too() {
    let stage = Stage::one(NEWEST, &format!("{OPEN}, drain_wait: 4s")).await;
    let _deaf = leaky(&stage.servers[0], 6, Options::default()).await;
    let _others = named(&stage.servers[0], "orders", 20, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "drain").await;
    assert_eq!(stage.execute(&plan).await.status, 200);
    let id = plan["id"].as_str().unwrap();
    // a batch of two is under way when somebody stops it
    let write = async |state| {
        let victims = plan["plan"]["victims"].as_array().unwrap()[..2].iter().map(|victim| JournalLine {
            victim: serde_json::from_value(victim.clone()).unwrap(),
            state,
            at: stage.app.state.clock.now(),
            error: None,
        });
        let mut tx = stage.app.state.store.write().await.unwrap();
        store::victims::record(&mut tx, id.parse().unwrap(), &victims.collect::<Vec<_>>()).await.unwrap();
        store::commit(tx).await.unwrap();
    };
    write(VictimState::Sent).await;
    let stopped = stage.act(&format!("/api/v1/mitigations/{id}/stop"), json!({ "reason": "no" })).await;
    assert_eq!(stopped.json()["progress"], json!({ "sent": 2, "spared": 4 }));
    let page = stage.app.browse(&format!("/mitigations/{id}")).await.text;
    assert!(page.contains("2 victims were to be asked to leave or cut when the run ended"), "{page}");
    write(VictimState::Asked).await;
    stage.app.run_jobs().await;
    stage.app.advance(Duration::from_secs(4));
    stage.app.run_jobs().await;
    assert_eq!(stage.mitigation(&plan).await["progress"], json!({ "stayed": 2, "spared": 4 }));
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_stayed_and_is_not_cut_yet_when_the_run_is_stopped_is_looked_at_too() {
    let guards = OPEN.replace("max_victims: 100", "max_victims: 300");
    let stage = Stage::one(NEWEST, &format!("{guards}, batch: 300, drain_wait: 4s")).await;
    let server = &stage.servers[0];
    let deaf = leaky(server, 300, Options::default()).await;
    let _others = named(server, "orders", 250, Options::default()).await;
    let witness = Witness::start(server).await;
    let body = json!({ "cluster": "prod", "action": "drain", "selector": { "application": "leaky" } });
    let plan = stage.act("/api/v1/plans", body).await.json();
    assert_eq!(stage.execute(&plan).await.status, 200);
    stage.app.run_jobs().await;
    assert_eq!(stage.mitigation(&plan).await["progress"], json!({ "asked": 300 }));

    stage.app.advance(Duration::from_secs(4));
    let path = format!("/api/v1/mitigations/{}/stop", plan["id"].as_str().unwrap());
    let stop_in_the_middle = async {
        witness.wait_for(1).await;
        server.process.hang().await;
        let stopped = stage.act(&path, json!({ "reason": "wrong one" })).await;
        server.process.go_on();
        assert_eq!(stopped.status, 200, "{}", stopped.text);
    };
    tokio::join!(stage.app.run_jobs(), stop_in_the_middle);
    let progress = stage.mitigation(&plan).await["progress"].clone();
    let cut = progress["confirmed"].as_u64().unwrap();
    assert!(cut < 300, "it was stopped too late");
    assert_eq!(progress, json!({ "confirmed": cut, "asked": 300 - cut }));
    // who was not cut was asked once only
    let metrics = stage.app.get("/metrics").await.text;
    for line in [
        "requests_total{action=\"drain\",state=\"asked\"} 300".to_owned(),
        format!("requests_total{{action=\"drain\",state=\"confirmed\"}} {cut}"),
        "requests_total{action=\"drain\",state=\"error\"} 0".to_owned(),
        "connwarden_mitigations_total{action=\"kick\",outcome=\"worse\"} 0".to_owned(),
        "connwarden_mitigations_total{action=\"drain\",outcome=\"asked\"} 1".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }

    for _ in 0..2 {
        stage.app.advance(Duration::from_secs(4));
        stage.app.run_jobs().await;
    }
    assert_eq!(stage.mitigation(&plan).await["progress"], json!({ "confirmed": cut, "stayed": 300 - cut }));
    assert_eq!(deaf.counts().connected as u64, 300 - cut, "nobody is cut after a stop");
    stage.app.finish().await;
}

/// Asks all leaky clients to leave, and stops the run then.
async fn stop_a_drain(stage: &Stage) -> Value {
    let plan = stage.plan(json!({ "application": "leaky" }), "drain").await;
    let begun = stage.execute(&plan).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    stage.app.run_jobs().await;
    let path = format!("/api/v1/mitigations/{}/stop", plan["id"].as_str().unwrap());
    let stopped = stage.act(&path, json!({ "reason": "wrong one" })).await.json();
    assert_eq!((&stopped["state"], &stopped["stop"]), (&json!("stopped"), &json!("asked")), "{stopped:#}");
    stopped
}

async fn leaky(server: &NatsServer, clients: usize, options: Options) -> Swarm {
    named(server, "leaky-{pod}", clients, options).await
}

async fn named(server: &NatsServer, name: &str, clients: usize, options: Options) -> Swarm {
    let model = ClientSpec::new(server.clients);
    let population = Population::new(model, clients)
        .names([(name, 1)])
        .users([("alice", "secret", 1)])
        .seed(clients as u64);
    options.opened(&population).await
}
