//! `POST /api/v1/snapshots/{id}/estimates`: what a plan would have been when a stored look was taken.
//!
//! It takes the body of a plan and changes nothing, so whoever may read may ask.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::AppState;
use crate::http::api::mitigations::PlanBody;
use crate::http::error::{ApiError, Problem};
use crate::model::estimate::Estimate;
use crate::model::ids::{IncidentId, SnapshotId};

/// `POST /api/v1/snapshots/{id}/estimates`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EstimateDocument {
    /// The stored look.
    pub snapshot: SnapshotId,
    /// The incident that it was taken for.
    pub incident: IncidentId,
    /// What a plan would have been.
    #[serde(flatten)]
    pub estimate: Estimate,
}

/// Whether estimates are asked for at a path.
pub fn is_path(path: &str) -> bool {
    let id = path.strip_prefix("/api/v1/snapshots/").and_then(|rest| rest.strip_suffix("/estimates"));
    id.is_some_and(|id| !id.contains('/'))
}

/// Says what a plan would have been when a stored look was taken: counts as far as its breakdowns tell, and ranges where
/// they do not. Nobody can be named, so nothing can be proposed or executed; nothing is stored.
#[utoipa::path(
    post,
    path = "/api/v1/snapshots/{id}/estimates",
    tag = "mitigations",
    params(("id" = String, Path, description = "The id of a stored look, as an incident lists them in `snapshots`")),
    request_body(content = PlanBody, description = "The body of a plan; `reason` is of no use here, and `cluster`, if given, that of the look"),
    responses(
        (status = 200, body = EstimateDocument),
        (status = 400, description = "The body cannot be read, or means nothing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such look is stored", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.estimates.make", skip_all)]
pub async fn make(
    State(state): State<AppState>,
    id: Result<Path<SnapshotId>, PathRejection>,
    body: Result<Json<PlanBody>, JsonRejection>,
) -> Result<Json<EstimateDocument>, ApiError> {
    let (Path(snapshot), Json(body)) = (id?, body?);
    let request = body.request(&state.engine)?;
    let (incident, estimate) =
        state.engine.estimate_mitigation(snapshot, body.cluster.as_deref(), &request).await?;
    Ok(Json(EstimateDocument { snapshot, incident, estimate }))
}
