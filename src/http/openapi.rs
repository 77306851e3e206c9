//! The OpenAPI document: generated from the handlers and the documents they answer with.

use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;

use crate::http::AppState;

/// Where the document is.
pub const PATH: &str = "/api/v1/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "connwarden",
        description = "Who holds the connections of your NATS servers, and the story of each incident. \
                       Fields are added, never renamed; errors are problem documents (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "webhook", description = "Where Alertmanager and Grafana deliver"),
        (name = "incidents", description = "What happened"),
        (name = "clusters", description = "What is there now"),
        (name = "management", description = "How connwarden itself is doing"),
    ),
)]
struct Document;

/// What the document says beside its routes.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The route of the document itself.
pub(super) fn route(document: utoipa::openapi::OpenApi) -> Router<AppState> {
    Router::new().route(PATH, get(|| async move { Json(document) }))
}
