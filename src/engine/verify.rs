//! Verification: NATS itself is asked whether what was reported about an alert is true.
//!
//! "Resolved" is often false (an exporter that goes down resolves the alert within one evaluation), and so is a
//! "firing" behind it (a healthy pair of Alertmanagers sends such). Two looks in a row must agree before anything is
//! concluded. Each alert is compared on its own server; the sum of a cluster says nothing about a rule on one server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tracing::info;

use crate::engine::intake::Origin;
use crate::engine::{Engine, SELF};
use crate::model::alert::{Alert, AlertStatus};
use crate::model::entry::{Entry, EntryKind};
use crate::model::ids::IncidentId;
use crate::model::incident::{Incident, IncidentState, Resolution};
use crate::model::instants::later;
use crate::model::labels::Fingerprint;
use crate::model::mapping::KnownServer;
use crate::model::member::Member;
use crate::model::printable::{excerpt, with_commas};
use crate::model::server::ServerKey;
use crate::model::threshold::{Threshold, Verdict};
use crate::observe::sweep::ClusterTargets;
use crate::store::jobs::LeasedJob;
use crate::store::{self, Tx};

/// The kind of the job.
pub const VERIFY: &str = "verify";

/// How often NATS is looked at before an end is believed without its word.
const MOST_LOOKS: i64 = 20;

/// How many times slower an incident is looked at that NATS has said is not over.
const PATIENCE: u32 = 4;

/// What there is to find out about an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Every member was reported resolved: is it over?
    IsItOver,
    /// It was over, and a member is said to fire with a start before its end: is that true?
    DoesItFire {
        /// Since when that stands.
        since: Timestamp,
    },
}

/// What NATS answered.
#[derive(Debug)]
pub(super) struct NatsAnswer {
    /// Whether nobody can be asked, now or later.
    pub(super) impossible: bool,
    /// `None` where a server did not answer and no other is above the threshold, or there is nothing to compare with.
    pub(super) verdict: Option<Verdict>,
    /// What was seen, for people.
    pub(super) seen: String,
    /// The count of the server that is furthest above its threshold, or nearest to it, with that.
    pub(super) furthest: Option<(u64, Threshold)>,
}

pub(super) type Members = BTreeMap<Fingerprint, Member>;

impl Engine {
    /// Finds out whether an incident is over, or begins anew, and moves it there.
    ///
    /// # Errors
    ///
    /// The store failed, or the process ends.
    #[tracing::instrument(name = "job.verify", skip_all, fields(incident.id = %job.subject))]
    pub async fn verify(&self, job: &LeasedJob) -> anyhow::Result<()> {
        let id: IncidentId = job.subject.parse().context("reading the incident's id from the job")?;
        let mut conn = self.0.store.read().await?;
        let known = read(&mut conn, id).await?;
        drop(conn);
        let answer = match &known {
            Some((incident, members)) if question(incident, members).is_some() => {
                self.ask_nats(incident, members).await
            }
            _ => NatsAnswer { impossible: false, verdict: None, seen: String::new(), furthest: None },
        };

        let mut tx = self.0.store.write().await?;
        // much may have been reported while NATS was asked
        match read(&mut tx, id).await? {
            Some((incident, members)) => match question(&incident, &members) {
                Some(Question::IsItOver) => {
                    self.conclude_end(&mut tx, job, incident, members, &answer).await?;
                }
                Some(Question::DoesItFire { since }) => {
                    self.conclude_firing(&mut tx, job, incident, members, since, &answer).await?;
                }
                None => store::jobs::finish(&mut tx, job).await?,
            },
            None => store::jobs::finish(&mut tx, job).await?,
        }
        store::commit(tx).await.context("storing what NATS says")
    }

    /// Every member was reported resolved.
    async fn conclude_end(
        &self,
        tx: &mut Tx,
        job: &LeasedJob,
        mut incident: Incident,
        members: Members,
        answer: &NatsAnswer,
    ) -> anyhow::Result<()> {
        let (now, interval) = (self.0.clock.now(), self.0.rules.verify_interval);
        let was = incident.state.name();
        let recovers = matches!(incident.state, IncidentState::Recovering { .. });
        let agreed = answer.verdict.filter(|_| incident.verdict == answer.verdict);
        incident.verdict = answer.verdict;

        let (entry, again) = match agreed {
            Some(Verdict::Below) => {
                incident.state = incident.state.resolve(Resolution::Verified, now)?;
                self.settle(tx, &mut incident, &members).await?;
                (Some((EntryKind::Resolved, format!("NATS agrees that it is over: {}", answer.seen))), None)
            }
            Some(Verdict::Above) if recovers => {
                incident.state = incident.state.relapse()?;
                let text = format!(
                    "false resolve: all alerts are reported resolved, but {}; is the exporter or Prometheus down?",
                    answer.seen
                );
                (Some((EntryKind::FalseResolve, text)), Some(interval * PATIENCE))
            }
            _ if answer.impossible || (recovers && job.attempts >= MOST_LOOKS) => {
                incident.state = incident.state.resolve(Resolution::Unverified, now)?;
                let why = if answer.impossible {
                    "NATS cannot be asked".to_owned()
                } else {
                    format!("NATS gave no clear answer in {MOST_LOOKS} looks")
                };
                let text = format!("all alerts are reported resolved; {why}: {}", answer.seen);
                // what stands against the end that is believed now is a question of its own
                let stale = members.values().filter_map(|member| member.stale_since).min();
                let pause = stale.map(|since| until(now, self.0.rules.stale_until(since)));
                (Some((EntryKind::Resolved, text)), pause)
            }
            _ if recovers => (None, Some(interval)),
            _ => (None, Some(interval * PATIENCE)),
        };
        if let Some((kind, text)) = entry {
            info!(incident.id = %incident.id, "{} of incident {}: {text}", kind.name(), incident.id);
            incident.updated_at = now;
            incident.verdict = incident.verdict.filter(|_| again.is_some());
            let entry = Entry { at: now, actor: SELF.to_owned(), kind, text, notification: None };
            store::entries::insert(tx, incident.id, &[entry]).await?;
        }
        store::incidents::save(tx, &incident, was).await?;
        match again {
            Some(pause) => store::jobs::retry(tx, job, later(now, pause), &answer.seen).await?,
            None => store::jobs::finish(tx, job).await?,
        }
        Ok(())
    }

    /// A member is said to fire although its end was told.
    async fn conclude_firing(
        &self,
        tx: &mut Tx,
        job: &LeasedJob,
        mut incident: Incident,
        members: Members,
        since: Timestamp,
        answer: &NatsAnswer,
    ) -> anyhow::Result<()> {
        let (now, rules) = (self.0.clock.now(), &self.0.rules);
        let was = incident.state.name();
        let agreed = answer.verdict.filter(|_| incident.verdict == answer.verdict);
        let stands_for_long = now >= rules.stale_until(since);
        match (agreed, answer.verdict) {
            (Some(Verdict::Above), _) => self.believe(tx, &incident, &members, &answer.seen).await?,
            (Some(Verdict::Below), _) => {
                self.settle(tx, &mut incident, &members).await?;
                store::incidents::save(tx, &incident, was).await?;
            }
            (_, None) if stands_for_long => {
                let why = "nobody has taken it back";
                self.believe(tx, &incident, &members, why).await?;
            }
            // it hovers about the threshold: nothing that says that it is true
            (_, Some(_)) if job.attempts >= MOST_LOOKS => {
                self.settle(tx, &mut incident, &members).await?;
                store::incidents::save(tx, &incident, was).await?;
            }
            (_, verdict) => {
                incident.verdict = verdict;
                store::incidents::save(tx, &incident, was).await?;
                let due_at = match verdict {
                    None => rules.stale_until(since).min(later(now, rules.stale_timeout)),
                    Some(_) => later(now, rules.verify_interval),
                };
                store::jobs::retry(tx, job, due_at, &answer.seen).await?;
                return Ok(());
            }
        }
        store::jobs::finish(tx, job).await?;
        Ok(())
    }

    /// Takes stale firings for true, as if they had just been reported by somebody who knows. Where another incident has
    /// followed, what that knows of an alert is newer.
    async fn believe(
        &self,
        tx: &mut Tx,
        incident: &Incident,
        members: &Members,
        why: &str,
    ) -> anyhow::Result<()> {
        let (now, id) = (self.0.clock.now(), incident.id);
        let newest = store::incidents::find_newest(tx, &[&incident.key.identity()]).await?;
        let follower = newest.into_iter().find(|newest| newest.id != id);
        let heard_of = match &follower {
            Some(follower) => store::alerts::list(tx, follower.id).await?,
            None => Members::new(),
        };
        let stale = members.values().filter(|member| member.stale_since.is_some());
        let alerts: Vec<Alert> = stale
            .filter(|member| !heard_of.contains_key(&member.alert.fingerprint))
            .map(|member| Alert { status: AlertStatus::Firing, ..member.alert.clone() })
            .collect();
        let text = match &follower {
            Some(follower) if alerts.is_empty() => {
                format!(
                    "what was said to fire is left to incident {}, which has heard of it since",
                    follower.id
                )
            }
            _ => format!("what was said to fire does: {why}"),
        };
        let entry =
            Entry { at: now, actor: SELF.to_owned(), kind: EntryKind::Reconciled, text, notification: None };
        store::entries::insert(tx, id, &[entry]).await?;
        let concerned = self.take_in_findings(tx, alerts, &Origin::confirmed(now)).await?;
        if follower.is_some() || !concerned.contains(&id) {
            // they belong to an incident of their own now
            self.drop_stale(tx, id, members).await?;
        }
        self.0.jobs_bell.ring();
        Ok(())
    }

    /// Drops stale firings: NATS says that it is over.
    async fn settle(&self, tx: &mut Tx, incident: &mut Incident, members: &Members) -> anyhow::Result<()> {
        incident.verdict = None;
        self.drop_stale(tx, incident.id, members).await
    }

    async fn drop_stale(&self, tx: &mut Tx, id: IncidentId, members: &Members) -> anyhow::Result<()> {
        let stale = members.values().filter(|member| member.stale_since.is_some());
        let settled: Vec<Member> =
            stale.map(|member| Member { stale_since: None, ..member.clone() }).collect();
        let settled: Vec<(IncidentId, &Member)> = settled.iter().map(|member| (id, member)).collect();
        store::alerts::save(tx, &settled).await?;
        Ok(())
    }

    /// Asks the servers that an incident is about how many connections they have.
    pub(super) async fn ask_nats(&self, incident: &Incident, members: &Members) -> NatsAnswer {
        let nothing = |seen: &str| NatsAnswer {
            impossible: true,
            verdict: None,
            seen: seen.to_owned(),
            furthest: None,
        };
        let cluster = self.clusters().find(|targets| Some(targets.name.as_str()) == incident.key.cluster());
        let Some(cluster) = cluster else {
            return nothing("the cluster is not configured any more");
        };
        let known = self.servers_of(&cluster.name);
        let mut questions: BTreeSet<(ServerKey, Threshold)> = BTreeSet::new();
        let mut incomparable = 0;
        for member in members.values() {
            let own = member.server.as_ref().map(|server| &server.key);
            // an alert that names no server may be about any
            let keys = known.iter().map(KnownServer::key);
            let servers: Vec<ServerKey> = keys.filter(|key| own.is_none_or(|own| own == key)).collect();
            match self.0.rules.threshold(&incident.key, member) {
                Some(threshold) if !servers.is_empty() => {
                    questions.extend(servers.into_iter().map(|key| (key, threshold)));
                }
                _ => incomparable += 1,
            }
        }
        if questions.is_empty() {
            return nothing("no alert has a threshold and a configured server to compare it with");
        }
        let mut answer = self.count_connections(cluster, &known, questions).await;
        if incomparable > 0 {
            // what says nothing about some says nothing about all, unless it is not over
            answer.verdict = answer.verdict.filter(|verdict| *verdict == Verdict::Above);
            answer.seen = format!("{}; {incomparable} alerts cannot be compared with anything", answer.seen);
        }
        answer
    }

    async fn count_connections(
        &self,
        cluster: &ClusterTargets,
        known: &[KnownServer],
        questions: BTreeSet<(ServerKey, Threshold)>,
    ) -> NatsAnswer {
        let mut asked = JoinSet::new();
        for server in known.iter().filter(|server| questions.iter().any(|(key, _)| *key == server.key())) {
            let (observer, cluster, server) = (self.0.observer.clone(), cluster.clone(), server.clone());
            asked.spawn(async move {
                let answer = observer.varz_of(&cluster, &server).await;
                (server.key(), answer)
            });
        }
        let answers: BTreeMap<ServerKey, _> = asked.join_all().await.into_iter().collect();

        let (mut verdicts, mut seen) = (Vec::new(), Vec::new());
        let mut furthest: Option<(u64, Threshold)> = None;
        for (key, threshold) in questions {
            match &answers[&key] {
                Ok(varz) => {
                    verdicts.push(Some(threshold.judge(varz.connections)));
                    let beyond = |(count, threshold): (u64, Threshold)| count as f64 - threshold.connections;
                    let this = (varz.connections, threshold);
                    if furthest.is_none_or(|other| beyond(this) > beyond(other)) {
                        furthest = Some(this);
                    }
                    let name = Some(excerpt(&varz.server_name)).filter(|name| !name.is_empty());
                    seen.push(format!(
                        "{} has {} connections (threshold {})",
                        name.unwrap_or_else(|| key.shown().to_owned()),
                        with_commas(varz.connections),
                        threshold.connections
                    ));
                }
                Err(error) => {
                    verdicts.push(None);
                    seen.push(error.to_string());
                }
            }
        }
        NatsAnswer { impossible: false, verdict: summed_up(&verdicts), seen: seen.join("; "), furthest }
    }
}

/// What the answers of several servers come to: one above is enough, and all must be below.
fn summed_up(verdicts: &[Option<Verdict>]) -> Option<Verdict> {
    if verdicts.contains(&Some(Verdict::Above)) {
        Some(Verdict::Above)
    } else if verdicts.contains(&None) {
        None
    } else {
        verdicts.iter().copied().flatten().max()
    }
}

/// How long it is until then; nothing if it is past.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

async fn read(conn: &mut store::Conn, id: IncidentId) -> anyhow::Result<Option<(Incident, Members)>> {
    let Some(incident) = store::incidents::find(conn, id).await.context("finding the incident")? else {
        return Ok(None);
    };
    let members = store::alerts::list(conn, id).await.context("listing its members")?;
    Ok(Some((incident, members)))
}

/// What there is to find out about an incident, if anything.
fn question(incident: &Incident, members: &Members) -> Option<Question> {
    match &incident.state {
        // what a person has ended is over
        IncidentState::Resolved { resolution: Resolution::Manual, .. } => None,
        IncidentState::Resolved { .. } => {
            let since = members.values().filter_map(|member| member.stale_since).min()?;
            Some(Question::DoesItFire { since })
        }
        _ if members.is_empty() || members.values().any(Member::is_firing) => None,
        _ => Some(Question::IsItOver),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_above_is_enough_and_all_must_be_below() {
        use Verdict::{Above, Below, Near};
        let cases = [
            (vec![Some(Below), Some(Below)], Some(Below)),
            (vec![Some(Below), Some(Near)], Some(Near)),
            (vec![Some(Below), Some(Above)], Some(Above)),
            (vec![None, Some(Above)], Some(Above)),
            (vec![None, Some(Below)], None),
        ];
        for (verdicts, expected) in cases {
            assert_eq!(summed_up(&verdicts), expected, "{verdicts:?}");
        }
    }
}
