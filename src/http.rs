//! HTTP: the webhook, the JSON API, the pages for people, and the management endpoints.
//!
//! Handlers extract, call the engine or read the store, and answer. Statuses are decided in [`error`] alone.

pub mod api;
pub mod auth;
pub mod error;
pub mod management;
pub mod openapi;
pub mod peer;
mod rate;
mod request_id;
pub mod ui;
pub mod webhook;

use std::sync::Arc;

use axum::Router;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::http::auth::Access;
use crate::http::error::ApiError;
use crate::http::management::Readiness;
use crate::http::webhook::BodyLimits;
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
    pub metrics: Arc<Metrics>,
    /// Time and ids.
    pub clock: Clock,
    /// Whether requests should come here.
    pub readiness: Readiness,
    /// How large webhook bodies may be.
    pub body_limits: BodyLimits,
    /// Who is let in.
    pub access: Access,
}

/// Every route there is.
pub fn router(state: AppState) -> Router {
    let (routes, document) = documented_routes().split_for_parts();
    routes
        .merge(openapi::route(&document))
        .merge(ui::routes())
        .fallback(|| async { ApiError::NoSuchPath })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .with_state(state.clone())
        // one after the other, in one layer of the router: it makes a copy of each of its layers for every request
        .layer((
            axum::middleware::from_fn_with_state(state.clock, request_id::set),
            // who handles a failure logs it
            TraceLayer::new_for_http().make_span_with(request_id::span).on_failure(()),
            CatchPanicLayer::custom(error::after_panic),
            axum::middleware::from_fn_with_state(state.access, auth::guard),
        ))
}

/// The routes for programs: what is routed here is in the OpenAPI document, and nothing else is.
fn documented_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(webhook::receive))
        .routes(routes!(api::incidents::list, api::incidents::acts::open))
        .routes(routes!(api::incidents::show))
        .routes(routes!(api::incidents::report::report))
        .routes(routes!(api::incidents::comparison::compare))
        .routes(routes!(api::incidents::acts::acknowledge))
        .routes(routes!(api::incidents::acts::add_note))
        .routes(routes!(api::incidents::acts::resolve))
        .routes(routes!(api::incidents::acts::reopen))
        .routes(routes!(api::culprits::list))
        .routes(routes!(api::notifications::list))
        .routes(routes!(api::notifications::show))
        .routes(routes!(api::notifications::body))
        .routes(routes!(api::notifications::replay))
        .routes(routes!(api::changes::list, api::changes::add))
        .routes(routes!(api::mitigations::plan))
        .routes(routes!(api::mitigations::plan_for_incident))
        .routes(routes!(api::estimates::make))
        .routes(routes!(api::mitigations::list))
        .routes(routes!(api::mitigations::show))
        .routes(routes!(api::mitigations::statistics::list_statistics))
        .routes(routes!(api::mitigations::list_victims))
        .routes(routes!(api::clusters::capabilities))
        .routes(routes!(api::mitigations::acts::propose))
        .routes(routes!(api::mitigations::acts::approve))
        .routes(routes!(api::mitigations::acts::execute))
        .routes(routes!(api::mitigations::acts::reject))
        .routes(routes!(api::mitigations::acts::stop))
        .routes(routes!(api::pauses::list, api::pauses::add))
        .routes(routes!(api::pauses::end))
        .routes(routes!(api::audit::list))
        .routes(routes!(api::clusters::list))
        .routes(routes!(api::clusters::breakdown))
        .routes(routes!(api::history::show))
        .routes(routes!(api::history::compare))
        .routes(routes!(management::healthy))
        .routes(routes!(management::ready))
        .routes(routes!(management::metrics))
}
