//! Soft and hard stop: the first signal asks, the second or the end of the grace period insists, the third ends the
//! process at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

/// How long a soft stop may take.
const GRACE: Duration = Duration::from_secs(20);

/// How a process ends that was told three times.
const IMPATIENT: i32 = 1;

/// Tells the parts of the daemon to stop.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Finish what has begun.
    pub soft: CancellationToken,
    /// Drop everything.
    pub hard: CancellationToken,
    /// How long a soft stop may take before it becomes a hard one.
    pub grace: Duration,
    /// Listens for signals, until the last clone is gone.
    signals: Option<Arc<AbortOnDropHandle<()>>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { soft: CancellationToken::new(), hard: CancellationToken::new(), grace: GRACE, signals: None }
    }
}

impl Stop {
    /// A stop that SIGINT and SIGTERM trigger. SIGHUP, by which others read their configuration again, stops nothing.
    ///
    /// # Errors
    ///
    /// Signals cannot be caught.
    pub fn on_signals() -> anyhow::Result<Self> {
        let mut stop = Self::default();
        let mut interrupt = signal(SignalKind::interrupt()).context("catching SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("catching SIGTERM")?;
        let mut hang_up = signal(SignalKind::hangup()).context("catching SIGHUP")?;
        let tokens = [stop.soft.clone(), stop.hard.clone()];
        let listening = tokio::spawn(async move {
            let mut next = async || {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => return "SIGINT",
                        _ = terminate.recv() => return "SIGTERM",
                        _ = hang_up.recv() => warn!(
                            "SIGHUP received, going on as before: the configuration is read at the start only, restart \
                             connwarden if it has changed"
                        ),
                    }
                }
            };
            for token in tokens {
                info!("{} received, stopping", next().await);
                token.cancel();
            }
            // whatever a hard stop still waits for: what is committed is safe, and the rest goes on at the next start
            warn!("{} received for the third time, ending at once", next().await);
            std::process::exit(IMPATIENT);
        });
        stop.signals = Some(Arc::new(AbortOnDropHandle::new(listening)));
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
