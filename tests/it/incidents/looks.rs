//! Looks in the document of an incident: which is shown, and how much of it.

use std::time::Duration;

use connwarden::model::breakdown::By;
use serde_json::Value;

use super::{monitor, post};
use crate::harness::test_app::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn as_many_groups_are_shown_as_are_asked_for() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let id = post(&app, "single-firing.am-0.33.1").await["id"].as_str().unwrap().to_owned();

    for (query, groups, folded) in [("", 9, 0), ("?top=9", 9, 0), ("?top=3", 3, 6), ("?top=0", 0, 9)] {
        let incident = app.get(&format!("/api/v1/incidents/{id}{query}")).await.json();
        let names = &incident["breakdowns"]["name"];
        assert_eq!(names["groups"].as_array().unwrap().len(), groups, "{query}");
        assert_eq!(names["other"]["groups"], folded, "{query}");
        let listed = names["groups"].as_array().unwrap().iter().map(connections).sum::<u64>();
        assert_eq!(listed + connections(&names["other"]), 10, "{query}");
    }
    app.get(&format!("/api/v1/incidents/{id}?top=-1")).await.problem(400);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_breakdowns_that_are_asked_for_are_read() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let id = post(&app, "single-firing.am-0.33.1").await["id"].as_str().unwrap().to_owned();
    let shown = async |query: &str| {
        let incident = app.get(&format!("/api/v1/incidents/{id}{query}")).await.json();
        incident["breakdowns"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(shown("").await.len(), By::standard().len());
    assert_eq!(shown("?by=ip,application/ip").await, ["application/ip", "ip"]);
    // what was not stored is not there
    assert_eq!(shown("?by=ip/application,name").await, ["name"]);
    let wrong = app.get(&format!("/api/v1/incidents/{id}?by=colour")).await.problem(400);
    assert!(wrong.contains("unknown dimension `colour`"), "{wrong}");

    let page = app.browse(&format!("/incidents/{id}?by=ip")).await.text;
    assert!(page.contains("id=\"by-ip\"") && !page.contains("id=\"by-name\""), "{page}");
    assert!(page.contains(&format!("/api/v1/incidents/{id}?by=ip")), "{page}");

    // a breakdown that cannot be read is in nobody's way but that of who wants it
    let statement = "UPDATE breakdowns SET format = 99 WHERE grouped_by = 'name'";
    let mut tx = app.state.store.write().await.unwrap();
    sqlx::query(statement).execute(&mut *tx).await.unwrap();
    connwarden::store::commit(tx).await.unwrap();
    assert_eq!(shown("?by=ip").await, ["ip"]);
    app.get(&format!("/api/v1/incidents/{id}?by=name")).await.problem(500);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_look_can_be_shown_and_the_document_says_which_it_is() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let first = post(&app, "e2e-prom-3.5.3-firing.am-0.33.1").await;
    app.advance(Duration::from_secs(300));
    let second = post(&app, "e2e-prom-3.5.3-new-alert-added.am-0.33.1").await;
    let path = format!("/api/v1/incidents/{}", first["id"].as_str().unwrap());
    let looks = second["snapshots"].as_array().unwrap();
    let taken: Vec<&Value> = looks.iter().map(|look| &look["taken_at"]).collect();
    assert_eq!(taken, ["2026-11-24T09:00:00Z", "2026-11-24T09:05:00Z"]);

    assert_eq!((&second["snapshot"], &second["taken_at"]), (&looks[1]["id"], taken[1]));

    let shown = app.get(&format!("{path}?snapshot={}", looks[0]["id"].as_str().unwrap())).await.json();
    assert_eq!((&shown["snapshot"], &shown["taken_at"]), (&looks[0]["id"], taken[0]));
    assert_eq!(shown["breakdowns"], first["breakdowns"]);
    assert_eq!(shown["coverage"], looks[0]["coverage"]);
    let unknown = app.get(&format!("{path}?snapshot={}", first["id"].as_str().unwrap())).await.problem(404);
    assert!(unknown.starts_with("the incident has no snapshot "), "{unknown}");
    app.get(&format!("{path}?snapshot=first")).await.problem(400);
    app.finish().await;
}

fn connections(figures: &Value) -> u64 {
    figures["connections"].as_u64().unwrap()
}
