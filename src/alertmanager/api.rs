//! Alertmanager's API v2, read only: how it is, and which alerts it has.
//!
//! Two things surprise newcomers. A list holds live alerts only, and Alertmanager keeps none over a restart: an empty
//! list from one that has just started means that nobody has told it yet. And the end of a firing alert is not year 1 as
//! in a notification, but when it will be taken for resolved unless it is heard of again.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::alertmanager::webhook::as_stored;
use crate::model::alert::{Alert, AlertStatus, AlertValue};
use crate::model::endpoint::Endpoint;
use crate::model::labels::Labels;
use crate::model::matcher::{Matcher, Operator};
use crate::outgoing::documents::{DocumentError, Documents, Limits};

/// The most silences, or inhibiting alerts, that are kept of one alert.
const MOST_SUPPRESSORS: usize = 16;

/// The longest id of a silence that is kept, in bytes.
const LONGEST_ID: usize = 64;

/// Asks one Alertmanager. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AlertmanagerClient(Documents);

/// What an Alertmanager says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertmanagerStatus {
    /// Its version, such as `0.33.1`.
    pub version: String,
    /// When it started; the API calls it `uptime`.
    pub started_at: Timestamp,
    /// Where it stands with its peers.
    pub cluster: ClusterStatus,
}

/// Where an Alertmanager stands with the other nodes of its own cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterStatus {
    /// It is in touch with them.
    Ready,
    /// It is still finding them.
    Settling,
    /// It is alone, and meant to be.
    Disabled,
}

/// An alert that fires, as an Alertmanager lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedAlert {
    /// The alert.
    pub alert: Alert,
    /// Whether somebody hears of it.
    pub state: ListedState,
    /// The silences that keep it quiet.
    pub silenced_by: Vec<String>,
    /// The fingerprints of the alerts that inhibit it.
    pub inhibited_by: Vec<String>,
    /// Where it is sent to.
    pub receivers: Vec<String>,
    /// When the Alertmanager last heard of it.
    pub updated_at: Timestamp,
}

/// Whether somebody hears of an alert that fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListedState {
    /// Notifications are sent.
    Active,
    /// It is silenced, inhibited or muted.
    Suppressed,
    /// It has just come, and that is not known yet.
    Unprocessed,
}

impl AlertmanagerClient {
    /// Makes a client of one Alertmanager.
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        Self(Documents::new(endpoint, limits))
    }

    /// Where it is.
    pub fn url(&self) -> &url::Url {
        self.0.url()
    }

    /// Asks how it is.
    ///
    /// # Errors
    ///
    /// No answer, or not that of an Alertmanager.
    pub async fn status(&self) -> Result<AlertmanagerStatus, DocumentError> {
        self.0.get("api/v2/status", &[], "the status of an Alertmanager", read_status).await
    }

    /// Lists the alerts that fire and have all of `labels`, silenced and inhibited ones included; only those of
    /// `receiver`, as a notification calls it, if there is one.
    ///
    /// # Errors
    ///
    /// No answer, or not the whole list of an Alertmanager: a part of one is as good as none.
    pub async fn alerts(
        &self,
        labels: &Labels,
        receiver: Option<&str>,
    ) -> Result<Vec<ListedAlert>, DocumentError> {
        let filters: Vec<String> = labels.iter().filter_map(filter).collect();
        let mut query: Vec<(&str, &str)> = filters.iter().map(|filter| ("filter", filter.as_str())).collect();
        // in a notification the receiver is escaped as a regular expression, and here one is expected
        query.extend(receiver.map(|receiver| ("receiver", receiver)));
        query.extend(["active", "silenced", "inhibited", "unprocessed"].map(|state| (state, "true")));
        let mut alerts = self.0.get("api/v2/alerts", &query, "a list of alerts", read_alerts).await?;
        alerts.retain(|listed| labels.is_subset_of(&listed.alert.labels));
        Ok(alerts)
    }
}

/// The filter for one label, where every version reads it alike. The others are left out: filters only keep the list
/// short, and what was not asked for is taken off it again.
fn filter((name, value): (&str, &str)) -> Option<String> {
    let plain_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let plain_value = !value.is_empty() && !value.chars().any(|c| c.is_control() || c == '\\');
    let matcher = (plain_name && plain_value).then(|| Matcher::new(name, Operator::Equal, value).ok())??;
    Some(matcher.to_string())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireStatus {
    version_info: WireVersion,
    uptime: Timestamp,
    cluster: WireCluster,
}

#[derive(Deserialize)]
struct WireVersion {
    version: String,
}

#[derive(Deserialize)]
struct WireCluster {
    status: ClusterStatus,
}

fn read_status(body: &[u8]) -> Result<AlertmanagerStatus, String> {
    let status: WireStatus = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(AlertmanagerStatus {
        version: status.version_info.version,
        started_at: as_stored(status.uptime),
        cluster: status.cluster.status,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAlert {
    labels: Labels,
    #[serde(default)]
    annotations: Labels,
    starts_at: Timestamp,
    updated_at: Timestamp,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
    status: WireAlertStatus,
    #[serde(default)]
    receivers: Vec<WireReceiver>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAlertStatus {
    state: ListedState,
    silenced_by: Option<Vec<String>>,
    inhibited_by: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct WireReceiver {
    name: String,
}

fn read_alerts(body: &[u8]) -> Result<Vec<ListedAlert>, String> {
    let alerts: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let alerts = alerts.into_iter().enumerate().map(|(index, raw)| {
        // serde would take the fields of a struct from an array, one by one
        if !raw.get().starts_with('{') {
            return Err(format!("[{index}] is no JSON object"));
        }
        let alert: WireAlert =
            serde_json::from_str(raw.get()).map_err(|error| format!("[{index}]: {error}"))?;
        alert.into_listed().map_err(|reason| format!("[{index}]: {reason}"))
    });
    alerts.collect()
}

impl WireAlert {
    fn into_listed(self) -> Result<ListedAlert, String> {
        let fingerprint = self.fingerprint.parse().map_err(|error| format!("fingerprint: {error}"))?;
        Ok(ListedAlert {
            alert: Alert {
                fingerprint,
                value: AlertValue::read(&[], &self.annotations),
                labels: self.labels,
                annotations: self.annotations,
                // only what fires is listed
                status: AlertStatus::Firing,
                starts_at: as_stored(self.starts_at),
                generator_url: self.generator_url,
            },
            state: self.status.state,
            silenced_by: suppressors(self.status.silenced_by),
            inhibited_by: suppressors(self.status.inhibited_by),
            receivers: self.receivers.into_iter().map(|receiver| receiver.name).collect(),
            updated_at: as_stored(self.updated_at),
        })
    }
}

fn suppressors(ids: Option<Vec<String>>) -> Vec<String> {
    let short = |mut id: String| {
        id.truncate(id.floor_char_boundary(LONGEST_ID));
        id
    };
    ids.unwrap_or_default().into_iter().take(MOST_SUPPRESSORS).map(short).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What a real Alertmanager answered to a question of a recorded dialogue.
    fn answer(transcript: &str, question: &str) -> Vec<u8> {
        let transcript: Value = serde_json::from_str(transcript).unwrap();
        let exchanges = transcript["exchanges"].as_array().unwrap();
        let exchange = exchanges.iter().find(|exchange| exchange["name"] == question).unwrap();
        exchange["response"]["body"].to_string().into_bytes()
    }

    const TRANSCRIPTS: [&str; 3] = [
        include_str!("../../tests/fixtures/alertmanager-api/api-v2-transcript.am-0.25.0.json"),
        include_str!("../../tests/fixtures/alertmanager-api/api-v2-transcript.am-0.28.1.json"),
        include_str!("../../tests/fixtures/alertmanager-api/api-v2-transcript.am-0.33.1.json"),
    ];

    #[test]
    fn what_real_alertmanagers_list_is_understood() {
        for transcript in TRANSCRIPTS {
            let alerts = read_alerts(&answer(transcript, "alerts incl. silenced")).unwrap();
            let [quiet, loud] = alerts.as_slice() else { panic!("{alerts:?}") };
            assert_eq!((quiet.state, loud.state), (ListedState::Suppressed, ListedState::Active));
            assert_eq!((quiet.silenced_by.len(), quiet.inhibited_by.len()), (2, 0));
            assert!(loud.silenced_by.is_empty());
            for listed in &alerts {
                assert_eq!(listed.alert.fingerprint, listed.alert.labels.fingerprint());
                assert_eq!(listed.alert.status, AlertStatus::Firing, "its end is when it expires");
                assert_eq!(listed.receivers, ["api"]);
                assert!(listed.alert.generator_url.contains("g0.expr="));
            }
        }
    }

    #[test]
    fn what_real_alertmanagers_say_of_themselves_is_understood() {
        for (transcript, version) in TRANSCRIPTS.into_iter().zip(["0.25.0", "0.28.1", "0.33.1"]) {
            let status = read_status(&answer(transcript, "status")).unwrap();
            assert!(status.version.starts_with(version), "{status:?}");
            assert_eq!(status.cluster, ClusterStatus::Disabled);
            assert!(status.started_at.as_second() > 1_795_000_000, "{status:?}");
        }
        for capture in [
            include_bytes!("../../tests/fixtures/alertmanager-api/status-cluster.am-0.25.0.json").as_slice(),
            include_bytes!("../../tests/fixtures/alertmanager-api/status-cluster.am-0.33.1.json").as_slice(),
        ] {
            assert_eq!(read_status(capture).unwrap().cluster, ClusterStatus::Ready);
        }
    }

    #[test]
    fn a_list_with_one_alert_that_cannot_be_read_is_none() {
        let good = r#"{"labels":{"a":"b"},"startsAt":"2026-01-01T00:00:00Z","updatedAt":"2026-01-01T00:00:00Z","fingerprint":"f","status":{"state":"active"}}"#;
        assert_eq!(read_alerts(format!("[{good}]").as_bytes()).unwrap().len(), 1);
        for (bad, expected) in [
            ("{}", "[1]: missing field `labels`"),
            ("[]", "[1] is no JSON object"),
            ("null", "[1] is no JSON object"),
            (&good.replace("\"f\"", "\"\""), "[1]: fingerprint: a fingerprint cannot be empty"),
            (&good.replace("active", "odd"), "[1]: unknown variant `odd`"),
            (&good.replace("2026", "soon"), "[1]: "),
        ] {
            let refused = read_alerts(format!("[{good},{bad}]").as_bytes()).unwrap_err();
            assert!(refused.starts_with(expected), "{bad}: {refused}");
        }
        for body in ["", "{}", "null", "\"bad matcher format: exp\"", "<html>", "[", "[]]"] {
            assert!(read_alerts(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn only_plain_labels_are_filtered_by() {
        let filters = [("a_1", "b \"c\" é"), ("with space", "x"), ("a", ""), ("a", "x\ny"), ("a", "\\")];
        let filters = filters.map(|label| filter(label).unwrap_or_default());
        assert_eq!(filters, [r#"a_1="b \"c\" é""#, "", "", "", ""]);
    }

    #[test]
    fn of_very_many_silences_a_few_are_kept() {
        let ids = (0..100).map(|id| format!("{id}{}", "é".repeat(100))).collect();
        let kept = suppressors(Some(ids));
        assert_eq!(kept.len(), MOST_SUPPRESSORS);
        assert!(kept.iter().all(|id| id.len() <= LONGEST_ID));
    }
}
