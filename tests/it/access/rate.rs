//! Rate limits, by the clock of the test.

use std::time::Duration;

use axum::http::Method;

use super::{Shown, WEBHOOK, ask_from, read};
use crate::harness::test_app::TestApp;

const CONFIG: &str = "
web:
  rate_limit: {requests_per_second: 2, burst: 3}
  credentials:
    - {name: viewer, role: viewer, bearer_token: token-of-the-viewer}
    - {name: browser, role: viewer, basic_auth: {username: viewer, password: pass:word}}
    - {name: alertmanager, role: webhook, bearer_token: token-of-the-webhook}
";

fn header(value: &str) -> Shown {
    Shown::Header("Authorization", value.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_asks_too_often_is_told_when_to_come_back() {
    let app = TestApp::with(read(CONFIG)).await;
    let viewer = header("Bearer token-of-the-viewer");
    let ask = async |address: &str| ask_from(&app, address, Method::GET, "/api/v1/incidents", &viewer).await;
    for _ in 0..3 {
        assert_eq!(ask("10.0.0.1").await.status, 200);
    }
    let answer = ask("10.0.0.1").await;
    assert_eq!(answer.problem(429), "too many requests from one source, try again in 1 s");
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(ask("10.0.0.2").await.status, 200, "another source is another matter");
    app.advance(Duration::from_millis(500));
    assert_eq!(ask("10.0.0.1").await.status, 200);
    assert_eq!(ask("10.0.0.1").await.status, 429);
    // this host, and everybody behind a proxy on it
    for _ in 0..50 {
        assert_eq!(ask("127.0.0.1").await.status, 200);
        assert_eq!(ask("::1").await.status, 200);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_too_many_is_to_be_sent_again() {
    let app = TestApp::with(read(CONFIG)).await;
    let shown = header("Bearer token-of-the-webhook");
    let deliver = async || ask_from(&app, "10.0.0.1", Method::POST, WEBHOOK, &shown).await;
    for _ in 0..3 {
        assert_eq!(deliver().await.status, 400, "it was let in, and had no body");
    }
    let answer = deliver().await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (503, "too many requests from one source, try again in 1 s\n")
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_passwords_is_slowed_down_and_learns_nothing_meanwhile() {
    let config = CONFIG.replace("requests_per_second: 2", "requests_per_second: 0");
    let app = TestApp::with(read(&config)).await;
    // `viewer:guess` and `viewer:pass:word`
    let (wrong, right) = (header("Basic dmlld2VyOmd1ZXNz"), header("Basic dmlld2VyOnBhc3M6d29yZA=="));
    let ask = async |address: &str, shown: &Shown| {
        ask_from(&app, address, Method::GET, "/", shown).await.status.as_u16()
    };
    assert_eq!(ask("10.0.0.1", &right).await, 200);
    for _ in 0..10 {
        assert_eq!(ask("10.0.0.1", &wrong).await, 401);
    }
    assert_eq!(ask("10.0.0.1", &wrong).await, 429);
    assert_eq!(ask("10.0.0.1", &right).await, 429, "or the guess that is right would be seen");
    assert_eq!(ask("10.0.0.2", &right).await, 200);

    // a token cannot be guessed, so who has one is not locked out by somebody behind the same proxy
    let token = header("Bearer token-of-the-viewer");
    assert_eq!(ask("10.0.0.1", &token).await, 200);
    assert_eq!(ask("10.0.0.1", &header("Bearer another-token")).await, 429);
    let deliver =
        async |shown: &Shown| ask_from(&app, "10.0.0.1", Method::POST, WEBHOOK, shown).await.status.as_u16();
    assert_eq!(deliver(&header("Bearer token-of-the-webhook")).await, 400, "it was let in, and had no body");
    assert_eq!(deliver(&wrong).await, 503);

    app.advance(Duration::from_secs(1));
    assert_eq!(ask("10.0.0.1", &right).await, 200);
    assert_eq!(ask("10.0.0.1", &wrong).await, 401);
    assert_eq!(ask("10.0.0.1", &wrong).await, 429);
    // this host is no exception here
    for _ in 0..10 {
        assert_eq!(ask("127.0.0.1", &wrong).await, 401);
    }
    assert_eq!(ask("127.0.0.1", &wrong).await, 429);
    app.finish().await;
}
