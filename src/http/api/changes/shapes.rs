//! The shapes in which a change may be told: our own, and that of an annotation of Grafana.
//!
//! Our own is read strictly: a field that is mistyped would be lost without a word. Grafana's is read with patience:
//! its versions differ, and who sends it did not write it for us.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::error::ApiError;
use crate::model::change::{ChangeKind, ChangeReport, LONGEST_TITLE, MOST_TAGS};

/// The source of a report that names none.
const USUAL_SOURCE: &str = "api";

/// The source of annotations.
const GRAFANA: &str = "grafana";

/// Fields that only an annotation has.
const ANNOTATION_FIELDS: [&str; 6] =
    ["time", "timeEnd", "dashboardUID", "dashboardUid", "dashboardId", "panelId"];

/// Words among the tags of an annotation that make it a deployment.
const DEPLOYMENT_TAGS: [&str; 5] = ["deploy", "deployment", "deployed", "release", "rollout"];

/// How many characters of a revision are shown in a title.
const SHORT_REVISION: usize = 12;

/// A change, as it is told in our own shape. An empty text stands for one that is not given, so that templates need no
/// conditions.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewChange {
    /// What kind of change it was; `deploy` unless given.
    pub kind: ChangeKind,
    /// When it began, or happened (RFC 3339); now unless given.
    #[serde(deserialize_with = "instant", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// When it had ended (RFC 3339), if it took a while.
    #[serde(deserialize_with = "instant", skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The configured cluster it concerns; it may concern any unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The application that was changed, by the name that connwarden gives it.
    #[serde(alias = "app", skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The name of the NATS server that was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What was rolled out, such as a commit or an image's tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What happened, in one line of at most 200 characters; made of `application` and `revision` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// More about it; at most 4000 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where there is more to read: an address that begins with `http://` or `https://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Words to find it by; at most 20 of at most 100 characters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What tells of it, such as `github` or `argocd`; `api` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it is called there: a second report of the same source and id is about the same change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// An annotation as Grafana's HTTP API takes it, and as it gives it back.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotation {
    id: Option<i64>,
    time: Option<i64>,
    #[serde(rename = "timeEnd")]
    time_end: Option<i64>,
    tags: Option<Vec<String>>,
    text: Option<String>,
}

/// Reads what somebody tells of a change, in whichever shape.
///
/// # Errors
///
/// It is in neither; says what is wrong where.
pub(super) fn read(body: &[u8]) -> Result<ChangeReport, ApiError> {
    let Json(fields) = parsed::<serde_json::Map<String, Value>>(body)?;
    if ANNOTATION_FIELDS.iter().any(|field| fields.contains_key(*field)) {
        let Json(annotation) = parsed::<Annotation>(body)?;
        return annotation.report();
    }
    let Json(new) = parsed::<NewChange>(body)?;
    Ok(new.report())
}

fn parsed<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<Json<T>, JsonRejection> {
    Json::from_bytes(body)
}

impl NewChange {
    fn report(self) -> ChangeReport {
        let application = given(self.application);
        let revision = given(self.revision);
        let made = || {
            let application = application.as_deref()?;
            let kind = self.kind.title();
            Some(match &revision {
                Some(revision) => format!("{kind} of {application} at {}", short(revision, SHORT_REVISION)),
                None => format!("{kind} of {application}"),
            })
        };
        let title = given(self.title).or_else(made).unwrap_or_default();
        let text = [given(self.text), revision.map(|revision| format!("revision {revision}"))];
        ChangeReport {
            at: self.at,
            ended_at: self.ended_at,
            kind: self.kind,
            cluster: given(self.cluster),
            server: given(self.server),
            title,
            text: text.into_iter().flatten().collect::<Vec<_>>().join("\n"),
            url: given(self.url),
            tags: self.tags.into_iter().filter_map(|tag| given(Some(tag))).collect(),
            source: given(self.source).unwrap_or_else(|| USUAL_SOURCE.to_owned()),
            external_id: given(self.external_id),
            application,
        }
    }
}

impl Annotation {
    fn report(self) -> Result<ChangeReport, ApiError> {
        let at = self.time.filter(|time| *time != 0).map(|time| milliseconds("time", time)).transpose()?;
        // of a point in time it is 0, or the same
        let ended_at = self.time_end.filter(|end| *end != 0 && Some(*end) != self.time);
        let ended_at = ended_at.map(|end| milliseconds("timeEnd", end)).transpose()?;
        let tags: Vec<String> = self.tags.unwrap_or_default();
        let tagged = |names: &[&str]| {
            let mut pairs = tags.iter().filter_map(|tag| tag.split_once([':', '=']));
            let found = pairs.find(|(name, _)| names.iter().any(|own| name.trim().eq_ignore_ascii_case(own)));
            found.and_then(|(_, value)| given(Some(value.to_owned())))
        };
        let is_deployment =
            tags.iter().any(|tag| DEPLOYMENT_TAGS.iter().any(|own| tag.trim().eq_ignore_ascii_case(own)));
        let text = self.text.unwrap_or_default();
        let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        if first.is_empty() {
            return Err(ApiError::BadRequest("text: is missing: say what was changed".to_owned()));
        }
        let title = one_line(first);
        Ok(ChangeReport {
            at,
            ended_at,
            kind: if is_deployment { ChangeKind::Deploy } else { ChangeKind::Other },
            cluster: tagged(&["cluster"]),
            application: tagged(&["application", "app"]),
            server: tagged(&["server"]),
            // all of it, where the title is not
            text: if text.trim() == title { String::new() } else { text },
            title,
            url: None,
            tags: tags.into_iter().filter_map(|tag| given(Some(tag))).take(MOST_TAGS).collect(),
            source: GRAFANA.to_owned(),
            external_id: self.id.filter(|id| *id != 0).map(|id| id.to_string()),
        })
    }
}

/// An instant that is given in milliseconds.
fn milliseconds(field: &str, time: i64) -> Result<Timestamp, ApiError> {
    Timestamp::from_millisecond(time)
        .map_err(|_| ApiError::BadRequest(format!("{field}: {time} is no time in milliseconds since 1970")))
}

/// A text, unless nothing is in it.
fn given(text: Option<String>) -> Option<String> {
    let text = text?;
    let trimmed = text.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// The beginning of a text that is to be a title.
fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    short(&text, LONGEST_TITLE)
}

/// At most `most` characters of a text.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(most - 1).collect();
    kept.push('…');
    kept
}

/// Reads an instant; an empty text is none.
fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    given(text).map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(body: &Value) -> ChangeReport {
        read(body.to_string().as_bytes()).unwrap()
    }

    fn refusal(body: &Value) -> String {
        read(body.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn our_own_shape_is_read_and_what_is_empty_is_not_given() {
        let argo = report(&json!({
            "source": "argocd", "external_id": "orders-api/2026-11-24T08:00:00Z", "app": "orders-api",
            "revision": "3f2c1a9d0b7e4455aabbccddeeff00112233abcd", "at": "2026-11-24T08:00:00Z", "ended_at": "",
            "text": " ", "url": "https://argocd.example/applications/orders-api", "tags": ["prod", ""],
        }));
        assert_eq!(
            argo,
            ChangeReport {
                at: Some("2026-11-24T08:00:00Z".parse().unwrap()),
                application: Some("orders-api".to_owned()),
                title: "deployment of orders-api at 3f2c1a9d0b7…".to_owned(),
                text: "revision 3f2c1a9d0b7e4455aabbccddeeff00112233abcd".to_owned(),
                url: Some("https://argocd.example/applications/orders-api".to_owned()),
                tags: vec!["prod".to_owned()],
                source: "argocd".to_owned(),
                external_id: Some("orders-api/2026-11-24T08:00:00Z".to_owned()),
                ..ChangeReport::default()
            }
        );
        let short = report(&json!({ "title": "more workers", "kind": "other" }));
        assert_eq!(
            (short.title.as_str(), short.kind, short.source.as_str()),
            ("more workers", ChangeKind::Other, "api")
        );
    }

    #[test]
    fn an_annotation_of_grafana_is_read() {
        let grafana = report(&json!({
            "dashboardUID": "jcIIG-07z", "panelId": 2, "time": 1_763_971_200_000_i64, "timeEnd": 1_763_971_260_000_i64,
            "tags": ["deployment", "application:orders-api", "cluster=nats", "a"], "text": "orders-api 1.4.2\nby ann",
            "somethingNew": { "a": 1 },
        }));
        assert_eq!(
            grafana,
            ChangeReport {
                at: Some("2025-11-24T08:00:00Z".parse().unwrap()),
                ended_at: Some("2025-11-24T08:01:00Z".parse().unwrap()),
                kind: ChangeKind::Deploy,
                cluster: Some("nats".to_owned()),
                application: Some("orders-api".to_owned()),
                title: "orders-api 1.4.2".to_owned(),
                text: "orders-api 1.4.2\nby ann".to_owned(),
                tags: ["deployment", "application:orders-api", "cluster=nats", "a"]
                    .map(str::to_owned)
                    .to_vec(),
                source: "grafana".to_owned(),
                ..ChangeReport::default()
            }
        );
        let point =
            report(&json!({ "id": 7, "time": 1_763_971_200_000_i64, "timeEnd": 0, "text": "x".repeat(300) }));
        assert_eq!(
            (point.ended_at, point.kind, point.external_id.as_deref()),
            (None, ChangeKind::Other, Some("7"))
        );
        assert_eq!((point.title.chars().count(), point.text.len()), (200, 300));
    }

    #[test]
    fn a_refusal_says_what_is_wrong_where() {
        let cases = [
            (json!([]), "invalid type: sequence, expected a map"),
            (json!({ "titel": "x" }), "unknown field `titel`, expected one of `kind`, `at`"),
            (json!({ "title": 7 }), "title: invalid type: integer `7`, expected a string"),
            (json!({ "title": "x", "at": "yesterday" }), "at: failed to parse"),
            (
                json!({ "title": "x", "kind": "deployment" }),
                "kind: unknown variant `deployment`, expected one of `deploy`",
            ),
            (json!({ "time": "now" }), "time: invalid type: string \"now\", expected i64"),
            (
                json!({ "time": i64::MAX, "text": "x" }),
                "time: 9223372036854775807 is no time in milliseconds since 1970",
            ),
            (json!({ "time": 1, "text": " \n" }), "text: is missing: say what was changed"),
        ];
        for (body, expected) in cases {
            let refusal = refusal(&body);
            assert!(refusal.contains(expected), "{body}: {refusal}");
        }
    }
}
