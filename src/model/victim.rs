//! Victims: the connections that a plan would hit, in which order, and how many of them at most.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::selector::Candidate;

/// As many victims as a plan may ask for, whatever the settings say: all of them are held in memory and shown.
pub const MOST_VICTIMS: u32 = 10_000;

/// One connection that a plan would hit. The number alone would name another connection once its server is started
/// anew; with the server's nats id and the time at which it began it never does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct VictimKey {
    /// The server's nats id, new at each start.
    pub server_id: String,
    /// The connection's number on that server.
    pub cid: u64,
    /// When it connected, as the server says it.
    pub start: String,
}

/// A victim, and what was known of it when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Victim {
    /// Which connection it is.
    #[serde(flatten)]
    pub key: VictimKey,
    /// What its server is called.
    pub server: String,
    /// Its application; `null` without a name.
    pub application: Option<String>,
    /// The client's name.
    pub name: Option<String>,
    /// The client's address.
    #[schema(value_type = Option<String>)]
    pub ip: Option<IpAddr>,
    /// Its account.
    pub account: String,
    /// What its account is called, where it is known by a key.
    pub account_name: Option<String>,
    /// The kind of connection, as breakdowns show it.
    pub kind: Option<String>,
    /// Its user, as breakdowns show it.
    pub user: Option<String>,
    /// How long nothing had been sent or received, in milliseconds.
    pub idle_ms: Option<u64>,
    /// How long it had been open, in milliseconds.
    pub age_ms: Option<u64>,
    /// Messages in both directions.
    pub messages: u64,
    /// Its subscriptions.
    pub subscriptions: u64,
}

impl Victim {
    /// Freezes what is known of a connection.
    pub fn of(candidate: &Candidate<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let ms = |us: Option<i64>| us.map(|us| u64::try_from(us / 1000).unwrap_or(0));
        Self {
            key: VictimKey {
                server_id: candidate.server_id.to_owned(),
                cid: candidate.cid,
                start: candidate.start.to_owned(),
            },
            server: candidate.server.to_owned(),
            application: owned(candidate.application),
            name: owned(candidate.name),
            ip: candidate.ip,
            account: candidate.account.to_owned(),
            account_name: owned(candidate.account_name),
            kind: owned(candidate.kind),
            user: owned(candidate.user),
            idle_ms: ms(candidate.idle_us),
            age_ms: ms(candidate.age_us),
            messages: candidate.messages,
            subscriptions: candidate.subscriptions,
        }
    }

    /// The connection as it was frozen, to be looked at once more. What a victim does not keep is not known of it.
    pub fn candidate(&self) -> Candidate<'_> {
        let us = |ms: Option<u64>| ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000));
        Candidate {
            server_id: &self.key.server_id,
            server: &self.server,
            cid: self.key.cid,
            start: &self.key.start,
            application: self.application.as_deref(),
            name: self.name.as_deref(),
            ip: self.ip,
            account: &self.account,
            account_name: self.account_name.as_deref(),
            user: self.user.as_deref(),
            kind: self.kind.as_deref(),
            idle_us: us(self.idle_ms),
            age_us: us(self.age_ms),
            messages: self.messages,
            subscriptions: self.subscriptions,
            ..Candidate::default()
        }
    }
}

/// Who goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VictimOrder {
    /// Those that never sent or received a message, then all others; the longest idle of each first.
    #[default]
    NoTrafficIdle,
    /// The longest idle first.
    Idle,
    /// The youngest first.
    Newest,
    /// The oldest first.
    Oldest,
    /// By chance; the same for the same seed.
    Random {
        /// What the chance is made of.
        seed: u64,
    },
}

/// Where a connection stands in an order: the smallest goes first. Equal only for the same connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank<'a> {
    /// By what the order says.
    pub first: (u64, u64),
    /// Otherwise by what names the connection.
    pub server_id: &'a str,
    /// The same.
    pub cid: u64,
}

impl VictimOrder {
    /// Ranks a connection.
    pub fn rank<'a>(self, candidate: &Candidate<'a>) -> Rank<'a> {
        // the largest goes first, the unknown last
        let most = |value: Option<i64>| value.map_or(u64::MAX, descending);
        let first = match self {
            Self::NoTrafficIdle => (u64::from(candidate.messages > 0), most(candidate.idle_us)),
            Self::Idle => (0, most(candidate.idle_us)),
            Self::Oldest => (0, most(candidate.age_us)),
            Self::Newest => (0, candidate.age_us.map_or(u64::MAX, |age| !descending(age))),
            Self::Random { seed } => (0, mixed(seed, candidate)),
        };
        Rank { first, server_id: candidate.server_id, cid: candidate.cid }
    }
}

/// Maps numbers so that the largest comes first.
fn descending(value: i64) -> u64 {
    !(value.cast_unsigned() ^ (1 << 63))
}

/// A number that is as good as random, the same for the same seed and connection (SplitMix64 over its name).
fn mixed(seed: u64, candidate: &Candidate<'_>) -> u64 {
    let bytes = candidate.server_id.bytes().map(u64::from);
    bytes.chain([candidate.cid]).fold(seed, |state, part| {
        let mut mixed = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// What a minimum is kept of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeepOf {
    /// Of each application.
    #[default]
    Application,
    /// Of each application at each address.
    ApplicationAndIp,
}

/// How many victims a plan may have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VictimLimits {
    /// At most so many; no more than [`MOST_VICTIMS`].
    pub at_most: u32,
    /// At most this share of all connections of the cluster, in percent.
    pub at_most_percent: f64,
    /// So many connections are left, at least, of whatever minimums are kept of; those that the selector does not mean,
    /// or that are protected, count.
    pub keep: u32,
    /// What minimums are kept of.
    #[serde(default)]
    pub keep_of: KeepOf,
}

impl VictimLimits {
    /// As many victims as there may be in a cluster with `total` connections.
    pub fn most_of(&self, total: u64) -> usize {
        // a share of a connection is none
        let share = (total as f64 * self.at_most_percent / 100.0).floor().max(0.0) as u64;
        usize::try_from(share.min(u64::from(self.at_most.min(MOST_VICTIMS)))).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(order: VictimOrder, of: &[(u64, Option<i64>, Option<i64>, u64)]) -> Vec<u64> {
        let candidates = of.iter().map(|&(cid, idle_us, age_us, messages)| Candidate {
            server_id: "NA",
            cid,
            idle_us,
            age_us,
            messages,
            ..Candidate::default()
        });
        let mut ranks: Vec<(Rank, u64)> = candidates.map(|it| (order.rank(&it), it.cid)).collect();
        ranks.sort();
        ranks.into_iter().map(|(_, cid)| cid).collect()
    }

    #[test]
    fn orders_put_the_right_ones_first_and_the_unknown_last() {
        let of = [
            (1, Some(50), Some(500), 3),
            (2, Some(10), Some(100), 0),
            (3, Some(40), Some(900), 0),
            (4, None, None, 0),
            (5, Some(-3), Some(-1), 9),
        ];
        assert_eq!(ranked(VictimOrder::NoTrafficIdle, &of), [3, 2, 4, 1, 5]);
        assert_eq!(ranked(VictimOrder::Idle, &of), [1, 3, 2, 5, 4]);
        assert_eq!(ranked(VictimOrder::Oldest, &of), [3, 1, 2, 5, 4]);
        assert_eq!(ranked(VictimOrder::Newest, &of), [5, 2, 1, 3, 4]);
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed_and_another_for_another() {
        let of: Vec<_> = (0..100).map(|cid| (cid, None, None, 0)).collect();
        let first = ranked(VictimOrder::Random { seed: 1 }, &of);
        assert_eq!(first, ranked(VictimOrder::Random { seed: 1 }, &of));
        assert_ne!(first, ranked(VictimOrder::Random { seed: 2 }, &of));
        assert_ne!(first, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_share_is_rounded_down() {
        let limits =
            VictimLimits { at_most: 50, at_most_percent: 10.0, keep: 0, keep_of: KeepOf::Application };
        let most = [0, 9, 10, 19, 499, 500, 100_000].map(|total| limits.most_of(total));
        assert_eq!(most, [0, 0, 1, 1, 49, 50, 50]);
    }
}
