//! An alert as Alertmanager reports it, and the number it carries.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::labels::{Fingerprint, Labels};

/// The length of one `/connz` page, at which `gnatsd_connz_num_connections` saturates.
///
/// The exporter asks for `/connz` without a limit and exports the length of the page it gets
/// (prometheus-nats-exporter `collector/connz.go`): a value of exactly 1024 means "at least 1024".
pub const CONNZ_PAGE: f64 = 1024.0;

/// One label set with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Identifies the label set; the same each time it fires.
    pub fingerprint: Fingerprint,
    /// What the alert is about.
    pub labels: Labels,
    /// Text for people; never identity.
    pub annotations: Labels,
    /// Firing, or over.
    pub status: AlertStatus,
    /// When it began to fire; may lie in the future.
    pub starts_at: Timestamp,
    /// Where the rule can be looked at; may be empty.
    pub generator_url: String,
    /// The number that made it fire, where it can be read.
    pub value: Option<AlertValue>,
}

impl Alert {
    /// Whether it began after `other`, another report of the same alert, says. What Alertmanager lists is cut to
    /// milliseconds, and its notifications are not.
    pub fn began_after(&self, other: &Self) -> bool {
        self.starts_at.as_millisecond() > other.starts_at.as_millisecond()
    }
}

/// Whether an alert holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertStatus {
    /// The condition holds.
    Firing,
    /// The condition ended at `ended_at`.
    Resolved {
        /// When it ended.
        ended_at: Timestamp,
    },
}

/// The number that made an alert fire, and where it was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlertValue {
    /// The number; always finite.
    pub value: f64,
    /// Where it was read.
    pub source: ValueSource,
}

/// Where an alert's value was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueSource {
    /// Grafana's `values` object.
    GrafanaValues,
    /// An annotation called `value`.
    ValueAnnotation,
    /// `VALUE = n` in the text of an annotation.
    AnnotationText,
}

impl ValueSource {
    /// The source as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::GrafanaValues => "grafana_values",
            Self::ValueAnnotation => "value_annotation",
            Self::AnnotationText => "annotation_text",
        }
    }

    /// Reads what [`ValueSource::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::GrafanaValues, Self::ValueAnnotation, Self::AnnotationText]
            .into_iter()
            .find(|source| source.name() == name)
    }
}

impl AlertValue {
    /// Whether the number is the length of a full `/connz` page, so that the truth may be anything above it.
    pub fn may_be_saturated(self) -> bool {
        self.value == CONNZ_PAGE
    }

    /// Reads the value out of Grafana's `values`, a `value` annotation or `VALUE = n` in an annotation's text.
    ///
    /// What cannot be read with certainty is unknown; nothing is guessed.
    pub fn read(grafana: &[f64], annotations: &Labels) -> Option<Self> {
        let found = |source| move |value| Self { value, source };
        grafana_value(grafana)
            .map(found(ValueSource::GrafanaValues))
            .or_else(|| number(annotations.get("value")?).map(found(ValueSource::ValueAnnotation)))
            .or_else(|| {
                let description = annotations.get("description").into_iter();
                description
                    .chain(annotations.iter().map(|(_, text)| text))
                    .find_map(value_in_text)
                    .map(found(ValueSource::AnnotationText))
            })
    }
}

/// Picks the measured number among Grafana's values.
///
/// A rule has a query, mostly a reduction of it (the same number again) and a condition (0 or 1). The measured
/// number is known when all values that cannot be a condition agree, and there are any.
fn grafana_value(values: &[f64]) -> Option<f64> {
    let is_measured = |value: &f64| value.is_finite() && *value != 0.0 && *value != 1.0;
    let mut measured = values.iter().copied().filter(is_measured);
    let first = measured.next()?;
    measured.all(|value| value == first).then_some(first)
}

/// Finds `VALUE = n` in a text, as the alert rules of the NATS community write it; `MAX_VALUE = n` is something else.
fn value_in_text(text: &str) -> Option<f64> {
    text.match_indices("VALUE").find_map(|(at, name)| {
        let (before, rest) = (&text[..at], &text[at + name.len()..]);
        if before.ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            return None;
        }
        let word = rest.trim_start().strip_prefix('=')?.split_whitespace().next()?;
        number(word.trim_end_matches([',', ';', ')']))
    })
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_value_is_read_where_senders_put_it_and_never_guessed() {
        type Case<'a> = (&'a [f64], &'a [(&'a str, &'a str)], Option<f64>);
        let cases: &[Case<'_>] = &[
            (&[1024.0, 1.0], &[], Some(1024.0)),
            (&[1500.0, 1500.0, 1.0], &[], Some(1500.0)),
            (&[1500.0, 1200.0], &[], None),
            (&[f64::NAN, 1.0], &[], None),
            (&[1.0], &[], None),
            (&[0.0, 1.0], &[], None),
            (&[1.0], &[("summary", "VALUE = 1")], Some(1.0)),
            (&[], &[("value", "1.01e+03")], Some(1010.0)),
            (&[], &[("value", "NaN")], None),
            (&[], &[("value", "many")], None),
            (&[], &[("description", "High (1024) for x\n  VALUE = 1010\n  LABELS = map[]")], Some(1010.0)),
            (&[], &[("summary", "VALUE=7")], Some(7.0)),
            (&[], &[("summary", "(VALUE=7)")], Some(7.0)),
            (&[], &[("summary", "MAX_VALUE=77")], None),
            (&[], &[("summary", "MAX_VALUE=77 VALUE=7")], Some(7.0)),
            (&[], &[("summary", "2VALUE=7 ÉVALUE=7")], None),
            (&[], &[("summary", "VALUE = +Inf")], None),
            (&[], &[("summary", "1024 connections")], None),
            (&[], &[], None),
        ];
        for (grafana, texts, expected) in cases {
            let value = AlertValue::read(grafana, &annotations(texts));
            assert_eq!(value.map(|value| value.value), *expected, "{grafana:?} {texts:?}");
        }
    }
}
