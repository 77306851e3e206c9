//! Properties of plans that hold for every cluster, selector, order, limit and protection.
//!
//! `PLAN_CASES` says how many random clusters are tried. What a plan should be is computed a second time, by sorting a
//! list; what must never be is checked by itself.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::mitigate::digest::digest;
use crate::mitigate::guards::{Draft, Initiator, LookCoverage, View, judge};
use crate::mitigate::plan::plan;
use crate::model::guard::{GuardKind, GuardSettings, GuardVerdict};
use crate::model::owner::Pattern;
use crate::model::picking::{Picked, Picking, PickingRules};
use crate::model::plan::{ActionKind, PlanRequest};
use crate::model::protection::{ProtectedBySettings, Protection};
use crate::model::selector::{Candidate, Conditions, Selector};
use crate::model::victim::{KeepOf, VictimLimits, VictimOrder};

/// How many random clusters are tried where the environment does not say otherwise.
const CASES: u32 = 100_000;

/// The most connections of a cluster.
const MOST_CONNECTIONS: usize = 20;

const SERVERS: [(&str, &str); 3] = [("NA", "n1"), ("NB", "n2"), ("NC", "n3")];
const APPLICATIONS: [Option<&str>; 5] =
    [Some("orders"), Some("orders"), Some("billing"), Some("audit"), None];
const NAMES: [&str; 3] = ["orders-1", "billing-é", "x"];
const ACCOUNTS: [(&str, Option<&str>); 5] =
    [("APP", None), ("APP", None), ("AC7", Some("Shop")), ("$G", None), ("$SYS", None)];
const USERS: [Option<&str>; 3] = [Some("alice"), Some("bob"), None];
const STARTS: [&str; 2] = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"];
const KINDS: [Option<&str>; 6] = [
    Some("client/nats"),
    Some("client/nats"),
    Some("client/websocket"),
    Some("client/mqtt"),
    Some("leafnode"),
    None,
];

/// Selectors of every condition; compiling them each time would take most of the time.
static SELECTORS: LazyLock<Vec<Selector>> = LazyLock::new(|| {
    let selectors = [
        r#"{"kind": "client"}"#,
        r#"{"application": "orders"}"#,
        r#"{"application": "orders", "no_traffic": true}"#,
        r#"{"application_glob": "*r*"}"#,
        r#"{"name": "x"}"#,
        r#"{"name_glob": "?rders-*"}"#,
        r#"{"name_regex": "orders-[0-9]|x"}"#,
        r#"{"unnamed": true}"#,
        r#"{"unnamed": false}"#,
        r#"{"ip": "10.0.0.0/31"}"#,
        r#"{"ip": "10.0.0.2"}"#,
        r#"{"account": "Shop"}"#,
        r#"{"account": "APP"}"#,
        r#"{"account": "$SYS"}"#,
        r#"{"user": "alice"}"#,
        r#"{"server": "n1"}"#,
        r#"{"server": "NB", "account": "APP"}"#,
        r#"{"kind": "client/nats", "idle_for": "3s"}"#,
        r#"{"older_than": "5s"}"#,
        r#"{"younger_than": "5s"}"#,
        r#"{"subscriptions_at_most": 1}"#,
        r#"{"subscriptions_at_least": 1, "pending_bytes_at_least": 1}"#,
        r#"{"no_traffic": false}"#,
    ];
    let read = |text: &str| {
        let conditions: Conditions = serde_json::from_str(text).unwrap();
        Selector::try_from(conditions).unwrap()
    };
    selectors.into_iter().map(read).collect()
});

/// Chance from a seed (SplitMix64): much faster to draw from than a strategy of every field.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn is_one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn seconds(&mut self) -> Option<i64> {
        let seconds = self.below(9) as i64 - 1;
        (seconds < 7).then_some(seconds * 1_000_000)
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for place in (1..list.len()).rev() {
            list.swap(place, self.below(place as u64 + 1) as usize);
        }
    }

    fn connection(&mut self, cid: u64) -> Candidate<'static> {
        let (server_id, server) = self.one_of(&SERVERS);
        let (account, account_name) = self.one_of(&ACCOUNTS);
        let application = self.one_of(&APPLICATIONS);
        Candidate {
            server_id,
            server,
            cid,
            start: self.one_of(&STARTS),
            application,
            name: application.map(|_| self.one_of(&NAMES)),
            ip: (!self.is_one_in(8)).then(|| IpAddr::from([10, 0, 0, self.below(3) as u8])),
            account,
            account_name,
            user: self.one_of(&USERS),
            kind: self.one_of(&KINDS),
            idle_us: self.seconds(),
            age_us: self.seconds(),
            messages: self.below(2),
            subscriptions: self.below(3),
            pending_bytes: self.below(2),
            ..Candidate::default()
        }
    }

    fn protection(&mut self, connections: &[Candidate<'_>]) -> Protection {
        let mut settings = ProtectedBySettings::default();
        let mut protection = Protection::default();
        let mut add = |list: &mut Vec<Pattern>, pattern: &str| {
            if self.is_one_in(6) {
                list.push(Pattern::new(pattern));
            }
        };
        add(&mut settings.applications, "bill*");
        add(&mut settings.names, "orders-?");
        add(&mut settings.accounts, "Shop");
        add(&mut settings.users, "alice");
        if self.is_one_in(6) {
            settings.networks.push("10.0.0.1/32".parse().unwrap());
        }
        if self.is_one_in(6) {
            protection.system_accounts.insert("AC7".to_owned());
        }
        if self.is_one_in(6) {
            protection.callout_accounts.insert("$G".to_owned());
        }
        for connection in connections {
            if self.is_one_in(12) {
                protection.own.insert((connection.server_id.to_owned(), connection.cid));
            }
        }
        Protection { settings, ..protection }
    }

    fn rules(&mut self, connections: &[Candidate<'_>]) -> PickingRules {
        let seed = self.below(3);
        let orders = [
            VictimOrder::NoTrafficIdle,
            VictimOrder::Idle,
            VictimOrder::Newest,
            VictimOrder::Oldest,
            VictimOrder::Random { seed },
        ];
        PickingRules {
            selector: SELECTORS[self.below(SELECTORS.len() as u64) as usize].clone(),
            protection: self.protection(connections),
            order: self.one_of(&orders),
            limits: VictimLimits {
                at_most: self.one_of(&[0, 1, 2, 3, 5, 50]),
                at_most_percent: self.one_of(&[0.0, 10.0, 12.5, 33.0, 50.0, 100.0, 100.0]),
                keep: self.one_of(&[0, 0, 1, 2, 3]),
                keep_of: self.one_of(&[KeepOf::Application, KeepOf::ApplicationAndIp]),
            },
        }
    }
}

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
