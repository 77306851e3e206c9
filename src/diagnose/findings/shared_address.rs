//! An address that many applications share: a NAT, a proxy or a gateway. Blocking it would hit all of them.

use std::collections::BTreeMap;

use crate::diagnose::case::Case;
use crate::model::breakdown::{By, Dimension, share};
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::printable::{percent, with_commas};

/// So many applications behind one address share it.
const LEAST_APPLICATIONS: usize = 5;

/// So much of all connections must come from there.
const LARGE: f64 = 0.4;

/// With fewer addresses than this there are no peers to compare with.
const LEAST_ADDRESSES: usize = 3;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let all = case.evidence.breakdown(Dimension::Ip)?;
    let address = all.groups.iter().find(|group| !group.absent)?;
    let crossed =
        case.evidence.snapshot.breakdowns.get(&By::crossed(Dimension::Application, Dimension::Ip))?;
    let mut here: BTreeMap<&str, u64> = BTreeMap::new();
    for group in &crossed.groups {
        let (Some(application), Some(ip)) =
            (group.keys.get(&Dimension::Application), group.keys.get(&Dimension::Ip))
        else {
            continue;
        };
        if *ip == address.key {
            *here.entry(application).or_default() += group.figures.connections;
        }
    }
    let connections = address.figures.connections;
    let largest = here.iter().max_by_key(|(_, connections)| **connections)?;
    // a host of one application with a few tools beside it is no gateway
    let mixed = share(*largest.1, connections) < 0.7;
    if connections < case.rules.least_connections {
        return None;
    }
    if here.len() < LEAST_APPLICATIONS || !mixed || share(connections, all.total.connections) < LARGE {
        return None;
    }
    let alone = all.groups.len() < LEAST_ADDRESSES && all.other.figures.connections == 0;
    let mut summary = format!(
        "{} applications with {} connections ({} of all) come from {}",
        here.len(),
        with_commas(connections),
        percent(address.share),
        address.key,
    );
    summary.push_str(if alone {
        ": nearly nobody comes from elsewhere"
    } else {
        ": a NAT, a proxy or a gateway"
    });
    Some(Finding {
        kind: FindingKind::SharedAddress,
        severity: Severity::Info,
        confidence: if alone { 0.4 } else { 0.85 },
        summary,
        subject: Some(Subject::new(Dimension::Ip, &address.key)),
        since: None,
        evidence: vec![
            Fact::count("connections", connections, format!("{} connections", with_commas(connections))),
            Fact::count("applications", here.len() as u64, format!("of {} applications", here.len())),
            Fact::count(
                "largest",
                *largest.1,
                format!("the largest is {} with {}", largest.0, with_commas(*largest.1)),
            ),
        ],
        confirm: "The address is that of a gateway, a load balancer or a cluster's egress".to_owned(),
        refute: "It is one machine on which all of these run".to_owned(),
    })
}
