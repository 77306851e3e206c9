//! Ends of the daemon, sudden and soft: what was answered with 2xx is done, whatever happens to the process.
//!
//! A gate before the monitoring port holds the look that a notification causes, so that the end comes in the middle.

use std::net::Ipv4Addr;
use std::path::Path;

use connwarden::store::Store;
use serde_json::Value;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::harness::daemon::{Daemon, run};
use crate::harness::document::{entries, groups, timeline};
use crate::harness::fake::Gate;
use crate::harness::nats::{NEWEST, NatsServer};
use crate::harness::{eventually, fixture, http};
use crate::swarm::{ClientSpec, Options, Population, Swarm};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_does_at_its_next_start_what_it_had_promised() {
    let (nats, _swarm) = crowded_server().await;
    let (gate, directory) = (Gate::before(&nats.monitor).await, tempfile::tempdir().unwrap());
    let mut daemon = looking(directory.path(), &gate, &[]).await;
    daemon.process.kill();
    assert_eq!(
        stored(directory.path()).await,
        Stored { notifications: 1, incidents: 1, snapshots: 0, jobs: 1 }
    );

    gate.open();
    let mut daemon = Daemon::watching(directory.path(), [&gate.url]).await;
    let incident = daemon.incident("the look that was cut short", has_snapshot).await;
    assert_eq!(groups(&incident, "application")["orders-api"], 12);
    assert_eq!(timeline(&incident), ["opened", "alert_joined", "observed"]);

    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    assert_eq!(
        stored(directory.path()).await,
        Stored { notifications: 1, incidents: 1, snapshots: 1, jobs: 0 }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_a_crash_cut_short_is_no_failed_one() {
    let (nats, _swarm) = crowded_server().await;
    let (gate, directory) = (Gate::before(&nats.monitor).await, tempfile::tempdir().unwrap());
    for _ in 0..2 {
        looking(directory.path(), &gate, &[]).await.process.kill();
    }
    let arguments = impatient(directory.path(), &gate);
    let daemon = Daemon::start(directory.path(), &arguments).await;
    let failed = |incident: &Value| timeline(incident).contains(&"observation_failed");
    let incident = daemon.incident("a look in vain", failed).await;
    assert_eq!(timeline(&incident), ["opened", "alert_joined", "observation_failed"]);
    let (_, text) = entries(&incident).last().unwrap();
    assert!(text.contains("no complete answer within 1s; trying again in 5s"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_stop_finishes_the_look_that_has_begun() {
    let (nats, _swarm) = crowded_server().await;
    let (gate, directory) = (Gate::before(&nats.monitor).await, tempfile::tempdir().unwrap());
    let mut daemon = looking(directory.path(), &gate, &[]).await;
    stop_softly(&mut daemon).await;
    gate.open();
    assert!(daemon.process.ended().await.success());
    assert!(daemon.process.log().contains("everything that had begun is finished"));
    assert_eq!(
        stored(directory.path()).await,
        Stored { notifications: 1, incidents: 1, snapshots: 1, jobs: 0 }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_stop_waits_no_longer_than_the_look_and_the_next_start_tries_again() {
    let (nats, _swarm) = crowded_server().await;
    let (gate, directory) = (Gate::before(&nats.monitor).await, tempfile::tempdir().unwrap());
    let arguments = impatient(directory.path(), &gate);
    let mut daemon = looking(directory.path(), &gate, &arguments).await;
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    assert!(daemon.process.log().contains("everything that had begun is finished"));
    assert_eq!(
        stored(directory.path()).await,
        Stored { notifications: 1, incidents: 1, snapshots: 0, jobs: 1 }
    );

    gate.open();
    let daemon = Daemon::start(directory.path(), &arguments).await;
    let incident = daemon.incident("the second look", has_snapshot).await;
    assert_eq!(timeline(&incident), ["opened", "alert_joined", "observation_failed", "observed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_hard_and_the_next_start_goes_on() {
    let (nats, _swarm) = crowded_server().await;
    let (gate, directory) = (Gate::before(&nats.monitor).await, tempfile::tempdir().unwrap());
    let mut daemon = looking(directory.path(), &gate, &[]).await;
    stop_softly(&mut daemon).await;
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    assert!(daemon.process.log().contains("stopped hard; jobs that had begun go on at the next start"));

    gate.open();
    let daemon = Daemon::watching(directory.path(), [&gate.url]).await;
    let incident = daemon.incident("the look that was cut short", has_snapshot).await;
    assert_eq!(timeline(&incident), ["opened", "alert_joined", "observed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_directory_is_told_who_holds_it() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;
    let storage = directory.path().join("data");
    let storage = storage.to_str().unwrap();
    let arguments = ["serve", "--storage.path", storage, "--web.listen-address", "127.0.0.1:0"];
    let (code, _, errors) = run(&arguments).await;
    assert_eq!(code, 1);
    let (holder, last) = (daemon.process.id(), errors.lines().last().unwrap());
    assert_eq!(
        last,
        format!(
            "connwarden: cannot use the storage directory {storage}: another connwarden (process {holder}) is \
             using it"
        )
    );
    daemon.get("api/v1/incidents").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_signal_ends_what_a_hard_stop_waits_for() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--log.level", "info,tower_http=debug"].map(str::to_owned);
    let mut daemon = Daemon::start(directory.path(), &arguments).await;
    let file = directory.path().join("data/connwarden.db");
    let mut outsider = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut outsider).await.unwrap();
    // it waits for the lock, and who closes the store waits for it
    let body = fixture("alertmanager/single-firing.am-0.33.1.json");
    let sending = tokio::spawn(http().post(daemon.webhook()).body(body).send());
    let begun = |line: &str| (line.contains("started processing") && line.contains("POST")).then_some(());
    daemon.process.logged("the notification", begun).await;

    for count in 1..=2 {
        daemon.process.terminate();
        eventually("the signal", async || {
            let log = daemon.process.log();
            (log.matches("SIGTERM received, stopping").count() == count).then_some(())
        })
        .await;
    }
    daemon.process.terminate();
    assert_eq!(daemon.process.ended().await.code(), Some(1));
    assert!(daemon.process.log().contains("SIGTERM received for the third time"));
    sending.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_told_to_reload_goes_on_and_says_that_it_takes_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    for _ in 0..2 {
        daemon.process.hang_up();
        let said = |line: &str| {
            (line.contains("WARN") && line.contains("SIGHUP received, going on as before")).then_some(())
        };
        daemon.process.logged("what it says of SIGHUP", said).await;
        daemon.get("api/v1/incidents").await;
    }
    stop_softly(&mut daemon).await;
    assert!(daemon.process.ended().await.success());
}

/// A server with twenty connections, twelve of them of one application.
async fn crowded_server() -> (NatsServer, Swarm) {
    let nats = NatsServer::start(NEWEST, "").await;
    let population = Population::new(ClientSpec::new(nats.clients), 20)
        .names([("orders-api-{pod}", 3), ("billing", 2)])
        .sources([Ipv4Addr::new(127, 0, 0, 2)]);
    let swarm = Swarm::open(population.plan().unwrap(), Options::default()).await.unwrap();
    (nats, swarm)
}

/// A daemon behind a closed gate that has taken an alert in, or knows it already, and looks at the server because of
/// it.
async fn looking(directory: &Path, gate: &Gate, arguments: &[String]) -> Daemon {
    let before = gate.arrivals();
    let daemon = if arguments.is_empty() {
        Daemon::watching(directory, [&gate.url]).await
    } else {
        Daemon::start(directory, arguments).await
    };
    let (status, text) = daemon.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await;
    assert_eq!(status, 202, "{text}");
    // the first to come to the gate asks who the server is
    let arrived = async || (gate.arrivals() >= before + 2).then_some(());
    eventually("the look because of the alert", arrived).await;
    daemon
}

/// Arguments of a daemon that waits only one second for a server.
fn impatient(directory: &Path, gate: &Gate) -> Vec<String> {
    let file = directory.join("connwarden.yml");
    let config = format!(
        "observe:\n  connect_timeout: 1s\n  timeout: 1s\nclusters:\n  - name: nats\n    monitor: [\"{}\"]\n",
        gate.url
    );
    std::fs::write(&file, config).unwrap();
    vec!["--config.file".to_owned(), file.to_str().unwrap().to_owned()]
}

/// Sends SIGTERM, and waits until it has come through.
async fn stop_softly(daemon: &mut Daemon) {
    daemon.process.terminate();
    let received = |line: &str| line.contains("SIGTERM received, stopping").then_some(());
    daemon.process.logged("the signal", received).await;
}

fn has_snapshot(incident: &Value) -> bool {
    incident["snapshots"].as_array().is_some_and(|snapshots| !snapshots.is_empty())
}

/// How many rows there are.
#[derive(Debug, PartialEq, Eq)]
struct Stored {
    notifications: i64,
    incidents: i64,
    snapshots: i64,
    jobs: i64,
}

/// Looks into the storage of a daemon that has ended.
async fn stored(directory: &Path) -> Stored {
    let store = Store::open(&directory.join("data")).await.unwrap();
    let counts: (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM notifications),
                (SELECT count(*) FROM incidents),
                (SELECT count(*) FROM snapshots),
                (SELECT count(*) FROM jobs)",
    )
    .fetch_one(&mut *store.read().await.unwrap())
    .await
    .unwrap();
    store.close().await;
    let (notifications, incidents, snapshots, jobs) = counts;
    Stored { notifications, incidents, snapshots, jobs }
}
