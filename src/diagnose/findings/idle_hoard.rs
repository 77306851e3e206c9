//! A hoard: an application holds connections that it does not use, and did so before.

use crate::diagnose::case::Case;
use crate::model::breakdown::{Dimension, Group, share};
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::printable::{percent, with_commas};

/// So much of an application's connections must be idle and without one message.
const IDLE: f64 = 0.8;

/// So much of all connections must be its.
const LARGE: f64 = 0.2;

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let Some(all) = case.evidence.breakdown(Dimension::Application) else { return Vec::new() };
    // where nobody has any traffic, idleness tells nobody from another
    let total = &all.total;
    let hoards = all.groups.iter().filter(|group| {
        let figures = &group.figures;
        let suspected = case.suspects.iter().any(|suspect| suspect.group.key == group.key);
        let others = share(
            total.idle_without_traffic.saturating_sub(figures.idle_without_traffic),
            total.connections.saturating_sub(figures.connections),
        );
        // a quiet subscriber waits for messages: that is what its connection is for
        let waits = figures.subscriptions * 2 >= figures.connections;
        !suspected
            && !waits
            && !group.absent
            && figures.idle_without_traffic >= case.rules.least_connections
            && share(figures.idle_without_traffic, figures.connections) >= IDLE
            && share(figures.connections, total.connections) >= LARGE
            && others < 0.5
    });
    let finding = |group: &Group| {
        let figures = &group.figures;
        let idle = share(figures.idle_without_traffic, figures.connections);
        Finding {
            kind: FindingKind::IdleHoard,
            severity: Severity::Warning,
            confidence: 0.85,
            summary: format!(
                "{} holds {} connections ({} of all), {} of them idle without one message since they began",
                group.key,
                with_commas(figures.connections),
                percent(group.share),
                percent(idle),
            ),
            subject: Some(Subject::new(Dimension::Application, &group.key)),
            since: figures.oldest_start,
            evidence: vec![
                Fact::count(
                    "connections",
                    figures.connections,
                    format!("{} connections", with_commas(figures.connections)),
                ),
                Fact::count(
                    "idle_without_traffic",
                    figures.idle_without_traffic,
                    format!("{} idle without one message", with_commas(figures.idle_without_traffic)),
                ),
                Fact::count(
                    "subscriptions",
                    figures.subscriptions,
                    format!("{} subscriptions", with_commas(figures.subscriptions)),
                ),
            ],
            confirm: "A pool in its configuration is larger than what it uses at the same time".to_owned(),
            refute: "They wait for messages that come seldom, such as alarms".to_owned(),
        }
    };
    hoards.map(finding).collect()
}
