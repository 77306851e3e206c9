//! `GET /api/v1/clusters/{name}/history` and `GET /api/v1/clusters/{name}/comparison`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::engine::{Compared, ComparisonWish};
use crate::http::AppState;
use crate::http::error::{ApiError, Problem};
use crate::model::breakdown::Dimension;
use crate::model::comparison::{Comparison, DeltaKind, HealthyReason};
use crate::model::first_seen::FirstSeen;
use crate::model::history::Sample;

/// Groups of each dimension in each sample of a history, unless it is asked for more or fewer.
const HISTORY_TOP: usize = 10;

/// Deltas of each dimension of a comparison, unless it is asked for more or fewer.
const COMPARISON_TOP: usize = 20;

/// How long a history is, unless it is said.
const HISTORY: SignedDuration = SignedDuration::from_hours(1);

/// Which samples to show.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// From when on; an hour before `to` unless given.
    pub from: Option<Timestamp>,
    /// Until when; now unless given.
    pub to: Option<Timestamp>,
    /// Groups of each dimension in each sample; 10 unless given.
    pub top: Option<usize>,
}

/// What to compare.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ComparisonQuery {
    /// The last sample until then is compared with; the last of a cluster that was well unless given.
    pub from: Option<Timestamp>,
    /// With the last sample until then; with a look at the cluster now unless given.
    pub to: Option<Timestamp>,
    /// From how many connections of one server on the cluster is not well; the lowest configured threshold unless
    /// given.
    pub threshold: Option<u64>,
    /// Groups of each dimension, those that changed most first; 20 unless given.
    pub top: Option<usize>,
}

/// `GET /api/v1/clusters/{name}/history`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryDocument {
    /// The cluster's configured name.
    pub cluster: String,
    /// From when on.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// The samples, oldest first: about all of the last hour, fewer of the time before, and those of a day and of a
    /// week before `to`.
    pub samples: Vec<Sample>,
}

/// `GET /api/v1/clusters/{name}/comparison`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ComparisonDocument {
    /// The cluster's configured name.
    pub cluster: String,
    /// Why the cluster is thought to have been well at `from`; `null` if `from` was asked for.
    pub healthy: Option<HealthyReason>,
    /// What is different.
    #[serde(flatten)]
    pub comparison: Comparison,
    /// When the groups that are new were seen for the first time, as far as that is known.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, FirstSeen>>)]
    pub first_seen: BTreeMap<Dimension, BTreeMap<String, FirstSeen>>,
}

/// Shows what samples remember of a cluster.
#[utoipa::path(
    get,
    path = "/api/v1/clusters/{name}/history",
    tag = "clusters",
    params(("name" = String, Path, description = "The cluster's configured name"), HistoryQuery),
    responses(
        (status = 200, body = HistoryDocument),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such cluster is configured", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.history.show", skip_all)]
pub async fn show(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<HistoryDocument>, ApiError> {
    let (Path(cluster), Query(query)) = (name?, query?);
    state.engine.check_cluster(&cluster)?;
    let to = query.to.unwrap_or_else(|| state.clock.now());
    let from = query.from.unwrap_or_else(|| to.saturating_sub(HISTORY).unwrap_or(Timestamp::MIN));
    if to < from {
        return Err(ApiError::BadRequest("`to` is before `from`".to_owned()));
    }
    let history = state.engine.history(&cluster, from, to).await?;
    let top = query.top.unwrap_or(HISTORY_TOP);
    let samples = history.samples.into_iter().map(|sample| sample.cut(top)).collect();
    Ok(Json(HistoryDocument { cluster, from, to, samples }))
}

/// Says what has changed in a cluster: unless asked otherwise, since it was last well until now.
#[utoipa::path(
    get,
    path = "/api/v1/clusters/{name}/comparison",
    tag = "clusters",
    params(("name" = String, Path, description = "The cluster's configured name"), ComparisonQuery),
    responses(
        (status = 200, body = ComparisonDocument),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such cluster is configured, or it has no sample to compare with", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.history.compare", skip_all)]
pub async fn compare(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<ComparisonQuery>, QueryRejection>,
) -> Result<Json<ComparisonDocument>, ApiError> {
    let (Path(cluster), Query(query)) = (name?, query?);
    let wish = ComparisonWish { from: query.from, to: query.to, threshold: query.threshold };
    let Compared { comparison, healthy } = state.engine.compare(&cluster, wish).await?;
    let comparison = comparison.top(query.top.unwrap_or(COMPARISON_TOP));
    let mut first_seen = BTreeMap::new();
    for (dimension, changes) in &comparison.by {
        let may_be_new = |kind| matches!(kind, DeltaKind::New | DeltaKind::Unclear);
        let new = changes.deltas.iter().filter(|delta| may_be_new(delta.kind));
        let new: Vec<&str> = new.map(|delta| delta.key.as_str()).collect();
        let seen = state.engine.first_seen(&cluster, *dimension, &new).await?;
        if !seen.is_empty() {
            first_seen.insert(*dimension, seen);
        }
    }
    Ok(Json(ComparisonDocument { cluster, healthy, comparison, first_seen }))
}
