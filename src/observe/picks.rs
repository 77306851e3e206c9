//! Picks: victims found among connections that stream by, each put as selectors and plans look at it.
//!
//! A connection is here what breakdowns show of it, by the same functions: what was read there selects the same
//! connections here. How long it was idle or open is told by the server's own clock.
//!
//! What cannot be named for certain (no usable id of its server, no number, no start) is counted and never picked.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::application::ApplicationRules;
use crate::model::picking::{Picked, Picking, PickingRules};
use crate::model::selector::{Candidate, Selector};
use crate::model::victim::VictimKey;
use crate::nats::connz::{Connection, Envelope};
use crate::nats::system::is_server_id;
use crate::nats::text::clip;
use crate::observe::instant::parse_instant;
use crate::observe::keys::Key;
use crate::observe::tally::{Applications, ServerFacts, TallyRules, client_name, kind};

/// What every connwarden's connection to a system account is called, before what tells it from others.
pub const WARDEN_PREFIX: &str = "connwarden/";

/// As which instance `connwarden doctor` connects. It does nothing to anybody, and is nobody to be afraid of.
pub const DOCTOR: &str = "doctor";

/// How many other connwardens are remembered by name: one is enough to be told.
const OTHER_WARDENS_KEPT: usize = 16;

/// The longest start of a connection that is believed, in bytes: with 9 places it has 30.
const LONGEST_START: usize = 40;

/// What was found of victims, and of others who look for them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The victims, and what was counted on the way.
    pub picked: Picked,
    /// The names of connections to the system account that other connwardens have.
    pub other_wardens: BTreeSet<String>,
    /// The system accounts that the servers say they have.
    pub system_accounts: BTreeSet<String>,
}

/// How the connections of one server look to selectors.
#[derive(Debug)]
struct Eye {
    naming: TallyRules,
    server: ServerFacts,
    /// The server's own clock, once it has told it.
    now_us: Option<i64>,
    applications: Applications,
}

impl Eye {
    fn new(naming: &TallyRules, server: ServerFacts) -> Self {
        Self { naming: naming.clone(), server, now_us: None, applications: Applications::default() }
    }

    /// Shows one connection of the page that `envelope` describes, unless its name is of no interest: of most connections
    /// more need not be known. Nothing is shown of one that cannot be named for certain.
    fn look<T>(
        &mut self,
        envelope: &Envelope,
        connection: &Connection<'_>,
        is_of_interest: impl FnOnce(Option<&str>) -> bool,
        see: impl FnOnce(&Candidate<'_>) -> T,
    ) -> Option<T> {
        let now_us = *self.now_us.get_or_insert_with(|| {
            envelope.now.as_deref().and_then(parse_instant).unwrap_or(self.server.now_us)
        });
        let name = client_name(connection);
        if !is_of_interest(name) {
            return None;
        }
        let application = name
            .map(|name| self.applications.get(Key::new(name, &self.naming.hashing), &self.naming))
            .map(|application| application.text);
        let named = Named::of(envelope, connection)?;
        let since = |instant_us: Option<i64>| instant_us.map(|us| now_us.saturating_sub(us));
        let user = self.naming.users.user(connection, self.server.since_2_11);
        let name_tag = connection.name_tag.as_deref().map(clip);
        Some(see(&Candidate {
            server_id: named.server_id,
            server: &self.server.name,
            cid: connection.cid,
            start: named.start,
            application,
            name,
            ip: connection.ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical()),
            account: connection.account.as_deref().map_or("$G", clip),
            account_name: name_tag.filter(|_| self.server.since_2_11),
            user: user.as_deref().map(clip),
            lang: connection.lang.as_deref().map(clip),
            version: connection.version.as_deref().map(clip),
            kind: kind(connection),
            idle_us: since(connection.last_activity.as_deref().and_then(parse_instant)),
            age_us: since(Some(named.start_us)),
            messages: connection.in_msgs.saturating_add(connection.out_msgs),
            subscriptions: connection.subscriptions,
            pending_bytes: connection.pending_bytes,
        }))
    }
}

/// The connections of one server, looked at for victims; or of several, once absorbed.
#[derive(Debug)]
pub struct Picks {
    rules: Arc<PickingRules>,
    application_rules: Arc<ApplicationRules>,
    eye: Eye,
    picking: Picking,
    other_wardens: BTreeSet<String>,
    system_accounts: BTreeSet<String>,
}

impl Picks {
    /// Begins with a server; `system_account` is the one it says it has, protected whatever `rules` know. Users and
    /// applications are named by the rules of tallies.
    pub fn new(
        rules: &Arc<PickingRules>,
        naming: &TallyRules,
        server: ServerFacts,
        system_account: Option<&str>,
    ) -> Self {
        let known = &rules.protection.system_accounts;
        let rules = match system_account.filter(|account| !known.contains(*account)) {
            None => rules.clone(),
            Some(account) => {
                let mut rules = PickingRules::clone(rules);
                rules.protection.system_accounts.insert(account.to_owned());
                Arc::new(rules)
            }
        };
        Self {
            picking: Picking::new(rules.clone()),
            rules,
            application_rules: naming.applications.clone(),
            eye: Eye::new(naming, server),
            other_wardens: BTreeSet::new(),
            system_accounts: system_account.map(str::to_owned).into_iter().collect(),
        }
    }

    /// Looks at one connection of the page that `envelope` describes.
    pub fn add(&mut self, envelope: &Envelope, connection: &Connection<'_>) {
        let (selector, protection) = (&self.rules.selector, &self.rules.protection);
        let (picking, other_wardens) = (&mut self.picking, &mut self.other_wardens);
        let (wanted, applications) = (selector.conditions().application.as_deref(), &self.application_rules);
        // the selector can mean it, or any other client of its application: a minimum is kept of that
        let can_be_meant = |name: Option<&str>| {
            wanted.is_none_or(|wanted| name.is_some_and(|name| applications.can_be(name, wanted)))
        };
        let is_of_interest = |name: Option<&str>| can_be_meant(name) || name.is_some_and(is_acting_warden);
        let seen = self.eye.look(envelope, connection, is_of_interest, |candidate| {
            if let Some(name) = candidate.name.filter(|name| is_acting_warden(name))
                && other_wardens.len() < OTHER_WARDENS_KEPT
                && protection.is_of_system_account(candidate)
                && !protection.is_own(candidate)
                && warden_of(name) != protection.own_instance.as_deref()
            {
                other_wardens.insert(name.to_owned());
            }
            picking.see(candidate);
        });
        if seen.is_none() {
            self.picking.pass_over();
        }
    }

    /// Adds what was seen of another server by the same rules.
    pub fn absorb(&mut self, other: Self) {
        self.picking.absorb(other.picking);
        self.system_accounts.extend(other.system_accounts);
        let room = OTHER_WARDENS_KEPT.saturating_sub(self.other_wardens.len());
        self.other_wardens.extend(other.other_wardens.into_iter().take(room));
    }

    /// Ends the search.
    pub fn into_found(self) -> Found {
        Found {
            picked: self.picking.finish(),
            other_wardens: self.other_wardens,
            system_accounts: self.system_accounts,
        }
    }
}

/// Victims that are sought again; shared by the servers of a sweep.
#[derive(Debug, Default)]
pub struct Sought {
    keys: HashMap<u64, Vec<VictimKey>>,
    selector: Option<Selector>,
}

impl Sought {
    /// Seeks these, as far as a selector still means them, if there is one.
    pub fn new(keys: &BTreeSet<VictimKey>, selector: Option<Selector>) -> Self {
        let mut by_number: HashMap<u64, Vec<VictimKey>> = HashMap::new();
        for key in keys {
            by_number.entry(key.cid).or_default().push(key.clone());
        }
        Self { keys: by_number, selector }
    }

    /// Which of them a connection of the page that `envelope` describes is: the same number on the same run of a server,
    /// and begun at the same time.
    fn find(&self, envelope: &Envelope, connection: &Connection<'_>) -> Option<&VictimKey> {
        let of_number = self.keys.get(&connection.cid)?;
        let named = Named::of(envelope, connection)?;
        of_number.iter().find(|key| key.server_id == named.server_id && key.start == named.start)
    }
}

/// Those of the victims sought again that are still there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StillThere {
    /// Those that are still meant.
    pub meant: BTreeSet<VictimKey>,
    /// The others: the selector does not mean them any more.
    pub changed: BTreeSet<VictimKey>,
}

/// The connections of one server, looked at for victims that are sought again; or of several, once absorbed.
#[derive(Debug)]
pub struct Recheck {
    sought: Arc<Sought>,
    eye: Eye,
    there: StillThere,
}

impl Recheck {
    /// Begins with a server. Users and applications are named by the rules of tallies.
    pub fn new(sought: &Arc<Sought>, naming: &TallyRules, server: ServerFacts) -> Self {
        Self { sought: sought.clone(), eye: Eye::new(naming, server), there: StillThere::default() }
    }

    /// Looks at one connection of the page that `envelope` describes.
    pub fn add(&mut self, envelope: &Envelope, connection: &Connection<'_>) {
        let Some(key) = self.sought.find(envelope, connection) else { return };
        let is_meant = self.sought.selector.as_ref().is_none_or(|selector| {
            self.eye.look(envelope, connection, |_| true, |candidate| selector.matches(candidate))
                == Some(true)
        });
        let there = if is_meant { &mut self.there.meant } else { &mut self.there.changed };
        there.insert(key.clone());
    }

    /// Adds what the same search found on another server.
    pub fn absorb(&mut self, other: Self) {
        self.there.meant.extend(other.there.meant);
        self.there.changed.extend(other.there.changed);
    }

    /// Ends the search.
    pub fn into_there(self) -> StillThere {
        self.there
    }
}

/// Which connwarden a connection of this name is of, if it is called as theirs are.
pub fn warden_of(name: &str) -> Option<&str> {
    name.strip_prefix(WARDEN_PREFIX)?.split('/').next()
}

/// Whether a connection is called as those of connwardens that may act are.
fn is_acting_warden(name: &str) -> bool {
    warden_of(name).is_some_and(|instance| instance != DOCTOR)
}

/// What names a connection for certain.
struct Named<'a> {
    server_id: &'a str,
    start: &'a str,
    start_us: i64,
}

impl<'a> Named<'a> {
    fn of(envelope: &'a Envelope, connection: &'a Connection<'_>) -> Option<Self> {
        let server_id = envelope.server_id.as_deref().filter(|id| is_server_id(id))?;
        let start = connection.start.as_deref().filter(|start| start.len() <= LONGEST_START)?;
        let start_us = parse_instant(start).filter(|_| connection.cid > 0)?;
        Some(Self { server_id, start, start_us })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::hash::RandomState;

    use super::*;
    use crate::model::breakdown::By;
    use crate::model::protection::{Protection, ProtectionReason};
    use crate::model::victim::{KeepOf, VictimLimits, VictimOrder};
    use crate::nats::connz::ConnzReader;
    use crate::observe::tally::Tally;
    use crate::observe::users::UserMask;

    const PAGE: &str = include_str!("../../tests/fixtures/nats/2.15.1/connz-open-auth.json");
    const OLD_PAGE: &str = include_str!("../../tests/fixtures/nats/2.10.26/connz-jwt-auth.json");

    fn naming() -> TallyRules {
        TallyRules {
            by: By::standard(),
            applications: Arc::new(ApplicationRules::default()),
            users: UserMask::new(&[7; 32]),
            idle_after_us: 300_000_000,
            starts: None,
            hashing: RandomState::new(),
        }
    }

    fn rules(selector: serde_json::Value, protection: Protection) -> Arc<PickingRules> {
        Arc::new(PickingRules {
            selector: serde_json::from_value(selector).unwrap(),
            protection,
            order: VictimOrder::Oldest,
            limits: VictimLimits {
                at_most: 100,
                at_most_percent: 100.0,
                keep: 0,
                keep_of: KeepOf::Application,
            },
        })
    }

    fn server(since_2_11: bool) -> ServerFacts {
        ServerFacts { name: "nats-1".to_owned(), since_2_11, now_us: 0 }
    }

    fn read(page: &str, mut each: impl FnMut(&Envelope, &Connection<'_>)) {
        let mut reader = ConnzReader::default();
        reader.feed(page.as_bytes(), &mut each).unwrap();
        reader.finish(&mut each).unwrap();
    }

    fn found(page: &str, rules: &Arc<PickingRules>, since_2_11: bool, system: Option<&str>) -> Found {
        let mut picks = Picks::new(rules, &naming(), server(since_2_11), system);
        read(page, |envelope, connection| picks.add(envelope, connection));
        picks.into_found()
    }

    /// A page of one connection, with its envelope's id.
    fn page(server_id: &str, connection: &str) -> String {
        format!(
            r#"{{"server_id":"{server_id}","now":"2026-01-05T10:00:00Z","total":1,"connections":[{connection}]}}"#
        )
    }

    #[test]
    fn whatever_a_breakdown_shows_selects_as_many_connections() {
        for (page, since_2_11) in [(PAGE, true), (OLD_PAGE, false)] {
            let mut tally = Tally::new(&naming(), server(since_2_11));
            read(page, |envelope, connection| tally.add(envelope, connection));
            let mut compared = 0;
            for (by, breakdown) in tally.into_breakdowns() {
                let name = by.to_string();
                if !["application", "name", "ip", "account", "user", "kind", "server"]
                    .contains(&name.as_str())
                {
                    continue;
                }
                for group in breakdown.groups.iter().filter(|group| !group.absent && group.key != "leafnode")
                {
                    let rules = rules(serde_json::json!({ &name: group.key }), Protection::default());
                    let picked = found(page, &rules, since_2_11, None).picked;
                    assert_eq!(picked.matched, group.figures.connections, "{name} {}", group.key);
                    assert_eq!(picked.total, breakdown.total.connections);
                    compared += 1;
                }
            }
            assert!(compared > 5, "{compared}");
        }
    }

    #[test]
    fn a_victim_is_named_by_the_list_it_stands_in_and_timed_by_its_server() {
        let connection = r#"{"cid":7,"kind":"Client","type":"nats","ip":"::ffff:10.1.2.3","start":"2026-01-05T09:00:00Z",
            "last_activity":"2026-01-05T09:59:00Z","in_msgs":1,"out_msgs":2,"subscriptions":3,"name":"orders-1",
            "authorized_user":"s3cret","name_tag":"not the account before 2.11"}"#;
        let rules = rules(serde_json::json!({ "kind": "client" }), Protection::default());
        let found = found(&page("NA", connection), &rules, false, None);
        let [victim] = &found.picked.victims[..] else { panic!("{found:?}") };
        assert_eq!(
            victim.key,
            VictimKey { server_id: "NA".to_owned(), cid: 7, start: "2026-01-05T09:00:00Z".to_owned() }
        );
        assert_eq!((victim.idle_ms, victim.age_ms), (Some(60_000), Some(3_600_000)));
        assert_eq!((victim.messages, victim.subscriptions, victim.account.as_str()), (3, 3, "$G"));
        assert_eq!(victim.ip.unwrap().to_string(), "10.1.2.3");
        assert_eq!((victim.application.as_deref(), victim.server.as_str()), (Some("orders"), "nats-1"));
        // it may be a token
        assert!(victim.user.as_deref().unwrap().starts_with("user#"), "{victim:?}");

        let is_found_by = |page: &str, selector: Option<serde_json::Value>| {
            let selector = selector.map(|selector| serde_json::from_value(selector).unwrap());
            let sought = Arc::new(Sought::new(&BTreeSet::from([victim.key.clone()]), selector));
            let mut recheck = Recheck::new(&sought, &naming(), server(false));
            read(page, |envelope, connection| recheck.add(envelope, connection));
            let there = recheck.into_there();
            (there.meant.len(), there.changed.len())
        };
        let is_found = |page: &str| is_found_by(page, None);
        assert_eq!(is_found(&page("NA", connection)), (1, 0));
        assert_eq!(is_found(&page("NB", connection)), (0, 0));
        assert_eq!(is_found(&page("NA", &connection.replace("09:00:00Z", "09:00:01Z"))), (0, 0));
        assert_eq!(is_found(&page("NA", &connection.replace(r#""cid":7"#, r#""cid":8"#))), (0, 0));
        // it has been used since
        let idle = || Some(serde_json::json!({ "idle_for": "1m" }));
        assert_eq!(is_found_by(&page("NA", connection), idle()), (1, 0));
        assert_eq!(is_found_by(&page("NA", &connection.replace("09:59:00Z", "09:59:01Z")), idle()), (0, 1));
    }

    #[test]
    fn what_cannot_be_named_for_certain_is_counted_and_never_picked() {
        let rules = rules(serde_json::json!({ "kind": "client" }), Protection::default());
        let picked = |server_id: &str, cid: &str, start: &str| {
            let connection = format!(r#"{{"cid":{cid},"kind":"Client","type":"nats","start":"{start}"}}"#);
            let picked = found(&page(server_id, &connection), &rules, true, None).picked;
            assert_eq!(picked.total, 1);
            picked.victims.len()
        };
        let start = "2026-01-05T09:00:00.123456789Z";
        assert_eq!(picked("NA", "7", start), 1);
        let long = format!("2026-01-05T09:00:00{}+00:00[Europe/Berlin]", ".0".repeat(10));
        for (server_id, cid, start) in [
            ("", "7", start),
            ("NA.KICK", "7", start),
            ("*", "7", start),
            ("NA", "0", start),
            ("NA", "-7", start),
            ("NA", "7", ""),
            ("NA", "7", "yesterday"),
            ("NA", "7", &long),
        ] {
            assert_eq!(picked(server_id, cid, start), 0, "{server_id} {cid} {start}");
        }
    }

    #[test]
    fn the_system_account_is_protected_by_what_its_server_calls_it_and_other_wardens_are_seen_there() {
        let list = |connections: &[(u64, &str, &str)]| {
            let connections = connections.iter().map(|(cid, name, account)| {
                format!(
                    r#"{{"cid":{cid},"kind":"Client","type":"nats","start":"2026-01-05T09:00:00Z","name":"{name}","account":"{account}"}}"#
                )
            });
            page("NA", &connections.collect::<Vec<_>>().join(","))
        };
        let page = list(&[
            (1, "connwarden/ours/prod", "SYS"),
            (2, "connwarden/theirs/prod", "SYS"),
            (3, "connwarden/imposter/prod", "APP"),
            (4, "orders", "APP"),
            (5, "connwarden/doctor/prod", "SYS"),
        ]);
        let own = BTreeSet::from([("NA".to_owned(), 1)]);
        let rules =
            rules(serde_json::json!({ "kind": "client" }), Protection { own, ..Protection::default() });
        let told = found(&page, &rules, true, Some("SYS"));
        assert_eq!(told.other_wardens, BTreeSet::from(["connwarden/theirs/prod".to_owned()]));
        let protected = BTreeMap::from([(ProtectionReason::Own, 1), (ProtectionReason::SystemAccount, 2)]);
        assert_eq!((told.picked.protected, told.picked.victims.len()), (protected, 2));

        let mut both = Picks::new(&rules, &naming(), server(true), Some("SYS"));
        let mut second = Picks::new(&rules, &naming(), server(true), Some("SYS"));
        read(&page, |envelope, connection| second.add(envelope, connection));
        both.absorb(second);
        assert_eq!(both.into_found().other_wardens.len(), 1);
    }
}
