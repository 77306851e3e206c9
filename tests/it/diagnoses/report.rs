//! The report of an incident.

use axum::body::Body;
use axum::http::Method;
use connwarden::http::api::incidents::report::ReportDocument;
use connwarden::model::diagnosis::FindingKind;
use serde_json::json;

use super::HOSTILE;
use crate::harness::diagnosed::{diagnosis, incident, monitor};
use crate::harness::payload::ALERT;
use crate::harness::test_app::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn a_report_tells_the_whole_story() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let past = incident(&app, "Earlier", &diagnosis(FindingKind::Leak, "orders-api")).await;
    let act = async |id, act: &str, body| {
        let answer = app.act(Method::POST, &format!("/api/v1/incidents/{id}/{act}"), Body::from(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    act(past, "resolve", r#"{ "reason": "rolled orders-api back to 1.4" }"#).await;
    let id = incident(&app, ALERT, &diagnosis(FindingKind::Leak, "orders-api")).await;
    act(id, "acknowledge", "{}").await;
    act(id, "notes", r##"{ "text": "first line\n# second line" }"##).await;

    let answer = app.get(&format!("/api/v1/incidents/{id}/report")).await;
    assert_eq!(answer.content_type, "text/markdown; charset=utf-8");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    let report = answer.text;
    let places = [
        "# of +3,100 since 02:51, 2,940 are orders-api\n",
        &format!("| Incident | `{id}` |\n"),
        "| Began | 2026-11-24 02:51:00 UTC |\n",
        "\n## What\n",
        "| `labA` | firing | 1024 | 10 | 2026-11-24 08:58:00 UTC |  |\n",
        "\n## Who, and since when\n",
        "| application `orders-api` | 3,000 | 2,940 | 94.8 % | 97 % | 2026-11-24 02:51:00 UTC |",
        &format!("* application `orders-api` was the culprit of 1 other incident: `{past}` of"),
        "\n## Why\n",
        "### 1. Connection leak: application `orders-api`\n",
        "**critical**, 90 % sure, since 2026-11-24 02:51:00 UTC.\n",
        "* orders-api has 2,940 connections more\n",
        "\n## What was checked\n",
        "2. **Configuration for many connections**: finding. step about orders-api\n",
        "\n## What was done\n",
        "`local-operator`: acknowledged",
        "first line\\\n  \\# second line\n",
        "\n## What to do\n",
        "### Have orders-api close its connections\n",
        "````\n# of orders-api\nmax_connections: 5000\n```\n````\n",
        "\n## Similar incidents",
        "Connection leak, `orders-api`.",
        "rolled orders-api back to 1.4\n",
        "\n## Numbers\n",
        "| Application | Connections |",
        "\n## Timeline\n",
    ]
    .map(|text| report.find(text).unwrap_or_else(|| panic!("no {text} in\n{report}")));
    assert!(places.is_sorted(), "{places:?}\n{report}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_json_for_those_who_ask() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let id = incident(&app, ALERT, &diagnosis(FindingKind::Leak, "orders-api")).await;
    let path = format!("/api/v1/incidents/{id}/report");
    let accepting = async |accept: &str, query: &str| {
        let path = format!("{path}{query}");
        app.request_with(Method::GET, &path, &[("Accept", accept)], Body::empty()).await
    };
    for (accept, query, content_type) in [
        ("*/*", "", "text/markdown; charset=utf-8"),
        ("application/json", "", "application/json"),
        ("text/markdown, application/json;q=0.5", "", "text/markdown; charset=utf-8"),
        ("application/json", "?format=markdown", "text/markdown; charset=utf-8"),
        ("text/html", "?format=json", "application/json"),
    ] {
        assert_eq!(accepting(accept, query).await.content_type, content_type, "{accept} {query}");
    }
    let answer = accepting("application/json", "").await;
    let report: ReportDocument = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(serde_json::to_value(&report).unwrap(), answer.json(), "nothing is lost");
    assert_eq!(answer.json()["since"], "2026-11-24T02:51:00Z");
    assert_eq!(answer.json()["duration_s"], 60);
    assert_eq!(answer.json()["diagnosis"]["findings"][0]["kind"], "leak");
    assert_eq!(answer.json()["timeline_left_out"], json!(0));

    let wrong = app.get(&format!("{path}?format=pdf")).await.problem(400);
    assert_eq!(wrong, "format: `pdf` is not one of markdown, json");
    app.get(&format!("{path}?snapshot={id}")).await.problem(404);
    app.get("/api/v1/incidents/019b8d7a-0000-7000-8000-00000000000a/report").await.problem(404);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_a_report_are_text() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    for alert_name in ["First", HOSTILE] {
        incident(&app, alert_name, &diagnosis(FindingKind::Leak, HOSTILE)).await;
    }
    let list = app.get("/api/v1/incidents").await.json();
    let id = list["incidents"][0]["id"].as_str().unwrap();
    let report = app.get(&format!("/api/v1/incidents/{id}/report")).await.text;
    assert!(report.chars().all(|character| character == '\n' || !character.is_control()), "{report:?}");
    assert!(!report.contains('\u{202e}'), "{report}");

    // what is not in a block of code holds neither markup nor links nor people nor cells of a stranger
    let mut fence: Option<&str> = None;
    let mut columns = None;
    for line in report.lines() {
        match fence {
            Some(end) if line == end => fence = None,
            Some(_) => continue,
            None if line.starts_with("```") => fence = Some(line),
            None => {
                for raw in ["<script", "</td", "[y](", "http://", "@all"] {
                    assert!(!line.contains(raw), "{raw} in {line}");
                }
                // nor does one of their lines begin one of ours
                assert!(!line.starts_with("# z") && !line.starts_with("~~~"), "{line}");
                // every row has as many cells as the head of its table
                let cells = line.starts_with('|').then(|| line.matches('|').count());
                assert!(columns.is_none() || cells.is_none() || columns == cells, "{line}");
                columns = cells;
            }
        }
    }
    assert_eq!(fence, None, "{report}");
    assert!(report.contains("x&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;&#124;"), "{report}");
    app.finish().await;
}
