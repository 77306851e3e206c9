//! Health, readiness and metrics, in Prometheus' manner.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use crate::engine::JOB_KINDS;
use crate::http::AppState;
use crate::model::incident::IncidentState;
use crate::store::{self, StoreError};
use crate::telemetry::metrics::{JobFigures, MitigationFigures, StoreFigures};

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
    let figures = match figures(&state).await {
        Ok(figures) => state.store.check_writing().await.map(|()| figures),
        error => error,
    };
    match figures {
        Ok(figures) => state.metrics.store_answers(figures),
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
    store::jobs::count(&mut *state.store.read().await?).await?;
    state.store.check_writing().await
}

/// What is counted in the store.
async fn figures(state: &AppState) -> Result<StoreFigures, StoreError> {
    let mut conn = state.store.read().await?;
    let counted = store::incidents::count_unresolved(&mut conn).await?;
    let unresolved =
        IncidentState::UNRESOLVED_NAMES.map(|name| (name, counted.get(name).copied().unwrap_or(0))).to_vec();
    let (now, queued) = (state.clock.now(), store::jobs::count_by_kind(&mut conn).await?);
    let jobs = JOB_KINDS.map(|kind| {
        let jobs = queued.iter().find(|jobs| jobs.kind == kind);
        let due_for = jobs.map(|jobs| now.duration_since(jobs.oldest_due_at));
        JobFigures {
            kind,
            queued: jobs.map_or(0, |jobs| jobs.count),
            due_for: due_for.and_then(|due_for| Duration::try_from(due_for).ok()).unwrap_or_default(),
        }
    });
    let mut mitigations = Vec::new();
    for cluster in state.engine.clusters() {
        mitigations.push(MitigationFigures {
            cluster: cluster.name.clone(),
            running: store::mitigations::find_running(&mut conn, &cluster.name).await?.is_some(),
            paused: state.engine.are_mitigations_paused(&cluster.name).await?,
        });
    }
    Ok(StoreFigures { unresolved, jobs: jobs.to_vec(), mitigations })
}
