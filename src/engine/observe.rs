//! Looking at a cluster on demand: one sweep at a time, shared by everybody who asks meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::engine::Engine;
use crate::model::breakdown::Dimension;
use crate::model::snapshot::Snapshot;
use crate::observe::sweep::ClusterTargets;

/// A configured cluster, and the sweep of it that is going on.
#[derive(Debug)]
pub(super) struct WatchedCluster {
    pub(super) targets: ClusterTargets,
    going_on: Mutex<Option<watch::Receiver<Option<Arc<Snapshot>>>>>,
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

impl Engine {
    /// Looks at a cluster along every dimension. Whoever asks while a sweep goes on gets that one's result.
    ///
    /// # Errors
    ///
    /// No such cluster is configured.
    pub async fn look(&self, cluster: &str) -> Result<Arc<Snapshot>, LookError> {
        let watched = self.0.clusters.iter().find(|watched| watched.targets.name == cluster);
        let watched = watched.ok_or_else(|| LookError::UnknownCluster(cluster.to_owned()))?;
        let mut result = self.join_or_begin(watched);
        let snapshot = result.wait_for(Option::is_some).await.ok().and_then(|snapshot| snapshot.clone());
        snapshot.ok_or_else(|| LookError::CutShort(cluster.to_owned()))
    }

    fn join_or_begin(&self, watched: &WatchedCluster) -> watch::Receiver<Option<Arc<Snapshot>>> {
        let mut going_on = watched.going_on.lock().unwrap_or_else(PoisonError::into_inner);
        // a sweep goes on as long as its result is open and its sender lives
        if let Some(result) = going_on.as_ref()
            && result.has_changed().is_ok_and(|changed| !changed)
            && result.borrow().is_none()
        {
            return result.clone();
        }
        let (sender, result) = watch::channel(None);
        *going_on = Some(result.clone());
        let (engine, targets) = (self.clone(), watched.targets.clone());
        self.0.looks.spawn(async move {
            let snapshot = engine.0.observer.sweep(&targets, &Dimension::ALL).await;
            let coverage = &snapshot.coverage;
            engine.0.metrics.sweep(
                &targets.name,
                Duration::from_millis(coverage.duration_ms),
                coverage.bytes,
                coverage.seen,
                coverage.complete,
            );
            engine.learn_from(&targets.name, coverage).await;
            let _ = sender.send(Some(Arc::new(snapshot)));
        });
        result
    }
}
