//! `GET /api/v1/incidents` and `GET /api/v1/incidents/{id}`; what changes incidents is in [`acts`], what
//! sums one up in [`report`].

pub mod acts;
pub mod comparison;
pub mod report;

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::AppState;
use crate::http::api::documents::{
    AlertDocument, IncidentDocument, IncidentHead, IncidentList, NotificationDocument, SnapshotDocument,
    top_of,
};
use crate::http::api::{DEFAULT_LIMIT, DEFAULT_TOP, checked_limit};
use crate::http::error::{ApiError, Problem};
use crate::model::breakdown::{Breakdowns, By, Dimension, InvalidBy};
use crate::model::diagnosis::Diagnosis;
use crate::model::ids::{IncidentId, SnapshotId};
use crate::model::incident::IncidentState;
use crate::store::incidents::IncidentFilter;
use crate::store::mitigations::MitigationFilter;
use crate::store::{
    address_names, alerts, diagnoses, entries, incidents, mitigations, notifications, precedents, snapshots,
};

/// Which incidents to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only of this cluster.
    pub cluster: Option<String>,
    /// Only of this alert.
    pub alert_name: Option<String>,
    /// Only in this state: `triggered`, `acknowledged`, `recovering` or `resolved`.
    pub state: Option<String>,
    /// Continue behind the page whose `next` this is.
    pub before: Option<i64>,
    /// Incidents per page, 1 to 500; 50 unless given.
    pub limit: Option<u32>,
}

/// How much of an incident to show.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ShowQuery {
    /// Which breakdowns to show, a comma list; every one that was stored unless given.
    pub by: Option<String>,
    /// Groups per breakdown, and of each kind of closed connections; 100 unless given.
    pub top: Option<usize>,
    /// Whether to show when the connections began, of all and of the largest groups; not unless asked for.
    #[serde(default)]
    pub starts: bool,
    /// The look to show; the latest unless given.
    #[param(value_type = Option<String>)]
    pub snapshot: Option<SnapshotId>,
}

/// Lists incidents, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/incidents",
    tag = "incidents",
    params(ListQuery),
    responses(
        (status = 200, body = IncidentList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.incidents.list", skip_all)]
pub async fn list(
    State(state): State<AppState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<IncidentList>, ApiError> {
    let Query(query) = query?;
    Ok(Json(list_page(&state, query).await?))
}

/// Shows one incident: its alerts, who holds the connections, and what happened.
#[utoipa::path(
    get,
    path = "/api/v1/incidents/{id}",
    tag = "incidents",
    params(("id" = String, Path, description = "The incident's id"), ShowQuery),
    responses(
        (status = 200, body = IncidentDocument),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such incident, or no such snapshot of it", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.incidents.show", skip_all)]
pub async fn show(
    State(state): State<AppState>,
    id: Result<Path<IncidentId>, PathRejection>,
    query: Result<Query<ShowQuery>, QueryRejection>,
) -> Result<Json<IncidentDocument>, ApiError> {
    let (Path(id), Query(query)) = (id?, query?);
    Ok(Json(get_document(&state, id, &query, DEFAULT_TOP).await?))
}

impl ShowQuery {
    /// Which breakdowns are asked for; `None` means all.
    ///
    /// # Errors
    ///
    /// A part that a breakdown cannot be by.
    pub fn by_list(&self) -> Result<Option<Vec<By>>, InvalidBy> {
        self.by.as_deref().map(By::parse_list).transpose()
    }
}

/// Reads one page of incidents.
///
/// # Errors
///
/// The query makes no sense, or the store failed.
pub async fn list_page(state: &AppState, query: ListQuery) -> Result<IncidentList, ApiError> {
    if let Some(name) = &query.state
        && !IncidentState::NAMES.contains(&name.as_str())
    {
        return Err(ApiError::BadRequest(format!(
            "state: `{name}` is not one of {}",
            IncidentState::NAMES.join(", ")
        )));
    }
    let limit = checked_limit(query.limit.unwrap_or(DEFAULT_LIMIT))?;
    let filter = IncidentFilter {
        cluster: query.cluster,
        alert_name: query.alert_name,
        state: query.state,
        before: query.before,
    };
    let mut conn = state.store.read().await?;
    let page = incidents::list(&mut conn, &filter, limit).await?;
    let ids: Vec<IncidentId> = page.incidents.iter().map(|incident| incident.id).collect();
    let mut conclusions = precedents::list_conclusions(&mut conn, &ids).await?;
    let heads = page.incidents.into_iter().map(|incident| {
        let conclusion = conclusions.remove(&incident.id);
        IncidentHead::from(incident).with(conclusion)
    });
    Ok(IncidentList { incidents: heads.collect(), next: page.next.map(|next| next.to_string()) })
}

/// Reads all there is to know of an incident, with one look at its cluster; `usual_top` groups of each breakdown, unless
/// the query says how many.
///
/// # Errors
///
/// There is no such incident or look, the query makes no sense, or the store failed.
pub async fn get_document(
    state: &AppState,
    id: IncidentId,
    query: &ShowQuery,
    usual_top: usize,
) -> Result<IncidentDocument, ApiError> {
    let by = query.by_list()?;
    let mut conn = state.store.read().await?;
    let incident = incidents::find(&mut conn, id).await?.ok_or(ApiError::UnknownIncident(id))?;
    let members = alerts::list(&mut conn, id).await?;
    let timeline = entries::list(&mut conn, id).await?;
    let notifications = notifications::list_of(&mut conn, id).await?;
    let planned = MitigationFilter { incident: Some(id), ..MitigationFilter::default() };
    let mitigations = mitigations::list(&mut conn, &planned, DEFAULT_LIMIT).await?.mitigations;
    let changes = state.engine.changes_around(&mut conn, &incident).await?;
    let snapshots = snapshots::list(&mut conn, id).await?;
    let shown = match query.snapshot {
        None => snapshots.last(),
        Some(wanted) => {
            let found = snapshots.iter().find(|snapshot| snapshot.id == wanted);
            Some(found.ok_or(ApiError::UnknownSnapshot(wanted))?)
        }
    };
    let mut diagnosis = match shown {
        Some(shown) => diagnoses::find(&mut conn, shown.id).await?,
        None => None,
    };
    let mut breakdowns = match shown {
        Some(shown) => snapshots::list_breakdowns(&mut conn, shown.id, by.as_deref()).await?,
        None => Default::default(),
    };
    let closed = match shown {
        Some(shown) => snapshots::find_closed(&mut conn, shown.id).await?,
        None => None,
    };
    if let Some(shown) = shown {
        let names = address_names::list(&mut conn, shown.id).await?;
        named(diagnosis.as_mut(), &mut breakdowns, &names);
    }
    let conclusion = precedents::list_conclusions(&mut conn, &[id]).await?.remove(&id);
    let culprit_history = precedents::list_histories(&mut conn, id).await?;
    let similar = precedents::list_similar(&mut conn, id).await?;
    let top = query.top.unwrap_or(usual_top);
    let breakdowns = breakdowns
        .into_iter()
        .map(|(by, breakdown)| (by, if query.starts { breakdown } else { breakdown.without_starts() }));

    let (snapshot, taken_at) = shown.map(|shown| (shown.id, shown.taken_at)).unzip();
    let coverage = shown.map(|shown| shown.coverage.clone());
    let mut alerts: Vec<AlertDocument> =
        members.into_values().map(|member| AlertDocument::new(member, coverage.as_ref())).collect();
    alerts.sort_by(|one, two| (&one.status, one.starts_at).cmp(&(&two.status, two.starts_at)));
    Ok(IncidentDocument {
        head: IncidentHead::from(incident).with(conclusion),
        alerts,
        snapshots: snapshots.into_iter().map(SnapshotDocument::from).collect(),
        snapshot,
        taken_at,
        coverage,
        breakdowns: top_of(breakdowns, top),
        closed: closed.map(|closed| closed.top(top)),
        diagnosis,
        culprit_history,
        similar,
        timeline,
        notifications: notifications.into_iter().map(NotificationDocument::from).collect(),
        changes,
        mitigations,
    })
}

/// Adds the names that DNS gave addresses, beside them.
fn named(diagnosis: Option<&mut Diagnosis>, breakdowns: &mut Breakdowns, names: &BTreeMap<IpAddr, String>) {
    let name = |address: &str| names.get(&address.parse::<IpAddr>().ok()?).cloned();
    for culprit in diagnosis.into_iter().flat_map(|diagnosis| &mut diagnosis.culprits) {
        for origin in &mut culprit.addresses {
            origin.name = name(&origin.address);
        }
    }
    if let Some(breakdown) = breakdowns.get_mut(&Dimension::Ip.into()) {
        for group in &mut breakdown.groups {
            group.label = name(&group.key);
        }
    }
}
