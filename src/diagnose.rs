//! Diagnosis: evidence in, findings out.
//!
//! Pure functions: the same evidence gives the same diagnosis. What cannot be known from the evidence is said to be
//! unknown; nothing is concluded from what is missing.

mod attribution;
mod case;
mod connection_limit;
mod culprits;
mod findings;
mod growth;
mod instances;
mod recommendations;
#[cfg(test)]
mod scene;
mod servers;
#[cfg(test)]
mod staged;
mod steps;
mod storm;
#[cfg(test)]
mod tests;
mod text;
mod version;
mod words;

pub use crate::diagnose::recommendations::recommendations;

use crate::diagnose::case::Case;
use crate::diagnose::steps::steps;
use crate::diagnose::text::minutes_ago;
use crate::model::diagnosis::{Culprit, Diagnosis, Finding, FindingKind};
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::Evidence;
use crate::model::headline::headline;
use crate::model::printable::with_commas;

/// Draws the diagnosis from the evidence of an incident.
pub fn diagnose(evidence: &Evidence, rules: &DiagnosisRules) -> Diagnosis {
    let case = Case::new(evidence, rules);
    let findings = findings::findings(&case);
    let culprits = culprits::culprits(&case, &findings);
    let recommendations = recommendations(evidence, &findings, &culprits, rules);
    Diagnosis {
        made_at: evidence.at,
        headline: headline_of(&case, &findings, &culprits),
        findings,
        culprits,
        steps: steps(&case),
        recommendations,
    }
}

/// How many connections there really are, and what is behind it.
fn headline_of(case: &Case<'_>, findings: &[Finding], culprits: &[Culprit]) -> String {
    let members = case.evidence.alerts.iter().map(|alert| &alert.member);
    let mut line = headline(members, &case.evidence.snapshot);
    // that the alert's number is wrong is in the line already
    let Some(first) = findings.first().filter(|first| first.kind != FindingKind::SaturatedValue) else {
        return line;
    };
    line.push_str(&format!("; {}", first.kind.title()));
    let names: Vec<&str> = culprits.iter().map(|culprit| culprit.key.as_str()).collect();
    if !names.is_empty() {
        line.push_str(&format!(": {}", names.join(" and ")));
    }
    if let Some(growth) = case.growth.as_ref().filter(|_| !case.suspects.is_empty()) {
        let grown_by: u64 = case.suspects.iter().map(|suspect| suspect.group.grown_by()).sum();
        line.push_str(&format!(", +{} since {}", with_commas(grown_by), minutes_ago(case, growth.since)));
    }
    line
}
