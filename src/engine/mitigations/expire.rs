//! Giving up what is out of date: what nobody approved or executed in time, and plans of a cluster that has changed since.

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::MitigateError;
use crate::engine::{Engine, SELF};
use crate::model::entry::EntryKind;
use crate::model::ids::MitigationId;
use crate::model::mitigation::Mitigation;
use crate::store::{self, StoreError};

/// How long a plan or a proposal waits for somebody.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// How many are given up at a time.
const MOST_AT_ONCE: u32 = 100;

impl Engine {
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

    /// Gives one up; what it gives back says so to whoever wanted it.
    pub(super) async fn expire(
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
