//! Ending a run before its last victim: because a person wants it, because something has become worse, or because the
//! process ended during it.

use tracing::error;

use super::MitigateError;
use crate::engine::mitigations::after_stop;
use crate::engine::mitigations::text::told;
use crate::engine::texts::checked;
use crate::engine::{Engine, SELF};
use crate::model::entry::EntryKind;
use crate::model::ids::MitigationId;
use crate::model::journal::VictimState;
use crate::model::mitigation::{MitigationSummary, StopReason};
use crate::store::{self, StoreError};

impl Engine {
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
}
