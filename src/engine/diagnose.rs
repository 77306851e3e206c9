//! Diagnosing: puts together the evidence of an incident, from all who can say something about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::verify::Members;
use crate::model::evidence::{AlertEvidence, Evidence, Looked};
use crate::model::incident::Incident;
use crate::model::snapshot::Snapshot;

impl Engine {
    /// Puts together what there is to know about an incident whose cluster was just looked at. Takes a bounded time: who
    /// does not answer is missing, with the reason.
    pub(super) async fn gather(
        &self,
        incident: &Incident,
        members: &Members,
        snapshot: Arc<Snapshot>,
    ) -> Evidence {
        let alerts = members.values().map(|member| AlertEvidence {
            member: member.clone(),
            threshold: self.0.rules.threshold(&incident.key, member),
        });
        Evidence {
            at: self.0.clock.now(),
            opened_at: incident.opened_at,
            alerts: alerts.collect(),
            applications: self.0.observer.applications().clone(),
            snapshot,
            churn: Vec::new(),
            history: Looked::Unseen("no samples are kept yet".to_owned()),
            first_seen: BTreeMap::new(),
            earlier_vitals: BTreeMap::new(),
            changes: Looked::Unseen("changes are not kept yet".to_owned()),
            metrics: Looked::Unseen("Prometheus is not asked yet".to_owned()),
            logs: Looked::Unseen("logs are not read yet".to_owned()),
            metric_prefix: "gnatsd".to_owned(),
        }
    }
}
