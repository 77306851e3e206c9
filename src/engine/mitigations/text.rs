//! What mitigations say of themselves, in the words of their entries.

use std::collections::BTreeMap;

use crate::model::guard::GuardVerdict;
use crate::model::journal::VictimState;
use crate::model::printable::with_commas;

/// How far a run has come, for people.
pub(super) fn told(counts: &BTreeMap<VictimState, u64>) -> String {
    let parts: Vec<String> = VictimState::ALL
        .iter()
        .filter_map(|state| {
            let count = counts.get(state).copied().filter(|count| *count > 0)?;
            Some(format!("{} {}", with_commas(count), state.name()))
        })
        .collect();
    if parts.is_empty() { "no victims".to_owned() } else { parts.join(", ") }
}

/// Which guards are in the way, and why.
pub(super) fn blocked(verdicts: &[GuardVerdict]) -> String {
    let reasons: Vec<&str> = verdicts.iter().map(|verdict| verdict.reason.as_str()).collect();
    format!("refused by {} of the guards: {}", verdicts.len(), reasons.join("; "))
}

/// What somebody gives as the reason, behind what they do.
pub(super) fn because(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!("; {reason}"))
}
