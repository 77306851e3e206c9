//! An outlier: one address, account or user with far more connections than its peers, growing or not.

use crate::diagnose::case::Case;
use crate::model::breakdown::{Breakdown, By, Dimension, Group, share};
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::printable::{percent, with_commas};

/// So many times what half of its peers have at most.
const TIMES_THE_MEDIAN: f64 = 10.0;

/// So many times what the next one has.
const TIMES_THE_NEXT: f64 = 2.0;

/// With fewer peers than this nobody stands out of them.
const LEAST_PEERS: usize = 5;

/// So much of all connections must be its.
const LARGE: f64 = 0.1;

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    [Dimension::Ip, Dimension::User, Dimension::Account]
        .into_iter()
        .filter_map(|dimension| Some((dimension, case.evidence.breakdown(dimension)?)))
        .filter_map(|(dimension, all)| of_dimension(case, dimension, all))
        .collect()
}

fn of_dimension(case: &Case<'_>, dimension: Dimension, all: &Breakdown) -> Option<Finding> {
    let named: Vec<&Group> = all.groups.iter().filter(|group| !group.absent).collect();
    let (first, peers) = named.split_first()?;
    let least = if dimension == Dimension::User {
        case.rules.connections_per_user
    } else {
        case.rules.least_connections
    };
    let connections = first.figures.connections;
    if peers.len() < LEAST_PEERS || connections < least || share(connections, all.total.connections) < LARGE {
        return None;
    }
    let median = peers[peers.len() / 2].figures.connections.max(1);
    let times = connections as f64 / median as f64;
    let next = peers[0].figures.connections.max(1);
    if times < TIMES_THE_MEDIAN || (connections as f64) < next as f64 * TIMES_THE_NEXT {
        return None;
    }
    if dimension == Dimension::Ip && is_shared(case, &first.key, connections) {
        return None;
    }
    Some(Finding {
        kind: FindingKind::Outlier,
        severity: Severity::Warning,
        confidence: 0.75,
        summary: format!(
            "{dimension} {} has {} connections ({} of all), {times:.0} times as many as half of its {} peers at most",
            first.label.as_ref().unwrap_or(&first.key),
            with_commas(connections),
            percent(first.share),
            with_commas(peers.len() as u64),
        ),
        subject: Some(Subject::new(dimension, &first.key)),
        since: first.figures.oldest_start,
        evidence: vec![
            Fact::count("connections", connections, format!("{} connections", with_commas(connections))),
            Fact::count(
                "median_of_peers",
                median,
                format!("half of its peers have {} at most", with_commas(median)),
            ),
            Fact::count("next", next, format!("the next one has {}", with_commas(next))),
        ],
        confirm: "It does the same work as its peers".to_owned(),
        refute: "It is larger than its peers on purpose, and always was".to_owned(),
    })
}

/// Whether an address is that of several applications: a gateway is not to blame for what is behind it.
fn is_shared(case: &Case<'_>, ip: &str, connections: u64) -> bool {
    let crossed = case.evidence.snapshot.breakdowns.get(&By::crossed(Dimension::Application, Dimension::Ip));
    let here = crossed.into_iter().flat_map(|crossed| &crossed.groups);
    let largest = here
        .filter(|group| group.keys.get(&Dimension::Ip).is_some_and(|key| key == ip))
        .map(|group| group.figures.connections)
        .max();
    largest.is_some_and(|largest| share(largest, connections) < 0.7)
}
