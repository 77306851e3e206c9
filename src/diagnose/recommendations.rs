//! Recommendations: what to do, for the mitigation steps of the runbook and with this cluster's numbers.
//!
//! Only what follows from a finding is recommended, and what it would do is said, also where it would do little: raising a
//! limit does not end a leak, and a limit does not end a storm. Snippets can be pasted as they are; text from strangers
//! gets into one only where it can be quoted for the place it goes to, and otherwise the snippet is left out.

mod application;
mod balancing;
mod client_code;
mod limits;
mod monitoring;
mod quoting;
mod resources;
mod tuning;

use crate::diagnose::servers::Server;
use crate::model::diagnosis::{Culprit, Finding, FindingKind, MitigationStep, Recommendation, Snippet};
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::Evidence;

/// The most recommendations of one diagnosis.
const MOST: usize = 20;

/// Says what to do about what was found, in the order of the runbook.
pub fn recommendations(
    evidence: &Evidence,
    findings: &[Finding],
    culprits: &[Culprit],
    rules: &DiagnosisRules,
) -> Vec<Recommendation> {
    let ground = Ground { evidence, findings, culprits, rules, servers: Server::all(&evidence.snapshot) };
    let mut recommendations = Vec::new();
    resources::recommend(&ground, &mut recommendations);
    limits::recommend(&ground, &mut recommendations);
    tuning::recommend(&ground, &mut recommendations);
    application::recommend(&ground, &mut recommendations);
    balancing::recommend(&ground, &mut recommendations);
    monitoring::recommend(&ground, &mut recommendations);
    recommendations.truncate(MOST);
    recommendations
}

/// What recommendations rest on.
struct Ground<'a> {
    evidence: &'a Evidence,
    findings: &'a [Finding],
    culprits: &'a [Culprit],
    rules: &'a DiagnosisRules,
    servers: Vec<Server<'a>>,
}

impl<'a> Ground<'a> {
    /// The findings of a kind.
    fn of(&self, kind: FindingKind) -> impl Iterator<Item = &'a Finding> + use<'a> {
        self.findings.iter().filter(move |finding| finding.kind == kind)
    }

    /// Whether there is a finding of one of these kinds.
    fn has(&self, kinds: &[FindingKind]) -> bool {
        self.findings.iter().any(|finding| kinds.contains(&finding.kind))
    }

    /// How many connections ended for a reason that begins like this.
    fn closed_for(&self, reason: &str) -> u64 {
        let reasons = self.evidence.snapshot.closed.as_ref().map_or(&[][..], |closed| &closed.reasons);
        let counts = reasons.iter().filter(|count| count.reason.starts_with(reason));
        counts.map(|count| count.connections).fold(0, u64::saturating_add)
    }

    /// The servers that findings of these kinds are about; all of them if a finding names none.
    fn concerned(&self, kinds: &[FindingKind]) -> Vec<&Server<'a>> {
        let findings = || self.findings.iter().filter(|finding| kinds.contains(&finding.kind));
        let subjects: Vec<&str> =
            findings().filter_map(|finding| Some(finding.subject.as_ref()?.key.as_str())).collect();
        let all = findings().any(|finding| finding.subject.is_none());
        let servers = self.servers.iter();
        servers.filter(|server| all || subjects.contains(&server.coverage.display_name())).collect()
    }
}

/// Something to do.
fn recommendation(
    step: MitigationStep,
    title: impl Into<String>,
    effect: impl Into<String>,
    snippets: Vec<Snippet>,
) -> Recommendation {
    Recommendation { step, title: title.into(), effect: effect.into(), snippets }
}

/// Something to copy.
fn snippet(place: &str, text: impl Into<String>) -> Snippet {
    Snippet { place: place.to_owned(), text: text.into() }
}

/// Where lines of a server's configuration go.
const SERVER_CONFIGURATION: &str = "nats-server.conf";

/// Where commands go.
const SHELL: &str = "shell";

/// How a changed configuration is checked and loaded, on the host of a server.
fn load_configuration() -> Snippet {
    snippet(
        SHELL,
        "# on the host of the server; the first line must not complain\n\
         nats-server -t -c nats-server.conf\n\
         nats-server --signal reload=\"$(pidof -s nats-server)\"",
    )
}

/// Rounds up to two digits, so that nobody takes a suggestion for a measurement.
fn round_up(count: u64) -> u64 {
    let digits = count.checked_ilog10().unwrap_or(0);
    let unit = 10_u64.pow(digits.saturating_sub(1));
    count.div_ceil(unit).saturating_mul(unit)
}

/// Half as much again, rounded up.
fn half_more(count: u64) -> u64 {
    round_up(count.saturating_add(count / 2).saturating_add(count % 2))
}

#[cfg(test)]
mod tests;
