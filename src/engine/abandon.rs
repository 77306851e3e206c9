//! Jobs that were given up: what they were to find out is not known, and the timeline says so.

use anyhow::Context;

use crate::engine::{ENRICH, Engine, RUN, SELF, VERIFY};
use crate::model::entry::{Entry, EntryKind};
use crate::model::ids::{IncidentId, MitigationId};
use crate::model::incident::{IncidentState, Resolution};
use crate::model::mitigation::StopReason;
use crate::store;

/// Why a job is given up.
const AGAIN_AND_AGAIN: &str = "connwarden ended again and again while it";

impl Engine {
    /// Leaves nothing waiting for a job that was given up because the process ended again and again during it.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn abandon(&self, kind: &str, subject: &str) -> anyhow::Result<()> {
        if kind == RUN {
            let id: MitigationId = subject.parse().context("reading the mitigation's id from the job")?;
            let text = format!("{AGAIN_AND_AGAIN} ran");
            // it may have been stopped already
            let _ = self.stop_run(id, SELF, StopReason::Interrupted, &text).await;
            return Ok(());
        }
        // other jobs are about no incident
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
                let text = format!("all alerts are reported resolved; {AGAIN_AND_AGAIN} asked NATS");
                (EntryKind::Resolved, text)
            }
            _ if kind == ENRICH => {
                (EntryKind::ObservationFailed, format!("gave up: {AGAIN_AND_AGAIN} looked"))
            }
            _ => return Ok(()),
        };
        let entry = Entry { at: now, actor: SELF.to_owned(), kind, text, notification: None };
        store::entries::insert(&mut tx, id, &[entry]).await?;
        store::commit(tx).await.context("writing into the timeline")
    }
}
