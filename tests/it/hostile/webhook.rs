//! Notifications from hostile senders.

use std::io::Write;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use connwarden::http::router;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::{HOSTILE, assert_harmless};
use crate::harness::daemon::Daemon;
use crate::harness::document::{entries, timeline};
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::test_app::{Answer, TestApp};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn long_labels_full_of_control_characters_are_kept_unchanged_and_told_in_short() {
    let long = HOSTILE.repeat(5000 / HOSTILE.len() + 1);
    let mut alert = firing(&long, &long);
    for name in ["server_id", "pod", "job"] {
        alert["labels"][name] = json!(long);
    }
    alert["labels"][&long] = json!(long);
    alert["annotations"] = json!({ "description": long });
    alert["generatorURL"] = json!(long);

    let app = TestApp::start().await;
    let incident = accepted(&app, notification(std::slice::from_ref(&alert))).await;
    assert_eq!(incident["alert_name"], long);
    let shown = &incident["alerts"][0];
    assert_eq!(
        (&shown["labels"], &shown["annotations"], &shown["generator_url"]),
        (&alert["labels"], &alert["annotations"], &alert["generatorURL"])
    );
    assert_eq!(timeline(&incident), ["opened", "alert_joined"]);
    for (_, text) in entries(&incident) {
        assert!(text.len() < 4000, "{} bytes: {text}", text.len());
        assert!(!text.contains('\n'), "{text}");
        assert_harmless(text);
        assert!(
            text.contains("<script>") && text.contains("\\u{202e}txt\\u{1b}[2J") && text.contains('…'),
            "{text}"
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_one_alert_has_a_bound_and_the_body_is_kept_whole() {
    let app = TestApp::start().await;
    let mut alert = firing(ALERT, "nats-1:7777");
    let annotations = (0..100).map(|number| (format!("note{number:04}"), json!("ü".repeat(20_000))));
    alert["annotations"] = Value::Object(annotations.collect());
    alert["generatorURL"] = json!("x".repeat(20_000));
    let body = notification(std::slice::from_ref(&alert));
    let answer = app.notify(body.clone()).await;
    let path = format!("/api/v1/incidents/{}", answer.json()["incidents"][0].as_str().unwrap());
    let shown = app.get(&path).await.json()["alerts"][0].clone();
    let kept = shown["annotations"].as_object().unwrap();
    assert_eq!((kept.len(), shown["generator_url"].as_str().unwrap()), (64, ""));
    for text in kept.values() {
        assert_eq!(text.as_str().unwrap(), format!("{}…", "ü".repeat(8192)));
    }
    let path = format!("/api/v1/notifications/{}/body", answer.json()["notification"].as_str().unwrap());
    assert_eq!(app.get(&path).await.text, body);

    alert["labels"]["long"] = json!("x".repeat(256 << 10));
    let answer = app.notify(notification(&[alert])).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.starts_with("alerts[0] is not an alert: its labels take 2622"), "{}", answer.text);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_ten_thousand_alerts_is_one_incident_with_a_short_timeline() {
    let alerts: Vec<Value> =
        (0..10_000).map(|serial| firing(ALERT, &format!("nats-{serial}:7777"))).collect();
    let app = TestApp::start().await;
    // one incident, as if all were about one cluster
    let mut body: Value = serde_json::from_str(&notification(&alerts)).unwrap();
    for alert in body["alerts"].as_array_mut().unwrap() {
        let instance = alert["labels"]["instance"].take();
        alert["labels"]["pod"] = instance;
        alert["labels"].as_object_mut().unwrap().remove("instance");
    }
    let incident = accepted(&app, body.to_string()).await;
    assert_eq!(incident["alerts"].as_array().unwrap().len(), 10_000);
    let (_, last) = entries(&incident).last().unwrap();
    assert_eq!((timeline(&incident).len(), last), (12, "fires: 9990 more alerts"));

    let again = accepted(&app, body.to_string()).await;
    assert_eq!(again["timeline"], incident["timeline"], "nothing happened");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_ten_thousand_labels_is_kept_with_all_of_them() {
    let mut alert = firing(ALERT, "nats-1:7777");
    for serial in 0..10_000 {
        alert["labels"][format!("label_{serial}")] = json!(serial.to_string());
    }
    let app = TestApp::start().await;
    let incident = accepted(&app, notification(std::slice::from_ref(&alert))).await;
    assert_eq!(incident["alerts"][0]["labels"], alert["labels"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instants_at_both_ends_of_time_are_kept() {
    let app = TestApp::start().await;
    for (sent, kept) in [
        ("-009999-01-02T01:59:59Z", "-009999-01-02T01:59:59Z"),
        ("0000-01-01T00:00:00+23:59", "-000001-12-31T00:01:00Z"),
        ("9999-12-30T22:00:00.999999999Z", "9999-12-30T22:00:00Z"),
    ] {
        let mut alert = firing(sent, "nats-1:7777");
        alert["startsAt"] = json!(sent);
        let incident = accepted(&app, notification(std::slice::from_ref(&alert))).await;
        assert_eq!(incident["alerts"][0]["starts_at"], kept);
        alert["status"] = json!("resolved");
        alert["endsAt"] = json!(sent);
        let incident = accepted(&app, notification(&[alert])).await;
        assert_eq!(incident["alerts"].as_array().unwrap().len(), 1, "{incident:#}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_nesting_is_ignored_where_nobody_looks_and_refused_where_somebody_does() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let alert = r#"{"status":"firing","labels":{"alertname":"A"},"startsAt":"2026-01-01T00:00:00Z""#;
    let cases = [
        (format!(r#"{{"x":{deep},"alerts":[]}}"#), None),
        (format!(r#"{{"alerts":[{alert},"x":{deep}}}]}}"#), None),
        (deep.clone(), Some("the body is not an Alertmanager notification: it is no JSON object")),
        (format!(r#"{{"alerts":{deep}}}"#), Some("alerts[0] is not an alert: it is no JSON object")),
        // no alert is lost over a field that is not needed
        (format!(r#"{{"alerts":[{alert},"fingerprint":{deep}}}]}}"#), None),
        (format!(r#"{{"alerts":[{alert},"values":{{"A":{deep}}}}}]}}"#), None),
        (
            format!(
                r#"{{"alerts":[{{"status":"firing","labels":{deep},"startsAt":"2026-01-01T00:00:00Z"}}]}}"#
            ),
            Some("alerts[0] is not an alert: invalid type: sequence"),
        ),
    ];
    let app = TestApp::start().await;
    for (body, refused) in cases {
        assert_answer(&app.notify(body).await, refused);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_label_that_comes_twice_the_last_value_counts() {
    let app = TestApp::start().await;
    let alert =
        r#"{"status":"firing","labels":{"alertname":"A","a":"1","a":"2"},"startsAt":"2026-01-01T00:00:00Z""#;
    let incident = accepted(&app, format!(r#"{{"alerts":[{alert}}}]}}"#)).await;
    assert_eq!(incident["alerts"][0]["labels"], json!({ "alertname": "A", "a": "2" }));

    // but a field that decides what a notification says must not say two things
    let cases = [
        (
            r#"{"alerts":[],"alerts":[]}"#.to_owned(),
            "the body is not an Alertmanager notification: duplicate field `alerts`",
        ),
        (
            format!(r#"{{"alerts":[{alert},"status":"resolved"}}]}}"#),
            "alerts[0] is not an alert: duplicate field `status`",
        ),
    ];
    for (body, refused) in cases {
        assert_answer(&app.notify(body).await, Some(refused));
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_text_is_refused() {
    let with = |value: &[u8]| {
        let head =
            br#"{"alerts":[{"status":"firing","startsAt":"2026-01-01T00:00:00Z","labels":{"alertname":""#;
        [head.as_slice(), value, br#""}}]}"#].concat()
    };
    let cases: [(&[u8], &str); 7] = [
        (b"\xff", "the body is not JSON: invalid unicode code point"),
        // surrogates in UTF-8, a character in more bytes than it needs, one cut short
        (b"\xed\xa0\x80", "the body is not JSON: invalid unicode code point"),
        (b"\xc0\xaf", "the body is not JSON: invalid unicode code point"),
        (b"\xe2\x80", "the body is not JSON: invalid unicode code point"),
        (br"\ud800", "alerts[0] is not an alert: unexpected end of hex escape"),
        (br"\udc00", "alerts[0] is not an alert: lone leading surrogate in hex escape"),
        (br"\ud800\u0041", "alerts[0] is not an alert: lone leading surrogate in hex escape"),
    ];
    let app = TestApp::start().await;
    for (value, refused) in cases {
        assert_answer(&app.notify(with(value)).await, Some(refused));
    }
    let incident = accepted(&app, with(br"\ud83d\ude80")).await;
    assert_eq!(incident["alert_name"], "🚀");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_not_unpacked() {
    // a bomb: less than a hundredth of what it would become
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..4 {
        packed.write_all(&vec![b' '; MIB]).unwrap();
    }
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 4 * MIB / 100, "{} bytes", packed.len());

    let app = TestApp::start().await;
    let send = async |encoding: &str, body: Vec<u8>| {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/api/v1/webhook/alertmanager")
            .header("Content-Encoding", encoding)
            .body(Body::from(body))
            .unwrap();
        let response = router(app.state.clone()).oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), MIB).await.unwrap();
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    };
    let (status, headers, text) = send("gzip", packed).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(headers["accept-encoding"], "identity");
    assert_eq!(
        text,
        "the body is compressed (`Content-Encoding: gzip`), which is not accepted: send it as it is\n"
    );
    let (status, _, text) = send(&"x".repeat(10_000), Vec::new()).await;
    assert_eq!((status, text.len() < 200), (StatusCode::UNSUPPORTED_MEDIA_TYPE, true), "{text}");
    let (status, _, text) = send("identity", notification(&[]).into_bytes()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");

    let metrics = app.get("/metrics").await.text;
    assert!(metrics.contains("connwarden_notifications_total{result=\"hopeless\"} 2\n"), "{metrics}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_too_many_or_too_large_headers_is_refused_and_the_next_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;
    let many: String = (0..10_000).map(|serial| format!("X-{serial}: y\r\n")).collect();
    let large = format!("X: {}\r\n", "y".repeat(4 * MIB));
    let path = format!("/{}", "x".repeat(4 * MIB));
    let cases = [("/-/healthy", many.as_str(), "431"), ("/-/healthy", &large, "431"), (&path, "", "431")];
    for (path, headers, status) in cases {
        let mut stream = TcpStream::connect(("127.0.0.1", daemon.url.port().unwrap())).await.unwrap();
        let (mut reading, mut writing) = stream.split();
        let request = format!("GET {path} HTTP/1.1\r\nHost: connwarden\r\n{headers}\r\n");
        let mut answer = Vec::new();
        // it need not take all of the request, nor wait for its end before it hangs up
        let write = async {
            let _ = writing.write_all(request.as_bytes()).await;
        };
        let read = async {
            let _ = reading.read_to_end(&mut answer).await;
        };
        tokio::join!(write, read);
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(daemon.get("api/v1/incidents").await["incidents"], json!([]));
    }
}

/// Posts a notification about one incident that must be taken; the incident.
async fn accepted(app: &TestApp, body: impl Into<Body>) -> Value {
    let answer = app.notify(body).await;
    assert_answer(&answer, None);
    let id = answer.json()["incidents"][0].as_str().unwrap().to_owned();
    app.get(&format!("/api/v1/incidents/{id}")).await.json()
}

/// Fails unless a notification was taken, or refused with a short line that begins like this.
fn assert_answer(answer: &Answer, refused: Option<&str>) {
    let status = if refused.is_some() { 400 } else { 202 };
    assert_eq!(answer.status, status, "{}", answer.text);
    if let Some(refused) = refused {
        assert!(answer.text.starts_with(refused), "{:?} does not begin with {refused:?}", answer.text);
        assert!(answer.text.len() < 500 && answer.text.lines().count() == 1, "{:?}", answer.text);
    }
}
