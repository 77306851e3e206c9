//! Looking at a cluster on demand: one sweep at a time, shared by everybody who asks meanwhile.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::engine::Engine;
use crate::model::breakdown::By;
use crate::model::capability::Capabilities;
use crate::model::picking::PickingRules;
use crate::model::selector::Selector;
use crate::model::snapshot::Snapshot;
use crate::model::victim::VictimKey;
use crate::observe::picks::{Found, StillThere};
use crate::observe::sweep::ClusterTargets;
use crate::observe::wishes::Wishes;
use crate::telemetry::metrics::LookFigures;

/// A configured cluster, and the looks at it: at most one goes on, and at most one waits for its end.
#[derive(Debug)]
pub(super) struct WatchedCluster {
    pub(super) targets: ClusterTargets,
    looks: Mutex<Looks>,
    /// Held by whoever reads all its connections: its servers are asked for one list at a time.
    turn: tokio::sync::Mutex<()>,
    /// What was last found out of what can be done to its connections.
    pub(super) capabilities: tokio::sync::Mutex<Option<Capabilities>>,
}

#[derive(Debug, Default)]
struct Looks {
    going_on: Option<Look>,
    waiting: Option<Look>,
}

/// A look that goes on or waits.
#[derive(Debug, Clone)]
struct Look {
    wishes: Wishes,
    result: watch::Receiver<Option<Arc<Snapshot>>>,
}

/// How many crossings a look takes on for those who share it, beside the standard ones.
const MOST_CROSSINGS: usize = 8;

/// Why a cluster could not be looked at.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// No such cluster is configured.
    #[error("no cluster `{0}` is configured")]
    UnknownCluster(String),
    /// The look was cut short: the process ends, or a defect ended it.
    #[error("the look at cluster `{0}` was cut short")]
    CutShort(String),
}

impl WatchedCluster {
    pub(super) fn new(targets: ClusterTargets) -> Self {
        Self { targets, looks: Mutex::default(), turn: Default::default(), capabilities: Default::default() }
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Look {
    fn new(wishes: &Wishes) -> (Self, watch::Sender<Option<Arc<Snapshot>>>) {
        let (sender, result) = watch::channel(None);
        let mut look = Self { wishes: Wishes::by(&By::standard()), result };
        look.take_on(wishes);
        (look, sender)
    }

    /// Whether it has not ended yet: its result is open and whoever works on it lives.
    fn is_open(&self) -> bool {
        self.result.has_changed().is_ok() && self.result.borrow().is_none()
    }

    /// Tells more than before, unless that is too much; whether it does.
    fn take_on(&mut self, wishes: &Wishes) -> bool {
        let mut more = self.wishes.clone();
        more.absorb(wishes);
        let fits = more.by.len() <= By::standard().len() + MOST_CROSSINGS;
        if fits {
            self.wishes = more;
        }
        fits
    }

    /// Waits for its end; `None` if it was cut short.
    async fn end(&mut self) -> Option<Arc<Snapshot>> {
        self.result.wait_for(Option::is_some).await.ok().and_then(|snapshot| snapshot.clone())
    }
}

/// Where somebody who asks for a look finds themselves.
enum Place {
    /// With a look that counts what they want.
    In(Look),
    /// Behind a look that cannot take on what they want.
    Behind(Look),
}

impl Engine {
    /// Looks at a cluster, by each of `by` and the standard ones. Whoever asks while a look goes on that counts what
    /// they want gets that one's result; all others share the next.
    ///
    /// # Errors
    ///
    /// No such cluster is configured.
    pub async fn look(&self, cluster: &str, by: &[By]) -> Result<Arc<Snapshot>, LookError> {
        self.look_for(cluster, &Wishes::by(by)).await
    }

    async fn look_for(&self, cluster: &str, wishes: &Wishes) -> Result<Arc<Snapshot>, LookError> {
        let place = self.0.clusters.iter().position(|watched| watched.targets.name == cluster);
        let place = place.ok_or_else(|| LookError::UnknownCluster(cluster.to_owned()))?;
        loop {
            match self.join_or_begin(place, wishes) {
                Place::In(mut look) => {
                    return look.end().await.ok_or_else(|| LookError::CutShort(cluster.to_owned()));
                }
                Place::Behind(mut look) => drop(look.end().await),
            }
        }
    }

    /// Gives the last look at a cluster if it is whole and did not begin before `since`, and otherwise looks: the
    /// incidents of a storm share one look, however slowly their jobs are worked off.
    ///
    /// # Errors
    ///
    /// No such cluster is configured.
    pub(super) async fn look_since(
        &self,
        cluster: &str,
        wishes: &Wishes,
        since: Timestamp,
    ) -> Result<Arc<Snapshot>, LookError> {
        let last = self
            .watched(cluster)
            .and_then(|watched| watched.looks().going_on.clone())
            .filter(|look| look.wishes.include(wishes));
        let last = last.and_then(|look| look.result.borrow().clone());
        // a clock that was set back makes none recent
        let recent = since..=self.0.clock.now();
        match last.filter(|last| last.coverage.complete && recent.contains(&last.taken_at)) {
            Some(last) => Ok(last),
            None => self.look_for(cluster, wishes).await,
        }
    }

    /// Finds a look that tells what is wished for, or lets one begin: at once, or when the one that goes on has ended.
    fn join_or_begin(&self, place: usize, wishes: &Wishes) -> Place {
        let mut looks = self.0.clusters[place].looks();
        if let Some(look) = looks.waiting.as_mut() {
            return if look.take_on(wishes) { Place::In(look.clone()) } else { Place::Behind(look.clone()) };
        }
        match looks.going_on.clone().filter(Look::is_open) {
            Some(look) if look.wishes.include(wishes) => Place::In(look),
            Some(before) => {
                let (look, sender) = Look::new(wishes);
                looks.waiting = Some(look.clone());
                self.0.looks.spawn(self.clone().look_after(before, place, sender));
                Place::In(look)
            }
            None => {
                let (look, sender) = Look::new(wishes);
                looks.going_on = Some(look.clone());
                let (engine, wishes) = (self.clone(), look.wishes.clone());
                self.0.looks.spawn(async move {
                    let snapshot = engine.sweep(&engine.0.clusters[place], &wishes).await;
                    let _ = sender.send(Some(Arc::new(snapshot)));
                });
                Place::In(look)
            }
        }
    }

    /// Begins the look that waits, once the one before it has ended.
    async fn look_after(self, mut before: Look, place: usize, sender: watch::Sender<Option<Arc<Snapshot>>>) {
        before.end().await;
        let watched = &self.0.clusters[place];
        let wishes = {
            let mut looks = watched.looks();
            // from now on nobody can add to it
            looks.going_on = looks.waiting.take();
            looks.going_on.as_ref().map(|look| look.wishes.clone()).unwrap_or_default()
        };
        let snapshot = self.sweep(watched, &wishes).await;
        let _ = sender.send(Some(Arc::new(snapshot)));
    }

    /// Looks at a cluster and takes in what that shows of its servers.
    async fn sweep(&self, watched: &WatchedCluster, wishes: &Wishes) -> Snapshot {
        let targets = &watched.targets;
        let _turn = watched.turn.lock().await;
        let snapshot = self.0.observer.sweep(targets, wishes).await;
        let coverage = &snapshot.coverage;
        self.0.metrics.sweep(&LookFigures {
            cluster: &targets.name,
            began_at_seconds: snapshot.taken_at.as_duration().as_secs_f64(),
            took: Duration::from_millis(coverage.duration_ms),
            bytes: coverage.bytes,
            seen: coverage.seen,
            total: coverage.total,
            complete: coverage.complete,
        });
        self.0.earlier_vitals.remember(&snapshot);
        self.learn_from(targets, coverage).await;
        snapshot
    }

    /// Looks at a cluster when it is its turn, and picks victims among its connections.
    pub(super) async fn pick(
        &self,
        targets: &ClusterTargets,
        wishes: &Wishes,
        rules: PickingRules,
    ) -> (Snapshot, Found) {
        let _turn = self.turn_of(targets).await;
        self.0.observer.pick(targets, wishes, Arc::new(rules)).await
    }

    /// Looks at a cluster when it is its turn, and says which victims are still there, and which of these `selector` still
    /// means: all if there is none.
    pub(super) async fn recheck(
        &self,
        targets: &ClusterTargets,
        victims: &BTreeSet<VictimKey>,
        selector: Option<Selector>,
    ) -> (Snapshot, StillThere) {
        let _turn = self.turn_of(targets).await;
        self.0.observer.recheck(targets, victims, selector).await
    }

    async fn turn_of(&self, targets: &ClusterTargets) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        Some(self.watched(&targets.name)?.turn.lock().await)
    }

    /// The configured cluster of this name.
    pub(super) fn watched(&self, cluster: &str) -> Option<&WatchedCluster> {
        self.0.clusters.iter().find(|watched| watched.targets.name == cluster)
    }
}
