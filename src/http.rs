//! HTTP: the webhook, the JSON API, the pages for people, and the management endpoints.
//!
//! Handlers extract, call the engine or read the store, and answer. Statuses are decided in [`error`] alone.

pub mod api;
pub mod error;
pub mod management;
mod request_id;
pub mod ui;
pub mod webhook;

use axum::Router;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::http::error::ApiError;
use crate::http::management::Readiness;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// What handlers need. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    /// The use cases.
    pub engine: Engine,
    /// For reading.
    pub store: Store,
    /// Counted by the handlers, shown at `/metrics`.
    pub metrics: Metrics,
    /// Time and ids.
    pub clock: Clock,
    /// Whether requests should come here.
    pub readiness: Readiness,
    /// The largest webhook body that is read, in bytes.
    pub max_body_bytes: u64,
}

/// Every route there is.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/api/v1/webhook/alertmanager", post(webhook::receive).put(webhook::receive))
        .route("/api/v1/incidents", get(api::incidents::list))
        .route("/api/v1/incidents/{id}", get(api::incidents::show))
        .route("/api/v1/clusters", get(api::clusters::list))
        .route("/api/v1/clusters/{name}/breakdown", get(api::clusters::breakdown))
        .route("/-/healthy", get(management::healthy))
        .route("/-/ready", get(management::ready))
        .route("/metrics", get(management::metrics))
        .merge(ui::routes())
        .fallback(|| async { ApiError::NoSuchPath })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .with_state(state.clone())
        .layer(CatchPanicLayer::custom(error::after_panic))
        .layer(TraceLayer::new_for_http().make_span_with(request_id::span))
        .layer(axum::middleware::from_fn_with_state(state.clock, request_id::set))
}
