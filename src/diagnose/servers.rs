//! The servers of a look, as a diagnosis speaks of them.

use std::time::Duration;

use crate::diagnose::connection_limit::ConnectionLimit;
use crate::diagnose::version::Version;
use crate::diagnose::words::{between, whose};
use crate::model::evidence::Evidence;
use crate::model::printable::excerpt;
use crate::model::snapshot::{ServerCoverage, Snapshot};
use crate::model::vitals::ServerVitals;

/// How much memory a connection takes where it cannot be measured: 10,000 to 20,000 clients with four subscriptions each
/// on 2.15.1 took 45 kB each.
const USUAL_BYTES_PER_CONNECTION: u64 = 45_000;

/// From how many connections on memory is divided by them: below, it is mostly the server's own.
const ENOUGH_TO_DIVIDE: u64 = 1_000;

/// How far back a server's growth is measured.
const GROWTH_OVER: Duration = Duration::from_secs(15 * 60);

/// From which time on a growth between two samples says something.
const LEAST_BETWEEN_SAMPLES: Duration = Duration::from_secs(2 * 60);

/// From which time on a growth between the two looks of an incident says something.
const LEAST_BETWEEN_LOOKS: Duration = Duration::from_secs(10);

/// How long ahead a growth is followed: beyond, nothing is foreseen.
pub(super) const FORESEEN: Duration = Duration::from_secs(30 * 86_400);

/// A server that was looked at.
#[derive(Debug, Clone)]
pub(super) struct Server<'a> {
    /// Its name, fit to be shown.
    pub(super) name: String,
    /// What it let us see.
    pub(super) coverage: &'a ServerCoverage,
    /// What it says of itself.
    pub(super) vitals: Option<&'a ServerVitals>,
    /// Its version, if it can be read.
    pub(super) version: Option<Version>,
}

impl<'a> Server<'a> {
    /// Every server of a look, in its order.
    pub(super) fn all(snapshot: &'a Snapshot) -> Vec<Self> {
        let servers = snapshot.coverage.each_server().map(|coverage| Self {
            name: excerpt(coverage.display_name()),
            coverage,
            vitals: coverage.vitals.as_ref(),
            version: coverage.version.as_deref().and_then(Version::parse),
        });
        servers.collect()
    }

    /// How many clients it has by its own word: what its limit counts.
    pub(super) fn clients(&self) -> Option<u64> {
        self.coverage.varz_connections.or(self.coverage.connz_total)
    }

    /// Its limit.
    pub(super) fn limit(&self) -> ConnectionLimit {
        let told = self.coverage.max_connections.or(self.vitals.and_then(|vitals| vitals.max_connections));
        ConnectionLimit::of(told, self.version)
    }

    /// About how much memory one more connection takes, in bytes, and whether that was measured here.
    pub(super) fn bytes_per_connection(&self) -> (u64, bool) {
        let measured = self.vitals.and_then(|vitals| vitals.memory_bytes).zip(self.clients());
        match measured {
            Some((memory, clients)) if clients >= ENOUGH_TO_DIVIDE => (memory / clients, true),
            _ => (USUAL_BYTES_PER_CONNECTION, false),
        }
    }

    /// How many connections it really takes: its limit, or fewer where its memory ends before.
    pub(super) fn capacity(&self, limit: u64) -> u64 {
        let memory = self.vitals.and_then(|vitals| vitals.memory_limit_bytes).filter(|memory| *memory > 0);
        let by_memory = memory.map(|memory| (memory / self.bytes_per_connection().0.max(1)).max(1));
        by_memory.map_or(limit, |by_memory| by_memory.min(limit))
    }

    /// When it will be full if it goes on growing as it does; `None` if it does not grow, or nobody knows, or it is full.
    pub(super) fn full_in(&self, evidence: &Evidence, capacity: u64) -> Option<Duration> {
        let (per_minute, _) = self.growth(evidence).filter(|(per_minute, _)| *per_minute > 0.0)?;
        let left =
            self.clients().and_then(|clients| capacity.checked_sub(clients)).filter(|left| *left > 0)?;
        Some(Duration::try_from_secs_f64(left as f64 * 60.0 / per_minute).unwrap_or(Duration::MAX))
    }

    /// How fast its connections grow, in connections a minute, and over which time that was measured; by the samples of
    /// the last quarter of an hour, else by the two looks of the incident. `None` if neither says anything.
    pub(super) fn growth(&self, evidence: &Evidence) -> Option<(f64, Duration)> {
        let now = evidence.snapshot.taken_at;
        let started_at = self.vitals.and_then(|vitals| vitals.started_at);
        let samples = evidence.history.seen().map_or(&[][..], |history| &history.samples);
        let own = samples.iter().filter_map(|sample| {
            let age = between(sample.at, now);
            let own = sample.servers.iter().find(|own| own.server == self.coverage.display_name())?;
            // one that has started anew since begins at nothing
            let same_run = own.started_at.is_none() || started_at.is_none() || own.started_at == started_at;
            (same_run && (LEAST_BETWEEN_SAMPLES..=GROWTH_OVER).contains(&age))
                .then_some((age, own.connections))
        });
        let by_samples = own.max_by_key(|(age, _)| *age).zip(self.clients()).map(|((age, before), now)| {
            let grown = now as f64 - before as f64;
            (grown * 60.0 / age.as_secs_f64(), age)
        });
        by_samples.or_else(|| {
            let churn = evidence.churn.iter().find(|churn| churn.server == self.coverage.display_name())?;
            let over = churn.duration();
            (over >= LEAST_BETWEEN_LOOKS).then(|| (churn.grown as f64 * 60.0 / over.as_secs_f64(), over))
        })
    }
}

/// What servers have in common: each value once, with the servers that have it; those without a value are left out.
pub(super) fn alike<'s, T: PartialEq>(
    servers: &'s [Server<'_>],
    value: impl Fn(&Server<'_>) -> Option<T>,
) -> Vec<(T, Vec<&'s str>)> {
    let mut groups: Vec<(T, Vec<&str>)> = Vec::new();
    for server in servers {
        let Some(value) = value(server) else { continue };
        match groups.iter_mut().find(|(other, _)| *other == value) {
            Some((_, names)) => names.push(&server.name),
            None => groups.push((value, vec![&server.name])),
        }
    }
    groups
}

/// Lists values with the servers that have them: `10 seconds (n1 and n2), 2 seconds (n3)`; the value alone if all have
/// the same.
pub(super) fn values<T>(groups: &[(T, Vec<&str>)], show: impl Fn(&T) -> String) -> String {
    match groups {
        [(value, _)] => show(value),
        groups => {
            let all = groups.iter().map(|(_, names)| names.len()).sum();
            let parts =
                groups.iter().map(|(value, names)| format!("{} ({})", show(value), whose(names, all)));
            parts.collect::<Vec<_>>().join(", ")
        }
    }
}
