//! Watching a run: what is seen between two batches, and what it is compared with.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use jiff::SignedDuration;

use crate::engine::Engine;
use crate::mitigate::guards::{Watch, WatchedServer, stop};
use crate::model::history::History;
use crate::model::ids::MitigationId;
use crate::model::journal::VictimState;
use crate::model::mitigation::{Mitigation, StopReason};
use crate::model::vitals::Churn;
use crate::observe::sweep::ClusterTargets;
use crate::store::{self, StoreError};

/// Over how much time before a run it is learnt how many connections usually end.
const LEARNT_OVER: SignedDuration = SignedDuration::from_hours(1);

/// Two answers that are closer together than this do not tell what is usual.
const LEAST_APART: SignedDuration = SignedDuration::from_secs(10);

/// What becomes of victims whose connections end because of a run, or have ended before they had their turn. Who was
/// asked to leave may do so at any time.
const ENDED: [VictimState; 4] =
    [VictimState::Confirmed, VictimState::Asked, VictimState::Left, VictimState::Gone];

/// The runs that go on.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<HashMap<MitigationId, Run>>);

/// What is kept of a run from its first batch to its last: none outlives the process.
#[derive(Debug, Clone)]
struct Run {
    /// The mitigation, with all its victims: they are frozen, and too many to be read before each batch.
    mitigation: Arc<Mitigation>,
    /// What it was watched by before its first batch.
    before: Watch,
}

impl Runs {
    fn find(&self, id: MitigationId) -> Option<Run> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn keep(&self, run: Run) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(run.mitigation.id, run);
    }

    /// Whether a run goes on, as far as this process knows: one that was stopped does not.
    pub(super) fn has(&self, id: MitigationId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    pub(super) fn forget(&self, id: MitigationId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl Engine {
    /// The mitigation with its victims, as it was when its first batch began: they do not change.
    pub(super) async fn mitigation_of(&self, id: MitigationId) -> anyhow::Result<Arc<Mitigation>> {
        if let Some(run) = self.0.mitigations.runs.find(id) {
            return Ok(run.mitigation);
        }
        let mitigation = store::mitigations::find(&mut *self.0.store.read().await?, id).await?;
        mitigation.map(Arc::new).context("the mitigation is not there any more")
    }

    /// Why a run should end here, if it should; `counts` are how many of its victims are how far.
    pub(super) async fn reason_to_stop(
        &self,
        mitigation: &Arc<Mitigation>,
        targets: &ClusterTargets,
        counts: &BTreeMap<VictimState, u64>,
    ) -> anyhow::Result<Option<(StopReason, String)>> {
        let now = self.watch(mitigation, targets, counts).await?;
        let before = match self.0.mitigations.runs.find(mitigation.id) {
            Some(run) => run.before,
            None => {
                let mut before = now.clone();
                self.learn_what_is_usual(&targets.name, &mut before).await?;
                let run = Run { mitigation: Arc::clone(mitigation), before: before.clone() };
                self.0.mitigations.runs.keep(run);
                before
            }
        };
        Ok(stop(&before, &now, &self.0.mitigations.rules.guards))
    }

    /// What a run is watched by.
    async fn watch(
        &self,
        mitigation: &Mitigation,
        targets: &ClusterTargets,
        counts: &BTreeMap<VictimState, u64>,
    ) -> anyhow::Result<Watch> {
        let answers = self.0.observer.vitals(targets).await;
        let mut conn = self.0.store.read().await?;
        let cut = store::victims::count_by_server(&mut conn, mitigation.id, &ENDED).await?;
        let incident = match mitigation.incident {
            Some(id) => store::incidents::find(&mut conn, id).await?,
            None => None,
        };
        drop(conn);
        let problem = match &incident {
            Some(incident) => Some(self.problem_of(incident).await?),
            None => None,
        };
        // victims know the names of their servers, and answers have no ids
        let ids: BTreeMap<&str, &str> = mitigation
            .plan
            .victims
            .iter()
            .map(|victim| (victim.server.as_str(), victim.key.server_id.as_str()))
            .collect();
        let servers = answers.into_iter().map(|(name, vitals)| {
            let cut = ids.get(name.as_str()).and_then(|id| cut.get(*id)).copied().unwrap_or(0);
            let server =
                WatchedServer { name: name.clone(), vitals: vitals.ok(), usual_closed_per_minute: None, cut };
            (name, server)
        });
        let count = |state| counts.get(&state).copied().unwrap_or(0);
        let errors = count(VictimState::Error);
        Ok(Watch {
            servers: servers.collect(),
            problem,
            pauses: self.pauses_of(&targets.name).await?,
            sent: errors + ENDED.map(count).iter().sum::<u64>(),
            errors,
        })
    }

    /// Adds how many connections usually end on each server: by the samples of the last hour, or as many as ended just
    /// before, if that is more. What a storm does anyway is not blamed on the run.
    async fn learn_what_is_usual(&self, cluster: &str, watch: &mut Watch) -> Result<(), StoreError> {
        let now = self.0.clock.now();
        let history = match now.checked_sub(LEARNT_OVER) {
            Ok(from) => self.history(cluster, from, now).await?,
            Err(_) => History::default(),
        };
        for (name, server) in &mut watch.servers {
            let Some(vitals) = &server.vitals else { continue };
            let lately = self.0.earlier_vitals.last(cluster, name, vitals, LEAST_APART);
            let lately = lately.and_then(|earlier| Churn::between(name, &earlier, vitals));
            let usual = history.usual_closed_per_minute(name).into_iter();
            let both = usual.chain(lately.map(|churn| churn.closed_per_minute()));
            server.usual_closed_per_minute = both.reduce(f64::max);
        }
        Ok(())
    }
}
