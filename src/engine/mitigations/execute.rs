//! Beginning a run: the last look before the first victim, the guards once more, and the lease on the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use tracing::{error, warn};

use super::view::Seen;
use super::{MitigateError, named};
use crate::engine::mitigations::after_stop;
use crate::engine::mitigations::look_back::wishes;
use crate::engine::mitigations::run::RUN;
use crate::engine::texts::checked;
use crate::engine::{Engine, SELF};
use crate::mitigate::guards::{Draft, Initiator, judge};
use crate::mitigate::judge::Count;
use crate::model::breakdown::{By, Dimension};
use crate::model::entry::EntryKind;
use crate::model::guard::{GuardKind, GuardVerdict};
use crate::model::ids::MitigationId;
use crate::model::journal::{JournalLine, VictimState};
use crate::model::mitigation::{Mitigation, MitigationState, MitigationSummary, StopReason};
use crate::model::picking::{Picked, PickedGroup};
use crate::model::plan::PlanRequest;
use crate::model::printable::with_commas;
use crate::model::selector::{Conditions, Selector};
use crate::model::snapshot::Snapshot;
use crate::model::victim::{KeepOf, Victim, VictimKey};
use crate::observe::picks::StillThere;
use crate::observe::wishes::Wishes;
use crate::store::jobs::NewJob;
use crate::store::{self, StoreError};

/// How long a plan or a proposal waits for somebody.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// How many are given up at a time.
const MOST_AT_ONCE: u32 = 100;

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
        let reason = reason.map(super::checked).transpose()?;
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
            super::because(reason)
        );
        self.note(&mut tx, mitigation.id, mitigation.incident, actor, EntryKind::MitigationStarted, text)
            .await?;
        store::commit(tx).await?;
        super::log(&mitigation, actor);
        self.0.jobs_bell.ring();
        Ok(mitigation)
    }

    /// Stops a run, because a person wants it: nobody else is asked, also of a batch that goes on. What has been done stays
    /// done.
    ///
    /// # Errors
    ///
    /// It does not run.
    #[tracing::instrument(name = "engine.mitigations.stop", skip_all, fields(mitigation.id = %id))]
    pub async fn stop_mitigation(
        &self,
        id: MitigationId,
        actor: &str,
        reason: &str,
    ) -> Result<MitigationSummary, MitigateError> {
        let reason = checked(reason)?;
        self.stop_run(id, actor, StopReason::Asked, &reason).await
    }

    /// Ends a run where it stands.
    pub(in crate::engine) async fn stop_run(
        &self,
        id: MitigationId,
        actor: &str,
        stop: StopReason,
        text: &str,
    ) -> Result<MitigationSummary, MitigateError> {
        let now = self.0.clock.now();
        let mut tx = self.0.store.write().await?;
        let mut mitigation = super::find_summary(&mut tx, id).await?;
        let was = mitigation.state.name();
        mitigation.state = mitigation.state.clone().stop(actor, now, stop, text)?;
        store::mitigations::save(&mut tx, mitigation.id, &mitigation.state, was).await?;
        store::victims::spare_pending(&mut tx, id, now).await?;
        let counts = store::victims::counts(&mut tx, id).await?;
        if counts.contains_key(&VictimState::Asked) {
            let look = after_stop::job(id, now, &self.0.mitigations.rules.pace);
            store::jobs::insert(&mut tx, &[look], now).await?;
        }
        let text = format!("stopped ({}): {text}; {}", stop.name(), told(&counts));
        self.note(&mut tx, mitigation.id, mitigation.incident, actor, EntryKind::MitigationStopped, text)
            .await?;
        store::commit(tx).await?;
        self.0.mitigations.runs.forget(id);
        self.0.jobs_bell.ring();
        self.0.metrics.mitigations.ended(mitigation.action.name(), stop.name());
        super::log_summary(&mitigation, actor);
        Ok(mitigation)
    }

    /// Ends the runs that were going on when the process ended: what became of the last victims is not known, and
    /// nothing is repeated. Says how many it ended; one that cannot be read is told of in the log, and cannot go on either.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn interrupt_mitigations(&self) -> Result<usize, MitigateError> {
        let running = store::mitigations::list_running(&mut *self.0.store.read().await?).await?;
        let mut ended = 0;
        for id in running {
            let text = "connwarden ended while it ran; it is not taken up again: make a new plan";
            match self.stop_run(id, SELF, StopReason::Interrupted, text).await {
                Ok(_) => ended += 1,
                Err(MitigateError::Store(error @ StoreError::Corrupt { .. })) => error!(
                    mitigation.id = %id,
                    "mitigation {id} ran when connwarden ended and cannot be stopped: {error}; \
                     nothing else begins in its cluster"
                ),
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }

    /// Gives up what has waited too long: plans and proposals that nobody approved within a day, and approvals that have
    /// ended. What cannot be given up is told of in the log.
    pub(in crate::engine) async fn expire_overdue(&self) {
        let overdue = match self.list_overdue().await {
            Ok(overdue) => overdue,
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot give up the mitigations that wait for too long: {error}"
                );
                return;
            }
        };
        for id in overdue {
            match self.expire_late(id).await {
                // somebody was quicker
                Ok(())
                | Err(MitigateError::Transition(_) | MitigateError::Store(StoreError::Conflict(_))) => {}
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    warn!(mitigation.id = %id, "cannot give up mitigation {id}, which waits for too long: {error:#}");
                }
            }
        }
    }

    async fn list_overdue(&self) -> Result<Vec<MitigationId>, StoreError> {
        let now = self.0.clock.now();
        let before = now.checked_sub(PATIENCE).unwrap_or(Timestamp::MIN);
        store::mitigations::list_overdue(&mut *self.0.store.read().await?, now, before, MOST_AT_ONCE).await
    }

    async fn expire_late(&self, id: MitigationId) -> Result<(), MitigateError> {
        let found = store::mitigations::find(&mut *self.0.store.read().await?, id).await?;
        let Some(mitigation) = found else { return Ok(()) };
        self.expire(mitigation, SELF, "nobody approved or executed it in time".to_owned()).await?;
        Ok(())
    }

    async fn expire(
        &self,
        mitigation: Mitigation,
        actor: &str,
        why: String,
    ) -> Result<MitigateError, MitigateError> {
        let tx = self.0.store.write().await?;
        let expired = mitigation.state.clone().expire(self.0.clock.now(), &why)?;
        let text = format!("expired: {why}");
        self.move_on(tx, mitigation, expired, actor, EntryKind::MitigationExpired, text).await?;
        Ok(MitigateError::Stale(why))
    }
}

/// The victims of a plan that are still there, in the cluster as it is now: nobody is added. Groups of which it is not known
/// how many there are of them are left out.
fn frozen(
    mitigation: &Mitigation,
    still_there: &BTreeSet<VictimKey>,
    snapshot: &Snapshot,
    now: Picked,
) -> Picked {
    let limits = &mitigation.plan.limits;
    let victims: Vec<Victim> =
        mitigation.plan.victims.iter().filter(|victim| still_there.contains(&victim.key)).cloned().collect();
    let mut groups: BTreeMap<(Option<String>, Option<IpAddr>), u64> = BTreeMap::new();
    if limits.keep > 0 {
        for victim in &victims {
            let ip = victim.ip.filter(|_| limits.keep_of == KeepOf::ApplicationAndIp);
            *groups.entry((victim.application.clone(), ip)).or_default() += 1;
        }
    }
    let groups = groups.into_iter().filter_map(|((application, ip), victims)| {
        let total = connections_of(snapshot, limits.keep_of, application.as_deref(), ip)?;
        Some(PickedGroup { application, ip, total, victims })
    });
    Picked { groups: groups.collect(), victims, ..now }
}

/// How many connections there are of an application, or of it at an address; nothing if they may be among those that are
/// not told apart.
fn connections_of(
    snapshot: &Snapshot,
    keep_of: KeepOf,
    application: Option<&str>,
    ip: Option<IpAddr>,
) -> Option<u64> {
    let application = application.unwrap_or(Dimension::Application.absent());
    let (by, key) = match keep_of {
        KeepOf::Application => (By::from(Dimension::Application), None),
        KeepOf::ApplicationAndIp => {
            let ip = ip.map_or_else(|| Dimension::Ip.absent().to_owned(), |ip| ip.to_string());
            (kept_by(), Some(ip))
        }
    };
    let breakdown = snapshot.breakdowns.get(&by)?;
    let group = breakdown.groups.iter().find(|group| match &key {
        None => group.key == application,
        Some(ip) => {
            group.keys.get(&Dimension::Application).is_some_and(|key| key == application)
                && group.keys.get(&Dimension::Ip) == Some(ip)
        }
    });
    match group {
        Some(group) => Some(group.figures.connections),
        None => (breakdown.other.figures.connections == 0).then_some(0),
    }
}

/// By what minimums of each application at each address are counted.
fn kept_by() -> By {
    "application/ip".parse().expect("it is one of the standard breakdowns")
}

/// What must still hold of victims: all that was asked for, but that they are not open for long. They are the same
/// connections, which were young then.
fn still_meant(request: &PlanRequest) -> Option<Selector> {
    let conditions = Conditions { younger_than: None, ..request.selector.conditions().clone() };
    // nothing is left of a selector that wanted nothing else
    Selector::try_from(conditions).ok()
}

/// What a stored plan was asked for.
pub(super) fn request_of(mitigation: &Mitigation) -> Result<PlanRequest, MitigateError> {
    let plan = &mitigation.plan;
    let selector = Selector::try_from(plan.selector.clone())
        .map_err(|error| MitigateError::Request(format!("the stored selector: {error}")))?;
    Ok(PlanRequest { action: plan.action, selector, order: plan.order, limits: plan.limits })
}

/// How far a run has come, for people.
pub(super) fn told(counts: &BTreeMap<VictimState, u64>) -> String {
    let parts: Vec<String> = VictimState::ALL
        .iter()
        .filter_map(|state| {
            let count = counts.get(state).copied().filter(|count| *count > 0)?;
            Some(format!("{} {}", with_commas(count), state.name()))
        })
        .collect();
    if parts.is_empty() { "no victims".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::mitigations::tests::mitigation;
    use crate::model::breakdown::{Breakdown, Figures, Group};
    use crate::model::snapshot::Coverage;

    #[test]
    fn a_group_that_is_not_told_apart_is_not_taken_for_an_empty_one() {
        let mut planned = mitigation(uuid::Uuid::nil(), "prod", MitigationState::Planned);
        planned.plan.limits.keep = 1;
        let there = planned.plan.victims.iter().map(|victim| victim.key.clone()).collect();
        let figures = |connections| Figures { connections, ..Figures::default() };
        let groups = |application: &str, others| {
            let mut breakdown = Breakdown {
                groups: vec![Group { key: application.to_owned(), figures: figures(7), ..Group::default() }],
                ..Breakdown::default()
            };
            breakdown.other.figures = figures(others);
            let snapshot = Snapshot {
                cluster: "prod".to_owned(),
                taken_at: planned.plan.taken_at,
                coverage: Coverage::of(Vec::new(), 0),
                breakdowns: BTreeMap::from([(By::from(Dimension::Application), breakdown)]),
                closed: None,
            };
            let picked = frozen(&planned, &there, &snapshot, Picked::default());
            assert_eq!(picked.victims.len(), 2);
            picked.groups.into_iter().map(|group| group.total).collect::<Vec<_>>()
        };
        assert_eq!(groups("orders", 3), [7]);
        assert_eq!(groups("billing", 0), [0], "all are told apart, and none is of it");
        assert_eq!(groups("billing", 3), [0; 0]);
    }
}
