//! What every page has in common: the frame, instants, links with a query, and how it becomes an answer.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use url::form_urlencoded::{self, Serializer};

use crate::http::error::ApiError;
use crate::http::ui::assets::{ICON, STYLE};
use crate::model::printable::age;

/// The frame around the content of a page.
pub(super) struct Layout {
    /// Where the style sheet is.
    pub(super) style: &'static str,
    /// Where the icon is.
    pub(super) icon: &'static str,
    /// Which connwarden this is.
    pub(super) version: &'static str,
}

impl Layout {
    pub(super) fn new() -> Self {
        Self { style: STYLE.path(), icon: ICON.path(), version: env!("CARGO_PKG_VERSION") }
    }
}

/// An instant as a page shows it: how long ago, and exactly.
pub(super) struct Moment {
    /// For machines.
    pub(super) datetime: String,
    /// For people, exactly.
    pub(super) utc: String,
    /// For people, how long ago.
    pub(super) age: String,
}

impl Moment {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self {
            datetime: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            utc: at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            age: age(Some(at), now),
        }
    }
}

/// A link to one of several views.
pub(super) struct Choice {
    /// What it is called.
    pub(super) text: String,
    /// Where it leads.
    pub(super) href: String,
    /// Whether it is what is shown.
    pub(super) current: bool,
}

impl Choice {
    /// A choice of each of these names, and before them of all; `wanted` is what is shown.
    pub(super) fn of_each<'n>(
        names: impl IntoIterator<Item = &'n str>,
        wanted: Option<&str>,
        href: impl Fn(Option<&str>) -> String,
    ) -> Vec<Self> {
        let choices = [None].into_iter().chain(names.into_iter().map(Some)).map(|choice| Self {
            text: choice.unwrap_or("all").to_owned(),
            href: href(choice),
            current: choice == wanted,
        });
        choices.collect()
    }

    /// A choice of each configured cluster, and of the one that is shown: one that is no longer configured still has its
    /// past.
    pub(super) fn of_each_cluster<'n>(
        configured: impl IntoIterator<Item = &'n str>,
        wanted: Option<&'n str>,
        href: impl Fn(Option<&str>) -> String,
    ) -> Vec<Self> {
        let mut names: Vec<&str> = configured.into_iter().collect();
        names.extend(wanted.filter(|wanted| !names.contains(wanted)));
        Self::of_each(names, wanted, href)
    }
}

/// A path with those parts of a query that are there.
pub(super) fn link(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let mut parts = Serializer::new(String::new());
    parts.extend_pairs(query.iter().filter_map(|(name, value)| Some((name, (*value)?))));
    let query = parts.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The page of a cluster. Its name may hold any character.
pub(super) fn cluster_path(name: &str) -> String {
    // in a path a plus is a plus, a space is not one
    let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("/clusters/{}", name.replace('+', "%20"))
}

/// Writes a page.
pub(super) fn render(page: &impl Template) -> Result<Response, ApiError> {
    Ok(Html(page.render()?).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_carry_what_is_given_and_nothing_else() {
        assert_eq!(link("/", &[("state", None)]), "/");
        assert_eq!(link("/", &[("state", None), ("cluster", Some("a&b=c "))]), "/?cluster=a%26b%3Dc+");
        assert_eq!(cluster_path("eu west/1?+"), "/clusters/eu%20west%2F1%3F%2B");
    }
}
