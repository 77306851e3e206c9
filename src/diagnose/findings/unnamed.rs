//! Clients that do not say who they are, where nobody can tell them apart.

use crate::diagnose::case::Case;
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::printable::{percent, with_commas};

/// So much of all connections must be without a name.
const MANY: f64 = 0.5;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    // who grew is told as a suspect
    if case.suspects.iter().any(|suspect| suspect.group.absent) {
        return None;
    }
    let all = case.evidence.breakdown(Dimension::Application)?;
    let unnamed = all.groups.iter().find(|group| group.absent)?;
    let figures = &unnamed.figures;
    if figures.connections < case.rules.least_connections || unnamed.share < MANY {
        return None;
    }
    Some(Finding {
        kind: FindingKind::Unnamed,
        severity: Severity::Info,
        confidence: 0.8,
        summary: format!(
            "{} connections ({} of all) do not say who they are; they come from {} addresses",
            with_commas(figures.connections),
            percent(unnamed.share),
            with_commas(figures.distinct_ips),
        ),
        subject: Some(Subject::new(Dimension::Application, &unnamed.key)),
        since: None,
        evidence: vec![
            Fact::count(
                "connections",
                figures.connections,
                format!("{} without a name", with_commas(figures.connections)),
            ),
            Fact::count(
                "addresses",
                figures.distinct_ips,
                format!("from {} addresses", with_commas(figures.distinct_ips)),
            ),
        ],
        confirm: "Their users, accounts and addresses below tell who they may be".to_owned(),
        refute: "They are known by user or account, and need no name".to_owned(),
    })
}
