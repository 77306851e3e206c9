//! What an outsider is told when something goes wrong, and with which status: decided here and nowhere else.
//!
//! An answer is an RFC 9457 problem document, or a page with the same words for somebody with a browser. An internal
//! failure says no more than that; the log has the whole chain.

mod access;

use std::any::Any;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::engine::{ActError, ChangeError, CompareError, IntakeError, LookError, MitigateError};
use crate::model::breakdown::InvalidBy;
use crate::model::change::InvalidChange;
use crate::model::ids::{IncidentId, MitigationId, NotificationId, SnapshotId};
use crate::model::printable::with_causes;
use crate::store::StoreError;
use crate::store::writer::WriteError;

pub use crate::http::error::access::{AccessError, Challenge};

/// Why a request was not answered as its sender hoped.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nothing is at this path.
    #[error("nothing is at this path")]
    NoSuchPath,
    /// The path is there, but not for this method.
    #[error("this method is not allowed here")]
    MethodNotAllowed,
    /// No such incident.
    #[error("no incident {0}")]
    UnknownIncident(IncidentId),
    /// The incident has no such snapshot.
    #[error("the incident has no snapshot {0}")]
    UnknownSnapshot(SnapshotId),
    /// No such notification.
    #[error("no notification {0}")]
    UnknownNotification(NotificationId),
    /// There are no two looks to compare.
    #[error("{0}")]
    NothingToCompare(String),
    /// The path, the query or the body cannot be read.
    #[error("{0}")]
    BadRequest(String),
    /// An operator's act was refused.
    #[error(transparent)]
    Act(ActError),
    /// No such mitigation.
    #[error("no mitigation {0}")]
    UnknownMitigation(MitigationId),
    /// A mitigation was not planned, or not moved on.
    #[error(transparent)]
    Mitigate(MitigateError),
    /// What is told of a change cannot be.
    #[error(transparent)]
    Change(#[from] InvalidChange),
    /// Not what a breakdown can be by.
    #[error("by: {0}")]
    By(#[from] InvalidBy),
    /// A cluster could not be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// Nothing can be compared.
    #[error(transparent)]
    Compare(CompareError),
    /// The store failed.
    #[error("internal error")]
    Store(#[from] StoreError),
    /// A page could not be written.
    #[error("internal error")]
    Page(#[from] askama::Error),
    /// They were not let in.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// The body of an error answer (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What the status means.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What went wrong, for people.
    pub detail: String,
    /// Names the request in the log.
    pub request_id: String,
}

impl From<ActError> for ApiError {
    fn from(error: ActError) -> Self {
        match error {
            ActError::Store(error) => Self::Store(error),
            error => Self::Act(error),
        }
    }
}

impl From<MitigateError> for ApiError {
    fn from(error: MitigateError) -> Self {
        match error {
            MitigateError::Store(error) => Self::Store(error),
            error => Self::Mitigate(error),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Invalid(error) => Self::Change(error),
            ChangeError::Store(error) => Self::Store(error),
        }
    }
}

impl From<CompareError> for ApiError {
    fn from(error: CompareError) -> Self {
        match error {
            CompareError::Store(error) => Self::Store(error),
            CompareError::Look(error) => Self::Look(error),
            error => Self::Compare(error),
        }
    }
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath
            | Self::UnknownIncident(_)
            | Self::UnknownSnapshot(_)
            | Self::UnknownNotification(_)
            | Self::UnknownMitigation(_)
            | Self::Mitigate(
                MitigateError::UnknownMitigation(_)
                | MitigateError::UnknownIncident(_)
                | MitigateError::UnknownSnapshot(_)
                | MitigateError::UnknownCluster(_)
                | MitigateError::UnknownPause(_),
            )
            | Self::Act(
                ActError::UnknownIncident(_) | ActError::UnknownNotification(_) | ActError::UnknownCluster(_),
            )
            | Self::Look(LookError::UnknownCluster(_))
            | Self::Compare(CompareError::NoSample { .. } | CompareError::NothingNormal(_)) => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Act(ActError::Transition(_) | ActError::InTheWay { .. })
            | Self::NothingToCompare(_)
            | Self::Mitigate(
                MitigateError::NoCluster(_)
                | MitigateError::Transition(_)
                | MitigateError::Digest(_)
                | MitigateError::Stale(_)
                | MitigateError::Blocked(_)
                | MitigateError::Busy(_)
                | MitigateError::OtherPause(_)
                | MitigateError::KeyReused,
            ) => StatusCode::CONFLICT,
            Self::Mitigate(MitigateError::Request(_) | MitigateError::Text(_)) => StatusCode::BAD_REQUEST,
            // it has become an error of its own
            Self::Mitigate(MitigateError::Store(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Act(ActError::Unreadable(_) | ActError::Store(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadRequest(_)
            | Self::By(_)
            | Self::Change(_)
            | Self::Act(ActError::Text(_))
            | Self::Compare(CompareError::Backwards) => StatusCode::BAD_REQUEST,
            Self::Look(LookError::CutShort(_)) => StatusCode::SERVICE_UNAVAILABLE,
            // these two have become errors of their own
            Self::Compare(CompareError::Look(_) | CompareError::Store(_)) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Store(StoreError::Conflict(_)) => StatusCode::CONFLICT,
            Self::Store(error) if error.is_temporary() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) | Self::Page(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Access(error) => error.status(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Access(error) = self {
            return error.into_response();
        }
        let status = self.status();
        let mut detail = self.to_string();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(
                error = &self as &dyn std::error::Error,
                "request failed: {}",
                with_causes(&self)
            );
        } else if let Self::Store(StoreError::Conflict(what)) = &self {
            detail = format!("somebody else changed the {what} at the same moment: look at it as it is now");
        } else if let Self::Store(error) = &self {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the store is busy: {}",
                with_causes(error)
            );
            "the store is busy, try again".clone_into(&mut detail);
        }
        problem(status, detail)
    }
}

/// Answers with a problem document; the request's id is filled in on the way out.
fn problem(status: StatusCode, detail: String) -> Response {
    let title = status.canonical_reason().unwrap_or_default().to_owned();
    let problem = Problem { title, status: status.as_u16(), detail, request_id: String::new() };
    let mut response = status.into_response();
    response.extensions_mut().insert(problem);
    response
}

impl Problem {
    /// The answer itself, once the request's id is known.
    pub(super) fn into_response_of(mut self, status: StatusCode, request_id: &str) -> Response {
        self.request_id = request_id.to_owned();
        let mut response = (status, Json(self)).into_response();
        let content_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}

/// Answers for a handler that panicked.
pub(super) fn after_panic(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a handler panicked; see the line before");
    problem(StatusCode::INTERNAL_SERVER_ERROR, "internal error".to_owned())
}

/// Why a webhook body was not taken. Alertmanager copies the answer into its log, so it is one line of text.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It will never be taken.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// Its sender was not let in.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// It is larger than what is read.
    #[error("the body is larger than {0} bytes (web.max_body)")]
    TooLarge(u64),
    /// It is packed.
    #[error("the body is compressed (`Content-Encoding: {0}`), which is not accepted: send it as it is")]
    Compressed(String),
    /// Others take up all the memory there is for bodies.
    #[error("too many bodies at once, send it again")]
    TooMany,
    /// It did not arrive in time.
    #[error("the whole body did not arrive within {0:?}")]
    Slow(Duration),
    /// It did not arrive whole.
    #[error("the body did not arrive whole: {0}")]
    Incomplete(String),
}

impl WebhookError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Access(error) => error.status(),
            // 4xx is never tried again before the next interval, and not at all once the alert is over: only for
            // what will never be taken
            Self::Intake(IntakeError::Hopeless(_)) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Compressed(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Intake(IntakeError::Write(_)) | Self::TooMany | Self::Slow(_) | Self::Incomplete(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

impl IntoResponse for WebhookError {
    fn into_response(self) -> Response {
        match &self {
            Self::Access(error) => return error.clone().into_line(),
            Self::Intake(IntakeError::Write(WriteError::Store(_) | WriteError::Defect)) => {
                tracing::error!(error = &self as &dyn std::error::Error, "{}", with_causes(&self));
            }
            _ => tracing::warn!("refused a notification: {self}"),
        }
        let mut response = (self.status(), format!("{self}\n")).into_response();
        if let Self::Compressed(_) = self {
            let identity = HeaderValue::from_static("identity");
            response.headers_mut().insert(header::ACCEPT_ENCODING, identity);
        }
        response
    }
}
