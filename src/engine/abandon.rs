//! Jobs that were given up: what they were to find out is not known, and the timeline says so.

use anyhow::Context;

use crate::engine::{ENRICH, Engine, LOOK_BACK, MitigateError, RUN, SELF, VERIFY};
use crate::model::entry::{Entry, EntryKind};
use crate::model::ids::{IncidentId, MitigationId};
use crate::model::incident::{IncidentState, Resolution};
use crate::model::mitigation::StopReason;
use crate::store;

/// Why a job was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// The process ended again and again during it.
    Interrupted,
    /// It failed again and again.
    Failed,
}

impl GivenUp {
    /// Says so of what the job did.
    fn while_it(self, did: &str) -> String {
        match self {
            Self::Interrupted => format!("connwarden ended again and again while it {did}"),
            Self::Failed => format!("connwarden failed again and again when it {did}"),
        }
    }
}

impl Engine {
    /// Leaves nothing waiting for a job that was given up.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn abandon(&self, kind: &str, subject: &str, why: GivenUp) -> anyhow::Result<()> {
        if kind == RUN {
            let id: MitigationId = subject.parse().context("reading the mitigation's id from the job")?;
            let stopped = self.stop_run(id, SELF, StopReason::Interrupted, &why.while_it("ran")).await;
            return match stopped {
                Ok(_) => Ok(()),
                // it has been stopped already, or deleted since
                Err(MitigateError::Transition(_) | MitigateError::UnknownMitigation(_)) => Ok(()),
                Err(error) => Err(error).context("stopping the run of a job that was given up"),
            };
        }
        if kind == LOOK_BACK {
            let id: MitigationId = subject.parse().context("reading the mitigation's id from the job")?;
            return self.leave_undecided(id, &why.while_it("looked back")).await;
        }
        // nothing waits for the others
        if ![ENRICH, VERIFY].contains(&kind) {
            return Ok(());
        }
        let id: IncidentId = subject.parse().context("reading the incident's id from the job")?;
        let now = self.0.clock.now();
        let mut tx = self.0.store.write().await?;
        let Some(mut incident) = store::incidents::find(&mut tx, id).await? else { return Ok(()) };
        let was = incident.state.name();
        let (kind, text) = match &incident.state {
            IncidentState::Recovering { .. } if kind == VERIFY => {
                incident.state = incident.state.clone().resolve(Resolution::Unverified, now)?;
                incident.updated_at = now;
                store::incidents::save(&mut tx, &incident, was).await?;
                let text = format!("all alerts are reported resolved; {}", why.while_it("asked NATS"));
                (EntryKind::Resolved, text)
            }
            _ if kind == ENRICH => {
                (EntryKind::ObservationFailed, format!("gave up: {}", why.while_it("looked")))
            }
            _ => return Ok(()),
        };
        let entry = Entry { at: now, actor: SELF.to_owned(), kind, text, notification: None };
        store::entries::insert(&mut tx, id, &[entry]).await?;
        store::commit(tx).await.context("writing into the timeline")
    }
}
