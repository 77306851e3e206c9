//! The webhook payload, taken by its shape.
//!
//! Versions 0.25 to 0.34 call themselves version "4", Grafana "1"; unknown fields appear with every release. What
//! makes a notification is `alerts[]`, each with `status`, `labels` and `startsAt`; everything else may be missing or of
//! the wrong type. The status at the top is `firing` as soon as one alert fires and is not looked at.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::model::alert::{Alert, AlertStatus, AlertValue};
use crate::model::labels::Labels;
use crate::model::notification::Notification;

/// Why a body can never be a notification. One line each: Alertmanager copies it into its log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// It is not JSON at all.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// It is JSON of another shape.
    #[error("the body is not an Alertmanager notification: {0}")]
    Shape(String),
    /// One of its alerts is not an alert.
    #[error("alerts[{index}] is not an alert: {reason}")]
    Alert {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// How much of an annotation, or of the link to the rule, is kept with an alert, in bytes. The body is kept whole.
const LONGEST_TEXT: usize = 16 << 10;

/// How many annotations are kept with an alert.
const MOST_ANNOTATIONS: usize = 64;

/// How large all labels of an alert may be, names and values, in bytes. They are what it is: none can be left out.
const LARGEST_LABELS: usize = 256 << 10;

/// How much of a parser's error is told, in characters.
const LONGEST_DIAGNOSIS: usize = 300;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(borrow)]
    alerts: Vec<&'a RawValue>,
    #[serde(default, deserialize_with = "optional")]
    receiver: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    group_key: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    truncated_alerts: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PayloadAlert {
    status: Status,
    labels: Labels,
    #[serde(default, deserialize_with = "optional")]
    annotations: Option<Labels>,
    starts_at: Timestamp,
    #[serde(default, deserialize_with = "optional")]
    ends_at: Option<Timestamp>,
    #[serde(default, rename = "generatorURL", deserialize_with = "optional")]
    generator_url: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    fingerprint: Option<String>,
    /// Grafana only: numbers or null by the name of the query.
    #[serde(default, deserialize_with = "optional")]
    values: Option<BTreeMap<String, serde_json::Value>>,
}

/// Reads what a notification can do without; of the wrong type it is as good as absent, and no reason to lose an alert.
fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Firing,
    Resolved,
}

/// Reads a webhook body that came in at `received_at`.
///
/// # Errors
///
/// The body will never be a notification, however often it is sent.
pub fn parse(body: &[u8], received_at: Timestamp) -> Result<Notification, PayloadError> {
    // serde would take the fields of a struct from an array, one by one
    let object = std::str::from_utf8(body).ok().filter(|text| text.trim_ascii_start().starts_with('{'));
    let payload: Payload<'_> = match object.map(serde_json::from_str) {
        Some(Ok(payload)) => payload,
        refused => {
            // a wrong type may stand before the place from which on it is no JSON
            let json = serde_json::from_slice::<&RawValue>(body);
            json.map_err(|error| PayloadError::NotJson(diagnosis(&error)))?;
            let error = refused.and_then(Result::err);
            let reason = error.map_or_else(|| "it is no JSON object".to_owned(), |error| diagnosis(&error));
            return Err(PayloadError::Shape(reason));
        }
    };
    let alerts = payload.alerts.iter().enumerate().map(|(index, raw)| {
        if !raw.get().starts_with('{') {
            return Err(PayloadError::Alert { index, reason: "it is no JSON object".to_owned() });
        }
        serde_json::from_str::<PayloadAlert>(raw.get())
            .map_err(|error| diagnosis(&error))
            .and_then(|alert| alert.into_alert(received_at))
            .map_err(|reason| PayloadError::Alert { index, reason })
    });
    Ok(Notification {
        alerts: alerts.collect::<Result<_, _>>()?,
        receiver: payload.receiver.unwrap_or_default(),
        group_key: payload.group_key.unwrap_or_default(),
        truncated_alerts: payload.truncated_alerts.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
    })
}

/// Which alerts belong to the group that a notification is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The receiver's name as the sender writes it: a regular expression.
    pub receiver: String,
    /// The labels that the group's alerts share because they are grouped by them.
    pub labels: Labels,
}

/// Reads which group a notification is about.
///
/// # Errors
///
/// The body is no notification, or does not name its group.
pub fn group(body: &[u8]) -> Result<Group, PayloadError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        receiver: String,
        group_labels: Labels,
    }

    let named: Named =
        serde_json::from_slice(body).map_err(|error| PayloadError::Shape(diagnosis(&error)))?;
    Ok(Group { receiver: named.receiver, labels: named.group_labels })
}

/// What is wrong with a body, in one short line: a parser repeats what it found, however long, line breaks included.
fn diagnosis(error: &serde_json::Error) -> String {
    let mut text: String = error.to_string().chars().take(LONGEST_DIAGNOSIS).collect();
    if text.len() < error.to_string().len() {
        text = format!("{text}… at line {} column {}", error.line(), error.column());
    }
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

impl PayloadAlert {
    fn into_alert(self, received_at: Timestamp) -> Result<Alert, String> {
        let size = self.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if size > LARGEST_LABELS {
            return Err(format!("its labels take {size} bytes, at most {LARGEST_LABELS} are taken"));
        }
        let annotations = self.annotations.unwrap_or_default();
        let values: Vec<f64> = self.values.iter().flatten().filter_map(|(_, value)| value.as_f64()).collect();
        // before Alertmanager 0.18 there is no fingerprint; it can be worked out
        let sent = self.fingerprint.and_then(|text| text.parse().ok());
        Ok(Alert {
            fingerprint: sent.unwrap_or_else(|| self.labels.fingerprint()),
            value: AlertValue::read(&values, &annotations),
            status: match self.status {
                Status::Firing => AlertStatus::Firing,
                Status::Resolved => {
                    // year 1 means "none", which a resolved alert should not say
                    let ended_at = self.ends_at.filter(|ended_at| ended_at.as_second() > 0);
                    AlertStatus::Resolved { ended_at: ended_at.map_or(received_at, as_stored) }
                }
            },
            labels: self.labels,
            annotations: annotations
                .iter()
                .take(MOST_ANNOTATIONS)
                .map(|(name, text)| (cut(name), cut(text)))
                .collect(),
            starts_at: as_stored(self.starts_at),
            // a piece of a link leads nowhere
            generator_url: self.generator_url.filter(|url| url.len() <= LONGEST_TEXT).unwrap_or_default(),
        })
    }
}

/// A text that is not longer than what is kept.
fn cut(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LONGEST_TEXT)])
}

/// Cuts an instant to microseconds, the precision in which it is stored: Alertmanager sends nanoseconds, and what is
/// sent again must be equal to what is known.
pub(super) fn as_stored(instant: Timestamp) -> Timestamp {
    let cut = Timestamp::from_microsecond(instant.as_microsecond());
    // the last second of all has no microseconds
    cut.or_else(|_| Timestamp::from_second(instant.as_second()))
        .expect("a whole second of an instant is one too")
}

/// The content digest of a notification: equal for the same alerts in the same state and as many left out, whichever
/// node of an HA pair sends them, how often, and in what order.
///
/// There is no delivery id in any version; the sender's address, reason and group key change between copies.
pub fn content_digest(notification: &Notification) -> String {
    let mut facts: Vec<_> = notification
        .alerts
        .iter()
        .map(|alert| {
            let ended_at = match alert.status {
                AlertStatus::Firing => None,
                AlertStatus::Resolved { ended_at } => Some(ended_at),
            };
            (alert.fingerprint.as_str(), alert.starts_at, ended_at)
        })
        .collect();
    facts.sort_unstable();
    let mut digest = Context::new(&SHA256);
    for (fingerprint, starts_at, ended_at) in facts {
        let ended_at = ended_at.map(|at| at.to_string()).unwrap_or_default();
        digest.update(format!("{fingerprint}\n{starts_at}\n{ended_at}\n").as_bytes());
    }
    // with `max_alerts` the alerts that are sent stay the same while others join behind them
    if notification.truncated_alerts > 0 {
        digest.update(format!("{} more\n", notification.truncated_alerts).as_bytes());
    }
    // not formatted byte by byte: that took longer than the digest
    let digits = digest.finish();
    let digits = digits.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        "2026-11-23T09:00:00Z".parse().unwrap()
    }

    fn parse_text(body: &str) -> Result<Notification, PayloadError> {
        parse(body.as_bytes(), at())
    }

    #[test]
    fn what_is_no_notification_is_refused_in_one_line() {
        let cases = [
            ("", "the body is not JSON: EOF while parsing a value at line 1 column 0"),
            ("<html>", "the body is not JSON: expected value at line 1 column 1"),
            ("[]", "the body is not an Alertmanager notification: it is no JSON object"),
            (
                r#"{"id":"A","n":1}"#,
                "the body is not an Alertmanager notification: missing field `alerts` at line 1 column 16",
            ),
            (
                r#"{"alerts":[{"status":"firing"}]}"#,
                "alerts[0] is not an alert: missing field `labels` at line 1 column 19",
            ),
            (
                r#"{"alerts":[{"status":"odd","labels":{},"startsAt":"2026-01-01T00:00:00Z"}]}"#,
                "alerts[0] is not an alert: unknown variant `odd`, expected `firing` or `resolved` at line 1 column 15",
            ),
        ];
        for (body, expected) in cases {
            let refused = parse_text(body).unwrap_err().to_string();
            assert_eq!(refused, expected, "{body}");
            assert!(!refused.contains('\n'));
        }
    }

    #[test]
    fn a_resolved_alert_without_an_end_ended_when_it_was_received() {
        let body = r#"{"alerts":[{"status":"resolved","labels":{"a":"b"},
            "startsAt":"2026-01-01T00:00:00+01:00","endsAt":"0001-01-01T00:00:00Z"}]}"#;
        let alert = &parse_text(body).unwrap().alerts[0];
        assert_eq!(alert.status, AlertStatus::Resolved { ended_at: at() });
        assert_eq!(alert.starts_at.to_string(), "2025-12-31T23:00:00Z");
        assert_eq!(alert.fingerprint, alert.labels.fingerprint());
    }

    #[test]
    fn an_optional_field_of_the_wrong_type_loses_no_alert() {
        let body = r#"{"receiver":5,"groupKey":null,"externalURL":{},"truncatedAlerts":1.5,"alerts":[
            {"status":"resolved","labels":{"a":"b"},"startsAt":"2026-01-01T00:00:00Z","endsAt":12,
             "annotations":{"value":7},"generatorURL":3,"fingerprint":[],"values":"many"},
            {"status":"firing","labels":{"a":"b"},"startsAt":"2026-01-01T00:00:00Z","annotations":null}]}"#;
        let notification = parse_text(body).unwrap();
        assert_eq!(
            (notification.receiver.as_str(), notification.group_key.as_str(), notification.truncated_alerts),
            ("", "", 0)
        );
        let [over, fires] = notification.alerts.as_slice() else { panic!("there are two") };
        assert_eq!(over.status, AlertStatus::Resolved { ended_at: at() });
        assert_eq!(over.fingerprint, over.labels.fingerprint());
        for alert in [over, fires] {
            assert_eq!((alert.annotations.len(), alert.generator_url.as_str(), alert.value), (0, "", None));
        }
    }

    #[test]
    fn instants_are_as_exact_as_they_are_stored() {
        let body = r#"{"alerts":[{"status":"resolved","labels":{},
            "startsAt":"2026-11-23T08:28:27.8751072Z","endsAt":"2026-11-23T09:28:27.875107999Z"}]}"#;
        let alert = &parse_text(body).unwrap().alerts[0];
        assert_eq!(alert.starts_at.to_string(), "2026-11-23T08:28:27.875107Z");
        let ended_at = "2026-11-23T09:28:27.875107Z".parse().unwrap();
        assert_eq!(alert.status, AlertStatus::Resolved { ended_at });

        let body = r#"{"alerts":[{"status":"resolved","labels":{},
            "startsAt":"-009999-01-02T01:59:59Z","endsAt":"9999-12-30T22:00:00.999999999Z"}]}"#;
        let alert = &parse_text(body).unwrap().alerts[0];
        assert_eq!(alert.starts_at, Timestamp::MIN);
        let ended_at = "9999-12-30T22:00:00Z".parse().unwrap();
        assert_eq!(alert.status, AlertStatus::Resolved { ended_at });
    }

    #[test]
    fn a_diagnosis_is_one_short_line() {
        let alert = |status: &str| {
            format!(
                r#"{{"alerts":[{{"status":"{status}","labels":{{}},"startsAt":"2026-01-01T00:00:00Z"}}]}}"#
            )
        };
        let refused = parse_text(&alert(r"a\nb")).unwrap_err().to_string();
        assert_eq!(
            refused,
            "alerts[0] is not an alert: unknown variant `a b`, expected `firing` or `resolved` at line 1 column 16"
        );
        let refused = parse_text(&alert(&"x".repeat(10_000))).unwrap_err().to_string();
        assert!(refused.ends_with("xxx… at line 1 column 10012"), "{refused}");
        assert!(refused.len() < 400);
    }

    #[test]
    fn a_notification_names_its_group() {
        let body = include_bytes!("../../tests/fixtures/alertmanager/truncated.am-0.33.1.json");
        let group = group(body).unwrap();
        assert_eq!(group.receiver, "trunc");
        assert_eq!(group.labels, Labels::from_iter([("alertname", "NatsHighNumberOfConnections")]));
        assert!(super::group(br#"{"receiver":"x","alerts":[]}"#).is_err());
    }

    #[test]
    fn copies_of_a_notification_have_the_same_digest() {
        let alert = |name: &str, status: &str| {
            format!(
                r#"{{"status":"{status}","labels":{{"alertname":"{name}"}},"startsAt":"2026-01-01T00:00:00Z","endsAt":"2026-01-01T01:00:00Z"}}"#
            )
        };
        let body = |node: &str, alerts: &[String]| {
            format!(r#"{{"externalURL":"{node}","alerts":[{}]}}"#, alerts.join(","))
        };
        let digest = |body: String| content_digest(&parse_text(&body).unwrap());
        let both = [alert("A", "firing"), alert("B", "firing")];
        let turned = [alert("B", "firing"), alert("A", "firing")];
        let over = [alert("A", "firing"), alert("B", "resolved")];
        assert_eq!(digest(body("http://am-0", &both)), digest(body("http://am-1", &turned)));
        assert_ne!(digest(body("http://am-0", &both)), digest(body("http://am-0", &over)));
    }

    #[test]
    fn as_many_left_out_are_part_of_what_is_said() {
        let notification = |truncated_alerts| Notification {
            receiver: String::new(),
            group_key: String::new(),
            truncated_alerts,
            alerts: Vec::new(),
        };
        let digests = [0, 3, 4].map(|count| content_digest(&notification(count)));
        // what is stored is compared with what comes after an update
        assert_eq!(digests[0], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_ne!(digests[0], digests[1]);
        assert_ne!(digests[1], digests[2], "others have joined behind those that are sent");
    }
}
