//! Rate limits: one token bucket per source.
//!
//! The memory for sources is bounded. When it is full, those make room that would be missed least: first whoever has
//! been silent long enough to have all tokens again, then whoever has most.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// How many sources are remembered.
const MOST_SOURCES: usize = 4096;

/// One token bucket per source.
#[derive(Debug)]
pub(super) struct RateLimit {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl RateLimit {
    /// Allows `burst` at once, and `per_second` in the long run.
    pub(super) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, buckets: Mutex::default() }
    }

    /// Takes a token of a source.
    ///
    /// # Errors
    ///
    /// It has none; in how long it will have one.
    pub(super) fn take(&self, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let source = source(address);
        if !buckets.contains_key(&source) && buckets.len() >= MOST_SOURCES {
            self.make_room(&mut buckets, now);
        }
        let bucket = buckets.entry(source).or_insert(Bucket { tokens: self.burst, at: now });
        *bucket = self.filled(*bucket, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - bucket.tokens) / self.per_second))
        }
    }

    /// Whether a source has a token, which is left to it.
    ///
    /// # Errors
    ///
    /// It has none; in how long it will have one.
    pub(super) fn look(&self, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens =
            buckets.get(&source(address)).map_or(self.burst, |bucket| self.filled(*bucket, now).tokens);
        if tokens >= 1.0 { Ok(()) } else { Err(Duration::from_secs_f64((1.0 - tokens) / self.per_second)) }
    }

    /// A bucket as it is by now. A clock that is set back fills nothing.
    fn filled(&self, bucket: Bucket, now: Timestamp) -> Bucket {
        let seconds = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        Bucket { tokens: seconds.mul_add(self.per_second, bucket.tokens).min(self.burst), at: now }
    }

    fn make_room(&self, buckets: &mut HashMap<IpAddr, Bucket>, now: Timestamp) {
        for bucket in buckets.values_mut() {
            *bucket = self.filled(*bucket, now);
        }
        buckets.retain(|_, bucket| bucket.tokens < self.burst);
        if buckets.len() < MOST_SOURCES {
            return;
        }
        let mut tokens: Vec<f64> = buckets.values().map(|bucket| bucket.tokens).collect();
        let half = tokens.len() / 2;
        let (_, middle, _) = tokens.select_nth_unstable_by(half, f64::total_cmp);
        let middle = *middle;
        buckets.retain(|_, bucket| bucket.tokens < middle);
    }
}

/// Whose bucket it is: whoever has one IPv6 address mostly has the 64 bits behind it too.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_500_000 + second).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_has_its_burst_and_then_its_rate() {
        let limit = RateLimit::new(2.0, 3.0);
        let taken = |address: &str, second| limit.take(ip(address), at(second)).is_ok();
        assert_eq!([0; 4].map(|second| taken("10.0.0.1", second)), [true, true, true, false]);
        assert_eq!(limit.take(ip("10.0.0.1"), at(0)), Err(Duration::from_millis(500)));
        assert!(taken("10.0.0.2", 0), "another source has its own");
        assert_eq!([1; 3].map(|second| taken("10.0.0.1", second)), [true, true, false]);
        assert_eq!([100; 4].map(|second| taken("10.0.0.1", second)), [true, true, true, false]);
    }

    #[test]
    fn looking_takes_nothing() {
        let limit = RateLimit::new(1.0, 1.0);
        for _ in 0..3 {
            assert!(limit.look(ip("10.0.0.1"), at(0)).is_ok());
        }
        limit.take(ip("10.0.0.1"), at(0)).unwrap();
        assert!(limit.look(ip("10.0.0.1"), at(0)).is_err());
        assert!(limit.look(ip("10.0.0.1"), at(1)).is_ok());
    }

    #[test]
    fn a_clock_that_is_set_back_neither_fills_nor_empties() {
        let limit = RateLimit::new(1.0, 2.0);
        limit.take(ip("10.0.0.1"), at(1000)).unwrap();
        limit.take(ip("10.0.0.1"), at(0)).unwrap();
        assert!(limit.take(ip("10.0.0.1"), at(0)).is_err());
        assert!(limit.take(ip("10.0.0.1"), at(1)).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_a_mapped_address_is_the_ipv4_one() {
        assert_eq!(source(ip("2001:db8::1")), source(ip("2001:db8::ffff:1")));
        assert_ne!(source(ip("2001:db8::1")), source(ip("2001:db8:0:1::1")));
        assert_eq!(source(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_those_who_took_most_last() {
        let limit = RateLimit::new(0.001, 10.0);
        let greedy = ip("10.255.255.255");
        while limit.take(greedy, at(0)).is_ok() {}
        for number in 0..100_000_u32 {
            let _ = limit.take(IpAddr::V4(number.into()), at(0));
        }
        assert!(limit.buckets.lock().unwrap().len() <= MOST_SOURCES);
        assert!(
            limit.take(greedy, at(0)).is_err(),
            "a flood of others makes nobody forgotten who is limited"
        );
    }
}
