//! `GET /mitigations` and `GET /mitigations/{id}`: what would be done to whom, what the guards say, how far it is and
//! whether it helped.

mod list;

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use jiff::Timestamp;

use crate::http::AppState;
use crate::http::api::mitigations::statistics::find_statistics;
use crate::http::api::mitigations::{
    MitigationDocument, VICTIMS_SHOWN, VictimLine, VictimQuery, get_document, get_victims,
};
use crate::http::error::ApiError;
use crate::http::ui::layout::{Layout, Moment, cluster_path, render};
use crate::model::ids::MitigationId;
use crate::model::journal::VictimState;
use crate::model::mitigation::{MitigationState, Outcome};
use crate::model::mitigation_statistics::ActionStatistics;
use crate::model::plan::{Hit, kept_told};
use crate::model::printable::{span, with_commas};

pub(super) use crate::http::ui::mitigations::list::list;

/// How many groups of a blast radius are told.
const HITS_SHOWN: usize = 8;

#[derive(Template)]
#[template(path = "mitigation.html")]
struct Page {
    layout: Layout,
    title: String,
    badge: &'static str,
    standing: String,
    /// Whether it has begun to run: then what came of it is said first.
    has_begun: bool,
    cluster: String,
    cluster_href: String,
    incident_href: Option<String>,
    planned: Moment,
    planned_by: String,
    approved_by: Option<String>,
    approval: Option<String>,
    started: Option<(Moment, String)>,
    reason: Option<String>,
    conclusion: Option<String>,
    expected_effect: String,
    warning: String,
    facts: Vec<(&'static str, String)>,
    guards: Vec<GuardRow>,
    guards_summary: String,
    progress: Vec<Progress>,
    doubts: Vec<String>,
    looks: Vec<LookLine>,
    victims: Vec<VictimRow>,
    victims_summary: String,
    json: String,
}

/// How many victims are how far, and where they are listed.
struct Progress {
    state: &'static str,
    count: String,
    href: String,
}

struct GuardRow {
    name: &'static str,
    passes: bool,
    reason: String,
    value: String,
    bound: String,
}

struct LookLine {
    after: String,
    summary: String,
}

struct VictimRow {
    name: String,
    cid: u64,
    ip: String,
    idle: String,
    age: String,
    messages: String,
    account: String,
    server: String,
    state: &'static str,
    /// In which colour the state is repeated.
    badge: &'static str,
    error: Option<String>,
}

/// `GET /mitigations/{id}`
#[tracing::instrument(name = "ui.mitigations.show", skip_all)]
pub(super) async fn show(
    State(state): State<AppState>,
    id: Result<Path<MitigationId>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = id?;
    let document = get_document(&state, id).await?;
    let plan = &document.mitigation.plan;
    let statistics = find_statistics(&state, &plan.cluster, plan.action).await?;
    let first = VictimQuery { limit: Some(VICTIMS_SHOWN), ..VictimQuery::default() };
    let victims = get_victims(&state, id, &first).await?.victims;
    render(&Page::new(document, victims, statistics.as_ref(), state.clock.now()))
}

/// In which colour a state is repeated.
pub(super) fn badge(state: &MitigationState) -> &'static str {
    match state {
        MitigationState::Finished { outcome: Outcome::Effective, .. } => "good",
        MitigationState::Finished { outcome: Outcome::Ineffective | Outcome::Failed, .. }
        | MitigationState::Refused { .. } => "bad",
        MitigationState::Planned | MitigationState::Rejected { .. } | MitigationState::Expired { .. } => "",
        _ => "warn",
    }
}

impl Page {
    fn new(
        document: MitigationDocument,
        victims: Vec<VictimLine>,
        statistics: Option<&ActionStatistics>,
        now: Timestamp,
    ) -> Self {
        let (mitigation, plan) = (&document.mitigation, &document.mitigation.plan);
        let has_begun = matches!(
            mitigation.state,
            MitigationState::Running { .. }
                | MitigationState::Verifying { .. }
                | MitigationState::Finished { .. }
                | MitigationState::Stopped { .. }
        );
        let json = format!("/api/v1/mitigations/{}", mitigation.id);
        let blocking = plan.guards.iter().filter(|verdict| !verdict.passes).count();
        let mut facts = vec![
            ("selector", serde_json::to_string(&plan.selector).unwrap_or_default()),
            ("applications", Hit::told(&plan.blast_radius.applications, HITS_SHOWN)),
            ("accounts", Hit::told(&plan.blast_radius.accounts, HITS_SHOWN)),
            ("addresses", Hit::told(&plan.blast_radius.ips, HITS_SHOWN)),
            ("servers", Hit::told(&plan.blast_radius.servers, HITS_SHOWN)),
        ];
        for (reason, count) in &plan.protected {
            facts.push(("protected", format!("{} {}", with_commas(*count), reason.title())));
        }
        if plan.kept > 0 {
            facts.push(("kept", kept_told(with_commas(plan.kept))));
        }
        facts.push((
            "so far",
            statistics.map_or_else(|| "it was never run in this cluster".to_owned(), so_far),
        ));
        facts.push(("digest", plan.digest.clone()));
        facts.retain(|(_, value)| !value.is_empty());
        let shown = victims.len() as u64;
        let victims_summary = if shown < document.victim_count {
            format!("the first {} of {}", with_commas(shown), with_commas(document.victim_count))
        } else {
            with_commas(document.victim_count)
        };
        Self {
            layout: Layout::new(),
            title: format!("{} on {}", capital(plan.action.name()), plan.cluster),
            badge: badge(&mitigation.state),
            standing: mitigation.state.standing(),
            cluster_href: cluster_path(&plan.cluster),
            cluster: plan.cluster.clone(),
            incident_href: mitigation.incident.map(|id| format!("/incidents/{id}")),
            planned: Moment::new(mitigation.planned_at, now),
            planned_by: mitigation.planned_by.clone(),
            approved_by: mitigation.state.approved_by().map(str::to_owned),
            approval: mitigation.state.approval().map(str::to_owned),
            started: mitigation
                .state
                .begun()
                .map(|begun| (Moment::new(begun.started_at, now), begun.started_by.clone())),
            reason: mitigation.reason.clone(),
            conclusion: mitigation.state.conclusion(),
            expected_effect: plan.expected_effect.clone(),
            warning: plan.warning.clone(),
            facts,
            guards: plan
                .guards
                .iter()
                .map(|verdict| GuardRow {
                    name: verdict.guard.title(),
                    passes: verdict.passes,
                    reason: verdict.reason.clone(),
                    value: verdict.value.clone().unwrap_or_default(),
                    bound: verdict.bound.clone().unwrap_or_default(),
                })
                .collect(),
            guards_summary: match blocking {
                0 => "none blocks it".to_owned(),
                count => format!("{count} block it"),
            },
            progress: document
                .progress
                .iter()
                .filter(|_| has_begun)
                .map(|(state, count)| Progress {
                    state: state.name(),
                    count: with_commas(*count),
                    href: format!("{json}/victims?state={}", state.name()),
                })
                .collect(),
            has_begun,
            doubts: document.doubts(),
            looks: document
                .looks
                .iter()
                .map(|look| LookLine { after: span(look.after_ms / 1000), summary: look.summary() })
                .collect(),
            victims: victims.into_iter().map(VictimRow::new).collect(),
            victims_summary,
            json,
        }
    }
}

impl VictimRow {
    fn new(VictimLine { victim, state, error, .. }: VictimLine) -> Self {
        let for_ms = |ms: Option<u64>| ms.map_or_else(|| "–".to_owned(), |ms| span(ms / 1000));
        Self {
            name: victim.name.unwrap_or_else(|| "(unnamed)".to_owned()),
            cid: victim.key.cid,
            ip: victim.ip.map_or_else(|| "–".to_owned(), |ip| ip.to_string()),
            idle: for_ms(victim.idle_ms),
            age: for_ms(victim.age_ms),
            messages: with_commas(victim.messages),
            account: victim.account,
            server: victim.server,
            state: state.name(),
            badge: match state {
                VictimState::Confirmed | VictimState::Left => "good",
                VictimState::Error => "bad",
                VictimState::Sent | VictimState::Asked | VictimState::Stayed => "warn",
                VictimState::Pending | VictimState::Gone | VictimState::Changed | VictimState::Spared => "",
            },
            error,
        }
    }
}

/// What came of the runs of the same action in the same cluster.
fn so_far(statistics: &ActionStatistics) -> String {
    let runs = if statistics.runs == 1 { "run" } else { "runs" };
    let returns = statistics.returns().map(|returns| format!("; {returns} came back")).unwrap_or_default();
    format!("{} {runs} in this cluster: {}{returns}", with_commas(statistics.runs), statistics.ends())
}

fn capital(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
