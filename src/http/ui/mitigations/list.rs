//! `GET /mitigations`: what is planned, running and done, and what is paused.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;

use crate::http::AppState;
use crate::http::api::clusters::list_clusters;
use crate::http::api::mitigations::{ListQuery, list_page};
use crate::http::api::pauses::list_pauses;
use crate::http::error::ApiError;
use crate::http::ui::layout::{Choice, Layout, Moment, link, render};
use crate::http::ui::mitigations::{badge, capital};
use crate::model::mitigation::{MitigationState, MitigationSummary};
use crate::model::pause::{Pause, StandingPause};
use crate::model::printable::with_commas;

/// Where the page is.
const PATH: &str = "/mitigations";

#[derive(Template)]
#[template(path = "mitigations.html")]
struct Page {
    layout: Layout,
    states: Vec<Choice>,
    clusters: Vec<Choice>,
    /// Where those of other incidents are, if only those of one are shown.
    without_incident: Option<String>,
    pauses: Vec<PauseLine>,
    mitigations: Vec<Item>,
    is_filtered: bool,
    newest: Option<String>,
    older: Option<String>,
    json: String,
}

/// One mitigation of the list.
struct Item {
    href: String,
    title: String,
    badge: &'static str,
    standing: String,
    conclusion: Option<String>,
    cluster: String,
    selector: String,
    planned: Moment,
    planned_by: String,
    reason: Option<String>,
    incident_href: Option<String>,
}

/// Why mitigations do not run.
struct PauseLine {
    name: String,
    place: String,
    reason: String,
    by: String,
    /// When somebody paused; nothing where a file does.
    at: Option<Moment>,
}

/// `GET /mitigations`
#[tracing::instrument(name = "ui.mitigations.list", skip_all)]
pub(in crate::http::ui) async fn list(
    State(state): State<AppState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let page = list_page(&state, query.clone()).await?;
    let pauses = list_pauses(&state).await?;
    let now = state.clock.now();
    let people = pauses.pauses.into_iter().map(|pause| PauseLine::new(pause, now));
    let files = pauses.standing.into_iter().map(PauseLine::from);
    let incident = query.incident.map(|id| id.to_string());
    let limit = query.limit.map(|limit| limit.to_string());
    let at = |path: &str, state: Option<&str>, cluster: Option<&str>, before: Option<&str>| {
        let incident = incident.as_deref();
        let parts = [("state", state), ("cluster", cluster), ("incident", incident), ("before", before)];
        link(path, &[&parts[..], &[("limit", limit.as_deref())]].concat())
    };
    let (wanted_state, wanted_cluster) = (query.state.as_deref(), query.cluster.as_deref());
    let before = query.before.as_deref();

    let states = Choice::of_each(MitigationState::NAMES, wanted_state, |choice| {
        at(PATH, choice, wanted_cluster, None)
    });
    let configured = list_clusters(&state).clusters;
    let names = configured.iter().map(|cluster| cluster.name.as_str());
    let clusters =
        Choice::of_each_cluster(names, wanted_cluster, |choice| at(PATH, wanted_state, choice, None));
    let everywhere = link(PATH, &[("state", wanted_state), ("cluster", wanted_cluster)]);
    render(&Page {
        layout: Layout::new(),
        states,
        clusters,
        without_incident: incident.is_some().then_some(everywhere),
        pauses: people.chain(files).collect(),
        mitigations: page.mitigations.into_iter().map(|head| Item::new(head, now)).collect(),
        is_filtered: wanted_state.is_some() || wanted_cluster.is_some() || incident.is_some(),
        newest: before.is_some().then(|| at(PATH, wanted_state, wanted_cluster, None)),
        older: page.next.as_deref().map(|next| at(PATH, wanted_state, wanted_cluster, Some(next))),
        json: at("/api/v1/mitigations", wanted_state, wanted_cluster, before),
    })
}

impl Item {
    fn new(head: MitigationSummary, now: Timestamp) -> Self {
        Self {
            href: format!("{PATH}/{}", head.id),
            title: format!("{} {} connections", capital(head.action.name()), with_commas(head.victims)),
            badge: badge(&head.state),
            standing: head.state.standing(),
            conclusion: head.state.conclusion(),
            selector: serde_json::to_string(&head.selector).unwrap_or_default(),
            cluster: head.cluster,
            planned: Moment::new(head.planned_at, now),
            planned_by: head.planned_by,
            reason: head.reason,
            incident_href: head.incident.map(|id| format!("/incidents/{id}")),
        }
    }
}

impl PauseLine {
    fn new(pause: Pause, now: Timestamp) -> Self {
        Self {
            place: pause.place(),
            at: Some(Moment::new(pause.paused_at, now)),
            name: pause.name,
            reason: pause.reason,
            by: pause.paused_by,
        }
    }
}

impl From<StandingPause> for PauseLine {
    fn from(StandingPause { name, reason, by }: StandingPause) -> Self {
        Self { name, place: "all clusters".to_owned(), reason, by, at: None }
    }
}
