//! Tallies: connections counted along several dimensions at once, while they stream by.
//!
//! Every connection is counted in every dimension, so groups plus `other` always is what was seen. A dimension
//! keeps a bounded number of groups: beyond it the lightest fold into `other`, exactly. A group that comes after a
//! fold may have been folded before; by how much at most is kept beside it.

mod counts;
mod dimension;
mod starts;

use std::hash::RandomState;
use std::sync::Arc;

use hashbrown::HashTable;
use jiff::Timestamp;

use crate::model::application::ApplicationRules;
use crate::model::breakdown::{Breakdowns, By, Dimension};
use crate::nats::connz::{Connection, Envelope};
use crate::nats::text::clip;
use crate::observe::addresses::{Addresses, PairBudget};
use crate::observe::instant::parse_instant;
use crate::observe::keys::{KeptKey, Key};
use crate::observe::tally::counts::{Counts, Sighting};
use crate::observe::tally::dimension::{DimensionTally, GROUPS_KEPT, GroupKey, Note};
use crate::observe::tally::starts::{Coarseness, StartCounts};
use crate::observe::users::UserMask;

/// How many names are remembered with their application.
const NAMES_REMEMBERED: usize = 2 * GROUPS_KEPT;

/// What a sweep counts, and by which rules; shared by the tallies of its servers.
#[derive(Debug, Clone)]
pub struct TallyRules {
    /// What to count along.
    pub by: Vec<By>,
    /// What makes an application of a name.
    pub applications: Arc<ApplicationRules>,
    /// What makes a user presentable.
    pub users: UserMask,
    /// After how long without activity a connection is idle, in microseconds.
    pub idle_after_us: i64,
    /// Where start times are wanted: what ages are measured against, by our clock.
    pub starts: Option<Timestamp>,
    /// Hashes the keys of groups; equal for all servers of a sweep.
    pub hashing: RandomState,
}

/// What must be known of a server to read its connections.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// What the server is called.
    pub name: String,
    /// Whether it is 2.11 or newer: tokens are redacted, and `name_tag` is the account's name.
    pub since_2_11: bool,
    /// Our time when the server was asked, in microseconds since 1970: to measure idleness against if it does not tell
    /// its own, and to put its start times on our clock.
    pub now_us: i64,
}

/// The connections of one server, counted; or of several, once absorbed.
#[derive(Debug)]
pub struct Tally {
    rules: TallyRules,
    server: ServerFacts,
    server_key: KeptKey,
    /// The server's own clock, once it has told it.
    now_us: Option<i64>,
    total: Counts,
    starts: StartCounts,
    dimensions: Vec<DimensionTally>,
    addresses: Addresses,
    budget: PairBudget,
    applications: Applications,
    /// Whether each dimension is counted along: keys that are not cost nothing.
    wanted: [bool; Dimension::ALL.len()],
    library: String,
}

impl Tally {
    /// Starts counting the connections of a server.
    pub fn new(rules: &TallyRules, server: ServerFacts) -> Self {
        let mut wanted = [false; Dimension::ALL.len()];
        rules
            .by
            .iter()
            .flat_map(|by| by.dimensions())
            .for_each(|dimension| wanted[dimension as usize] = true);
        Self {
            rules: rules.clone(),
            server_key: Key::new(&server.name, &rules.hashing).into(),
            server,
            now_us: None,
            total: Counts::default(),
            starts: StartCounts::default(),
            dimensions: rules.by.iter().map(|by| DimensionTally::new(*by, rules.starts)).collect(),
            addresses: Addresses::new(rules.hashing.clone()),
            budget: PairBudget::default(),
            applications: Applications::default(),
            wanted,
            library: String::new(),
        }
    }

    /// Counts one connection of the page that `envelope` describes.
    pub fn add(&mut self, envelope: &Envelope, connection: &Connection<'_>) {
        let now_us = *self.now_us.get_or_insert_with(|| {
            envelope.now.as_deref().and_then(parse_instant).unwrap_or(self.server.now_us)
        });
        let wants = |dimension: Dimension| self.wanted[dimension as usize];
        let key = |text| Key::new(text, &self.rules.hashing);

        let address = connection.ip.as_deref().map(|ip| self.addresses.get(clip(ip)));
        let newest_us = self.rules.starts.map(|reference| {
            reference.as_microsecond().saturating_sub(self.server.now_us).saturating_add(now_us)
        });
        let idle_after_us = self.rules.idle_after_us;
        let sighting =
            Sighting::of(connection, now_us, idle_after_us, newest_us, address.map(|it| it.ip.hash));
        self.total.add(&sighting, &mut self.budget);
        if let Some(age_s) = sighting.age_s {
            self.starts.add(age_s, 1, Coarseness::default());
        }

        let name = client_name(connection);
        let name_key = name.filter(|_| wants(Dimension::Application) || wants(Dimension::Name)).map(key);
        let application = name_key
            .filter(|_| wants(Dimension::Application))
            .map(|name| self.applications.get(name, &self.rules));
        let user = if wants(Dimension::User) {
            self.rules.users.user(connection, self.server.since_2_11)
        } else {
            None
        };
        let name_tag = connection.name_tag.as_deref().map(clip);
        let library = Some(&mut self.library)
            .filter(|_| wants(Dimension::Library))
            .and_then(|buffer| library(connection, buffer));
        let key_of = |dimension| match dimension {
            Dimension::Application => application,
            Dimension::Name => name_key,
            Dimension::Ip => address.map(|address| address.ip.key()),
            Dimension::Subnet => address.map(|address| address.subnet.key()),
            Dimension::Account => {
                connection.account.as_deref().filter(|account| *account != "$G").map(clip).map(key)
            }
            Dimension::User => user.as_deref().map(clip).map(key),
            Dimension::Library => library.map(key),
            Dimension::Kind => kind(connection).map(key),
            Dimension::Server => Some(self.server_key.key()),
        };
        let note_of = |by: By| match (by.first(), by.second()) {
            (Dimension::Application, None) => Note { example: name, label: None },
            (Dimension::Account, None) => {
                Note { label: name_tag.filter(|_| self.server.since_2_11), example: None }
            }
            (Dimension::User, None) => {
                Note { label: name_tag.filter(|_| !self.server.since_2_11), example: None }
            }
            _ => Note::default(),
        };
        for tally in &mut self.dimensions {
            let by = tally.by;
            let key = match by.second() {
                None => key_of(by.first()).map(GroupKey::one),
                Some(second) => Some(GroupKey::crossed(key_of(by.first()), key_of(second))),
            };
            tally.add(key, note_of(by), &sighting, &mut self.budget);
        }
    }

    /// Adds what was counted of another server by the same rules.
    pub fn absorb(&mut self, other: Self) {
        self.total.absorb(&other.total, &mut self.budget);
        self.starts.absorb(&other.starts, Coarseness::default());
        for (mine, theirs) in self.dimensions.iter_mut().zip(other.dimensions) {
            mine.absorb(theirs, &mut self.budget);
        }
    }

    /// Ends the count.
    pub fn into_breakdowns(self) -> Breakdowns {
        let (total, starts) = (self.total.figures(), self.starts);
        self.dimensions.into_iter().map(|tally| (tally.by, tally.into_breakdown(&total, &starts))).collect()
    }
}

/// What a client calls itself.
pub(super) fn client_name<'a>(connection: &'a Connection<'_>) -> Option<&'a str> {
    let name = connection.name.as_deref().or(connection.mqtt_client.as_deref()).map(clip);
    // a name of blanks names nobody
    name.filter(|name| !name.chars().all(char::is_whitespace))
}

/// The applications of names, each worked out once.
#[derive(Debug, Default)]
pub(super) struct Applications {
    /// Names with their applications.
    known: HashTable<(KeptKey, KeptKey)>,
}

impl Applications {
    pub(super) fn get(&mut self, name: Key<'_>, rules: &TallyRules) -> Key<'_> {
        if self.known.len() >= NAMES_REMEMBERED {
            self.known.clear();
        }
        let application =
            |name: &str| KeptKey::from(Key::new(clip(&rules.applications.application(name)), &rules.hashing));
        self.known
            .entry(name.hash, |(known, _)| *known.text == *name.text, |(known, _)| known.hash)
            .or_insert_with(|| (name.into(), application(name.text)))
            .into_mut()
            .1
            .key()
    }
}

/// Language and version of the client library; a leafnode's is the server at its other end.
fn library<'a>(connection: &Connection<'_>, buffer: &'a mut String) -> Option<&'a str> {
    let leafnode = connection.kind.as_deref() == Some("Leafnode");
    let lang = connection.lang.as_deref().or(leafnode.then_some("nats-server"));
    if lang.is_none() && connection.version.is_none() {
        return None;
    }
    buffer.clear();
    buffer.push_str(lang.unwrap_or("?"));
    if let Some(version) = connection.version.as_deref() {
        buffer.push(' ');
        buffer.push_str(version);
    }
    Some(clip(buffer))
}

/// The kind of a connection, and its protocol.
pub(super) fn kind<'a>(connection: &'a Connection<'_>) -> Option<&'a str> {
    match (connection.kind.as_deref(), connection.client_type.as_deref()) {
        (Some("Leafnode"), _) => Some("leafnode"),
        (_, Some("nats")) => Some("client/nats"),
        (_, Some("websocket")) => Some("client/websocket"),
        (_, Some("mqtt")) => Some("client/mqtt"),
        (kind, client_type) => client_type.or(kind).map(clip),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::model::breakdown::Breakdown;
    use crate::nats::connz::ConnzReader;

    const PAGE: &str = include_str!("../../tests/fixtures/nats/2.15.1/connz-open-auth.json");
    const OLD_PAGE: &str = include_str!("../../tests/fixtures/nats/2.10.26/connz-jwt-auth.json");

    /// Shared by what is put together.
    static HASHING: LazyLock<RandomState> = LazyLock::new(RandomState::new);

    fn tally(since_2_11: bool) -> Tally {
        let rules = TallyRules {
            by: By::standard(),
            applications: Arc::new(ApplicationRules::default()),
            users: UserMask::new(&[7; 32]),
            idle_after_us: 300_000_000,
            starts: None,
            hashing: RandomState::new(),
        };
        Tally::new(&rules, ServerFacts { name: "nats-1".to_owned(), since_2_11, now_us: 0 })
    }

    fn breakdowns(page: &str, since_2_11: bool) -> Breakdowns {
        let (mut tally, mut reader) = (tally(since_2_11), ConnzReader::default());
        let mut each = |envelope: &Envelope, connection: &Connection<'_>| tally.add(envelope, connection);
        reader.feed(page.as_bytes(), &mut each).unwrap();
        reader.finish(&mut each).unwrap();
        tally.into_breakdowns()
    }

    /// `key=connections` of each group, an absent one in brackets.
    fn keys(breakdown: &Breakdown) -> String {
        let groups = breakdown.groups.iter().map(|group| {
            let key = if group.absent { format!("[{}]", group.key) } else { group.key.clone() };
            format!("{key}={}", group.figures.connections)
        });
        groups.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_captured_page_is_counted_along_every_dimension() {
        let breakdowns = breakdowns(PAGE, true);
        let shown: Vec<String> =
            breakdowns.iter().map(|(by, breakdown)| format!("{by}: {}", keys(breakdown))).collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        application: orders=2 [(unnamed)]=1 billing=1 cron=1 labLeaf=1 mq1=1 nats-responder=1 pyapp=1 ws=1
        application/ip: [(unnamed) / 127.0.0.1]=1 billing / 127.0.0.4=1 cron / 127.0.0.5=1 labLeaf / 127.0.0.1=1 mq1 / 127.0.0.1=1 nats-responder / 127.0.0.1=1 orders / 127.0.0.2=1 orders / 127.0.0.3=1 pyapp / 127.0.0.1=1 ws / 127.0.0.1=1
        application/server: orders / nats-1=2 [(unnamed) / nats-1]=1 billing / nats-1=1 cron / nats-1=1 labLeaf / nats-1=1 mq1 / nats-1=1 nats-responder / nats-1=1 pyapp / nats-1=1 ws / nats-1=1
        name: orders=2 [(unnamed)]=1 billing=1 cron=1 labLeaf=1 mq1=1 nats-responder=1 pyapp=1 ws=1
        ip: 127.0.0.1=6 127.0.0.2=1 127.0.0.3=1 127.0.0.4=1 127.0.0.5=1
        subnet: 127.0.0.0/24=10
        account: APP=8 B=1 SYS=1
        user: alice=6 bob=2 carol=1 sys=1
        library: lab 1=5 python3 2.16.0=2 [(unknown library)]=1 nats-server 2.15.1=1 ws 1=1
        kind: client/nats=7 client/mqtt=1 client/websocket=1 leafnode=1
        server: nats-1=10
        ");
        assert!(breakdowns.values().all(|breakdown| breakdown.total.connections == 10));
    }

    #[test]
    fn a_public_key_is_shown_with_what_it_is_called() {
        let breakdowns = breakdowns(OLD_PAGE, false);
        let user = &breakdowns[&Dimension::User.into()].groups[0];
        assert!(user.key.starts_with('U'));
        assert_eq!(user.label.as_deref(), Some("appuser"));
        assert_eq!(breakdowns[&Dimension::Account.into()].groups[0].label, None);
    }

    #[test]
    fn a_client_that_calls_itself_unnamed_is_not_taken_for_one() {
        let mut tally = tally(true);
        for name in [None, Some("(unnamed)"), Some("(unnamed)")] {
            let connection = Connection { name: name.map(Cow::from), ..Connection::default() };
            tally.add(&Envelope::default(), &connection);
        }
        assert_eq!(keys(&tally.into_breakdowns()[&Dimension::Name.into()]), "(unnamed)=2 [(unnamed)]=1");
    }

    #[test]
    fn idleness_is_measured_by_the_servers_clock() {
        let mut tally = tally(true);
        let envelope = Envelope { now: Some("2026-01-01T00:10:00Z".to_owned()), ..Envelope::default() };
        for (last_activity, in_msgs) in
            [("2026-01-01T00:05:00Z", 0), ("2026-01-01T00:04:59Z", 3), ("2026-01-01T00:05:01Z", 0)]
        {
            let last_activity = Some(Cow::from(last_activity));
            tally.add(&envelope, &Connection { last_activity, in_msgs, ..Connection::default() });
        }
        let total = &tally.into_breakdowns()[&Dimension::Server.into()].total;
        assert_eq!((total.idle, total.idle_without_traffic), (2, 1));
    }

    #[test]
    fn start_times_are_put_on_our_clock_whatever_the_servers_says() {
        let reference = "2026-01-01T12:00:00Z".parse().unwrap();
        let now_us = "2026-01-01T12:00:01Z".parse::<Timestamp>().unwrap().as_microsecond();
        let of_server = |now: &str, starts: [&'static str; 2]| {
            let rules = TallyRules { starts: Some(reference), hashing: HASHING.clone(), ..tally(true).rules };
            let facts = ServerFacts { name: now.to_owned(), since_2_11: true, now_us };
            let mut tally = Tally::new(&rules, facts);
            let envelope = Envelope { now: Some(now.to_owned()), ..Envelope::default() };
            for start in starts {
                let connection = Connection {
                    start: Some(Cow::from(start)),
                    name: Some(Cow::from("orders")),
                    ..Connection::default()
                };
                tally.add(&envelope, &connection);
            }
            tally
        };
        // an hour apart, and both in truth a minute and half an hour old
        let mut both = of_server("2026-01-01T12:00:01Z", ["2026-01-01T11:29:58Z", "2026-01-01T11:58:58Z"]);
        both.absorb(of_server("2026-01-01T13:00:01Z", ["2026-01-01T12:29:58Z", "2026-01-01T12:58:58Z"]));
        let breakdowns = both.into_breakdowns();
        let application = &breakdowns[&Dimension::Application.into()];
        for starts in [&application.starts, &application.groups[0].starts] {
            let told: Vec<(String, u64)> =
                starts.buckets.iter().map(|bucket| (bucket.from.to_string(), bucket.connections)).collect();
            let expected = [("2026-01-01T11:29:00Z", 2), ("2026-01-01T11:58:55Z", 2)];
            assert_eq!(told, expected.map(|(from, count)| (from.to_owned(), count)));
            assert_eq!(starts.opened_since("2026-01-01T11:58:00Z".parse().unwrap()), 2);
        }
        for by in ["library", "kind", "application/server"] {
            assert!(breakdowns[&by.parse().unwrap()].starts.is_empty(), "{by}");
        }
        assert!(!breakdowns[&"application/ip".parse().unwrap()].groups[0].starts.is_empty());
    }

    #[test]
    fn of_more_names_than_are_kept_the_largest_are_found_and_nothing_is_lost() {
        let mut tally = tally(true);
        let mut add = |name: &str| {
            let connection = Connection { name: Some(Cow::from(name)), ..Connection::default() };
            tally.add(&Envelope::default(), &connection);
        };
        for serial in 0..50_000 {
            add(&format!("client {serial:x} of nobody"));
            if serial % 10 == 0 {
                add("leaky");
            }
        }
        let breakdown = tally.into_breakdowns().remove(&Dimension::Name.into()).unwrap();
        let listed: u64 = breakdown.groups.iter().map(|group| group.figures.connections).sum();
        assert_eq!(listed + breakdown.other.figures.connections, 55_000);
        assert!(breakdown.groups.len() < 2 * GROUPS_KEPT);
        assert_eq!(
            (breakdown.groups[0].key.as_str(), breakdown.groups[0].figures.connections),
            ("leaky", 5000)
        );
        assert_eq!(breakdown.groups[0].undercount, 0);
        assert_eq!(breakdown.other.groups, None);
    }

    #[test]
    fn a_group_says_how_much_of_it_may_have_been_folded() {
        let mut tally = tally(true);
        let mut add = |name: &str| {
            let connection = Connection { name: Some(Cow::from(name)), ..Connection::default() };
            tally.add(&Envelope::default(), &connection);
        };
        add("early and light");
        (0..2 * GROUPS_KEPT)
            .for_each(|serial| [0, 1].iter().for_each(|_| add(&format!("of two: {serial:x}"))));
        add("early and light");
        let breakdown = tally.into_breakdowns().remove(&Dimension::Name.into()).unwrap();
        let light = breakdown.groups.iter().find(|group| group.key == "early and light").unwrap();
        assert_eq!((light.figures.connections, light.undercount >= 1), (1, true));
    }

    #[test]
    fn a_long_name_is_cut_between_two_characters() {
        let name = "ü".repeat(400);
        let mut tally = tally(true);
        tally
            .add(&Envelope::default(), &Connection { name: Some(Cow::from(&name)), ..Connection::default() });
        assert_eq!(tally.into_breakdowns()[&Dimension::Name.into()].groups[0].key, "ü".repeat(128));
    }

    proptest! {
        #[test]
        fn groups_and_other_always_are_what_was_seen(
            seen in prop::collection::vec((0..40u8, 0..30u8, 0..3usize), 0..300),
        ) {
            let rules = tally(true).rules;
            let mut servers: Vec<Tally> = (0..3).map(|server| {
                Tally::new(&rules, ServerFacts { name: format!("nats-{server}"), since_2_11: true, now_us: 0 })
            }).collect();
            for (name, ip, server) in &seen {
                let name = (*name > 0).then(|| Cow::from(format!("app {}", (b'a' + name % 26) as char)));
                let ip = Some(Cow::from(format!("10.0.{}.{ip}", ip % 3)));
                servers[*server].add(&Envelope::default(), &Connection { name, ip, ..Connection::default() });
            }
            let all = servers.into_iter().reduce(|mut all, server| { all.absorb(server); all }).unwrap();
            for breakdown in all.into_breakdowns().values() {
                for cut in [breakdown.clone(), breakdown.clone().top(3), breakdown.clone().top(0)] {
                    let listed: u64 = cut.groups.iter().map(|group| group.figures.connections).sum();
                    prop_assert_eq!(listed + cut.other.figures.connections, seen.len() as u64);
                    prop_assert_eq!(cut.total.connections, seen.len() as u64);
                }
            }
        }
    }
}
