//! The whole chain of a false "resolved": the exporter dies, Prometheus ends the alert, Alertmanager reports that, and
//! nothing is over. Every part of it is real, and the connections are.

use serde_json::{Value, json};

use crate::harness::alertmanager::{Alertmanager, Setup, route};
use crate::harness::daemon::Daemon;
use crate::harness::document::{entries, timeline};
use crate::harness::eventually;
use crate::harness::nats::{NEWEST, NatsServer};
use crate::harness::payload::ALERT;
use crate::harness::prometheus::{Exporter, Prometheus};
use crate::harness::tee::Tee;
use crate::swarm::{ClientSpec, Options, Swarm};

/// From how many connections on the alert fires, and how many there are.
const THRESHOLD: u64 = 10;
const CONNECTIONS: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_that_dies_ends_no_incident_and_the_timeline_says_why() {
    let nats = NatsServer::start(NEWEST, "").await;
    let swarm =
        Swarm::open(vec![ClientSpec::new(nats.clients); CONNECTIONS], Options::default()).await.unwrap();
    let exporter = Exporter::start(nats.connections().await).await;
    let target = exporter.target();

    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("connwarden.yml");
    // the threshold is in the alert's own expression
    let text = format!(
        "incidents: {{ verify_interval: 1s }}\nclusters: [{{ name: lab, monitor: '{}' }}]\n",
        nats.monitor
    );
    std::fs::write(&config, text).unwrap();
    let daemon =
        Daemon::start(directory.path(), &["--config.file".to_owned(), config.display().to_string()]).await;
    let tee = Tee::before(daemon.webhook()).await;
    let setup = Setup { route: route("100ms", "1s"), ..Setup::default() };
    let am = Alertmanager::set_up(&tee.url, setup).await;
    let prometheus = Prometheus::start(&exporter, &am.url, THRESHOLD).await;
    daemon.incident("an incident", |incident| incident["state"] == "triggered").await;

    drop(exporter);
    prometheus.fires(0).await;
    let said_over = |notification: &Value| notification["status"] == "resolved";
    eventually("a resolved", async || tee.notifications().iter().any(said_over).then_some(())).await;
    let unbroken = |incident: &Value| timeline(incident).contains(&"false_resolve");
    let incident = daemon.incident("a false resolve", unbroken).await;
    assert_eq!(incident["state"], "triggered");
    let (_, why) = entries(&incident).find(|(kind, _)| *kind == "false_resolve").unwrap();
    assert_eq!(
        why,
        "false resolve: all alerts are reported resolved, but nats-test has 25 connections (threshold 10); is the \
         exporter or Prometheus down?"
    );

    // the exporter is back: the alert fires again, and then it is really over
    let exporter = Exporter::start_at(target, nats.connections().await).await;
    prometheus.fires(1).await;
    let fires = |incident: &Value| incident["alerts"][0]["status"] == "firing";
    let incident = daemon.incident("an alert that fires again", fires).await;
    assert_eq!((&incident["state"], &incident["reopened"]), (&json!("triggered"), &json!(0)));
    drop(swarm);
    eventually("no connections", async || (nats.connections().await == 0).then_some(())).await;
    exporter.tell(0);
    let incident = daemon.incident("the end", |incident| incident["state"] == "resolved").await;
    assert_eq!(incident["resolution"], "verified");
    let list = daemon.get("api/v1/incidents").await;
    assert_eq!(
        list["incidents"].as_array().unwrap().len(),
        1,
        "{ALERT} is one incident all the time: {list:#}"
    );
}
