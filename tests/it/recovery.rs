//! The end of incidents, and what comes after it: what is believed, what NATS is asked, and what people decide.
//!
//! The servers are fakes, because their connections must be as many as the test says at every look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use connwarden::engine::GivenUp;
use serde_json::{Value, json};

use crate::harness::document::{entries, timeline};
use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::payload::{ALERT, firing, notification, resolved, restarted};
use crate::harness::test_app::TestApp;

/// The end of an alert that began at [`crate::harness::payload::STARTED`].
const ENDED: &str = "2026-11-24T08:59:30Z";

/// The pause between two looks.
const INTERVAL: Duration = Duration::from_secs(15);

/// A server with as many connections as the test says; it does not answer while they are negative.
struct Server {
    monitor: FakeMonitor,
    connections: Arc<AtomicI64>,
}

impl Server {
    async fn with(connections: i64) -> Self {
        Self::named("nats-1", connections).await
    }

    async fn named(name: &str, connections: i64) -> Self {
        let connections = Arc::new(AtomicI64::new(connections));
        let (shown, name) = (connections.clone(), name.to_owned());
        let monitor = FakeMonitor::start(move |path| {
            let connections = shown.load(Ordering::SeqCst);
            match path {
                _ if connections < 0 => Answer::http("500 Internal Server Error", &[], "out of order"),
                "/varz" => Answer::json(
                    &json!({
                        "server_id": format!("N-{name}"),
                        "server_name": name,
                        "version": "2.15.1",
                        "connections": connections,
                    })
                    .to_string(),
                ),
                _ => Answer::json(
                    r#"{"num_connections":0,"total":0,"offset":0,"limit":1000000,"connections":[]}"#,
                ),
            }
        })
        .await;
        Self { monitor, connections }
    }

    fn set(&self, connections: i64) {
        self.connections.store(connections, Ordering::SeqCst);
    }
}

/// An alert about a server of this name, with the expression of the usual rule.
fn high(server: &str) -> Value {
    let mut alert = firing(ALERT, "exporter:7777");
    alert["labels"]["server_id"] = json!(server);
    alert["generatorURL"] =
        json!("http://prometheus.example:9090/graph?g0.expr=gnatsd_varz_connections+%3E+1000&g0.tab=1");
    alert
}

/// A daemon that watches one server, with an incident about it.
async fn scene(server: &Server) -> (TestApp, String) {
    let app = TestApp::watching([&server.monitor.url]).await;
    app.state.engine.learn_servers().await;
    let id = post(&app, &[high("nats-1")]).await;
    (app, id)
}

/// Posts a notification about one incident and does the work that is due; the incident's id.
async fn post(app: &TestApp, alerts: &[Value]) -> String {
    let answer = app.notify(notification(alerts)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    app.run_jobs().await;
    answer.json()["incidents"][0].as_str().unwrap().to_owned()
}

async fn show(app: &TestApp, id: &str) -> Value {
    app.get(&format!("/api/v1/incidents/{id}")).await.json()
}

/// State and resolution.
async fn state(app: &TestApp, id: &str) -> String {
    let incident = show(app, id).await;
    match incident["resolution"].as_str() {
        Some(resolution) => format!("{} {resolution}", incident["state"].as_str().unwrap()),
        None => incident["state"].as_str().unwrap().to_owned(),
    }
}

async fn look_again(app: &TestApp) {
    app.advance(INTERVAL);
    app.run_jobs().await;
}

fn last(incident: &Value) -> (String, String) {
    let (kind, text) = entries(incident).last().unwrap();
    (kind.to_owned(), text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_believed_when_nats_agrees_twice() {
    let server = Server::with(1500).await;
    let (app, id) = scene(&server).await;
    server.set(200);
    post(&app, &[resolved(high("nats-1"), ENDED)]).await;
    assert_eq!(state(&app, &id).await, "recovering", "one look is not enough");
    look_again(&app).await;
    assert_eq!(state(&app, &id).await, "resolved verified");
    assert_eq!(
        last(&show(&app, &id).await).1,
        "NATS agrees that it is over: nats-1 has 200 connections (threshold 1000)"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_end_leads_back_and_the_true_one_is_noticed_by_itself() {
    let server = Server::with(1500).await;
    let (app, id) = scene(&server).await;
    app.state.engine.acknowledge(id.parse().unwrap(), "ada", Some("looking")).await.unwrap();
    post(&app, &[resolved(high("nats-1"), ENDED)]).await;
    assert_eq!(state(&app, &id).await, "recovering");
    look_again(&app).await;
    let incident = show(&app, &id).await;
    assert_eq!((&incident["state"], &incident["acknowledged_by"]), (&json!("acknowledged"), &json!("ada")));
    assert_eq!(
        last(&incident),
        (
            "false_resolve".to_owned(),
            "false resolve: all alerts are reported resolved, but nats-1 has 1,500 connections (threshold 1000); is \
             the exporter or Prometheus down?"
                .to_owned()
        )
    );

    // it says so once, however long it lasts
    for _ in 0..20 {
        look_again(&app).await;
    }
    assert_eq!(timeline(&show(&app, &id).await).last(), Some(&"false_resolve"));
    server.set(10);
    for _ in 0..8 {
        look_again(&app).await;
    }
    assert_eq!(state(&app, &id).await, "resolved verified");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_looks_that_differ_say_nothing() {
    let server = Server::with(1500).await;
    let (app, id) = scene(&server).await;
    post(&app, &[resolved(high("nats-1"), ENDED)]).await;
    for connections in [200, 1500, 200, 1500] {
        server.set(connections);
        look_again(&app).await;
        assert_eq!(state(&app, &id).await, "recovering", "{connections}");
    }
    look_again(&app).await;
    assert_eq!(timeline(&show(&app, &id).await).last(), Some(&"false_resolve"));
    server.set(0);
    for _ in 0..8 {
        look_again(&app).await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_cannot_be_checked_in_time_is_unverified() {
    // too near to the threshold, and out of order
    for connections in [980, -1] {
        let server = Server::with(1500).await;
        let (app, id) = scene(&server).await;
        server.set(connections);
        post(&app, &[resolved(high("nats-1"), ENDED)]).await;
        for _ in 0..18 {
            look_again(&app).await;
            assert_eq!(state(&app, &id).await, "recovering");
        }
        look_again(&app).await;
        assert_eq!(state(&app, &id).await, "resolved unverified");
        let told = last(&show(&app, &id).await).1;
        let why = "all alerts are reported resolved; NATS gave no clear answer in 20 looks: ";
        assert!(told.starts_with(why), "{told}");
        let seen =
            if connections < 0 { "out of order" } else { "nats-1 has 980 connections (threshold 1000)" };
        assert!(told.contains(seen), "{told}");
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_nobody_can_check_is_unverified_at_once_and_says_why() {
    let server = Server::with(1500).await;
    let mut told = Vec::new();
    let mut complex = high("nats-1");
    complex["generatorURL"] =
        json!("http://prometheus.example/graph?g0.expr=sum(gnatsd_varz_connections)+%3E+1000");
    let other = firing("NatsSlowConsumers", "nats-1:7777");
    for (alert, watched) in [(complex, true), (other, true), (high("nats-1"), false)] {
        let app =
            if watched { TestApp::watching([&server.monitor.url]).await } else { TestApp::start().await };
        let id = post(&app, std::slice::from_ref(&alert)).await;
        post(&app, &[resolved(alert, ENDED)]).await;
        assert_eq!(state(&app, &id).await, "resolved unverified");
        told.push(last(&show(&app, &id).await).1);
        app.finish().await;
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    all alerts are reported resolved; NATS was not asked, because neither the alert nor the configuration says from how many connections on it holds (clusters[].thresholds)
    all alerts are reported resolved; NATS was not asked, because the alert is none that counts connections (incidents.connection_alerts)
    all alerts are reported resolved; NATS was not asked, because they are about no configured cluster
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_nothing_about_one_alert_ends_nothing_for_all() {
    let server = Server::with(1500).await;
    let (app, id) = scene(&server).await;
    let mut other = high("nats-1");
    other["labels"]["severity"] = json!("critical");
    other["generatorURL"] = json!("http://prometheus.example/graph?g0.expr=rate(x[5m])+%3E+1");
    post(&app, &[high("nats-1"), other.clone()]).await;
    server.set(10);
    post(&app, &[resolved(high("nats-1"), ENDED), resolved(other, ENDED)]).await;
    for _ in 0..19 {
        assert_eq!(state(&app, &id).await, "recovering");
        look_again(&app).await;
    }
    assert_eq!(state(&app, &id).await, "resolved unverified");
    assert!(last(&show(&app, &id).await).1.ends_with("; 1 alerts cannot be compared with anything"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_was_given_up_leaves_nothing_recovering() {
    let server = Server::with(1500).await;
    let (app, id) = scene(&server).await;
    server.set(980);
    post(&app, &[resolved(high("nats-1"), ENDED)]).await;
    assert_eq!(state(&app, &id).await, "recovering");
    app.state.engine.abandon("verify", &id, GivenUp::Interrupted).await.unwrap();
    assert_eq!(state(&app, &id).await, "resolved unverified");
    assert_eq!(
        last(&show(&app, &id).await).1,
        "all alerts are reported resolved; connwarden ended again and again while it asked NATS"
    );
    look_again(&app).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_of_a_cluster_that_is_configured_no_more_ends_unverified() {
    let server = Server::with(1500).await;
    let (app, id) = scene(&server).await;
    post(&app, &[resolved(high("nats-1"), ENDED)]).await;
    look_again(&app).await;
    assert_eq!(last(&show(&app, &id).await).0, "false_resolve");
    let app = app.restart_with(Default::default()).await;
    app.advance(INTERVAL * 4);
    app.run_jobs().await;
    assert_eq!(state(&app, &id).await, "resolved unverified");
    assert!(last(&show(&app, &id).await).1.ends_with("the cluster is not configured any more"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_threshold_wins_over_the_expression() {
    let server = Server::with(1500).await;
    let text = format!(
        "clusters: [{{name: nats, monitor: \"{}\", thresholds: [{{alert: {ALERT}, connections: 2000}}]}}]",
        server.monitor.url
    );
    let config = connwarden::config::Config::parse(&text, "test.yml", &|_| unreachable!()).unwrap();
    let app = TestApp::with(config).await;
    let id = post(&app, &[high("nats-1")]).await;
    post(&app, &[resolved(high("nats-1"), ENDED)]).await;
    look_again(&app).await;
    assert_eq!(state(&app, &id).await, "resolved verified");
    assert!(last(&show(&app, &id).await).1.contains("(threshold 2000)"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_is_compared_on_its_own_server() {
    let [one, two] = [Server::named("nats-1", 900).await, Server::named("nats-2", 900).await];
    let app = TestApp::watching([&one.monitor.url, &two.monitor.url]).await;
    app.state.engine.learn_servers().await;
    // together they have 1,800, which means nothing; and the other may be full
    let id = post(&app, &[high("nats-1")]).await;
    two.set(5000);
    post(&app, &[resolved(high("nats-1"), ENDED)]).await;
    look_again(&app).await;
    assert_eq!(state(&app, &id).await, "resolved verified");
    app.finish().await;

    // an alert that names no server may be about any
    let app = TestApp::watching([&one.monitor.url, &two.monitor.url]).await;
    let id = post(&app, &[high("somewhere")]).await;
    post(&app, &[resolved(high("somewhere"), ENDED)]).await;
    look_again(&app).await;
    assert_eq!(last(&show(&app, &id).await).0, "false_resolve");
    two.set(0);
    for _ in 0..8 {
        look_again(&app).await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_that_begins_anew_ends_the_recovery() {
    let server = Server::with(900).await;
    let (app, id) = scene(&server).await;
    app.state.engine.acknowledge(id.parse().unwrap(), "ada", None).await.unwrap();
    post(&app, &[resolved(high("nats-1"), ENDED)]).await;
    post(&app, &[restarted(high("nats-1"), "2026-11-24T08:59:50Z")]).await;
    look_again(&app).await;
    assert_eq!(state(&app, &id).await, "acknowledged");
    assert_eq!(show(&app, &id).await["alerts"][0]["generation"], 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_again_soon_is_the_same_incident_and_later_another() {
    let server = Server::with(200).await;
    let (app, first) = scene(&server).await;
    post(&app, &[resolved(high("nats-1"), ENDED)]).await;
    look_again(&app).await;
    app.advance(Duration::from_secs(15 * 60));
    let again = post(&app, &[restarted(high("nats-1"), "2026-11-24T09:14:00Z")]).await;
    assert_eq!(again, first);
    let incident = show(&app, &first).await;
    assert_eq!((&incident["state"], &incident["reopened"]), (&json!("triggered"), &json!(1)));
    assert!(timeline(&incident).contains(&"reopened"));

    post(&app, &[resolved(restarted(high("nats-1"), "2026-11-24T09:14:00Z"), "2026-11-24T09:15:00Z")]).await;
    look_again(&app).await;
    assert_eq!(state(&app, &first).await, "resolved verified");
    app.advance(Duration::from_secs(15 * 60 + 1));
    let another = post(&app, &[restarted(high("nats-1"), "2026-11-24T09:30:00Z")]).await;
    assert_ne!(another, first);
    assert_eq!(show(&app, &another).await["previous"], json!(first));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_firing_opens_nothing_unless_nats_says_that_it_is_true() {
    let server = Server::with(200).await;
    let (app, id) = scene(&server).await;
    post(&app, &[resolved(high("nats-1"), ENDED)]).await;
    look_again(&app).await;
    assert_eq!(state(&app, &id).await, "resolved verified");

    post(&app, &[high("nats-1")]).await;
    look_again(&app).await;
    let incident = show(&app, &id).await;
    assert_eq!((&incident["state"], &incident["reopened"]), (&json!("resolved"), &json!(0)));
    assert_eq!(incident["alerts"][0]["stale_since"], Value::Null, "NATS has settled it");
    assert_eq!(last(&incident).0, "alert_stale");

    server.set(1500);
    post(&app, &[high("nats-1")]).await;
    assert_eq!(state(&app, &id).await, "resolved verified", "one look is not enough");
    look_again(&app).await;
    let incident = show(&app, &id).await;
    assert_eq!((&incident["state"], &incident["reopened"]), (&json!("triggered"), &json!(1)));
    assert_eq!(incident["alerts"][0]["status"], "firing");
    let told: Vec<&str> = entries(&incident).map(|(_, text)| text).collect();
    assert!(
        told.contains(&"what was said to fire does: nats-1 has 1,500 connections (threshold 1000)"),
        "{told:?}"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_firing_that_nobody_takes_back_is_believed_in_the_end() {
    let app = TestApp::start().await;
    let id = post(&app, &[firing(ALERT, "nats-1:7777")]).await;
    post(&app, &[resolved(firing(ALERT, "nats-1:7777"), ENDED)]).await;
    post(&app, &[firing(ALERT, "nats-1:7777")]).await;
    app.advance(Duration::from_secs(599));
    app.run_jobs().await;
    assert_eq!(state(&app, &id).await, "resolved unverified");
    app.advance(Duration::from_secs(1));
    app.run_jobs().await;
    assert_eq!(state(&app, &id).await, "triggered");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_ended_stays_so_until_the_alert_begins_anew() {
    let server = Server::with(1500).await;
    let (app, id) = scene(&server).await;
    let key = id.parse().unwrap();
    app.state.engine.resolve(key, "ada", "known load test").await.unwrap();
    let incident = show(&app, &id).await;
    assert_eq!((&incident["resolution"], &incident["resolved_by"]), (&json!("manual"), &json!("ada")));
    assert_eq!(last(&incident), ("resolved".to_owned(), "resolved by hand: known load test".to_owned()));

    // heartbeats of the same generation, with and without news of others in between
    app.advance(Duration::from_secs(3600));
    for alerts in [vec![high("nats-1")], vec![resolved(high("nats-1"), ENDED)], vec![high("nats-1")]] {
        post(&app, &alerts).await;
        look_again(&app).await;
        assert_eq!(state(&app, &id).await, "resolved manual");
    }
    let again = post(&app, &[restarted(high("nats-1"), "2026-11-24T10:00:00Z")]).await;
    assert_ne!(again, id, "an hour later it is another problem");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_neither_closes_nor_splits_an_incident() {
    let server = Server::with(200).await;
    let (app, id) = scene(&server).await;
    post(&app, &[resolved(high("nats-1"), ENDED)]).await;
    app.clock.set("2026-11-24T03:00:00Z".parse().unwrap());
    app.run_jobs().await;
    assert_eq!(state(&app, &id).await, "resolved verified", "the second look does not wait for six hours");
    assert_eq!(show(&app, &id).await["resolved_at"], "2026-11-24T03:00:00Z");

    app.clock.set("2026-11-24T02:00:00Z".parse().unwrap());
    let again = post(&app, &[restarted(high("nats-1"), "2026-11-24T09:00:20Z")]).await;
    assert_eq!(again, id, "a moment before its end is soon enough");
    let told: BTreeMap<String, String> =
        entries(&show(&app, &id).await).map(|(kind, text)| (kind.to_owned(), text.to_owned())).collect();
    assert_eq!(told["reopened"], "opened again, 0 s after it was over");
    app.clock.set("2026-11-24T10:00:00Z".parse().unwrap());
    app.run_jobs().await;
    app.finish().await;
}
