//! `GET /api/v1/clusters`, and of one of them `/breakdown` and `/capabilities`.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::AppState;
use crate::http::api::DEFAULT_TOP;
use crate::http::api::documents::{BreakdownDocument, ClusterDocument, ClusterList, ServerDocument};
use crate::http::error::{ApiError, Problem};
use crate::model::breakdown::{By, InvalidBy};
use crate::model::capability::Capabilities;

/// What a breakdown is by, unless something else is asked for.
pub const DEFAULT_BY: &str = "application,ip";

/// What to break down, and how much of it to show.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BreakdownQuery {
    /// What to group by, a comma list of dimensions or of two crossed; `application,ip` unless given.
    pub by: Option<String>,
    /// Groups per breakdown; 100 unless given.
    pub top: Option<usize>,
}

/// Lists the configured clusters, and what their servers last said of themselves.
#[utoipa::path(get, path = "/api/v1/clusters", tag = "clusters", responses((status = 200, body = ClusterList)))]
#[tracing::instrument(name = "api.clusters.list", skip_all)]
pub async fn list(State(state): State<AppState>) -> Json<ClusterList> {
    Json(list_clusters(&state))
}

/// Looks at a cluster now: who holds its connections.
#[utoipa::path(
    get,
    path = "/api/v1/clusters/{name}/breakdown",
    tag = "clusters",
    params(("name" = String, Path, description = "The cluster's configured name"), BreakdownQuery),
    responses(
        (status = 200, body = BreakdownDocument),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such cluster is configured", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.clusters.breakdown", skip_all)]
pub async fn breakdown(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<BreakdownQuery>, QueryRejection>,
) -> Result<Json<BreakdownDocument>, ApiError> {
    let (Path(name), Query(query)) = (name?, query?);
    let by = query.by_list()?;
    Ok(Json(look(&state, &name, &by, query.top.unwrap_or(DEFAULT_TOP)).await?))
}

/// Says which actions can work in a cluster, and what is missing for the others.
#[utoipa::path(
    get,
    path = "/api/v1/clusters/{name}/capabilities",
    tag = "mitigations",
    params(("name" = String, Path, description = "The cluster's configured name")),
    responses(
        (status = 200, body = Capabilities),
        (status = 404, description = "No such cluster is configured", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.clusters.capabilities", skip_all)]
pub async fn capabilities(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Capabilities>, ApiError> {
    let Path(name) = name?;
    Ok(Json(state.engine.capabilities(&name).await?))
}

impl BreakdownQuery {
    /// What is asked for.
    ///
    /// # Errors
    ///
    /// A part that a breakdown cannot be by.
    pub fn by_list(&self) -> Result<Vec<By>, InvalidBy> {
        By::parse_list(self.by.as_deref().unwrap_or(DEFAULT_BY))
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
        ClusterDocument {
            name: cluster.name.clone(),
            servers: servers.collect(),
            system_account: state.engine.system_status(&cluster.name),
        }
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
    by: &[By],
    top: usize,
) -> Result<BreakdownDocument, ApiError> {
    let snapshot = state.engine.look(cluster, by).await?;
    Ok(BreakdownDocument::new(snapshot.as_ref().clone(), by, top))
}
