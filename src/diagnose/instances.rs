//! Instances: whether an application that grew runs in more instances than before, or has more connections in each.
//!
//! An instance is an address, or where addresses tell nothing (everything behind one of them), a client name. One is new
//! if all of its connections began after the growth did.

use jiff::Timestamp;

use crate::diagnose::growth::GroupGrowth;
use crate::model::breakdown::{By, Dimension, Figures, Group};
use crate::model::diagnosis::Origin;
use crate::model::evidence::Evidence;

/// How many addresses are named.
const MOST_ORIGINS: usize = 5;

/// Where the connections of an application are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Instances {
    /// Those that were there before.
    pub old: Share,
    /// Those that came with the growth.
    pub new: Share,
    /// The connections that began with the growth, at instances that were there before.
    pub added_to_old: u64,
}

/// Some instances and what they have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Share {
    /// How many instances.
    pub instances: u64,
    /// What they have.
    pub figures: Figures,
}

impl Share {
    /// Connections per instance; `None` without instances.
    pub fn per_instance(&self) -> Option<f64> {
        (self.instances > 0).then(|| self.figures.connections as f64 / self.instances as f64)
    }

    fn add(&mut self, figures: &Figures) {
        self.instances += 1;
        self.figures.absorb(figures);
    }
}

impl Instances {
    /// Sorts the addresses of an application.
    pub fn by_address(evidence: &Evidence, application: &GroupGrowth, since: Timestamp) -> Self {
        Self::sort(addresses(evidence, application), since)
    }

    /// Sorts the client names of an application.
    pub fn by_name(evidence: &Evidence, application: &GroupGrowth, since: Timestamp) -> Self {
        let names = evidence.breakdown(Dimension::Name).map_or(&[][..], |names| &names.groups);
        let of_application = names.iter().filter(|name| {
            !name.absent
                && !application.absent
                && evidence.applications.application(&name.key) == application.key
        });
        Self::sort(of_application, since)
    }

    fn sort<'a>(groups: impl Iterator<Item = &'a Group>, since: Timestamp) -> Self {
        let mut instances = Self::default();
        for group in groups {
            let figures = &group.figures;
            if figures.oldest_start.is_some_and(|start| start >= since) {
                instances.new.add(figures);
            } else {
                instances.old.add(figures);
                instances.added_to_old += group.starts.opened_since(since);
            }
        }
        instances
    }

    /// How many instances there are.
    pub fn count(&self) -> u64 {
        self.old.instances + self.new.instances
    }

    /// The share of the growth that new instances brought, from 0 to 1.
    pub fn new_share(&self, grown_by: u64) -> f64 {
        if grown_by == 0 {
            return 0.0;
        }
        (self.new.figures.connections as f64 / grown_by as f64).min(1.0)
    }
}

/// The addresses an application comes from.
pub fn addresses<'a>(
    evidence: &'a Evidence,
    application: &'a GroupGrowth,
) -> impl Iterator<Item = &'a Group> {
    let crossed = evidence.snapshot.breakdowns.get(&By::crossed(Dimension::Application, Dimension::Ip));
    let groups = crossed.map_or(&[][..], |crossed| &crossed.groups);
    groups.iter().filter(|group| group.keys.get(&Dimension::Application) == Some(&application.key))
}

/// Where most of an application comes from: its addresses, or their networks where many have little each.
pub fn origins(evidence: &Evidence, application: &GroupGrowth) -> Vec<Origin> {
    let mut by_address: Vec<(&str, u64)> = addresses(evidence, application)
        .filter_map(|group| Some((group.keys.get(&Dimension::Ip)?.as_str(), group.figures.connections)))
        .collect();
    by_address.sort_by(|one, two| two.1.cmp(&one.1).then_with(|| one.0.cmp(two.0)));
    let origin =
        |(address, connections): (&str, u64)| Origin { address: address.to_owned(), name: None, connections };
    by_address.into_iter().take(MOST_ORIGINS).map(origin).collect()
}
