//! The system account: every server of a cluster looked at over NATS itself, and what is left when servers fail.

mod access;
mod capabilities;
mod control;
mod daemon;
mod picks;
mod ways;

use std::path::{Path, PathBuf};
use std::time::Duration;

use connwarden::app;
use connwarden::clock::Clock;
use connwarden::config::Config;
use connwarden::model::breakdown::By;
use connwarden::model::snapshot::{Snapshot, Via};
use connwarden::observe::sweep::{ClusterTargets, Observer};
use connwarden::observe::users::UserMask;
use connwarden::observe::wishes::Wishes;
use connwarden::telemetry::metrics::Metrics;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer, OLDER, start_cluster};
use crate::harness::test_app::TestApp;
use crate::harness::{eventually, http};
use crate::swarm::{ClientSpec, Options, Population, Swarm};

/// A connwarden's eyes on one cluster, and the directory of its secrets.
struct Eyes {
    observer: Observer,
    targets: ClusterTargets,
    _secrets: TempDir,
}

impl Eyes {
    /// Looks at a cluster by the system account, and by the monitoring ports of some of its servers.
    fn new(urls: &[String], monitored: &[&NatsServer]) -> Self {
        Self::with(urls, monitored, "timeout: 30s", ("sys", "secret"))
    }

    fn with(
        urls: &[String],
        monitored: &[&NatsServer],
        observe: &str,
        (user, password): (&str, &str),
    ) -> Self {
        let secrets = tempfile::tempdir().unwrap();
        let config = config(urls, monitored, observe, user, &secret(&secrets, password));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let observer = app::observer(&config, UserMask::new(&[7; 32]), Clock::system());
        let targets = app::watched(&config.clusters[0], &config, "test", &Metrics::new());
        Self { observer, targets, _secrets: secrets }
    }

    async fn look(&self) -> Snapshot {
        self.observer.sweep(&self.targets, &Wishes::everything()).await
    }
}

fn secret(directory: &TempDir, password: &str) -> PathBuf {
    let file = directory.path().join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    file
}

fn config(urls: &[String], monitored: &[&NatsServer], observe: &str, user: &str, password: &Path) -> Config {
    let monitors: Vec<&str> = monitored.iter().map(|server| server.monitor.as_str()).collect();
    let monitor = if monitors.is_empty() { String::new() } else { format!("    monitor: {monitors:?}\n") };
    let text = format!(
        "observe:\n  {observe}\nclusters:\n  - name: prod\n{monitor}    system_account:\n      urls: {urls:?}\n      \
         user: {user}\n      password_file: {password:?}\n"
    );
    Config::parse(&text, "connwarden.yml", &|_| unreachable!("no secret is read with the file"))
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn urls(servers: &[NatsServer]) -> Vec<String> {
    servers.iter().map(NatsServer::url).collect()
}

/// Clients of several applications, users and accounts, spread over the servers.
async fn clients(servers: &[NatsServer]) -> Swarm {
    let model = ClientSpec::new(servers[0].clients).subscriptions(2);
    let population = Population::new(model, 120)
        .names([("orders-api-{pod}", 6), ("billing", 3), ("", 1)])
        .users([("alice", "secret", 3), ("bob", "secret", 2), ("carol", "secret", 1)])
        .servers(servers.iter().map(|server| server.clients));
    Swarm::open(population.plan().unwrap(), Options::default()).await.unwrap()
}

/// The coverage of each server: name, by which way it was seen, how many connections, and what went wrong.
fn servers(snapshot: &Snapshot) -> Vec<(String, String, u64, Option<String>)> {
    let servers = snapshot.coverage.servers.iter().map(|server| {
        let via = server.via.map_or("unseen", |via| via.name());
        (server.display_name().to_owned(), via.to_owned(), server.seen, server.error.clone())
    });
    servers.collect()
}

/// The breakdowns, without the traffic of groups in which our own connection is, which goes on.
fn comparable(snapshot: &Snapshot) -> Value {
    let mut breakdowns = json!(snapshot.breakdowns);
    for (by, breakdown) in breakdowns.as_object_mut().unwrap() {
        let is_ours = |group: &Value| {
            let key = group["key"].as_str().unwrap();
            !(by == "application" || by == "name") || key.starts_with("connwarden")
        };
        for group in breakdown["groups"].as_array_mut().unwrap() {
            if is_ours(group) {
                without_traffic(group);
            }
        }
        without_traffic(&mut breakdown["other"]);
        without_traffic(&mut breakdown["total"]);
    }
    breakdowns
}

fn without_traffic(figures: &mut Value) {
    for name in ["in_msgs", "out_msgs", "in_bytes", "out_bytes", "pending_bytes"] {
        figures.as_object_mut().unwrap().remove(name);
    }
}

async fn both_ways_give_the_same_snapshot(line: &str) {
    let nats = start_cluster(line, "east", 3, ACCOUNTS).await;
    let swarm = clients(&nats).await;
    // and three that have gone
    let model = ClientSpec::new(nats[0].clients).user("alice", "secret");
    Swarm::open(vec![model; 3], Options::default()).await.unwrap().close().await;
    eventually("the end of those that went", async || (nats[0].connections().await == 40).then_some(()))
        .await;
    let all: Vec<&NatsServer> = nats.iter().collect();
    // one address is enough, and the connection of the first look is there at the second
    let by_system = Eyes::new(&urls(&nats[1..2]), &[]);
    let by_http = ClusterTargets { system: None, ..Eyes::new(&urls(&nats), &all).targets };
    by_system.look().await;

    // start times are told against a whole second, the same for both
    let (system, http) = eventually("two looks within a second", async || {
        let system = by_system.look().await;
        let http = by_system.observer.sweep(&by_http, &Wishes::everything()).await;
        (system.taken_at.as_second() == http.taken_at.as_second()).then_some((system, http))
    })
    .await;
    assert!(system.coverage.complete && http.coverage.complete, "{:?} {:?}", system.coverage, http.coverage);
    assert_eq!((system.coverage.seen, http.coverage.seen), (121, 121));
    let seen = |via: &str, snapshot: &Snapshot| {
        let mut told = servers(snapshot);
        told.iter_mut().for_each(|(_, way, ..)| assert_eq!(std::mem::take(way), via));
        told
    };
    assert_eq!(seen("system", &system), seen("http", &http));
    let whole = |snapshot: &Snapshot| {
        let told = snapshot.coverage.servers.iter().map(|server| {
            let (id, version) = (server.server_id.clone().unwrap(), server.version.clone().unwrap());
            (id, version, server.connz_total, server.varz_connections, server.max_connections)
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(whole(&system), whole(&http));
    assert_eq!(system.breakdowns.len(), By::standard().len());
    assert_eq!(comparable(&system), comparable(&http));
    let (closed, closed_by_http) = (system.closed.unwrap(), http.closed.unwrap());
    assert_eq!(closed.servers.iter().map(|server| server.listed).sum::<u64>(), 3, "{closed:?}");
    let without_times = |closed| {
        let mut closed = json!(closed);
        for server in closed["servers"].as_array_mut().unwrap() {
            server.as_object_mut().unwrap().remove("at");
        }
        closed
    };
    assert_eq!(without_times(&closed), without_times(&closed_by_http));
    // packed, many times smaller
    assert!(system.coverage.bytes * 4 < http.coverage.bytes, "{:?} {:?}", system.coverage, http.coverage);
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_servers_show_the_same_both_ways() {
    both_ways_give_the_same_snapshot(NEWEST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_servers_show_the_same_both_ways() {
    both_ways_give_the_same_snapshot(OLDER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stopped_and_one_that_hangs_are_named_in_time() {
    let mut nats = start_cluster(NEWEST, "east", 4, ACCOUNTS).await;
    let swarm = clients(&nats).await;
    let eyes = Eyes::with(&urls(&nats[..1]), &[], "timeout: 5s", ("sys", "secret"));
    let whole = eyes.look().await;
    assert!(whole.coverage.complete, "{:?}", whole.coverage);
    assert_eq!(whole.coverage.seen, 121);

    nats[2].kill();
    nats[3].process.hang().await;
    let begun = Clock::system().stopwatch();
    let partial = eyes.look().await;
    let took = begun.elapsed();
    nats[3].process.go_on();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(!partial.coverage.complete && partial.coverage.system_error.is_none(), "{:?}", partial.coverage);
    let told = servers(&partial);
    let names: Vec<&str> = told.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["east-0", "east-1", "east-2", "east-3"]);
    for (_, via, seen, error) in &told[..2] {
        assert_eq!((via.as_str(), error.as_deref()), ("system", None));
        assert!(*seen >= 30, "{seen}");
    }
    for ((name, via, seen, error), reason) in told[2..].iter().zip([
        "no server that answered has a route to it: it has stopped, or is cut off",
        "its neighbours still have routes to it: it hangs",
    ]) {
        assert_eq!((via.as_str(), *seen), ("unseen", 0));
        let error = error.as_deref().unwrap();
        assert!(error.starts_with(&format!("{name}: no answer to PING")), "{error}");
        assert!(error.contains(reason) && error.contains("last there at 20"), "{error}");
    }

    // it comes back, and nothing has to be done for that
    eventually("three servers", async || {
        let snapshot = eyes.look().await;
        (servers(&snapshot).iter().filter(|(_, via, ..)| via == "system").count() == 3).then_some(())
    })
    .await;
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_never_there_is_missed_by_its_neighbours() {
    let nats = start_cluster(NEWEST, "east", 3, ACCOUNTS).await;
    nats[1].process.hang().await;
    let eyes = Eyes::with(&urls(&nats[..1]), &[], "timeout: 5s", ("sys", "secret"));
    let partial = eyes.look().await;
    nats[1].process.go_on();
    let told = servers(&partial);
    let ways: Vec<_> = told.iter().map(|(name, via, ..)| (name.as_str(), via.as_str())).collect();
    assert_eq!(ways, [("east-0", "system"), ("east-1", "unseen"), ("east-2", "system")]);
    let error = told[1].3.as_deref().unwrap();
    assert!(error.contains("it hangs") && error.contains("not there since"), "{error}");
}
