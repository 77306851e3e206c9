//! Running: one batch of victims at a time.
//!
//! Each batch is a job of its own, so that a run can be stopped between any two, takes no worker for long, and stands in
//! the store wherever it is. What is about to be done to a victim is written down before it is asked for, and what became
//! of it after; whatever happens in between, it is not asked for twice.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::engine::mitigations::after_stop;
use crate::engine::mitigations::look_back::first_look;
use crate::engine::mitigations::text::told;
use crate::engine::{Engine, SELF};
use crate::model::entry::EntryKind;
use crate::model::ids::MitigationId;
use crate::model::instants::later;
use crate::model::journal::{JournalLine, VictimState};
use crate::model::mitigation::{Mitigation, MitigationState, MitigationSummary, StopReason};
use crate::model::plan::ActionKind;
use crate::model::victim::VictimKey;
use crate::nats::system::SystemAccount;
use crate::nats::system::control::Done;
use crate::observe::sweep::ClusterTargets;
use crate::store::jobs::LeasedJob;
use crate::store::{self, Conn, StoreError};

/// The kind of the job.
pub const RUN: &str = "mitigation_run";

/// How many requests of a batch are under way at once.
pub const REQUESTS_AT_ONCE: usize = 16;

/// What is to be done to a victim now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    /// It is cut.
    Kick,
    /// It is asked to leave.
    LameDuck,
    /// It is cut, having been asked to leave, if it has not.
    KickWhoStayed,
}

impl Request {
    /// What becomes of a victim whose turn in the batch does not come.
    fn unasked(self) -> VictimState {
        match self {
            Self::Kick | Self::LameDuck => VictimState::Spared,
            // it was asked before, and may still leave
            Self::KickWhoStayed => VictimState::Asked,
        }
    }
}

/// What requests of an action may make of victims.
pub(super) fn results(action: ActionKind) -> &'static [VictimState] {
    match action {
        ActionKind::Kick => &[VictimState::Confirmed, VictimState::Gone, VictimState::Error],
        ActionKind::Drain => &[
            VictimState::Asked,
            VictimState::Left,
            VictimState::Confirmed,
            VictimState::Gone,
            VictimState::Error,
        ],
    }
}

/// What the next batch is.
enum Next {
    /// These, and what is done to them.
    Batch(Request, Vec<VictimKey>),
    /// Nothing before then: those that were asked to leave have that long.
    Wait(Timestamp),
    /// There is nothing left to do.
    Nothing,
}

impl Engine {
    /// Deals with one batch of a run, and queues the next.
    ///
    /// # Errors
    ///
    /// The store failed. What was asked for is not asked for again.
    #[tracing::instrument(name = "job.mitigation_run", skip_all, fields(mitigation.id = %job.subject))]
    pub async fn run_mitigation(&self, job: &LeasedJob) -> anyhow::Result<()> {
        let id: MitigationId = job.subject.parse().context("reading the mitigation's id from the job")?;
        let mut conn = self.0.store.read().await?;
        let Some(running) = find_running(&mut conn, id).await? else {
            drop(conn);
            return self.leave_stopped(job, id).await;
        };
        let counts = store::victims::counts(&mut conn, id).await?;
        drop(conn);
        if let Some(sent) = counts.get(&VictimState::Sent) {
            // the batch before did not come to its end: what became of it is not known
            let text = format!(
                "the batch before was cut short; of {sent} victims it is not known whether they were {}",
                running.action.does()
            );
            self.stop_run(id, SELF, StopReason::Interrupted, &text).await?;
            return self.finish_job(job).await;
        }
        let mitigation = self.mitigation_of(id).await?;
        let next = self.next_batch(&mitigation).await?;
        // whom a batch spared, it broke off
        if matches!(next, Next::Nothing) && !counts.contains_key(&VictimState::Spared) {
            return self.complete_run(job, Mitigation::clone(&mitigation)).await;
        }
        let targets = self.targets_of(&mitigation.plan.cluster)?;
        if let Some((reason, text)) = self.reason_to_stop(&mitigation, &targets, &counts).await? {
            self.stop_run(id, SELF, reason, &text).await?;
            return self.finish_job(job).await;
        }
        match next {
            Next::Batch(request, victims) => {
                self.run_batch(job, &mitigation, &targets, request, victims).await
            }
            Next::Wait(until) => {
                let mut tx = self.0.store.write().await?;
                store::jobs::retry(&mut tx, job, until, "waiting for those that were asked to leave").await?;
                store::commit(tx).await.context("putting the job back")
            }
            Next::Nothing => self.complete_run(job, Mitigation::clone(&mitigation)).await,
        }
    }

    /// Ends the job of a run that was stopped. A batch that was under way then may have asked clients to leave since.
    async fn leave_stopped(&self, job: &LeasedJob, id: MitigationId) -> anyhow::Result<()> {
        self.0.mitigations.runs.forget(id);
        let now = self.0.clock.now();
        let mut tx = self.0.store.write().await?;
        if store::victims::counts(&mut tx, id).await?.contains_key(&VictimState::Asked) {
            let look = after_stop::job(id, now, &self.0.mitigations.rules.pace);
            store::jobs::insert(&mut tx, &[look], now).await?;
        }
        store::jobs::finish(&mut tx, job).await?;
        store::commit(tx).await.context("ending the job of a run that was stopped")
    }

    pub(super) async fn finish_job(&self, job: &LeasedJob) -> anyhow::Result<()> {
        let mut tx = self.0.store.write().await?;
        store::jobs::finish(&mut tx, job).await?;
        store::commit(tx).await.context("ending the job")
    }

    async fn next_batch(&self, mitigation: &Mitigation) -> anyhow::Result<Next> {
        let (id, now) = (mitigation.id, self.0.clock.now());
        let pace = &self.0.mitigations.rules.pace;
        let mut conn = self.0.store.read().await?;
        // who comes first was asked first
        let asked = store::victims::list_in(&mut conn, id, VictimState::Asked, pace.batch).await?;
        // by a clock that was set back since, they may not have been asked yet: then their time is over
        let due = asked.iter().filter(|line| line.at > now || later(line.at, pace.drain_wait) <= now);
        let due: Vec<VictimKey> = due.map(|line| line.victim.clone()).collect();
        if !due.is_empty() {
            return Ok(Next::Batch(Request::KickWhoStayed, due));
        }
        let pending = store::victims::list_in(&mut conn, id, VictimState::Pending, pace.batch).await?;
        let pending: Vec<VictimKey> = pending.into_iter().map(|line| line.victim).collect();
        if !pending.is_empty() {
            let request = match mitigation.plan.action {
                ActionKind::Kick => Request::Kick,
                ActionKind::Drain => Request::LameDuck,
            };
            return Ok(Next::Batch(request, pending));
        }
        Ok(match asked.iter().map(|line| line.at).min() {
            Some(first) => Next::Wait(later(first, pace.drain_wait)),
            None => Next::Nothing,
        })
    }

    async fn run_batch(
        &self,
        job: &LeasedJob,
        mitigation: &Mitigation,
        targets: &ClusterTargets,
        request: Request,
        victims: Vec<VictimKey>,
    ) -> anyhow::Result<()> {
        let id = mitigation.id;
        let at = self.0.clock.now();
        let before: Vec<JournalLine> =
            victims.iter().map(|victim| line(victim, VictimState::Sent, at, None)).collect();
        let mut tx = self.0.store.write().await?;
        // somebody may have stopped it while the servers were looked at
        if find_running(&mut tx, id).await?.is_none() {
            drop(tx);
            return self.leave_stopped(job, id).await;
        }
        store::victims::record(&mut tx, id, &before).await?;
        store::commit(tx).await.context("writing down whom the batch is about")?;

        let account = targets.actor.as_ref().or(targets.system.as_ref());
        let account = account.context("the cluster has no system account any more")?;
        let most_errors = u64::from(self.0.mitigations.rules.guards.stop_errors);
        let goes_on = |errors: u64| errors < most_errors && self.0.mitigations.runs.has(id);
        let after = ask_all(account, request, victims, at, goes_on).await;

        let mut tx = self.0.store.write().await?;
        store::victims::record(&mut tx, id, &after).await?;
        let counts = count(&after);
        let what = match request {
            Request::LameDuck => "asked to leave",
            Request::Kick => "cut",
            Request::KickWhoStayed => "cut, as far as they had not left",
        };
        let text = format!("a batch of {} was {what}: {}", after.len(), told(&counts));
        self.note(&mut tx, mitigation.id, mitigation.incident, SELF, EntryKind::MitigationBatch, text)
            .await?;
        let due_at = later(self.0.clock.now(), self.0.mitigations.rules.pace.batch_pause);
        store::jobs::retry(&mut tx, job, due_at, "the next batch").await?;
        store::commit(tx).await.context("writing down what became of the batch")?;
        for (state, count) in counts.into_iter().filter(|(state, _)| *state != request.unasked()) {
            self.0.metrics.mitigations.requests(mitigation.plan.action.name(), state.name(), count);
        }
        self.0.jobs_bell.ring();
        Ok(())
    }

    async fn complete_run(&self, job: &LeasedJob, mut mitigation: Mitigation) -> anyhow::Result<()> {
        let now = self.0.clock.now();
        let mut tx = self.0.store.write().await?;
        let counts = store::victims::counts(&mut tx, mitigation.id).await?;
        mitigation.state = mitigation.state.clone().complete(now)?;
        store::mitigations::save(&mut tx, mitigation.id, &mitigation.state, "running").await?;
        let text = format!("executed: {}", told(&counts));
        self.note(&mut tx, mitigation.id, mitigation.incident, SELF, EntryKind::MitigationExecuted, text)
            .await?;
        store::jobs::finish(&mut tx, job).await?;
        let look = first_look(mitigation.id, now, &self.0.mitigations.rules.pace);
        store::jobs::insert(&mut tx, &[look], now).await?;
        store::commit(tx).await.context("ending the run")?;
        self.0.mitigations.runs.forget(mitigation.id);
        self.0.jobs_bell.ring();
        super::log(&mitigation, SELF);
        Ok(())
    }
}

async fn find_running(conn: &mut Conn, id: MitigationId) -> Result<Option<MitigationSummary>, StoreError> {
    let summary = store::mitigations::find_summary(conn, id).await?;
    Ok(summary.filter(|it| matches!(it.state, MitigationState::Running { .. })))
}

/// Sends the requests of a batch, some at once, and waits for what the servers say. Nobody else is asked once it does not
/// go on any more, by how many requests have failed.
async fn ask_all(
    account: &SystemAccount,
    request: Request,
    victims: Vec<VictimKey>,
    at: Timestamp,
    goes_on: impl Fn(u64) -> bool,
) -> Vec<JournalLine> {
    let (mut asking, mut lines) = (JoinSet::new(), Vec::with_capacity(victims.len()));
    let mut errors = 0;
    for victim in victims {
        if asking.len() >= REQUESTS_AT_ONCE
            && let Some(Ok(answered)) = asking.join_next().await
        {
            let answered: JournalLine = answered;
            errors += u64::from(answered.state == VictimState::Error);
            lines.push(answered);
        }
        if !goes_on(errors) {
            lines.push(line(&victim, request.unasked(), at, None));
            continue;
        }
        let account = account.clone();
        asking.spawn(async move { ask(&account, request, victim, at).await });
    }
    lines.extend(asking.join_all().await);
    lines
}

async fn ask(account: &SystemAccount, request: Request, victim: VictimKey, at: Timestamp) -> JournalLine {
    let answer = match request {
        Request::LameDuck => account.lame_duck(&victim.server_id, victim.cid).await,
        Request::Kick | Request::KickWhoStayed => account.kick(&victim.server_id, victim.cid).await,
    };
    let (state, error) = match (answer, request) {
        // who cannot be asked is cut when the others have had their time
        (Ok(Done::Yes | Done::NotUnderstood), Request::LameDuck) => (VictimState::Asked, None),
        (Ok(Done::Yes | Done::NotUnderstood), _) => (VictimState::Confirmed, None),
        (Ok(Done::NotThere), Request::KickWhoStayed) => (VictimState::Left, None),
        (Ok(Done::NotThere), _) => (VictimState::Gone, None),
        (Err(error), _) => (VictimState::Error, Some(error.to_string())),
    };
    line(&victim, state, at, error)
}

fn line(victim: &VictimKey, state: VictimState, at: Timestamp, error: Option<String>) -> JournalLine {
    JournalLine { victim: victim.clone(), state, at, error }
}

fn count(lines: &[JournalLine]) -> BTreeMap<VictimState, u64> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line.state).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::mitigations::tests::{Scene, running};

    #[tokio::test]
    async fn a_run_that_is_stopped_while_its_servers_are_looked_at_is_not_kept_for_ever() {
        let scene = Scene::make().await;
        let (engine, run) = (&scene.engine, scene.insert("prod", running()).await);
        let job = scene.run_of(&run).await;
        let targets = engine.targets_of("prod").unwrap();
        engine.stop_mitigation(run.id, "ann", "wrong one").await.unwrap();
        // that was a moment ago: the look had begun before
        let watched =
            engine.reason_to_stop(&Arc::new(run.clone()), &targets, &BTreeMap::new()).await.unwrap();
        assert_eq!(watched, None);
        assert!(engine.0.mitigations.runs.has(run.id));
        let victims = vec![run.plan.victims[0].key.clone()];
        engine.run_batch(&job, &run, &targets, Request::LameDuck, victims).await.unwrap();
        assert!(!engine.0.mitigations.runs.has(run.id));
        let counts = store::victims::counts(&mut engine.0.store.read().await.unwrap(), run.id).await.unwrap();
        assert_eq!(counts, BTreeMap::from([(VictimState::Spared, 2)]));
    }
}
