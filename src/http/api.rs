//! The JSON API. Its documents have stable names: fields are added, never renamed.

pub mod clusters;
pub mod documents;
pub mod incidents;

use axum::extract::rejection::{PathRejection, QueryRejection};

use crate::http::error::ApiError;

/// How many groups of each breakdown a document lists, unless it is asked for more or fewer.
pub const DEFAULT_TOP: usize = 100;

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
