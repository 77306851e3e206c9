//! Who was never seen in a cluster before the trouble began.

use std::time::Duration;

use crate::harness::eventually;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer};
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::test_app::TestApp;
use crate::swarm::{ClientSpec, Options, Swarm};

fn clients(nats: &NatsServer, name: &str, address: u8, count: usize) -> Vec<ClientSpec> {
    let client =
        ClientSpec::new(nats.clients).name(name).user("alice", "secret").source([127, 0, 0, address]);
    vec![client; count]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_no_look_has_shown_before_is_told_as_such_and_others_are_not() {
    let nats = NatsServer::start_named("nats-1", NEWEST, ACCOUNTS).await;
    let swarm = Swarm::open(clients(&nats, "billing", 1, 10), Options::default()).await.unwrap();
    let app = TestApp::watching([&nats.monitor]).await;
    let mut sampler = app.state.engine.sampler("nats").unwrap();
    app.state.engine.sample(&mut sampler).await.unwrap();

    app.advance(Duration::from_secs(600));
    swarm.add(clients(&nats, "orders", 1, 60)).await.unwrap();
    swarm.add(clients(&nats, "billing", 7, 55)).await.unwrap();
    eventually("all connections", async || (nats.connections().await == 125).then_some(())).await;
    let answer = app.notify(notification(&[firing(ALERT, "nats-1:7777")])).await;
    app.run_jobs().await;

    let id = answer.json()["incidents"][0].as_str().unwrap().to_owned();
    let incident = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    let step = &incident["diagnosis"]["steps"][2];
    assert_eq!((&step["step"], &step["status"]), (&"changes".into(), &"finding".into()));
    let said = step.to_string();
    for newcomer in [
        "The application orders, with 60 connections, was first seen 0s before the alert.",
        "The address 127.0.0.7, with 55 connections, was first seen 0s before the alert.",
    ] {
        assert!(said.contains(newcomer), "no {newcomer} in {said}");
    }
    assert!(!said.contains("billing") && !said.contains("alice"), "{said}");
    app.finish().await;
}
