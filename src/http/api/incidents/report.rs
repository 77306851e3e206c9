//! `GET /api/v1/incidents/{id}/report`: the incident as something to paste into a post-mortem, or as JSON.

mod markdown;

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::AppState;
use crate::http::api::documents::IncidentDocument;
use crate::http::api::incidents::{ShowQuery, get_document};
use crate::http::error::{ApiError, Problem};
use crate::model::diagnosis::Diagnosis;
use crate::model::entry::{Entry, EntryKind};
use crate::model::ids::{IncidentId, MitigationId, SnapshotId};
use crate::model::incident::IncidentState;

/// What the numbers of a report are by.
const BY: &str = "application,ip,account,user,library,server";

/// How many groups a report has of each.
const TOP: usize = 10;

/// How many entries a report has at the most: the last ones.
const LONGEST_TIMELINE: usize = 300;

/// Which report.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReportQuery {
    /// `markdown` or `json`; what `Accept` prefers unless given, and Markdown if it does not say.
    pub format: Option<String>,
    /// The look to report; the latest unless given.
    #[param(value_type = Option<String>)]
    pub snapshot: Option<SnapshotId>,
}

/// An incident as a report: what its own document has, with the ten largest groups of each kind, and what it comes to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReportDocument {
    /// The incident.
    #[serde(flatten)]
    pub incident: IncidentDocument,
    /// When the report was made.
    pub made_at: Timestamp,
    /// How long the incident took until it was over, or has taken so far, in seconds.
    pub duration_s: u64,
    /// Since when, as far as the evidence tells: when its first culprit began, else what the top finding says.
    pub since: Option<Timestamp>,
    /// What was done about it, oldest first: all that people did, and how it ended.
    pub acts: Vec<Entry>,
    /// How many entries are missing at the beginning of the timeline, because there are so many.
    pub timeline_left_out: u64,
}

/// How a report is written.
enum Format {
    Markdown,
    Json,
}

/// Reports an incident: what, who, since when, why, what was done and what to do.
#[utoipa::path(
    get,
    path = "/api/v1/incidents/{id}/report",
    tag = "incidents",
    params(("id" = String, Path, description = "The incident's id"), ReportQuery),
    responses(
        (status = 200, description = "The report", content(
            (ReportDocument = "application/json"),
            (String = "text/markdown"),
        )),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such incident, or no such snapshot of it", body = Problem, content_type = "application/problem+json"),
    ),
)]
#[tracing::instrument(name = "api.incidents.report", skip_all)]
pub async fn report(
    State(state): State<AppState>,
    id: Result<Path<IncidentId>, PathRejection>,
    query: Result<Query<ReportQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (Path(id), Query(query)) = (id?, query?);
    let format = Format::of(query.format.as_deref(), &headers)?;
    let show = ShowQuery { by: Some(BY.to_owned()), top: Some(TOP), snapshot: query.snapshot, starts: false };
    let document = get_document(&state, id, &show, TOP).await?;
    let report = ReportDocument::new(document, state.clock.now());
    Ok(match format {
        Format::Json => Json(report).into_response(),
        Format::Markdown => {
            // what strangers wrote is in it: nobody shall guess that it is a page
            let headers = [
                (header::CONTENT_TYPE, "text/markdown; charset=utf-8"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (headers, markdown::write(&report)).into_response()
        }
    })
}

impl Format {
    fn of(asked: Option<&str>, headers: &HeaderMap) -> Result<Self, ApiError> {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        match asked {
            Some("markdown") => Ok(Self::Markdown),
            Some("json") => Ok(Self::Json),
            Some(other) => {
                Err(ApiError::BadRequest(format!("format: `{other}` is not one of markdown, json")))
            }
            None if accept.contains("application/json") && !accept.contains("text/markdown") => {
                Ok(Self::Json)
            }
            None => Ok(Self::Markdown),
        }
    }
}

impl ReportDocument {
    fn new(mut incident: IncidentDocument, now: Timestamp) -> Self {
        let end = match incident.head.state {
            IncidentState::Resolved { resolved_at, .. } => resolved_at,
            _ => now,
        };
        let duration_s = end.duration_since(incident.head.opened_at).as_secs();
        let acts = acts(&incident.timeline);
        let left_out = incident.timeline.len().saturating_sub(LONGEST_TIMELINE);
        incident.timeline.drain(..left_out);
        Self {
            made_at: now,
            duration_s: u64::try_from(duration_s).unwrap_or(0),
            since: incident.diagnosis.as_ref().and_then(since),
            acts,
            timeline_left_out: left_out as u64,
            incident,
        }
    }
}

/// When it began, as far as the evidence tells.
fn since(diagnosis: &Diagnosis) -> Option<Timestamp> {
    let culprits = diagnosis.culprits.iter().filter_map(|culprit| culprit.since);
    culprits.min().or_else(|| diagnosis.findings.first().and_then(|finding| finding.since))
}

/// What of a timeline says what somebody did about it, or how it ended. A run that was stopped has no outcome: what was
/// seen after it stands for that.
fn acts(timeline: &[Entry]) -> Vec<Entry> {
    let stopped = timeline.iter().filter(|entry| entry.kind == EntryKind::MitigationStopped);
    let stopped: BTreeSet<MitigationId> = stopped.filter_map(Entry::mitigation).map(|(id, _)| id).collect();
    let is_look_after_stop = |entry: &Entry| {
        entry.kind == EntryKind::MitigationLooked
            && entry.mitigation().is_some_and(|(id, _)| stopped.contains(&id))
    };
    timeline.iter().filter(|entry| is_act(entry) || is_look_after_stop(entry)).cloned().collect()
}

/// Whether an entry says what somebody did about it, or how it ended.
fn is_act(entry: &Entry) -> bool {
    matches!(
        entry.kind,
        EntryKind::Acknowledged
            | EntryKind::Note
            | EntryKind::Replayed
            | EntryKind::Reopened
            | EntryKind::FalseResolve
            | EntryKind::Resolved
            | EntryKind::MitigationApproved
            | EntryKind::MitigationRejected
            | EntryKind::MitigationStarted
            | EntryKind::MitigationExecuted
            | EntryKind::MitigationStopped
            | EntryKind::MitigationFinished
    )
}
