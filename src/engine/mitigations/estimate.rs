//! Estimating: what a plan would have been when a stored look was taken. Nothing is asked of the cluster, and nothing is
//! stored.

use super::{MitigateError, check_limits};
use crate::engine::Engine;
use crate::mitigate::estimate::estimate;
use crate::model::estimate::Estimate;
use crate::model::ids::{IncidentId, SnapshotId};
use crate::model::plan::PlanRequest;
use crate::model::snapshot::Snapshot;
use crate::store;

impl Engine {
    /// Says what a plan would have been when a stored look was taken, and of which incident that look is. `cluster` may
    /// say which cluster is meant.
    ///
    /// # Errors
    ///
    /// There is no such look, it is one of another cluster, or a limit makes no sense.
    #[tracing::instrument(name = "engine.mitigations.estimate", skip_all, fields(snapshot.id = %id))]
    pub async fn estimate_mitigation(
        &self,
        id: SnapshotId,
        cluster: Option<&str>,
        request: &PlanRequest,
    ) -> Result<(IncidentId, Estimate), MitigateError> {
        check_limits(request)?;
        let mut conn = self.0.store.read().await?;
        let found = store::snapshots::find(&mut conn, id).await?;
        let (incident, summary) = found.ok_or(MitigateError::UnknownSnapshot(id))?;
        if cluster.is_some_and(|wanted| wanted != summary.cluster) {
            let text = format!("snapshot {id} is of cluster `{}`", summary.cluster);
            return Err(MitigateError::Request(text));
        }
        let breakdowns = store::snapshots::list_breakdowns(&mut conn, id, None).await?;
        drop(conn);
        let snapshot = Snapshot {
            cluster: summary.cluster,
            taken_at: summary.taken_at,
            coverage: summary.coverage,
            breakdowns,
            closed: None,
        };
        let (request, settings) = (request.clone(), self.0.mitigations.rules.guards.clone());
        let now = self.0.clock.now();
        // the bounds of many groups take a while, and others have their turn
        let estimated =
            tokio::task::spawn_blocking(move || estimate(&snapshot, &request, &settings, now)).await;
        Ok((incident, estimated.expect("estimating does not panic and is not aborted")))
    }
}
