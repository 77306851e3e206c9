//! Picking: the victims found among connections that stream by.
//!
//! Memory is bounded by what is asked for, not by how many connections there are. Of each group of which a minimum is
//! kept, the last in the order are set aside, as many as the minimum; all others compete for the places of victims. What
//! a server let us see is picked by itself, and then put together with the rest: the result is that of one long list,
//! in whatever order it came.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::protection::{Protection, ProtectionReason};
use crate::model::selector::{Candidate, Selector};
use crate::model::victim::{KeepOf, Rank, Victim, VictimLimits, VictimOrder};

/// How many groups of which a minimum is kept are told apart. Of any beyond them all connections are kept.
const GROUPS_TOLD_APART: usize = 16_384;

/// Which connections are picked.
#[derive(Debug, Clone)]
pub struct PickingRules {
    /// Which are meant.
    pub selector: Selector,
    /// Which are never picked.
    pub protection: Protection,
    /// Which go first.
    pub order: VictimOrder,
    /// How many.
    pub limits: VictimLimits,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picked {
    /// All connections that came by.
    pub total: u64,
    /// Those that the selector means, protected ones among them.
    pub matched: u64,
    /// Of these, those that are protected, by why.
    pub protected: BTreeMap<ProtectionReason, u64>,
    /// Those that stay because a minimum is kept.
    pub kept: u64,
    /// The victims, first to last.
    pub victims: Vec<Victim>,
}

/// Finds victims among connections that stream by.
#[derive(Debug)]
pub struct Picking {
    rules: Arc<PickingRules>,
    total: u64,
    matched: u64,
    protected: BTreeMap<ProtectionReason, u64>,
    /// The best so far, the worst of them on top.
    victims: BinaryHeap<Ranked>,
    groups: HashMap<GroupKey, Group>,
    /// Matched connections of groups that are not told apart.
    untold: u64,
}

/// Whatever a minimum is kept of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    application: Option<String>,
    ip: Option<IpAddr>,
}

#[derive(Debug, Default)]
struct Group {
    /// Connections that stay anyway: those that are not meant, or are protected.
    others: u64,
    /// The last in the order of those that are meant, as many as the minimum.
    reserve: BTreeSet<Ranked>,
}

/// A victim in its place; compared by that.
#[derive(Debug, Clone)]
struct Ranked {
    rank: Rank,
    victim: Victim,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl Picking {
    /// Begins with no connections.
    pub fn new(rules: Arc<PickingRules>) -> Self {
        Self {
            rules,
            total: 0,
            matched: 0,
            protected: BTreeMap::new(),
            victims: BinaryHeap::new(),
            groups: HashMap::new(),
            untold: 0,
        }
    }

    /// Looks at a connection.
    pub fn see(&mut self, candidate: &Candidate<'_>) {
        self.total += 1;
        let matches = self.rules.selector.matches(candidate);
        let protected = if matches { self.rules.protection.of(candidate) } else { None };
        if matches {
            self.matched += 1;
        }
        if let Some(reason) = protected {
            *self.protected.entry(reason).or_default() += 1;
        }
        let meant = matches && protected.is_none();
        let keep = self.keep();
        if keep == 0 {
            if meant {
                self.offer(candidate);
            }
            return;
        }
        let key = self.group_of(candidate);
        if self.groups.len() >= GROUPS_TOLD_APART && !self.groups.contains_key(&key) {
            self.untold += u64::from(meant);
            return;
        }
        let group = self.groups.entry(key).or_default();
        if !meant {
            group.others += 1;
            return;
        }
        let rank = self.rules.order.rank(candidate);
        if group.reserve.len() < keep {
            group.reserve.insert(Ranked { rank, victim: Victim::of(candidate) });
        } else if group.reserve.first().is_some_and(|first| first.rank < rank) {
            let first = group.reserve.pop_first();
            group.reserve.insert(Ranked { rank, victim: Victim::of(candidate) });
            if let Some(first) = first {
                self.take(first);
            }
        } else {
            self.offer(candidate);
        }
    }

    /// Counts a connection that cannot be named for certain, and so is never a victim.
    pub fn pass_over(&mut self) {
        self.total += 1;
    }

    /// Adds what was seen elsewhere by the same rules.
    pub fn absorb(&mut self, other: Self) {
        self.total += other.total;
        self.matched += other.matched;
        self.untold += other.untold;
        for (reason, count) in other.protected {
            *self.protected.entry(reason).or_default() += count;
        }
        for ranked in other.victims {
            self.take(ranked);
        }
        let keep = self.keep();
        for (key, theirs) in other.groups {
            if self.groups.len() >= GROUPS_TOLD_APART && !self.groups.contains_key(&key) {
                self.untold += theirs.reserve.len() as u64;
                continue;
            }
            let mine = self.groups.entry(key).or_default();
            mine.others += theirs.others;
            mine.reserve.extend(theirs.reserve);
            let mut surplus = Vec::new();
            while mine.reserve.len() > keep {
                surplus.extend(mine.reserve.pop_first());
            }
            surplus.into_iter().for_each(|ranked| self.take(ranked));
        }
    }

    /// Ends the search.
    pub fn finish(mut self) -> Picked {
        let keep = self.keep() as u64;
        let mut kept = self.untold;
        for mut group in std::mem::take(&mut self.groups).into_values() {
            // those that stay anyway count for the minimum
            let needed = keep.saturating_sub(group.others);
            while group.reserve.len() as u64 > needed {
                if let Some(first) = group.reserve.pop_first() {
                    self.take(first);
                }
            }
            kept += group.reserve.len() as u64;
        }
        let mut victims = self.victims.into_sorted_vec();
        victims.truncate(self.rules.limits.most_of(self.total));
        Picked {
            total: self.total,
            matched: self.matched,
            protected: self.protected,
            kept,
            victims: victims.into_iter().map(|ranked| ranked.victim).collect(),
        }
    }

    fn keep(&self) -> usize {
        self.rules.limits.keep as usize
    }

    fn group_of(&self, candidate: &Candidate<'_>) -> GroupKey {
        GroupKey {
            application: candidate.application.map(str::to_owned),
            ip: candidate.ip.filter(|_| self.rules.limits.keep_of == KeepOf::ApplicationAndIp),
        }
    }

    /// Gives a connection a place among the victims, if it deserves one.
    fn offer(&mut self, candidate: &Candidate<'_>) {
        let rank = self.rules.order.rank(candidate);
        if self.has_place_for(&rank) {
            self.take(Ranked { rank, victim: Victim::of(candidate) });
        }
    }

    fn has_place_for(&self, rank: &Rank) -> bool {
        self.victims.len() < self.places() || self.victims.peek().is_some_and(|worst| *rank < worst.rank)
    }

    fn take(&mut self, ranked: Ranked) {
        if !self.has_place_for(&ranked.rank) {
            return;
        }
        self.victims.push(ranked);
        if self.victims.len() > self.places() {
            self.victims.pop();
        }
    }

    /// How many victims there may be as long as the number of all connections is not known.
    fn places(&self) -> usize {
        self.rules.limits.most_of(u64::MAX)
    }
}
