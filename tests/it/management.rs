//! Management: health, readiness, metrics, and the id of every request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::IntoResponse;
use connwarden::app;
use connwarden::clock::Clock;
use connwarden::config::Config;
use connwarden::http::error::{ApiError, Problem};
use connwarden::http::{self, AppState};
use connwarden::store::{Store, StoreError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tower::ServiceExt;

use crate::harness::fixture;
use crate::harness::test_app::{OPERATOR_TOKEN, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_as_long_as_the_store_answers_and_healthy_as_long_as_it_lives() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let (state, _worker) = app::wire(&Config::default(), store, Clock::system()).await.unwrap();

    let ready = async || {
        let (status, _, text) = ask(&state, Method::GET, "/-/ready").await;
        (status.as_u16(), text)
    };
    assert_eq!(ready().await, (503, "connwarden is starting or stopping.\n".to_owned()));
    state.readiness.set(true);
    assert_eq!(ready().await, (200, "connwarden is ready.\n".to_owned()));
    state.store.close().await;
    assert_eq!(ready().await, (503, "connwarden cannot reach its store.\n".to_owned()));

    let (status, _, text) = ask(&state, Method::GET, "/-/healthy").await;
    assert_eq!((status.as_u16(), text.as_str()), (200, "connwarden is healthy.\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_shown_although_the_store_is_broken() {
    let app = TestApp::watching([&"http://127.0.0.1:1".parse().unwrap()]).await;
    assert_eq!(app.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await.status, 202);
    let shows = async |samples: &[&str]| {
        let answer = app.get("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        for sample in samples {
            assert!(answer.text.lines().any(|line| line == *sample), "no `{sample}` in {}", answer.text);
        }
    };
    let counted = [
        "connwarden_unresolved_incidents{state=\"triggered\"} 1",
        "connwarden_unresolved_incidents{state=\"recovering\"} 0",
        "connwarden_queued_jobs{kind=\"enrich\"} 1",
        "connwarden_oldest_due_job_seconds{kind=\"enrich\"} 0.0",
    ];
    shows(&counted).await;
    shows(&["connwarden_store_up 1"]).await;

    let mut outsider = outsider(&app).await;
    for change in ["ALTER TABLE incidents RENAME TO gone", "DELETE FROM jobs"] {
        sqlx::query(change).execute(&mut outsider).await.unwrap();
    }
    assert_eq!(app.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await.status, 503);
    shows(&counted).await;
    shows(&["connwarden_store_up 0", "connwarden_notifications_total{result=\"failed\"} 1"]).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_open_metrics_with_help_and_bounded_labels() {
    let app = TestApp::watching([&"http://127.0.0.1:1".parse().unwrap()]).await;
    for name in ["unicode.am-0.33.1", "group500.am-0.33.1"] {
        assert_eq!(app.notify(fixture(&format!("alertmanager/{name}.json"))).await.status, 202);
    }
    // nobody answers: five looks, then it is given up
    for _ in 0..5 {
        app.run_jobs().await;
        app.advance(std::time::Duration::from_secs(600));
    }
    let mut sampler = app.state.engine.sampler("nats").unwrap();
    app.state.engine.sample(&mut sampler).await.expect_err("nobody answers a sampler either");
    let (status, headers, text) = ask(&app.state, Method::GET, "/metrics").await;
    assert_eq!(status, 200);
    assert_eq!(headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");

    let families = families(&text);
    let expected = [
        "connwarden_build",
        "connwarden_cluster_connections_seen",
        "connwarden_cluster_coverage_ratio",
        "connwarden_cluster_last_look_timestamp_seconds",
        "connwarden_deleted_rows",
        "connwarden_http_auth",
        "connwarden_intake_batch_deliveries",
        "connwarden_intake_queue_length",
        "connwarden_jobs",
        "connwarden_mitigation_requests",
        "connwarden_mitigations",
        "connwarden_mitigations_paused",
        "connwarden_notifications",
        "connwarden_oldest_due_job_seconds",
        "connwarden_queued_jobs",
        "connwarden_reconciliations",
        "connwarden_repeated_notifications",
        "connwarden_running_mitigations",
        "connwarden_sample_duration_seconds",
        "connwarden_sample_interval_seconds",
        "connwarden_samples",
        "connwarden_store_up",
        "connwarden_store_write_seconds",
        "connwarden_sweep_duration_seconds",
        "connwarden_sweep_received_bytes",
        "connwarden_sweeps",
        "connwarden_tls_certificate_refused",
        "connwarden_unresolved_incidents",
    ];
    assert!(families.keys().copied().eq(expected), "{:?}", families.keys());
    let labels: BTreeSet<&str> = families.values().flatten().copied().collect();
    let bounded = BTreeSet::from([
        "action", "cluster", "complete", "kind", "le", "outcome", "result", "state", "table", "version",
    ]);
    assert_eq!(labels, bounded, "a label may not hold what strangers say");

    for sample in [
        "connwarden_notifications_total{result=\"accepted\"} 2",
        "connwarden_notifications_total{result=\"hopeless\"} 0",
        "connwarden_jobs_total{kind=\"enrich\",result=\"done\"} 5",
        "connwarden_sweeps_total{cluster=\"nats\",complete=\"false\"} 6",
        "connwarden_sweep_duration_seconds_count{cluster=\"nats\"} 6",
        "connwarden_intake_queue_length 0",
        "connwarden_intake_batch_deliveries_count 2",
        "connwarden_store_write_seconds_count 2",
        "connwarden_unresolved_incidents{state=\"triggered\"} 1",
        "connwarden_queued_jobs{kind=\"enrich\"} 0",
        "connwarden_cluster_coverage_ratio{cluster=\"nats\"} 0.0",
        "connwarden_running_mitigations{cluster=\"nats\"} 0",
        "connwarden_mitigations_paused{cluster=\"nats\"} 0",
    ] {
        assert!(text.lines().any(|line| line == sample), "no `{sample}` in {text}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_names_its_request() {
    let app = TestApp::start().await;
    let mut seen = BTreeSet::new();
    let requests = [
        (Method::GET, "/-/healthy", 200),
        (Method::GET, "/metrics", 200),
        (Method::GET, "/api/v1/incidents", 200),
        (Method::GET, "/api/v1/incidents?limit=0", 400),
        (Method::GET, "/nowhere", 404),
        (Method::POST, "/api/v1/clusters", 405),
        (Method::POST, "/api/v1/webhook/alertmanager", 400),
    ];
    for (method, path, expected) in requests {
        let (status, headers, text) = ask(&app.state, method, path).await;
        assert_eq!(status.as_u16(), expected, "{path}: {text}");
        let id = headers["x-request-id"].to_str().unwrap().to_owned();
        if headers["content-type"] == "application/problem+json" {
            let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(problem["request_id"], id, "{path}");
        }
        assert!(seen.insert(id), "{path}: two requests have the same id");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_not_allowed_is_told_which_are() {
    let app = TestApp::start().await;
    for (path, allowed) in
        [("/api/v1/incidents", "GET,HEAD,POST"), ("/api/v1/webhook/alertmanager", "POST,PUT")]
    {
        let (status, headers, _) = ask(&app.state, Method::DELETE, path).await;
        assert_eq!(
            (status.as_u16(), headers.get("allow").and_then(|value| value.to_str().ok())),
            (405, Some(allowed))
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_busy_is_no_internal_error() {
    let app = TestApp::start().await;
    let mut outsider = outsider(&app).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut outsider).await.unwrap();
    let file = app.directory.path().join("connwarden.db");
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::ZERO);
    let mut other = options.connect().await.unwrap();
    let locked = sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap_err();
    let cases = [
        (locked, 503, "the store is busy, try again"),
        (sqlx::Error::PoolTimedOut, 503, "the store is busy, try again"),
        (sqlx::Error::RowNotFound, 500, "internal error"),
    ];
    for (error, status, detail) in cases {
        let mut response = ApiError::from(StoreError::from(error)).into_response();
        let problem = response.extensions_mut().remove::<Problem>().unwrap();
        assert_eq!((problem.status, problem.detail.as_str()), (status, detail));
        assert_eq!(response.status(), status);
    }
    app.finish().await;
}

/// A connection to the database that is not the daemon's.
async fn outsider(app: &TestApp) -> SqliteConnection {
    let file = app.directory.path().join("connwarden.db");
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// Reads OpenMetrics text strictly: the label names of each family.
fn families(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut families: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let (mut helped, mut kind) = ("", "");
    let body = text.strip_suffix("# EOF\n").expect("OpenMetrics ends with # EOF");
    for line in body.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", family, help] => {
                assert!(families.insert(family, BTreeSet::new()).is_none(), "{family} comes twice");
                assert!(help.len() > 10 && help.ends_with('.') && !help.ends_with(".."), "{line}");
                helped = family;
            }
            ["#", "TYPE", family, of] => {
                assert_eq!(*family, helped, "no help before: {line}");
                kind = of;
            }
            ["#", "UNIT", family, unit] => assert!(*family == helped && family.ends_with(unit), "{line}"),
            _ => {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let suffixes: &[&str] = match kind {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "info" => &["_info"],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    other => panic!("{helped} is a {other}"),
                };
                assert!(name.strip_prefix(helped).is_some_and(|suffix| suffixes.contains(&suffix)), "{line}");
                let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
                let names = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0));
                families.get_mut(helped).expect("it was helped").extend(names);
            }
        }
    }
    families
}

/// Asks as an operator.
async fn ask(state: &AppState, method: Method, path: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("Authorization", format!("Bearer {OPERATOR_TOKEN}"));
    let request = request.body(Body::empty()).unwrap();
    let response = http::router(state.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
}
