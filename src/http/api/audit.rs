//! `GET /api/v1/audit`: who did what to mitigations and pauses.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::AppState;
use crate::http::api::{DEFAULT_LIMIT, checked_limit};
use crate::http::error::{ApiError, Problem};
use crate::model::audit::AuditLine;
use crate::store::audit::{self, AuditFilter};

/// `GET /api/v1/audit`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    /// The acts, newest first.
    pub acts: Vec<AuditLine>,
    /// Where the next page begins: pass it as `before`.
    pub next: Option<String>,
}

/// Which acts to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only what this one did: `connwarden`, or the name of a credential.
    pub actor: Option<String>,
    /// Only acts of this kind: `pause`, `resume`, or what a timeline says of mitigations, such as `mitigation_approved`.
    pub act: Option<String>,
    /// Only what was done to the mitigation of this id, or the pause of this name.
    pub subject: Option<String>,
    /// Continue behind the page whose `next` this is.
    pub before: Option<i64>,
    /// Acts per page, 1 to 500; 50 unless given.
    pub limit: Option<u32>,
}

/// Lists every act on mitigations and pauses, newest first, whether it belongs to an incident or not.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "mitigations",
    params(ListQuery),
    responses(
        (status = 200, body = AuditList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.audit.list", skip_all)]
pub async fn list(
    State(state): State<AppState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<AuditList>, ApiError> {
    let Query(ListQuery { actor, act, subject, before, limit }) = query?;
    let limit = checked_limit(limit.unwrap_or(DEFAULT_LIMIT))?;
    // that nothing was done is believed, so a word that nobody writes is no filter
    if let Some(name) = act.as_deref().filter(|name| AuditLine::acts().all(|act| act != *name)) {
        let acts = AuditLine::acts().collect::<Vec<_>>().join(", ");
        return Err(ApiError::BadRequest(format!("act: `{name}` is not one of {acts}")));
    }
    let filter = AuditFilter { actor, act, subject, before };
    let page = audit::list(&mut *state.store.read().await?, &filter, limit).await?;
    Ok(Json(AuditList { acts: page.acts, next: page.next.map(|next| next.to_string()) }))
}
