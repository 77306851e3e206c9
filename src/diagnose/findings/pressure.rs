//! Resource pressure: a server runs out of processor time or memory.

use crate::diagnose::case::Case;
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::printable::{percent, size};

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (server, vitals) in case.servers() {
        let name = server.display_name();
        let cpu = vitals
            .cpu_percent
            .zip(vitals.cores)
            .map(|(percent, cores)| percent / 100.0 / cores.max(1) as f64);
        let memory = vitals
            .memory_bytes
            .zip(vitals.memory_limit_bytes.filter(|limit| *limit > 0))
            .map(|(used, limit)| (used, limit, used as f64 / limit as f64));
        let mut evidence = Vec::new();
        if let Some(cpu) = cpu.filter(|cpu| *cpu >= case.rules.cpu_share) {
            let text = format!("{} of its {} cores are busy", percent(cpu), vitals.cores.unwrap_or(1));
            evidence.push(Fact::new("cpu_share", cpu, text));
        }
        if let Some((used, limit, part)) = memory.filter(|(_, _, part)| *part >= case.rules.memory_share) {
            let text = format!("it uses {} of its memory limit of {}", size(used), size(limit));
            evidence.push(Fact::new("memory_share", part, text));
        }
        if evidence.is_empty() {
            continue;
        }
        let what: Vec<&str> = evidence.iter().map(|fact| fact.text.as_str()).collect();
        findings.push(Finding {
            kind: FindingKind::ResourcePressure,
            severity: Severity::Warning,
            confidence: 0.8,
            summary: format!("{name} runs out of resources: {}", what.join(", ")),
            subject: Some(Subject::new(Dimension::Server, name)),
            since: None,
            evidence,
            confirm: "The host's own metrics show the same, for minutes".to_owned(),
            refute: "It was a moment: the next looks show less".to_owned(),
        });
    }
    findings
}
