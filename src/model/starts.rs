//! Start times: when the connections that are open now began, as a histogram.
//!
//! It is a history of the present: it works without any earlier look, and says when those that stayed came.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When the open connections of a group began, oldest first; empty where it was not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct StartHistogram {
    /// The buckets that are not empty, oldest first. They do not overlap, and are wider the longer ago they are.
    pub buckets: Vec<StartBucket>,
}

/// How many open connections began within a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartBucket {
    /// From when on.
    pub from: Timestamp,
    /// Before when.
    pub to: Timestamp,
    /// How many began.
    pub connections: u64,
}

impl StartHistogram {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// How many connections were counted.
    pub fn total(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.saturating_add(bucket.connections))
    }

    /// How many of the open connections began at `at` or later. A bucket that `at` lies in counts in proportion.
    pub fn opened_since(&self, at: Timestamp) -> u64 {
        self.opened_between(at, Timestamp::MAX)
    }

    /// How many of the open connections began from `from` on and before `to`. A bucket that is cut counts in proportion.
    pub fn opened_between(&self, from: Timestamp, to: Timestamp) -> u64 {
        let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
        let parts = self.buckets.iter().map(|bucket| {
            let (begin, end) = (bucket.from.max(from), bucket.to.min(to));
            if begin >= end {
                return 0.0;
            }
            let whole = seconds(bucket.from, bucket.to);
            bucket.connections as f64 * seconds(begin, end) / whole
        });
        parts.sum::<f64>().round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_bucket_that_is_cut_counts_in_proportion() {
        let bucket = |from, to, connections| StartBucket { from: at(from), to: at(to), connections };
        let starts = StartHistogram { buckets: vec![bucket(0, 60, 60), bucket(60, 65, 10)] };
        assert_eq!(starts.total(), 70);
        assert_eq!(starts.opened_since(at(0)), 70);
        assert_eq!(starts.opened_since(at(45)), 25);
        assert_eq!(starts.opened_since(at(65)), 0);
        assert_eq!(starts.opened_between(at(30), at(60)), 30);
    }
}
