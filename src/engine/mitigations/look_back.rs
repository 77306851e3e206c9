//! Looking back: some time after a run, how many of those that were cut have come back.
//!
//! A look is a job of its own, some seconds to minutes after the last victim. The last one says what the mitigation
//! achieved.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;

use crate::engine::mitigations::frozen::request_of;
use crate::engine::{Engine, SELF};
use crate::mitigate::judge::{self, Count, DIMENSIONS};
use crate::model::breakdown::By;
use crate::model::entry::EntryKind;
use crate::model::ids::MitigationId;
use crate::model::instants::later;
use crate::model::journal::VictimState;
use crate::model::mitigation::{Mitigation, MitigationState, Outcome};
use crate::model::mitigation_look::Look;
use crate::model::mitigation_rules::Pace;
use crate::model::picking::PickingRules;
use crate::model::plan::PlanRequest;
use crate::model::printable::span;
use crate::model::protection::Protection;
use crate::model::snapshot::Snapshot;
use crate::model::victim::{MOST_VICTIMS, Victim, VictimLimits};
use crate::observe::sweep::ClusterTargets;
use crate::observe::wishes::Wishes;
use crate::store;
use crate::store::jobs::{LeasedJob, NewJob};

/// The kind of the job.
pub const LOOK_BACK: &str = "mitigation_look";

/// The job of the first look after a run.
pub(super) fn first_look(id: MitigationId, executed_at: Timestamp, pace: &Pace) -> NewJob {
    let after = pace.verify_after.first().copied().unwrap_or_default();
    NewJob { kind: LOOK_BACK, subject: id.to_string(), due_at: later(executed_at, after) }
}

/// What has to be counted to see who came back.
pub(super) fn wishes() -> Wishes {
    Wishes::by(&DIMENSIONS.map(By::from))
}

impl Engine {
    /// Looks at the cluster some time after a run, and in the end says what it achieved.
    ///
    /// # Errors
    ///
    /// The store failed.
    #[tracing::instrument(name = "job.mitigation_look", skip_all, fields(mitigation.id = %job.subject))]
    pub async fn look_back(&self, job: &LeasedJob) -> anyhow::Result<()> {
        let id: MitigationId = job.subject.parse().context("reading the mitigation's id from the job")?;
        let mut conn = self.0.store.read().await?;
        let mitigation = store::mitigations::find(&mut conn, id).await?;
        let Some(mitigation) = mitigation else {
            drop(conn);
            return self.finish_job(job).await;
        };
        let executed_at = match mitigation.state {
            MitigationState::Verifying { executed_at, .. } => executed_at,
            MitigationState::Stopped { .. } => {
                drop(conn);
                return self.look_after_stop(job, &mitigation).await;
            }
            _ => {
                drop(conn);
                return self.finish_job(job).await;
            }
        };
        let before: Option<Count> = store::mitigations::find_before(&mut conn, id).await?;
        let looks: Vec<Look> = store::mitigations::list_looks(&mut conn, id).await?;
        let mut cut = Vec::new();
        for state in [VictimState::Confirmed, VictimState::Left] {
            cut.extend(
                store::victims::list_in(&mut conn, id, state, MOST_VICTIMS)
                    .await?
                    .into_iter()
                    .map(|line| line.victim),
            );
        }
        drop(conn);
        let cut: BTreeSet<_> = cut.into_iter().collect();
        let victims: Vec<Victim> =
            mitigation.plan.victims.iter().filter(|victim| cut.contains(&victim.key)).cloned().collect();

        let now = self.0.clock.now();
        let after = Duration::try_from(now.duration_since(executed_at)).unwrap_or_default();
        // a clock that was set back must not make two looks of one time
        let last = looks.last().map(|look| Duration::from_millis(look.after_ms));
        let after = last.map_or(after, |last| after.max(last + Duration::from_millis(1)));
        let look = match (self.targets_of(&mitigation.plan.cluster), before) {
            (Ok(targets), Some(before)) => {
                let request = request_of(&mitigation)?;
                let (snapshot, matched) = self.count_selected(&targets, &request).await;
                let count = Count::of(&snapshot, matched, &victims);
                let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                Some(judge::look(&victims, &before, &count, now, after_ms))
            }
            _ => None,
        };
        self.keep_look(job, mitigation, executed_at, look, looks.len(), after).await
    }

    async fn keep_look(
        &self,
        job: &LeasedJob,
        mut mitigation: Mitigation,
        executed_at: Timestamp,
        look: Option<Look>,
        earlier: usize,
        after: Duration,
    ) -> anyhow::Result<()> {
        let (id, now) = (mitigation.id, self.0.clock.now());
        let mut tx = self.0.store.write().await?;
        if let Some(look) = &look {
            store::mitigations::save_look(&mut tx, id, after, look).await?;
            let text = format!("{} after the last victim: {}", span(after.as_secs()), look.summary());
            self.note(&mut tx, mitigation.id, mitigation.incident, SELF, EntryKind::MitigationLooked, text)
                .await?;
        }
        let next = self.0.mitigations.rules.pace.verify_after.get(earlier + 1);
        match (next, look) {
            (Some(next), Some(_)) => {
                // at the latest as long after this one: by a clock that was set back the run may not have ended yet
                let due_at = later(executed_at, *next).min(later(now, *next));
                let due_at = due_at.max(later(now, Duration::from_millis(1)));
                store::jobs::retry(&mut tx, job, due_at, "the next look").await?;
            }
            (_, look) => {
                let (outcome, conclusion) = match &look {
                    Some(look) => judge::conclude(look),
                    None => (Outcome::Inconclusive, "the cluster is not configured any more".to_owned()),
                };
                mitigation.state = mitigation.state.clone().finish(outcome, &conclusion, now)?;
                store::mitigations::save(&mut tx, mitigation.id, &mitigation.state, "verifying").await?;
                let text = format!("{}: {conclusion}", outcome.name());
                self.note(
                    &mut tx,
                    mitigation.id,
                    mitigation.incident,
                    SELF,
                    EntryKind::MitigationFinished,
                    text,
                )
                .await?;
                store::jobs::finish(&mut tx, job).await?;
            }
        }
        store::commit(tx).await.context("storing what was seen after the mitigation")?;
        if let MitigationState::Finished { outcome, .. } = &mitigation.state {
            self.0.metrics.mitigations.ended(mitigation.plan.action.name(), outcome.name());
            super::log(&mitigation, SELF);
        }
        Ok(())
    }

    /// Leaves it open what a mitigation achieved, because nobody looks any more.
    pub(in crate::engine) async fn leave_undecided(&self, id: MitigationId, why: &str) -> anyhow::Result<()> {
        let mut tx = self.0.store.write().await?;
        let found = store::mitigations::find_summary(&mut tx, id).await?;
        let Some(mut mitigation) = found else { return Ok(()) };
        if !matches!(mitigation.state, MitigationState::Verifying { .. }) {
            return Ok(());
        }
        let outcome = Outcome::Inconclusive;
        mitigation.state = mitigation.state.clone().finish(outcome, why, self.0.clock.now())?;
        store::mitigations::save(&mut tx, mitigation.id, &mitigation.state, "verifying").await?;
        let text = format!("{}: {why}", outcome.name());
        self.note(&mut tx, mitigation.id, mitigation.incident, SELF, EntryKind::MitigationFinished, text)
            .await?;
        store::commit(tx).await.context("leaving open what a mitigation achieved")?;
        self.0.metrics.mitigations.ended(mitigation.action.name(), outcome.name());
        super::log_summary(&mitigation, SELF);
        Ok(())
    }

    /// Looks at a cluster, and counts the connections that a selector means.
    async fn count_selected(&self, targets: &ClusterTargets, request: &PlanRequest) -> (Snapshot, u64) {
        let nobody = VictimLimits { at_most: 0, keep: 0, ..request.limits };
        let rules = PickingRules {
            selector: request.selector.clone(),
            protection: Protection::default(),
            order: request.order,
            limits: nobody,
        };
        let (snapshot, found) = self.pick(targets, &wishes(), rules).await;
        (snapshot, found.picked.matched)
    }
}
