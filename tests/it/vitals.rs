//! Vitals: what real servers say of themselves, and what two looks at them make.

use std::time::Duration;

use connwarden::app;
use connwarden::clock::Clock;
use connwarden::config::Config;
use connwarden::model::vitals::Churn;
use connwarden::nats::monitoring::{MonitoringClient, MonitoringSettings};
use connwarden::observe::sweep::{ClusterTargets, Observer};
use connwarden::observe::users::UserMask;
use connwarden::observe::wishes::Wishes;
use url::Url;

use crate::harness::eventually;
use crate::harness::fake::ClosedPort;
use crate::harness::nats::{NEWEST, NatsServer, OLDER};
use crate::swarm::{ClientSpec, Options, Swarm};

#[tokio::test(flavor = "multi_thread")]
async fn what_came_and_went_between_two_looks_is_counted() {
    for line in [OLDER, NEWEST] {
        let nats = NatsServer::start(line, "").await;
        let (observer, targets) = observer([&nats.monitor]);
        let stay = Swarm::open(vec![ClientSpec::new(nats.clients); 3], Options::default()).await.unwrap();
        let snapshot = observer.sweep(&targets, &Wishes::default()).await;
        let before = snapshot.coverage.servers[0].vitals.clone().unwrap();

        let pass = Swarm::open(vec![ClientSpec::new(nats.clients); 5], Options::default()).await.unwrap();
        pass.close().await;
        let more = Swarm::open(vec![ClientSpec::new(nats.clients); 2], Options::default()).await.unwrap();
        eventually("the end of those that went", async || (nats.connections().await == 5).then_some(()))
            .await;

        let (name, after) = observer.vitals(&targets).await.remove(0);
        let churn = Churn::between(&name, &before, &after.unwrap()).unwrap();
        assert_eq!(
            (churn.server.as_str(), churn.attempts, churn.closed, churn.grown),
            ("nats-test", 7, 5, 2)
        );
        stay.close().await;
        more.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_is_told_once_and_one_that_is_silent_with_its_reason() {
    let nats = NatsServer::start(NEWEST, "max_connections: 77").await;
    let closed = ClosedPort::new();
    let twin = Url::parse(&nats.monitor.as_str().replace("127.0.0.1", "localhost")).unwrap();
    let (observer, targets) = observer([&closed.url, &nats.monitor, &twin]);
    let told = observer.vitals(&targets).await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].0, closed.url.as_str().trim_end_matches('/'));
    let error = told[0].1.as_ref().unwrap_err().to_string();
    assert!(error.contains("/varz: cannot connect"), "{error}");
    let vitals = told[1].1.as_ref().unwrap();
    assert_eq!((told[1].0.as_str(), vitals.max_connections), ("nats-test", Some(77)));
    assert!(vitals.started_at < vitals.at && vitals.memory_bytes > Some(1 << 20), "{vitals:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_under_two_addresses_has_its_vitals_once() {
    let nats = NatsServer::start(NEWEST, "").await;
    let twin = Url::parse(&nats.monitor.as_str().replace("127.0.0.1", "localhost")).unwrap();
    let (observer, targets) = observer([&nats.monitor, &twin]);
    let snapshot = observer.sweep(&targets, &Wishes { closed: true, ..Wishes::default() }).await;
    let told: Vec<bool> = snapshot.coverage.servers.iter().map(|server| server.vitals.is_some()).collect();
    assert_eq!(told, [true, false]);
    assert_eq!(snapshot.closed.unwrap().servers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_in_the_configuration_of_a_server_is_told_by_none() {
    for line in [OLDER, NEWEST] {
        let config =
            "accounts { APP { users: [ { user: a, password: b } ], limits { max_connections: 50 } } }";
        let nats = NatsServer::start(line, config).await;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = MonitoringClient::new(MonitoringSettings {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            max_reply_bytes: 1 << 20,
        });
        for account in ["APP", "NOBODY"] {
            assert_eq!(client.account_limit(&nats.monitor, None, account).await.unwrap(), None, "{line}");
        }
        let closed = ClosedPort::new();
        let error = client.account_limit(&closed.url, None, "APP").await.unwrap_err().to_string();
        assert!(error.contains("/accountz?acc=APP: cannot connect"), "{error}");
    }
}

fn observer<'a>(monitors: impl IntoIterator<Item = &'a Url>) -> (Observer, ClusterTargets) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config::from_monitors(monitors.into_iter().cloned().collect());
    let observer = app::observer(&config, UserMask::new(&[7; 32]), Clock::system());
    (observer, app::targets(&config.clusters[0]))
}
