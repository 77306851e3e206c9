//! What operators do about mitigations: propose, approve, reject, execute, stop.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::AppState;
use crate::http::api::incidents::acts::Reason;
use crate::http::api::mitigations::{MitigationDocument, get_document};
use crate::http::auth::Operator;
use crate::http::error::{ApiError, Problem};
use crate::model::ids::MitigationId;

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
