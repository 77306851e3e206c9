//! What speaks against an end that no Alertmanager contradicts: Prometheus, and NATS itself.

use connwarden::clock::Clock;
use serde_json::json;

use super::{Scene, alertmanager};
use crate::harness::eventually;
use crate::harness::fake::ClosedPort;
use crate::harness::nats::{NEWEST, NatsServer};
use crate::harness::payload::{ALERT, notification};
use crate::harness::prometheus::{Exporter, Prometheus};
use crate::swarm::{ClientSpec, Options, Swarm};

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_objects_as_long_as_it_has_the_alert_or_cannot_know() {
    let am = alertmanager().await;
    let exporter = Exporter::start(20).await;
    let nobody = ClosedPort::new();
    let prometheus = Prometheus::start(&exporter, &nobody.url, 10).await;
    prometheus.fires(1).await;
    let scene = Scene::asking(&[&am.url], &format!("prometheus: [{{ url: '{}' }}]", prometheus.url)).await;

    // with the external label, and everything that Prometheus has
    let alert = prometheus.alert().await;
    let mut labels = alert["labels"].clone();
    labels["replica"] = json!("a");
    let firing = json!({ "status": "firing", "labels": labels, "startsAt": scene.started_at.to_string() });
    assert_eq!(scene.app.notify(notification(&[firing])).await.status, 202);
    am.push(&json!([{ "labels": labels, "startsAt": scene.started_at.to_string() }])).await;
    scene.round().await;
    let over = Clock::system().now().to_string();
    am.push(&json!([{ "labels": labels, "startsAt": scene.started_at.to_string(), "endsAt": over }])).await;
    for _ in 0..3 {
        scene.round().await;
    }
    assert_eq!(scene.state().await, "triggered", "Prometheus has it");

    // an exporter that is gone ends the alert, which does not mean that it is over
    let target = exporter.target();
    drop(exporter);
    prometheus.fires(0).await;
    scene.round().await;
    assert_eq!(scene.state().await, "triggered", "Prometheus cannot know");

    let exporter = Exporter::start_at(target, 5).await;
    prometheus.scrapes().await;
    scene.round().await;
    assert_eq!(scene.state().await, "resolved");
    insta::assert_snapshot!(scene.told(&[(&am.url, "http://am"), (&prometheus.url, "http://prometheus")]).await, @r#"
    opened: NatsHighNumberOfConnections of nats-test, on no configured cluster: no matchers hold for the alert and no configured server is named by it, so NATS was not looked at
    alert_joined: fires: server_id="nats-test" instance="127.0.0.1:…"
    reconciled: no Alertmanager lists server_id="nats-test" instance="127.0.0.1:…" any more, but it is taken to fire on: http://prometheus says that it fires
    reconciled: no Alertmanager lists server_id="nats-test" instance="127.0.0.1:…" any more (asked 5 times in a row: http://am (up …); http://prometheus does not object)
    alert_resolved: resolved: server_id="nats-test" instance="127.0.0.1:…"
    resolved: no Alertmanager knows of its alerts any more; their end was never told
    "#);
    drop(exporter);
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_objects_as_long_as_it_has_more_connections_than_the_alert_allows() {
    let nats = NatsServer::start(NEWEST, "").await;
    let specs = vec![ClientSpec::new(nats.clients); 5];
    let swarm = Swarm::open(specs, Options::default()).await.unwrap();
    let am = alertmanager().await;
    let cluster = format!(
        "clusters: [{{ name: lab, monitor: '{}', thresholds: [{{ alert: {ALERT}, connections: 3 }}] }}]",
        nats.monitor
    );
    let scene = Scene::asking(&[&am.url], &cluster).await;
    scene.app.state.engine.learn_servers().await;
    am.push(&scene.pushed(None)).await;
    scene.told_to_fire(scene.started_at).await;
    scene.app.run_jobs().await;
    scene.round().await;
    am.push(&scene.pushed(Some(Clock::system().now()))).await;
    for _ in 0..3 {
        scene.round().await;
    }
    assert_eq!(scene.state().await, "triggered", "NATS has five");
    drop(swarm);
    eventually("no connections", async || (nats.connections().await == 0).then_some(())).await;
    scene.round().await;
    assert_eq!(scene.incident().await["resolution"], "missed");
    insta::assert_snapshot!(scene.told(&[(&am.url, "http://am")]).await, @r#"
    opened: NatsHighNumberOfConnections on cluster lab
    alert_joined: fires: server_id="nats-test" instance="nats-1:7777"
    observed: saw 5 of 5 connections on 1 of 1 servers in … ms
    reconciled: no Alertmanager lists server_id="nats-test" instance="nats-1:7777" any more, but it is taken to fire on: nats-test has 5 connections (threshold 3)
    reconciled: no Alertmanager lists server_id="nats-test" instance="nats-1:7777" any more (asked 4 times in a row: http://am (up …); NATS: nats-test has 0 connections (threshold 3))
    alert_resolved: resolved: server_id="nats-test" instance="nats-1:7777"
    resolved: no Alertmanager knows of its alerts any more; their end was never told
    "#);
    scene.app.run_jobs().await;
    scene.app.finish().await;
}
