//! `GET /api/v1/notifications` and below: what was received, word for word, and taking it in once more.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::engine::Receipt;
use crate::http::AppState;
use crate::http::api::documents::{NotificationDocument, NotificationList};
use crate::http::api::incidents::acts::Reason;
use crate::http::api::{DEFAULT_LIMIT, checked_limit};
use crate::http::auth::Operator;
use crate::http::error::{ApiError, Problem};
use crate::model::ids::NotificationId;
use crate::store::notifications;

/// Which notifications to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Continue behind the page whose `next` this is.
    pub before: Option<i64>,
    /// Notifications per page, 1 to 500; 50 unless given.
    pub limit: Option<u32>,
}

/// Lists notifications, newest first. One that was received several times is listed once.
#[utoipa::path(
    get,
    path = "/api/v1/notifications",
    tag = "notifications",
    params(ListQuery),
    responses(
        (status = 200, body = NotificationList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.notifications.list", skip_all)]
pub async fn list(
    State(state): State<AppState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<NotificationList>, ApiError> {
    let Query(query) = query?;
    let limit = checked_limit(query.limit.unwrap_or(DEFAULT_LIMIT))?;
    let mut conn = state.store.read().await?;
    let page = notifications::list(&mut conn, query.before, limit).await?;
    Ok(Json(NotificationList {
        notifications: page.notifications.into_iter().map(NotificationDocument::from).collect(),
        next: page.next.map(|next| next.to_string()),
    }))
}

/// Shows one notification.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/{id}",
    tag = "notifications",
    params(("id" = String, Path, description = "The notification's id")),
    responses(
        (status = 200, body = NotificationDocument),
        (status = 404, description = "No such notification", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.notifications.show", skip_all)]
pub async fn show(
    State(state): State<AppState>,
    id: Result<Path<NotificationId>, PathRejection>,
) -> Result<Json<NotificationDocument>, ApiError> {
    let Path(id) = id?;
    let mut conn = state.store.read().await?;
    let found = notifications::find(&mut conn, id).await?;
    Ok(Json(found.ok_or(ApiError::UnknownNotification(id))?.into()))
}

/// Shows the body of a notification, word for word as it was first received.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/{id}/body",
    tag = "notifications",
    params(("id" = String, Path, description = "The notification's id")),
    responses(
        (status = 200, description = "The body; it is what a stranger has sent", body = serde_json::Value),
        (status = 404, description = "No such notification", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.notifications.body", skip_all)]
pub async fn body(
    State(state): State<AppState>,
    id: Result<Path<NotificationId>, PathRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Path(id) = id?;
    let mut conn = state.store.read().await?;
    let body = notifications::find_body(&mut conn, id).await?.ok_or(ApiError::UnknownNotification(id))?;
    // it was taken for JSON, and nothing else is made of it
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, body))
}

/// Takes a stored notification in once more, as if it had come now, and looks at the clusters it is about.
#[utoipa::path(
    post,
    path = "/api/v1/notifications/{id}/replay",
    tag = "notifications",
    params(("id" = String, Path, description = "The notification's id")),
    request_body = Reason,
    responses(
        (status = 200, body = Receipt),
        (status = 400, description = "The body cannot be read, or the reason is missing or too long", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such notification", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.notifications.replay", skip_all)]
pub async fn replay(
    Operator(actor): Operator,
    State(state): State<AppState>,
    id: Result<Path<NotificationId>, PathRejection>,
    body: Result<Json<Reason>, JsonRejection>,
) -> Result<Json<Receipt>, ApiError> {
    let (Path(id), Json(why)) = (id?, body?);
    Ok(Json(state.engine.replay(id, &actor.name, &why.reason).await?))
}
