//! `GET /` and `GET /incidents/{id}`.

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use jiff::Timestamp;

use crate::http::AppState;
use crate::http::api::clusters::list_clusters;
use crate::http::api::documents::{AlertDocument, IncidentDocument, IncidentHead};
use crate::http::api::incidents::{ListQuery, ShowQuery, get_document, list_page};
use crate::http::error::ApiError;
use crate::http::ui::breakdowns::{CoverageView, DEFAULT_TOP, Section};
use crate::http::ui::diagnosis::{ClosedView, DiagnosisView, SimilarRow};
use crate::http::ui::layout::{Choice, Layout, Moment, cluster_path, link, render};
use crate::http::ui::mitigations::badge;
use crate::model::breakdown::Dimension;
use crate::model::change::Change;
use crate::model::diagnosis::FindingKind;
use crate::model::entry::Entry;
use crate::model::ids::IncidentId;
use crate::model::incident::IncidentState;
use crate::model::labels::Labels;
use crate::model::mapping::MappedBy;
use crate::model::mitigation::MitigationSummary;
use crate::model::printable::{age, with_commas};
use crate::model::truth::Truth;

/// From how many alerts on their table is closed at first.
const MANY_ALERTS: usize = 9;

/// Where connwarden is, for somebody whose browser does not say.
const USUAL_HOST: &str = "127.0.0.1:9480";

#[derive(Template)]
#[template(path = "incidents.html")]
struct ListPage {
    layout: Layout,
    states: Vec<Choice>,
    clusters: Vec<Choice>,
    alert_name: Option<String>,
    without_alert_name: String,
    incidents: Vec<Item>,
    is_filtered: bool,
    newest: Option<String>,
    older: Option<String>,
    watched: Vec<Watched>,
    host: String,
    json: String,
}

/// One incident of the list.
struct Item {
    href: String,
    state: &'static str,
    headline: Option<String>,
    finding: Option<&'static str>,
    culprit: Option<String>,
    alert_name: String,
    cluster: String,
    opened: Moment,
    since: Option<Moment>,
}

/// A configured cluster.
struct Watched {
    name: String,
    href: String,
    servers: usize,
}

#[derive(Template)]
#[template(path = "incident.html")]
struct ShowPage {
    layout: Layout,
    title: String,
    head: IncidentHead,
    cluster: String,
    cluster_href: Option<String>,
    is_assumed: bool,
    opened: Moment,
    since: Option<Moment>,
    note: Option<String>,
    meaning: &'static str,
    previous_href: Option<String>,
    diagnosis: Option<DiagnosisView>,
    similar: Vec<SimilarRow>,
    closed: Option<ClosedView>,
    alerts: Vec<AlertRow>,
    alerts_summary: String,
    alerts_open: bool,
    any_saturated: bool,
    looks: Vec<Choice>,
    look: Option<Look>,
    changes: Vec<ChangeLine>,
    mitigations: Vec<MitigationLine>,
    timeline: Vec<Line>,
    by: Option<String>,
    top: usize,
    json: String,
    report: String,
}

/// The look at the cluster that is shown.
struct Look {
    id: String,
    taken: Moment,
    is_last: bool,
    coverage: CoverageView,
    sections: Vec<Section>,
}

/// What an alert says, beside the truth.
struct AlertRow {
    server: String,
    status: String,
    says: String,
    really: String,
    /// Whether that is the count of the whole cluster, because the alert's server is not known.
    is_whole: bool,
    is_saturated: bool,
    /// In one word why Alertmanager tells nothing about it, and who sees to that.
    quiet: Vec<(&'static str, String)>,
    since: Moment,
    ended: Option<Moment>,
    generation: u32,
    labels: Vec<(String, String)>,
    annotations: Vec<(String, String)>,
    generator_url: String,
    is_link: bool,
}

/// What was planned or done against it.
struct MitigationLine {
    href: String,
    text: String,
    badge: &'static str,
    standing: String,
    planned: Moment,
    by: String,
}

impl MitigationLine {
    fn new(head: MitigationSummary, now: Timestamp) -> Self {
        Self {
            href: format!("/mitigations/{}", head.id),
            text: format!("{} {} connections", head.action.name(), with_commas(head.victims)),
            badge: badge(&head.state),
            standing: head.state.standing(),
            planned: Moment::new(head.planned_at, now),
            by: head.planned_by,
        }
    }
}

/// What was changed.
struct ChangeLine {
    at: Moment,
    /// How long before or after the incident was opened.
    distance: String,
    kind: &'static str,
    title: String,
    text: String,
    url: Option<String>,
    /// What it names, each with what that is.
    names: Vec<(&'static str, String)>,
    author: String,
    source: String,
}

/// One line of the timeline.
struct Line {
    at: Moment,
    actor: String,
    /// The page of the mitigation that it is about.
    mitigation_href: Option<String>,
    text: String,
}

impl Line {
    fn new(entry: Entry, now: Timestamp) -> Self {
        // what is a link needs no id
        let mitigation = entry.mitigation().map(|(id, text)| (format!("/mitigations/{id}"), text.to_owned()));
        let (mitigation_href, text) = match mitigation {
            Some((href, text)) => (Some(href), text),
            None => (None, entry.text),
        };
        Self { at: Moment::new(entry.at, now), actor: entry.actor, mitigation_href, text }
    }
}

/// `GET /`
#[tracing::instrument(name = "ui.incidents.list", skip_all)]
pub(super) async fn list(
    State(state): State<AppState>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let page = list_page(&state, query.clone()).await?;
    let now = state.clock.now();
    let limit = query.limit.map(|limit| limit.to_string());
    let at = |path: &str, state: Option<&str>, cluster: Option<&str>, before: Option<&str>| {
        let alert_name = query.alert_name.as_deref();
        let parts = [("state", state), ("cluster", cluster), ("alert_name", alert_name), ("before", before)];
        let limit = [("limit", limit.as_deref())];
        link(path, &[&parts[..], &limit].concat())
    };
    let (wanted_state, wanted_cluster) = (query.state.as_deref(), query.cluster.as_deref());

    let states =
        Choice::of_each(IncidentState::NAMES, wanted_state, |choice| at("/", choice, wanted_cluster, None));
    let configured = list_clusters(&state).clusters;
    let names = configured.iter().map(|cluster| cluster.name.as_str());
    let clusters =
        Choice::of_each_cluster(names, wanted_cluster, |choice| at("/", wanted_state, choice, None));
    let before = query.before.map(|before| before.to_string());
    render(&ListPage {
        layout: Layout::new(),
        states,
        clusters,
        alert_name: query.alert_name.clone(),
        without_alert_name: link("/", &[("state", wanted_state), ("cluster", wanted_cluster)]),
        incidents: page.incidents.into_iter().map(|incident| Item::new(incident, now)).collect(),
        is_filtered: query.state.is_some() || query.cluster.is_some() || query.alert_name.is_some(),
        newest: before.is_some().then(|| at("/", wanted_state, wanted_cluster, None)),
        older: page.next.as_deref().map(|next| at("/", wanted_state, wanted_cluster, Some(next))),
        watched: configured
            .iter()
            .map(|cluster| Watched {
                name: cluster.name.clone(),
                href: cluster_path(&cluster.name),
                servers: cluster.servers.len(),
            })
            .collect(),
        host: host(&headers),
        json: at("/api/v1/incidents", wanted_state, wanted_cluster, before.as_deref()),
    })
}

/// `GET /incidents/{id}`
#[tracing::instrument(name = "ui.incidents.show", skip_all)]
pub(super) async fn show(
    State(state): State<AppState>,
    id: Result<Path<IncidentId>, PathRejection>,
    query: Result<Query<ShowQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let (Path(id), Query(query)) = (id?, query?);
    let top = query.top.unwrap_or(DEFAULT_TOP);
    let document = get_document(&state, id, &query, DEFAULT_TOP).await?;
    let now = state.clock.now();
    render(&ShowPage::new(document, &query, top, now))
}

impl Item {
    fn new(incident: IncidentHead, now: Timestamp) -> Self {
        Self {
            href: format!("/incidents/{}", incident.id),
            state: incident.state.name(),
            since: incident.state.since().map(|at| Moment::new(at, now)),
            cluster: incident.cluster_name(),
            headline: incident.headline,
            finding: incident.top_finding.map(FindingKind::title),
            culprit: incident.culprit.map(|culprit| culprit.key),
            alert_name: incident.alert_name,
            opened: Moment::new(incident.opened_at, now),
        }
    }
}

impl ShowPage {
    fn new(document: IncidentDocument, query: &ShowQuery, top: usize, now: Timestamp) -> Self {
        let head = document.head;
        let path = format!("/incidents/{}", head.id);
        let asked_top = query.top.map(|top| top.to_string());
        let asked_snapshot = query.snapshot.map(|id| id.to_string());

        let last = document.snapshots.last().map(|snapshot| snapshot.id);
        let shown = document.snapshot;
        let looks = document.snapshots.iter().map(|snapshot| {
            let id = snapshot.id.to_string();
            let (at, answer) = (
                snapshot.taken_at.strftime("%H:%M:%S"),
                if snapshot.coverage.complete { "complete" } else { "INCOMPLETE" },
            );
            Choice {
                text: format!("{at}, {}, {answer}", with_commas(snapshot.coverage.seen)),
                href: link(
                    &path,
                    &[("snapshot", Some(&id)), ("by", query.by.as_deref()), ("top", asked_top.as_deref())],
                ),
                current: Some(snapshot.id) == shown,
            }
        });
        let looks: Vec<Choice> = looks.collect();

        let shown = shown.zip(document.taken_at);
        let look = shown.zip(document.coverage.as_ref()).map(|((id, taken_at), coverage)| Look {
            id: id.to_string(),
            taken: Moment::new(taken_at, now),
            is_last: Some(id) == last,
            coverage: CoverageView::new(coverage),
            sections: document
                .breakdowns
                .iter()
                .map(|(by, breakdown)| {
                    let is_open = *by == Dimension::Application.into();
                    Section::new(*by, breakdown, taken_at, top, is_open)
                })
                .collect(),
        });

        let firing = document.alerts.iter().filter(|alert| alert.ended_at.is_none()).count();
        let alerts_summary = match document.alerts.len() {
            1 => format!("1 alert, {firing} firing"),
            count => format!("{count} alerts, {firing} firing"),
        };
        Self {
            layout: Layout::new(),
            title: head.headline.as_ref().unwrap_or(&head.alert_name).clone(),
            diagnosis: document
                .diagnosis
                .map(|diagnosis| DiagnosisView::new(diagnosis, &document.culprit_history, now)),
            similar: document.similar.into_iter().map(|similar| SimilarRow::new(similar, now)).collect(),
            closed: document.closed.map(ClosedView::new),
            report: link(&format!("/api/v1{path}/report"), &[("snapshot", asked_snapshot.as_deref())]),
            cluster: head.cluster.clone().unwrap_or_else(|| "(none)".to_owned()),
            cluster_href: head.cluster.as_deref().map(cluster_path),
            is_assumed: head.mapped_by == Some(MappedBy::Assumed),
            opened: Moment::new(head.opened_at, now),
            since: head.state.since().map(|at| Moment::new(at, now)),
            note: head.state.note(),
            meaning: head.state.meaning(),
            previous_href: head.previous.map(|id| format!("/incidents/{id}")),
            alerts_summary,
            alerts_open: document.alerts.len() < MANY_ALERTS,
            any_saturated: document.alerts.iter().any(AlertDocument::is_saturated),
            alerts: document.alerts.into_iter().map(|alert| AlertRow::new(alert, now)).collect(),
            looks,
            look,
            mitigations: document
                .mitigations
                .into_iter()
                .map(|head| MitigationLine::new(head, now))
                .collect(),
            changes: document
                .changes
                .into_iter()
                .map(|change| ChangeLine::new(change, head.opened_at, now))
                .collect(),
            timeline: document.timeline.into_iter().map(|entry| Line::new(entry, now)).collect(),
            top,
            json: link(
                &format!("/api/v1{path}"),
                &[
                    ("snapshot", asked_snapshot.as_deref()),
                    ("by", query.by.as_deref()),
                    ("top", asked_top.as_deref()),
                ],
            ),
            by: query.by.clone(),
            head,
        }
    }

    /// Where the same look is with more groups.
    fn with_top(&self, top: &usize, section: &str) -> String {
        let path = format!("/incidents/{}", self.head.id);
        // the last look changes; an older one is named
        let older = self.look.as_ref().filter(|look| !look.is_last).map(|look| look.id.as_str());
        let parts = [("snapshot", older), ("by", self.by.as_deref()), ("top", Some(&*top.to_string()))];
        link(&path, &parts) + "#" + section
    }
}

impl ChangeLine {
    fn new(change: Change, opened_at: Timestamp, now: Timestamp) -> Self {
        let distance = if change.at < opened_at {
            format!("{} before it was opened", age(Some(change.at), opened_at))
        } else {
            format!("{} after it was opened", age(Some(opened_at), change.at))
        };
        let names =
            [("application", change.application), ("server", change.server), ("cluster", change.cluster)];
        Self {
            at: Moment::new(change.at, now),
            distance,
            kind: change.kind.title(),
            title: change.title,
            text: change.text,
            url: change.url.filter(|url| is_web_address(url)),
            names: names.into_iter().filter_map(|(what, name)| Some((what, name?))).collect(),
            author: change.author,
            source: change.source,
        }
    }
}

impl AlertRow {
    fn new(alert: AlertDocument, now: Timestamp) -> Self {
        let truth = alert.truth.as_ref().and_then(Truth::count);
        let pairs = |labels: &Labels| {
            labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        Self {
            server: alert.server_name().to_owned(),
            says: alert.value.map_or_else(|| "unknown".to_owned(), |value| value.to_string()),
            is_whole: truth.is_some() && alert.truth.as_ref().is_some_and(|truth| truth.server.is_none()),
            really: truth.unwrap_or_else(|| "unknown".to_owned()),
            is_saturated: alert.is_saturated(),
            quiet: alert.quiet(),
            since: Moment::new(alert.starts_at, now),
            ended: alert.ended_at.map(|ended_at| Moment::new(ended_at, now)),
            generation: alert.generation,
            labels: pairs(&alert.labels),
            annotations: pairs(&alert.annotations),
            is_link: is_web_address(&alert.generator_url),
            generator_url: alert.generator_url,
            status: alert.status,
        }
    }
}

/// Whether an address from a stranger may be followed: not `javascript:` or whatever else there is.
fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// Under which host and port the browser knows us, if that can be told.
fn host(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_plain = |host: &&str| {
        !host.is_empty()
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '[' | ']'))
    };
    host.filter(is_plain).unwrap_or(USUAL_HOST).to_owned()
}
