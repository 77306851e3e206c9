//! `GET /api/v1/incidents/{id}/comparison`: two looks of an incident, or one each of two incidents, side by side.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::AppState;
use crate::http::error::{ApiError, Problem};
use crate::model::comparison::Comparison;
use crate::model::history::{SAMPLED, Sample};
use crate::model::ids::{IncidentId, SnapshotId};
use crate::model::snapshot::Snapshot;
use crate::store::snapshots::SnapshotSummary;
use crate::store::{Conn, incidents, snapshots};

/// Deltas of each dimension, unless it is asked for more or fewer.
const TOP: usize = 20;

/// What to compare.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct IncidentComparisonQuery {
    /// The look that is compared with; the first of the incident unless given, or the fullest of `with`.
    #[param(value_type = Option<String>)]
    pub from: Option<SnapshotId>,
    /// The look that is compared; the last of the incident unless given, or the fullest if `with` is given.
    #[param(value_type = Option<String>)]
    pub to: Option<SnapshotId>,
    /// Another incident, whose look is compared with.
    #[param(value_type = Option<String>)]
    pub with: Option<IncidentId>,
    /// Groups of each dimension, those that changed most first; 20 unless given.
    pub top: Option<usize>,
}

/// `GET /api/v1/incidents/{id}/comparison`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentComparison {
    /// What is compared with.
    pub before: ComparedLook,
    /// What is compared.
    pub after: ComparedLook,
    /// What is different.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// A look that is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ComparedLook {
    /// The incident it was taken for.
    pub incident: IncidentId,
    /// Its id.
    pub snapshot: SnapshotId,
    /// The cluster's configured name.
    pub cluster: String,
    /// When it began.
    pub taken_at: Timestamp,
}

/// Compares two looks of an incident, or of two incidents: which groups are new, gone, grown or shrunk.
#[utoipa::path(
    get,
    path = "/api/v1/incidents/{id}/comparison",
    tag = "incidents",
    params(("id" = String, Path, description = "The incident's id"), IncidentComparisonQuery),
    responses(
        (status = 200, body = IncidentComparison),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such incident, or no such snapshot of it", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There are no two looks to compare", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.incidents.compare", skip_all)]
pub async fn compare(
    State(state): State<AppState>,
    id: Result<Path<IncidentId>, PathRejection>,
    query: Result<Query<IncidentComparisonQuery>, QueryRejection>,
) -> Result<Json<IncidentComparison>, ApiError> {
    let (Path(id), Query(query)) = (id?, query?);
    let mut conn = state.store.read().await?;
    let own = looks_of(&mut conn, id).await?;
    let (other, theirs) = match query.with {
        Some(with) => (with, looks_of(&mut conn, with).await?),
        None => (id, own.clone()),
    };
    let fullest = |looks: &[SnapshotSummary]| looks.iter().max_by_key(|look| look.coverage.seen).cloned();
    let (before, after) = match query.with {
        None => (own.first().cloned(), own.last().cloned()),
        Some(_) => (fullest(&theirs), fullest(&own)),
    };
    let before = choose(&theirs, query.from, before)?;
    let after = choose(&own, query.to, after)?;
    let (Some(before), Some(after)) = (before, after) else {
        return Err(ApiError::NothingToCompare(
            "NATS has not been seen: there is no look to compare".to_owned(),
        ));
    };
    if before.id == after.id {
        let why = match own.as_slice() {
            [_] => "the incident has one look only: name another incident in `with`",
            _ => "both looks are the same one: name two of `snapshots`, or another incident in `with`",
        };
        return Err(ApiError::NothingToCompare(why.to_owned()));
    }
    let from = sample_of(&mut conn, &before).await?;
    let to = sample_of(&mut conn, &after).await?;
    Ok(Json(IncidentComparison {
        before: ComparedLook::new(other, before),
        after: ComparedLook::new(id, after),
        comparison: Comparison::between(&from, &to).top(query.top.unwrap_or(TOP)),
    }))
}

impl ComparedLook {
    fn new(incident: IncidentId, look: SnapshotSummary) -> Self {
        Self { incident, snapshot: look.id, cluster: look.cluster, taken_at: look.taken_at }
    }
}

async fn looks_of(conn: &mut Conn, id: IncidentId) -> Result<Vec<SnapshotSummary>, ApiError> {
    let incident = incidents::find(conn, id).await?.ok_or(ApiError::UnknownIncident(id))?;
    Ok(snapshots::list(conn, incident.id).await?)
}

/// The look that was asked for, else the usual one.
fn choose(
    looks: &[SnapshotSummary],
    asked: Option<SnapshotId>,
    usual: Option<SnapshotSummary>,
) -> Result<Option<SnapshotSummary>, ApiError> {
    let Some(asked) = asked else { return Ok(usual) };
    let found = looks.iter().find(|look| look.id == asked).cloned();
    found.map(Some).ok_or(ApiError::UnknownSnapshot(asked))
}

/// A stored look with every group that was stored of it.
async fn sample_of(conn: &mut Conn, look: &SnapshotSummary) -> Result<Sample, ApiError> {
    let breakdowns = snapshots::list_breakdowns(conn, look.id, Some(&SAMPLED.map(Into::into))).await?;
    let snapshot = Snapshot {
        cluster: look.cluster.clone(),
        taken_at: look.taken_at,
        coverage: look.coverage.clone(),
        breakdowns,
        closed: None,
    };
    Ok(Sample::of(&snapshot, usize::MAX))
}
