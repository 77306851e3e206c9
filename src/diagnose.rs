//! Diagnosis: evidence in, findings out.
//!
//! Pure functions: the same evidence gives the same diagnosis. What cannot be known from the evidence is said to be
//! unknown; nothing is concluded from what is missing.

use crate::model::diagnosis::Diagnosis;
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::Evidence;
use crate::model::headline::headline;

/// Draws the diagnosis from the evidence of an incident.
pub fn diagnose(evidence: &Evidence, _rules: &DiagnosisRules) -> Diagnosis {
    let members = evidence.alerts.iter().map(|alert| &alert.member);
    Diagnosis {
        made_at: evidence.at,
        headline: headline(members, &evidence.snapshot),
        findings: Vec::new(),
        culprits: Vec::new(),
        steps: Vec::new(),
        recommendations: Vec::new(),
    }
}
