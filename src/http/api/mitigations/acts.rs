//! What operators do about mitigations: propose, approve, reject, execute, stop; and pause them all.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::AppState;
use crate::http::api::incidents::acts::Reason;
use crate::http::api::mitigations::{MitigationDocument, get_document};
use crate::http::auth::Operator;
use crate::http::error::{ApiError, Problem};
use crate::model::ids::MitigationId;
use crate::model::pause::Pause;
use crate::store::pauses;

/// Which plan is meant, and why.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanSeen {
    /// The digest of the plan that was looked at.
    pub digest: String,
    /// Why, for whoever reads it later; at most 4000 characters.
    #[serde(default)]
    pub reason: Option<String>,
}

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
    /// What is paused now, and why.
    pub pauses: Vec<Pause>,
}

/// Asks people for their approval of a plan; guards that blocked it when it was made refuse it here for good.
#[utoipa::path(
    post,
    path = "/api/v1/mitigations/{id}/propose",
    tag = "mitigations",
    params(("id" = String, Path, description = "The mitigation's id")),
    request_body = PlanSeen,
    responses(
        (status = 200, body = MitigationDocument),
        (status = 400, description = "The body cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such mitigation", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not planned any more, or the digest is another; or guards refuse it, by what they said when it was planned: that is final, make a new plan", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.mitigations.propose", skip_all)]
pub async fn propose(
    Operator(actor): Operator,
    State(state): State<AppState>,
    id: Result<Path<MitigationId>, PathRejection>,
    body: Result<Json<PlanSeen>, JsonRejection>,
) -> Result<Json<MitigationDocument>, ApiError> {
    let (Path(id), Json(seen)) = (id?, body?);
    let mitigation =
        state.engine.propose_mitigation(id, &seen.digest, &actor.name, seen.reason.as_deref()).await?;
    Ok(Json(MitigationDocument::of(&state, mitigation).await?))
}

/// Lets a proposed mitigation run, for as long as approvals are valid.
#[utoipa::path(
    post,
    path = "/api/v1/mitigations/{id}/approve",
    tag = "mitigations",
    params(("id" = String, Path, description = "The mitigation's id")),
    request_body = PlanSeen,
    responses(
        (status = 200, body = MitigationDocument),
        (status = 400, description = "The body cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such mitigation", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not proposed, or the digest is another", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.mitigations.approve", skip_all)]
pub async fn approve(
    Operator(actor): Operator,
    State(state): State<AppState>,
    id: Result<Path<MitigationId>, PathRejection>,
    body: Result<Json<PlanSeen>, JsonRejection>,
) -> Result<Json<MitigationDocument>, ApiError> {
    let (Path(id), Json(seen)) = (id?, body?);
    let mitigation =
        state.engine.approve_mitigation(id, &seen.digest, &actor.name, seen.reason.as_deref()).await?;
    Ok(Json(MitigationDocument::of(&state, mitigation).await?))
}

/// Begins the run of an approved mitigation, after a last look and with all guards once more. One that blocks refuses it
/// for good, also where its reason will pass.
#[utoipa::path(
    post,
    path = "/api/v1/mitigations/{id}/execute",
    tag = "mitigations",
    params(("id" = String, Path, description = "The mitigation's id")),
    request_body = PlanSeen,
    responses(
        (status = 200, body = MitigationDocument),
        (status = 400, description = "The body cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such mitigation", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not approved, or the digest is another; or the plan is stale or guards refuse it: that is final, and its approval is gone, make a new plan; or another run goes on: it stays approved", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.mitigations.execute", skip_all)]
pub async fn execute(
    Operator(actor): Operator,
    State(state): State<AppState>,
    id: Result<Path<MitigationId>, PathRejection>,
    body: Result<Json<PlanSeen>, JsonRejection>,
) -> Result<Json<MitigationDocument>, ApiError> {
    let (Path(id), Json(seen)) = (id?, body?);
    let mitigation =
        state.engine.execute_mitigation(id, &seen.digest, &actor.name, seen.reason.as_deref()).await?;
    Ok(Json(MitigationDocument::of(&state, mitigation).await?))
}

/// Decides against a mitigation that does not run yet.
#[utoipa::path(
    post,
    path = "/api/v1/mitigations/{id}/reject",
    tag = "mitigations",
    params(("id" = String, Path, description = "The mitigation's id")),
    request_body = Reason,
    responses(
        (status = 200, body = MitigationDocument),
        (status = 400, description = "The body cannot be read, or the reason is missing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such mitigation", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It runs, or has come to its end", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.mitigations.reject", skip_all)]
pub async fn reject(
    Operator(actor): Operator,
    State(state): State<AppState>,
    id: Result<Path<MitigationId>, PathRejection>,
    body: Result<Json<Reason>, JsonRejection>,
) -> Result<Json<MitigationDocument>, ApiError> {
    let (Path(id), Json(why)) = (id?, body?);
    let mitigation = state.engine.reject_mitigation(id, &actor.name, &why.reason).await?;
    Ok(Json(MitigationDocument::of(&state, mitigation).await?))
}

/// Stops a run at once; what has been done stays done.
#[utoipa::path(
    post,
    path = "/api/v1/mitigations/{id}/stop",
    tag = "mitigations",
    params(("id" = String, Path, description = "The mitigation's id")),
    request_body = Reason,
    responses(
        (status = 200, body = MitigationDocument),
        (status = 400, description = "The body cannot be read, or the reason is missing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such mitigation", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It does not run", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.mitigations.stop", skip_all)]
pub async fn stop(
    Operator(actor): Operator,
    State(state): State<AppState>,
    id: Result<Path<MitigationId>, PathRejection>,
    body: Result<Json<Reason>, JsonRejection>,
) -> Result<Json<MitigationDocument>, ApiError> {
    let (Path(id), Json(why)) = (id?, body?);
    state.engine.stop_mitigation(id, &actor.name, &why.reason).await?;
    Ok(Json(get_document(&state, id).await?))
}

/// Lists what is paused.
#[utoipa::path(
    get,
    path = "/api/v1/pauses",
    tag = "mitigations",
    responses((status = 200, body = PauseList)),
)]
#[tracing::instrument(name = "api.pauses.list", skip_all)]
pub async fn list_pauses(State(state): State<AppState>) -> Result<Json<PauseList>, ApiError> {
    let pauses = pauses::list(&mut *state.store.read().await?).await?;
    Ok(Json(PauseList { pauses }))
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
pub async fn add_pause(
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
pub async fn end_pause(
    Operator(actor): Operator,
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(name) = name?;
    state.engine.resume_mitigations(&name, &actor.name).await?;
    Ok(StatusCode::NO_CONTENT)
}
