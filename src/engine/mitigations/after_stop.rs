//! After a stop: which of those that had been asked to leave have left.
//!
//! A run that is stopped asks nobody any more. Who was asked before may leave all the same: it is looked once, when the
//! time that they had is over.

use std::collections::BTreeSet;

use anyhow::Context;
use jiff::Timestamp;

use crate::engine::mitigations::look_back::LOOK_BACK;
use crate::engine::mitigations::text::told;
use crate::engine::{Engine, SELF};
use crate::model::entry::EntryKind;
use crate::model::ids::MitigationId;
use crate::model::instants::later;
use crate::model::journal::{JournalLine, VictimState};
use crate::model::mitigation::Mitigation;
use crate::model::mitigation_rules::Pace;
use crate::model::victim::{MOST_VICTIMS, VictimKey};
use crate::store;
use crate::store::jobs::{LeasedJob, NewJob};

/// The job of the look after a stop.
pub(super) fn job(id: MitigationId, stopped_at: Timestamp, pace: &Pace) -> NewJob {
    NewJob { kind: LOOK_BACK, subject: id.to_string(), due_at: later(stopped_at, pace.drain_wait) }
}

impl Engine {
    /// Writes down which of the victims that were asked to leave before a run was stopped have left, and which have
    /// stayed. Those whose server is not seen in full stay as they are: it is not known.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub(super) async fn look_after_stop(
        &self,
        job: &LeasedJob,
        mitigation: &Mitigation,
    ) -> anyhow::Result<()> {
        let id = mitigation.id;
        let Ok(targets) = self.targets_of(&mitigation.plan.cluster) else {
            return self.finish_job(job).await;
        };
        let asked =
            store::victims::list_in(&mut *self.0.store.read().await?, id, VictimState::Asked, MOST_VICTIMS)
                .await?;
        let asked: BTreeSet<VictimKey> = asked.into_iter().map(|line| line.victim).collect();
        let (snapshot, still_there) = self.recheck(&targets, &asked, None).await;
        let now = self.0.clock.now();
        let is_complete = snapshot.coverage.complete;
        let seen_in_full: BTreeSet<&str> = snapshot
            .coverage
            .each_server()
            .filter(|server| server.error.is_none())
            .filter_map(|server| server.server_id.as_deref())
            .collect();
        let lines = asked.into_iter().filter_map(|victim| {
            let state = if still_there.meant.contains(&victim) {
                VictimState::Stayed
            } else if is_complete || seen_in_full.contains(victim.server_id.as_str()) {
                VictimState::Left
            } else {
                return None;
            };
            Some(JournalLine { victim, state, at: now, error: None })
        });
        let lines: Vec<JournalLine> = lines.collect();

        let mut tx = self.0.store.write().await?;
        store::victims::record(&mut tx, id, &lines).await?;
        let counts = store::victims::counts(&mut tx, id).await?;
        let text = format!("after the stop: {}", told(&counts));
        self.note(&mut tx, mitigation.id, mitigation.incident, SELF, EntryKind::MitigationLooked, text)
            .await?;
        store::jobs::finish(&mut tx, job).await?;
        store::commit(tx).await.context("storing who has left after the stop")
    }
}
