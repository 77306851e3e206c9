//! `GET /api/v1/clusters` and `GET /api/v1/clusters/{name}/breakdown`.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use crate::http::AppState;
use crate::http::api::DEFAULT_TOP;
use crate::http::api::documents::{BreakdownDocument, ClusterDocument, ClusterList, ServerDocument};
use crate::http::error::ApiError;
use crate::model::breakdown::{Dimension, UnknownDimension, parse_dimensions};

/// What a breakdown is by, unless something else is asked for.
pub const DEFAULT_BY: &str = "application,ip";

/// What to break down, and how much of it to show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakdownQuery {
    /// A comma list of dimensions.
    pub by: Option<String>,
    /// How many groups of each.
    pub top: Option<usize>,
}

/// `GET /api/v1/clusters`
#[tracing::instrument(name = "api.clusters.list", skip_all)]
pub async fn list(State(state): State<AppState>) -> Json<ClusterList> {
    Json(list_clusters(&state))
}

/// `GET /api/v1/clusters/{name}/breakdown`: looks at the cluster now.
#[tracing::instrument(name = "api.clusters.breakdown", skip_all)]
pub async fn breakdown(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<BreakdownQuery>, QueryRejection>,
) -> Result<Json<BreakdownDocument>, ApiError> {
    let (Path(name), Query(query)) = (name?, query?);
    let dimensions = query.dimensions()?;
    Ok(Json(look(&state, &name, &dimensions, query.top.unwrap_or(DEFAULT_TOP)).await?))
}

impl BreakdownQuery {
    /// The dimensions that are asked for.
    ///
    /// # Errors
    ///
    /// One of them is none.
    pub fn dimensions(&self) -> Result<Vec<Dimension>, UnknownDimension> {
        parse_dimensions(self.by.as_deref().unwrap_or(DEFAULT_BY))
    }
}

/// Says which clusters are configured, and what is known of their servers.
pub fn list_clusters(state: &AppState) -> ClusterList {
    let known = state.engine.known_servers();
    let clusters = state.engine.clusters().map(|cluster| {
        let own = known.iter().filter(|server| server.cluster == cluster.name);
        let servers = own.map(|server| ServerDocument {
            url: server.url.clone(),
            name: server.server_name.clone(),
            server_id: server.server_id.clone(),
        });
        ClusterDocument { name: cluster.name.clone(), servers: servers.collect() }
    });
    ClusterList { clusters: clusters.collect() }
}

/// Looks at a cluster now.
///
/// # Errors
///
/// There is no such cluster, or the look was cut short.
pub async fn look(
    state: &AppState,
    cluster: &str,
    dimensions: &[Dimension],
    top: usize,
) -> Result<BreakdownDocument, ApiError> {
    let snapshot = state.engine.look(cluster).await?;
    Ok(BreakdownDocument::new(snapshot.as_ref().clone(), dimensions, top))
}
