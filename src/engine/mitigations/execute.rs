//! Beginning a run: the last look before the first victim, the guards once more, and the lease on the cluster.

use std::collections::BTreeSet;

use super::view::Seen;
use super::{MitigateError, named};
use crate::engine::Engine;
use crate::engine::mitigations::frozen::{frozen, kept_by, request_of, still_meant};
use crate::engine::mitigations::look_back::wishes;
use crate::engine::mitigations::run::RUN;
use crate::engine::mitigations::text::because;
use crate::engine::texts::checked;
use crate::mitigate::guards::{Draft, Initiator, judge};
use crate::mitigate::judge::Count;
use crate::model::entry::EntryKind;
use crate::model::guard::{GuardKind, GuardVerdict};
use crate::model::ids::MitigationId;
use crate::model::journal::{JournalLine, VictimState};
use crate::model::mitigation::{Mitigation, MitigationState};
use crate::model::printable::with_commas;
use crate::model::victim::{KeepOf, VictimKey};
use crate::observe::picks::StillThere;
use crate::observe::wishes::Wishes;
use crate::store::jobs::NewJob;
use crate::store::{self, StoreError};

impl Engine {
    /// Begins the run of an approved mitigation, if the cluster is still what it was planned for and no guard blocks it.
    ///
    /// # Errors
    ///
    /// It is not approved, another plan was looked at, the approval has ended, the plan is stale, guards block it, or
    /// another run goes on in the cluster.
    #[tracing::instrument(name = "engine.mitigations.execute", skip_all, fields(mitigation.id = %id))]
    pub async fn execute_mitigation(
        &self,
        id: MitigationId,
        digest: &str,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<Mitigation, MitigateError> {
        let reason = reason.map(checked).transpose()?;
        let found = store::mitigations::find(&mut *self.0.store.read().await?, id).await?;
        let mitigation = named(found.ok_or(MitigateError::UnknownMitigation(id))?, digest)?;
        let now = self.0.clock.now();
        // whatever is no longer approved is told first
        mitigation.state.clone().start(actor, now)?;
        if let MitigationState::Approved { valid_until, .. } = mitigation.state
            && now >= valid_until
        {
            return Err(self
                .expire(mitigation, actor, format!("its approval ended at {valid_until}"))
                .await?);
        }
        let targets = self.targets_of(&mitigation.plan.cluster)?;
        let request = request_of(&mitigation)?;

        let victims: BTreeSet<VictimKey> =
            mitigation.plan.victims.iter().map(|victim| victim.key.clone()).collect();
        let (rechecked, still_there) = self.recheck(&targets, &victims, still_meant(&request)).await;
        let left = victims.len() - still_there.meant.len();
        let share = left as f64 * 100.0 / victims.len().max(1) as f64;
        if rechecked.coverage.complete && share > self.0.mitigations.rules.guards.replan_threshold_percent {
            let text = format!(
                "{} of {} victims have left, or are not what was meant any more, since it was made",
                with_commas(left as u64),
                with_commas(victims.len() as u64)
            );
            return Err(self.expire(mitigation, actor, text).await?);
        }
        let incident = match mitigation.incident {
            Some(id) => store::incidents::find(&mut *self.0.store.read().await?, id).await?,
            None => None,
        };
        let mut wanted = wishes();
        if request.limits.keep_of == KeepOf::ApplicationAndIp {
            wanted.absorb(&Wishes::by(&[kept_by()]));
        }
        let (snapshot, found, protection) = self.find_victims(&targets, &request, &wanted).await;
        // who was not seen at either look is not known to have left
        let coverage = if rechecked.coverage.complete { &snapshot.coverage } else { &rechecked.coverage };
        let seen = Seen { coverage, other_wardens: &found.other_wardens, protection };
        let view = self.view(&targets, incident.as_ref(), &request, seen, Some(id)).await?;
        // the victims that were approved, in the cluster as it is now
        let before = Count::of(&snapshot, found.picked.matched, &mitigation.plan.victims);
        let picked = frozen(&mitigation, &still_there.meant, &snapshot, found.picked);
        let draft = Draft {
            request: &request,
            picked: &picked,
            taken_at: snapshot.taken_at,
            has_incident: mitigation.incident.is_some(),
            by: Initiator::Person,
        };
        let verdicts = judge(&draft, &view, &self.0.mitigations.rules.guards);
        let blocking: Vec<GuardVerdict> = verdicts.into_iter().filter(|verdict| !verdict.passes).collect();
        if blocking.iter().any(|verdict| verdict.guard == GuardKind::OneRun) {
            // it may run later, as long as its approval lasts
            return Err(MitigateError::Busy(targets.name));
        }
        if !blocking.is_empty() {
            let tx = self.0.store.write().await?;
            self.refuse(tx, mitigation, actor, blocking.clone()).await?;
            return Err(MitigateError::Blocked(blocking));
        }
        self.start(mitigation, actor, reason.as_deref(), &still_there, before).await
    }

    async fn start(
        &self,
        mut mitigation: Mitigation,
        actor: &str,
        reason: Option<&str>,
        still_there: &StillThere,
        before: Count,
    ) -> Result<Mitigation, MitigateError> {
        let now = self.0.clock.now();
        let was = mitigation.state.name();
        mitigation.state = mitigation.state.clone().start(actor, now)?;
        let left_out: Vec<JournalLine> = mitigation
            .plan
            .victims
            .iter()
            .filter(|victim| !still_there.meant.contains(&victim.key))
            .map(|victim| {
                let is_there = still_there.changed.contains(&victim.key);
                let state = if is_there { VictimState::Changed } else { VictimState::Gone };
                JournalLine { victim: victim.key.clone(), state, at: now, error: None }
            })
            .collect();
        let mut tx = self.0.store.write().await?;
        match store::mitigations::save(&mut tx, mitigation.id, &mitigation.state, was).await {
            Err(StoreError::Conflict("cluster")) => {
                return Err(MitigateError::Busy(mitigation.plan.cluster));
            }
            saved => saved?,
        }
        store::victims::record(&mut tx, mitigation.id, &left_out).await?;
        store::mitigations::save_before(&mut tx, mitigation.id, &before).await?;
        let job = NewJob { kind: RUN, subject: mitigation.id.to_string(), due_at: now };
        store::jobs::insert(&mut tx, &[job], now).await?;
        let changed = match still_there.changed.len() as u64 {
            0 => String::new(),
            changed => format!(", and {} that are no longer meant", with_commas(changed)),
        };
        let text = format!(
            "started: {} of {} victims are still there{changed}{}",
            with_commas(still_there.meant.len() as u64),
            with_commas(mitigation.plan.victims.len() as u64),
            because(reason)
        );
        self.note(&mut tx, mitigation.id, mitigation.incident, actor, EntryKind::MitigationStarted, text)
            .await?;
        store::commit(tx).await?;
        super::log(&mitigation, actor);
        self.0.jobs_bell.ring();
        Ok(mitigation)
    }
}
