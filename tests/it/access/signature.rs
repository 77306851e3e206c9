//! Signatures, as Grafana makes them.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use ring::hmac;
use serde_json::json;

use super::{WEBHOOK, read};
use crate::harness::fixture;
use crate::harness::test_app::{Answer, TestApp};

const SECRET: &str = "secret-of-the-grafana";

/// Grafana signs bodies; another one, with another secret, signs the time too.
const CONFIG: &str = "
web:
  credentials:
    - {name: grafana, role: webhook, hmac: {secret: secret-of-the-grafana}}
    - name: grafana-timed
      role: webhook
      hmac: {secret: secret-of-the-other, header: X-Signature, timestamp_header: X-Timestamp}
";

/// A signature as Grafana writes it.
fn sign(secret: &str, text: &str) -> String {
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text.as_bytes());
    signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn body() -> String {
    fixture("alertmanager/grafana-webhook.CONSTRUCTED.json")
}

async fn deliver(app: &TestApp, headers: &[(&str, &str)], body: &str) -> Answer {
    app.request_with(Method::POST, WEBHOOK, headers, Body::from(body.to_owned())).await
}

async fn stored(app: &TestApp) -> usize {
    let list = app.act(Method::GET, "/api/v1/incidents", Body::empty()).await.json();
    list["incidents"].as_array().unwrap().len()
}

/// The example of RFC 4231, 4.3, is what our own signatures are.
#[test]
fn signatures_are_hmac_sha256() {
    let signature = sign("Jefe", "what do ya want for nothing?");
    assert_eq!(signature, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_body_is_taken_and_any_other_is_not() {
    let app = TestApp::with(read(CONFIG)).await;
    let (body, header) = (body(), "X-Grafana-Alerting-Signature");
    let good = sign(SECRET, &body);
    let bad = [
        sign("another secret of sixteen", &body),
        sign(SECRET, &format!("{body} ")),
        sign(SECRET, ""),
        good[1..].to_owned(),
        good[2..].to_owned(),
        format!("{good}00"),
        format!("sha256={good}"),
        String::new(),
        "g".repeat(64),
        // as it is signed where the time is signed too
        sign("secret-of-the-other", &format!("{}:{body}", app.clock.now().as_second())),
    ];
    for signature in &bad {
        app.advance(Duration::from_secs(60));
        let answer = deliver(&app, &[(header, signature)], &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (401, "the credential is not known\n"),
            "{signature}"
        );
    }
    let answer = deliver(&app, &[(header, &good), (header, &good)], &body).await;
    assert_eq!(answer.status, 401, "which of two is meant?");
    assert_eq!(deliver(&app, &[], &body).await.status, 401);
    assert_eq!(deliver(&app, &[("X-Signature", &good)], &body).await.status, 401);
    assert_eq!(stored(&app).await, 0);

    let answer = deliver(&app, &[(header, &good)], &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let upper = good.to_uppercase();
    assert_eq!(deliver(&app, &[(header, &upper)], &body).await.status, 202);
    assert!(stored(&app).await > 0);
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_another_time_is_not_taken_and_may_be_sent_again() {
    let app = TestApp::with(read(CONFIG)).await;
    let body = body();
    let signed_at = app.clock.now().as_second();
    let at = async |second: i64| {
        let signature = sign("secret-of-the-other", &format!("{second}:{body}"));
        deliver(&app, &[("X-Signature", &signature), ("X-Timestamp", &second.to_string())], &body).await
    };
    assert_eq!(at(signed_at).await.status, 202);
    for second in [signed_at - 300, signed_at + 300] {
        assert_eq!(at(second).await.status, 202);
    }
    // clocks are set right again: no 4xx, which would be the end of it
    for (second, said) in [
        (signed_at - 301, "the signature was made 301 s before now, by the clock of connwarden\n"),
        (signed_at + 301, "the signature was made 301 s after now, by the clock of connwarden\n"),
        (i64::MAX, "the signature was made 9223372035059245407 s after now, by the clock of connwarden\n"),
    ] {
        let answer = at(second).await;
        assert_eq!(answer.status, 503);
        assert!(answer.text == said || second == i64::MAX, "{}", answer.text);
    }
    // what was sent in time is no use to whoever wrote it down
    app.advance(Duration::from_secs(301));
    assert_eq!(at(signed_at).await.status, 503);
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_not_the_signed_one_is_a_wrong_signature() {
    let app = TestApp::with(read(CONFIG)).await;
    let body = body();
    let now = app.clock.now().as_second();
    let signature = sign("secret-of-the-other", &format!("{now}:{body}"));
    let garbage = sign("secret-of-the-other", &format!("soon:{body}"));
    let untimed = sign("secret-of-the-other", &body);
    let later = (now + 1).to_string();
    let cases: [&[(&str, &str)]; 5] = [
        &[("X-Signature", &signature), ("X-Timestamp", &later)],
        &[("X-Signature", &signature)],
        &[("X-Signature", &signature), ("X-Timestamp", "")],
        &[("X-Signature", &garbage), ("X-Timestamp", "soon")],
        &[("X-Signature", &untimed)],
    ];
    for headers in cases {
        assert_eq!(deliver(&app, headers, &body).await.status, 401, "{headers:?}");
    }
    assert_eq!(stored(&app).await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_opens_nothing_but_the_webhook() {
    let app = TestApp::with(read(CONFIG)).await;
    let empty = sign(SECRET, "");
    for (method, path) in super::routes(&app).await {
        if path == WEBHOOK || path.starts_with("/-/") {
            continue;
        }
        let headers = [("X-Grafana-Alerting-Signature", empty.as_str())];
        let answer = app.request_with(method.clone(), &path, &headers, Body::empty()).await;
        assert_eq!(answer.status, 401, "{method} {path}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_secret_is_rotated_in_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let config = json!({ "web": { "credentials": [
        { "name": "grafana", "role": "webhook", "hmac": { "secret_file": file } },
    ] } });
    let app = TestApp::with(read(&config.to_string())).await;
    let body = body();
    let deliver = async |secret: &str| {
        let signature = sign(secret, &body);
        deliver(&app, &[("X-Grafana-Alerting-Signature", &signature)], &body).await
    };
    assert_eq!(deliver(SECRET).await.status, 202);
    std::fs::write(&file, "secret-of-the-new-grafana").unwrap();
    assert_eq!(deliver("secret-of-the-new-grafana").await.status, 202);
    let answer = deliver(SECRET).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (503, "this secret has been replaced, use the new one\n")
    );
    std::fs::remove_file(&file).unwrap();
    app.advance(Duration::from_secs(3600));
    let answer = deliver("whatever it is or was or will be").await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    app.run_jobs().await;
    app.finish().await;
}
