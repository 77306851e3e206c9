//! Metrics of mitigations: what became of their victims, and what they achieved.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VictimLabels {
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
    victims: Family<VictimLabels, Counter>,
    ended: Family<OutcomeLabels, Counter>,
}

impl MitigationMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { victims: Family::default(), ended: Family::default() };
        registry.register(
            "mitigation_requests",
            "Requests of mitigations by action and what became of the victim",
            metrics.victims.clone(),
        );
        registry.register(
            "mitigations",
            "Mitigations that came to their end, by action and outcome, or why they were stopped",
            metrics.ended.clone(),
        );
        metrics
    }

    /// Counts what became of some victims.
    pub fn victims(&self, action: &'static str, state: &'static str, count: u64) {
        self.victims.get_or_create(&VictimLabels { action, state }).inc_by(count);
    }

    /// Counts a mitigation that came to its end.
    pub fn ended(&self, action: &'static str, outcome: &'static str) {
        self.ended.get_or_create(&OutcomeLabels { action, outcome }).inc();
    }
}
