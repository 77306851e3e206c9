//! The diagnosis steps of the runbook, in its order.
//!
//! Each step says what it found or that nothing is wrong; it is skipped only if there was nothing at all to look at. What a
//! step could not look at is among its remarks, with the reason.

mod changes;
mod configuration;
mod logs;
mod metrics;
mod notes;
mod resources;

use crate::model::diagnosis::Step;
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::Evidence;

/// Works through the diagnosis steps of the runbook.
pub fn steps(evidence: &Evidence, rules: &DiagnosisRules) -> Vec<Step> {
    vec![
        logs::step(evidence),
        configuration::step(evidence, rules),
        changes::step(evidence, rules),
        metrics::step(evidence, rules),
        resources::step(evidence, rules),
    ]
}
