//! Soft and hard stop: the first signal asks, the second or the end of the grace period insists.

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How long a soft stop may take.
const GRACE: Duration = Duration::from_secs(20);

/// Tells the parts of the daemon to stop.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Finish what has begun.
    pub soft: CancellationToken,
    /// Drop everything.
    pub hard: CancellationToken,
    /// How long a soft stop may take before it becomes a hard one.
    pub grace: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self { soft: CancellationToken::new(), hard: CancellationToken::new(), grace: GRACE }
    }
}

impl Stop {
    /// A stop that SIGINT and SIGTERM trigger.
    ///
    /// # Errors
    ///
    /// Signals cannot be caught.
    pub fn on_signals() -> anyhow::Result<Self> {
        let stop = Self::default();
        let mut interrupt = signal(SignalKind::interrupt()).context("catching SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("catching SIGTERM")?;
        let told = stop.clone();
        tokio::spawn(async move {
            for token in [&told.soft, &told.hard] {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                info!("{name} received, stopping");
                token.cancel();
            }
        });
        Ok(stop)
    }

    /// Waits until a soft stop has taken long enough, or a hard one is asked for.
    pub(super) async fn hard_after_grace(&self) {
        tokio::select! {
            () = self.hard.cancelled() => {}
            () = tokio::time::sleep(self.grace) => {}
        }
    }
}
