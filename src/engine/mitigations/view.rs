//! What guards look at, as it is now.

use std::collections::BTreeSet;
use std::time::Duration;

use super::MitigateError;
use crate::engine::Engine;
use crate::engine::verify::Members;
use crate::mitigate::guards::{
    EarlierRun, IncidentFacts, LiveCount, LookCoverage, PauseFacts, ProblemFacts, Silencing, View,
};
use crate::model::ids::MitigationId;
use crate::model::incident::{Incident, IncidentKey};
use crate::model::instants::earlier;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::mapping::MappedBy;
use crate::model::mitigation::Outcome;
use crate::model::plan::PlanRequest;
use crate::model::printable::excerpt;
use crate::model::protection::Protection;
use crate::model::snapshot::Coverage;
use crate::observe::sweep::ClusterTargets;
use crate::store::mitigations::PastRun;
use crate::store::{self, StoreError};

/// What the budget of an hour is counted over.
const HOUR: Duration = Duration::from_secs(3600);

/// What a pause by file is called.
const PAUSE_FILE: &str = "pause file";

/// What a pause by configuration is called.
const SWITCHED_OFF: &str = "configuration";

/// What was seen of a cluster.
pub(super) struct Seen<'a> {
    /// How much; of several looks, what the one saw that missed most.
    pub(super) coverage: &'a Coverage,
    /// Other connwardens.
    pub(super) other_wardens: &'a BTreeSet<String>,
    /// Which connections are never victims.
    pub(super) protection: Protection,
}

impl Engine {
    /// Gathers what guards look at. `own` is the mitigation that is judged, once it is stored.
    pub(super) async fn view(
        &self,
        targets: &ClusterTargets,
        incident: Option<&Incident>,
        request: &PlanRequest,
        seen: Seen<'_>,
        own: Option<MitigationId>,
    ) -> Result<View, MitigateError> {
        let now = self.0.clock.now();
        let guards = &self.0.mitigations.rules.guards;
        let incident = match incident {
            Some(incident) => Some(self.incident_facts(incident).await?),
            None => None,
        };
        let capability = self.capability(targets, request.action).await;
        let pauses = self.pauses_of(&targets.name).await?;
        let mut conn = self.0.store.read().await?;
        let conditions = request.selector.conditions();
        let same = store::mitigations::list_runs_against(&mut conn, &targets.name, conditions).await?;
        let ended = store::mitigations::list_ended_since(
            &mut conn,
            &targets.name,
            earlier(now, guards.breaker_window),
        )
        .await?;
        let cut = store::mitigations::count_cut_since(&mut conn, &targets.name, earlier(now, HOUR)).await?;
        let running = store::mitigations::find_running(&mut conn, &targets.name).await?;
        drop(conn);
        let vain = ended.iter().filter_map(earlier_run).filter(EarlierRun::is_vain);
        Ok(View {
            now,
            protection: seen.protection,
            incident,
            coverage: LookCoverage::of(seen.coverage),
            capability,
            running: running.filter(|running| Some(*running) != own),
            earlier: same.iter().filter_map(earlier_run).collect(),
            cut_within_the_hour: cut,
            vain_runs: vain.map(|run| run.ended_at).collect(),
            pauses,
            other_wardens: seen.other_wardens.iter().cloned().collect(),
        })
    }

    async fn incident_facts(&self, incident: &Incident) -> Result<IncidentFacts, MitigateError> {
        let members = store::alerts::list(&mut *self.0.store.read().await?, incident.id).await?;
        let silencing = self.silencing_of(&members).await;
        Ok(IncidentFacts {
            problem: self.problem_facts(incident, &members).await,
            is_cluster_assumed: matches!(
                incident.key,
                IncidentKey::Cluster { mapped_by: MappedBy::Assumed, .. }
            ),
            silencing,
            has_alertmanager: !self.0.sources.alertmanagers.is_empty(),
        })
    }

    /// Asks every Alertmanager whether somebody keeps it quiet about alerts that fire.
    async fn silencing_of(&self, members: &Members) -> Silencing {
        if self.0.sources.alertmanagers.is_empty() {
            return Silencing::Unknown;
        }
        let census = self.take_census(&Labels::default(), None).await;
        let firing: Vec<&Fingerprint> = members
            .iter()
            .filter(|(_, member)| member.is_firing())
            .map(|(fingerprint, _)| fingerprint)
            .collect();
        let listed: Vec<_> = firing
            .iter()
            .filter_map(|fingerprint| census.listed.get(*fingerprint))
            .map(|listed| &listed.suppression)
            .collect();
        if listed.iter().any(|suppression| !suppression.silenced_by.is_empty()) {
            Silencing::Silenced
        } else if listed.iter().any(|suppression| !suppression.inhibited_by.is_empty()) {
            Silencing::Inhibited
        } else if census.errors.is_empty() && firing.iter().all(|alert| census.tells_of(alert)) {
            Silencing::Clear
        } else {
            // a silence outlives a restart of Alertmanager, and its list of alerts does not
            Silencing::Unknown
        }
    }

    /// Whether an incident still is a problem, by a fresh count.
    pub(super) async fn problem_of(&self, incident: &Incident) -> Result<ProblemFacts, MitigateError> {
        let members = store::alerts::list(&mut *self.0.store.read().await?, incident.id).await?;
        Ok(self.problem_facts(incident, &members).await)
    }

    async fn problem_facts(&self, incident: &Incident, members: &Members) -> ProblemFacts {
        let answer = self.ask_nats(incident, members).await;
        let count = match (answer.furthest, answer.impossible) {
            (Some((connections, threshold)), _) => {
                LiveCount::Compared { connections, threshold, verdict: threshold.judge(connections) }
            }
            (None, true) => LiveCount::ThresholdUnknown,
            (None, false) => LiveCount::NotCounted,
        };
        ProblemFacts { is_unresolved: !incident.state.is_resolved(), count }
    }

    /// Who has paused mitigations in a cluster: by API, and by file.
    pub(super) async fn pauses_of(&self, cluster: &str) -> Result<Vec<PauseFacts>, StoreError> {
        let pauses = store::pauses::list(&mut *self.0.store.read().await?).await?;
        let mut facts: Vec<PauseFacts> = pauses
            .into_iter()
            .filter(|pause| pause.holds_for(cluster))
            .map(|pause| PauseFacts { name: pause.name, reason: pause.reason, by: pause.paused_by })
            .collect();
        facts.extend(self.standing_pauses().await);
        Ok(facts)
    }

    /// What pauses mitigations in every cluster until a file is changed: the configuration's, or the pause file.
    pub(super) async fn standing_pauses(&self) -> Vec<PauseFacts> {
        let mut facts = Vec::new();
        if !self.0.mitigations.rules.enabled {
            facts.push(PauseFacts {
                name: SWITCHED_OFF.to_owned(),
                reason: "`mitigations.enabled` is false".to_owned(),
                by: "the configuration".to_owned(),
            });
        }
        if let Some(file) = &self.0.mitigations.rules.pause_file {
            let reason = match tokio::fs::read_to_string(file).await {
                Ok(text) => Some(excerpt(text.lines().next().unwrap_or_default())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                // whether it is there cannot be told: that is a reason to wait
                Err(error) => Some(format!("{} cannot be read: {error}", file.display())),
            };
            facts.extend(reason.map(|reason| PauseFacts {
                name: PAUSE_FILE.to_owned(),
                reason,
                by: file.display().to_string(),
            }));
        }
        facts
    }
}

fn earlier_run(run: &PastRun) -> Option<EarlierRun> {
    let failed = run.stop.filter(|stop| stop.is_failure()).map(|_| Outcome::Failed);
    Some(EarlierRun { ended_at: run.ended_at?, outcome: run.outcome.or(failed) })
}
