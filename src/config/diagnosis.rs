//! Diagnosis: from when on something is worth a finding.

use super::{scalar, section::Section};
use crate::model::diagnosis_rules::DiagnosisRules;

/// Reads from when on something is worth a finding.
pub(super) fn read(section: &Section<'_>) -> DiagnosisRules {
    let default = DiagnosisRules::default();
    let share = |key, default| section.value(key, scalar::share).unwrap_or(default);
    let factor = |key, default| section.value(key, scalar::factor).unwrap_or(default);
    let count = |key, default| section.value(key, scalar::connections).unwrap_or(default);
    DiagnosisRules {
        near_limit: share("near_limit", default.near_limit),
        near_account_limit: share("near_account_limit", default.near_account_limit),
        churn_per_minute: factor("churn_per_minute", default.churn_per_minute),
        connections_per_user: count("connections_per_user", default.connections_per_user),
        imbalance_factor: factor("imbalance_factor", default.imbalance_factor),
        imbalance_share: share("imbalance_share", default.imbalance_share),
        least_connections: count("least_connections", default.least_connections),
        cpu_share: share("cpu_share", default.cpu_share),
        memory_share: share("memory_share", default.memory_share),
    }
}
