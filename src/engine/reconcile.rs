//! Reconciliation: what we have is compared with what every Alertmanager lists, because notifications get lost.
//!
//! Alertmanager tells of no end while an alert is silenced or inhibited, and of nothing twice that was answered. So it is
//! asked, and nothing is concluded from one answer: what is not as it should be must be so in two rounds in a row. That an
//! alert is not listed proves something only if every Alertmanager answered and none has just started, if no Prometheus
//! objects, and if NATS does not count more connections than the alert allows. An answer that is no answer ends nothing.

mod books;
mod census;
mod suspicions;
mod text;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::alertmanager::api::AlertmanagerClient;
use crate::engine::intake::Origin;
use crate::engine::reconcile::books::{Books, Known};
use crate::engine::reconcile::suspicions::{MemberId, Suspicion};
use crate::engine::reconcile::witness::Testimony;
use crate::engine::verify::{self, Members};
use crate::engine::{Engine, SELF};
use crate::model::alert::{Alert, AlertStatus};
use crate::model::entry::{Entry, EntryKind};
use crate::model::ids::IncidentId;
use crate::model::incident::Incident;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::member::{Member, Suppression};
use crate::model::server::ServerKey;
use crate::model::threshold::Verdict;
use crate::prometheus::PrometheusClient;
use crate::store::{self, Conn, StoreError};
use crate::telemetry::metrics::ReconcileResult;

pub(super) use crate::engine::reconcile::census::{Answer, Census};
pub(super) use crate::engine::reconcile::suspicions::Suspicions;

/// For how many rounds the word of a NATS server that does not answer is waited for.
const MOST_ROUNDS_WITHOUT_NATS: u32 = 15;

/// Whom to ask which alerts fire.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Every node of every Alertmanager.
    pub alertmanagers: Vec<AlertmanagerClient>,
    /// Every Prometheus.
    pub prometheus: Vec<PrometheusClient>,
}

/// What a round of reconciliation has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Why an alert that is not listed may fire nevertheless; empty if it cannot.
    pub doubts: Vec<String>,
}

/// What is concluded about members of one incident that nobody lists any more.
struct Ending {
    incident: IncidentId,
    /// Those that are over, as they were when everybody was asked, and since when they are not listed.
    over: Vec<(Member, Timestamp)>,
    /// What was asked, and what it answered.
    seen: String,
    /// Why others are taken to fire on, where that is to be told.
    objections: Vec<String>,
}

impl Engine {
    /// Compares what we have with what every configured Alertmanager lists, and puts right what has been wrong twice.
    ///
    /// # Errors
    ///
    /// The store failed. That an Alertmanager does not answer is no error: then less is known.
    #[tracing::instrument(name = "engine.incidents.reconcile", skip_all)]
    pub async fn reconcile(&self) -> Result<Reconciliation, StoreError> {
        if self.0.sources.alertmanagers.is_empty() {
            return Ok(Reconciliation::default());
        }
        let reconciled = self.reconcile_with_all().await;
        self.0.metrics.reconciliation(match &reconciled {
            Ok(Reconciliation { doubts }) if doubts.is_empty() => ReconcileResult::Complete,
            Ok(_) => ReconcileResult::InDoubt,
            Err(_) => ReconcileResult::Failed,
        });
        reconciled
    }

    async fn reconcile_with_all(&self) -> Result<Reconciliation, StoreError> {
        let began = self.0.clock.now();
        let census = self.take_census(&Labels::default(), None).await;
        self.warn_of_doubts(&census);
        let books = Books::read(self, &census).await?;

        let (absent, unheard) = {
            let mut suspicions = self.0.suspicions.lock().unwrap_or_else(PoisonError::into_inner);
            // where something may be missing from the lists, nothing is
            let absent = if census.doubts.is_empty() { books.absent(&census) } else { BTreeSet::new() };
            (suspicions.absent(&absent, began), suspicions.unheard(&books.unheard, began))
        };
        let testimony = if absent.is_empty() && unheard.is_empty() {
            Testimony::default()
        } else {
            Testimony::hear(&self.0.sources.prometheus).await
        };
        let endings = self.judge(&books, &absent, &census, &testimony).await;

        let now = self.0.clock.now();
        let mut tx = self.0.store.write().await?;
        self.note_suppressions(&mut tx, &books, &census, now).await?;
        for ending in &endings {
            self.end_unheard(&mut tx, ending, now).await?;
        }
        self.settle_unlisted(&mut tx, &books, &absent, &census, &testimony).await?;
        let heard = books.to_take_in(&census, &unheard, &testimony, !self.0.sources.prometheus.is_empty());
        for alerts in heard {
            self.begin_unheard(&mut tx, alerts, &census, now).await?;
        }
        store::commit(tx).await?;
        self.0.jobs_bell.ring();
        Ok(Reconciliation { doubts: census.doubts })
    }

    /// Asks every Alertmanager for the alerts that have all of `labels`.
    pub(super) async fn take_census(&self, labels: &Labels, receiver: Option<&str>) -> Census {
        let mut asked = JoinSet::new();
        for (place, client) in self.0.sources.alertmanagers.iter().enumerate() {
            let (client, labels) = (client.clone(), labels.clone());
            let receiver = receiver.map(str::to_owned);
            asked.spawn(async move {
                // in this order: one that starts anew in between is young by the time it says so
                let said = match client.alerts(&labels, receiver.as_deref()).await {
                    Ok(alerts) => client.status().await.map(|status| (status, alerts)),
                    Err(error) => Err(error),
                };
                let said = said.map_err(|error| error.to_string());
                (place, Answer { url: client.url().clone(), said })
            });
        }
        let mut answers = asked.join_all().await;
        answers.sort_unstable_by_key(|(place, _)| *place);
        Census::of(answers.into_iter().map(|(_, answer)| answer).collect(), self.0.clock.now())
    }

    /// Says why what is not listed proves nothing, once for as long as it stays so.
    fn warn_of_doubts(&self, census: &Census) {
        let mut suspicions = self.0.suspicions.lock().unwrap_or_else(PoisonError::into_inner);
        match (suspicions.begins_to_doubt(!census.doubts.is_empty()), census.doubts.as_slice()) {
            (true, []) => info!("every Alertmanager answers in full again"),
            (true, doubts) => {
                warn!("no incident is closed for alerts that are not listed: {}", doubts.join("; "));
            }
            (false, _) => {}
        }
    }

    /// Finds out about members that no Alertmanager lists any more whether they are over.
    async fn judge(
        &self,
        books: &Books,
        absent: &BTreeMap<MemberId, Suspicion>,
        census: &Census,
        testimony: &Testimony,
    ) -> Vec<Ending> {
        let mut endings = Vec::new();
        for Known { incident, members } in &books.unresolved {
            let gone = members.values().filter_map(|member| {
                let id = (incident.id, member.alert.fingerprint.clone());
                Some((member, absent.get(&id)?))
            });
            let gone: Vec<(&Member, &Suspicion)> = gone.collect();
            if gone.is_empty() {
                continue;
            }
            let nats = self.count_for(incident, &gone).await;
            let rounds = gone.iter().map(|(_, suspicion)| suspicion.rounds).min().unwrap_or(0);
            let (mut over, mut objections, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
            for (member, suspicion) in gone {
                let nats = nats
                    .get(&server(member))
                    .filter(|_| self.0.rules.threshold(&incident.key, member).is_some());
                let verdict = nats.and_then(|answer| answer.verdict);
                let was_listed = member.suppression.is_some();
                let objection = match (testimony.objects(&member.alert.labels), nats, verdict) {
                    (Some(objection), ..) => Some(objection),
                    (None, Some(nats), Some(Verdict::Above)) => Some(nats.seen.clone()),
                    (None, Some(nats), None) if suspicion.rounds < MOST_ROUNDS_WITHOUT_NATS => {
                        Some(nats.seen.clone())
                    }
                    (None, _, verdict) if !was_listed && verdict != Some(Verdict::Below) => {
                        Some(text::NEVER_LISTED.to_owned())
                    }
                    (None, ..) => None,
                };
                match objection {
                    None => {
                        over.push((member.clone(), suspicion.since));
                        seen.extend(nats.map(|nats| nats.seen.clone()));
                    }
                    Some(objection) => {
                        let id = (incident.id, member.alert.fingerprint.clone());
                        let mut suspicions = self.0.suspicions.lock().unwrap_or_else(PoisonError::into_inner);
                        if suspicions.is_worth_telling(&id) {
                            objections.push(text::objection(&member.alert, &objection));
                        }
                    }
                }
            }
            let seen = text::seen(rounds, &census.asked, &testimony.asked(), &seen);
            endings.push(Ending { incident: incident.id, over, seen, objections });
        }
        endings
    }

    /// Asks each server that some members are about how many connections it has, where that says something.
    async fn count_for(
        &self,
        incident: &Incident,
        gone: &[(&Member, &Suspicion)],
    ) -> BTreeMap<Option<ServerKey>, verify::NatsAnswer> {
        let mut by_server: BTreeMap<Option<ServerKey>, Members> = BTreeMap::new();
        for (member, _) in gone {
            if self.0.rules.threshold(&incident.key, member).is_some() {
                let members = by_server.entry(server(member)).or_default();
                members.insert(member.alert.fingerprint.clone(), (*member).clone());
            }
        }
        let mut answers = BTreeMap::new();
        for (server, members) in by_server {
            let answer = self.ask_nats(incident, &members).await;
            answers.insert(server, answer);
        }
        answers
    }

    /// Ends members that nobody lists any more, unless somebody has told something about them meanwhile.
    async fn end_unheard(&self, conn: &mut Conn, ending: &Ending, now: Timestamp) -> Result<(), StoreError> {
        let Ending { incident, over, seen, objections } = ending;
        let Some(incident) = store::incidents::find(conn, *incident).await? else { return Ok(()) };
        let members = store::alerts::list(conn, incident.id).await?;
        let is_as_it_was = |was: &Member| members.get(&was.alert.fingerprint) == Some(was);
        let over: Vec<Member> = over
            .iter()
            .filter(|(member, _)| is_as_it_was(member))
            .map(|(member, since)| {
                // not later than now by a clock that was set back meanwhile, and not before it began
                let ended_at = (*since).min(now).max(member.alert.starts_at);
                let status = AlertStatus::Resolved { ended_at };
                Member { alert: Alert { status, ..member.alert.clone() }, ..member.clone() }
            })
            .collect();
        if incident.state.is_resolved() {
            return Ok(());
        }
        let mut texts = objections.clone();
        if !over.is_empty() {
            texts.push(text::not_listed(&over, seen));
        }
        self.add_entries(conn, incident.id, texts, now).await?;
        if !over.is_empty() {
            info!(incident.id = %incident.id, "{} alerts of {} are over; nobody had told", over.len(), incident.key);
            self.take_in_ends(conn, &incident.key, over, &Origin::confirmed(now)).await?;
        }
        Ok(())
    }

    /// Drops firings against an end that was told, where nobody lists the alert: they were old news.
    async fn settle_unlisted(
        &self,
        conn: &mut Conn,
        books: &Books,
        absent: &BTreeMap<MemberId, Suspicion>,
        census: &Census,
        testimony: &Testimony,
    ) -> Result<(), StoreError> {
        for (incident, was) in &books.stale {
            let fingerprint = &was.alert.fingerprint;
            // one that was never listed is somebody else's to take back
            let is_old_news = was.suppression.is_some()
                && absent.contains_key(&(*incident, fingerprint.clone()))
                && testimony.objects(&was.alert.labels).is_none();
            if !is_old_news {
                continue;
            }
            let known = store::alerts::find(conn, &[(*incident, fingerprint)]).await?;
            for (id, member) in known.into_iter().filter(|(_, member)| member == was) {
                let settled = Member { stale_since: None, ..member };
                store::alerts::save(conn, &[(id, &settled)]).await?;
                let text = text::old_news(&settled.alert, &census.asked);
                self.add_entries(conn, id, vec![text], self.0.clock.now()).await?;
            }
        }
        Ok(())
    }

    /// Takes in alerts of one incident that are listed, and that no notification has told of.
    async fn begin_unheard(
        &self,
        conn: &mut Conn,
        alerts: Vec<Alert>,
        census: &Census,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let text = text::listed(&alerts, &census.asked);
        for id in self.take_in_findings(conn, alerts, &Origin::confirmed(now)).await? {
            info!(incident.id = %id, "alerts fire that no notification has told of");
            self.add_entries(conn, id, vec![text.clone()], now).await?;
        }
        Ok(())
    }

    /// Writes down which members are silenced or inhibited, where that has changed.
    async fn note_suppressions(
        &self,
        conn: &mut Conn,
        books: &Books,
        census: &Census,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for Known { incident, members } in &books.unresolved {
            let changed = members.values().filter_map(|member| {
                let listed = census.listed.get(&member.alert.fingerprint)?;
                let differs = member.is_firing() && member.suppression.as_ref() != Some(&listed.suppression);
                differs.then_some((&member.alert.fingerprint, &listed.suppression))
            });
            let changed: BTreeMap<&Fingerprint, &Suppression> = changed.collect();
            if changed.is_empty() {
                continue;
            }
            let wanted: Vec<(IncidentId, &Fingerprint)> =
                changed.keys().map(|fingerprint| (incident.id, *fingerprint)).collect();
            let (mut members, mut texts) = (Vec::new(), Vec::new());
            for (id, mut member) in store::alerts::find(conn, &wanted).await? {
                let Some(now) = changed.get(&member.alert.fingerprint) else { continue };
                texts.extend(text::suppression(&member.alert, member.suppression.as_ref(), now));
                member.suppression = Some((*now).clone());
                members.push((id, member));
            }
            let members: Vec<(IncidentId, &Member)> =
                members.iter().map(|(id, member)| (*id, member)).collect();
            store::alerts::save(conn, &members).await?;
            self.add_entries(conn, incident.id, texts, now).await?;
        }
        Ok(())
    }

    /// Adds what asking has shown to the timeline: the first few texts, and how many more there are.
    pub(super) async fn add_entries(
        &self,
        conn: &mut Conn,
        incident: IncidentId,
        texts: Vec<String>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let entries: Vec<Entry> = text::few(texts)
            .into_iter()
            .map(|text| Entry {
                at,
                actor: SELF.to_owned(),
                kind: EntryKind::Reconciled,
                text,
                notification: None,
            })
            .collect();
        store::entries::insert(conn, incident, &entries).await
    }
}

/// The server that a member is about; `None` means any of the cluster.
fn server(member: &Member) -> Option<ServerKey> {
    member.server.as_ref().map(|server| server.key.clone())
}
