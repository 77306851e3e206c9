//! The OpenAPI document: generated from the handlers and the documents they answer with.

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::get;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::http::AppState;

/// Where the document is.
pub const PATH: &str = "/api/v1/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "connwarden",
        description = "Who holds the connections of your NATS servers, and the story of each incident. \
                       Fields are added, never renamed; errors are problem documents (RFC 9457). \
                       Reading takes the role `viewer`, delivering `webhook`, telling of changes `reporter`, everything \
                       else `operator`; \
                       without configured credentials, reading and delivering take none.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "webhook", description = "Where Alertmanager and Grafana deliver"),
        (name = "incidents", description = "What happened"),
        (name = "mitigations", description = "What is planned, running and done against it"),
        (name = "changes", description = "What was changed around it"),
        (name = "clusters", description = "What is there now"),
        (name = "management", description = "How connwarden itself is doing"),
    ),
    modifiers(&Credentials),
    // one of them is enough; a path that differs says so itself
    security(("bearer" = []), ("basic" = []), ("certificate" = [])),
)]
struct Document;

/// What can be shown.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let http = |scheme| SecurityScheme::Http(Http::new(scheme));
        let signature = ApiKeyValue::with_description(
            "X-Grafana-Alerting-Signature",
            "HMAC-SHA256 of the body (or of time, colon, body) in hexadecimal; the headers are configurable",
        );
        for (name, scheme) in [
            ("bearer", http(HttpAuthScheme::Bearer)),
            ("basic", http(HttpAuthScheme::Basic)),
            (
                "certificate",
                SecurityScheme::MutualTls { description: None, deprecated: None, extensions: None },
            ),
            ("signature", SecurityScheme::ApiKey(ApiKey::Header(signature))),
        ] {
            components.add_security_scheme(name, scheme);
        }
    }
}

/// What the document says beside its routes.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The route of the document itself, which is kept as text: as a tree it has megabytes, and the router makes copies of
/// what its handlers hold.
pub(super) fn route(document: &utoipa::openapi::OpenApi) -> Router<AppState> {
    let document = document.to_json().expect("a document of texts can be written as JSON");
    let document = Bytes::from(document);
    Router::new()
        .route(PATH, get(move || async move { ([(header::CONTENT_TYPE, "application/json")], document) }))
}
