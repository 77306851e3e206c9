//! The headline: what there is to know of an incident in one line.

use std::collections::BTreeSet;
use std::fmt;

use crate::model::breakdown::{By, Dimension, Figures, Group, share};
use crate::model::member::Member;
use crate::model::printable::{percent, with_commas};
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
    let per_server: BTreeSet<String> = truths
        .iter()
        .filter_map(|(_, truth)| {
            let server = truth.server.as_deref().filter(|_| coverage.servers.len() > 1)?;
            Some(format!("{server} {}", truth.count()?))
        })
        .collect();
    let per_server: Vec<String> = per_server.into_iter().take(3).collect();
    if !per_server.is_empty() {
        line.push_str(&format!(" ({})", per_server.join(", ")));
    }
    if let Some((member, _)) = truths.iter().find(|(_, truth)| truth.value_saturated == Some(true)) {
        let said = member.alert.value.map_or(0.0, |value| value.value);
        line.push_str(&format!(", not {said}: the alert's number is the length of one /connz page"));
    }

    let servers: BTreeSet<&str> = truths.iter().filter_map(|(_, truth)| truth.server.as_deref()).collect();
    let one_of_several = servers.iter().next().filter(|_| servers.len() == 1 && coverage.servers.len() > 1);
    if let Some(holder) = Holder::find(snapshot, one_of_several.copied()) {
        line.push_str(&format!("; {holder}"));
    }
    let unnamed = snapshot.breakdowns.get(&Dimension::Application.into()).and_then(|breakdown| {
        // said already, if they are the most
        breakdown.groups.iter().skip(1).find(|group| group.absent)
    });
    if let Some(unnamed) = unnamed {
        line.push_str(&format!("; {} have no name", with_commas(unnamed.figures.connections)));
    }
    if !coverage.complete {
        let seen = with_commas(coverage.seen);
        line.push_str(&format!(
            "; INCOMPLETE: {seen} seen, {} of {} servers in full",
            coverage.each_server().filter(|server| server.error.is_none()).count(),
            coverage.each_server().count()
        ));
    }
    line
}

/// The application that holds most connections: of one server, or of the cluster.
struct Holder<'a> {
    /// `None` for clients without a name.
    application: Option<&'a str>,
    figures: &'a Figures,
    share: f64,
    server: Option<&'a str>,
}

impl<'a> Holder<'a> {
    /// Finds it, if it is worth naming.
    fn find(snapshot: &'a Snapshot, server: Option<&'a str>) -> Option<Self> {
        let by = match server {
            None => By::from(Dimension::Application),
            Some(_) => By::crossed(Dimension::Application, Dimension::Server),
        };
        let groups = &snapshot.breakdowns.get(&by)?.groups;
        let is_meant = |group: &&Group| {
            server.is_none_or(|server| group.keys.get(&Dimension::Server).is_some_and(|key| key == server))
        };
        let largest = groups.iter().find(is_meant)?;
        let whole = groups.iter().filter(is_meant).map(|group| group.figures.connections).sum();
        let share = server.map_or(largest.share, |_| share(largest.figures.connections, whole));
        let key = largest.keys.get(&Dimension::Application).unwrap_or(&largest.key);
        let application = (!largest.absent).then_some(key.as_str());
        (share >= WORTH_NAMING).then_some(Self { application, figures: &largest.figures, share, server })
    }
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", percent(self.share))?;
        if let Some(server) = self.server {
            write!(f, "of those on {server} ")?;
        }
        match self.application {
            Some(application) => write!(f, "are {application}")?,
            None => f.write_str("have no name")?,
        }
        if self.figures.distinct_ips == 1 {
            f.write_str(" from one address")?;
        }
        let idle = self.figures.idle_without_traffic;
        if idle * 2 > self.figures.connections {
            write!(f, ", {} of them idle and without traffic", with_commas(idle))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::breakdown::Breakdown;
    use crate::model::snapshot::Coverage;

    fn group(key: &str, server: &str, connections: u64) -> Group {
        let keys = BTreeMap::from([
            (Dimension::Application, key.to_owned()),
            (Dimension::Server, server.to_owned()),
        ]);
        Group {
            key: if server.is_empty() { key.to_owned() } else { format!("{key} / {server}") },
            keys: if server.is_empty() { BTreeMap::new() } else { keys },
            absent: key == "(unnamed)",
            share: share(connections, 100),
            figures: Figures { connections, distinct_ips: 2, ..Figures::default() },
            ..Group::default()
        }
    }

    #[test]
    fn the_holder_is_that_of_the_server_that_is_meant() {
        let breakdown = |groups| Breakdown { groups, ..Breakdown::default() };
        let whole = [group("orders", "", 60), group("reports", "", 31), group("(unnamed)", "", 9)];
        let crossed = [group("orders", "a", 60), group("reports", "b", 31), group("(unnamed)", "b", 9)];
        let snapshot = Snapshot {
            cluster: "c".to_owned(),
            taken_at: jiff::Timestamp::UNIX_EPOCH,
            coverage: Coverage::of(Vec::new(), 0),
            breakdowns: [
                (By::from(Dimension::Application), breakdown(whole.to_vec())),
                (By::crossed(Dimension::Application, Dimension::Server), breakdown(crossed.to_vec())),
            ]
            .into(),
            closed: None,
        };
        let told = |server| Holder::find(&snapshot, server).map(|holder| holder.to_string());
        assert_eq!(told(None).as_deref(), Some("60 % are orders"));
        assert_eq!(told(Some("b")).as_deref(), Some("77.5 % of those on b are reports"));
        assert_eq!(told(Some("elsewhere")), None);
    }
}
