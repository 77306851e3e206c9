//! Prometheus on the wire: which of its rules fire, what an expression says now, and what it said over time.
//!
//! The alerts of Prometheus lack its external labels, which those of Alertmanager have, so their fingerprints differ:
//! they are the same alert if Prometheus' labels are among Alertmanager's. Thanos and Mimir answer in part with a warning:
//! what is missing from such an answer proves nothing.

pub mod range;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::model::endpoint::Endpoint;
use crate::model::labels::Labels;
use crate::model::printable::excerpt;
use crate::outgoing::documents::{DocumentCause, DocumentError, Documents, Limits};

/// The most warnings that are kept of one answer.
const MOST_WARNINGS: usize = 5;

/// Asks one Prometheus. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PrometheusClient(Documents);

/// An answer, and what was said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    /// What was asked for.
    pub result: T,
    /// What may be wrong with it; with a warning, it may be only a part.
    pub warnings: Vec<String>,
}

/// A rule's alert, as Prometheus has it.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleAlert {
    /// Its labels, without the external ones.
    pub labels: Labels,
    /// Whether it fires.
    pub state: RuleState,
    /// When its expression began to hold, which is before it fires.
    pub active_at: Option<Timestamp>,
    /// The value of its expression.
    pub value: Option<f64>,
}

/// Whether a rule's alert fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// It does.
    Firing,
    /// Its expression holds, but not for long enough yet.
    Pending,
    /// It does not.
    Inactive,
}

/// One value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The series; empty for a scalar.
    pub labels: Labels,
    /// The value; may be infinite or no number at all.
    pub value: f64,
}

/// Why Prometheus gave no answer. Says what was asked of whom.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// It understood, and says why it does not answer.
    #[error("{url}: {kind}: {reason}")]
    Refused {
        /// Whom was asked.
        url: Box<url::Url>,
        /// Its `errorType`, such as `bad_data` or `timeout`.
        kind: String,
        /// What it says; differs between versions.
        reason: String,
    },
    /// There was no document.
    #[error(transparent)]
    Document(DocumentError),
}

impl From<DocumentError> for PrometheusError {
    fn from(error: DocumentError) -> Self {
        let refusal = match &error.cause {
            DocumentCause::Status { body, .. } => serde_json::from_str::<Refusal>(body).ok(),
            _ => None,
        };
        match refusal {
            Some(Refusal { error_type, error: reason }) => {
                Self::Refused { url: error.url, kind: excerpt(&error_type), reason: excerpt(&reason) }
            }
            None => Self::Document(error),
        }
    }
}

impl PrometheusClient {
    /// Makes a client of one Prometheus, or of whatever has its API.
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        Self(Documents::new(endpoint, limits))
    }

    /// Where it is.
    pub fn url(&self) -> &url::Url {
        self.0.url()
    }

    /// Lists the alerts of all rules that fire, or are about to.
    ///
    /// # Errors
    ///
    /// No answer, or not that of a Prometheus.
    pub async fn alerts(&self) -> Result<Answer<Vec<RuleAlert>>, PrometheusError> {
        let answer = self.0.get("api/v1/alerts", &[], "a list of Prometheus' alerts", read_alerts).await?;
        Ok(answer)
    }

    /// Evaluates an expression now.
    ///
    /// # Errors
    ///
    /// No answer, not that of a Prometheus, or the expression is wrong.
    pub async fn query(&self, expression: &str) -> Result<Answer<Vec<Sample>>, PrometheusError> {
        let query = [("query", expression)];
        let answer = self.0.get("api/v1/query", &query, "an instant vector", read_samples).await?;
        Ok(answer)
    }
}

/// Writes a matcher of a selector, with its value in quotes.
pub fn matcher(label: &str, operator: &str, value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    format!("{label}{operator}\"{value}\"")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    error_type: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Envelope<T> {
    status: String,
    data: T,
    warnings: Option<Vec<String>>,
    /// VictoriaMetrics says so where others warn.
    #[serde(default, rename = "isPartial")]
    is_partial: bool,
}

#[derive(Deserialize)]
struct AlertsData {
    alerts: Vec<WireAlert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAlert {
    labels: Labels,
    state: RuleState,
    active_at: Option<Timestamp>,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "snake_case")]
enum QueryData {
    Vector(Vec<WireSample>),
    Scalar((f64, String)),
}

#[derive(Deserialize)]
struct WireSample {
    metric: Labels,
    value: (f64, String),
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Answer<T>, String> {
    let envelope: Envelope<T> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if envelope.status != "success" {
        return Err(format!("status `{}`", envelope.status));
    }
    let warnings = envelope.warnings.unwrap_or_default().into_iter().take(MOST_WARNINGS);
    let partial = envelope.is_partial.then(|| "it answers in part".to_owned());
    let warnings = partial.into_iter().chain(warnings.map(|warning| excerpt(&warning)));
    Ok(Answer { result: envelope.data, warnings: warnings.collect() })
}

fn read_alerts(body: &[u8]) -> Result<Answer<Vec<RuleAlert>>, String> {
    let Answer { result: AlertsData { alerts }, warnings } = read(body)?;
    let alerts = alerts.into_iter().map(|alert| RuleAlert {
        labels: alert.labels,
        state: alert.state,
        active_at: alert.active_at,
        value: alert.value.and_then(|value| value.parse().ok()),
    });
    Ok(Answer { result: alerts.collect(), warnings })
}

fn read_samples(body: &[u8]) -> Result<Answer<Vec<Sample>>, String> {
    let Answer { result, warnings } = read(body)?;
    let number = |(_, value): (f64, String)| {
        value.parse::<f64>().map_err(|_| format!("a value is no number: {value:?}"))
    };
    let samples = match result {
        QueryData::Scalar(value) => vec![Sample { labels: Labels::default(), value: number(value)? }],
        QueryData::Vector(samples) => {
            let samples = samples.into_iter();
            samples
                .map(|sample| Ok(Sample { labels: sample.metric, value: number(sample.value)? }))
                .collect::<Result<_, String>>()?
        }
    };
    Ok(Answer { result: samples, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both versions' capture of an answer.
    macro_rules! captures {
        ($name:literal, $status:literal) => {
            [
                include_bytes!(concat!(
                    "../tests/fixtures/prometheus/",
                    $name,
                    ".http",
                    $status,
                    ".prom-2.42.0.json"
                ))
                .as_slice(),
                include_bytes!(concat!(
                    "../tests/fixtures/prometheus/",
                    $name,
                    ".http",
                    $status,
                    ".prom-3.5.3.json"
                ))
                .as_slice(),
            ]
        };
    }

    #[test]
    fn the_alerts_of_real_servers_are_understood() {
        for body in captures!("prometheus-alerts", "200") {
            let answer = read_alerts(body).unwrap();
            assert_eq!(answer.warnings, [""; 0]);
            let values: Vec<Option<f64>> = answer.result.iter().map(|alert| alert.value).collect();
            assert_eq!(values, [Some(1024.0), Some(1010.0)]);
            for alert in &answer.result {
                assert_eq!(alert.state, RuleState::Firing);
                assert!(alert.active_at.is_some());
                assert_eq!(alert.labels.alert_name(), Some("NatsHighNumberOfConnections"));
            }
        }
    }

    #[test]
    fn values_are_numbers_also_where_they_are_none() {
        let values = |body: &[u8]| -> Vec<f64> {
            read_samples(body).unwrap().result.into_iter().map(|sample| sample.value).collect()
        };
        for body in captures!("prometheus-instant", "200") {
            assert_eq!(values(body), [300.0]);
        }
        for body in captures!("prometheus-scalar", "200") {
            assert_eq!(values(body), [f64::INFINITY]);
        }
        for body in captures!("prometheus-nan", "200") {
            assert!(values(body)[0].is_nan());
        }
        let nothing = br#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert_eq!(values(nothing), [0.0; 0]);
    }

    #[test]
    fn warnings_are_kept_and_infos_are_not() {
        let [old, new] = captures!("prometheus-warn-quantile", "200").map(|body| read_samples(body).unwrap());
        assert_eq!(old.warnings, [""; 0]);
        assert_eq!(new.warnings, ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]);
        for body in captures!("prometheus-info-rate", "200") {
            let answer = read_samples(body).unwrap();
            assert_eq!((answer.result.len(), answer.warnings.len()), (2, 0));
        }
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        for body in captures!("prometheus-instant-matrix", "200") {
            assert!(read_samples(body).unwrap_err().contains("matrix"));
            assert!(read_alerts(body).is_err());
        }
        for body in
            ["", "[]", "null", "<html>", r#"{"status":"error","data":{"alerts":[]}}"#, r#"{"alerts":[]}"#]
        {
            assert!(read_alerts(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_kind() {
        let kinds = [
            (captures!("prometheus-err-parse", "400"), "bad_data"),
            (captures!("prometheus-err-exec2", "422"), "execution"),
            (captures!("prometheus-err-timeout", "503"), "timeout"),
        ];
        for (bodies, expected) in kinds {
            for body in bodies {
                let body = String::from_utf8(body.to_vec()).unwrap();
                let cause = DocumentCause::Status { status: 400, body };
                let url = Box::new("http://prometheus:9090/api/v1/query".parse().unwrap());
                let error = PrometheusError::from(DocumentError { method: reqwest::Method::GET, url, cause });
                let PrometheusError::Refused { kind, reason, .. } = &error else { panic!("{error}") };
                assert_eq!(kind, expected);
                assert!(error.to_string().contains(reason));
            }
        }
        let cause = DocumentCause::Status { status: 404, body: "404 page not found\n".to_owned() };
        let url = Box::new("http://prometheus:9090/api/v1/query".parse().unwrap());
        let error = PrometheusError::from(DocumentError { method: reqwest::Method::GET, url, cause });
        assert_eq!(
            error.to_string(),
            "GET http://prometheus:9090/api/v1/query: status 404: 404 page not found"
        );
    }

    #[test]
    fn what_a_stranger_wrote_into_a_label_stays_in_its_quotes() {
        assert_eq!(matcher("job", "=", "a\"} or vector(1) #"), r#"job="a\"} or vector(1) #""#);
        assert_eq!(matcher("instance", "=~", "x\\\ny"), r#"instance=~"x\\\ny""#);
    }
}
