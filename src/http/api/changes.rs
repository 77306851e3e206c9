//! `GET` and `POST /api/v1/changes`: what was changed around incidents.

pub mod shapes;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::engine::Recorded;
use crate::http::AppState;
use crate::http::api::changes::shapes::{NewChange, read};
use crate::http::api::{DEFAULT_LIMIT, checked_limit};
use crate::http::auth::Reporter;
use crate::http::error::{ApiError, Problem};
use crate::model::change::{Change, ChangeKind};
use crate::store::changes::{self, ChangeFilter};

/// Where it is.
pub const PATH: &str = "/api/v1/changes";

/// `GET /api/v1/changes`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangeList {
    /// The changes, newest first.
    pub changes: Vec<Change>,
    /// Where the next page begins: pass it as `before`.
    pub next: Option<String>,
}

/// Which changes to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only those that name this cluster.
    pub cluster: Option<String>,
    /// Only those that name this application.
    pub application: Option<String>,
    /// Only of this kind: `deploy`, `config_reload`, `server_start`, `server_version` or `other`.
    pub kind: Option<String>,
    /// Only what happened then or later (RFC 3339).
    #[param(value_type = Option<String>)]
    pub from: Option<Timestamp>,
    /// Only what happened before (RFC 3339).
    #[param(value_type = Option<String>)]
    pub to: Option<Timestamp>,
    /// Continue behind the page whose `next` this is.
    pub before: Option<String>,
    /// Changes per page, 1 to 500; 50 unless given.
    pub limit: Option<u32>,
}

/// Lists changes, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/changes",
    tag = "changes",
    params(ListQuery),
    responses(
        (status = 200, body = ChangeList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.changes.list", skip_all)]
pub async fn list(
    State(state): State<AppState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ChangeList>, ApiError> {
    let Query(query) = query?;
    let limit = checked_limit(query.limit.unwrap_or(DEFAULT_LIMIT))?;
    let kind = query.kind.as_deref().map(|name| {
        ChangeKind::from_name(name).ok_or_else(|| {
            let names = ChangeKind::ALL.map(ChangeKind::name).join(", ");
            ApiError::BadRequest(format!("kind: `{name}` is not one of {names}"))
        })
    });
    let before = query.before.as_deref().map(|before| {
        before.parse().map_err(|error: changes::InvalidCursor| ApiError::BadRequest(error.to_string()))
    });
    let filter = ChangeFilter {
        cluster: query.cluster,
        application: query.application,
        kind: kind.transpose()?,
        from: query.from,
        to: query.to,
        before: before.transpose()?,
    };
    let mut conn = state.store.read().await?;
    let page = changes::list(&mut conn, &filter, limit).await?;
    Ok(Json(ChangeList { changes: page.changes, next: page.next.map(|next| next.to_string()) }))
}

/// Tells of a change. The same change told again is one.
#[utoipa::path(
    post,
    path = "/api/v1/changes",
    tag = "changes",
    request_body(content = NewChange, description = "Our own shape; `app` is understood for `application`. An annotation in the shape of Grafana's HTTP API is understood too"),
    responses(
        (status = 200, description = "It was known; what is told anew was taken over", body = Change),
        (status = 201, description = "It was not known before", body = Change),
        (status = 400, description = "The body cannot be read, or a field says what cannot be", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.changes.add", skip_all)]
pub async fn add(
    Reporter(actor): Reporter,
    State(state): State<AppState>,
    body: Result<Json<Box<RawValue>>, JsonRejection>,
) -> Result<(StatusCode, Json<Change>), ApiError> {
    let Json(body) = body?;
    let report = read(body.get().as_bytes())?;
    let (change, recorded) = state.engine.record_change(report, &actor.name).await?;
    let status = if recorded == Recorded::New { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(change)))
}
