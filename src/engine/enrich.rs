//! Enrichment: the job that looks at NATS because of an incident, and stores what it saw.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use crate::diagnose::diagnose;
use crate::engine::{Engine, LookError, NAME_ADDRESSES, SELF};
use crate::model::diagnosis::Diagnosis;
use crate::model::entry::{Entry, EntryKind};
use crate::model::ids::{IncidentId, SnapshotId};
use crate::model::printable::with_commas;
use crate::model::snapshot::{Coverage, Snapshot};
use crate::observe::wishes::Wishes;
use crate::store::diagnoses::PackedDiagnosis;
use crate::store::jobs::{LeasedJob, NewJob};
use crate::store::snapshots::PackedSnapshot;
use crate::store::{self, StoreError};

/// The kind of the job.
pub const ENRICH: &str = "enrich";

/// How often an incomplete look is tried in all.
const ATTEMPTS: i64 = 5;

impl Engine {
    /// Looks at the cluster of an incident and stores the snapshot.
    ///
    /// What could be seen is stored at once; while a server does not answer, the job is put back and tried again, and
    /// a later look is kept when it has seen more.
    ///
    /// # Errors
    ///
    /// The store failed, or the process ends.
    #[tracing::instrument(name = "job.enrich", skip_all, fields(incident.id = %job.subject))]
    pub async fn enrich(&self, job: &LeasedJob) -> anyhow::Result<()> {
        let id: IncidentId = job.subject.parse().context("reading the incident's id from the job")?;
        let incident = {
            let mut conn = self.0.store.read().await?;
            store::incidents::find(&mut conn, id).await.context("finding the incident")?
        };
        let cluster = incident.as_ref().and_then(|incident| incident.key.cluster());
        let looked = match cluster {
            Some(cluster) => {
                let queued_at = Timestamp::from_microsecond(job.created_at)?;
                self.look_since(cluster, &Wishes::everything(), queued_at).await
            }
            // the incident is gone, or no longer anybody's
            None => return self.give_up(job, id, None).await,
        };
        match looked {
            Ok(snapshot) => self.keep(job, id, snapshot).await,
            Err(error @ LookError::UnknownCluster(_)) => {
                let text = format!("{error} any more, so it was not looked at");
                self.give_up(job, id, Some(text)).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stores what was seen, and finishes the job or puts it back.
    async fn keep(&self, job: &LeasedJob, id: IncidentId, snapshot: Arc<Snapshot>) -> anyhow::Result<()> {
        let diagnosis = self.diagnosis_of(id, snapshot.clone()).await?;
        let now = self.0.clock.now();
        let coverage = &snapshot.coverage;
        let again = (!coverage.complete && job.attempts < ATTEMPTS).then(|| pause(job.attempts));

        let packed = (PackedSnapshot::pack(&snapshot), diagnosis.as_ref().map(PackedDiagnosis::pack));
        let mut tx = self.0.store.write().await?;
        // of several looks within one job, only one that shows more is worth keeping
        let seen_before = store::snapshots::most_seen_since(&mut tx, id, job.created_at).await?;
        let first = job.attempts == 1;
        let keep = !coverage.is_blind() && (coverage.complete || seen_before < Some(coverage.seen));
        if keep {
            let snapshot_id = SnapshotId(self.0.clock.new_id());
            let mut entries = vec![entry(now, EntryKind::Observed, observed(coverage))];
            let (snapshot, packed_diagnosis) = packed;
            store::snapshots::insert(&mut tx, snapshot_id, id, snapshot).await?;
            if let (Some(diagnosis), Some(packed)) = (&diagnosis, packed_diagnosis) {
                store::diagnoses::insert(&mut tx, id, snapshot_id, packed).await?;
                store::incidents::save_headline(&mut tx, id, &diagnosis.headline, now).await?;
                if let Some(finding) = diagnosis.cause() {
                    let text = format!("{}: {}", finding.kind.title(), finding.summary);
                    entries.push(entry(now, EntryKind::Diagnosed, text));
                }
            }
            store::entries::insert(&mut tx, id, &entries).await?;
            if self.names_addresses() {
                let subject = snapshot_id.to_string();
                let job = NewJob { kind: NAME_ADDRESSES, subject, due_at: now };
                store::jobs::insert(&mut tx, &[job], now).await?;
            }
        }
        if !coverage.complete && (first || again.is_none()) {
            let text = failed(coverage, again, job.attempts);
            store::entries::insert(&mut tx, id, &[entry(now, EntryKind::ObservationFailed, text)]).await?;
        }
        match again {
            Some(pause) => {
                let due_at = now.saturating_add(SignedDuration::try_from(pause)?)?;
                let error = coverage.errors().collect::<Vec<_>>().join("; ");
                store::jobs::retry(&mut tx, job, due_at, &error).await?;
            }
            None => store::jobs::finish(&mut tx, job).await?,
        }
        store::commit(tx).await.context("storing the snapshot")
    }

    /// What there is to say about an incident after a look at its cluster; `None` if it is gone.
    async fn diagnosis_of(
        &self,
        id: IncidentId,
        snapshot: Arc<Snapshot>,
    ) -> Result<Option<Diagnosis>, StoreError> {
        let (incident, members) = {
            let mut conn = self.0.store.read().await?;
            (store::incidents::find(&mut conn, id).await?, store::alerts::list(&mut conn, id).await?)
        };
        let Some(incident) = incident else { return Ok(None) };
        let evidence = self.gather(&incident, &members, snapshot).await?;
        Ok(Some(diagnose(&evidence, &self.0.diagnosis)))
    }

    async fn give_up(&self, job: &LeasedJob, id: IncidentId, text: Option<String>) -> anyhow::Result<()> {
        let mut tx = self.0.store.write().await?;
        if let Some(text) = text {
            let entry = entry(self.0.clock.now(), EntryKind::ObservationFailed, text);
            store::entries::insert(&mut tx, id, &[entry]).await?;
        }
        store::jobs::finish(&mut tx, job).await?;
        store::commit(tx).await.context("finishing the job")
    }
}

fn entry(at: Timestamp, kind: EntryKind, text: String) -> Entry {
    Entry { at, actor: SELF.to_owned(), kind, text, notification: None }
}

fn observed(coverage: &Coverage) -> String {
    let answered = coverage.each_server().filter(|server| server.total().is_some()).count();
    format!(
        "saw {} of {} connections on {answered} of {} servers in {} ms",
        with_commas(coverage.seen),
        with_commas(coverage.total),
        coverage.each_server().count(),
        coverage.duration_ms,
    )
}

fn failed(coverage: &Coverage, again: Option<Duration>, attempts: i64) -> String {
    let errors = coverage.errors().collect::<Vec<_>>().join("; ");
    match again {
        Some(pause) => format!("could not see everything: {errors}; trying again in {pause:?}"),
        None => format!("gave up after {attempts} looks: {errors}"),
    }
}

/// How long to wait after an incomplete look: 5 s, 15 s, 45 s, 135 s.
fn pause(attempts: i64) -> Duration {
    let factor = u32::try_from(attempts - 1).map_or(u32::MAX, |power| 3_u32.saturating_pow(power));
    Duration::from_secs(5).saturating_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow() {
        let pauses: Vec<u64> = (1..ATTEMPTS).map(|attempt| pause(attempt).as_secs()).collect();
        assert_eq!(pauses, [5, 15, 45, 135]);
    }
}
