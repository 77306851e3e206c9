//! Why somebody was not let in, and with which status that is said.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::http::error::problem;
use crate::model::credential::{Actor, Role};
use crate::telemetry::metrics::AuthResult;

/// Why somebody was not let in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccessError {
    /// Nothing was shown.
    #[error("this needs a credential, such as `Authorization: Bearer …`")]
    Missing(Challenge),
    /// What was shown is not known.
    #[error("the credential is not known")]
    Wrong(Challenge),
    /// The certificate that was shown is nobody's.
    #[error("the names in the client certificate are those of no credential")]
    UnknownCertificate(Challenge),
    /// What was shown was right until a moment ago.
    #[error("this secret has been replaced, use the new one")]
    Replaced(Challenge),
    /// It could not be found out whether what was shown is right.
    #[error("a secret that decides about this cannot be read now; the log says which")]
    Unreadable,
    /// The signature is right, but was made at another time.
    #[error("the signature was made {} s {} now, by the clock of connwarden", .0.unsigned_abs(), if *.0 < 0 { "after" } else { "before" })]
    Stale(i64),
    /// They may do less than that.
    #[error("`{}` has the role `{}`, this takes the role `{}`", .actor.name, .actor.role.name(), .needed.name())]
    Forbidden {
        /// Who asked.
        actor: Actor,
        /// What they would have to be.
        needed: Role,
    },
    /// It takes somebody of this role, and nobody has proved to be one.
    #[error(
        "this takes the role `{}`; `connwarden` on the same host finds the operator's token in the storage directory",
        .0.name()
    )]
    Unproved(Role),
    /// The request was meant for somebody else, or the name is not configured.
    #[error("the host `{0}` is not known here, add it to web.allowed_hosts if it should be")]
    UnknownHost(String),
    /// A page of another site made a browser send it.
    #[error("a browser sent this on behalf of another site")]
    CrossSite,
    /// The source asks too often.
    #[error("too many requests from one source, try again in {} s", whole_seconds(*.0))]
    TooMany(Duration),
    /// The source has guessed too often.
    #[error("too many wrong credentials from one source, try again in {} s", whole_seconds(*.0))]
    TooManyFailures(Duration),
}

/// What a client is asked to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// Whether a user and a password would do, so that browsers ask for them.
    pub basic: bool,
}

impl AccessError {
    /// Whether the same request may be answered otherwise a moment later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Replaced(_)
            | Self::Unreadable
            | Self::Stale(_)
            | Self::TooMany(_)
            | Self::TooManyFailures(_) => true,
            Self::Missing(_)
            | Self::Wrong(_)
            | Self::UnknownCertificate(_)
            | Self::Forbidden { .. }
            | Self::Unproved(_)
            | Self::UnknownHost(_)
            | Self::CrossSite => false,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Missing(_) | Self::Wrong(_) | Self::UnknownCertificate(_) | Self::Replaced(_) => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden { .. } | Self::Unproved(_) | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::UnknownHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::TooMany(_) | Self::TooManyFailures(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unreadable | Self::Stale(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What it is counted as.
    pub fn result(&self) -> AuthResult {
        match self {
            Self::Missing(_) => AuthResult::Missing,
            Self::Wrong(_) | Self::UnknownCertificate(_) => AuthResult::Wrong,
            Self::Replaced(_) | Self::Unreadable | Self::Stale(_) => AuthResult::Unavailable,
            Self::Forbidden { .. } | Self::Unproved(_) => AuthResult::Forbidden,
            Self::UnknownHost(_) => AuthResult::UnknownHost,
            Self::CrossSite => AuthResult::CrossSite,
            Self::TooMany(_) | Self::TooManyFailures(_) => AuthResult::RateLimited,
        }
    }

    /// The answer to a delivery: one line, which Alertmanager copies into its log. It never tries a 4xx again, so
    /// whatever may pass is a 503.
    pub fn into_line(self) -> Response {
        let status = if self.may_pass() { StatusCode::SERVICE_UNAVAILABLE } else { self.status() };
        self.with_headers((status, format!("{self}\n")).into_response())
    }

    /// Adds what a client has to know to do better.
    fn with_headers(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        match self {
            Self::Missing(challenge)
            | Self::Wrong(challenge)
            | Self::UnknownCertificate(challenge)
            | Self::Replaced(challenge) => {
                let bearer = HeaderValue::from_static("Bearer realm=\"connwarden\"");
                headers.append(header::WWW_AUTHENTICATE, bearer);
                if challenge.basic {
                    let basic = HeaderValue::from_static("Basic realm=\"connwarden\", charset=\"UTF-8\"");
                    headers.append(header::WWW_AUTHENTICATE, basic);
                }
            }
            Self::TooMany(wait) | Self::TooManyFailures(wait) => {
                headers.insert(header::RETRY_AFTER, whole_seconds(*wait).into());
            }
            _ => {}
        }
        response
    }
}

impl IntoResponse for AccessError {
    fn into_response(self) -> Response {
        self.with_headers(problem(self.status(), self.to_string()))
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
