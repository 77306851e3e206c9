//! The documents of the API, as they are written and as the command line reads them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::model::alert::{AlertStatus, ValueSource};
use crate::model::breakdown::{Breakdown, Breakdowns, By};
use crate::model::change::Change;
use crate::model::closed::ClosedConnections;
use crate::model::diagnosis::{Diagnosis, FindingKind, Subject};
use crate::model::entry::Entry;
use crate::model::ids::{IncidentId, NotificationId, SnapshotId};
use crate::model::incident::{Incident, IncidentKey, IncidentState};
use crate::model::labels::Labels;
use crate::model::mapping::MappedBy;
use crate::model::member::{Member, Suppression};
use crate::model::mitigation::MitigationSummary;
use crate::model::precedent::{Conclusion, CulpritHistory, SimilarIncident};
use crate::model::server::ServerKey;
use crate::model::snapshot::{Coverage, Snapshot};
use crate::model::system_account::SystemStatus;
use crate::model::truth::Truth;
use crate::store::notifications::NotificationSummary;
use crate::store::snapshots::SnapshotSummary;

pub use crate::engine::Receipt;
pub use crate::http::api::changes::ChangeList;
pub use crate::http::api::changes::shapes::NewChange;

/// `GET /api/v1/incidents`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentList {
    /// The incidents, newest first.
    pub incidents: Vec<IncidentHead>,
    /// Where the next page begins: pass it as `before`.
    pub next: Option<String>,
}

/// What every document about an incident begins with.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentHead {
    /// Its id.
    pub id: IncidentId,
    /// The configured cluster; `null` if none could be made out.
    pub cluster: Option<String>,
    /// How the cluster was found; `assumed` means that nothing in the alert names it.
    pub mapped_by: Option<MappedBy>,
    /// Without a cluster: the alert's `server_id`, else its `instance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The alert's name.
    pub alert_name: String,
    /// Where it stands.
    #[serde(flatten)]
    pub state: IncidentState,
    /// How often it was resolved and then opened again.
    #[serde(default)]
    pub reopened: u32,
    /// The incident of the same cluster and alert name before it.
    pub previous: Option<IncidentId>,
    /// When its first alert was received.
    pub opened_at: Timestamp,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
    /// What there is to know in one line, once the cluster has been looked at.
    pub headline: Option<String>,
    /// The kind of the finding that matters most, once there is a diagnosis that found something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_finding: Option<FindingKind>,
    /// Who explains most of the trouble, once there is a diagnosis that names somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<Subject>,
}

/// `GET /api/v1/incidents/{id}`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentDocument {
    /// What it is about and where it stands.
    #[serde(flatten)]
    pub head: IncidentHead,
    /// Its member alerts; those that fire first.
    pub alerts: Vec<AlertDocument>,
    /// Every stored look at the cluster, oldest first.
    pub snapshots: Vec<SnapshotDocument>,
    /// The look that is shown: the latest, unless another was asked for; `null` before the first.
    pub snapshot: Option<SnapshotId>,
    /// When the look that is shown began.
    pub taken_at: Option<Timestamp>,
    /// How much the look that is shown has seen.
    pub coverage: Option<Coverage>,
    /// What the look that is shown has seen, by dimension or crossing of two.
    #[schema(value_type = BTreeMap<String, Breakdown>)]
    pub breakdowns: Breakdowns,
    /// What the servers remembered in the look that is shown of connections that ended or were refused; `null` before
    /// the first.
    #[serde(default)]
    pub closed: Option<ClosedConnections>,
    /// What the look that is shown and everything beside it say about who, since when and why; `null` before the first.
    #[serde(default)]
    pub diagnosis: Option<Diagnosis>,
    /// Of which other incidents of the cluster the culprits of the last diagnosis were culprits too; those of no other
    /// are missing.
    #[serde(default)]
    pub culprit_history: Vec<CulpritHistory>,
    /// Earlier incidents of the cluster with the same culprit or the same kind of top finding, and what became of them:
    /// most similar first, at most five.
    #[serde(default)]
    pub similar: Vec<SimilarIncident>,
    /// What happened, oldest first.
    pub timeline: Vec<Entry>,
    /// The notifications that the timeline names, oldest first.
    #[serde(default)]
    pub notifications: Vec<NotificationDocument>,
    /// What was changed from a day before it was opened until it was over, of its cluster and of none, oldest first: at
    /// most 50 from before and 50 from since.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// What was planned and done against it, newest first: at most 50.
    #[serde(default)]
    pub mitigations: Vec<MitigationSummary>,
}

/// `GET /api/v1/notifications`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NotificationList {
    /// The notifications, newest first.
    pub notifications: Vec<NotificationDocument>,
    /// Where the next page begins: pass it as `before`.
    pub next: Option<String>,
}

/// A stored notification.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NotificationDocument {
    /// Its id.
    pub id: NotificationId,
    /// When it first came in.
    pub received_at: Timestamp,
    /// When the same content last came in.
    pub last_seen_at: Timestamp,
    /// How often the same content came in.
    pub seen_count: u64,
    /// What the sender calls itself.
    pub sender: String,
    /// The receiver's name as the sender writes it.
    pub receiver: String,
    /// How many alerts it has.
    pub alert_count: u64,
    /// How many alerts of the group the sender left out.
    pub truncated_alerts: u64,
}

/// A member alert.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertDocument {
    /// Identifies the label set.
    pub fingerprint: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// How often it has begun to fire within the incident.
    pub generation: u32,
    /// How often it was over in between without anybody having said so.
    #[serde(default)]
    pub flaps: u32,
    /// Since when it is said to fire against its end, unconfirmed.
    pub stale_since: Option<Timestamp>,
    /// What keeps Alertmanager from notifying about it, both lists empty if nothing does; `null` if no Alertmanager has
    /// been asked or listed it, and once it is over.
    pub suppression: Option<Suppression>,
    /// When it began to fire.
    pub starts_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The number it carries; `null` if none could be read.
    pub value: Option<f64>,
    /// Where the number was read.
    pub value_source: Option<ValueSource>,
    /// What the look that is shown says about it; `null` before the first, and where its server was not looked at.
    pub truth: Option<Truth>,
    /// The monitoring URL of the server it is about; `null` if it has none or the whole cluster is meant.
    pub server_url: Option<Url>,
    /// The name of the server it is about, where no monitoring URL is configured for it; without both, the whole cluster
    /// is meant.
    #[serde(default)]
    pub server_name: Option<String>,
    /// The label that named the server, or `only_server`.
    pub server_matched_by: Option<String>,
    /// What the alert is about.
    pub labels: Labels,
    /// Text for people.
    pub annotations: Labels,
    /// Where the rule can be looked at.
    pub generator_url: String,
    /// When it was first received.
    pub first_seen_at: Timestamp,
    /// When it was last received with anything new beside it; repetitions are counted with the notification.
    pub last_seen_at: Timestamp,
}

/// One stored look at a cluster.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SnapshotDocument {
    /// Its id.
    pub id: SnapshotId,
    /// When the look began.
    pub taken_at: Timestamp,
    /// How much was seen.
    pub coverage: Coverage,
}

/// `GET /api/v1/clusters/{name}/breakdown`, and `connwarden inspect -o json`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BreakdownDocument {
    /// The cluster's name.
    pub cluster: String,
    /// When the look began.
    pub taken_at: Timestamp,
    /// How much was seen.
    pub coverage: Coverage,
    /// What was seen, by dimension or crossing of two.
    #[schema(value_type = BTreeMap<String, Breakdown>)]
    pub breakdowns: Breakdowns,
}

/// `GET /api/v1/clusters`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ClusterList {
    /// The configured clusters, in the order of the configuration.
    pub clusters: Vec<ClusterDocument>,
}

/// A configured cluster.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ClusterDocument {
    /// Its name.
    pub name: String,
    /// Its servers.
    pub servers: Vec<ServerDocument>,
    /// Whether its system account can be used now; absent if none is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_account: Option<SystemStatus>,
}

/// A server of a configured cluster, with what it last said of itself.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ServerDocument {
    /// Its monitoring URL; `null` if none is configured for it.
    pub url: Option<Url>,
    /// Its name; `null` until it has answered once.
    pub name: Option<String>,
    /// Its nats id, new at each start; `null` until it has answered once.
    pub server_id: Option<String>,
}

impl From<Incident> for IncidentHead {
    fn from(incident: Incident) -> Self {
        let (cluster, mapped_by, subject, alert_name) = match incident.key {
            IncidentKey::Cluster { cluster, mapped_by, alert_name } => {
                (Some(cluster), Some(mapped_by), None, alert_name)
            }
            IncidentKey::Unmapped { subject, alert_name } => (None, None, Some(subject), alert_name),
        };
        Self {
            id: incident.id,
            cluster,
            mapped_by,
            subject,
            alert_name,
            state: incident.state,
            reopened: incident.reopened,
            previous: incident.previous,
            opened_at: incident.opened_at,
            updated_at: incident.updated_at,
            headline: incident.headline,
            top_finding: None,
            culprit: None,
        }
    }
}

impl IncidentHead {
    /// Adds what the last diagnosis comes down to.
    pub fn with(self, conclusion: Option<Conclusion>) -> Self {
        let Conclusion { top_finding, culprit } = conclusion.unwrap_or_default();
        Self { top_finding, culprit, ..self }
    }

    /// The cluster for people, and whether it is certain.
    pub fn cluster_name(&self) -> String {
        match (&self.cluster, self.mapped_by) {
            (Some(cluster), Some(MappedBy::Assumed)) => format!("{cluster} (assumed)"),
            (Some(cluster), _) => cluster.clone(),
            (None, _) => "(none)".to_owned(),
        }
    }
}

impl AlertDocument {
    /// What the alert is about, for people.
    pub fn server_name(&self) -> &str {
        let named = self.truth.as_ref().and_then(|truth| truth.server.as_deref());
        let label = || self.labels.get("server_id").or_else(|| self.labels.get("instance"));
        let url = || self.server_url.as_ref().map(|url| url.as_str().trim_end_matches('/'));
        named.or(self.server_name.as_deref()).or_else(label).or_else(url).unwrap_or("whole cluster")
    }

    /// In one word each why Alertmanager tells nothing about it, and the ids of what sees to that.
    pub fn quiet(&self) -> Vec<(&'static str, String)> {
        let Some(suppression) = &self.suppression else { return Vec::new() };
        let by = [("silenced", &suppression.silenced_by), ("inhibited", &suppression.inhibited_by)];
        let by = by.into_iter().filter(|(_, ids)| !ids.is_empty());
        by.map(|(word, ids)| (word, ids.join(", "))).collect()
    }

    /// Whether its number is known to be only the length of a full `/connz` page.
    pub fn is_saturated(&self) -> bool {
        self.truth.as_ref().is_some_and(|truth| truth.value_saturated == Some(true))
    }

    /// Shows a member beside what the latest look says about it.
    pub fn new(member: Member, coverage: Option<&Coverage>) -> Self {
        let truth = coverage.and_then(|coverage| Truth::about(&member, coverage));
        let (status, ended_at) = match member.alert.status {
            AlertStatus::Firing => ("firing", None),
            AlertStatus::Resolved { ended_at } => ("resolved", Some(ended_at)),
        };
        let (key, server_matched_by) = member.server.map(|server| (server.key, server.matched_by)).unzip();
        let (server_url, server_name) = match key {
            Some(ServerKey::Url(url)) => (Some(url), None),
            Some(ServerKey::Name(name)) => (None, Some(name)),
            None => (None, None),
        };
        Self {
            fingerprint: member.alert.fingerprint.to_string(),
            status: status.to_owned(),
            generation: member.generation,
            flaps: member.flaps,
            stale_since: member.stale_since,
            suppression: member.suppression.filter(|_| ended_at.is_none()),
            starts_at: member.alert.starts_at,
            ended_at,
            value: member.alert.value.map(|value| value.value),
            value_source: member.alert.value.map(|value| value.source),
            truth,
            server_url,
            server_name,
            server_matched_by,
            labels: member.alert.labels,
            annotations: member.alert.annotations,
            generator_url: member.alert.generator_url,
            first_seen_at: member.first_seen_at,
            last_seen_at: member.last_seen_at,
        }
    }
}

impl From<NotificationSummary> for NotificationDocument {
    fn from(summary: NotificationSummary) -> Self {
        Self {
            id: summary.id,
            received_at: summary.received_at,
            last_seen_at: summary.last_seen_at,
            seen_count: summary.seen_count,
            sender: summary.sender,
            receiver: summary.receiver,
            alert_count: summary.alert_count,
            truncated_alerts: summary.truncated_alerts,
        }
    }
}

impl From<SnapshotSummary> for SnapshotDocument {
    fn from(summary: SnapshotSummary) -> Self {
        Self { id: summary.id, taken_at: summary.taken_at, coverage: summary.coverage }
    }
}

impl BreakdownDocument {
    /// Shows the `top` groups of a snapshot by each of `by`.
    pub fn new(snapshot: Snapshot, by: &[By], top: usize) -> Self {
        let wanted = snapshot.breakdowns.into_iter().filter(|(key, _)| by.contains(key));
        // of a look that was shared with an incident
        let wanted = wanted.map(|(key, breakdown)| (key, breakdown.without_starts()));
        Self {
            cluster: snapshot.cluster,
            taken_at: snapshot.taken_at,
            coverage: snapshot.coverage,
            breakdowns: top_of(wanted, top),
        }
    }
}

/// The `top` groups of each breakdown.
pub fn top_of(breakdowns: impl IntoIterator<Item = (By, Breakdown)>, top: usize) -> Breakdowns {
    let cut = breakdowns.into_iter().map(|(by, breakdown)| (by, breakdown.top(top)));
    cut.collect::<BTreeMap<_, _>>()
}
