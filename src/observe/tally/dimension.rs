//! The groups of one dimension, or of two crossed: a bounded number, the lightest folded away exactly.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use crate::model::breakdown::{Breakdown, By, Dimension, Figures, Group, Other, share};
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

    fn into_group(self, key: String, keys: BTreeMap<Dimension, String>, absent: bool, total: u64) -> Group {
        let label = self.label.filter(|label| **label != *key);
        let example = self.example.filter(|example| **example != *key);
        Group {
            key,
            keys,
            absent,
            label: label.map(String::from),
            example: example.map(String::from),
            undercount: self.undercount,
            share: share(self.counts.connections, total),
            figures: self.counts.figures(),
        }
    }
}

/// Writes the keys of two crossed dimensions as one, so that it can be taken apart again whatever they hold.
pub(super) fn cross(first: Option<&str>, second: Option<&str>, crossed: &mut String) {
    crossed.clear();
    let absent = u8::from(first.is_none()) | u8::from(second.is_none()) << 1;
    let (first, second) = (first.unwrap_or_default(), second.unwrap_or_default());
    write!(crossed, "{absent}{}:", first.len()).expect("writing into a string cannot fail");
    crossed.push_str(first);
    crossed.push_str(second);
}

/// Takes apart what [`cross`] wrote.
fn uncross(crossed: &str) -> Option<(Option<&str>, Option<&str>)> {
    let (flags, keys) = crossed.split_once(':')?;
    let (absent, length) = flags.split_at_checked(1)?;
    let absent: u8 = absent.parse().ok()?;
    let (first, second) = keys.split_at_checked(length.parse().ok()?)?;
    Some(((absent & 1 == 0).then_some(first), (absent & 2 == 0).then_some(second)))
}

#[derive(Debug)]
pub(super) struct DimensionTally {
    pub(super) by: By,
    groups: HashMap<Box<str>, GroupTally>,
    absent: Option<GroupTally>,
    other: Counts,
    /// The most connections of one key that may have been folded; 0 means that nothing was.
    floor: u64,
}

impl DimensionTally {
    pub(super) fn new(by: By) -> Self {
        Self { by, groups: HashMap::new(), absent: None, other: Counts::default(), floor: 0 }
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
            light.counts.addresses.give_back(budget);
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
        let (by, connections) = (self.by, total.connections);
        let absent = self.absent.map(|group| {
            let dimension = by.first();
            group.into_group(
                dimension.absent().to_owned(),
                BTreeMap::new(),
                is_nameless(dimension),
                connections,
            )
        });
        let keyed = self.groups.into_iter().map(|(key, group)| match by.second() {
            None => group.into_group(key.into(), BTreeMap::new(), false, connections),
            Some(second) => {
                let (one, two) = uncross(&key).expect("crossed keys were written by `cross`");
                let absent = [(by.first(), one), (second, two)]
                    .into_iter()
                    .any(|(dimension, key)| key.is_none() && is_nameless(dimension));
                let one = one.unwrap_or(by.first().absent());
                let two = two.unwrap_or(second.absent());
                let keys = BTreeMap::from([(by.first(), one.to_owned()), (second, two.to_owned())]);
                group.into_group(format!("{one} / {two}"), keys, absent, connections)
            }
        });
        let mut groups: Vec<Group> = keyed.chain(absent).collect();
        groups.sort_unstable_by(|one, two| {
            let by_weight = two.figures.connections.cmp(&one.figures.connections);
            by_weight.then_with(|| (&one.key, &one.keys, one.absent).cmp(&(&two.key, &two.keys, two.absent)))
        });
        let other = Other {
            groups: (self.floor == 0).then_some(0),
            share: share(self.other.connections, connections),
            figures: self.other.figures(),
        };
        Breakdown { groups, other, total: total.clone() }
    }
}

/// Whether connections without a value have no name for it either: the global account is a group like any other,
/// only that connz does not say its name.
fn is_nameless(dimension: Dimension) -> bool {
    dimension != Dimension::Account
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossed_keys_are_taken_apart_whatever_they_hold() {
        let keys = [None, Some(""), Some("a"), Some("1:b"), Some("ü/\u{0}:"), Some("03:")];
        let mut seen = std::collections::HashSet::new();
        for first in keys {
            for second in keys {
                let mut crossed = String::new();
                cross(first, second, &mut crossed);
                assert_eq!(uncross(&crossed), Some((first, second)));
                assert!(seen.insert(crossed));
            }
        }
    }
}
