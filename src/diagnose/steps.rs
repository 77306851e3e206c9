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

use crate::diagnose::case::Case;
use crate::model::diagnosis::Step;

/// Works through the diagnosis steps of the runbook.
pub(super) fn steps(case: &Case<'_>) -> Vec<Step> {
    let (evidence, rules) = (case.evidence, case.rules);
    vec![
        logs::step(evidence),
        configuration::step(evidence, rules),
        changes::step(evidence, rules, case.growth.as_ref()),
        metrics::step(evidence, rules),
        resources::step(evidence, rules),
    ]
}
