//! `GET /api/v1/mitigations/statistics`: how often each action helped, by cluster.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::AppState;
use crate::http::error::{ApiError, Problem};
use crate::model::mitigation_statistics::ActionStatistics;
use crate::model::plan::ActionKind;
use crate::store::mitigations::statistics::{self, StatisticsFilter};

/// `GET /api/v1/mitigations/statistics`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StatisticsList {
    /// One for each cluster and action that was run there, in the order of their names.
    pub statistics: Vec<ActionStatistics>,
}

/// Which runs to count.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StatisticsQuery {
    /// Only those in this cluster.
    pub cluster: Option<String>,
    /// Only those that were started then or later (RFC 3339).
    #[param(value_type = Option<String>)]
    pub since: Option<Timestamp>,
}

/// Says how often each action helped, by cluster, of all runs that are kept, and how many of those that it cut came back, of
/// the last hundred runs of each.
#[utoipa::path(
    get,
    path = "/api/v1/mitigations/statistics",
    tag = "mitigations",
    params(StatisticsQuery),
    responses(
        (status = 200, body = StatisticsList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.mitigations.list_statistics", skip_all)]
pub async fn list_statistics(
    State(state): State<AppState>,
    query: Result<Query<StatisticsQuery>, QueryRejection>,
) -> Result<Json<StatisticsList>, ApiError> {
    let Query(StatisticsQuery { cluster, since }) = query?;
    let filter = StatisticsFilter { cluster, since, ..StatisticsFilter::default() };
    let statistics = statistics::list(&mut *state.store.read().await?, &filter).await?;
    Ok(Json(StatisticsList { statistics }))
}

/// How often an action helped in a cluster; nothing if it was never run there.
///
/// # Errors
///
/// The store failed.
pub async fn find_statistics(
    state: &AppState,
    cluster: &str,
    action: ActionKind,
) -> Result<Option<ActionStatistics>, ApiError> {
    let filter = StatisticsFilter { cluster: Some(cluster.to_owned()), action: Some(action), since: None };
    Ok(statistics::list(&mut *state.store.read().await?, &filter).await?.pop())
}
