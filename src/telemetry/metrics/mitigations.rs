//! Metrics of mitigations: what their requests came to, what they achieved, and whether any runs or may run.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::telemetry::metrics::figures::MitigationFigures;
use crate::telemetry::metrics::labels::ClusterLabels;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    action: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    action: &'static str,
    outcome: &'static str,
}

/// The metrics of mitigations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MitigationMetrics {
    requests: Family<RequestLabels, Counter>,
    ended: Family<OutcomeLabels, Counter>,
    running: Family<ClusterLabels, Gauge>,
    paused: Family<ClusterLabels, Gauge>,
}

impl MitigationMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            ended: Family::default(),
            running: Family::default(),
            paused: Family::default(),
        };
        registry.register(
            "mitigation_requests",
            "Requests of mitigations by action and what became of the victim by what its server said",
            metrics.requests.clone(),
        );
        registry.register(
            "mitigations",
            "Mitigations that came to their end, by action and outcome, or why they were stopped",
            metrics.ended.clone(),
        );
        registry.register(
            "running_mitigations",
            "Mitigations that run in the cluster now: one at the most",
            metrics.running.clone(),
        );
        registry.register(
            "mitigations_paused",
            "Whether no mitigation may run in the cluster: by a person, by the pause file, or by the configuration",
            metrics.paused.clone(),
        );
        metrics
    }

    /// Starts at nothing whatever may be counted of an action: a counter that appears only with its first error cannot be
    /// alerted on.
    pub fn announce(
        &self,
        action: &'static str,
        states: impl IntoIterator<Item = &'static str>,
        outcomes: impl IntoIterator<Item = &'static str>,
    ) {
        for state in states {
            let _ = self.requests.get_or_create(&RequestLabels { action, state });
        }
        for outcome in outcomes {
            let _ = self.ended.get_or_create(&OutcomeLabels { action, outcome });
        }
    }

    /// Counts requests by what became of the victims.
    pub fn requests(&self, action: &'static str, state: &'static str, count: u64) {
        self.requests.get_or_create(&RequestLabels { action, state }).inc_by(count);
    }

    /// Tells how mitigations stand in a cluster.
    pub(super) fn stand(&self, figures: &MitigationFigures) {
        let labels = ClusterLabels { cluster: figures.cluster.clone() };
        self.running.get_or_create(&labels).set(figures.running.into());
        self.paused.get_or_create(&labels).set(figures.paused.into());
    }

    /// Counts a mitigation that came to its end.
    pub fn ended(&self, action: &'static str, outcome: &'static str) {
        self.ended.get_or_create(&OutcomeLabels { action, outcome }).inc();
    }
}
