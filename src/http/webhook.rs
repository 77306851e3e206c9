//! `POST /api/v1/webhook/alertmanager`: where Alertmanager, and others in its manner, deliver notifications.
//!
//! 2xx only after the notification and everything that follows from it is stored. Grafana may send `PUT`.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use tokio_stream::StreamExt;

use crate::engine::{IntakeError, Receipt};
use crate::http::AppState;
use crate::http::error::WebhookError;
use crate::telemetry::metrics::IntakeResult;

/// How long a sender may take to deliver the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a body that is too large is read and thrown away, as a multiple of the limit: a sender that is cut off
/// while it writes sees a broken connection, not the answer.
const DRAINED: u64 = 4;

/// How much of the name of an encoding is repeated, in characters.
const LONGEST_ENCODING: usize = 60;

/// Takes a notification of Alertmanager, or of Grafana in its manner; answers once it is stored.
#[utoipa::path(
    method(post, put),
    path = "/api/v1/webhook/alertmanager",
    tag = "webhook",
    request_body(content = serde_json::Value, description = "A webhook payload: `alerts[]`, each with `status`, `labels` and `startsAt`"),
    responses(
        (status = 202, description = "Stored, with everything that follows from it", body = Receipt),
        (status = 400, description = "It will never be a notification", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too large", body = String, content_type = "text/plain"),
        (status = 415, description = "The body is compressed", body = String, content_type = "text/plain"),
        (status = 503, description = "It could not be stored now: send it again", body = String, content_type = "text/plain"),
    ),
)]
pub async fn receive(State(state): State<AppState>, request: Request) -> Response {
    let sender = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let sender = sender.unwrap_or_default().to_owned();
    let encoding = encoding(request.headers());
    let outcome = take(&state, request.into_body(), encoding, &sender).await;
    state.metrics.notification(match &outcome {
        Ok(_) => IntakeResult::Accepted,
        Err(WebhookError::Intake(IntakeError::Hopeless(_)) | WebhookError::Compressed(_)) => {
            IntakeResult::Hopeless
        }
        Err(WebhookError::TooLarge(_)) => IntakeResult::TooLarge,
        Err(WebhookError::Intake(IntakeError::Store(_)) | WebhookError::Incomplete(_)) => {
            IntakeResult::Failed
        }
    });
    match outcome {
        Ok(receipt) => (StatusCode::ACCEPTED, Json(receipt)).into_response(),
        Err(error) => error.into_response(),
    }
}

/// How a body is packed, if it is.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let encoding = encodings.find(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))?;
    Some(String::from_utf8_lossy(encoding.as_bytes()).chars().take(LONGEST_ENCODING).collect())
}

async fn take(
    state: &AppState,
    body: Body,
    encoding: Option<String>,
    sender: &str,
) -> Result<Receipt, WebhookError> {
    let reading = read(body, state.max_body_bytes);
    let body = match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(body) => body?,
        Err(_) => return Err(WebhookError::Incomplete(format!("nothing more within {BODY_TIMEOUT:?}"))),
    };
    // only now: a sender that is cut off while it writes would not see the answer
    if let Some(encoding) = encoding {
        return Err(WebhookError::Compressed(encoding));
    }
    Ok(state.engine.receive(&body, sender).await?)
}

/// Reads a body of at most `limit` bytes.
async fn read(body: Body, limit: u64) -> Result<Bytes, WebhookError> {
    let mut chunks = body.into_data_stream();
    let (mut kept, mut length) = (BytesMut::new(), 0_u64);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| WebhookError::Incomplete(error.to_string()))?;
        length += chunk.len() as u64;
        if length <= limit {
            kept.extend_from_slice(&chunk);
        } else if length > limit.saturating_mul(DRAINED) {
            break;
        } else {
            kept = BytesMut::new();
        }
    }
    if length > limit { Err(WebhookError::TooLarge(limit)) } else { Ok(kept.freeze()) }
}
