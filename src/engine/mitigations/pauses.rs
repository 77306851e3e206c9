//! Pauses: people who want that nothing is done, and say why.

use tracing::info;

use super::MitigateError;
use crate::engine::Engine;
use crate::engine::texts::{TextError, checked};
use crate::mitigate::guards::PauseFacts;
use crate::model::audit::AuditLine;
use crate::model::pause::{Pause, StandingPause};
use crate::store::{self, StoreError};

impl Engine {
    /// Pauses mitigations: nothing begins, and what runs stops before its next batch. `cluster` pauses one only.
    ///
    /// # Errors
    ///
    /// A text is missing, or there is no such cluster.
    pub async fn pause_mitigations(
        &self,
        name: &str,
        cluster: Option<&str>,
        actor: &str,
        reason: &str,
    ) -> Result<Pause, MitigateError> {
        let name = match checked(name) {
            Err(TextError::Missing) => {
                let text = "`name` is missing: say what to call the pause, by that it is ended";
                return Err(MitigateError::Request(text.to_owned()));
            }
            name => name?,
        };
        let reason = checked(reason)?;
        if let Some(cluster) = cluster {
            self.targets_of(cluster)?;
        }
        let pause = Pause {
            name,
            cluster: cluster.map(str::to_owned),
            reason,
            paused_by: actor.to_owned(),
            paused_at: self.0.clock.now(),
        };
        let mut tx = self.0.store.write().await?;
        match store::pauses::save(&mut tx, &pause).await {
            Err(StoreError::Conflict("pause")) => return Err(MitigateError::OtherPause(pause.name)),
            saved => saved?,
        }
        let text = format!("{} paused: {}", pause.place(), pause.reason);
        self.audit(&mut tx, actor, AuditLine::PAUSE, &pause.name, &text).await?;
        store::commit(tx).await?;
        info!(actor, "mitigations paused by {actor}: {}", pause.reason);
        Ok(pause)
    }

    /// Lists what pauses mitigations in every cluster beside people's pauses: the configuration, and the pause file.
    pub async fn list_standing_pauses(&self) -> Vec<StandingPause> {
        let standing = self.standing_pauses().await.into_iter();
        standing.map(|PauseFacts { name, reason, by }| StandingPause { name, reason, by }).collect()
    }

    /// Whether no mitigation may run in a cluster now: by a person, by the pause file, or by the configuration.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn are_mitigations_paused(&self, cluster: &str) -> Result<bool, StoreError> {
        Ok(!self.pauses_of(cluster).await?.is_empty())
    }

    /// Ends a pause.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub async fn resume_mitigations(&self, name: &str, actor: &str) -> Result<(), MitigateError> {
        let mut tx = self.0.store.write().await?;
        if !store::pauses::delete(&mut tx, name).await? {
            return Err(MitigateError::UnknownPause(name.to_owned()));
        }
        self.audit(&mut tx, actor, AuditLine::RESUME, name, "mitigations may run again").await?;
        store::commit(tx).await?;
        info!(actor, "pause `{name}` ended by {actor}");
        Ok(())
    }
}
