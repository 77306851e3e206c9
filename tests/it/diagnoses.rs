//! Diagnoses as people and programs get to see them: on pages, in reports, on the command line, beside earlier ones.

mod comparison;
mod newcomers;
mod precedents;
mod report;

use connwarden::model::diagnosis::FindingKind;
use serde_json::Value;

use crate::harness::diagnosed::{diagnosis, incident, keep, monitor};
use crate::harness::payload::ALERT;
use crate::harness::test_app::TestApp;

/// A name that wants to be markup, a cell, a link, a heading, somebody, and a second line.
const HOSTILE: &str =
    "x</td><script>alert(1)</script>|`a``b`|[y](http://evil.example)@all\u{202e}\u{1b}[31m\n# z\n~~~";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_an_incident_begins_with_its_diagnosis() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let id = incident(&app, ALERT, &diagnosis(FindingKind::Leak, "orders-api")).await;
    let page = app.browse(&format!("/incidents/{id}")).await.text;
    let places: Vec<usize> = [
        "<h1>of +3,100 since 02:51, 2,940 are orders-api</h1>",
        "<h2 id=\"diagnosis\">",
        "Connection leak",
        ">critical</span>",
        "90 % sure",
        "orders-api has 2,940 connections more",
        "orders-api goes on growing",
        "<h2 id=\"culprits\">",
        "94.8 %",
        "97 %",
        "<h2 id=\"recommendations\">",
        "max_connections: 5000\n",
        "<h2 id=\"steps\">",
        "Configuration for many connections",
        "<h2 id=\"alerts\">",
    ]
    .map(|text| page.find(text).unwrap_or_else(|| panic!("no {text} in\n{page}")))
    .into();
    assert!(places.is_sorted(), "{places:?}");
    for (step, status) in [("Log errors", "skipped"), ("Configuration", "finding"), ("Recent changes", "ok")]
    {
        let rest = &page[page.find(&format!("<strong>{step}")).unwrap()..];
        let badge = rest.split("</span>").next().unwrap();
        assert!(badge.ends_with(&format!(">{status}")), "{badge}");
    }

    let list = app.browse("/").await.text;
    assert!(list.contains("<strong>Connection leak</strong>"), "{list}");
    assert!(list.contains("culprit <strong><bdi>orders-api</bdi></strong>"), "{list}");
    let list = app.get("/api/v1/incidents").await.json();
    assert_eq!(list["incidents"][0]["top_finding"], "leak");
    assert_eq!(list["incidents"][0]["culprit"]["key"], "orders-api");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_look_has_its_own_diagnosis() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let id = incident(&app, ALERT, &diagnosis(FindingKind::Leak, "orders-api")).await;
    keep(&app, id, &diagnosis(FindingKind::IdleHoard, "billing")).await;
    let document = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    assert_eq!(document["top_finding"], "idle_hoard");
    let earlier = document["snapshots"][1]["id"].as_str().unwrap();
    let page = app.browse(&format!("/incidents/{id}?snapshot={earlier}")).await.text;
    assert!(page.contains("2,940 are billing</h1>"), "{page}");
    assert!(page.contains("<p class=\"lead\">of +3,100 since 02:51, 2,940 are orders-api</p>"), "{page}");
    let report = app.get(&format!("/api/v1/incidents/{id}/report?snapshot={earlier}")).await.text;
    assert!(report.contains("Connection leak: application `orders-api`"), "{report}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_a_diagnosis_are_text() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    for alert_name in ["First", "Second"] {
        incident(&app, alert_name, &diagnosis(FindingKind::Leak, HOSTILE)).await;
    }
    let list = app.get("/api/v1/incidents").await.json();
    let id = list["incidents"][0]["id"].as_str().unwrap();
    // programs get every character
    let document = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    assert_eq!(document["culprit"]["key"], HOSTILE);
    assert_eq!(document["similar"][0]["shared_culprits"][0]["key"], HOSTILE);
    assert_eq!(document["culprit_history"][0]["key"], HOSTILE);
    for path in ["/".to_owned(), format!("/incidents/{id}")] {
        let page = app.browse(&path).await.text;
        for raw in ["<script", "\u{202e}", "\u{1b}", "x</td>", "href=\"http"] {
            assert!(!page.contains(raw), "{path} has {raw:?}:\n{page}");
        }
        assert!(page.contains("x&#60;/td&#62;&#60;script&#62;"), "{page}");
    }
    app.finish().await;
}

/// The keys of what a list holds.
fn keys(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect()
}
