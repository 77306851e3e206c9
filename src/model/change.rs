//! Changes: what was done to the systems around an incident, such as a deployment, a reload or a restart.
//!
//! Most are told by others (CI, Argo CD, Grafana), some are seen by connwarden itself. What others tell is text from
//! strangers: it is checked here, bounded, and escaped where it is shown.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::model::ids::ChangeId;

/// The longest title, in characters.
pub const LONGEST_TITLE: usize = 200;

/// The longest text, in characters.
pub const LONGEST_TEXT: usize = 4000;

/// The longest name of a cluster, an application or a server, and the longest foreign id, in characters.
pub const LONGEST_NAME: usize = 200;

/// The longest address, in characters.
pub const LONGEST_URL: usize = 2000;

/// The longest tag, in characters.
pub const LONGEST_TAG: usize = 100;

/// How many tags a change has at most.
pub const MOST_TAGS: usize = 20;

/// The longest name of a source, in characters.
pub const LONGEST_SOURCE: usize = 60;

/// The source of what connwarden has seen itself; nobody else may use it.
pub const OWN_SOURCE: &str = "connwarden";

/// Nothing that was told of happened before: an earlier instant was given in the wrong unit.
const EARLIEST: Timestamp = Timestamp::constant(946_684_800, 0);

/// How far ahead of our clock an instant may be.
const LARGEST_LEAD: SignedDuration = SignedDuration::from_hours(24);

/// Something that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Its id.
    pub id: ChangeId,
    /// When it began, or happened.
    pub at: Timestamp,
    /// When it had ended, if it took a while and that is known.
    pub ended_at: Option<Timestamp>,
    /// What kind of change it was.
    pub kind: ChangeKind,
    /// The configured cluster it concerns; `null` if it may concern any.
    pub cluster: Option<String>,
    /// The application that was changed.
    pub application: Option<String>,
    /// The name of the NATS server that was changed.
    pub server: Option<String>,
    /// What happened, in one line. Text from strangers.
    pub title: String,
    /// More about it; may be empty. Text from strangers.
    pub text: String,
    /// Where there is more to read: `http` or `https`.
    pub url: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// The name of the credential that it was told under, or `connwarden`.
    pub author: String,
    /// What told of it, such as `argocd`.
    pub source: String,
    /// What it is called there.
    pub external_id: Option<String>,
}

/// The kinds of change.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Another version of an application was rolled out.
    #[default]
    Deploy,
    /// A NATS server has loaded its configuration again.
    ConfigReload,
    /// A NATS server was started.
    ServerStart,
    /// A NATS server runs another version.
    ServerVersion,
    /// Anything else.
    Other,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Deploy, Self::ConfigReload, Self::ServerStart, Self::ServerVersion, Self::Other];

    /// The kind as it is stored and written in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::ConfigReload => "config_reload",
            Self::ServerStart => "server_start",
            Self::ServerVersion => "server_version",
            Self::Other => "other",
        }
    }

    /// The kind for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Deploy => "deployment",
            Self::ConfigReload => "configuration reload",
            Self::ServerStart => "server start",
            Self::ServerVersion => "server version",
            Self::Other => "other",
        }
    }

    /// Reads what [`ChangeKind::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What somebody tells of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeReport {
    /// When it began, or happened; now, unless given.
    pub at: Option<Timestamp>,
    /// When it had ended.
    pub ended_at: Option<Timestamp>,
    /// What kind of change it was.
    pub kind: ChangeKind,
    /// The configured cluster it concerns.
    pub cluster: Option<String>,
    /// The application that was changed.
    pub application: Option<String>,
    /// The name of the NATS server that was changed.
    pub server: Option<String>,
    /// What happened, in one line.
    pub title: String,
    /// More about it.
    pub text: String,
    /// Where there is more to read.
    pub url: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What tells of it.
    pub source: String,
    /// What it is called there; the same twice is one change.
    pub external_id: Option<String>,
}

/// What is wrong with a report: which field, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidChange {
    /// The name of the field in our own shape.
    pub field: &'static str,
    /// What is wrong with it, for people.
    pub reason: String,
}

impl ChangeReport {
    /// Checks a report that has come at `now`.
    ///
    /// # Errors
    ///
    /// The first field that is missing, too long, or says what cannot be.
    pub fn check(&self, now: Timestamp) -> Result<(), InvalidChange> {
        line("title", Some(&self.title), LONGEST_TITLE)?;
        if self.title.is_empty() {
            return Err(invalid("title", "is missing: say in one line what was changed"));
        }
        length("text", &self.text, LONGEST_TEXT)?;
        line("cluster", self.cluster.as_deref(), LONGEST_NAME)?;
        line("application", self.application.as_deref(), LONGEST_NAME)?;
        line("server", self.server.as_deref(), LONGEST_NAME)?;
        line("source", Some(&self.source), LONGEST_SOURCE)?;
        line("external_id", self.external_id.as_deref(), LONGEST_NAME)?;
        if self.source == OWN_SOURCE {
            let reason = format!("`{OWN_SOURCE}` is what connwarden has seen itself, say who you are");
            return Err(invalid("source", reason));
        }
        if self.tags.len() > MOST_TAGS {
            let reason = format!("has {} elements, at most {MOST_TAGS} are kept", self.tags.len());
            return Err(invalid("tags", reason));
        }
        self.tags.iter().try_for_each(|tag| line("tags", Some(tag), LONGEST_TAG))?;
        if let Some(url) = &self.url {
            line("url", Some(url), LONGEST_URL)?;
            if !Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
                return Err(invalid("url", "expected an address that begins with `http://` or `https://`"));
            }
        }
        let latest = now.saturating_add(LARGEST_LEAD).unwrap_or(Timestamp::MAX);
        for (field, instant) in [("at", self.at), ("ended_at", self.ended_at)] {
            let Some(instant) = instant else { continue };
            if instant < EARLIEST {
                let reason = format!("{instant} is too long ago; were seconds given for milliseconds?");
                return Err(invalid(field, reason));
            }
            if instant > latest {
                return Err(invalid(field, format!("{instant} is more than a day ahead of {now}")));
            }
        }
        match self.ended_at {
            Some(ended_at) if ended_at < self.at.unwrap_or(ended_at) => {
                Err(invalid("ended_at", "is before `at`"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Change {
    /// The change in one line, without its time. Text from strangers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.title(), self.title)
    }
}

/// Checks a text that must be one line.
fn line(field: &'static str, text: Option<&str>, longest: usize) -> Result<(), InvalidChange> {
    let Some(text) = text else { return Ok(()) };
    if text.chars().any(char::is_control) {
        return Err(invalid(field, "must be one line without control characters"));
    }
    length(field, text, longest)
}

fn length(field: &'static str, text: &str, longest: usize) -> Result<(), InvalidChange> {
    match text.chars().count() {
        count if count > longest => {
            Err(invalid(field, format!("has {count} characters, at most {longest} are kept")))
        }
        _ => Ok(()),
    }
}

fn invalid(field: &'static str, reason: impl Into<String>) -> InvalidChange {
    InvalidChange { field, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> ChangeReport {
        ChangeReport {
            title: "orders-api 1.4.2".to_owned(),
            source: "ci".to_owned(),
            ..ChangeReport::default()
        }
    }

    #[test]
    fn a_report_is_refused_for_the_field_that_is_wrong() {
        let now: Timestamp = "2026-01-05T09:00:00Z".parse().unwrap();
        assert_eq!(report().check(now), Ok(()));
        let at = |text: &str| Some(text.parse().unwrap());
        let cases = [
            (
                ChangeReport { title: String::new(), ..report() },
                "title: is missing: say in one line what was changed",
            ),
            (
                ChangeReport { title: "a\u{1b}[2J".to_owned(), ..report() },
                "title: must be one line without control characters",
            ),
            (
                ChangeReport { text: "x".repeat(4001), ..report() },
                "text: has 4001 characters, at most 4000 are kept",
            ),
            (
                ChangeReport { url: Some("javascript:alert(1)".to_owned()), ..report() },
                "url: expected an address that begins with `http://` or `https://`",
            ),
            (
                ChangeReport { at: at("1970-01-20T13:33:20Z"), ..report() },
                "at: 1970-01-20T13:33:20Z is too long ago; were seconds given for milliseconds?",
            ),
            (
                ChangeReport { at: at("2026-01-07T09:00:00Z"), ..report() },
                "at: 2026-01-07T09:00:00Z is more than a day ahead of 2026-01-05T09:00:00Z",
            ),
            (
                ChangeReport {
                    at: at("2026-01-05T08:00:00Z"),
                    ended_at: at("2026-01-05T07:00:00Z"),
                    ..report()
                },
                "ended_at: is before `at`",
            ),
            (
                ChangeReport { tags: vec![String::new(); 21], ..report() },
                "tags: has 21 elements, at most 20 are kept",
            ),
            (
                ChangeReport { source: "connwarden".to_owned(), ..report() },
                "source: `connwarden` is what connwarden has seen itself, say who you are",
            ),
        ];
        for (report, expected) in cases {
            assert_eq!(report.check(now).unwrap_err().to_string(), expected);
        }
        let long = ChangeReport { title: "é".repeat(200), text: "a\nb".to_owned(), ..report() };
        assert_eq!(long.check(now), Ok(()));
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        for kind in ChangeKind::ALL {
            assert_eq!(ChangeKind::from_name(kind.name()), Some(kind));
        }
    }
}
