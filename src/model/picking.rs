//! Picking: the victims found among connections that stream by.
//!
//! Memory is bounded by what is asked for, not by how many connections there are. Of each group of which a minimum is
//! kept, the last in the order are set aside, as many as the minimum; all others compete for the places of victims. What
//! a server let us see is picked by itself, and then put together with the rest: the result is that of one long list,
//! in whatever order it came.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};

use crate::model::protection::{Protection, ProtectionReason};
use crate::model::selector::{Candidate, Selector};
use crate::model::victim::{KeepOf, Rank, Victim, VictimLimits, VictimOrder};

/// How many groups of which a minimum is kept are told apart. Of any beyond them all connections are kept.
pub const GROUPS_TOLD_APART: usize = 16_384;

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
    /// The groups of the victims of which a minimum is kept, in order; none when no minimum is.
    pub groups: Vec<PickedGroup>,
    /// The victims, first to last.
    pub victims: Vec<Victim>,
}

/// A group of which a minimum is kept and that has victims.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PickedGroup {
    /// The application; `None` for connections without a name.
    pub application: Option<String>,
    /// The address, where minimums are kept of each.
    pub ip: Option<IpAddr>,
    /// All its connections that were seen, whether they were meant or not.
    pub total: u64,
    /// Of these, the victims.
    pub victims: u64,
}

impl PickedGroup {
    /// How many of it would be left.
    pub fn left(&self) -> u64 {
        self.total.saturating_sub(self.victims)
    }
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
    groups: HashMap<GroupKey, Group, RandomState>,
    /// Matched connections of groups that are not told apart.
    untold: u64,
}

/// Whatever a minimum is kept of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    application: Option<String>,
    ip: Option<IpAddr>,
}

/// The same without a copy of the name: hashed alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct GroupRef<'a> {
    application: Option<&'a str>,
    ip: Option<IpAddr>,
}

impl Equivalent<GroupKey> for GroupRef<'_> {
    fn equivalent(&self, key: &GroupKey) -> bool {
        self.ip == key.ip && self.application == key.application.as_deref()
    }
}

impl From<&GroupRef<'_>> for GroupKey {
    fn from(group: &GroupRef<'_>) -> Self {
        Self { application: group.application.map(str::to_owned), ip: group.ip }
    }
}

#[derive(Debug, Default)]
struct Group {
    /// Connections that stay anyway: those that are not meant, or are protected.
    others: u64,
    /// All others.
    meant: u64,
    /// The last in the order of those that are meant, as many as the minimum.
    reserve: BTreeSet<Ranked>,
}

/// A victim in its place; compared by that.
#[derive(Debug, Clone)]
struct Ranked {
    /// What its order says of it.
    first: (u64, u64),
    victim: Victim,
}

impl Ranked {
    fn new(rank: Rank<'_>, candidate: &Candidate<'_>) -> Self {
        Self { first: rank.first, victim: Victim::of(candidate) }
    }

    fn rank(&self) -> Rank<'_> {
        let key = &self.victim.key;
        Rank { first: self.first, server_id: &key.server_id, cid: key.cid }
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
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
        self.rank().cmp(&other.rank())
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
            groups: HashMap::default(),
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
        let key = self.group_of(candidate.application, candidate.ip);
        if self.groups.len() >= GROUPS_TOLD_APART && !self.groups.contains_key(&key) {
            self.untold += u64::from(meant);
            return;
        }
        let group = self.groups.entry_ref(&key).or_default();
        if !meant {
            group.others += 1;
            return;
        }
        group.meant += 1;
        let rank = self.rules.order.rank(candidate);
        if group.reserve.len() < keep {
            group.reserve.insert(Ranked::new(rank, candidate));
        } else if group.reserve.first().is_some_and(|first| first.rank() < rank) {
            let first = group.reserve.pop_first();
            group.reserve.insert(Ranked::new(rank, candidate));
            if let Some(first) = first {
                self.take(first);
            }
        } else {
            self.offer(candidate);
        }
    }

    /// Counts a connection that is never a victim: it cannot be named for certain, or is of an application of which none
    /// is meant.
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
        let keep = self.keep();
        let mut untold = HashSet::new();
        for (key, theirs) in other.groups {
            if self.groups.len() >= GROUPS_TOLD_APART && !self.groups.contains_key(&key) {
                self.untold += theirs.meant;
                untold.insert(key);
                continue;
            }
            let mine = self.groups.entry(key).or_default();
            mine.others += theirs.others;
            mine.meant += theirs.meant;
            mine.reserve.extend(theirs.reserve);
            let mut surplus = Vec::new();
            while mine.reserve.len() > keep {
                surplus.extend(mine.reserve.pop_first());
            }
            surplus.into_iter().for_each(|ranked| self.take(ranked));
        }
        for ranked in other.victims {
            let group = self.group_of(ranked.victim.application.as_deref(), ranked.victim.ip);
            if untold.is_empty() || !untold.contains(&GroupKey::from(&group)) {
                self.take(ranked);
            }
        }
    }

    /// Ends the search.
    pub fn finish(mut self) -> Picked {
        let keep = self.keep() as u64;
        let mut kept = self.untold;
        let mut groups = std::mem::take(&mut self.groups);
        for group in groups.values_mut() {
            // those that stay anyway count for the minimum
            let needed = keep.saturating_sub(group.others);
            while group.reserve.len() as u64 > needed {
                if let Some(first) = group.reserve.pop_first() {
                    self.take(first);
                }
            }
            kept += group.reserve.len() as u64;
        }
        let mut victims = std::mem::take(&mut self.victims).into_sorted_vec();
        victims.truncate(self.rules.limits.most_of(self.total));
        let victims: Vec<Victim> = victims.into_iter().map(|ranked| ranked.victim).collect();
        let groups = if keep == 0 { Vec::new() } else { self.groups_of(&victims, &groups) };
        Picked { total: self.total, matched: self.matched, protected: self.protected, kept, groups, victims }
    }

    /// Says of the group of each victim how many there are of it.
    fn groups_of(
        &self,
        victims: &[Victim],
        groups: &HashMap<GroupKey, Group, RandomState>,
    ) -> Vec<PickedGroup> {
        let mut hit: HashMap<GroupRef<'_>, u64, RandomState> = HashMap::default();
        for victim in victims {
            *hit.entry(self.group_of(victim.application.as_deref(), victim.ip)).or_default() += 1;
        }
        let group = |(key, victims): (GroupRef<'_>, u64)| PickedGroup {
            total: groups.get(&key).map_or(0, |group| group.others + group.meant),
            victims,
            application: key.application.map(str::to_owned),
            ip: key.ip,
        };
        let mut picked: Vec<PickedGroup> = hit.into_iter().map(group).collect();
        picked.sort();
        picked
    }

    fn keep(&self) -> usize {
        self.rules.limits.keep as usize
    }

    fn group_of<'a>(&self, application: Option<&'a str>, ip: Option<IpAddr>) -> GroupRef<'a> {
        GroupRef { application, ip: ip.filter(|_| self.rules.limits.keep_of == KeepOf::ApplicationAndIp) }
    }

    /// Gives a connection a place among the victims, if it deserves one.
    fn offer(&mut self, candidate: &Candidate<'_>) {
        let rank = self.rules.order.rank(candidate);
        if self.has_place_for(rank) {
            self.take(Ranked::new(rank, candidate));
        }
    }

    fn has_place_for(&self, rank: Rank<'_>) -> bool {
        self.victims.len() < self.places() || self.victims.peek().is_some_and(|worst| rank < worst.rank())
    }

    fn take(&mut self, ranked: Ranked) {
        if !self.has_place_for(ranked.rank()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protection::ProtectedBySettings;
    use crate::model::selector::Conditions;

    fn rules(conditions: Conditions, limits: VictimLimits) -> Arc<PickingRules> {
        let selector = Selector::try_from(conditions).unwrap();
        Arc::new(PickingRules {
            selector,
            protection: Protection::default(),
            order: VictimOrder::Idle,
            limits,
        })
    }

    fn everyone() -> Conditions {
        Conditions { kind: Some("client".to_owned()), ..Conditions::default() }
    }

    fn limits(at_most: u32, at_most_percent: f64, keep: u32) -> VictimLimits {
        VictimLimits { at_most, at_most_percent, keep, keep_of: KeepOf::Application }
    }

    /// A client that has been idle for `cid` seconds: the largest number goes first.
    fn client(cid: u64, application: &str) -> Candidate<'_> {
        Candidate {
            server_id: "NA",
            cid,
            application: Some(application),
            account: "APP",
            kind: Some("client/nats"),
            idle_us: Some(i64::try_from(cid).unwrap() * 1_000_000),
            ..Candidate::default()
        }
    }

    fn pick(rules: &Arc<PickingRules>, candidates: &[Candidate<'_>]) -> Picked {
        let mut picking = Picking::new(Arc::clone(rules));
        candidates.iter().for_each(|candidate| picking.see(candidate));
        picking.finish()
    }

    fn cids(picked: &Picked) -> Vec<u64> {
        picked.victims.iter().map(|victim| victim.key.cid).collect()
    }

    #[test]
    fn the_first_in_the_order_are_picked_up_to_the_number_and_the_share() {
        let clients: Vec<_> = [3, 9, 1, 7, 5, 2, 8, 4, 6, 10].map(|cid| client(cid, "orders")).into();
        assert_eq!(cids(&pick(&rules(everyone(), limits(3, 100.0, 0)), &clients)), [10, 9, 8]);
        assert_eq!(cids(&pick(&rules(everyone(), limits(50, 20.0, 0)), &clients)), [10, 9]);
        assert_eq!(cids(&pick(&rules(everyone(), limits(50, 9.9, 0)), &clients)), Vec::<u64>::new());
        assert_eq!(cids(&pick(&rules(everyone(), limits(0, 100.0, 1)), &clients)), Vec::<u64>::new());
    }

    #[test]
    fn of_each_application_the_last_in_the_order_stay() {
        let clients: Vec<_> = (1..=9).map(|cid| client(cid, ["a", "b", "c"][cid as usize % 3])).collect();
        let picked = pick(&rules(everyone(), limits(50, 100.0, 2)), &clients);
        assert_eq!((cids(&picked), picked.kept), (vec![9, 8, 7], 6));
        let left: Vec<_> = picked
            .groups
            .iter()
            .map(|group| (group.application.as_deref().unwrap(), group.total, group.left()))
            .collect();
        assert_eq!(left, [("a", 3, 2), ("b", 3, 2), ("c", 3, 2)]);
    }

    #[test]
    fn connections_that_stay_anyway_count_for_the_minimum() {
        let mut clients: Vec<_> = (1..=4).map(|cid| client(cid, "orders")).collect();
        let selected = Conditions { account: Some("APP".to_owned()), ..Conditions::default() };
        clients.push(Candidate { account: "OTHER", ..client(5, "orders") });
        let mut rules = PickingRules::clone(&rules(selected, limits(50, 100.0, 3)));
        assert_eq!(cids(&pick(&Arc::new(rules.clone()), &clients)), [4, 3]);
        rules.protection.settings = ProtectedBySettings {
            users: vec![crate::model::owner::Pattern::new("vip")],
            ..Default::default()
        };
        clients.push(Candidate { user: Some("vip"), ..client(6, "orders") });
        let picked = pick(&Arc::new(rules), &clients);
        assert_eq!((cids(&picked), picked.kept), (vec![4, 3, 2], 1));
        assert_eq!(picked.protected, BTreeMap::from([(ProtectionReason::User, 1)]));
        assert_eq!((picked.total, picked.matched), (6, 5));
        assert_eq!((picked.groups[0].total, picked.groups[0].left()), (6, 3));
    }

    #[test]
    fn a_minimum_can_be_kept_of_each_address() {
        let at = |cid, ip: &str| Candidate { ip: Some(ip.parse().unwrap()), ..client(cid, "orders") };
        let clients = [at(1, "10.0.0.1"), at(2, "10.0.0.1"), at(3, "10.0.0.2"), at(4, "10.0.0.2")];
        let of_each = VictimLimits { keep_of: KeepOf::ApplicationAndIp, ..limits(50, 100.0, 1) };
        assert_eq!(cids(&pick(&rules(everyone(), of_each), &clients)), [4, 2]);
        assert_eq!(cids(&pick(&rules(everyone(), limits(50, 100.0, 1)), &clients)), [4, 3, 2]);
    }

    #[test]
    fn servers_picked_by_themselves_are_one_list_when_put_together() {
        let first: Vec<_> = (1..=5).map(|cid| client(cid, "orders")).collect();
        let second: Vec<_> =
            (1..=5).map(|cid| Candidate { server_id: "NB", ..client(cid, "orders") }).collect();
        let rules = rules(everyone(), limits(4, 50.0, 2));
        let mut picking = Picking::new(Arc::clone(&rules));
        first.iter().for_each(|candidate| picking.see(candidate));
        let mut other = Picking::new(Arc::clone(&rules));
        second.iter().for_each(|candidate| other.see(candidate));
        other.absorb(picking);
        let picked = other.finish();
        assert_eq!(picked, pick(&rules, &[first, second].concat()));
        let keys: Vec<_> = picked.victims.iter().map(|it| (it.key.server_id.as_str(), it.key.cid)).collect();
        assert_eq!(keys, [("NA", 5), ("NB", 5), ("NA", 4), ("NB", 4)]);
    }

    #[test]
    fn groups_that_are_not_told_apart_are_kept_as_a_whole() {
        let names: Vec<String> = (0..=GROUPS_TOLD_APART).map(|number| format!("a{number}")).collect();
        let rules = rules(everyone(), limits(50, 100.0, 1));
        let mut full = Picking::new(Arc::clone(&rules));
        for name in &names[..GROUPS_TOLD_APART] {
            full.see(&client(1, name));
        }
        let last = &names[GROUPS_TOLD_APART];
        full.see(&client(7, last));
        let mut other = Picking::new(rules);
        (1..=5).for_each(|cid| other.see(&client(cid, last)));
        (2..=3).for_each(|cid| other.see(&client(cid, "a0")));
        full.absorb(other);
        let picked = full.finish();
        assert_eq!(cids(&picked), [3, 2], "of those that are told apart");
        assert_eq!(picked.kept, GROUPS_TOLD_APART as u64 + 6);
        assert_eq!(picked.total, GROUPS_TOLD_APART as u64 + 8);
    }
}
