//! Findings: what is wrong, ranked by how much of the trouble it explains.
//!
//! Each kind has a file, and each of them looks at the same case by itself. What causes other findings comes before what
//! follows from it: somebody who leaks brings a server near its limit, not the other way round.

mod growth;
mod idle_hoard;
mod imbalance;
mod limits;
mod outlier;
mod pressure;
mod restart_herd;
mod saturated_value;
mod shared_address;
mod slow_consumers;
mod storm;
mod suspects;
mod unnamed;

use crate::diagnose::case::Case;
use crate::model::diagnosis::{Finding, FindingKind};

/// What is less sure than this stands behind everything that is more.
const LIKELY: f64 = 0.5;

/// Finds everything that is wrong, what matters most first.
pub fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(limits::refused(case));
    findings.extend(restart_herd::find(case));
    findings.extend(storm::find(case));
    findings.extend(suspects::find(case));
    findings.extend(idle_hoard::find(case));
    findings.extend(slow_consumers::find(case));
    findings.extend(pressure::find(case));
    findings.extend(imbalance::find(case));
    findings.extend(limits::near(case));
    findings.extend(shared_address::find(case));
    findings.extend(unnamed::find(case));
    findings.extend(outlier::find(case));
    findings.extend(growth::find(case));
    findings.extend(saturated_value::find(case));
    // stable: several of one kind stay in the order in which they were found
    findings.sort_by_key(|finding| (finding.confidence < LIKELY, place(finding.kind)));
    findings
}

/// Where a kind stands among the others: causes first, then what is only near, then what merely stands out.
fn place(kind: FindingKind) -> u8 {
    match kind {
        FindingKind::RefusedAtLimit => 0,
        FindingKind::RestartHerd => 1,
        FindingKind::ReconnectStorm => 2,
        FindingKind::Leak | FindingKind::ScaleOut => 3,
        FindingKind::NearAccountLimit => 4,
        FindingKind::IdleHoard => 5,
        FindingKind::SlowConsumers => 6,
        FindingKind::Imbalance => 7,
        FindingKind::NearLimit => 8,
        FindingKind::Unnamed => 9,
        FindingKind::SharedAddress => 10,
        FindingKind::Outlier => 11,
        FindingKind::Growth => 12,
        FindingKind::ResourcePressure => 13,
        FindingKind::SaturatedValue => 14,
    }
}
