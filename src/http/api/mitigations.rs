//! `/api/v1/mitigations` and what leads there: plans are made and shown, approved and executed by people.
//!
//! The actor is who has proved to be there. Whoever approves or executes names the digest of the plan that they have
//! seen.

pub mod acts;
pub mod statistics;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::engine::{Engine, PlanWish};
use crate::http::AppState;
use crate::http::api::{DEFAULT_LIMIT, checked_limit};
use crate::http::auth::Operator;
use crate::http::error::{ApiError, Problem};
use crate::model::ids::{IncidentId, MitigationId};
use crate::model::journal::VictimState;
use crate::model::mitigation::{Mitigation, MitigationState, MitigationSummary};
use crate::model::mitigation_look::Look;
use crate::model::plan::{ActionKind, PlanRequest};
use crate::model::printable::with_commas;
use crate::model::selector::{Conditions, Selector};
use crate::model::victim::{KeepOf, Victim, VictimLimits, VictimOrder};
use crate::store;
use crate::store::mitigations::MitigationFilter;
use crate::store::victims::JournaledVictim;

/// How many victims a document lists; the others are a page away.
pub const VICTIMS_SHOWN: u32 = 100;

/// The longest idempotency key, in bytes.
const LONGEST_KEY: usize = 200;

/// What is to be planned.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanBody {
    /// The configured cluster; not needed where an incident says it.
    #[serde(default)]
    pub cluster: Option<String>,
    /// What is to be done.
    pub action: ActionKind,
    /// To which connections: all conditions hold of each.
    pub selector: Conditions,
    /// Which of them first.
    #[serde(default)]
    pub order: VictimOrder,
    /// To how many at most; as many as the guards allow unless given.
    #[serde(default)]
    pub at_most: Option<u32>,
    /// To at most this share of the cluster's connections, in percent; as much as the guards allow unless given.
    #[serde(default)]
    pub at_most_percent: Option<f64>,
    /// So many connections of each application are left, at least; as the configuration says unless given.
    #[serde(default)]
    pub keep: Option<u32>,
    /// What that minimum is kept of.
    #[serde(default)]
    pub keep_of: KeepOf,
    /// Why, for whoever reads it later.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `GET /api/v1/mitigations`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MitigationList {
    /// The mitigations, newest first.
    pub mitigations: Vec<MitigationSummary>,
    /// Where the next page begins: pass it as `before`.
    pub next: Option<String>,
}

/// `GET /api/v1/mitigations/{id}`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MitigationDocument {
    /// The plan and where it stands; of the victims the first hundred.
    #[serde(flatten)]
    pub mitigation: Mitigation,
    /// How many victims there are.
    pub victim_count: u64,
    /// How many victims are how far.
    pub progress: BTreeMap<VictimState, u64>,
    /// What was seen after it, first to last.
    pub looks: Vec<Look>,
}

/// `GET /api/v1/mitigations/{id}/victims`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct VictimList {
    /// The victims in the order of the plan, and what became of each.
    pub victims: Vec<VictimLine>,
    /// Where the next page begins: pass it as `from`.
    pub next: Option<u64>,
}

/// A victim, and what became of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct VictimLine {
    /// Its place in the plan; the first one has 0.
    pub place: u64,
    /// Which connection it is, and what was known of it when the plan was made.
    #[serde(flatten)]
    pub victim: Victim,
    /// What became of it.
    pub state: VictimState,
    /// When that was written down.
    pub at: Timestamp,
    /// What its server said, where it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Which mitigations to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only those of this cluster.
    pub cluster: Option<String>,
    /// Only those of this incident.
    #[param(value_type = Option<String>)]
    pub incident: Option<IncidentId>,
    /// Only those in this state.
    pub state: Option<String>,
    /// Continue behind the page whose `next` this is.
    pub before: Option<String>,
    /// Mitigations per page, 1 to 500; 50 unless given.
    pub limit: Option<u32>,
}

/// Which victims to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct VictimQuery {
    /// Only those of which this became, such as `error`.
    pub state: Option<String>,
    /// Continue with the page whose `next` this is.
    pub from: Option<u64>,
    /// Victims per page, 1 to 500; 50 unless given.
    pub limit: Option<u32>,
}

impl From<JournaledVictim> for VictimLine {
    fn from(line: JournaledVictim) -> Self {
        let JournaledVictim { place, victim, state, at, error } = line;
        Self { place, victim, state, at, error }
    }
}

impl MitigationDocument {
    /// Puts together what is known of a mitigation.
    pub async fn of(state: &AppState, mut mitigation: Mitigation) -> Result<Self, ApiError> {
        let mut conn = state.store.read().await?;
        let progress = store::victims::counts(&mut conn, mitigation.id).await?;
        let looks = store::mitigations::list_looks(&mut conn, mitigation.id).await?;
        let victim_count = mitigation.plan.victims.len() as u64;
        mitigation.plan.victims.truncate(VICTIMS_SHOWN as usize);
        Ok(Self { mitigation, victim_count, progress, looks })
    }

    /// What is not known of victims though the run has ended, one line each.
    pub fn doubts(&self) -> Vec<String> {
        let count = |state| self.progress.get(&state).copied().filter(|count| *count > 0);
        let counted =
            |count| format!("{} victim{}", with_commas(count), if count == 1 { " was" } else { "s were" });
        let mut doubts = Vec::new();
        if self.mitigation.state.is_final() {
            let done = self.mitigation.plan.action.does();
            doubts.extend(count(VictimState::Sent).map(|count| {
                format!("{} to be {done} when the run ended; whether they were is not known", counted(count))
            }));
            doubts.extend(count(VictimState::Asked).map(|count| {
                format!(
                    "{} asked to leave before the run ended; whether they did is not known",
                    counted(count)
                )
            }));
        }
        doubts
    }
}

impl PlanBody {
    /// What is asked for; limits that are not given are those of the guards.
    ///
    /// # Errors
    ///
    /// The selector means nothing.
    pub(super) fn request(&self, engine: &Engine) -> Result<PlanRequest, ApiError> {
        let guards = &engine.mitigation_rules().guards;
        let selector = Selector::try_from(self.selector.clone())
            .map_err(|error| ApiError::BadRequest(format!("selector: {error}")))?;
        let limits = VictimLimits {
            at_most: self.at_most.unwrap_or(guards.max_victims),
            at_most_percent: self.at_most_percent.unwrap_or(guards.max_share_percent),
            keep: self.keep.unwrap_or(guards.keep),
            keep_of: self.keep_of,
        };
        Ok(PlanRequest { action: self.action, selector, order: self.order, limits })
    }

    fn into_wish(
        self,
        engine: &Engine,
        incident: Option<IncidentId>,
        headers: &HeaderMap,
    ) -> Result<PlanWish, ApiError> {
        let (request, idempotency_key) = (self.request(engine)?, idempotency_key(headers)?);
        Ok(PlanWish { incident, cluster: self.cluster, request, reason: self.reason, idempotency_key })
    }
}

/// The key by which a sender makes sure that nothing is done twice.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(key) = headers.get("Idempotency-Key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (1..=LONGEST_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => {
            Err(ApiError::BadRequest(format!("Idempotency-Key: not a text of 1 to {LONGEST_KEY} characters")))
        }
    }
}

/// Plans a mitigation for a cluster: shows exactly what would be done to whom, and does nothing.
#[utoipa::path(
    post,
    path = "/api/v1/plans",
    tag = "mitigations",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and the same body give the same plan")),
    request_body = PlanBody,
    responses(
        (status = 201, body = MitigationDocument, headers(("location" = String, description = "Where the mitigation is"))),
        (status = 400, description = "The body cannot be read, or means nothing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such cluster is configured", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The key was used for another body, or by somebody else", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.mitigations.plan", skip_all)]
pub async fn plan(
    Operator(actor): Operator,
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Json<PlanBody>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(body) = body?;
    planned(&state, body.into_wish(&state.engine, None, &headers)?, &actor.name).await
}

/// Plans a mitigation for the cluster of an incident.
#[utoipa::path(
    post,
    path = "/api/v1/incidents/{id}/plans",
    tag = "mitigations",
    params(
        ("id" = String, Path, description = "The incident's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and the same body give the same plan"),
    ),
    request_body = PlanBody,
    responses(
        (status = 201, body = MitigationDocument, headers(("location" = String, description = "Where the mitigation is"))),
        (status = 400, description = "The body cannot be read, or means nothing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such incident", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The incident is about no configured cluster; or the key was used for another body, or by somebody else", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.mitigations.plan_for_incident", skip_all)]
pub async fn plan_for_incident(
    Operator(actor): Operator,
    State(state): State<AppState>,
    id: Result<Path<IncidentId>, PathRejection>,
    headers: HeaderMap,
    body: Result<Json<PlanBody>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let (Path(id), Json(body)) = (id?, body?);
    planned(&state, body.into_wish(&state.engine, Some(id), &headers)?, &actor.name).await
}

async fn planned(
    state: &AppState,
    wish: PlanWish,
    actor: &str,
) -> Result<impl IntoResponse + use<>, ApiError> {
    let mitigation = state.engine.plan_mitigation(wish, actor).await?;
    let location = format!("/api/v1/mitigations/{}", mitigation.id);
    let document = MitigationDocument::of(state, mitigation).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(document)))
}

/// Lists mitigations, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/mitigations",
    tag = "mitigations",
    params(ListQuery),
    responses(
        (status = 200, body = MitigationList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.mitigations.list", skip_all)]
pub async fn list(
    State(state): State<AppState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<MitigationList>, ApiError> {
    let Query(query) = query?;
    Ok(Json(list_page(&state, query).await?))
}

/// Reads one page of mitigations.
///
/// # Errors
///
/// The query makes no sense, or the store failed.
pub async fn list_page(state: &AppState, query: ListQuery) -> Result<MitigationList, ApiError> {
    let limit = checked_limit(query.limit.unwrap_or(DEFAULT_LIMIT))?;
    if let Some(name) = query.state.as_deref().filter(|name| !MitigationState::NAMES.contains(name)) {
        let names = MitigationState::NAMES.join(", ");
        return Err(ApiError::BadRequest(format!("state: `{name}` is not one of {names}")));
    }
    let before = query.before.as_deref().map(|before| {
        before
            .parse()
            .map_err(|_| ApiError::BadRequest(format!("before: `{before}` is not where a page begins")))
    });
    let filter = MitigationFilter {
        cluster: query.cluster,
        incident: query.incident,
        state: query.state,
        before: before.transpose()?,
    };
    let page = store::mitigations::list(&mut *state.store.read().await?, &filter, limit).await?;
    Ok(MitigationList { mitigations: page.mitigations, next: page.next.map(|next| next.to_string()) })
}

/// Shows a mitigation: its plan, what the guards said, how far it is and what it achieved.
#[utoipa::path(
    get,
    path = "/api/v1/mitigations/{id}",
    tag = "mitigations",
    params(("id" = String, Path, description = "The mitigation's id")),
    responses(
        (status = 200, body = MitigationDocument),
        (status = 404, description = "No such mitigation", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.mitigations.show", skip_all)]
pub async fn show(
    State(state): State<AppState>,
    id: Result<Path<MitigationId>, PathRejection>,
) -> Result<Json<MitigationDocument>, ApiError> {
    let Path(id) = id?;
    Ok(Json(get_document(&state, id).await?))
}

/// Finds what is known of a mitigation.
///
/// # Errors
///
/// There is none of that id, or the store failed.
pub async fn get_document(state: &AppState, id: MitigationId) -> Result<MitigationDocument, ApiError> {
    let mitigation = store::mitigations::find(&mut *state.store.read().await?, id).await?;
    let mitigation = mitigation.ok_or(ApiError::UnknownMitigation(id))?;
    MitigationDocument::of(state, mitigation).await
}

/// Lists the victims of a mitigation, and what became of each.
#[utoipa::path(
    get,
    path = "/api/v1/mitigations/{id}/victims",
    tag = "mitigations",
    params(("id" = String, Path, description = "The mitigation's id"), VictimQuery),
    responses(
        (status = 200, body = VictimList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such mitigation", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.mitigations.list_victims", skip_all)]
pub async fn list_victims(
    State(state): State<AppState>,
    id: Result<Path<MitigationId>, PathRejection>,
    query: Result<Query<VictimQuery>, QueryRejection>,
) -> Result<Json<VictimList>, ApiError> {
    let (Path(id), Query(query)) = (id?, query?);
    Ok(Json(get_victims(&state, id, &query).await?))
}

/// Reads one page of the victims of a mitigation.
///
/// # Errors
///
/// The query makes no sense, there is no mitigation of that id, or the store failed.
pub async fn get_victims(
    state: &AppState,
    id: MitigationId,
    query: &VictimQuery,
) -> Result<VictimList, ApiError> {
    let limit = checked_limit(query.limit.unwrap_or(DEFAULT_LIMIT))?;
    let wanted = query.state.as_deref().map(|name| {
        VictimState::from_name(name).ok_or_else(|| {
            let names = VictimState::ALL.map(VictimState::name).join(", ");
            ApiError::BadRequest(format!("state: `{name}` is not one of {names}"))
        })
    });
    let wanted = wanted.transpose()?;
    let mut conn = state.store.read().await?;
    if store::mitigations::find_summary(&mut conn, id).await?.is_none() {
        return Err(ApiError::UnknownMitigation(id));
    }
    let page = store::victims::list(&mut conn, id, wanted, query.from.unwrap_or(0), limit).await?;
    Ok(VictimList { victims: page.victims.into_iter().map(VictimLine::from).collect(), next: page.next })
}
