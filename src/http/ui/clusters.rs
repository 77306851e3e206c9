//! `GET /clusters/{name}`: a look at a cluster, now.

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;

use crate::http::AppState;
use crate::http::api::clusters::{BreakdownQuery, DEFAULT_BY, look};
use crate::http::error::ApiError;
use crate::http::ui::breakdowns::{CoverageView, DEFAULT_TOP, Section};
use crate::http::ui::layout::{Choice, Layout, Moment, cluster_path, link, render};
use crate::model::breakdown::By;

#[derive(Template)]
#[template(path = "cluster.html")]
struct Page {
    layout: Layout,
    name: String,
    path: String,
    by: String,
    taken: Moment,
    coverage: CoverageView,
    views: Vec<Choice>,
    sections: Vec<Section>,
    incidents: String,
    again: String,
    json: String,
}

/// `GET /clusters/{name}`
#[tracing::instrument(name = "ui.clusters.show", skip_all)]
pub(super) async fn show(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<BreakdownQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let (Path(name), Query(query)) = (name?, query?);
    let asked = query.by_list()?;
    let top = query.top.unwrap_or(DEFAULT_TOP);
    let document = look(&state, &name, &asked, top).await?;

    let path = cluster_path(&name);
    let asked_top = query.top.map(|top| top.to_string());
    let at = |path: &str, by: Option<&str>| link(path, &[("by", by), ("top", asked_top.as_deref())]);
    let by = query.by.as_deref().unwrap_or(DEFAULT_BY).to_owned();
    let all = By::standard().iter().map(By::to_string).collect::<Vec<_>>().join(",");
    let overview = [("Overview".to_owned(), DEFAULT_BY.to_owned())];
    let each = By::standard().into_iter().map(|by| (by.title(), by.to_string()));
    let views = overview.into_iter().chain(each).chain([("Everything".to_owned(), all)]);
    let views = views.map(|(text, view)| Choice { href: at(&path, Some(&view)), current: view == by, text });

    // as they were asked for
    let shown = asked.iter().filter_map(|by| document.breakdowns.get_key_value(by));
    let sections = shown.map(|(by, breakdown)| Section::new(*by, breakdown, document.taken_at, top, true));
    render(&Page {
        layout: Layout::new(),
        taken: Moment::new(document.taken_at, state.clock.now()),
        coverage: CoverageView::new(&document.coverage),
        views: views.collect(),
        sections: sections.collect(),
        incidents: link("/", &[("cluster", Some(&name))]),
        again: at(&path, query.by.as_deref()),
        json: at(&format!("/api/v1{path}/breakdown"), query.by.as_deref()),
        name,
        path,
        by,
    })
}

impl Page {
    /// Where the same dimensions are with more groups.
    fn with_top(&self, top: &usize, section: &str) -> String {
        link(&self.path, &[("by", Some(&self.by)), ("top", Some(&top.to_string()))]) + "#" + section
    }
}
