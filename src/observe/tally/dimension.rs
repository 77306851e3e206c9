//! The groups of one dimension: a bounded number, the lightest folded away exactly.

use std::collections::HashMap;

use crate::model::breakdown::{Breakdown, Dimension, Figures, Group, Other, share};
use crate::observe::addresses::PairBudget;
use crate::observe::tally::counts::{Counts, Sighting};

/// How many groups of a dimension survive a fold. With 4096 the true top 20 of a million names, 95 % of them
/// unique, are found with at most 0.2 % missing (measured).
pub(super) const GROUPS_KEPT: usize = 4096;

/// What a group remembers of the first of its connections that had it.
#[derive(Default, Clone, Copy)]
pub(super) struct Note<'a> {
    pub(super) label: Option<&'a str>,
    pub(super) example: Option<&'a str>,
}

#[derive(Debug, Default)]
struct GroupTally {
    counts: Counts,
    label: Option<Box<str>>,
    example: Option<Box<str>>,
    /// How many connections may have been folded into `other` before the group was kept.
    undercount: u64,
}

impl GroupTally {
    fn add(&mut self, note: Note<'_>, sighting: &Sighting, budget: &mut PairBudget) {
        self.counts.add(sighting, budget);
        if self.label.is_none() {
            self.label = note.label.map(Box::from);
        }
        if self.example.is_none() {
            self.example = note.example.map(Box::from);
        }
    }

    fn into_group(self, key: String, absent: bool, total: u64) -> Group {
        let label = self.label.filter(|label| **label != *key);
        let example = self.example.filter(|example| **example != *key);
        Group {
            key,
            absent,
            label: label.map(String::from),
            example: example.map(String::from),
            undercount: self.undercount,
            share: share(self.counts.connections, total),
            figures: self.counts.figures(),
        }
    }
}

#[derive(Debug)]
pub(super) struct DimensionTally {
    pub(super) dimension: Dimension,
    groups: HashMap<Box<str>, GroupTally>,
    absent: Option<GroupTally>,
    other: Counts,
    /// The most connections of one key that may have been folded; 0 means that nothing was.
    floor: u64,
}

impl DimensionTally {
    pub(super) fn new(dimension: Dimension) -> Self {
        Self { dimension, groups: HashMap::new(), absent: None, other: Counts::default(), floor: 0 }
    }

    pub(super) fn add(
        &mut self,
        key: Option<&str>,
        note: Note<'_>,
        sighting: &Sighting,
        budget: &mut PairBudget,
    ) {
        let Some(key) = key else {
            self.absent.get_or_insert_default().add(note, sighting, budget);
            return;
        };
        // two look-ups only for a new key: `entry` would make a copy of every key
        if let Some(group) = self.groups.get_mut(key) {
            group.add(note, sighting, budget);
            return;
        }
        let mut group = GroupTally { undercount: self.floor, ..GroupTally::default() };
        group.add(note, sighting, budget);
        self.groups.insert(key.into(), group);
        if self.groups.len() >= 2 * GROUPS_KEPT {
            self.fold(budget);
        }
    }

    /// Keeps the heaviest groups and adds the others to `other`.
    fn fold(&mut self, budget: &mut PairBudget) {
        let mut groups: Vec<_> = self.groups.drain().collect();
        groups.select_nth_unstable_by(GROUPS_KEPT, |(_, one), (_, two)| {
            two.counts.connections.cmp(&one.counts.connections)
        });
        for (_, light) in groups.drain(GROUPS_KEPT..) {
            self.floor = self.floor.max(light.counts.connections + light.undercount);
            self.other.absorb(&light.counts, budget);
        }
        self.groups.extend(groups);
    }

    pub(super) fn absorb(&mut self, other: Self, budget: &mut PairBudget) {
        for (key, mine) in &mut self.groups {
            if !other.groups.contains_key(key) {
                mine.undercount += other.floor;
            }
        }
        for (key, theirs) in other.groups {
            if let Some(mine) = self.groups.get_mut(&key) {
                mine.counts.absorb(&theirs.counts, budget);
                mine.undercount += theirs.undercount;
            } else {
                let undercount = theirs.undercount + self.floor;
                self.groups.insert(key, GroupTally { undercount, ..theirs });
            }
        }
        if let Some(theirs) = other.absent {
            self.absent.get_or_insert_default().counts.absorb(&theirs.counts, budget);
        }
        self.other.absorb(&other.other, budget);
        self.floor += other.floor;
        if self.groups.len() >= 2 * GROUPS_KEPT {
            self.fold(budget);
        }
    }

    pub(super) fn into_breakdown(self, total: &Figures) -> Breakdown {
        let connections = total.connections;
        let absent = self.absent.map(|group| {
            // the global account is a group like any other, only that connz does not say its name
            let nameless = self.dimension != Dimension::Account;
            group.into_group(self.dimension.absent().to_owned(), nameless, connections)
        });
        let keyed =
            self.groups.into_iter().map(|(key, group)| group.into_group(key.into(), false, connections));
        let mut groups: Vec<Group> = keyed.chain(absent).collect();
        groups.sort_unstable_by(|one, two| {
            let by_weight = two.figures.connections.cmp(&one.figures.connections);
            by_weight.then_with(|| (&one.key, one.absent).cmp(&(&two.key, two.absent)))
        });
        let other = Other {
            groups: (self.floor == 0).then_some(0),
            share: share(self.other.connections, connections),
            figures: self.other.figures(),
        };
        Breakdown { groups, other, total: total.clone() }
    }
}
