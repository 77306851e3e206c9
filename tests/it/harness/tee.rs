//! A webhook that writes down what comes and hands it on.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use url::Url;

use crate::harness::http;

/// A webhook in front of another.
pub struct Tee {
    pub url: Url,
    book: Book,
    task: JoinHandle<()>,
}

/// Every notification, as it came.
type Book = Arc<Mutex<Vec<Value>>>;

impl Tee {
    /// Starts a webhook that hands everything on to `webhook`.
    pub async fn before(webhook: Url) -> Self {
        Self::start(Some(webhook)).await
    }

    /// Starts a webhook that only writes down what comes.
    pub async fn before_nothing() -> Self {
        Self::start(None).await
    }

    async fn start(webhook: Option<Url>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let book = Book::default();
        let router = Router::new().fallback(hand_on).with_state((http(), webhook, book.clone()));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, book, task }
    }

    /// Every notification that has come so far, in the order of coming.
    pub fn notifications(&self) -> Vec<Value> {
        self.book.lock().unwrap().clone()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn hand_on(
    State((client, webhook, book)): State<(reqwest::Client, Option<Url>, Book)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    book.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    let Some(webhook) = webhook else { return StatusCode::OK };
    let request = client.post(webhook).header("User-Agent", headers["User-Agent"].clone()).body(body);
    let answer = request.send().await.unwrap();
    StatusCode::from_u16(answer.status().as_u16()).unwrap()
}
