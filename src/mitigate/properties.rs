//! Properties of plans that hold for every cluster, selector, order, limit and protection.
//!
//! `PLAN_CASES` says how many random clusters are tried. What a plan should be is computed a second time, by sorting a
//! list; what must never be is checked by itself.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::mitigate::chance::Chance;
use crate::mitigate::digest::digest;
use crate::mitigate::guards::{Draft, Initiator, LookCoverage, View, judge};
use crate::mitigate::plan::plan;
use crate::model::guard::{GuardKind, GuardSettings, GuardVerdict};
use crate::model::picking::{Picked, Picking, PickingRules};
use crate::model::plan::{ActionKind, PlanRequest};
use crate::model::selector::Candidate;
use crate::model::victim::{KeepOf, VictimLimits, VictimOrder};

/// How many random clusters are tried where the environment does not say otherwise.
const CASES: u32 = 100_000;

/// The most connections of a cluster.
const MOST_CONNECTIONS: usize = 20;

/// Where a connection stands, written once more: the smallest goes first.
fn place<'a>(order: VictimOrder, it: &Candidate<'a>) -> (bool, bool, i64, &'a str, u64) {
    let (has_traffic, value) = match order {
        VictimOrder::NoTrafficIdle => (it.messages > 0, it.idle_us.map(|idle| -idle)),
        VictimOrder::Idle => (false, it.idle_us.map(|idle| -idle)),
        VictimOrder::Oldest => (false, it.age_us.map(|age| -age)),
        VictimOrder::Newest => (false, it.age_us),
        // handled by whoever asks: chance has no second description
        VictimOrder::Random { .. } => (false, None),
    };
    (has_traffic, value.is_none(), value.unwrap_or(0), it.server_id, it.cid)
}

type Group<'a> = (Option<&'a str>, Option<IpAddr>);

fn group<'a>(limits: &VictimLimits, it: &Candidate<'a>) -> Group<'a> {
    (it.application, it.ip.filter(|_| limits.keep_of == KeepOf::ApplicationAndIp))
}

/// The victims by the long way: everybody in one list, sorted, the minimums taken from its end.
fn victims_by_sorting(rules: &PickingRules, connections: &[Candidate<'_>]) -> Vec<(String, u64)> {
    let is_meant = |it: &&Candidate<'_>| rules.selector.matches(it) && rules.protection.of(it).is_none();
    let mut meant: Vec<&Candidate<'_>> = connections.iter().filter(is_meant).collect();
    match rules.order {
        VictimOrder::Random { .. } => meant.sort_by_key(|it| rules.order.rank(it)),
        order => meant.sort_by(|one, other| place(order, one).cmp(&place(order, other))),
    }
    let mut left: BTreeMap<Group<'_>, u64> = BTreeMap::new();
    for connection in connections {
        *left.entry(group(&rules.limits, connection)).or_default() += 1;
    }
    let free = meant.into_iter().filter(|it| {
        let left = left.entry(group(&rules.limits, it)).or_default();
        let is_free = *left > u64::from(rules.limits.keep);
        *left -= u64::from(is_free);
        is_free
    });
    let most = share(&rules.limits, connections.len() as u64).min(u64::from(rules.limits.at_most));
    free.take(most as usize).map(|it| (it.server_id.to_owned(), it.cid)).collect()
}

/// The share in whole numbers: every percentage that is drawn is a multiple of a half.
fn share(limits: &VictimLimits, total: u64) -> u64 {
    total * ((limits.at_most_percent * 2.0) as u64) / 200
}

/// Picks from some servers by themselves, each in an order of its own, and puts them together in another.
fn picked_apart(
    chance: &mut Chance,
    rules: &Arc<PickingRules>,
    connections: &[Candidate<'static>],
) -> Picked {
    let mut shuffled = connections.to_vec();
    chance.shuffle(&mut shuffled);
    let parts = 1 + chance.below(4) as usize;
    let mut pickings: Vec<Picking> = (0..parts).map(|_| Picking::new(Arc::clone(rules))).collect();
    for connection in &shuffled {
        pickings[chance.below(parts as u64) as usize].see(connection);
    }
    let mut all = pickings.swap_remove(chance.below(parts as u64) as usize);
    pickings.into_iter().for_each(|picking| all.absorb(picking));
    all.finish()
}

fn check(seed: u64, size: usize, seen: &Seen) -> Result<(), TestCaseError> {
    let mut chance = Chance(seed);
    let connections: Vec<Candidate<'static>> = (0..size as u64).map(|cid| chance.connection(cid)).collect();
    let rules = Arc::new(chance.rules(&connections));
    let limits = rules.limits;

    let mut whole = Picking::new(Arc::clone(&rules));
    connections.iter().for_each(|connection| whole.see(connection));
    let picked = whole.finish();
    prop_assert_eq!(&picked_apart(&mut chance, &rules, &connections), &picked);
    let keys: Vec<_> =
        picked.victims.iter().map(|victim| (victim.key.server_id.clone(), victim.key.cid)).collect();
    prop_assert_eq!(&keys, &victims_by_sorting(&rules, &connections));

    let count = picked.victims.len() as u64;
    prop_assert_eq!(picked.total, size as u64);
    prop_assert!(count <= u64::from(limits.at_most) && count <= share(&limits, picked.total));
    let protected: u64 = picked.protected.values().sum();
    prop_assert!(count + protected + picked.kept <= picked.matched && picked.matched <= picked.total);
    prop_assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());

    let mut left: BTreeMap<Group<'_>, u64> = BTreeMap::new();
    let is_victim = |it: &Candidate<'_>| keys.iter().any(|(id, cid)| it.server_id == id && it.cid == *cid);
    for connection in &connections {
        let left = left.entry(group(&limits, connection)).or_default();
        if !is_victim(connection) {
            *left += 1;
            continue;
        }
        prop_assert!(rules.selector.matches(connection), "unmatched: {connection:?}");
        prop_assert!(rules.protection.of(connection).is_none(), "protected: {connection:?}");
        prop_assert!(connection.kind.is_some_and(|kind| kind.starts_with("client/")), "{connection:?}");
        prop_assert!(connection.account != "$SYS");
        let own = (connection.server_id.to_owned(), connection.cid);
        prop_assert!(!rules.protection.own.contains(&own));
    }
    for connection in connections.iter().filter(|it| is_victim(it)) {
        let left = left[&group(&limits, connection)];
        prop_assert!(left >= u64::from(limits.keep), "{left} are left of {connection:?}");
    }
    for group in &picked.groups {
        prop_assert_eq!(group.left(), left[&(group.application.as_deref(), group.ip)]);
    }

    let verdicts = judged(&rules, &picked)?;
    let request = request(&rules);
    let freeze = |picked| plan("east", &request, picked, Timestamp::UNIX_EPOCH, verdicts.clone());
    let frozen = freeze(picked.clone());
    prop_assert_eq!(&frozen, &freeze(picked_apart(&mut chance, &rules, &connections)));
    if let Some((_, rest)) = picked.victims.split_first() {
        prop_assert_ne!(&frozen.digest, &digest("east", request.action, rest));
    }
    seen.see(&picked, &limits);
    Ok(())
}

fn request(rules: &PickingRules) -> PlanRequest {
    PlanRequest {
        action: ActionKind::Kick,
        selector: rules.selector.clone(),
        order: rules.order,
        limits: rules.limits,
    }
}

/// Asks the guards, none of which may say that the victims were picked wrongly.
fn judged(rules: &PickingRules, picked: &Picked) -> Result<Vec<GuardVerdict>, TestCaseError> {
    let settings = GuardSettings {
        max_victims: rules.limits.at_most,
        max_share_percent: rules.limits.at_most_percent,
        keep: rules.limits.keep,
        ..GuardSettings::default()
    };
    let view = View {
        now: Timestamp::UNIX_EPOCH,
        protection: rules.protection.clone(),
        incident: None,
        coverage: LookCoverage {
            is_complete: true,
            servers_expected: 3,
            servers_unreachable: 0,
            missing: String::new(),
        },
        capability: Ok(()),
        running: None,
        earlier: Vec::new(),
        cut_within_the_hour: 0,
        vain_runs: Vec::new(),
        pauses: Vec::new(),
        other_wardens: Vec::new(),
    };
    let draft = Draft {
        request: &request(rules),
        picked,
        taken_at: view.now,
        has_incident: false,
        by: Initiator::Person,
    };
    let verdicts = judge(&draft, &view, &settings);
    for verdict in &verdicts {
        let may_pass = verdict.guard != GuardKind::MaxVictims || !picked.victims.is_empty();
        prop_assert_eq!(verdict.passes, may_pass, "{:?}", verdict);
    }
    Ok(verdicts)
}

/// How often what is to be tried was tried: properties of nothing hold always.
#[derive(Debug, Default)]
struct Seen {
    victims: Cell<u32>,
    capped_by_number: Cell<u32>,
    capped_by_share: Cell<u32>,
    protected: Cell<u32>,
    kept: Cell<u32>,
}

impl Seen {
    fn see(&self, picked: &Picked, limits: &VictimLimits) {
        let count = |cell: &Cell<u32>, is_so: bool| cell.set(cell.get() + u32::from(is_so));
        let victims = picked.victims.len() as u64;
        let stay = picked.protected.values().sum::<u64>() + picked.kept;
        let is_capped = victims + stay < picked.matched;
        count(&self.victims, victims > 0);
        count(&self.capped_by_number, is_capped && victims == u64::from(limits.at_most));
        count(&self.capped_by_share, is_capped && victims < u64::from(limits.at_most));
        count(&self.protected, victims > 0 && !picked.protected.is_empty());
        count(&self.kept, victims > 0 && picked.kept > 0);
    }
}

#[test]
fn plans_are_what_the_rules_say_for_every_cluster() {
    #[expect(clippy::disallowed_methods, reason = "how long a test may take is no setting of the program")]
    let cases = std::env::var("PLAN_CASES").map_or(CASES, |text| text.parse().unwrap());
    let seen = Seen::default();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    // the smallest cluster that fails is found: the first connections of a seed are the same for every size
    let clusters = (any::<u64>(), 0..=MOST_CONNECTIONS);
    runner.run(&clusters, |(seed, size)| check(seed, size, &seen)).unwrap();
    let Seen { victims, capped_by_number, capped_by_share, protected, kept } = &seen;
    for often in [victims, capped_by_number, capped_by_share, protected, kept] {
        assert!(often.get() > cases / 100, "too little was tried: {seen:?}");
    }
}
