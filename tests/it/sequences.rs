//! Captured sequences: what real Alertmanagers delivered, in their order and at their pace, and the history that
//! becomes of it.
//!
//! NATS shows nine connections all the time, far below the threshold, so every "resolved" is true and every firing
//! behind one is not. A sequence whose deliveries were refused in the capture is replayed twice: as if each refusal had
//! been stored and only the answer lost (the worst a sender can do), and with the refused ones lost.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::harness::document::entries;
use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::fixture;
use crate::harness::test_app::TestApp;

#[derive(Deserialize)]
struct Sequence {
    scenario: String,
    alertmanager_version: String,
    deliveries: Vec<Delivery>,
}

#[derive(Deserialize, Clone)]
struct Delivery {
    #[serde(default)]
    offset_s: f64,
    method: String,
    /// A number, or a text where the sender had hung up.
    response_status: Value,
    payload: Option<Value>,
}

impl Delivery {
    fn was_taken(&self) -> bool {
        self.response_status.as_u64().is_some_and(|status| (200..300).contains(&status))
    }

    /// Its alerts in a few words.
    fn told(&self) -> String {
        let alerts = self.payload.iter().flat_map(|payload| payload["alerts"].as_array().unwrap());
        let told = alerts.map(|alert| {
            let labels = &alert["labels"];
            let severity = labels["severity"].as_str().unwrap_or_default();
            let instance = labels["instance"].as_str().unwrap_or_default();
            format!("{} {}/{severity}", alert["status"].as_str().unwrap(), instance.trim_end_matches(":7777"))
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_captured_sequence_has_the_history_that_its_alerts_had() {
    // the versions of Alertmanager that behaved alike share a history
    let mut table: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alertmanager/sequences");
    for file in std::fs::read_dir(directory).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let sequence: Sequence =
            serde_json::from_str(&fixture(&format!("alertmanager/sequences/{file}"))).unwrap();
        let posts: Vec<Delivery> =
            sequence.deliveries.into_iter().filter(|delivery| delivery.payload.is_some()).collect();
        let taken: Vec<Delivery> = posts.iter().filter(|delivery| delivery.was_taken()).cloned().collect();
        let variants = if taken.len() == posts.len() {
            vec![("", posts)]
        } else {
            vec![(", all stored", posts), (", refused ones lost", taken)]
        };
        for (variant, deliveries) in variants {
            let history = replay(&deliveries).await;
            let title = format!("{}{variant}", sequence.scenario);
            table.entry((title, history)).or_default().push(sequence.alertmanager_version.clone());
        }
    }
    let mut text = String::new();
    for ((title, history), mut versions) in table {
        versions.sort_unstable();
        writeln!(text, "{title} ({})\n{history}", versions.join(" ")).unwrap();
    }
    insta::assert_snapshot!(text, @"
    400-then-resolve-is-lost, all stored (0.25.0 0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    400-then-resolve-is-lost, refused ones lost (0.25.0 0.28.1 0.33.1)
      15 minutes later: no incident

    5xx-then-stale-firing-then-resolved, all stored (0.25.0 0.33.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning -> seen again; triggered (5 times)
      resolved nats-1/warning -> new; recovering
      15 minutes later: resolved(verified)
      timeline: opened alert_joined observed alert_resolved recovering resolved
      member: resolved, generation 1, flaps 0

    5xx-then-stale-firing-then-resolved, all stored (0.28.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning -> seen again; triggered (6 times)
      resolved nats-1/warning -> new; recovering
      15 minutes later: resolved(verified)
      timeline: opened alert_joined observed alert_resolved recovering resolved
      member: resolved, generation 1, flaps 0

    5xx-then-stale-firing-then-resolved, refused ones lost (0.25.0 0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered
      resolved nats-1/warning -> new; recovering
      15 minutes later: resolved(verified)
      timeline: opened alert_joined observed alert_resolved recovering resolved
      member: resolved, generation 1, flaps 0

    e2e-prom-lifecycle (0.25.0 0.33.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning, firing nats-2/warning -> new; triggered
      resolved nats-1/warning, firing nats-2/warning -> new; triggered
      resolved nats-2/warning -> new; recovering
      firing nats-1/warning -> new; triggered
      resolved nats-1/warning -> new; recovering
      15 minutes later: resolved(verified)
      timeline: opened alert_joined observed alert_joined observed alert_resolved alert_resolved recovering resolved alert_refired reopened observed alert_resolved recovering resolved
      member: resolved, generation 1, flaps 0
      member: resolved, generation 2, flaps 0

    flap-inside-group-interval (0.25.0 0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered
      resolved nats-1/warning -> new; recovering
      15 minutes later: resolved(verified)
      timeline: opened alert_joined observed alert_resolved recovering resolved
      member: resolved, generation 2, flaps 1

    ha-5xx-duplicate, all stored (0.33.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning -> seen again; triggered (14 times)
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    ha-5xx-duplicate, all stored (0.25.0)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning -> seen again; triggered (15 times)
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    ha-5xx-duplicate, refused ones lost (0.25.0 0.33.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning -> seen again; triggered
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    ha-one-node-missed-resolve (0.25.0 0.33.1)
      firing nats-1/warning -> new; triggered
      resolved nats-1/warning -> new; recovering
      firing nats-1/warning -> seen again; recovering
      15 minutes later: resolved(verified)
      timeline: opened alert_joined observed alert_resolved recovering alert_stale resolved
      member: resolved, generation 1, flaps 0

    ha-slow-receiver-duplicate (0.25.0 0.33.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning -> seen again; triggered
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    ha-stale-firing-after-resolved (0.25.0 0.33.1)
      firing nats-1/warning -> new; triggered
      resolved nats-1/warning -> new; recovering
      firing nats-1/warning -> seen again; recovering
      resolved nats-1/warning -> seen again; resolved(verified)
      15 minutes later: resolved(verified)
      timeline: opened alert_joined observed alert_resolved recovering alert_stale resolved
      member: resolved, generation 1, flaps 0

    inhibited-then-resolved-is-lost (0.25.0 0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/critical -> new; triggered
      resolved nats-1/critical -> new; triggered
      15 minutes later: triggered
      timeline: opened alert_joined observed alert_joined observed alert_resolved
      member: firing, generation 1, flaps 0
      member: resolved, generation 1, flaps 0

    new-alert-added (0.25.0 0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning, firing nats-2/warning -> new; triggered
      15 minutes later: triggered
      timeline: opened alert_joined observed alert_joined observed
      member: firing, generation 1, flaps 0
      member: firing, generation 1, flaps 0

    redirect-302 (0.25.0 0.28.1 0.33.1)
      15 minutes later: no incident

    repeat-with-new-startsat (0.25.0 0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered (2 times)
      firing nats-1/warning -> seen again; triggered
      15 minutes later: triggered
      timeline: opened alert_joined observed alert_flapped observed
      member: firing, generation 2, flaps 1

    resolved-rejected-400, all stored (0.25.0 0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered
      resolved nats-1/warning -> new; recovering
      resolved nats-1/warning -> seen again; recovering (2 times)
      15 minutes later: resolved(verified)
      timeline: opened alert_joined observed alert_resolved recovering resolved
      member: resolved, generation 1, flaps 0

    resolved-rejected-400, refused ones lost (0.25.0 0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered
      resolved nats-1/warning -> new; recovering
      15 minutes later: resolved(verified)
      timeline: opened alert_joined observed alert_resolved recovering resolved
      member: resolved, generation 1, flaps 0

    restart-sigterm-and-sigkill (0.25.0 0.33.1)
      firing /warning -> new; triggered
      firing /warning -> seen again; triggered (2 times)
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    retry-500, all stored (0.25.0 0.33.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning -> seen again; triggered (16 times)
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    retry-500, all stored (0.28.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning -> seen again; triggered (18 times)
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    retry-500, refused ones lost (0.25.0 0.28.1 0.33.1)
      15 minutes later: no incident

    silenced-then-resolved-is-lost (0.25.0 0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    slow-receiver, all stored (0.25.0 0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning -> seen again; triggered
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    slow-receiver, refused ones lost (0.25.0 0.28.1 0.33.1)
      15 minutes later: no incident

    status-400-every-interval, all stored (0.25.0 0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning -> seen again; triggered (5 times)
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    status-400-every-interval, refused ones lost (0.25.0 0.28.1 0.33.1)
      15 minutes later: no incident

    webhook-timeout-1s, all stored (0.28.1 0.33.1)
      firing nats-1/warning -> new; triggered
      firing nats-1/warning -> seen again; triggered (11 times)
      15 minutes later: triggered
      timeline: opened alert_joined observed
      member: firing, generation 1, flaps 0

    webhook-timeout-1s, refused ones lost (0.28.1 0.33.1)
      15 minutes later: no incident
    ");
}

/// Replays deliveries to a daemon of their own; what became of each, and of the incidents.
async fn replay(deliveries: &[Delivery]) -> String {
    let nats = low().await;
    let app = TestApp::watching([&nats.url]).await;
    let (mut lines, mut now) = (Vec::new(), Duration::ZERO);
    for delivery in deliveries {
        wait(&app, &mut now, Duration::from_secs_f64(delivery.offset_s)).await;
        assert_eq!(delivery.method, "POST");
        let answer = app.notify(delivery.payload.as_ref().unwrap().to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        app.run_jobs().await;
        let receipt = answer.json();
        let seen = if receipt["repeated"] == true { "seen again" } else { "new" };
        let states = states(&app).await;
        lines.push(format!("  {} -> {seen}; {states}", delivery.told()));
    }
    let later = now + Duration::from_secs(900);
    wait(&app, &mut now, later).await;
    lines.push(format!("  15 minutes later: {}", states(&app).await));

    let mut text = String::new();
    let mut counted = lines.into_iter().peekable();
    while let Some(line) = counted.next() {
        let mut times = 1;
        while counted.next_if_eq(&line).is_some() {
            times += 1;
        }
        let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
        writeln!(text, "{line}{times}").unwrap();
    }
    for incident in incidents(&app).await {
        let kinds: Vec<&str> = entries(&incident).map(|(kind, _)| kind).collect();
        writeln!(text, "  timeline: {}", kinds.join(" ")).unwrap();
        for alert in incident["alerts"].as_array().unwrap() {
            let (generation, flaps) = (&alert["generation"], &alert["flaps"]);
            let stale = if alert["stale_since"].is_null() { "" } else { ", stale firing standing" };
            writeln!(
                text,
                "  member: {}, generation {generation}, flaps {flaps}{stale}",
                alert["status"].as_str().unwrap()
            )
            .unwrap();
        }
    }
    app.finish().await;
    text
}

/// Moves the clock to `then`, with the work that becomes due on the way.
async fn wait(app: &TestApp, now: &mut Duration, then: Duration) {
    while *now < then {
        let step = (then - *now).min(Duration::from_secs(5));
        app.advance(step);
        *now += step;
        app.run_jobs().await;
    }
}

/// The states of all incidents, oldest first.
async fn states(app: &TestApp) -> String {
    let incidents = incidents(app).await;
    let states = incidents.iter().map(|incident| {
        let resolution = incident["resolution"].as_str().map(|how| format!("({how})")).unwrap_or_default();
        format!("{}{resolution}", incident["state"].as_str().unwrap())
    });
    let states: Vec<String> = states.collect();
    if states.is_empty() { "no incident".to_owned() } else { states.join(", ") }
}

async fn incidents(app: &TestApp) -> Vec<Value> {
    let list = app.get("/api/v1/incidents").await.json();
    let mut incidents = Vec::new();
    for incident in list["incidents"].as_array().unwrap().iter().rev() {
        let path = format!("/api/v1/incidents/{}", incident["id"].as_str().unwrap());
        incidents.push(app.get(&path).await.json());
    }
    incidents
}

/// A server with few connections.
async fn low() -> FakeMonitor {
    let [varz, connz] = ["varz", "connz-open-auth"].map(|name| fixture(&format!("nats/2.15.1/{name}.json")));
    FakeMonitor::start(move |path| match path {
        "/varz" => Answer::json(&varz),
        "/connz" => Answer::json(&connz),
        _ => Answer::http("404 Not Found", &[], ""),
    })
    .await
}
