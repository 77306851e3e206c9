//! An imbalance: one server of the cluster has far more connections than the others.

use crate::diagnose::case::Case;
use crate::model::breakdown::{By, Dimension, share};
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::printable::{percent, with_commas};

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let servers: Vec<(&str, u64)> = case
        .evidence
        .snapshot
        .coverage
        .servers
        .iter()
        .filter_map(|server| Some((server.display_name(), server.total()?)))
        .collect();
    if servers.len() < 2 {
        return None;
    }
    let whole: u64 = servers.iter().map(|(_, connections)| connections).sum();
    let mean = whole as f64 / servers.len() as f64;
    let (name, most) = servers.iter().max_by_key(|(_, connections)| *connections)?;
    let part = share(*most, whole);
    let factor = if mean > 0.0 { *most as f64 / mean } else { 0.0 };
    let uneven = |part: f64, factor: f64| {
        // two servers: twice the mean would be everything
        part >= case.rules.imbalance_share || (servers.len() > 2 && factor >= case.rules.imbalance_factor)
    };
    if *most < case.rules.least_connections || !uneven(part, factor) {
        return None;
    }
    // one application may be on one server by itself; whether the others are spread evenly is another matter
    let (others_most, others_whole) = without_suspects(case, name, *most, whole);
    let others_mean = others_whole as f64 / servers.len() as f64;
    let others_factor = if others_mean > 0.0 { others_most as f64 / others_mean } else { 0.0 };
    let by_itself = others_whole > 0 && !uneven(share(others_most, others_whole), others_factor);
    let list: Vec<String> =
        servers.iter().map(|(name, connections)| format!("{name} {}", with_commas(*connections))).collect();
    Some(Finding {
        kind: FindingKind::Imbalance,
        severity: Severity::Warning,
        confidence: if by_itself { 0.4 } else { 0.9 },
        summary: format!(
            "{name} has {} of the cluster's {} connections ({}, {factor:.1} times the mean)",
            with_commas(*most),
            with_commas(whole),
            percent(part),
        ),
        subject: Some(Subject::new(Dimension::Server, *name)),
        since: None,
        evidence: vec![
            Fact::new("share", part, format!("{} of all connections", percent(part))),
            Fact::new("times_the_mean", factor, format!("{factor:.1} times the mean of {} servers", servers.len())),
            Fact::count("connections", *most, list.join(", ")),
        ],
        confirm: "The clients' list of servers: a single address, an order that is not shuffled, or a load balancer that \
                  keeps to one"
            .to_owned(),
        refute: "Applications are pinned to this server on purpose".to_owned(),
    })
}

/// What a server and the cluster have without those who explain the growth.
fn without_suspects(case: &Case<'_>, server: &str, most: u64, whole: u64) -> (u64, u64) {
    let crossed = By::crossed(Dimension::Application, Dimension::Server);
    let Some(crossed) = case.evidence.snapshot.breakdowns.get(&crossed) else { return (most, whole) };
    let of_suspects = crossed.groups.iter().filter(|group| {
        let application = group.keys.get(&Dimension::Application);
        case.suspects.iter().any(|suspect| application == Some(&suspect.group.key))
    });
    of_suspects.fold((most, whole), |(most, whole), group| {
        let connections = group.figures.connections;
        let here = group.keys.get(&Dimension::Server).is_some_and(|key| key == server);
        (most.saturating_sub(if here { connections } else { 0 }), whole.saturating_sub(connections))
    })
}
