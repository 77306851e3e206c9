//! Delivery: limits, failures that pass, methods, and bodies that come over a real socket.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{MIB, assert_one_line, config, counted, kept_body, notifications, outsider};
use crate::harness::daemon::Daemon;
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::test_app::TestApp;
use crate::harness::{eventually, fixture};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_the_limit_is_refused_with_the_limit() {
    let app = TestApp::start().await;
    let answer = app.notify(vec![b' '; 20 * MIB]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (413, "the body is larger than 16777216 bytes (web.max_body)\n")
    );
    assert_one_line(&answer);
    assert_eq!((notifications(&app).await, counted(&app, "too_large").await), (0, 1));
    app.finish().await;

    let app = TestApp::with(config("web:\n  max_body: 1KiB\n")).await;
    let body = format!("{:<1024}", notification(&[firing(ALERT, "nats-1:7777")]));
    assert_eq!(app.notify(body.clone()).await.status, 202);
    let answer = app.notify(body + "\n").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (413, "the body is larger than 1024 bytes (web.max_body)\n")
    );
    assert_eq!((counted(&app, "accepted").await, counted(&app, "too_large").await), (1, 1));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_now_is_taken_later() {
    let app = TestApp::start().await;
    let body = notification(&[firing(ALERT, "nats-1:7777")]);
    let mut outsider = outsider(&app).await;

    sqlx::query("ALTER TABLE alerts RENAME TO gone").execute(&mut outsider).await.unwrap();
    let answer = app.notify(body.clone()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (503, "the notification could not be stored\n")
    );
    assert_one_line(&answer);
    assert_eq!((notifications(&app).await, counted(&app, "failed").await), (0, 1));
    assert_eq!(
        app.get("/api/v1/incidents").await.json()["incidents"],
        json!([]),
        "something is half-written"
    );

    sqlx::query("ALTER TABLE gone RENAME TO alerts").execute(&mut outsider).await.unwrap();
    assert_eq!(app.notify(body).await.status, 202);
    assert_eq!((notifications(&app).await, counted(&app, "accepted").await), (1, 1));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_means_try_again_and_not_ready() {
    let app = TestApp::start().await;
    let body = notification(&[firing(ALERT, "nats-1:7777")]);
    let mut outsider = outsider(&app).await;

    sqlx::query("BEGIN IMMEDIATE").execute(&mut outsider).await.unwrap();
    let answer = app.notify(body.clone()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (503, "the notification could not be stored: the database is locked by another process\n")
    );

    let answer = app.get("/-/ready").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (503, "connwarden cannot write to its store: the database is locked by another process.\n"),
        "it is ready although no notification can be stored"
    );

    sqlx::query("ROLLBACK").execute(&mut outsider).await.unwrap();
    let ready = async || app.get("/-/ready").await.status.is_success().then_some(());
    eventually("that it is ready again", ready).await;
    assert_eq!(app.notify(body).await.status, 202);
    assert_eq!(notifications(&app).await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_may_put_and_nobody_may_get() {
    let app = TestApp::start().await;
    let body = fixture("alertmanager/grafana-webhook.CONSTRUCTED.json");
    let answer = app.request(Method::PUT, "/api/v1/webhook/alertmanager", Body::from(body.clone())).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(kept_body(&app, &answer).await, body.as_bytes());

    for method in [Method::GET, Method::DELETE, Method::PATCH] {
        let answer = app.request(method, "/api/v1/webhook/alertmanager", Body::from(body.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.content_type.as_str()), (405, "application/problem+json"));
        assert_eq!(answer.json()["detail"], "this method is not allowed here");
    }
    assert_eq!(notifications(&app).await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_socket_large_chunked_and_repeated_deliveries_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;

    let (status, text) = daemon.notify(vec![b' '; 20 * MIB]).await;
    assert_eq!((status, text.as_str()), (413, "the body is larger than 16777216 bytes (web.max_body)\n"));

    let body = fixture("alertmanager/group500.am-0.33.1.json");
    let chunks: Vec<_> =
        body.as_bytes().chunks(10_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
    let (status, text) = daemon.notify(reqwest::Body::wrap_stream(tokio_stream::iter(chunks))).await;
    assert_eq!(status, 202, "{text}");

    let body = fixture("alertmanager/single-firing.am-0.33.1.json");
    let address = format!("127.0.0.1:{}", daemon.url.port().unwrap());
    let mut connection = TcpStream::connect(&address).await.unwrap();
    for _ in 0..3 {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n",
            daemon.webhook().path(),
            body.len()
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(body.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // the answer is one JSON object and ends with it
        while !answer.ends_with(b"}") {
            assert_ne!(connection.read_buf(&mut answer).await.unwrap(), 0, "it hung up");
        }
        assert!(answer.starts_with(b"HTTP/1.1 202 "), "{}", String::from_utf8_lossy(&answer));
    }
}
