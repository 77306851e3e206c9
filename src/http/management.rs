//! Health, readiness and metrics, in Prometheus' manner.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use crate::http::AppState;
use crate::store::{self, StoreError};

/// Whether requests should come here: set once everything runs, taken back when something has stopped.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says whether requests should come here.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The process answers.
#[utoipa::path(
    get,
    path = "/-/healthy",
    tag = "management",
    security(()),
    responses((status = 200, body = String, content_type = "text/plain")),
)]
pub async fn healthy() -> &'static str {
    "connwarden is healthy.\n"
}

/// The store answers and the workers live.
#[utoipa::path(
    get,
    path = "/-/ready",
    tag = "management",
    security(()),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 503, description = "Requests should not come here now", body = String, content_type = "text/plain"),
    ),
)]
pub async fn ready(State(state): State<AppState>) -> (StatusCode, Cow<'static, str>) {
    if !state.readiness.get() {
        return (StatusCode::SERVICE_UNAVAILABLE, "connwarden is starting or stopping.\n".into());
    }
    match check(&state).await {
        Ok(()) => (StatusCode::OK, "connwarden is ready.\n".into()),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the store does not answer: {error}");
            let failure = if matches!(error, StoreError::CannotWrite(_)) { "write to" } else { "reach" };
            let reason = error.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
            let text = format!("connwarden cannot {failure} its store{reason}.\n");
            (StatusCode::SERVICE_UNAVAILABLE, text.into())
        }
    }
}

/// Tells how connwarden itself is doing, as OpenMetrics text.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "management",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")),
)]
pub async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    // with a store that is broken the other metrics are wanted most
    match counts(&state).await {
        Ok((unresolved, queued)) => state.metrics.store_answers(unresolved, queued),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the store does not answer: {error}");
            state.metrics.store_fails();
        }
    }
    state.metrics.intake_queue(state.engine.waiting_notifications());
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], state.metrics.render())
}

/// Whether the store can be read and written to.
async fn check(state: &AppState) -> Result<(), StoreError> {
    counts(state).await?;
    state.store.check_writing().await
}

/// How many incidents are unresolved and how many jobs queued.
async fn counts(state: &AppState) -> Result<(u64, u64), StoreError> {
    let mut conn = state.store.read().await?;
    Ok((store::incidents::count_unresolved(&mut conn).await?, store::jobs::count(&mut conn).await?))
}
