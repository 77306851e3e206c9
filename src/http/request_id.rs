//! Request ids: one per request, in the answer, in the log, and in every problem document.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Span, error_span};

use crate::clock::Clock;
use crate::http::error::Problem;
use crate::http::ui;

const HEADER: &str = "x-request-id";

/// The id of a request.
#[derive(Debug, Clone)]
struct RequestId(String);

/// Gives a request its id, and the answer too.
pub(super) async fn set(State(clock): State<Clock>, mut request: Request, next: Next) -> Response {
    let id = clock.new_id().to_string();
    request.extensions_mut().insert(RequestId(id.clone()));
    let wants_page = ui::errors::wants_page(&request);
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        response = if wants_page {
            ui::errors::page(&problem, status, &id)
        } else {
            problem.into_response_of(status, &id)
        };
        // what else the client was told, such as what to show
        for name in [header::WWW_AUTHENTICATE, header::RETRY_AFTER] {
            for value in headers.get_all(&name) {
                response.headers_mut().append(name.clone(), value.clone());
            }
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// The span of a request. Its level is that of the gravest line in it: a filter that shows the line shows the id too.
pub(super) fn span(request: &Request) -> Span {
    let id = request.extensions().get::<RequestId>().map(|id| id.0.as_str()).unwrap_or_default();
    error_span!("request", request.id = id, method = %request.method(), path = request.uri().path())
}
