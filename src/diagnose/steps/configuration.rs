//! Step 2: the configuration, for a high number of connections.
//!
//! How full each server is and when it will be full, how long it bears with clients that are dead, slow or late, and
//! what is known of its version. nats-server does not tell its limit of file descriptors; that is said too.

mod capacity;
mod patience;
#[cfg(test)]
mod tests;
mod versions;

use crate::diagnose::servers::Server;
use crate::diagnose::steps::notes::Notes;
use crate::model::diagnosis::{Step, StepName};
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::Evidence;

/// Looks at how the servers are configured.
pub(super) fn step(evidence: &Evidence, rules: &DiagnosisRules) -> Step {
    let servers = Server::all(&evidence.snapshot);
    let mut notes = Notes::default();
    if servers.is_empty() {
        notes.unseen("the configuration", "no server is known");
    }
    for server in &servers {
        if server.vitals.is_none() {
            let why = server.coverage.error.as_deref().unwrap_or("it did not answer at /varz");
            notes.unseen(&format!("the configuration of {}", server.name), why);
        }
    }
    capacity::look(&mut notes, &servers, evidence, rules);
    patience::look(&mut notes, &servers, evidence);
    versions::look(&mut notes, &servers);
    notes.conclude(StepName::Configuration, "There is room in every server that could be looked at.")
}
