//! Intake: a notification becomes incidents, members, entries and jobs, in one transaction.
//!
//! Nothing is looked at over the network here. Whoever is told that a notification was received can rely on it
//! being stored, and on the work it causes being done, whatever happens to the process.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use tracing::info;
use utoipa::ToSchema;

use crate::alertmanager::webhook::{self, PayloadError};
use crate::engine::{ENRICH, Engine, SELF};
use crate::model::alert::{Alert, AlertStatus};
use crate::model::entry::{Entry, EntryKind};
use crate::model::ids::{IncidentId, NotificationId};
use crate::model::incident::{Incident, IncidentKey, IncidentState, Resolution};
use crate::model::labels::Fingerprint;
use crate::model::mapping::{MappedBy, ServerMatch, map_alert};
use crate::model::member::{Member, MemberChange};
use crate::model::notification::Notification;
use crate::store::notifications::{PackedBody, Received};
use crate::store::{self, Conn, StoreError};

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Receipt {
    /// The notification's id.
    pub notification: NotificationId,
    /// The incidents it is about.
    pub incidents: Vec<IncidentId>,
}

/// Why a notification was not stored.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// It will never be one.
    #[error(transparent)]
    Hopeless(#[from] PayloadError),
    /// It could not be stored now.
    #[error("the notification could not be stored")]
    Store(#[from] StoreError),
}

/// An alert, and the server it is about.
struct Mapped {
    alert: Alert,
    server: Option<ServerMatch>,
}

impl Engine {
    /// Stores a notification and everything that follows from it.
    ///
    /// # Errors
    ///
    /// [`IntakeError::Hopeless`] if the body will never be a notification; otherwise nothing was stored and the
    /// sender should try again.
    #[tracing::instrument(name = "engine.notifications.receive", skip_all)]
    pub async fn receive(&self, body: &[u8], sender: &str) -> Result<Receipt, IntakeError> {
        let now = self.0.clock.now();
        let mut notification = webhook::parse(body, now)?;
        let id = NotificationId(self.0.clock.new_id());
        let digest = webhook::content_digest(&notification);

        let servers = self.known_servers();
        let mut by_incident: BTreeMap<String, (IncidentKey, Vec<Mapped>)> = BTreeMap::new();
        let alerts = std::mem::take(&mut notification.alerts);
        let alert_count = alerts.len();
        for alert in alerts {
            let mapping = map_alert(&alert.labels, &self.0.routes, &servers);
            let (key, alerts) = by_incident
                .entry(mapping.key.identity())
                .or_insert_with(|| (mapping.key.clone(), Vec::new()));
            // of several ways to the same cluster the surest counts
            *key = mapping.key.min(key.clone());
            alerts.push(Mapped { alert, server: mapping.server });
        }

        let body = PackedBody::pack(body);
        let received = Received { id, at: now, sender, digest: &digest, alert_count, body };
        let mut tx = self.0.store.write().await?;
        store::notifications::insert(&mut tx, &received, &notification).await?;
        let mut incidents = Vec::new();
        for (key, alerts) in by_incident.into_values() {
            let report = Report { key, alerts, notification: &notification, sender, now };
            incidents.extend(self.take_in(&mut tx, report).await?);
        }
        store::commit(tx).await?;

        self.0.jobs_bell.notify_one();
        info!(
            notification.id = %id,
            alerts = alert_count,
            incidents = incidents.len(),
            "received a notification of {alert_count} alerts about {} incidents",
            incidents.len(),
        );
        Ok(Receipt { notification: id, incidents })
    }

    /// Takes in what a notification says about one incident; `None` if it says nothing that opens or concerns one.
    async fn take_in(&self, conn: &mut Conn, report: Report<'_>) -> Result<Option<IncidentId>, StoreError> {
        let Report { key, alerts, notification, sender, now } = report;
        let known = store::incidents::find_unresolved(conn, &key).await?;
        let opens = known.is_none();
        let any_fires = alerts.iter().any(|mapped| mapped.alert.status == AlertStatus::Firing);
        if opens && !any_fires {
            // resolved without having been open: kept as a notification, nothing to open
            return Ok(None);
        }
        let mut timeline = Timeline { actor: actor(sender), at: now, entries: Vec::new() };
        let mut incident = known.unwrap_or_else(|| Incident {
            id: IncidentId(self.0.clock.new_id()),
            key,
            state: IncidentState::Triggered,
            opened_at: now,
            updated_at: now,
            headline: None,
        });
        if opens {
            store::incidents::insert(conn, &incident).await?;
            timeline.add(EntryKind::Opened, opened_text(&incident.key));
        }

        let mut members =
            if opens { BTreeMap::new() } else { store::alerts::list(conn, incident.id).await? };
        let changed = report_members(&mut members, alerts, &mut timeline);
        if notification.truncated_alerts > 0 {
            let count = notification.truncated_alerts;
            timeline
                .add(EntryKind::Truncated, format!("the sender left {count} more alerts of the group out"));
        }
        let touched: Vec<&Member> =
            changed.touched.iter().filter_map(|fingerprint| members.get(fingerprint)).collect();
        store::alerts::save(conn, incident.id, &touched).await?;

        let was = incident.state.name();
        incident.updated_at = now;
        if members.values().all(|member| !member.is_firing()) {
            incident.state = resolved(incident.state, now);
            timeline.actor = SELF.to_owned();
            timeline.add(
                EntryKind::Resolved,
                "all alerts are reported resolved; nobody has looked at NATS to confirm it".to_owned(),
            );
        }
        store::incidents::save(conn, &incident, was).await?;
        store::entries::insert(conn, incident.id, &timeline.entries).await?;
        if changed.worth_a_look && incident.key.cluster().is_some() {
            store::jobs::insert(conn, ENRICH, &incident.id.to_string(), now).await?;
        }
        Ok(Some(incident.id))
    }
}

/// How many alerts of a notification get an entry each, per kind of entry; a group may hold thousands.
const TOLD_ONE_BY_ONE: usize = 10;

/// The longest text from a stranger that an entry repeats, in characters.
const LONGEST_TOLD: usize = 100;

/// What a notification says about one incident.
struct Report<'a> {
    key: IncidentKey,
    alerts: Vec<Mapped>,
    notification: &'a Notification,
    sender: &'a str,
    now: Timestamp,
}

/// Entries to come.
struct Timeline {
    actor: String,
    at: Timestamp,
    entries: Vec<Entry>,
}

impl Timeline {
    fn add(&mut self, kind: EntryKind, text: String) {
        self.entries.push(Entry { at: self.at, actor: self.actor.clone(), kind, text });
    }

    /// Adds an entry for each of the first few alerts, and one for all the others.
    fn add_each(&mut self, kind: EntryKind, verb: &str, alerts: &[String]) {
        let (told, counted) = alerts.split_at(alerts.len().min(TOLD_ONE_BY_ONE));
        told.iter().for_each(|alert| self.add(kind, format!("{verb}: {alert}")));
        if !counted.is_empty() {
            self.add(kind, format!("{verb}: {} more alerts", counted.len()));
        }
    }
}

/// What a report changed among the members.
struct Changed {
    touched: BTreeSet<Fingerprint>,
    /// Whether NATS should be looked at because of it.
    worth_a_look: bool,
}

fn report_members(
    members: &mut BTreeMap<Fingerprint, Member>,
    alerts: Vec<Mapped>,
    timeline: &mut Timeline,
) -> Changed {
    let (mut touched, mut joined, mut refired, mut resolved) = (BTreeSet::new(), vec![], vec![], vec![]);
    for Mapped { alert, server } in alerts {
        let fingerprint = alert.fingerprint.clone();
        let name = describe(&alert);
        match members.get_mut(&fingerprint) {
            Some(member) => match member.report(alert, server, timeline.at) {
                MemberChange::SeenAgain => {}
                MemberChange::Refired => refired.push(name),
                MemberChange::Resolved => resolved.push(name),
            },
            // resolved without having fired here: nothing to join with
            None if alert.status != AlertStatus::Firing => continue,
            None => {
                joined.push(name);
                members.insert(fingerprint.clone(), Member::join(alert, server, timeline.at));
            }
        }
        touched.insert(fingerprint);
    }
    timeline.add_each(EntryKind::AlertJoined, "fires", &joined);
    timeline.add_each(EntryKind::AlertRefired, "fires again", &refired);
    timeline.add_each(EntryKind::AlertResolved, "resolved", &resolved);
    Changed { touched, worth_a_look: !joined.is_empty() || !refired.is_empty() }
}

fn opened_text(key: &IncidentKey) -> String {
    let key = match key {
        IncidentKey::Cluster { cluster, mapped_by, alert_name } => IncidentKey::Cluster {
            cluster: cluster.clone(),
            mapped_by: *mapped_by,
            alert_name: told(alert_name),
        },
        IncidentKey::Unmapped { subject, alert_name } => {
            IncidentKey::Unmapped { subject: told(subject), alert_name: told(alert_name) }
        }
    };
    match &key {
        IncidentKey::Cluster { mapped_by: MappedBy::Assumed, cluster, .. } => format!(
            "{key}; the cluster is assumed: nothing in the alert names it, but `{cluster}` is the only one \
             without matchers"
        ),
        IncidentKey::Cluster { .. } => key.to_string(),
        IncidentKey::Unmapped { .. } => format!(
            "{key}: no matchers hold for the alert and no configured server is named by it, so NATS was not \
             looked at"
        ),
    }
}

/// The labels that tell one alert of an incident from another.
fn describe(alert: &Alert) -> String {
    let labels = ["server_id", "instance", "pod"].into_iter().filter_map(|name| {
        let value = told(alert.labels.get(name)?);
        Some(format!("{name}=\"{value}\""))
    });
    let labels: Vec<String> = labels.collect();
    let value = alert.value.map(|value| format!(", value {}", value.value)).unwrap_or_default();
    if labels.is_empty() {
        format!("{}{value}", told(alert.fingerprint.as_str()))
    } else {
        format!("{}{value}", labels.join(" "))
    }
}

/// A text from a stranger as an entry repeats it: cut, and with everything made visible.
fn told(text: &str) -> String {
    let end = text.char_indices().nth(LONGEST_TOLD).map(|(place, _)| place);
    let (kept, more) = end.map_or((text, ""), |end| (&text[..end], "…"));
    format!("{}{more}", kept.escape_debug())
}

/// Ends an incident that was read as unresolved in this transaction.
fn resolved(state: IncidentState, now: Timestamp) -> IncidentState {
    state.resolve(Resolution::Unverified, now).expect("what was just read as unresolved can be resolved")
}

/// Who sent a notification, as the timeline names it: the first word of its `User-Agent`.
fn actor(sender: &str) -> String {
    let product = sender.split_whitespace().next().unwrap_or_default();
    if product.is_empty() { "unknown sender".to_owned() } else { product.chars().take(60).collect() }
}
