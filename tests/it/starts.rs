//! Start times: an incident's look tells when those that are connected began, to whoever asks for it.

use std::time::Duration;

use serde_json::Value;

use crate::harness::fixture;
use crate::harness::nats::{NEWEST, NatsServer, OLDER};
use crate::harness::test_app::TestApp;
use crate::swarm::{ClientSpec, Options, Swarm};
use connwarden::config::Config;
use connwarden::model::breakdown::Breakdown;

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_tells_when_its_connections_began() {
    for line in [OLDER, NEWEST] {
        let nats = NatsServer::start(line, "").await;
        let clients = vec![ClientSpec::new(nats.clients).name("orders-api"); 7];
        let swarm = Swarm::open(clients, Options::default()).await.unwrap();
        let app = TestApp::beginning(
            "2026-03-01T12:00:00Z".parse().unwrap(),
            Config::from_monitors(vec![nats.monitor.clone()]),
        )
        .await;
        // no look of the incident's is shared with this one
        let live = app.get("/api/v1/clusters/default/breakdown?by=application").await.json();
        let answer = app.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await;
        app.run_jobs().await;
        let id = answer.json()["incidents"][0].as_str().unwrap().to_owned();

        let plain = app.get(&format!("/api/v1/incidents/{id}")).await;
        assert!(!plain.text.contains("\"starts\""), "nobody asked for them");
        assert!(!live.to_string().contains("\"starts\""));
        let asked = app.get(&format!("/api/v1/incidents/{id}?starts=true")).await.json();
        for by in ["application", "ip", "account", "user", "application/ip"] {
            let breakdown = breakdown(&asked, by);
            assert_eq!((breakdown.starts.total(), breakdown.groups[0].starts.total()), (7, 7), "{by}");
            // by our clock, which is far from the server's
            let since = |seconds| app.clock.now().checked_sub(Duration::from_secs(seconds)).unwrap();
            assert_eq!(breakdown.starts.opened_since(since(600)), 7, "{:?}", breakdown.starts);
        }
        assert!(breakdown(&asked, "library").starts.is_empty());
        swarm.close().await;
        app.finish().await;
    }
}

fn breakdown(incident: &Value, by: &str) -> Breakdown {
    serde_json::from_value(incident["breakdowns"][by].clone()).unwrap()
}
