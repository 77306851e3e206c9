//! The JSON API. Its documents have stable names: fields are added, never renamed.

pub mod audit;
pub mod changes;
pub mod clusters;
pub mod culprits;
pub mod documents;
pub mod estimates;
pub mod history;
pub mod incidents;
pub mod mitigations;
pub mod notifications;
pub mod pauses;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};

use crate::http::error::ApiError;

/// How many groups of each breakdown a document lists, unless it is asked for more or fewer.
pub const DEFAULT_TOP: usize = 100;

/// Documents per page of a list, unless it is asked for more or fewer.
pub const DEFAULT_LIMIT: u32 = 50;

/// Documents per page of a list at the most.
const LARGEST_LIMIT: u32 = 500;

/// Checks how many documents a page shall have.
///
/// # Errors
///
/// It is none, or too many.
pub fn checked_limit(limit: u32) -> Result<u32, ApiError> {
    if (1..=LARGEST_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::BadRequest(format!("limit: {limit} is not between 1 and {LARGEST_LIMIT}")))
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}
