//! Metrics of mitigations: what their requests came to, and what they achieved.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

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
}

impl MitigationMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { requests: Family::default(), ended: Family::default() };
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

    /// Counts a mitigation that came to its end.
    pub fn ended(&self, action: &'static str, outcome: &'static str) {
        self.ended.get_or_create(&OutcomeLabels { action, outcome }).inc();
    }
}
