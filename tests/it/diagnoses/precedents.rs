//! What other incidents say about one: repeat offenders, and similar incidents with how they ended.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use connwarden::model::diagnosis::FindingKind;
use connwarden::model::ids::IncidentId;
use serde_json::{Value, json};

use super::keys;
use crate::harness::diagnosed::{diagnosis, incident, monitor};
use crate::harness::test_app::TestApp;

async fn resolve(app: &TestApp, id: IncidentId, reason: &str) {
    let path = format!("/api/v1/incidents/{id}");
    let note = json!({ "text": "looked at the pool size" }).to_string();
    assert_eq!(app.act(Method::POST, &format!("{path}/notes"), note).await.status, 200);
    let reason = json!({ "reason": reason }).to_string();
    assert_eq!(app.act(Method::POST, &format!("{path}/resolve"), Body::from(reason)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn similar_incidents_are_told_with_what_became_of_them_most_similar_first() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let past = [
        ("kind", FindingKind::Leak, "billing"),
        ("both", FindingKind::Leak, "orders-api"),
        ("neither", FindingKind::IdleHoard, "billing"),
        ("culprit", FindingKind::IdleHoard, "orders-api"),
    ];
    let mut ids = Vec::new();
    for (name, kind, application) in past {
        let id = incident(&app, name, &diagnosis(kind, application)).await;
        app.advance(Duration::from_secs(3600));
        if name == "both" {
            resolve(&app, id, "rolled back").await;
        }
        ids.push(id);
    }
    let id = incident(&app, "now", &diagnosis(FindingKind::Leak, "orders-api")).await;
    incident(&app, "later", &diagnosis(FindingKind::Leak, "orders-api")).await;

    let path = format!("/incidents/{id}");
    let document = app.get(&format!("/api/v1{path}")).await.json();
    let similar = document["similar"].as_array().unwrap();
    let names: Vec<&str> = similar.iter().map(|one| one["alert_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["both", "culprit", "kind"], "{document:#}");
    let both = &similar[0];
    assert_eq!((&both["state"], &both["resolution"]), (&json!("resolved"), &json!("manual")));
    assert_eq!((&both["duration_s"], &both["same_kind"]), (&json!(3660), &json!("leak")));
    let texts: Vec<&str> =
        both["notes"].as_array().unwrap().iter().map(|note| note["text"].as_str().unwrap()).collect();
    assert!(texts[0].ends_with("looked at the pool size") && texts[1].ends_with("rolled back"), "{texts:?}");
    assert_eq!(keys(&both["shared_culprits"]), ["orders-api"]);
    let culprit = &similar[1];
    assert_eq!((&culprit["duration_s"], &culprit["same_kind"]), (&Value::Null, &Value::Null));
    assert_eq!(similar[2]["shared_culprits"], json!([]));

    let page = app.browse(&path).await.text;
    assert!(page.contains("after 1 h 1 min: a person said so"), "{page}");
    assert!(page.contains("rolled back</bdi>"), "{page}");
    assert!(page.contains("<strong>Was the culprit of 3 other incidents</strong>"), "{page}");
    assert!(page.contains(&format!("<a href=\"/incidents/{}\">", ids[1])), "{page}");
    assert_eq!(document["culprit_history"][0]["other_incidents"], 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn similar_incidents_are_at_most_five() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    for number in 0..7 {
        incident(&app, &format!("alert {number}"), &diagnosis(FindingKind::Leak, "orders-api")).await;
    }
    let list = app.get("/api/v1/incidents?limit=1").await.json();
    let id = list["incidents"][0]["id"].as_str().unwrap();
    let document = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    let similar = document["similar"].as_array().unwrap();
    let names: Vec<&str> = similar.iter().map(|one| one["alert_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["alert 5", "alert 4", "alert 3", "alert 2", "alert 1"]);
    let history = &document["culprit_history"][0];
    assert_eq!(history["other_incidents"], 6);
    assert_eq!(history["latest"].as_array().unwrap().len(), 5);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn culprits_are_listed_with_the_number_of_their_incidents() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let mut ids = Vec::new();
    for application in ["billing", "orders-api", "orders-api"] {
        let name = format!("alert {}", ids.len());
        ids.push(incident(&app, &name, &diagnosis(FindingKind::Leak, application)).await);
        app.advance(Duration::from_secs(3600));
    }
    let list = app.get("/api/v1/culprits").await.json();
    assert_eq!(
        list["culprits"][0],
        json!({
            "dimension": "application", "key": "orders-api", "incidents": 2, "grown_by": 5880,
            "last_incident": ids[2], "last_cluster": "nats", "last_opened_at": "2026-11-24T11:02:00Z"
        })
    );
    let listed = async |query: &str| {
        let list = app.get(&format!("/api/v1/culprits?{query}")).await.json();
        let counts = list["culprits"].as_array().unwrap().iter();
        let counts: Vec<(String, u64)> = counts
            .map(|one| (one["key"].as_str().unwrap().to_owned(), one["incidents"].as_u64().unwrap()))
            .collect();
        counts
    };
    let (billing, orders) = (("billing".to_owned(), 1), |count| ("orders-api".to_owned(), count));
    assert_eq!(listed("cluster=nats").await, [orders(2), billing]);
    assert_eq!(listed("cluster=elsewhere").await, []);
    assert_eq!(listed("limit=1").await, [orders(2)]);
    assert_eq!(listed("since=2026-11-24T10:30:00Z").await, [orders(1)]);
    for (query, detail) in
        [("limit=0", "limit: 0 is not between"), ("since=today", "since"), ("sinse=x", "unknown")]
    {
        let problem = app.get(&format!("/api/v1/culprits?{query}")).await.problem(400);
        assert!(problem.contains(detail), "{problem}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_what_was_attempted_add_up() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    for alert_name in ["First", "Second", "Third"] {
        let mut lie = diagnosis(FindingKind::ReconnectStorm, "orders-api");
        lie.culprits[0].grown_by = Some(u64::MAX);
        incident(&app, alert_name, &lie).await;
    }
    let list = app.get("/api/v1/culprits").await.json();
    assert_eq!(list["culprits"][0]["grown_by"], 3_000_000_000_000_u64);
    app.finish().await;
}
