//! The daemon inside the test: its clock stands still, and jobs run when the test says so.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use connwarden::app;
use connwarden::clock::Clock;
use connwarden::config::Config;
use connwarden::http::error::Problem;
use connwarden::http::{self, AppState};
use connwarden::jobs::{Lane, Worker};
use connwarden::model::credential::Secret;
use connwarden::store::{self, Store};
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;
use url::Url;

use crate::harness::eventually;

/// The moment at which every test begins.
pub const START: &str = "2026-11-24T09:00:00Z";

/// What an operator shows to a daemon inside the test.
pub const OPERATOR_TOKEN: &str = "the-token-of-the-operator-in-tests";

/// A daemon without a listener. [`TestApp::finish`] must be its end.
pub struct TestApp {
    pub clock: Clock,
    pub state: AppState,
    worker: Worker,
    config: Config,
    finished: bool,
    pub directory: TempDir,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: String,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// The document in the answer.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The detail of the problem document that the answer must be.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.content_type, "application/problem+json");
        let problem: Problem = serde_json::from_str(&self.text).unwrap();
        assert_eq!(
            (problem.status, problem.title.as_str()),
            (status, self.status.canonical_reason().unwrap())
        );
        assert!(!problem.request_id.is_empty());
        problem.detail
    }
}

impl TestApp {
    /// A daemon that watches nothing.
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    /// A daemon that watches the given monitoring URLs as one cluster called `nats`.
    pub async fn watching<'a>(monitors: impl IntoIterator<Item = &'a Url>) -> Self {
        Self::with(Config::from_monitors(monitors.into_iter().cloned().collect())).await
    }

    /// A daemon of a configuration; its storage is a directory of its own.
    pub async fn with(config: Config) -> Self {
        Self::beginning(START.parse().unwrap(), config).await
    }

    /// The same, with another moment to begin at.
    pub async fn beginning(start: Timestamp, mut config: Config) -> Self {
        // where browsers find it
        config.web.access.allowed_hosts.push("warden.example".to_owned());
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        Self::on(store, directory, config, Clock::manual(start)).await
    }

    async fn on(store: Store, directory: TempDir, config: Config, clock: Clock) -> Self {
        let (state, worker) = app::wire(&config, store, clock.clone()).await.unwrap();
        state.access.trust_local_operator(Secret::Text(OPERATOR_TOKEN.into()));
        state.readiness.set(true);
        Self { clock, state, worker, config, finished: false, directory }
    }

    /// Ends the daemon, with its jobs left over, and starts another on the same storage.
    pub async fn restart(self) -> Self {
        let config = self.config.clone();
        self.restart_with(config).await
    }

    /// The same, with another configuration.
    pub async fn restart_with(mut self, config: Config) -> Self {
        self.finished = true;
        self.state.store.close().await;
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        let clock = self.clock.clone();
        drop(self);
        // other tests start processes, and one that has not got as far as its program holds all files, the lock too
        let store = eventually("a storage directory that nobody uses", async || {
            Store::open(directory.path()).await.ok()
        });
        Self::on(store.await, directory, config, clock).await
    }

    /// Asks for a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, Body::empty()).await
    }

    /// Posts a notification.
    pub async fn notify(&self, body: impl Into<Body>) -> Answer {
        self.request(Method::POST, "/api/v1/webhook/alertmanager", body.into()).await
    }

    /// Sends any request, as Alertmanager would.
    pub async fn request(&self, method: Method, path: &str, body: Body) -> Answer {
        self.request_with(method, path, &[], body).await
    }

    /// Sends any request as an operator.
    pub async fn act(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        let shown = format!("Bearer {OPERATOR_TOKEN}");
        self.request_with(method, path, &[("Authorization", &shown)], body.into()).await
    }

    /// Sends any request with some headers of its own.
    pub async fn request_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("User-Agent", "Alertmanager/0.33.1")
            .header("Content-Type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body).unwrap()).await
    }

    /// Asks for a page, as a browser would.
    pub async fn browse(&self, path: &str) -> Answer {
        let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let request =
            Request::builder().uri(path).header("Accept", accept).header("Host", "warden.example:9480");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = http::router(self.state.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let content_type = parts.headers.get("content-type").map(|value| value.to_str().unwrap().to_owned());
        Answer {
            status: parts.status,
            content_type: content_type.unwrap_or_default(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// Runs every job that is due by the clock of the test.
    pub async fn run_jobs(&self) {
        let run_next = async |lane| self.worker.run_next(lane).await.unwrap();
        while run_next(Lane::Runs).await || run_next(Lane::Looks).await {}
    }

    /// Moves the clock.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Ends the daemon; no job may be left over.
    pub async fn finish(mut self) {
        self.finished = true;
        let left = store::jobs::count(&mut self.state.store.read().await.unwrap()).await.unwrap();
        assert_eq!(left, 0, "jobs are left over");
        self.state.store.close().await;
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        assert!(self.finished || std::thread::panicking(), "a test must end with `app.finish().await`");
    }
}
