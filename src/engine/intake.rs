//! Intake: notifications become incidents, members, entries and jobs, many of them in one transaction.
//!
//! Nothing is looked at over the network here. Whoever is told that a notification was received can rely on it
//! being stored, and on the work it causes being done, whatever happens to the process. What is not to be believed at
//! once is written down and checked later, by [`Engine::verify`](crate::engine::Engine::verify).

mod case;
mod ledger;
pub(super) mod text;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::debug;
use utoipa::ToSchema;

use crate::alertmanager::webhook::{self, PayloadError};
use crate::engine::intake::ledger::Ledger;
use crate::engine::{COMPLETE, Engine, SELF};
use crate::model::alert::{Alert, AlertStatus};
use crate::model::ids::{IncidentId, NotificationId};
use crate::model::incident::IncidentKey;
use crate::model::mapping::{ServerMatch, map_alert};
use crate::model::member::Member;
use crate::store::jobs::NewJob;
use crate::store::notifications::{PackedBody, Received};
use crate::store::writer::WriteError;
use crate::store::{self, Conn, StoreError};

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The notification's id; of a repetition, that of the first.
    pub notification: NotificationId,
    /// Whether the same content had been received before: it was counted, and stored only once.
    pub repeated: bool,
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
    #[error("the notification could not be stored{}", because(.0))]
    Write(#[from] WriteError),
}

fn because(error: &WriteError) -> String {
    error.reason().map(|reason| format!(": {reason}")).unwrap_or_default()
}

/// A notification, ready to be taken in: all that can be done outside the transaction is done.
#[derive(Debug)]
pub(crate) struct Delivery {
    received: Received,
    reports: Vec<Report>,
}

/// A notification that was taken in.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(super) receipt: Receipt,
    /// How many alerts it has.
    pub(super) alerts: usize,
    /// Whether it, or another of its transaction, has queued a job.
    causes_work: bool,
}

/// What somebody says about the alerts of one incident.
#[derive(Debug)]
pub(super) struct Report {
    key: IncidentKey,
    identity: String,
    alerts: Vec<Mapped>,
}

/// An alert, and the server it is about.
#[derive(Debug, Clone)]
struct Mapped {
    alert: Alert,
    server: Option<ServerMatch>,
}

impl Mapped {
    fn fires(&self) -> bool {
        self.alert.status == AlertStatus::Firing
    }
}

/// Who says something about alerts, and how far they are to be believed.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// As the timeline names them.
    pub(super) actor: String,
    pub(super) at: Timestamp,
    /// The notification in which it is said.
    pub(super) notification: Option<NotificationId>,
    pub(super) truncated_alerts: u64,
    /// Whether the very same has been said before.
    pub(super) repeated: bool,
    /// Whether it was asked for and confirmed: then it overrules what notifications have said.
    pub(super) confirmed: bool,
}

impl Origin {
    /// Says what connwarden has found out by itself and is sure of.
    pub(super) fn confirmed(at: Timestamp) -> Self {
        Self {
            actor: SELF.to_owned(),
            at,
            notification: None,
            truncated_alerts: 0,
            repeated: false,
            confirmed: true,
        }
    }
}

impl Engine {
    /// Stores a notification and everything that follows from it.
    ///
    /// # Errors
    ///
    /// [`IntakeError::Hopeless`] if the body will never be a notification; otherwise nothing was stored and the
    /// sender should try again.
    #[tracing::instrument(name = "engine.notifications.receive", level = "debug", skip_all)]
    pub async fn receive(&self, body: &[u8], sender: &str) -> Result<Receipt, IntakeError> {
        let delivery = self.prepare(body, sender)?;
        let Taken { receipt, alerts, causes_work } = self.0.intake.write(delivery, body.len()).await?;
        // whoever wakes looks into the queue: most notifications put nothing into it
        if causes_work {
            self.0.jobs_bell.ring();
        }
        if receipt.repeated {
            self.0.metrics.repeated_notification();
        }
        debug!(
            notification.id = %receipt.notification,
            alerts,
            repeated = receipt.repeated,
            incidents = receipt.incidents.len(),
            "received a notification",
        );
        Ok(receipt)
    }

    /// Reads a body and finds out what it is about.
    fn prepare(&self, body: &[u8], sender: &str) -> Result<Delivery, PayloadError> {
        let now = self.0.clock.now();
        let notification = webhook::parse(body, now)?;
        let digest = webhook::content_digest(&notification);
        let alert_count = notification.alerts.len();
        let received = Received {
            id: NotificationId(self.0.clock.new_id()),
            at: now,
            sender: sender.to_owned(),
            receiver: notification.receiver,
            group_key: notification.group_key,
            alert_count,
            truncated_alerts: notification.truncated_alerts,
            digest,
            body: PackedBody::pack(body),
        };
        Ok(Delivery { received, reports: self.reports(notification.alerts) })
    }

    /// Sorts alerts by the incidents they are about.
    pub(super) fn reports(&self, alerts: Vec<Alert>) -> Vec<Report> {
        let servers = self.known_servers();
        let mut reports: BTreeMap<String, Report> = BTreeMap::new();
        for alert in alerts {
            let mapping = map_alert(&alert.labels, &self.0.routes, &servers);
            let identity = mapping.key.identity();
            let report = reports.entry(identity).or_insert_with_key(|identity| Report {
                key: mapping.key.clone(),
                identity: identity.clone(),
                alerts: Vec::new(),
            });
            // of several ways to the same cluster the surest counts
            report.key = mapping.key.min(report.key.clone());
            report.alerts.push(Mapped { alert, server: mapping.server });
        }
        reports.into_values().collect()
    }

    /// Takes in notifications, in order; each gets its answer.
    ///
    /// # Errors
    ///
    /// The store failed, and with it all of them.
    pub(crate) async fn take_in(
        &self,
        conn: &mut Conn,
        deliveries: &[Delivery],
    ) -> Result<Vec<Taken>, StoreError> {
        let digests: BTreeSet<&str> =
            deliveries.iter().map(|delivery| delivery.received.digest.as_str()).collect();
        let digests: Vec<&str> = digests.into_iter().collect();
        let mut known = store::notifications::find_by_digest(conn, &digests).await?;
        let all = deliveries.iter().flat_map(|delivery| &delivery.reports);
        let mut ledger = Ledger::load(conn, &self.0.rules, &self.0.clock, all).await?;

        let (mut new, mut again, mut receipts) = (Vec::new(), BTreeMap::new(), Vec::new());
        for Delivery { received, reports } in deliveries {
            let first = known.get(&received.digest).copied();
            match first {
                Some(first) => {
                    let (times, last) = again.entry(first).or_insert((0, received.at));
                    *times += 1;
                    *last = received.at;
                }
                None => {
                    known.insert(received.digest.clone(), received.id);
                    new.push(received);
                }
            }
            let notification = first.unwrap_or(received.id);
            let origin = Origin {
                actor: text::actor(&received.sender),
                at: received.at,
                notification: Some(notification),
                truncated_alerts: received.truncated_alerts,
                repeated: first.is_some(),
                confirmed: false,
            };
            let incidents = reports.iter().filter_map(|report| ledger.report(report, &origin)).collect();
            let receipt = Receipt { notification, repeated: first.is_some(), incidents };
            receipts.push((receipt, received.alert_count));
        }
        let caused = ledger.save_after(conn, store::notifications::inserts(&new)).await?;
        let cut = new.iter().filter(|received| received.truncated_alerts > 0);
        let completions = self.queue_completions(conn, cut.map(|received| received.id)).await?;
        for (id, (times, last)) in again {
            store::notifications::count_again(conn, id, times, last).await?;
        }
        let causes_work = completions + caused > 0;
        let taken = |(receipt, alerts)| Taken { receipt, alerts, causes_work };
        Ok(receipts.into_iter().map(taken).collect())
    }

    /// Lets what was left out of notifications be asked for, if there is anybody to ask; tells how many jobs that are.
    pub(super) async fn queue_completions(
        &self,
        conn: &mut Conn,
        cut: impl IntoIterator<Item = NotificationId>,
    ) -> Result<usize, StoreError> {
        if !self.0.rules.alertmanager_can_be_asked {
            return Ok(0);
        }
        let now = self.0.clock.now();
        let job = |id: NotificationId| NewJob { kind: COMPLETE, subject: id.to_string(), due_at: now };
        let jobs: Vec<NewJob> = cut.into_iter().map(job).collect();
        store::jobs::insert(conn, &jobs, now).await?;
        Ok(jobs.len())
    }

    /// Takes in that members of one incident are over, whatever incident their labels would lead to today.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub(super) async fn take_in_ends(
        &self,
        conn: &mut Conn,
        key: &IncidentKey,
        members: Vec<Member>,
        origin: &Origin,
    ) -> Result<(), StoreError> {
        let alerts = members.into_iter().map(|member| Mapped { alert: member.alert, server: member.server });
        let report = Report { key: key.clone(), identity: key.identity(), alerts: alerts.collect() };
        let mut ledger = Ledger::load(conn, &self.0.rules, &self.0.clock, std::iter::once(&report)).await?;
        ledger.report(&report, origin);
        ledger.save(conn).await?;
        Ok(())
    }

    /// The identities of the incidents that some alerts are about.
    pub(super) fn identities(&self, alerts: &[Alert]) -> BTreeSet<String> {
        let servers = self.known_servers();
        let identity = |alert: &Alert| map_alert(&alert.labels, &self.0.routes, &servers).key.identity();
        alerts.iter().map(identity).collect()
    }

    /// Takes in what was found out about alerts otherwise than by a notification.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub(super) async fn take_in_findings(
        &self,
        conn: &mut Conn,
        alerts: Vec<Alert>,
        origin: &Origin,
    ) -> Result<Vec<IncidentId>, StoreError> {
        let reports = self.reports(alerts);
        let mut ledger = Ledger::load(conn, &self.0.rules, &self.0.clock, reports.iter()).await?;
        let incidents = reports.iter().filter_map(|report| ledger.report(report, origin)).collect();
        ledger.save(conn).await?;
        Ok(incidents)
    }
}
