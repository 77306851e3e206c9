//! Mitigations: from a plan that shows what would be done, by a person's approval, to a run and its outcome.
//!
//! Nothing happens that was not shown first: approving and executing name the digest of the plan. Before the first victim
//! the cluster is looked at afresh; who has left since is dropped, and nobody is added.

mod after_stop;
mod estimate;
mod execute;
mod expire;
mod find;
mod frozen;
mod look_back;
mod pauses;
mod run;
mod stop;
#[cfg(test)]
mod tests;
mod text;
mod view;
mod watch;

use tracing::info;

use crate::engine::Engine;
use crate::engine::mitigations::run::results;
use crate::engine::mitigations::text::{because, blocked};
use crate::engine::mitigations::view::Seen;
use crate::engine::mitigations::watch::Runs;
use crate::engine::texts::{TextError, checked};
use crate::mitigate::digest;
use crate::mitigate::guards::{Draft, Initiator, judge};
use crate::mitigate::plan::plan;
use crate::model::audit::AuditLine;
use crate::model::entry::{Entry, EntryKind};
use crate::model::guard::GuardVerdict;
use crate::model::ids::{IncidentId, MitigationId, SnapshotId};
use crate::model::incident::Incident;
use crate::model::instants::later;
use crate::model::mitigation::{
    InvalidTransition, Mitigation, MitigationState, MitigationSummary, Outcome, StopReason,
};
use crate::model::mitigation_rules::MitigationSettings;
use crate::model::plan::{ActionKind, PlanRequest};
use crate::model::printable::excerpt;
use crate::model::victim::MOST_VICTIMS;
use crate::observe::sweep::ClusterTargets;
use crate::observe::wishes::Wishes;
use crate::store::{self, Conn, StoreError, Tx};
use crate::telemetry::metrics::MitigationMetrics;

pub use crate::engine::mitigations::look_back::LOOK_BACK;
pub use crate::engine::mitigations::run::{REQUESTS_AT_ONCE, RUN};

/// What mitigations need beside the store.
#[derive(Debug)]
pub(super) struct Mitigations {
    rules: MitigationSettings,
    runs: Runs,
}

impl Mitigations {
    pub(super) fn new(rules: MitigationSettings, metrics: &MitigationMetrics) -> Self {
        for action in ActionKind::ALL {
            let states = results(action).iter().map(|state| state.name());
            let outcomes = Outcome::ALL.map(Outcome::name).into_iter();
            let stops = StopReason::ALL.map(StopReason::name);
            metrics.announce(action.name(), states, outcomes.chain(stops));
        }
        Self { rules, runs: Runs::default() }
    }
}

/// Why a mitigation could not be planned, or moved on.
#[derive(Debug, thiserror::Error)]
pub enum MitigateError {
    /// There is no such mitigation.
    #[error("no mitigation {0}")]
    UnknownMitigation(MitigationId),
    /// There is no such incident.
    #[error("no incident {0}")]
    UnknownIncident(IncidentId),
    /// There is no such stored look.
    #[error("no snapshot {0}")]
    UnknownSnapshot(SnapshotId),
    /// No such cluster is configured.
    #[error("no cluster `{0}` is configured")]
    UnknownCluster(String),
    /// The incident is about no configured cluster.
    #[error("incident {0} is about no configured cluster: there is nothing to plan for")]
    NoCluster(IncidentId),
    /// A text is missing or too long.
    #[error(transparent)]
    Text(#[from] TextError),
    /// What is asked for makes no sense.
    #[error("{0}")]
    Request(String),
    /// The mitigation is in another state by now.
    #[error(transparent)]
    Transition(#[from] InvalidTransition),
    /// Another digest was named: another plan was looked at.
    #[error("{0} is not the plan's digest: look at the plan as it is, its digest is shown with it")]
    Digest(String),
    /// The plan is out of date.
    #[error("the plan is stale: {0}; make a new one")]
    Stale(String),
    /// Guards do not let it run.
    #[error("{}", blocked(.0))]
    Blocked(Vec<GuardVerdict>),
    /// Another run goes on in the cluster.
    #[error("another mitigation is running in cluster `{0}`")]
    Busy(String),
    /// The key was used for another request, or by somebody else.
    #[error("the idempotency key was used for another request, or by somebody else")]
    KeyReused,
    /// A pause of that name is about something else.
    #[error("a pause called `{0}` is about something else: end it first, or give another name")]
    OtherPause(String),
    /// There is no such pause.
    #[error("nothing is paused by the name `{0}`")]
    UnknownPause(String),
    /// The store failed.
    #[error("the mitigation could not be stored")]
    Store(#[from] StoreError),
}

/// What somebody wants planned.
#[derive(Debug, Clone)]
pub struct PlanWish {
    /// The incident that it is meant to end, if any.
    pub incident: Option<IncidentId>,
    /// The cluster, where there is no incident.
    pub cluster: Option<String>,
    /// What is to be done, and to whom.
    pub request: PlanRequest,
    /// Why, for whoever reads this later.
    pub reason: Option<String>,
    /// Names this wish, so that the same one is not planned twice.
    pub idempotency_key: Option<String>,
}

impl Engine {
    /// What the configuration says about mitigations.
    pub fn mitigation_rules(&self) -> &MitigationSettings {
        &self.0.mitigations.rules
    }

    /// Plans a mitigation from a fresh look: shows what would be done to whom, and does nothing. The same wish under the
    /// same idempotency key gives the same mitigation.
    ///
    /// # Errors
    ///
    /// There is no such incident or cluster, or a limit makes no sense.
    #[tracing::instrument(name = "engine.mitigations.plan", skip_all)]
    pub async fn plan_mitigation(&self, wish: PlanWish, actor: &str) -> Result<Mitigation, MitigateError> {
        let reason = wish.reason.as_deref().map(checked).transpose()?;
        check_limits(&wish.request)?;
        let request_digest = digest_of(&wish);
        if let Some(known) = self.planned_before(&wish, actor, &request_digest).await? {
            return Ok(known);
        }
        let (incident, targets) = self.place_of(&wish).await?;
        let (snapshot, found, protection) =
            self.find_victims(&targets, &wish.request, &Wishes::default()).await;
        let seen = Seen { coverage: &snapshot.coverage, other_wardens: &found.other_wardens, protection };
        let view = self.view(&targets, incident.as_ref(), &wish.request, seen, None).await?;
        let draft = Draft {
            request: &wish.request,
            picked: &found.picked,
            taken_at: snapshot.taken_at,
            has_incident: incident.is_some(),
            by: Initiator::Person,
        };
        let verdicts = judge(&draft, &view, &self.0.mitigations.rules.guards);
        let plan = plan(&targets.name, &wish.request, found.picked, snapshot.taken_at, verdicts);
        let mitigation = Mitigation {
            id: MitigationId(self.0.clock.new_id()),
            incident: wish.incident,
            plan,
            planned_by: actor.to_owned(),
            planned_at: self.0.clock.now(),
            reason,
            state: MitigationState::Planned,
        };
        let mut tx = self.0.store.write().await?;
        let key = wish.idempotency_key.as_deref().map(|key| (key, request_digest.as_str()));
        match store::mitigations::insert(&mut tx, &mitigation, key).await {
            // the same wish came twice at the same moment
            Err(StoreError::Conflict("idempotency key")) => {
                drop(tx);
                let known = self.planned_before(&wish, actor, &request_digest).await?;
                return known.ok_or(MitigateError::KeyReused);
            }
            inserted => inserted?,
        }
        let text =
            format!("planned: {}{}", mitigation.plan.expected_effect, because(mitigation.reason.as_deref()));
        self.note(&mut tx, mitigation.id, mitigation.incident, actor, EntryKind::MitigationPlanned, text)
            .await?;
        store::commit(tx).await?;
        log(&mitigation, actor);
        Ok(mitigation)
    }

    /// Asks people for their approval, unless a guard blocks it: then it is refused.
    ///
    /// # Errors
    ///
    /// It is not planned any more, another plan was looked at, or guards block it.
    #[tracing::instrument(name = "engine.mitigations.propose", skip_all, fields(mitigation.id = %id))]
    pub async fn propose_mitigation(
        &self,
        id: MitigationId,
        digest: &str,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<Mitigation, MitigateError> {
        let reason = reason.map(checked).transpose()?;
        let now = self.0.clock.now();
        let (tx, mitigation) = self.named_for_write(id, digest).await?;
        // what is over is told first
        let proposed = mitigation.state.clone().propose(actor, now)?;
        let blocking: Vec<GuardVerdict> =
            mitigation.plan.guards.iter().filter(|verdict| !verdict.passes).cloned().collect();
        if !blocking.is_empty() {
            self.refuse(tx, mitigation, actor, blocking.clone()).await?;
            return Err(MitigateError::Blocked(blocking));
        }
        let text = format!("proposed: {}{}", mitigation.plan.expected_effect, because(reason.as_deref()));
        self.move_on(tx, mitigation, proposed, actor, EntryKind::MitigationProposed, text).await
    }

    /// Lets a mitigation run, for as long as approvals are valid.
    ///
    /// # Errors
    ///
    /// It is not proposed, or another plan was looked at.
    #[tracing::instrument(name = "engine.mitigations.approve", skip_all, fields(mitigation.id = %id))]
    pub async fn approve_mitigation(
        &self,
        id: MitigationId,
        digest: &str,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<Mitigation, MitigateError> {
        let reason = reason.map(checked).transpose()?;
        let now = self.0.clock.now();
        let valid_until = later(now, self.0.mitigations.rules.guards.approval_valid);
        let (tx, mitigation) = self.named_for_write(id, digest).await?;
        let approved = mitigation.state.clone().approve(actor, now, valid_until, reason.as_deref())?;
        let text = format!("approved until {valid_until}{}", because(reason.as_deref()));
        self.move_on(tx, mitigation, approved, actor, EntryKind::MitigationApproved, text).await
    }

    /// Decides against a mitigation.
    ///
    /// # Errors
    ///
    /// It runs, or has come to its end.
    #[tracing::instrument(name = "engine.mitigations.reject", skip_all, fields(mitigation.id = %id))]
    pub async fn reject_mitigation(
        &self,
        id: MitigationId,
        actor: &str,
        reason: &str,
    ) -> Result<Mitigation, MitigateError> {
        let reason = checked(reason)?;
        let (tx, mitigation) = self.find_for_write(id).await?;
        let rejected = mitigation.state.clone().reject(actor, self.0.clock.now(), &reason)?;
        let text = format!("rejected: {reason}");
        self.move_on(tx, mitigation, rejected, actor, EntryKind::MitigationRejected, text).await
    }

    async fn planned_before(
        &self,
        wish: &PlanWish,
        actor: &str,
        request_digest: &str,
    ) -> Result<Option<Mitigation>, MitigateError> {
        let Some(key) = &wish.idempotency_key else { return Ok(None) };
        let mut conn = self.0.store.read().await?;
        match store::mitigations::find_by_idempotency_key(&mut conn, key).await? {
            Some((known, digest)) if digest == request_digest && known.planned_by == actor => Ok(Some(known)),
            Some(_) => Err(MitigateError::KeyReused),
            None => Ok(None),
        }
    }

    pub(super) fn targets_of(&self, cluster: &str) -> Result<ClusterTargets, MitigateError> {
        let targets = self.clusters().find(|targets| targets.name == cluster).cloned();
        targets.ok_or_else(|| MitigateError::UnknownCluster(cluster.to_owned()))
    }

    /// The mitigation as it stands, and the transaction in which it does. Its plan, which is long and does not change, is
    /// read before, so that others can write meanwhile.
    async fn find_for_write(&self, id: MitigationId) -> Result<(Tx, Mitigation), MitigateError> {
        let found = store::mitigations::find(&mut *self.0.store.read().await?, id).await?;
        let mut mitigation = found.ok_or(MitigateError::UnknownMitigation(id))?;
        let mut tx = self.0.store.write().await?;
        mitigation.state = find_summary(&mut tx, id).await?.state;
        Ok((tx, mitigation))
    }

    /// The same, if it is the one that somebody has looked at.
    async fn named_for_write(
        &self,
        id: MitigationId,
        digest: &str,
    ) -> Result<(Tx, Mitigation), MitigateError> {
        let (tx, mitigation) = self.find_for_write(id).await?;
        Ok((tx, named(mitigation, digest)?))
    }

    /// The incident and the cluster that a wish is about.
    async fn place_of(&self, wish: &PlanWish) -> Result<(Option<Incident>, ClusterTargets), MitigateError> {
        let Some(id) = wish.incident else {
            let cluster = wish.cluster.as_deref();
            let cluster =
                cluster.ok_or_else(|| MitigateError::Request("name a cluster or an incident".to_owned()))?;
            return Ok((None, self.targets_of(cluster)?));
        };
        let incident = store::incidents::find(&mut *self.0.store.read().await?, id).await?;
        let incident = incident.ok_or(MitigateError::UnknownIncident(id))?;
        let cluster = incident.key.cluster().ok_or(MitigateError::NoCluster(id))?.to_owned();
        if wish.cluster.as_ref().is_some_and(|wanted| *wanted != cluster) {
            let text = format!("incident {id} is about cluster `{cluster}`");
            return Err(MitigateError::Request(text));
        }
        Ok((Some(incident), self.targets_of(&cluster)?))
    }

    async fn refuse(
        &self,
        tx: Tx,
        mitigation: Mitigation,
        actor: &str,
        blocking: Vec<GuardVerdict>,
    ) -> Result<Mitigation, MitigateError> {
        let refused = mitigation.state.clone().refuse(blocking.clone(), self.0.clock.now())?;
        self.move_on(tx, mitigation, refused, actor, EntryKind::MitigationRefused, blocked(&blocking)).await
    }

    /// Stores where a mitigation has moved, with its entry.
    async fn move_on(
        &self,
        mut tx: Tx,
        mut mitigation: Mitigation,
        state: MitigationState,
        actor: &str,
        kind: EntryKind,
        text: String,
    ) -> Result<Mitigation, MitigateError> {
        let was = mitigation.state.name();
        mitigation.state = state;
        store::mitigations::save(&mut tx, mitigation.id, &mitigation.state, was).await?;
        self.note(&mut tx, mitigation.id, mitigation.incident, actor, kind, text).await?;
        store::commit(tx).await?;
        log(&mitigation, actor);
        Ok(mitigation)
    }

    /// Writes an act down: in the audit log, and in the timeline of the incident.
    async fn note(
        &self,
        tx: &mut Tx,
        id: MitigationId,
        incident: Option<IncidentId>,
        actor: &str,
        kind: EntryKind,
        text: String,
    ) -> Result<(), StoreError> {
        self.audit(tx, actor, kind.name(), &id.to_string(), &text).await?;
        if let Some(incident) = incident {
            let text = format!("mitigation {id}: {text}");
            let entry =
                Entry { at: self.0.clock.now(), actor: actor.to_owned(), kind, text, notification: None };
            store::entries::insert(tx, incident, &[entry]).await?;
        }
        Ok(())
    }

    async fn audit(
        &self,
        tx: &mut Tx,
        actor: &str,
        act: &str,
        subject: &str,
        text: &str,
    ) -> Result<(), StoreError> {
        let line = AuditLine {
            at: self.0.clock.now(),
            actor: actor.to_owned(),
            act: act.to_owned(),
            subject: subject.to_owned(),
            text: text.to_owned(),
        };
        store::audit::insert(tx, &line).await
    }
}

async fn find_summary(conn: &mut Conn, id: MitigationId) -> Result<MitigationSummary, MitigateError> {
    store::mitigations::find_summary(conn, id).await?.ok_or(MitigateError::UnknownMitigation(id))
}

/// The mitigation, if it is the one that somebody has looked at.
fn named(mitigation: Mitigation, digest: &str) -> Result<Mitigation, MitigateError> {
    if mitigation.plan.digest == digest {
        Ok(mitigation)
    } else {
        Err(MitigateError::Digest(excerpt(digest)))
    }
}

fn check_limits(request: &PlanRequest) -> Result<(), MitigateError> {
    let limits = &request.limits;
    let percent = limits.at_most_percent;
    if limits.at_most == 0 || limits.at_most > MOST_VICTIMS {
        return Err(MitigateError::Request(format!("`at_most` must be between 1 and {MOST_VICTIMS}")));
    }
    if !(percent > 0.0 && percent <= 100.0) {
        return Err(MitigateError::Request("`at_most_percent` must be above 0 and at most 100".to_owned()));
    }
    if limits.keep > 10_000 {
        return Err(MitigateError::Request("`keep` must be at most 10000".to_owned()));
    }
    Ok(())
}

/// Tells wishes apart under one idempotency key.
fn digest_of(wish: &PlanWish) -> String {
    let told = serde_json::json!({
        "incident": wish.incident,
        "cluster": wish.cluster,
        "request": wish.request,
        "reason": wish.reason,
    });
    digest::of_text(&told.to_string())
}

fn log(mitigation: &Mitigation, actor: &str) {
    let (plan, state) = (&mitigation.plan, mitigation.state.name());
    log_act(mitigation.id, &plan.cluster, plan.action, plan.victims.len() as u64, state, actor);
}

fn log_summary(mitigation: &MitigationSummary, actor: &str) {
    let MitigationSummary { id, cluster, action, victims, state, .. } = mitigation;
    log_act(*id, cluster, *action, *victims, state.name(), actor);
}

fn log_act(id: MitigationId, cluster: &str, action: ActionKind, victims: u64, state: &str, actor: &str) {
    info!(
        mitigation.id = %id,
        cluster,
        victims,
        actor,
        "mitigation {id} ({} of {victims} connections of cluster `{cluster}`) is {state} by {actor}",
        action.name(),
    );
}
