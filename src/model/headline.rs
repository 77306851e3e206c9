//! The headline: what there is to know of an incident in one line.

use crate::model::breakdown::Dimension;
use crate::model::member::Member;
use crate::model::printable::with_commas;
use crate::model::snapshot::Snapshot;
use crate::model::truth::Truth;

/// From which share on an application is worth naming.
const WORTH_NAMING: f64 = 0.1;

/// Says how many connections there really are, what the alert made of them, and who holds most.
pub fn headline<'a>(members: impl IntoIterator<Item = &'a Member>, snapshot: &Snapshot) -> String {
    let coverage = &snapshot.coverage;
    let place = match coverage.servers.as_slice() {
        [server] => server.display_name().to_owned(),
        servers => format!("the {} servers of {}", servers.len(), snapshot.cluster),
    };
    let mut line = format!("{} connections on {place}", with_commas(coverage.total.max(coverage.seen)));

    let truths: Vec<_> = members
        .into_iter()
        .filter(|member| member.is_firing())
        .filter_map(|member| Some((member, Truth::about(member, coverage)?)))
        .collect();
    let per_server = truths.iter().filter_map(|(_, truth)| {
        let server = truth.server.as_deref().filter(|_| coverage.servers.len() > 1)?;
        Some(format!("{server} {}", truth.count()?))
    });
    let per_server: Vec<String> = per_server.take(3).collect();
    if !per_server.is_empty() {
        line.push_str(&format!(" ({})", per_server.join(", ")));
    }
    if let Some((member, _)) = truths.iter().find(|(_, truth)| truth.value_saturated == Some(true)) {
        let said = member.alert.value.map_or(0.0, |value| value.value);
        line.push_str(&format!(", not {said}: the alert's number is the length of one /connz page"));
    }

    if let Some(breakdown) = snapshot.breakdowns.get(&Dimension::Application.into()) {
        let largest = breakdown.groups.first().filter(|group| group.share >= WORTH_NAMING);
        if let Some(group) = largest {
            let what = if group.absent { "have no name" } else { "are " };
            let name = if group.absent { "" } else { &group.key };
            line.push_str(&format!("; {} {what}{name}", percent(group.share)));
            let (idle, ips) = (group.figures.idle_without_traffic, group.figures.distinct_ips);
            if ips == 1 {
                line.push_str(" from one address");
            }
            if idle * 2 > group.figures.connections {
                line.push_str(&format!(", {} of them idle and without traffic", with_commas(idle)));
            }
        }
        let unnamed = breakdown.groups.iter().skip(usize::from(largest.is_some())).find(|group| group.absent);
        if let Some(unnamed) = unnamed {
            line.push_str(&format!("; {} have no name", with_commas(unnamed.figures.connections)));
        }
    }
    if !coverage.complete {
        let seen = with_commas(coverage.seen);
        line.push_str(&format!(
            "; INCOMPLETE: {seen} seen, {} of {} servers in full",
            coverage.servers.iter().filter(|server| server.error.is_none()).count(),
            coverage.servers.len()
        ));
    }
    line
}

/// Writes a share as a percentage.
fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
