//! Completion: what a sender left out of a group is fetched from Alertmanager.
//!
//! With `max_alerts`, Alertmanager cuts a group to its first alerts and takes the others for told: neither that they fire
//! nor their end is ever sent.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;

use crate::alertmanager::webhook;
use crate::engine::intake::Origin;
use crate::engine::{Engine, SELF};
use crate::model::alert::Alert;
use crate::model::ids::{IncidentId, NotificationId};
use crate::model::incident::{IncidentState, Resolution};
use crate::model::instants::later;
use crate::model::labels::Fingerprint;
use crate::store::jobs::LeasedJob;
use crate::store::{self, StoreError, Tx};

/// The kind of the job.
pub const COMPLETE: &str = "complete";

/// How often an Alertmanager that does not answer is asked in all.
const ATTEMPTS: i64 = 5;

/// How long to wait until it is asked again, times the number of attempts.
const PAUSE: Duration = Duration::from_secs(10);

impl Engine {
    /// Asks every Alertmanager for the whole group of a notification, and takes in what was left out of it.
    ///
    /// # Errors
    ///
    /// The store failed.
    #[tracing::instrument(name = "job.complete", skip_all, fields(notification.id = %job.subject))]
    pub async fn complete(&self, job: &LeasedJob) -> anyhow::Result<()> {
        let id: NotificationId = job.subject.parse().context("reading the notification's id from the job")?;
        let now = self.0.clock.now();
        let body = {
            let mut conn = self.0.store.read().await?;
            store::notifications::find_body(&mut conn, id).await.context("finding the notification")?
        };
        let sent = match body.as_deref().map(|body| webhook::parse(body, now)) {
            Some(Ok(notification)) => notification.alerts,
            // deleted for its age, or no longer understood
            Some(Err(_)) | None => Vec::new(),
        };
        let group = body.as_deref().and_then(|body| webhook::group(body).ok());
        let Some(group) = group.filter(|_| !sent.is_empty()) else {
            let text =
                "the rest of the group could not be asked for: the notification does not name its group";
            return self.leave_incomplete(job, &sent, text).await;
        };
        let census = self.take_census(&group.labels, Some(&group.receiver)).await;
        let again = !census.errors.is_empty() && job.attempts < ATTEMPTS;
        let nobody = census.errors.len() == self.0.sources.alertmanagers.len();
        if nobody && !again {
            let text = format!("the rest of the group could not be asked for: {}", census.errors.join("; "));
            return self.leave_incomplete(job, &sent, &text).await;
        }

        let told: BTreeSet<&Fingerprint> = sent.iter().map(|alert| &alert.fingerprint).collect();
        let active = census.listed.into_values().filter(|listed| listed.is_active);
        let rest: Vec<Alert> =
            active.map(|listed| listed.alert).filter(|alert| !told.contains(&alert.fingerprint)).collect();
        let now = self.0.clock.now();
        let mut tx = self.0.store.write().await?;
        let rest = self.without_ended_by_hand(&mut tx, rest).await?;
        if !nobody {
            self.take_in_rest(&mut tx, id, &sent, rest, &census.asked, now).await?;
        }
        if again {
            let pause = PAUSE * u32::try_from(job.attempts).unwrap_or(u32::MAX);
            store::jobs::retry(&mut tx, job, later(now, pause), &census.errors.join("; ")).await?;
        } else {
            store::jobs::finish(&mut tx, job).await?;
        }
        store::commit(tx).await.context("storing the rest of the group")?;
        self.0.jobs_bell.ring();
        Ok(())
    }

    /// Leaves out what began before a person ended its incident: that person knew of the group.
    async fn without_ended_by_hand(&self, tx: &mut Tx, rest: Vec<Alert>) -> Result<Vec<Alert>, StoreError> {
        let mut left = Vec::new();
        for alert in rest {
            let identities = self.identities(std::slice::from_ref(&alert));
            let identities: Vec<&str> = identities.iter().map(String::as_str).collect();
            let newest = store::incidents::find_newest(tx, &identities).await?;
            let ended = newest.iter().any(|incident| {
                matches!(
                    incident.state,
                    IncidentState::Resolved { resolution: Resolution::Manual, resolved_at, .. }
                        if alert.starts_at <= resolved_at
                )
            });
            if !ended {
                left.push(alert);
            }
        }
        Ok(left)
    }

    async fn take_in_rest(
        &self,
        tx: &mut Tx,
        id: NotificationId,
        sent: &[Alert],
        rest: Vec<Alert>,
        asked: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let origin = Origin {
            actor: SELF.to_owned(),
            at: now,
            notification: Some(id),
            truncated_alerts: 0,
            repeated: false,
            confirmed: false,
        };
        let count = rest.len();
        let mut concerned: BTreeSet<IncidentId> =
            self.take_in_findings(tx, rest, &origin).await?.into_iter().collect();
        concerned.extend(self.incidents_of(tx, sent).await?);
        let text = match count {
            0 => format!("asked for the rest of the group: no other alert of it fires ({asked})"),
            1 => format!("asked for the rest of the group: one more alert of it fires ({asked})"),
            count => format!("asked for the rest of the group: {count} more alerts of it fire ({asked})"),
        };
        for incident in concerned {
            self.add_entries(tx, incident, vec![text.clone()], now).await?;
        }
        Ok(())
    }

    async fn leave_incomplete(&self, job: &LeasedJob, sent: &[Alert], text: &str) -> anyhow::Result<()> {
        let now = self.0.clock.now();
        let mut tx = self.0.store.write().await?;
        for incident in self.incidents_of(&mut tx, sent).await? {
            self.add_entries(&mut tx, incident, vec![text.to_owned()], now).await?;
        }
        store::jobs::finish(&mut tx, job).await?;
        store::commit(tx).await.context("finishing the job")
    }

    /// The incidents that some alerts are about, if they are not over.
    async fn incidents_of(&self, tx: &mut Tx, alerts: &[Alert]) -> Result<Vec<IncidentId>, StoreError> {
        let identities: BTreeSet<String> = self.identities(alerts);
        let identities: Vec<&str> = identities.iter().map(String::as_str).collect();
        let newest = store::incidents::find_newest(tx, &identities).await?;
        let open = newest.into_iter().filter(|incident| !incident.state.is_resolved());
        Ok(open.map(|incident| incident.id).collect())
    }
}
