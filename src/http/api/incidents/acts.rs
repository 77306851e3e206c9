//! `POST /api/v1/incidents` and below: what operators do about incidents.
//!
//! The actor is who has proved to be there, never a field of the body.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::AppState;
use crate::http::api::documents::IncidentHead;
use crate::http::auth::Operator;
use crate::http::error::{ApiError, Problem};
use crate::model::ids::IncidentId;

/// Why something is done, for whoever reads the timeline.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// In a few words; at most 4000 characters.
    pub reason: String,
}

/// Why something is done, if there is anything to say.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OptionalReason {
    /// In a few words; at most 4000 characters.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Something to write down.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The text; at most 4000 characters.
    pub text: String,
}

/// An incident that no alert has told of.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIncident {
    /// The configured cluster.
    pub cluster: String,
    /// What to call it; alerts of this name join it. `Manual` unless given.
    #[serde(default)]
    pub alert_name: Option<String>,
    /// Why it is opened, in a few words; at most 4000 characters.
    pub reason: String,
}

/// Opens an incident that no alert has told of, and looks at its cluster.
#[utoipa::path(
    post,
    path = "/api/v1/incidents",
    tag = "incidents",
    request_body = NewIncident,
    responses(
        (status = 201, body = IncidentHead, headers(("location" = String, description = "Where the incident is"))),
        (status = 400, description = "The body cannot be read, or a text is missing or too long", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such cluster is configured", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "An incident of this alert name is unresolved there", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.incidents.open", skip_all)]
pub async fn open(
    Operator(actor): Operator,
    State(state): State<AppState>,
    body: Result<Json<NewIncident>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(new) = body?;
    let alert_name = new.alert_name.as_deref();
    let incident = state.engine.open(&new.cluster, alert_name, &actor.name, &new.reason).await?;
    let location = format!("/api/v1/incidents/{}", incident.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(IncidentHead::from(incident))))
}

/// Notes that the operator takes care of an incident.
#[utoipa::path(
    post,
    path = "/api/v1/incidents/{id}/acknowledge",
    tag = "incidents",
    params(("id" = String, Path, description = "The incident's id")),
    request_body = OptionalReason,
    responses(
        (status = 200, body = IncidentHead),
        (status = 400, description = "The body cannot be read, or a text is too long", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such incident", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is acknowledged or resolved already", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.incidents.acknowledge", skip_all)]
pub async fn acknowledge(
    Operator(actor): Operator,
    State(state): State<AppState>,
    id: Result<Path<IncidentId>, PathRejection>,
    body: Result<Json<OptionalReason>, JsonRejection>,
) -> Result<Json<IncidentHead>, ApiError> {
    let (Path(id), Json(why)) = (id?, body?);
    let incident = state.engine.acknowledge(id, &actor.name, why.reason.as_deref()).await?;
    Ok(Json(incident.into()))
}

/// Writes something into the timeline of an incident.
#[utoipa::path(
    post,
    path = "/api/v1/incidents/{id}/notes",
    tag = "incidents",
    params(("id" = String, Path, description = "The incident's id")),
    request_body = Note,
    responses(
        (status = 200, body = IncidentHead),
        (status = 400, description = "The body cannot be read, or the text is missing or too long", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such incident", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.incidents.add_note", skip_all)]
pub async fn add_note(
    Operator(actor): Operator,
    State(state): State<AppState>,
    id: Result<Path<IncidentId>, PathRejection>,
    body: Result<Json<Note>, JsonRejection>,
) -> Result<Json<IncidentHead>, ApiError> {
    let (Path(id), Json(note)) = (id?, body?);
    Ok(Json(state.engine.add_note(id, &actor.name, &note.text).await?.into()))
}

/// Ends an incident. It stays over until an alert begins anew.
#[utoipa::path(
    post,
    path = "/api/v1/incidents/{id}/resolve",
    tag = "incidents",
    params(("id" = String, Path, description = "The incident's id")),
    request_body = Reason,
    responses(
        (status = 200, body = IncidentHead),
        (status = 400, description = "The body cannot be read, or the reason is missing or too long", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such incident", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is resolved already", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.incidents.resolve", skip_all)]
pub async fn resolve(
    Operator(actor): Operator,
    State(state): State<AppState>,
    id: Result<Path<IncidentId>, PathRejection>,
    body: Result<Json<Reason>, JsonRejection>,
) -> Result<Json<IncidentHead>, ApiError> {
    let (Path(id), Json(why)) = (id?, body?);
    Ok(Json(state.engine.resolve(id, &actor.name, &why.reason).await?.into()))
}

/// Opens an incident again, and looks at its cluster.
#[utoipa::path(
    post,
    path = "/api/v1/incidents/{id}/reopen",
    tag = "incidents",
    params(("id" = String, Path, description = "The incident's id")),
    request_body = Reason,
    responses(
        (status = 200, body = IncidentHead),
        (status = 400, description = "The body cannot be read, or the reason is missing or too long", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such incident", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not resolved, or there is a newer one of the same cluster and alert name", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.incidents.reopen", skip_all)]
pub async fn reopen(
    Operator(actor): Operator,
    State(state): State<AppState>,
    id: Result<Path<IncidentId>, PathRejection>,
    body: Result<Json<Reason>, JsonRejection>,
) -> Result<Json<IncidentHead>, ApiError> {
    let (Path(id), Json(why)) = (id?, body?);
    Ok(Json(state.engine.reopen(id, &actor.name, &why.reason).await?.into()))
}
