//! A group that Alertmanager cuts: the rest is asked for.

use connwarden::clock::Clock;
use serde_json::{Value, json};
use url::Url;

use super::Scene;
use crate::harness::alertmanager::{Alertmanager, Setup};
use crate::harness::eventually;
use crate::harness::fake::ClosedPort;
use crate::harness::payload::ALERT;
use crate::harness::tee::Tee;

/// What Alertmanager posts of a group of five when it may post two.
async fn cut_notification() -> (Alertmanager, Value) {
    let tee = Tee::before_nothing().await;
    let setup = Setup { webhook: "max_alerts: 2".to_owned(), ..Setup::default() };
    let am = Alertmanager::set_up(&tee.url, setup).await;
    let started_at = Clock::system().now().to_string();
    let alert = |number: u32| {
        let labels = json!({ "alertname": ALERT, "server_id": "nats-test", "instance": format!("nats-{number}:7777") });
        json!({ "labels": labels, "startsAt": started_at })
    };
    am.push(&(1..=5).map(alert).collect()).await;
    let is_cut = |notification: &Value| notification["truncatedAlerts"] == 3;
    let notification = eventually("a notification of the whole group", async || {
        tee.notifications().into_iter().find(is_cut)
    })
    .await;
    assert_eq!(notification["alerts"].as_array().unwrap().len(), 2);
    (am, notification)
}

async fn told(scene: &Scene, am: &Url) -> String {
    scene.told(&[(am, "http://am")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_is_asked_for() {
    let (am, notification) = cut_notification().await;
    let scene = Scene::asking(&[&am.url], "").await;
    assert_eq!(scene.app.notify(notification.to_string()).await.status, 202);
    scene.app.run_jobs().await;
    let incident = scene.incident().await;
    let instances: Vec<&Value> =
        incident["alerts"].as_array().unwrap().iter().map(|alert| &alert["labels"]["instance"]).collect();
    assert_eq!(instances.len(), 5, "{instances:?}");
    insta::assert_snapshot!(told(&scene, &am.url).await, @r#"
    opened: NatsHighNumberOfConnections of nats-test, on no configured cluster: no matchers hold for the alert and no configured server is named by it, so NATS was not looked at
    alert_joined: fires: server_id="nats-test" instance="nats-1:7777"
    alert_joined: fires: server_id="nats-test" instance="nats-2:7777"
    truncated: the sender left 3 more alerts of the group out; Alertmanager is asked for them
    alert_joined: fires: server_id="nats-test" instance="nats-5:7777"
    alert_joined: fires: server_id="nats-test" instance="nats-4:7777"
    alert_joined: fires: server_id="nats-test" instance="nats-3:7777"
    reconciled: asked for the rest of the group: 3 more alerts of it fire (http://am (up …))
    "#);

    // the same again is not asked for again
    assert_eq!(scene.app.notify(notification.to_string()).await.status, 202);
    let before = scene.incident().await;
    scene.app.run_jobs().await;
    assert_eq!(scene.incident().await["timeline"], before["timeline"]);
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_answers_the_timeline_says_so_in_the_end() {
    let (_am, notification) = cut_notification().await;
    let nobody = ClosedPort::new();
    let scene = Scene::asking(&[&nobody.url], "").await;
    assert_eq!(scene.app.notify(notification.to_string()).await.status, 202);
    for _ in 0..5 {
        scene.app.run_jobs().await;
        scene.app.advance(std::time::Duration::from_secs(60));
    }
    assert_eq!(scene.incident().await["alerts"].as_array().unwrap().len(), 2);
    insta::assert_snapshot!(told(&scene, &nobody.url).await, @r#"
    opened: NatsHighNumberOfConnections of nats-test, on no configured cluster: no matchers hold for the alert and no configured server is named by it, so NATS was not looked at
    alert_joined: fires: server_id="nats-test" instance="nats-1:7777"
    alert_joined: fires: server_id="nats-test" instance="nats-2:7777"
    truncated: the sender left 3 more alerts of the group out; Alertmanager is asked for them
    reconciled: the rest of the group could not be asked for: GET http://am/api/v2/alerts?filter=alertname%3D%22NatsHighNumberOfConnections%22&receiver=connwarden&active=true&silenced=true&inhibited=true&unprocessed=true: cannot connect: Connection refused (os error 111)
    "#);
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_configured_the_timeline_says_so_at_once() {
    let (am, notification) = cut_notification().await;
    let scene = Scene::asking(&[], "").await;
    assert_eq!(scene.app.notify(notification.to_string()).await.status, 202);
    insta::assert_snapshot!(told(&scene, &am.url).await, @r#"
    opened: NatsHighNumberOfConnections of nats-test, on no configured cluster: no matchers hold for the alert and no configured server is named by it, so NATS was not looked at
    alert_joined: fires: server_id="nats-test" instance="nats-1:7777"
    alert_joined: fires: server_id="nats-test" instance="nats-2:7777"
    truncated: the sender left 3 more alerts of the group out; they cannot be asked for, because no Alertmanager is configured (alertmanagers[].url)
    "#);
    scene.app.finish().await;
}
