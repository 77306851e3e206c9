//! `/api/v1/pauses`: the reasons why no mitigation runs.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::AppState;
use crate::http::auth::Operator;
use crate::http::error::{ApiError, Problem};
use crate::model::pause::{Pause, StandingPause};
use crate::store;

/// What is to be paused.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPause {
    /// What to call it: by this name it is ended.
    pub name: String,
    /// Only in this cluster; in all unless given.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Why, for whoever wonders.
    pub reason: String,
}

/// `GET /api/v1/pauses`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PauseList {
    /// What people have paused, and why.
    pub pauses: Vec<Pause>,
    /// What pauses all clusters beside them: the configuration, and the pause file.
    #[serde(default)]
    pub standing: Vec<StandingPause>,
}

/// Lists what is paused.
#[utoipa::path(
    get,
    path = "/api/v1/pauses",
    tag = "mitigations",
    responses((status = 200, body = PauseList)),
)]
#[tracing::instrument(name = "api.pauses.list", skip_all)]
pub async fn list(State(state): State<AppState>) -> Result<Json<PauseList>, ApiError> {
    Ok(Json(list_pauses(&state).await?))
}

/// What is paused now, what was paused first before the others.
///
/// # Errors
///
/// The store failed.
pub async fn list_pauses(state: &AppState) -> Result<PauseList, ApiError> {
    let pauses = store::pauses::list(&mut *state.store.read().await?).await?;
    Ok(PauseList { pauses, standing: state.engine.list_standing_pauses().await })
}

/// Pauses mitigations: nothing begins, and what runs stops before its next batch.
#[utoipa::path(
    post,
    path = "/api/v1/pauses",
    tag = "mitigations",
    request_body = NewPause,
    responses(
        (status = 201, body = Pause),
        (status = 400, description = "The body cannot be read, or a text is missing or too long", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such cluster is configured", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A pause of that name is about something else", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.pauses.add", skip_all)]
pub async fn add(
    Operator(actor): Operator,
    State(state): State<AppState>,
    body: Result<Json<NewPause>, JsonRejection>,
) -> Result<(StatusCode, Json<Pause>), ApiError> {
    let Json(new) = body?;
    let pause =
        state.engine.pause_mitigations(&new.name, new.cluster.as_deref(), &actor.name, &new.reason).await?;
    Ok((StatusCode::CREATED, Json(pause)))
}

/// Ends a pause.
#[utoipa::path(
    delete,
    path = "/api/v1/pauses/{name}",
    tag = "mitigations",
    params(("name" = String, Path, description = "What the pause is called")),
    responses(
        (status = 204, description = "It is ended"),
        (status = 404, description = "Nothing is paused by this name", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.pauses.end", skip_all)]
pub async fn end(
    Operator(actor): Operator,
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(name) = name?;
    state.engine.resume_mitigations(&name, &actor.name).await?;
    Ok(StatusCode::NO_CONTENT)
}
