//! `GET /api/v1/culprits`: who was the culprit of how many incidents.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::AppState;
use crate::http::api::{DEFAULT_LIMIT, checked_limit};
use crate::http::error::{ApiError, Problem};
use crate::model::precedent::Offender;
use crate::store::precedents::{self, OffenderFilter};

/// `GET /api/v1/culprits`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CulpritList {
    /// Who was a culprit, those of most incidents first.
    pub culprits: Vec<Offender>,
}

/// Which culprits to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CulpritQuery {
    /// Only of incidents of this cluster.
    pub cluster: Option<String>,
    /// Only of incidents that were opened then or later (RFC 3339).
    #[param(value_type = Option<String>)]
    pub since: Option<Timestamp>,
    /// How many, 1 to 500; 50 unless given.
    pub limit: Option<u32>,
}

/// Lists who was the culprit of how many incidents.
#[utoipa::path(
    get,
    path = "/api/v1/culprits",
    tag = "incidents",
    params(CulpritQuery),
    responses(
        (status = 200, body = CulpritList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.culprits.list", skip_all)]
pub async fn list(
    State(state): State<AppState>,
    query: Result<Query<CulpritQuery>, QueryRejection>,
) -> Result<Json<CulpritList>, ApiError> {
    let Query(query) = query?;
    let limit = checked_limit(query.limit.unwrap_or(DEFAULT_LIMIT))?;
    let filter = OffenderFilter { cluster: query.cluster, since: query.since };
    let mut conn = state.store.read().await?;
    Ok(Json(CulpritList { culprits: precedents::list_offenders(&mut conn, &filter, limit).await? }))
}
