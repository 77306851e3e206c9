//! What somebody with a browser sees when something goes wrong: the words of the problem document, on a page.

use askama::Template;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::http::error::Problem;
use crate::http::ui::layout::Layout;
use crate::http::ui::set_headers;

#[derive(Template)]
#[template(path = "error.html")]
struct Page<'a> {
    layout: Layout,
    problem: &'a Problem,
    request_id: &'a str,
}

/// Whether whoever asks would rather have a page than a document.
pub(in crate::http) fn wants_page(request: &Request) -> bool {
    let path = request.uri().path();
    let is_for_programs = path == "/metrics" || ["/api/", "/-/"].iter().any(|start| path.starts_with(start));
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    !is_for_programs && accept.is_some_and(prefers_html)
}

/// Whether an Accept header names HTML, and names JSON not more.
fn prefers_html(accept: &str) -> bool {
    let weight = |wanted: &[&str]| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next()?;
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            weight.filter(|_| wanted.contains(&kind))
        });
        ranges.fold(0.0_f32, f32::max)
    };
    let html = weight(&["text/html", "application/xhtml+xml"]);
    html > 0.0 && html >= weight(&["application/json", "application/problem+json"])
}

/// The answer itself. What cannot be written as a page is told in a line.
pub(in crate::http) fn page(problem: &Problem, status: StatusCode, request_id: &str) -> Response {
    let page = Page { layout: Layout::new(), problem, request_id };
    let mut response = match page.render() {
        Ok(page) => (status, Html(page)).into_response(),
        Err(error) => {
            tracing::error!(%error, "an error page could not be written: {error}");
            (status, format!("{}\n", problem.title)).into_response()
        }
    };
    set_headers(&mut response);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_for_those_who_ask_for_it() {
        assert!(prefers_html("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(prefers_html("application/json;q=0.5, text/html; q=0.9"));
        assert!(!prefers_html("*/*"));
        assert!(!prefers_html("application/json, text/html;q=0.5"));
        assert!(!prefers_html("text/html;q=0"));
        assert!(!prefers_html(""));
    }
}
