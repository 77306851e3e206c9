//! An estimate and the live plan of the same moment: the one holds the other, for every cluster.
//!
//! Random connections are counted by the tally of real looks, and picked from by the code of real plans. Some
//! breakdowns are then cut short or left out, as those of large clusters and of looks on demand are.
//! `ESTIMATE_CASES` says how many random clusters are tried.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::RandomState;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::mitigate::chance::Chance;
use crate::mitigate::estimate::estimate;
use crate::mitigate::plan::OTHERS;
use crate::mitigate::plan::plan;
use crate::model::application::ApplicationRules;
use crate::model::breakdown::By;
use crate::model::estimate::{CountRange, Estimate, EstimatedHit};
use crate::model::guard::GuardSettings;
use crate::model::picking::{Picked, PickingRules};
use crate::model::plan::{ActionKind, Hit, Plan, PlanRequest};
use crate::model::protection::ProtectionReason;
use crate::model::selector::{Candidate, Conditions, Selector};
use crate::model::snapshot::{Coverage, ServerCoverage, Snapshot};
use crate::model::vitals::ServerVitals;
use crate::nats::connz::{Connection, Envelope};
use crate::observe::picks::Picks;
use crate::observe::tally::{ServerFacts, Tally, TallyRules};
use crate::observe::users::UserMask;

/// How many random clusters are tried where the environment does not say otherwise.
const CASES: u32 = 3_000;

/// The most connections of a cluster.
const MOST_CONNECTIONS: usize = 40;

/// After how long a connection is counted as idle, in seconds: in the midst of what is drawn.
const IDLE_AFTER_S: u64 = 3;

/// Selectors whose conditions lie on one dimension, on two that are crossed, on more, and on figures.
static SELECTORS: LazyLock<Vec<Selector>> = LazyLock::new(|| {
    let more = [
        r#"{"application": "orders", "ip": "10.0.0.2"}"#,
        r#"{"application": "orders", "server": "n1"}"#,
        r#"{"application": "orders", "server": "NB", "ip": "10.0.0.0/31"}"#,
        r#"{"application": "orders", "account": "APP"}"#,
        r#"{"application_glob": "*", "user": "alice", "kind": "client/nats"}"#,
        r#"{"unnamed": true, "ip": "10.0.0.1"}"#,
        r#"{"unnamed": false, "name_glob": "o*"}"#,
        r#"{"lang": "go"}"#,
        r#"{"version": "1.0 beta", "application": "orders"}"#,
        r#"{"kind": "client", "idle_for": "2s"}"#,
        r#"{"kind": "client", "idle_for": "5s", "no_traffic": true}"#,
        r#"{"ip": "10.0.0.0/30", "idle_for": "3s", "no_traffic": true}"#,
        r#"{"application": "orders", "older_than": "5s", "younger_than": "1h"}"#,
        r#"{"account": "APP", "subscriptions_at_least": 2}"#,
    ];
    let read = |text: &str| {
        let conditions: Conditions = serde_json::from_str(text).unwrap();
        Selector::try_from(conditions).unwrap()
    };
    more.into_iter().map(read).collect()
});

/// A cluster of one moment: as it is stored, and as a plan would see it.
struct Moment {
    snapshot: Snapshot,
    picked: Picked,
}

fn taken_at() -> Timestamp {
    "2026-01-05T12:00:00Z".parse().unwrap()
}

/// What `connz` lists of a connection. Its application is whatever is made of its name.
fn wire(chance: &mut Chance, it: &Candidate<'static>, server_now: Timestamp) -> Connection<'static> {
    let before = |us: i64| Some(Cow::from((server_now - jiff::SignedDuration::from_micros(us)).to_string()));
    let (kind, client_type) = match it.kind {
        Some("leafnode") => (Some("Leafnode"), None),
        Some(kind) => (Some("Client"), kind.strip_prefix("client/")),
        None => (None, None),
    };
    let (lang, version) = chance.one_of(&[
        (Some("go"), Some("1.0")),
        (Some("go"), Some("1.0 beta")),
        (None, Some("1.0")),
        (None, None),
    ]);
    let age_us = it.age_us.unwrap_or(chance.below(7200) as i64 * 1_000_000);
    Connection {
        cid: it.cid + 1,
        kind: kind.map(Cow::from),
        client_type: client_type.map(Cow::from),
        ip: it.ip.map(|ip| Cow::from(ip.to_string())),
        start: before(age_us),
        last_activity: it.idle_us.and_then(before),
        in_msgs: it.messages,
        subscriptions: it.subscriptions,
        pending_bytes: it.pending_bytes,
        name: it.name.map(Cow::from),
        lang: lang.map(Cow::from),
        version: version.map(Cow::from),
        account: Some(Cow::from(it.account)).filter(|account| account != "$G"),
        name_tag: it.account_name.map(Cow::from),
        authorized_user: it.user.map(Cow::from),
        ..Connection::default()
    }
}

impl Moment {
    fn draw(chance: &mut Chance, size: usize) -> (Self, PickingRules) {
        // real clusters have few leafnodes and system users, and limits that leave something to count
        let is_tidy = chance.is_one_in(2);
        let mut candidates: Vec<Candidate<'static>> =
            (0..size as u64).map(|cid| chance.connection(cid)).collect();
        for candidate in candidates.iter_mut().filter(|_| is_tidy) {
            candidate.kind = Some("client/nats");
            (candidate.account, candidate.account_name) = chance.one_of(&[("APP", None), ("$G", None)]);
        }
        let mut rules = chance.rules(&candidates);
        if chance.is_one_in(2) {
            rules.selector = SELECTORS[chance.below(SELECTORS.len() as u64) as usize].clone();
        }
        if is_tidy {
            (rules.limits.at_most, rules.limits.at_most_percent) = (50, 100.0);
        }
        // what a stored look does not tell: connwarden's own are of the system account, and nobody answers callouts
        rules.protection.callout_accounts.clear();
        rules.protection.own.clear();
        rules.protection.system_accounts.clear();
        let system_account = chance.one_of(&["$SYS", "AC7"]);
        let has_starts = !chance.is_one_in(4);
        let naming = TallyRules {
            by: By::standard().into_iter().filter(|_| !chance.is_one_in(20)).collect(),
            applications: Arc::new(ApplicationRules::default()),
            users: UserMask::new(&[7; 32]),
            idle_after_us: IDLE_AFTER_S as i64 * 1_000_000,
            starts: has_starts.then(|| taken_at() + jiff::SignedDuration::from_secs(1)),
            hashing: RandomState::new(),
        };
        let shared = Arc::new(rules.clone());
        let (mut all, mut found): (Option<Tally>, Option<Picks>) = (None, None);
        let mut servers = Vec::new();
        for (server_id, name) in [("NA", "n1"), ("NB", "n2"), ("NC", "n3")] {
            // asked at its own time of the look, and by its own clock
            let asked_at = taken_at() + jiff::SignedDuration::from_millis(chance.below(900) as i64);
            let server_now = asked_at + jiff::SignedDuration::from_secs(chance.below(7200) as i64 - 3600);
            let since_2_11 = !chance.is_one_in(4);
            let facts =
                || ServerFacts { name: name.to_owned(), since_2_11, now_us: asked_at.as_microsecond() };
            let envelope = Envelope {
                server_id: Some(server_id.to_owned()),
                now: Some(server_now.to_string()),
                ..Envelope::default()
            };
            let mut tally = Tally::new(&naming, facts());
            let mut picks = Picks::new(&shared, &naming, facts(), Some(system_account));
            let mut seen = 0;
            for candidate in candidates.iter().filter(|candidate| candidate.server == name) {
                let connection = wire(chance, candidate, server_now);
                tally.add(&envelope, &connection);
                picks.add(&envelope, &connection);
                seen += 1;
            }
            let version = if since_2_11 { "2.11.0" } else { "2.10.26" };
            let vitals =
                ServerVitals { system_account: Some(system_account.to_owned()), ..ServerVitals::default() };
            servers.push(ServerCoverage {
                seen,
                version: Some(version.to_owned()),
                vitals: Some(vitals),
                error: None,
                ..ServerCoverage::unseen(name.to_owned(), Some(server_id.to_owned()), String::new())
            });
            match (&mut all, &mut found) {
                (Some(all), Some(found)) => {
                    all.absorb(tally);
                    found.absorb(picks);
                }
                _ => (all, found) = (Some(tally), Some(picks)),
            }
        }
        let mut breakdowns = all.unwrap().into_breakdowns();
        for breakdown in breakdowns.values_mut() {
            if !chance.is_one_in(8) {
                continue;
            }
            *breakdown = std::mem::take(breakdown).top(chance.below(4) as usize);
        }
        let snapshot = Snapshot {
            cluster: "east".to_owned(),
            taken_at: taken_at(),
            coverage: Coverage {
                idle_after_ms: (!chance.is_one_in(8)).then_some(IDLE_AFTER_S * 1000),
                ..Coverage::of(servers, 900)
            },
            breakdowns,
            closed: None,
        };
        (Self { snapshot, picked: found.unwrap().into_found().picked }, rules)
    }
}

fn check(seed: u64, size: usize, seen: &Seen) -> Result<(), TestCaseError> {
    let mut chance = Chance(seed);
    let (moment, rules) = Moment::draw(&mut chance, size);
    let request = PlanRequest {
        action: ActionKind::Kick,
        selector: rules.selector.clone(),
        order: rules.order,
        limits: rules.limits,
    };
    let settings = GuardSettings { protected: rules.protection.settings.clone(), ..GuardSettings::default() };
    let told = estimate(&moment.snapshot, &request, &settings, taken_at());
    let live = plan("east", &request, moment.picked, taken_at(), Vec::new());

    if !moment.snapshot.breakdowns.is_empty() {
        prop_assert_eq!(told.total, live.total);
    }
    let holds = |what: &str, range: CountRange, count: u64| {
        prop_assert!(range.contains(count), "{what}: {count} is not in {range}\n{told:#?}\n{live:#?}");
        Ok(())
    };
    holds("matched", told.matched, live.matched)?;
    holds("kept", told.kept, live.kept)?;
    holds("victims", told.victims, live.victims.len() as u64)?;
    for reason in told.protected.keys().chain(live.protected.keys()) {
        let range = told.protected.get(reason).copied().unwrap_or_default();
        holds(reason.title(), range, live.protected.get(reason).copied().unwrap_or(0))?;
    }
    let (foreseen, happened) = (&told.blast_radius, &live.blast_radius);
    for (hits, victims) in [
        (&foreseen.applications, &happened.applications),
        (&foreseen.accounts, &happened.accounts),
        (&foreseen.ips, &happened.ips),
        (&foreseen.servers, &happened.servers),
    ] {
        compare(hits, victims, &told, &live)?;
    }
    let is_certain = told.matched.is_exact() && told.victims.is_exact();
    prop_assert!(is_certain || told.notes.len() > 1, "it is not said why: {told:#?}");
    seen.see(&told, &live);
    Ok(())
}

/// Compares victims key by key; those that are not listed by name are in the rest.
fn compare(
    hits: &[EstimatedHit],
    victims: &[Hit],
    told: &Estimate,
    live: &Plan,
) -> Result<(), TestCaseError> {
    let victims: BTreeMap<&str, u64> = victims.iter().map(|hit| (hit.key.as_str(), hit.victims)).collect();
    let mut listed = 0;
    let mut rest = CountRange::default();
    for hit in hits {
        if hit.key == OTHERS {
            rest = hit.victims;
            continue;
        }
        let count = victims.get(hit.key.as_str()).copied().unwrap_or(0);
        listed += count;
        prop_assert!(
            hit.victims.contains(count),
            "{}: {count} is not in {}\n{told:#?}\n{live:#?}",
            hit.key,
            hit.victims
        );
    }
    let others = live.victims.len() as u64 - listed;
    prop_assert!(rest.contains(others), "{others} others are not in {rest}\n{told:#?}\n{live:#?}");
    Ok(())
}

/// How often what is to be tried was tried: a range from 0 to everything is never wrong.
#[derive(Debug, Default)]
struct Seen {
    exact: Cell<u32>,
    exact_victims: Cell<u32>,
    ranges: Cell<u32>,
    lower_bounds: Cell<u32>,
    protected: Cell<u32>,
    kept: Cell<u32>,
}

impl Seen {
    fn see(&self, told: &Estimate, live: &Plan) {
        let count = |cell: &Cell<u32>, is_so: bool| cell.set(cell.get() + u32::from(is_so));
        count(&self.exact, told.matched.is_exact() && live.matched > 0);
        count(&self.exact_victims, told.victims.is_exact() && !live.victims.is_empty());
        count(&self.ranges, !told.victims.is_exact());
        count(&self.lower_bounds, !told.victims.is_exact() && told.victims.at_least > 0);
        let reasons = told.protected.iter();
        let certain = reasons
            .filter(|(reason, count)| **reason != ProtectionReason::SystemAccount && count.at_least > 0);
        count(&self.protected, certain.count() > 0);
        count(&self.kept, told.kept.at_least > 0);
    }
}

#[test]
fn the_live_plan_of_the_same_moment_lies_in_the_estimate() {
    #[expect(clippy::disallowed_methods, reason = "how long a test may take is no setting of the program")]
    let cases = std::env::var("ESTIMATE_CASES").map_or(CASES, |text| text.parse().unwrap());
    let seen = Seen::default();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let clusters = (any::<u64>(), 0..=MOST_CONNECTIONS);
    runner.run(&clusters, |(seed, size)| check(seed, size, &seen)).unwrap();
    let Seen { exact, exact_victims, ranges, lower_bounds, protected, kept } = &seen;
    for often in [exact, exact_victims, ranges, lower_bounds, protected, kept] {
        assert!(often.get() > cases / 50, "too little was tried: {seen:?}");
    }
}
