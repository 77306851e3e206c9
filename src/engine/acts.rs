//! Acts: what people do about incidents. Each has an actor and, where it matters, a reason; both are in the timeline.

use tracing::info;

use crate::alertmanager::webhook::{self, PayloadError};
use crate::engine::intake::{Origin, Receipt};
use crate::engine::texts::{TextError, checked};
use crate::engine::{ENRICH, Engine};
use crate::model::entry::{Entry, EntryKind};
use crate::model::ids::{IncidentId, NotificationId};
use crate::model::incident::{Incident, IncidentKey, InvalidTransition};
use crate::model::mapping::MappedBy;
use crate::store::jobs::NewJob;
use crate::store::{self, StoreError, Tx};

/// The name of an incident that a person opens without an alert.
pub const MANUAL_ALERT_NAME: &str = "Manual";

/// Why an act was refused, or could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// There is no such incident.
    #[error("no incident {0}")]
    UnknownIncident(IncidentId),
    /// There is no such notification; it may have been deleted for its age.
    #[error("no notification {0}")]
    UnknownNotification(NotificationId),
    /// No such cluster is configured.
    #[error("no cluster `{0}` is configured")]
    UnknownCluster(String),
    /// A text is missing or too long.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The incident is in another state by now.
    #[error(transparent)]
    Transition(#[from] InvalidTransition),
    /// There is an incident of the same cluster and alert name that takes precedence.
    #[error("cannot {action}: incident {other} is {state} and about the same")]
    InTheWay {
        /// What was attempted.
        action: &'static str,
        /// The other incident.
        other: IncidentId,
        /// Its state.
        state: &'static str,
    },
    /// A stored notification is none in the eyes of this version.
    #[error(transparent)]
    Unreadable(#[from] PayloadError),
    /// The store failed.
    #[error("the act could not be stored")]
    Store(#[from] StoreError),
}

impl Engine {
    /// Notes that somebody takes care of an incident.
    ///
    /// # Errors
    ///
    /// There is no such incident, or it is acknowledged or resolved already.
    #[tracing::instrument(name = "engine.incidents.acknowledge", skip_all, fields(incident.id = %id))]
    pub async fn acknowledge(
        &self,
        id: IncidentId,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<Incident, ActError> {
        let reason = reason.map(checked).transpose()?;
        let now = self.0.clock.now();
        self.act(id, actor, EntryKind::Acknowledged, told("acknowledged", reason.as_deref()), |incident| {
            incident.state = incident.state.clone().acknowledge(actor, now)?;
            Ok(())
        })
        .await
    }

    /// Writes something down in the timeline of an incident, whatever its state.
    ///
    /// # Errors
    ///
    /// There is no such incident, or nothing to write down.
    #[tracing::instrument(name = "engine.incidents.add_note", skip_all, fields(incident.id = %id))]
    pub async fn add_note(&self, id: IncidentId, actor: &str, text: &str) -> Result<Incident, ActError> {
        let text = checked(text)?;
        self.act(id, actor, EntryKind::Note, text, |_| Ok(())).await
    }

    /// Ends an incident because a person says so. It stays over until an alert begins anew.
    ///
    /// # Errors
    ///
    /// There is no such incident, or it is resolved already.
    #[tracing::instrument(name = "engine.incidents.resolve", skip_all, fields(incident.id = %id))]
    pub async fn resolve(&self, id: IncidentId, actor: &str, reason: &str) -> Result<Incident, ActError> {
        let reason = checked(reason)?;
        let now = self.0.clock.now();
        self.act(id, actor, EntryKind::Resolved, told("resolved by hand", Some(&reason)), |incident| {
            incident.state = incident.state.clone().resolve_by_hand(actor, now)?;
            incident.verdict = None;
            Ok(())
        })
        .await
    }

    /// Opens an incident again because a person says that it is not over. Only the newest of its cluster and alert
    /// name can be.
    ///
    /// # Errors
    ///
    /// There is no such incident, it is not resolved, or there is a newer one.
    #[tracing::instrument(name = "engine.incidents.reopen", skip_all, fields(incident.id = %id))]
    pub async fn reopen(&self, id: IncidentId, actor: &str, reason: &str) -> Result<Incident, ActError> {
        let reason = checked(reason)?;
        let mut tx = self.0.store.write().await?;
        let incident = find(&mut tx, id).await?;
        let newest = store::incidents::find_newest(&mut tx, &[&incident.key.identity()]).await?;
        if let Some(newest) = newest.into_iter().find(|newest| newest.id != id) {
            let (other, state) = (newest.id, newest.state.name());
            return Err(ActError::InTheWay { action: "reopen", other, state });
        }
        let reopen = |incident: &mut Incident| {
            incident.state = incident.state.clone().reopen()?;
            incident.reopened += 1;
            incident.verdict = None;
            Ok(())
        };
        let text = told("opened again by hand", Some(&reason));
        let incident = self.change(&mut tx, incident, actor, EntryKind::Reopened, text, reopen).await?;
        self.queue_look(&mut tx, &incident).await?;
        store::commit(tx).await?;
        self.0.jobs_bell.ring();
        log(&incident, actor, EntryKind::Reopened);
        Ok(incident)
    }

    /// Opens an incident about a cluster that no alert has told of.
    ///
    /// # Errors
    ///
    /// No such cluster is configured, or an incident of this alert name is unresolved there.
    #[tracing::instrument(name = "engine.incidents.open", skip_all)]
    pub async fn open(
        &self,
        cluster: &str,
        alert_name: Option<&str>,
        actor: &str,
        reason: &str,
    ) -> Result<Incident, ActError> {
        let reason = checked(reason)?;
        let alert_name = alert_name.map_or_else(|| Ok(MANUAL_ALERT_NAME.to_owned()), checked)?;
        if !self.clusters().any(|targets| targets.name == cluster) {
            return Err(ActError::UnknownCluster(cluster.to_owned()));
        }
        let now = self.0.clock.now();
        let key =
            IncidentKey::Cluster { cluster: cluster.to_owned(), mapped_by: MappedBy::Operator, alert_name };
        let mut tx = self.0.store.write().await?;
        let newest = store::incidents::find_newest(&mut tx, &[&key.identity()]).await?.pop();
        if let Some(other) = newest.as_ref().filter(|newest| !newest.state.is_resolved()) {
            let (other, state) = (other.id, other.state.name());
            return Err(ActError::InTheWay { action: "open another", other, state });
        }
        let previous = newest.map(|newest| newest.id);
        let incident = Incident::open(IncidentId(self.0.clock.new_id()), key, previous, now);
        store::incidents::insert(&mut tx, &incident).await?;
        let text = told(&format!("{} opened by hand", incident.key), Some(&reason));
        let entry =
            Entry { at: now, actor: actor.to_owned(), kind: EntryKind::Opened, text, notification: None };
        store::entries::insert(&mut tx, incident.id, &[entry]).await?;
        self.queue_look(&mut tx, &incident).await?;
        store::commit(tx).await?;
        self.0.jobs_bell.ring();
        log(&incident, actor, EntryKind::Opened);
        Ok(incident)
    }

    /// Takes a stored notification in once more, as if it had come now: by the configuration of today, and with a new
    /// look at the clusters it is about.
    ///
    /// # Errors
    ///
    /// There is no such notification.
    #[tracing::instrument(name = "engine.notifications.replay", skip_all, fields(notification.id = %id))]
    pub async fn replay(&self, id: NotificationId, actor: &str, reason: &str) -> Result<Receipt, ActError> {
        let reason = checked(reason)?;
        let now = self.0.clock.now();
        let body = store::notifications::find_body(&mut *self.0.store.read().await?, id).await?;
        let body = body.ok_or(ActError::UnknownNotification(id))?;
        let notification = webhook::parse(&body, now)?;
        let origin = Origin {
            actor: actor.to_owned(),
            at: now,
            notification: Some(id),
            truncated_alerts: notification.truncated_alerts,
            repeated: false,
            confirmed: false,
        };

        let mut tx = self.0.store.write().await?;
        let incidents = self.take_in_findings(&mut tx, notification.alerts, &origin).await?;
        self.queue_completions(&mut tx, (origin.truncated_alerts > 0).then_some(id)).await?;
        for concerned in &incidents {
            let text = told("a stored notification was taken in once more", Some(&reason));
            let (actor, kind) = (actor.to_owned(), EntryKind::Replayed);
            let entry = Entry { at: now, actor, kind, text, notification: Some(id) };
            store::entries::insert(&mut tx, *concerned, &[entry]).await?;
            let incident = find(&mut tx, *concerned).await?;
            if !incident.state.is_resolved() {
                self.queue_look(&mut tx, &incident).await?;
            }
        }
        store::commit(tx).await?;
        self.0.jobs_bell.ring();
        info!(notification.id = %id, actor, "notification {id} replayed by {actor}");
        Ok(Receipt { notification: id, repeated: true, incidents })
    }

    async fn act(
        &self,
        id: IncidentId,
        actor: &str,
        kind: EntryKind,
        text: String,
        change: impl FnOnce(&mut Incident) -> Result<(), InvalidTransition>,
    ) -> Result<Incident, ActError> {
        let mut tx = self.0.store.write().await?;
        let incident = find(&mut tx, id).await?;
        let incident = self.change(&mut tx, incident, actor, kind, text, change).await?;
        store::commit(tx).await?;
        log(&incident, actor, kind);
        Ok(incident)
    }

    async fn change(
        &self,
        tx: &mut Tx,
        mut incident: Incident,
        actor: &str,
        kind: EntryKind,
        text: String,
        change: impl FnOnce(&mut Incident) -> Result<(), InvalidTransition>,
    ) -> Result<Incident, ActError> {
        let now = self.0.clock.now();
        let was = incident.state.name();
        change(&mut incident)?;
        incident.updated_at = now;
        store::incidents::save(tx, &incident, was).await?;
        let entry = Entry { at: now, actor: actor.to_owned(), kind, text, notification: None };
        store::entries::insert(tx, incident.id, &[entry]).await?;
        Ok(incident)
    }

    async fn queue_look(&self, tx: &mut Tx, incident: &Incident) -> Result<(), StoreError> {
        if incident.key.cluster().is_none() {
            return Ok(());
        }
        let now = self.0.clock.now();
        let job = NewJob { kind: ENRICH, subject: incident.id.to_string(), due_at: now };
        store::jobs::insert(tx, &[job], now).await
    }
}

async fn find(tx: &mut Tx, id: IncidentId) -> Result<Incident, ActError> {
    store::incidents::find(tx, id).await?.ok_or(ActError::UnknownIncident(id))
}

fn log(incident: &Incident, actor: &str, kind: EntryKind) {
    let (id, kind) = (incident.id, kind.name());
    info!(incident.id = %id, actor, "incident {id} is {} ({kind} by {actor})", incident.state.name());
}

fn told(what: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{what}: {reason}"),
        None => what.to_owned(),
    }
}
