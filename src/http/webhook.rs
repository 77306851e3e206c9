//! `POST /api/v1/webhook/alertmanager`: where Alertmanager, and others in its manner, deliver notifications.
//!
//! 2xx only after the notification and everything that follows from it is stored. Grafana may send `PUT`.
//!
//! A body that is refused is read on for a while and thrown away: a sender that is cut off while it writes sees a
//! broken connection, not the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::StreamExt;

use crate::engine::{IntakeError, Receipt};
use crate::http::AppState;
use crate::http::auth::Identity;
use crate::http::error::WebhookError;
use crate::store::writer::WriteError;
use crate::telemetry::metrics::IntakeResult;

/// Where it is.
pub const PATH: &str = "/api/v1/webhook/alertmanager";

/// How long a sender may take to deliver the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a body that is refused is thrown away before the answer, as a multiple of the limit.
const DRAINED: u64 = 4;

/// How much of the name of an encoding is repeated, in characters.
const LONGEST_ENCODING: usize = 60;

/// How much is thrown away at the most, in bytes.
const DRAINED_AT_MOST: u64 = 64 * 1024 * 1024;

/// How many bodies of the largest size may be in memory at once.
const BODIES_AT_ONCE: u64 = 4;

/// How large webhook bodies may be: each, and all that are in memory together. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BodyLimits {
    /// The largest body that is read, in bytes.
    largest: u64,
    /// What is left for bodies, in KiB.
    room: Arc<Semaphore>,
}

impl BodyLimits {
    /// Makes the limits for bodies of at most `largest` bytes.
    pub fn new(largest: u64) -> Self {
        let room = largest.div_ceil(1024).saturating_mul(BODIES_AT_ONCE);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { largest, room: Arc::new(Semaphore::new(room)) }
    }
}

/// Takes a notification of Alertmanager, or of Grafana in its manner; answers once it is stored.
#[utoipa::path(
    method(post, put),
    path = "/api/v1/webhook/alertmanager",
    tag = "webhook",
    security(("bearer" = []), ("basic" = []), ("certificate" = []), ("signature" = [])),
    request_body(content = serde_json::Value, description = "A webhook payload: `alerts[]`, each with `status`, `labels` and `startsAt`"),
    responses(
        (status = 202, description = "Stored, with everything that follows from it", body = Receipt),
        (status = 400, description = "It will never be a notification", body = String, content_type = "text/plain"),
        (status = 401, description = "Its sender is not known", body = String, content_type = "text/plain"),
        (status = 403, description = "Its sender may not deliver", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too large", body = String, content_type = "text/plain"),
        (status = 415, description = "The body is compressed", body = String, content_type = "text/plain"),
        (status = 503, description = "It could not be stored now: send it again", body = String, content_type = "text/plain"),
    ),
)]
pub async fn receive(State(state): State<AppState>, mut request: Request) -> Response {
    let identity = request.extensions_mut().remove::<Identity>();
    let sender = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let sender = sender.unwrap_or_default().to_owned();
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let encoding = encoding(request.headers());
    let outcome = take(&state, request.into_body(), length, encoding, &sender, identity).await;
    if let Err(refusal @ WebhookError::Access(_)) = outcome {
        // who is not let in is counted elsewhere
        return refusal.into_response();
    }
    state.metrics.notification(match &outcome {
        Ok(_) => IntakeResult::Accepted,
        Err(WebhookError::Intake(IntakeError::Hopeless(_)) | WebhookError::Compressed(_)) => {
            IntakeResult::Hopeless
        }
        Err(WebhookError::TooLarge(_)) => IntakeResult::TooLarge,
        Err(WebhookError::Intake(IntakeError::Write(WriteError::Full)) | WebhookError::TooMany) => {
            IntakeResult::Busy
        }
        Err(
            WebhookError::Intake(IntakeError::Write(_))
            | WebhookError::Access(_)
            | WebhookError::Incomplete(_)
            | WebhookError::Slow(_),
        ) => IntakeResult::Failed,
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
    announced: Option<u64>,
    encoding: Option<String>,
    sender: &str,
    identity: Option<Identity>,
) -> Result<Receipt, WebhookError> {
    let mut arriving = Arriving::new(&state.body_limits, announced);
    let body = arriving.read(body, BODY_TIMEOUT).await?;
    state.access.confirm(identity, &body)?;
    // only now: a sender that is cut off while it writes would not see the answer
    if let Some(encoding) = encoding {
        return Err(WebhookError::Compressed(encoding));
    }
    // the room that the body takes up is given back when `arriving` ends
    Ok(state.engine.receive(&body, sender).await?)
}

/// A body that arrives.
struct Arriving<'a> {
    limits: &'a BodyLimits,
    kept: BytesMut,
    /// The room that what is kept takes up.
    room: Option<OwnedSemaphorePermit>,
    /// How much has been thrown away.
    drained: u64,
    /// Why it is thrown away.
    refusal: Option<WebhookError>,
}

impl<'a> Arriving<'a> {
    fn new(limits: &'a BodyLimits, announced: Option<u64>) -> Self {
        let too_large = announced.is_some_and(|length| length > limits.largest);
        let refusal = too_large.then_some(WebhookError::TooLarge(limits.largest));
        Self { limits, kept: BytesMut::new(), room: None, drained: 0, refusal }
    }

    /// Reads a body; what is known to be refused is, however its rest arrives.
    async fn read(&mut self, body: Body, patience: Duration) -> Result<Bytes, WebhookError> {
        let ended = tokio::time::timeout(patience, self.read_on(body)).await;
        if let Some(refusal) = self.refusal.take() {
            return Err(refusal);
        }
        ended.unwrap_or(Err(WebhookError::Slow(patience)))?;
        Ok(std::mem::take(&mut self.kept).freeze())
    }

    async fn read_on(&mut self, body: Body) -> Result<(), WebhookError> {
        let drained_at_most = self.limits.largest.saturating_mul(DRAINED).min(DRAINED_AT_MOST);
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| WebhookError::Incomplete(error.to_string()))?;
            if self.refusal.is_none() {
                self.keep(&chunk);
            } else {
                self.drained += chunk.len() as u64;
            }
            if self.drained > drained_at_most {
                break;
            }
        }
        Ok(())
    }

    /// Keeps a piece, or refuses the body with it.
    fn keep(&mut self, chunk: &[u8]) {
        let length = (self.kept.len() + chunk.len()) as u64;
        let refusal = if length > self.limits.largest {
            WebhookError::TooLarge(self.limits.largest)
        } else if !self.take_room(length) {
            WebhookError::TooMany
        } else {
            self.kept.extend_from_slice(chunk);
            return;
        };
        self.refusal = Some(refusal);
        (self.kept, self.room) = (BytesMut::new(), None);
    }

    /// Takes up the room for a body of `length` bytes, as far as it has not; `false` if there is not enough.
    fn take_room(&mut self, length: u64) -> bool {
        let taken = self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) as u64;
        let more = u32::try_from(length.div_ceil(1024).saturating_sub(taken)).unwrap_or(u32::MAX);
        let Ok(permit) = self.limits.room.clone().try_acquire_many_owned(more) else { return false };
        match &mut self.room {
            Some(room) => room.merge(permit),
            room => *room = Some(permit),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    /// A body that never ends after these pieces.
    fn endless(pieces: impl IntoIterator<Item = usize>) -> Body {
        let pieces: Vec<_> =
            pieces.into_iter().map(|length| Ok::<_, std::io::Error>(vec![b' '; length])).collect();
        Body::from_stream(tokio_stream::iter(pieces).chain(tokio_stream::pending()))
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_in_time_is_refused_for_what_is_known_of_it() {
        let limits = BodyLimits::new(1024);
        let read = async |pieces: Vec<usize>, announced| {
            let refused = Arriving::new(&limits, announced).read(endless(pieces), PATIENCE).await;
            refused.unwrap_err().to_string()
        };
        let too_large = "the body is larger than 1024 bytes (web.max_body)";
        assert_eq!(read(vec![1000], None).await, "the whole body did not arrive within 20ms");
        assert_eq!(read(vec![1000], Some(1024)).await, "the whole body did not arrive within 20ms");
        assert_eq!(read(vec![1000, 25], None).await, too_large);
        assert_eq!(read(vec![], Some(1025)).await, too_large);
    }

    #[tokio::test]
    async fn of_a_body_that_is_too_large_a_bounded_rest_is_thrown_away() {
        let limits = BodyLimits::new(1024);
        // it would wait for ever if it read on
        let forever = Duration::from_secs(3600);
        for announced in [None, Some(1 << 40)] {
            let body = endless(std::iter::repeat_n(1025, 6));
            let refused = Arriving::new(&limits, announced).read(body, forever).await.unwrap_err();
            assert!(matches!(refused, WebhookError::TooLarge(1024)), "{refused}");
        }
    }

    #[tokio::test]
    async fn all_bodies_together_have_a_bound() {
        let limits = BodyLimits::new(2048);
        let mut arriving: Vec<_> = (0..4).map(|_| Arriving::new(&limits, None)).collect();
        for body in &mut arriving {
            let mut reading = pin!(body.read_on(endless([1500, 548])));
            // one look is enough for what is there
            tokio::select! {
                biased;
                _ = &mut reading => panic!("it has no end"),
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(limits.room.available_permits(), 0);
        let mut fifth = Arriving::new(&limits, None);
        let refused = fifth.read(Body::from("{}"), PATIENCE).await.unwrap_err();
        assert_eq!(refused.to_string(), "too many bodies at once, send it again");
        arriving.clear();
        assert_eq!(limits.room.available_permits(), 8);
        let taken = Arriving::new(&limits, None).read(Body::from("{}"), PATIENCE).await.unwrap();
        assert_eq!(taken, "{}");
    }
}
