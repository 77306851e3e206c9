//! Pages for people: server-rendered, without a script.
//!
//! A page shows what the API's document of the same thing says, from the same functions; it has no query of its own.
//! Names on it are text from strangers: every expression of every template passes through [`escape`].

pub mod assets;
mod breakdowns;
mod clusters;
mod diagnosis;
pub mod errors;
pub mod escape;
mod incidents;
mod layout;
mod mitigations;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;

use crate::http::AppState;

/// What a browser may load and do on our pages: our style sheet and icon, and links. No script, no frame, and no
/// style in the markup, so nothing that got through the escaping could do anything either.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                                       form-action 'self'; frame-ancestors 'none'";

/// The pages and what they load.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(incidents::list))
        .route("/incidents/{id}", get(incidents::show))
        .route("/clusters/{name}", get(clusters::show))
        .route("/mitigations", get(mitigations::list))
        .route("/mitigations/{id}", get(mitigations::show))
        .route("/assets/{file}", get(assets::show))
        .layer(middleware::map_response(secure))
}

/// Adds what every answer to a browser carries.
async fn secure(mut response: Response) -> Response {
    set_headers(&mut response);
    response
}

/// Sets what every answer to a browser carries; what says how long it may be kept stays as it is.
fn set_headers(response: &mut Response) {
    const HEADERS: [(HeaderName, &str); 3] = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
