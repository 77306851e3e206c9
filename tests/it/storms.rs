//! Storms: much at once, and what it must not cost.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::document::timeline;
use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::fixture;
use crate::harness::payload::{ALERT, firing, notification, resolved};
use crate::harness::test_app::TestApp;

/// A group of `size` alerts, told apart by a label.
fn group(size: usize) -> Vec<Value> {
    let alert = |number: usize| {
        let mut alert = firing(ALERT, "nats-1:7777");
        alert["labels"]["consumer"] = json!(number.to_string());
        alert
    };
    (0..size).map(alert).collect()
}

async fn show(app: &TestApp, id: &Value) -> Value {
    app.get(&format!("/api/v1/incidents/{}", id.as_str().unwrap())).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_5000_alerts_is_taken_whole() {
    let app = TestApp::start().await;
    let alerts = group(5000);
    let receipt = app.notify(notification(&alerts)).await.json();
    let incident = show(&app, &receipt["incidents"][0]).await;
    assert_eq!(receipt["incidents"].as_array().unwrap().len(), 1);
    let members = incident["alerts"].as_array().unwrap();
    assert_eq!(members.iter().filter(|member| member["status"] == "firing").count(), 5000);
    // the first few by name, the others by number
    assert_eq!(timeline(&incident), [&["opened"][..], &["alert_joined"; 11]].concat());

    let again = app.notify(notification(&alerts)).await.json();
    assert_eq!((&again["repeated"], &again["incidents"]), (&json!(true), &receipt["incidents"]));
    assert_eq!(show(&app, &receipt["incidents"][0]).await["timeline"], incident["timeline"]);

    // all but one, and then the last
    let mut over: Vec<Value> =
        alerts.iter().skip(1).map(|alert| resolved(alert.clone(), "2026-11-24T08:59:00Z")).collect();
    over.push(alerts[0].clone());
    app.notify(notification(&over)).await;
    assert_eq!(show(&app, &receipt["incidents"][0]).await["state"], "triggered");
    app.notify(notification(&[resolved(alerts[0].clone(), "2026-11-24T08:59:00Z")])).await;
    assert_eq!(show(&app, &receipt["incidents"][0]).await["state"], "resolved");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_incidents_of_a_storm_share_one_look_at_their_cluster() {
    let monitor = FakeMonitor::start(|path| match path {
        "/varz" => Answer::json(&fixture("nats/2.15.1/varz.json")),
        _ => Answer::json(&fixture("nats/2.15.1/connz-open-auth.json")),
    })
    .await;
    let app = TestApp::watching([&monitor.url]).await;
    let mut incidents = BTreeSet::new();
    for number in 0..40 {
        let alert = firing(&format!("{ALERT}{number}"), "nats-1:7777");
        let receipt = app.notify(notification(&[alert])).await.json();
        incidents.insert(receipt["incidents"][0].to_string());
    }
    app.run_jobs().await;
    assert_eq!(incidents.len(), 40);
    assert_eq!(monitor.requests(), ["/connz", "/varz", "/connz"]);
    for id in &incidents {
        let incident = show(&app, &serde_json::from_str(id).unwrap()).await;
        assert_eq!(timeline(&incident), ["opened", "alert_joined", "observed"]);
        assert_eq!(incident["coverage"]["seen"], 10);
    }

    // what comes later wants a look of its own
    app.advance(std::time::Duration::from_secs(1));
    app.notify(notification(&[firing("Another", "nats-1:7777")])).await;
    app.run_jobs().await;
    assert_eq!(monitor.requests(), ["/connz", "/varz", "/connz"].repeat(2));
    app.finish().await;
}
