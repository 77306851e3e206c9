//! What is counted of a set of connections.

use jiff::Timestamp;

use crate::model::breakdown::Figures;
use crate::nats::connz::Connection;
use crate::observe::addresses::{DistinctAddresses, PairBudget};
use crate::observe::instant::parse_instant;
use crate::observe::tally::starts::age_in_seconds;

/// What is counted of one connection.
pub(super) struct Sighting {
    subscriptions: u64,
    idle: bool,
    without_traffic: bool,
    pending_bytes: u64,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    starts: Starts,
    /// How long before the reference it began, in seconds, where start times are wanted.
    pub(super) age_s: Option<i32>,
    address: Option<u64>,
}

impl Sighting {
    /// What is counted of a connection. `newest_us` is what the server's clock says at the reference of start times.
    pub(super) fn of(
        connection: &Connection<'_>,
        now_us: i64,
        idle_after_us: i64,
        newest_us: Option<i64>,
        address: Option<u64>,
    ) -> Self {
        let start_us = connection.start.as_deref().and_then(parse_instant);
        let last_activity_us = connection.last_activity.as_deref().and_then(parse_instant);
        Self {
            subscriptions: connection.subscriptions,
            idle: last_activity_us.is_some_and(|last| now_us.saturating_sub(last) >= idle_after_us),
            without_traffic: connection.in_msgs == 0 && connection.out_msgs == 0,
            pending_bytes: connection.pending_bytes,
            in_msgs: connection.in_msgs,
            out_msgs: connection.out_msgs,
            in_bytes: connection.in_bytes,
            out_bytes: connection.out_bytes,
            starts: Starts::at(start_us),
            age_s: newest_us
                .zip(start_us)
                .map(|(newest, start)| age_in_seconds(newest.saturating_sub(start))),
            address,
        }
    }
}

/// When the oldest and the newest of some connections began; without one, the oldest is newer than the newest, so
/// that putting two together never has to ask.
#[derive(Debug, Clone, Copy)]
struct Starts {
    oldest_us: i64,
    newest_us: i64,
}

impl Default for Starts {
    fn default() -> Self {
        Self { oldest_us: i64::MAX, newest_us: i64::MIN }
    }
}

impl Starts {
    fn at(start_us: Option<i64>) -> Self {
        start_us.map_or_else(Self::default, |us| Self { oldest_us: us, newest_us: us })
    }

    fn absorb(&mut self, other: Self) {
        self.oldest_us = self.oldest_us.min(other.oldest_us);
        self.newest_us = self.newest_us.max(other.newest_us);
    }

    fn are_known(self) -> bool {
        self.oldest_us <= self.newest_us
    }
}

/// What was counted of a set of connections.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) connections: u64,
    subscriptions: u64,
    idle: u64,
    idle_without_traffic: u64,
    without_traffic: u64,
    pending_bytes: u64,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    starts: Starts,
    pub(super) addresses: DistinctAddresses,
}

impl Counts {
    pub(super) fn add(&mut self, sighting: &Sighting, budget: &mut PairBudget) {
        self.connections += 1;
        self.subscriptions = self.subscriptions.saturating_add(sighting.subscriptions);
        self.idle += u64::from(sighting.idle);
        self.idle_without_traffic += u64::from(sighting.idle && sighting.without_traffic);
        self.without_traffic += u64::from(sighting.without_traffic);
        self.pending_bytes = self.pending_bytes.saturating_add(sighting.pending_bytes);
        self.in_msgs = self.in_msgs.saturating_add(sighting.in_msgs);
        self.out_msgs = self.out_msgs.saturating_add(sighting.out_msgs);
        self.in_bytes = self.in_bytes.saturating_add(sighting.in_bytes);
        self.out_bytes = self.out_bytes.saturating_add(sighting.out_bytes);
        self.starts.absorb(sighting.starts);
        if let Some(address) = sighting.address {
            self.addresses.insert(address, budget);
        }
    }

    pub(super) fn absorb(&mut self, other: &Self, budget: &mut PairBudget) {
        self.connections += other.connections;
        self.subscriptions = self.subscriptions.saturating_add(other.subscriptions);
        self.idle += other.idle;
        self.idle_without_traffic += other.idle_without_traffic;
        self.without_traffic += other.without_traffic;
        self.pending_bytes = self.pending_bytes.saturating_add(other.pending_bytes);
        self.in_msgs = self.in_msgs.saturating_add(other.in_msgs);
        self.out_msgs = self.out_msgs.saturating_add(other.out_msgs);
        self.in_bytes = self.in_bytes.saturating_add(other.in_bytes);
        self.out_bytes = self.out_bytes.saturating_add(other.out_bytes);
        self.starts.absorb(other.starts);
        self.addresses.absorb(&other.addresses, budget);
    }

    pub(super) fn figures(&self) -> Figures {
        let instant = |us| Timestamp::from_microsecond(us).ok().filter(|_| self.starts.are_known());
        Figures {
            connections: self.connections,
            subscriptions: self.subscriptions,
            idle: self.idle,
            idle_without_traffic: self.idle_without_traffic,
            without_traffic: self.without_traffic,
            pending_bytes: self.pending_bytes,
            in_msgs: self.in_msgs,
            out_msgs: self.out_msgs,
            in_bytes: self.in_bytes,
            out_bytes: self.out_bytes,
            oldest_start: instant(self.starts.oldest_us),
            newest_start: instant(self.starts.newest_us),
            distinct_ips: self.addresses.count() as u64,
            distinct_ips_exact: self.addresses.is_exact(),
        }
    }
}
