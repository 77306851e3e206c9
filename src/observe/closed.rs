//! Closed connections, counted while their list streams by.
//!
//! A server's ring holds ten thousand or so, but nothing keeps one from listing more: groups, reasons and minutes are
//! bounded, and a lifetime is kept as the step of a ladder that it fits into.

use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;

use jiff::Timestamp;

use crate::model::breakdown::Dimension;
use crate::model::closed::{
    ClosedConnections, ClosedGroup, ClosedMinute, ClosedRing, ReasonCount, is_refusal,
};
use crate::model::vitals::ServerVitals;
use crate::nats::connz::{Connection, Envelope};
use crate::nats::text::clip;
use crate::observe::addresses::Addresses;
use crate::observe::instant::parse_instant;
use crate::observe::keys::Key;
use crate::observe::tally::{Applications, TallyRules, client_name};

/// How many groups of a dimension are told.
const GROUPS_TOLD: usize = 200;

/// How many groups of a dimension survive when there are twice as many.
const GROUPS_KEPT: usize = 4096;

/// How many reasons are kept apart; nats-server has about thirty.
const REASONS: usize = 64;

/// What reasons beyond that are called.
const OTHER_REASON: &str = "(other reasons)";

/// What the account of those is called that were refused before they had one.
const NO_ACCOUNT: &str = "(no account)";

/// How many minutes are told.
const MINUTES: usize = 120;

/// Below this a connection was short-lived, in microseconds.
const SHORT_US: i64 = 10_000_000;

/// How many connections a server remembers unless `max_closed_clients` says otherwise.
const USUAL_RING: u64 = 10_000;

const MINUTE_US: i64 = 60_000_000;

/// The closed connections of one server, counted; or of several, once absorbed.
#[derive(Debug)]
pub struct ClosedTally {
    rules: TallyRules,
    applications_of: Applications,
    addresses: Addresses,
    /// The time to take for the server's if it does not tell its own, in microseconds since 1970.
    our_now_us: i64,
    /// The server's own clock, once it has told it.
    now_us: Option<i64>,
    closed: u64,
    refused: u64,
    oldest_stop_us: Option<i64>,
    reasons: Reasons,
    applications: Groups,
    ips: Groups,
    accounts: Groups,
    minutes: BTreeMap<i64, Minute>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Minute {
    closed: u64,
    refused: u64,
}

/// What is counted of one connection.
struct Ending {
    reason: u8,
    refused: bool,
    /// How long an accepted one lasted.
    lifetime_us: Option<i64>,
}

impl ClosedTally {
    /// Starts counting; `our_now_us` stands in for a clock that the server does not tell.
    pub fn new(rules: &TallyRules, our_now_us: i64) -> Self {
        Self {
            rules: rules.clone(),
            applications_of: Applications::default(),
            addresses: Addresses::new(rules.hashing.clone()),
            our_now_us,
            now_us: None,
            closed: 0,
            refused: 0,
            oldest_stop_us: None,
            reasons: Reasons::default(),
            applications: Groups::default(),
            ips: Groups::default(),
            accounts: Groups::default(),
            minutes: BTreeMap::new(),
        }
    }

    /// Counts one connection of the page that `envelope` describes. One that has not ended is none: whoever does not
    /// know the question lists open ones.
    pub fn add(&mut self, envelope: &Envelope, connection: &Connection<'_>) {
        let now_us = *self.now_us.get_or_insert_with(|| {
            envelope.now.as_deref().and_then(parse_instant).unwrap_or(self.our_now_us)
        });
        let Some(stop_us) = connection.stop.as_deref().and_then(parse_instant) else { return };
        let reason = connection.reason.as_deref().map(clip).unwrap_or_default();
        let refused = is_refusal(reason);
        let start_us = connection.start.as_deref().and_then(parse_instant);
        let lifetime_us =
            start_us.map(|start| stop_us.saturating_sub(start)).filter(|us| *us >= 0 && !refused);
        let ending = Ending { reason: self.reasons.count(reason, refused), refused, lifetime_us };

        self.closed += 1;
        self.refused += u64::from(refused);
        self.oldest_stop_us = Some(self.oldest_stop_us.map_or(stop_us, |oldest| oldest.min(stop_us)));
        // a minute that is yet to come would push out those that have been
        if stop_us <= now_us.saturating_add(MINUTE_US) {
            self.add_minute(stop_us.div_euclid(MINUTE_US), Minute { closed: 1, refused: u64::from(refused) });
        }

        let name = client_name(connection).map(|name| Key::new(name, &self.rules.hashing));
        let application = name.map(|name| self.applications_of.get(name, &self.rules).text);
        self.applications.add(application, &ending);
        let address = connection.ip.as_deref().map(|ip| &*self.addresses.get(clip(ip)).ip.text);
        self.ips.add(address, &ending);
        // who was refused may not have got as far as an account; all others without one are in the global account
        let account = connection.account.as_deref().map(clip);
        self.accounts.add(account.or((!refused).then_some(Dimension::Account.absent())), &ending);
    }

    /// What the server remembers, once everything is counted. `vitals`, asked for afterwards, tell whether that is all.
    pub fn ring(&self, server: &str, vitals: Option<&ServerVitals>) -> ClosedRing {
        // its size is told nowhere; some more may have ended since. Neither count has leafnodes, the list may
        let ended =
            vitals.and_then(|vitals| Some(vitals.total_connections?.saturating_sub(vitals.connections)));
        let forgotten = ended.is_some_and(|ended| ended > self.closed.saturating_mul(2).saturating_add(100));
        ClosedRing {
            server: server.to_owned(),
            listed: self.closed,
            full: self.closed >= USUAL_RING || forgotten,
            reaches_back_to: self.oldest_stop_us.and_then(|us| Timestamp::from_microsecond(us).ok()),
            at: Timestamp::from_microsecond(self.now_us.unwrap_or(self.our_now_us)).unwrap_or_default(),
        }
    }

    /// Adds what was counted of another server.
    pub fn absorb(&mut self, other: Self) {
        self.closed += other.closed;
        self.refused += other.refused;
        let reasons = self.reasons.absorb(&other.reasons);
        self.applications.absorb(other.applications, &reasons);
        self.ips.absorb(other.ips, &reasons);
        self.accounts.absorb(other.accounts, &reasons);
        for (at, minute) in other.minutes {
            self.add_minute(at, minute);
        }
    }

    /// Ends the count.
    pub fn into_closed(self, servers: Vec<ClosedRing>, errors: Vec<String>) -> ClosedConnections {
        let name = |index: u8| self.reasons.name(index);
        let minute = |(at, minute): (i64, Minute)| {
            let at = Timestamp::from_microsecond(at.saturating_mul(MINUTE_US)).ok()?;
            Some(ClosedMinute { at, closed: minute.closed, refused: minute.refused })
        };
        ClosedConnections {
            servers,
            errors,
            closed: self.closed,
            refused: self.refused,
            applications: self.applications.into_groups(Dimension::Application.absent(), name),
            ips: self.ips.into_groups(Dimension::Ip.absent(), name),
            accounts: self.accounts.into_groups(NO_ACCOUNT, name),
            per_minute: self.minutes.into_iter().filter_map(minute).collect(),
            reasons: self.reasons.into_counts(),
        }
    }

    fn add_minute(&mut self, at: i64, more: Minute) {
        let minute = self.minutes.entry(at).or_default();
        minute.closed += more.closed;
        minute.refused += more.refused;
        if self.minutes.len() > MINUTES {
            self.minutes.pop_first();
        }
    }
}

/// The reasons, each with a number.
#[derive(Debug, Default)]
struct Reasons(Vec<ReasonCount>);

impl Reasons {
    /// Counts a reason; the first that is one too many, and all after it, count as others.
    fn count(&mut self, reason: &str, refused: bool) -> u8 {
        self.add(reason, refused, 1)
    }

    fn add(&mut self, reason: &str, refused: bool, connections: u64) -> u8 {
        let known = |reasons: &[ReasonCount], reason: &str| {
            reasons.iter().position(|known| known.reason == reason && known.refused == refused)
        };
        let index = known(&self.0, reason).unwrap_or_else(|| {
            let full = self.0.len() >= REASONS;
            let reason = if full { OTHER_REASON } else { reason };
            known(&self.0, reason).unwrap_or_else(|| {
                self.0.push(ReasonCount { reason: reason.to_owned(), connections: 0, refused });
                self.0.len() - 1
            })
        });
        self.0[index].connections += connections;
        u8::try_from(index).expect("there are at most two reasons more than 64")
    }

    /// Adds the counts of others, and says what their numbers are here.
    fn absorb(&mut self, others: &Self) -> Vec<u8> {
        others.0.iter().map(|other| self.add(&other.reason, other.refused, other.connections)).collect()
    }

    fn name(&self, index: u8) -> &str {
        self.0.get(usize::from(index)).map_or("", |known| &known.reason)
    }

    fn into_counts(mut self) -> Vec<ReasonCount> {
        self.0.sort_by(|one, two| {
            two.connections.cmp(&one.connections).then_with(|| one.reason.cmp(&two.reason))
        });
        self.0
    }
}

/// The groups of one dimension: a bounded number, the lightest dropped.
#[derive(Debug, Default)]
struct Groups {
    keyed: HashMap<Box<str>, Group, RandomState>,
    absent: Group,
}

impl Groups {
    fn add(&mut self, key: Option<&str>, ending: &Ending) {
        let Some(key) = key else { return self.absent.add(ending) };
        if let Some(group) = self.keyed.get_mut(key) {
            return group.add(ending);
        }
        self.keyed.entry(key.into()).or_default().add(ending);
        self.fold();
    }

    fn absorb(&mut self, other: Self, reasons: &[u8]) {
        self.absent.absorb(&other.absent, reasons);
        for (key, group) in other.keyed {
            self.keyed.entry(key).or_default().absorb(&group, reasons);
        }
        self.fold();
    }

    fn fold(&mut self) {
        if self.keyed.len() < 2 * GROUPS_KEPT {
            return;
        }
        let mut groups: Vec<_> = self.keyed.drain().collect();
        groups.select_nth_unstable_by(GROUPS_KEPT, |(_, one), (_, two)| two.closed.cmp(&one.closed));
        groups.truncate(GROUPS_KEPT);
        self.keyed.extend(groups);
    }

    fn into_groups<'a>(self, absent: &str, reason: impl Fn(u8) -> &'a str) -> Vec<ClosedGroup> {
        let nameless = (self.absent.closed > 0).then_some((Box::from(absent), self.absent, true));
        let keyed = self.keyed.into_iter().map(|(key, group)| (key, group, false));
        let mut groups: Vec<_> = keyed.chain(nameless).collect();
        groups.sort_unstable_by(|(key, group, absent), (other_key, other, other_absent)| {
            other.closed.cmp(&group.closed).then_with(|| (key, absent).cmp(&(other_key, other_absent)))
        });
        groups.truncate(GROUPS_TOLD);
        let told = groups.into_iter().map(|(key, group, absent)| ClosedGroup {
            key: key.into(),
            absent,
            closed: group.closed,
            refused: group.refused,
            short_lived: group.short_lived,
            median_lifetime_s: group.median_lifetime_s(),
            top_reason: group.top_reason(&reason),
        });
        told.collect()
    }
}

#[derive(Debug, Default)]
struct Group {
    closed: u64,
    refused: u64,
    short_lived: u64,
    longest_us: i64,
    /// How many there are of each reason, by its number.
    reasons: Vec<(u8, u64)>,
    /// How many accepted ones lasted so long, by the step of the ladder.
    lifetimes: BTreeMap<u16, u64>,
}

impl Group {
    fn add(&mut self, ending: &Ending) {
        self.closed += 1;
        self.refused += u64::from(ending.refused);
        self.add_reason(ending.reason, 1);
        if let Some(us) = ending.lifetime_us {
            self.short_lived += u64::from(us < SHORT_US);
            self.longest_us = self.longest_us.max(us);
            *self.lifetimes.entry(step_of(us)).or_default() += 1;
        }
    }

    fn add_reason(&mut self, reason: u8, connections: u64) {
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += connections,
            None => self.reasons.push((reason, connections)),
        }
    }

    fn absorb(&mut self, other: &Self, reasons: &[u8]) {
        self.closed += other.closed;
        self.refused += other.refused;
        self.short_lived += other.short_lived;
        self.longest_us = self.longest_us.max(other.longest_us);
        for (reason, connections) in &other.reasons {
            if let Some(reason) = reasons.get(usize::from(*reason)) {
                self.add_reason(*reason, *connections);
            }
        }
        for (step, connections) in &other.lifetimes {
            *self.lifetimes.entry(*step).or_default() += connections;
        }
    }

    /// How long half of the accepted ones lasted at most.
    fn median_lifetime_s(&self) -> Option<f64> {
        let half = self.lifetimes.values().sum::<u64>().div_ceil(2);
        let mut so_far = 0;
        let step = self.lifetimes.iter().find(|(_, connections)| {
            so_far += *connections;
            so_far >= half
        });
        step.map(|(step, _)| (top_of_step(*step).min(self.longest_us) as f64 / 1_000.0).round() / 1_000.0)
    }

    fn top_reason<'a>(&self, name: impl Fn(u8) -> &'a str) -> String {
        let most = self
            .reasons
            .iter()
            .max_by(|(one, ones), (two, twos)| ones.cmp(twos).then_with(|| name(*two).cmp(name(*one))));
        most.map(|(reason, _)| name(*reason).to_owned()).unwrap_or_default()
    }
}

/// How many steps of the ladder double a lifetime: each is a ninth longer than the one before, at most an eighth.
const STEPS_PER_OCTAVE: u16 = 8;

/// The step of the ladder that a lifetime fits into.
fn step_of(us: i64) -> u16 {
    let us = us.max(0) as u64;
    if us < u64::from(STEPS_PER_OCTAVE) {
        return us as u16;
    }
    let octave = us.ilog2();
    // the three bits behind the first
    let part = (us >> (octave - 3)) & 7;
    (octave as u16 - 2) * STEPS_PER_OCTAVE + part as u16
}

/// The longest lifetime that fits into a step.
fn top_of_step(step: u16) -> i64 {
    if step < STEPS_PER_OCTAVE {
        return i64::from(step);
    }
    let octave = u32::from(step / STEPS_PER_OCTAVE) + 2;
    let part = u64::from(step % STEPS_PER_OCTAVE);
    let next = u128::from(8 + part + 1) << (octave - 3);
    i64::try_from(next - 1).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
