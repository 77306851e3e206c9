//! The list of incidents: filters, pages, and what is refused.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use super::{monitor, show};
use crate::harness::payload::{ALERT, firing, notification, resolved, restarted};
use crate::harness::test_app::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn incidents_are_listed_by_cluster_alert_name_and_state() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let (high, slow) = (firing(ALERT, "nats-1:7777"), firing("NatsSlowConsumers", "nats-1:7777"));
    for alert in [high.clone(), slow, resolved(high.clone(), "2026-11-24T09:00:00Z")] {
        assert_eq!(app.notify(notification(&[alert])).await.status, 202);
    }
    // so much later that it is another problem
    app.advance(Duration::from_secs(901));
    let again = restarted(high, "2026-11-24T09:15:00Z");
    assert_eq!(app.notify(notification(&[again])).await.status, 202);
    app.run_jobs().await;

    let cases: [(&str, &[(&str, &str)]); 8] = [
        ("", &[(ALERT, "triggered"), ("NatsSlowConsumers", "triggered"), (ALERT, "resolved")]),
        ("?state=triggered", &[(ALERT, "triggered"), ("NatsSlowConsumers", "triggered")]),
        ("?state=resolved", &[(ALERT, "resolved")]),
        ("?alert_name=NatsSlowConsumers", &[("NatsSlowConsumers", "triggered")]),
        ("?alert_name=natsslowconsumers", &[]),
        ("?cluster=nats&alert_name=NatsHighNumberOfConnections&state=resolved", &[(ALERT, "resolved")]),
        ("?cluster=elsewhere", &[]),
        ("?cluster=nats&limit=1", &[(ALERT, "triggered")]),
    ];
    for (query, expected) in cases {
        let list = app.get(&format!("/api/v1/incidents{query}")).await.json();
        let listed: Vec<(&str, &str)> = list["incidents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|incident| (incident["alert_name"].as_str().unwrap(), incident["state"].as_str().unwrap()))
            .collect();
        assert_eq!(listed, expected, "{query}");
        assert_eq!(list["next"].is_string(), query.ends_with("limit=1"), "{query}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_without_gaps_or_repetitions() {
    let app = TestApp::start().await;
    let mut opened = Vec::new();
    for number in 0..25 {
        let answer = app.notify(notification(&[firing(ALERT, &format!("nats-{number}:7777"))])).await;
        opened.push(show(&app, &answer).await["id"].as_str().unwrap().to_owned());
    }
    opened.reverse();

    for limit in [1, 4, 5, 24, 25, 26] {
        let (mut walked, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = app.get(&format!("/api/v1/incidents?limit={limit}{cursor}")).await.json();
            walked.extend(ids(&page));
            pages += 1;
            // what opens meanwhile is newer than every page to come
            if pages == 1 && limit == 4 {
                app.notify(notification(&[firing("Another", "nats-0:7777")])).await;
            }
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&before={next}");
        }
        if limit > 4 {
            walked.retain(|id| opened.contains(id));
        }
        assert_eq!(walked, opened, "limit {limit}");
    }
    assert_eq!(app.get("/api/v1/incidents?before=0").await.json(), json!({ "incidents": [], "next": null }));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_with_its_reason() {
    let app = TestApp::start().await;
    let unknown = "0190a1b2-0000-7000-8000-000000000000";
    let cases = [
        ("/api/v1/incidents?limit=0", 400, "limit: 0 is not between 1 and 500"),
        ("/api/v1/incidents?limit=501", 400, "limit: 501 is not between 1 and 500"),
        ("/api/v1/incidents?limit=many", 400, "limit: invalid digit found in string"),
        ("/api/v1/incidents?before=first", 400, "before: invalid digit found in string"),
        (
            "/api/v1/incidents?state=open",
            400,
            "state: `open` is not one of triggered, acknowledged, recovering, resolved",
        ),
        ("/api/v1/incidents?clutser=nats", 400, "unknown field `clutser`"),
        ("/api/v1/incidents?limit=1&limit=2", 400, "duplicate field `limit`"),
        ("/api/v1/incidents/latest", 400, "`latest` is not the id of an incident"),
        (&format!("/api/v1/incidents/{unknown}"), 404, unknown),
        ("/api/v1/incident", 404, "nothing is at this path"),
        ("/api/v1/incidents/", 404, "nothing is at this path"),
        ("/api", 404, "nothing is at this path"),
    ];
    for (path, status, expected) in cases {
        let detail = app.get(path).await.problem(status);
        assert!(detail.contains(expected), "{path}: {detail}");
    }
    let answer = app.act(Method::DELETE, "/api/v1/incidents", Body::empty()).await;
    assert_eq!(answer.problem(405), "this method is not allowed here");
    app.finish().await;
}

fn ids(page: &Value) -> Vec<String> {
    page["incidents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|incident| incident["id"].as_str().unwrap().to_owned())
        .collect()
}
