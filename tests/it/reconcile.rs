//! Reconciliation with real Alertmanagers: lost ends are noticed, lost beginnings too, and nothing else is concluded.
//!
//! The daemon's clock is ahead of the Alertmanagers' start, so that they are grown up. Their webhook leads nowhere: what a
//! notification would have said, the test says, or does not.

mod lies;
mod objections;
mod truncated;

use std::time::Duration;

use connwarden::clock::Clock;
use connwarden::config::Config;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use serde_json::{Value, json};
use url::Url;

use crate::harness::alertmanager::{Alertmanager, Pair, Setup, route};
use crate::harness::document::entries;
use crate::harness::fake::ClosedPort;
use crate::harness::payload::{ALERT, firing, notification, resolved};
use crate::harness::test_app::TestApp;

/// How far the daemon's clock is ahead.
const AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(120);

/// A daemon that asks, and the alert all this is about.
struct Scene {
    app: TestApp,
    /// When the alert began to fire, by everybody's clock but the daemon's.
    started_at: Timestamp,
}

impl Scene {
    /// A daemon that asks these, with more configuration.
    async fn asking(alertmanagers: &[&Url], more: &str) -> Self {
        Self::at(AHEAD, alertmanagers, more).await
    }

    /// The same, with the daemon's clock so far ahead.
    async fn at(ahead: SignedDuration, alertmanagers: &[&Url], more: &str) -> Self {
        let list: Vec<String> = alertmanagers.iter().map(|url| format!("{{ url: '{url}' }}")).collect();
        let text = format!("alertmanagers: [{}]\n{more}", list.join(", "));
        let config = Config::parse(&text, "test.yml", &|_| unreachable!()).unwrap();
        let now = Clock::system().now();
        let app = TestApp::beginning(now + ahead, config).await;
        Self { app, started_at: now - SignedDuration::from_secs(60) }
    }

    /// The alert as it is pushed to an Alertmanager.
    fn pushed(&self, ended_at: Option<Timestamp>) -> Value {
        let mut alert = json!({
            "labels": labels(),
            "startsAt": self.started_at.to_string(),
            "generatorURL": "",
        });
        if let Some(ended_at) = ended_at {
            alert["endsAt"] = json!(ended_at.to_string());
        }
        json!([alert])
    }

    /// Lets a notification say that the alert fires since a time.
    async fn told_to_fire(&self, started_at: Timestamp) {
        let alert = json!({ "status": "firing", "labels": labels(), "startsAt": started_at.to_string() });
        let answer = self.app.notify(notification(&[alert])).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }

    /// Lets a notification say that the alert is over.
    async fn told_to_be_over(&self, ended_at: Timestamp) {
        let alert = json!({
            "status": "resolved", "labels": labels(),
            "startsAt": self.started_at.to_string(), "endsAt": ended_at.to_string(),
        });
        let answer = self.app.notify(notification(&[alert])).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }

    /// A round of reconciliation, and the time until the next.
    async fn round(&self) {
        self.app.state.engine.reconcile().await.unwrap();
        self.app.advance(ROUND);
    }

    /// The only incident there is.
    async fn incident(&self) -> Value {
        let list = self.app.get("/api/v1/incidents").await.json();
        let incidents = list["incidents"].as_array().unwrap();
        assert_eq!(incidents.len(), 1, "{list:#}");
        let id = incidents[0]["id"].as_str().unwrap();
        self.app.get(&format!("/api/v1/incidents/{id}")).await.json()
    }

    async fn state(&self) -> String {
        self.incident().await["state"].as_str().unwrap().to_owned()
    }

    /// The timeline, kinds and texts, with names for the addresses of `known`.
    async fn told(&self, known: &[(&Url, &str)]) -> String {
        let incident = self.incident().await;
        let lines = entries(&incident).map(|(kind, text)| {
            let mut line = format!("{kind}: {text}");
            for (url, name) in known {
                line = line.replace(url.as_str().trim_end_matches('/'), name);
            }
            line
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        // how long everything took, and ports that nobody chose
        let text = Regex::new(r"up \d+m").unwrap().replace_all(&text, "up …").into_owned();
        let text = Regex::new(r"in \d+ ms").unwrap().replace_all(&text, "in … ms").into_owned();
        Regex::new(r"127\.0\.0\.1:\d+").unwrap().replace_all(&text, "127.0.0.1:…").into_owned()
    }
}

fn labels() -> Value {
    json!({ "alertname": ALERT, "instance": "nats-1:7777", "server_id": "nats-test" })
}

/// An Alertmanager that posts to nobody.
async fn alertmanager() -> Alertmanager {
    Alertmanager::start(&ClosedPort::new().url).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_nobody_told_of_is_noticed_in_the_second_round() {
    let am = alertmanager().await;
    let scene = Scene::asking(&[&am.url], "").await;
    am.push(&scene.pushed(None)).await;
    scene.told_to_fire(scene.started_at).await;
    for _ in 0..3 {
        scene.round().await;
        assert_eq!(scene.state().await, "triggered");
    }

    am.push(&scene.pushed(Some(Clock::system().now()))).await;
    scene.round().await;
    assert_eq!(scene.state().await, "triggered", "once is not enough");
    scene.round().await;
    let incident = scene.incident().await;
    assert_eq!((&incident["state"], &incident["resolution"]), (&json!("resolved"), &json!("missed")));
    let metrics = scene.app.get("/metrics").await.text;
    for line in ["{result=\"complete\"} 5", "{result=\"in_doubt\"} 0", "{result=\"failed\"} 0"] {
        assert!(metrics.contains(&format!("connwarden_reconciliations_total{line}")), "{metrics}");
    }
    insta::assert_snapshot!(scene.told(&[(&am.url, "http://am")]).await, @r#"
    opened: NatsHighNumberOfConnections of nats-test, on no configured cluster: no matchers hold for the alert and no configured server is named by it, so NATS was not looked at
    alert_joined: fires: server_id="nats-test" instance="nats-1:7777"
    reconciled: no Alertmanager lists server_id="nats-test" instance="nats-1:7777" any more (asked twice in a row: http://am (up …))
    alert_resolved: resolved: server_id="nats-test" instance="nats-1:7777"
    resolved: no Alertmanager knows of its alerts any more; their end was never told
    "#);
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_in_which_it_is_listed_begins_the_count_anew() {
    let am = alertmanager().await;
    let scene = Scene::asking(&[&am.url], "").await;
    am.push(&scene.pushed(None)).await;
    scene.told_to_fire(scene.started_at).await;
    scene.round().await;
    for _ in 0..3 {
        am.push(&scene.pushed(Some(Clock::system().now()))).await;
        scene.round().await;
        am.push(&scene.pushed(None)).await;
        scene.round().await;
    }
    assert_eq!(scene.state().await, "triggered");
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silenced_alert_is_shown_as_such_and_its_end_under_the_silence_is_noticed() {
    let am = alertmanager().await;
    let scene = Scene::asking(&[&am.url], "").await;
    am.push(&scene.pushed(None)).await;
    scene.told_to_fire(scene.started_at).await;
    let silence = am.silence(ALERT, Clock::system().now()).await;
    am.lists(ALERT, "suppressed").await;
    scene.round().await;
    let incident = scene.incident().await;
    let alert = &incident["alerts"][0];
    assert_eq!(alert["suppression"], json!({ "silenced_by": [silence], "inhibited_by": [] }));
    assert_eq!(incident["state"], "triggered", "quiet is not over");
    let id = incident["id"].as_str().unwrap();
    let page = scene.app.browse(&format!("/incidents/{id}")).await.text;
    assert!(page.contains("silenced") && page.contains(&silence), "{page}");

    am.push(&scene.pushed(Some(Clock::system().now()))).await;
    scene.round().await;
    scene.round().await;
    let told = scene.told(&[(&am.url, "http://am"), (&am.url, "")]).await.replace(&silence, "<silence>");
    insta::assert_snapshot!(told, @r#"
    opened: NatsHighNumberOfConnections of nats-test, on no configured cluster: no matchers hold for the alert and no configured server is named by it, so NATS was not looked at
    alert_joined: fires: server_id="nats-test" instance="nats-1:7777"
    reconciled: silenced by <silence>: server_id="nats-test" instance="nats-1:7777"; meanwhile Alertmanager tells nothing about it, not even its end
    reconciled: no Alertmanager lists server_id="nats-test" instance="nats-1:7777" any more (asked twice in a row: http://am (up …))
    alert_resolved: resolved: server_id="nats-test" instance="nats-1:7777"
    resolved: no Alertmanager knows of its alerts any more; their end was never told
    "#);
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inhibited_alert_is_shown_as_such() {
    let inhibit = "inhibit_rules: [{ source_matchers: ['alertname=\"Louder\"'], target_matchers: ['alertname!=\"Louder\"'] }]";
    let setup = Setup { more: inhibit.to_owned(), ..Setup::default() };
    let am = Alertmanager::set_up(&ClosedPort::new().url, setup).await;
    let scene = Scene::asking(&[&am.url], "").await;
    am.push(&scene.pushed(None)).await;
    scene.told_to_fire(scene.started_at).await;
    am.push(&json!([{ "labels": { "alertname": "Louder" } }])).await;
    am.lists(ALERT, "suppressed").await;
    scene.round().await;
    let incident = scene.incident().await;
    let suppression = &incident["alerts"][0]["suppression"];
    assert_eq!(suppression["silenced_by"], json!([]));
    assert_eq!(suppression["inhibited_by"].as_array().unwrap().len(), 1, "{suppression}");
    am.push(&json!([{ "labels": { "alertname": "Louder" }, "endsAt": Clock::system().now().to_string() }]))
        .await;
    am.lists(ALERT, "active").await;
    scene.round().await;
    let quiet = scene.told(&[]).await;
    assert!(quiet.contains("no longer silenced or inhibited"), "{quiet}");
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_that_nobody_told_of_is_noticed_in_the_second_round() {
    let am = alertmanager().await;
    let scene = Scene::asking(&[&am.url], "").await;
    am.push(&scene.pushed(None)).await;
    let others = json!([{ "labels": { "alertname": "SomebodyElses" } }]);
    am.push(&others).await;
    am.lists(ALERT, "active").await;
    for _ in 0..3 {
        scene.round().await;
    }
    let list = scene.app.get("/api/v1/incidents").await.json();
    assert_eq!(list["incidents"], json!([]), "it is about no cluster of ours and was never sent to us");

    // the receiver is ours: it has sent us something else
    let other = resolved(firing("Other", "x"), "2026-11-24T09:00:00Z");
    assert_eq!(scene.app.notify(notification(&[other])).await.status, 202);
    am.lists("SomebodyElses", "active").await;
    scene.round().await;
    let list = scene.app.get("/api/v1/incidents").await.json();
    assert_eq!(list["incidents"], json!([]), "once is not enough");
    scene.round().await;
    assert_eq!(scene.state().await, "triggered");
    insta::assert_snapshot!(scene.told(&[(&am.url, "http://am")]).await, @r#"
    opened: NatsHighNumberOfConnections of nats-test, on no configured cluster: no matchers hold for the alert and no configured server is named by it, so NATS was not looked at
    alert_joined: fires: server_id="nats-test" instance="nats-1:7777"
    reconciled: Alertmanager lists server_id="nats-test" instance="nats-1:7777", and no notification has told of that (asked twice in a row: http://am (up …))
    "#);
    scene.round().await;
    scene.told_to_fire(scene.started_at).await;
    assert_eq!(scene.incident().await["alerts"][0]["generation"], 1, "the notification was only late");
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_silenced_opens_nothing() {
    let am = alertmanager().await;
    let scene = Scene::asking(&[&am.url], "").await;
    am.silence(ALERT, Clock::system().now()).await;
    am.push(&scene.pushed(None)).await;
    am.lists(ALERT, "suppressed").await;
    for _ in 0..3 {
        scene.round().await;
    }
    assert_eq!(scene.app.get("/api/v1/incidents").await.json()["incidents"], json!([]));
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_firing_is_believed_when_alertmanager_has_heard_of_it_since_its_end() {
    let am = alertmanager().await;
    let scene = Scene::asking(&[&am.url], "").await;
    scene.told_to_fire(scene.started_at).await;
    let ended_at = Clock::system().now() - SignedDuration::from_secs(1);
    scene.told_to_be_over(ended_at).await;
    assert_eq!(scene.state().await, "resolved");
    am.push(&scene.pushed(None)).await;
    am.lists(ALERT, "active").await;
    scene.round().await;
    assert_eq!(scene.state().await, "resolved", "once is not enough");
    scene.round().await;
    let incident = scene.incident().await;
    assert_eq!((&incident["state"], &incident["reopened"]), (&json!("triggered"), &json!(1)));
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_firing_is_dropped_when_alertmanager_does_not_list_it() {
    let am = alertmanager().await;
    let scene = Scene::asking(&[&am.url], "incidents: { stale_timeout: 10m }").await;
    am.push(&scene.pushed(None)).await;
    scene.told_to_fire(scene.started_at).await;
    scene.round().await;
    let ended_at = Clock::system().now();
    am.push(&scene.pushed(Some(ended_at))).await;
    scene.told_to_be_over(ended_at).await;
    // the other node's old news; what takes it back is lost
    scene.told_to_fire(scene.started_at).await;
    assert_ne!(scene.incident().await["alerts"][0]["stale_since"], json!(null));
    scene.round().await;
    scene.round().await;
    assert_eq!(scene.incident().await["alerts"][0]["stale_since"], json!(null));
    scene.app.advance(Duration::from_secs(3600));
    scene.app.run_jobs().await;
    assert_eq!(scene.state().await, "resolved");
    let told = scene.told(&[]).await;
    assert!(told.contains("what was said to fire does not"), "{told}");
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_has_not_heard_of_since_its_end_stays_over() {
    let am = alertmanager().await;
    let scene = Scene::asking(&[&am.url], "").await;
    am.push(&scene.pushed(None)).await;
    am.lists(ALERT, "active").await;
    scene.told_to_fire(scene.started_at).await;
    // the end reached another node only
    scene.told_to_be_over(Clock::system().now()).await;
    for _ in 0..4 {
        scene.round().await;
    }
    assert_eq!(scene.state().await, "resolved");
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_ended_stays_over_until_it_begins_anew() {
    let am = alertmanager().await;
    let mut scene = Scene::asking(&[&am.url], "").await;
    am.push(&scene.pushed(None)).await;
    scene.told_to_fire(scene.started_at).await;
    let id = scene.incident().await["id"].as_str().unwrap().parse().unwrap();
    scene.app.state.engine.resolve(id, "ada", "known, harmless").await.unwrap();
    for _ in 0..4 {
        scene.round().await;
    }
    assert_eq!(scene.incident().await["resolution"], "manual");

    // over, and again
    am.push(&scene.pushed(Some(Clock::system().now()))).await;
    scene.started_at = Clock::system().now();
    am.push(&scene.pushed(None)).await;
    scene.round().await;
    scene.round().await;
    let list = scene.app.get("/api/v1/incidents?state=triggered").await.json();
    assert_eq!(list["incidents"].as_array().unwrap().len(), 1, "{list:#}");
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_that_has_just_started_proves_nothing() {
    let mut am = alertmanager().await;
    let scene = Scene::at(SignedDuration::ZERO, &[&am.url], "").await;
    am.push(&scene.pushed(None)).await;
    scene.told_to_fire(scene.started_at).await;
    scene.round().await;
    // it keeps no alerts
    am.restart().await;
    for minutes in [2, 4, 6] {
        scene.round().await;
        assert_eq!(scene.state().await, "triggered", "after {minutes} minutes");
    }
    scene.round().await;
    assert_eq!(scene.state().await, "resolved");
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_ends_nothing_and_nothing_has_a_negative_age() {
    let am = alertmanager().await;
    let scene = Scene::asking(&[&am.url], "").await;
    am.push(&scene.pushed(None)).await;
    scene.told_to_fire(scene.started_at).await;
    scene.round().await;
    am.push(&scene.pushed(Some(Clock::system().now()))).await;
    scene.round().await;
    // before the Alertmanager started, by its own word, and before the alert did
    let before = scene.started_at - SignedDuration::from_hours(1);
    scene.app.clock.set(before);
    for _ in 0..3 {
        scene.round().await;
    }
    assert_eq!(scene.state().await, "triggered", "it may not have started yet");
    scene.app.clock.set(Clock::system().now() + AHEAD);
    scene.round().await;
    scene.round().await;
    assert_eq!(scene.state().await, "resolved");
    let told = scene.told(&[]).await;
    assert!(!told.contains("up -") && !told.contains(" -"), "{told}");
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_noticed_by_a_clock_that_was_ahead_does_not_lie_in_the_future() {
    let am = alertmanager().await;
    let scene = Scene::asking(&[&am.url], "").await;
    am.push(&scene.pushed(None)).await;
    scene.told_to_fire(scene.started_at).await;
    scene.round().await;
    am.push(&scene.pushed(Some(Clock::system().now()))).await;
    let now = scene.app.clock.now();
    scene.app.clock.set(now + SignedDuration::from_hours(5));
    scene.round().await;
    scene.app.clock.set(now);
    scene.round().await;
    let incident = scene.incident().await;
    assert_eq!(incident["resolution"], "missed");
    assert_eq!(incident["alerts"][0]["ended_at"], now.to_string());
    // or a new beginning would be taken for old news
    scene.told_to_fire(now + SignedDuration::from_secs(30)).await;
    assert_eq!(scene.state().await, "triggered");
    scene.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_that_lists_an_alert_is_enough_and_one_that_is_silent_too() {
    let pair = Pair::start(&ClosedPort::new().url, [route("1s", "4s"), route("1s", "4s")]).await;
    let [first, mut second] = pair.nodes;
    let scene = Scene::asking(&[&first.url, &second.url], "").await;
    second.push(&scene.pushed(None)).await;
    scene.told_to_fire(scene.started_at).await;
    for _ in 0..3 {
        scene.round().await;
    }
    assert_eq!(scene.state().await, "triggered", "the other node lists it");
    second.kill();
    for _ in 0..3 {
        scene.round().await;
    }
    assert_eq!(scene.state().await, "triggered", "the other node may list it");
    scene.app.finish().await;
}
