//! Chance: random clusters, selectors, protections and limits, for properties that hold for all of them.

use std::net::IpAddr;
use std::sync::LazyLock;

use crate::model::owner::Pattern;
use crate::model::picking::PickingRules;
use crate::model::protection::{ProtectedBySettings, Protection};
use crate::model::selector::{Candidate, Conditions, Selector};
use crate::model::victim::{KeepOf, VictimLimits, VictimOrder};

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
pub(super) static SELECTORS: LazyLock<Vec<Selector>> = LazyLock::new(|| {
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
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn is_one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(super) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn seconds(&mut self) -> Option<i64> {
        let seconds = self.below(9) as i64 - 1;
        (seconds < 7).then_some(seconds * 1_000_000)
    }

    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for place in (1..list.len()).rev() {
            list.swap(place, self.below(place as u64 + 1) as usize);
        }
    }

    pub(super) fn connection(&mut self, cid: u64) -> Candidate<'static> {
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

    pub(super) fn protection(&mut self, connections: &[Candidate<'_>]) -> Protection {
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

    pub(super) fn rules(&mut self, connections: &[Candidate<'_>]) -> PickingRules {
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
