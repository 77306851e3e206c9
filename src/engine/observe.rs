//! Looking at a cluster on demand: one sweep at a time, shared by everybody who asks meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::engine::Engine;
use crate::model::breakdown::By;
use crate::model::snapshot::Snapshot;
use crate::observe::sweep::ClusterTargets;

/// A configured cluster, and the sweep of it that is going on.
#[derive(Debug)]
pub(super) struct WatchedCluster {
    pub(super) targets: ClusterTargets,
    going_on: Mutex<Option<GoingOn>>,
}

/// A sweep that is going on, or waits for the one before it.
#[derive(Debug, Clone)]
struct GoingOn {
    by: Vec<By>,
    result: watch::Receiver<Option<Arc<Snapshot>>>,
}

/// Why a cluster could not be looked at.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// No such cluster is configured.
    #[error("no cluster `{0}` is configured")]
    UnknownCluster(String),
    /// The sweep was cut short; only when the process ends.
    #[error("the look at cluster `{0}` was cut short")]
    CutShort(String),
}

impl WatchedCluster {
    pub(super) fn new(targets: ClusterTargets) -> Self {
        Self { targets, going_on: Mutex::new(None) }
    }
}

impl GoingOn {
    /// Whether it has not ended yet: its result is open and whoever works on it lives.
    fn is_going_on(&self) -> bool {
        self.result.has_changed().is_ok() && self.result.borrow().is_none()
    }

    /// Waits for its end; `None` if it was cut short.
    async fn end(&mut self) -> Option<Arc<Snapshot>> {
        self.result.wait_for(Option::is_some).await.ok().and_then(|snapshot| snapshot.clone())
    }
}

impl Engine {
    /// Looks at a cluster, by each of `by` and the standard ones. Whoever asks while a sweep goes on that counts
    /// what they want gets that one's result; otherwise theirs begins when that one has ended.
    ///
    /// # Errors
    ///
    /// No such cluster is configured.
    pub async fn look(&self, cluster: &str, by: &[By]) -> Result<Arc<Snapshot>, LookError> {
        let watched = self.0.clusters.iter().find(|watched| watched.targets.name == cluster);
        let watched = watched.ok_or_else(|| LookError::UnknownCluster(cluster.to_owned()))?;
        let mut going_on = self.join_or_begin(watched, by);
        going_on.end().await.ok_or_else(|| LookError::CutShort(cluster.to_owned()))
    }

    fn join_or_begin(&self, watched: &WatchedCluster, by: &[By]) -> GoingOn {
        let mut place = watched.going_on.lock().unwrap_or_else(PoisonError::into_inner);
        let before = place.take().filter(GoingOn::is_going_on);
        if let Some(going_on) =
            before.as_ref().filter(|going_on| by.iter().all(|by| going_on.by.contains(by)))
        {
            return place.insert(going_on.clone()).clone();
        }
        let mut wanted = By::standard();
        wanted.extend(by.iter().filter(|by| !By::standard().contains(by)));
        let (sender, result) = watch::channel(None);
        let going_on = GoingOn { by: wanted.clone(), result };
        let (engine, targets) = (self.clone(), watched.targets.clone());
        self.0.looks.spawn(async move {
            if let Some(mut before) = before {
                before.end().await;
            }
            let snapshot = engine.sweep(&targets, &wanted).await;
            let _ = sender.send(Some(Arc::new(snapshot)));
        });
        place.insert(going_on).clone()
    }

    /// Looks at a cluster and takes in what that shows of its servers.
    async fn sweep(&self, targets: &ClusterTargets, by: &[By]) -> Snapshot {
        let snapshot = self.0.observer.sweep(targets, by).await;
        let coverage = &snapshot.coverage;
        let took = Duration::from_millis(coverage.duration_ms);
        self.0.metrics.sweep(&targets.name, took, coverage.bytes, coverage.seen, coverage.complete);
        self.learn_from(&targets.name, coverage).await;
        snapshot
    }
}
