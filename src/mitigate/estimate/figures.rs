//! Conditions on figures: how many connections of a group they hold of, as far as the sums of the group tell.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::breakdown::Figures;
use crate::model::estimate::CountRange;
use crate::model::selector::Conditions;
use crate::model::snapshot::Snapshot;
use crate::model::starts::StartHistogram;

/// How long after a look the last bucket of start times ends: whatever begins later by its server's clock is in it.
const LAST_BUCKET: SignedDuration = SignedDuration::from_hours(1);

/// How long before a look the first bucket of start times ends: whatever began earlier is in it.
const FIRST_BUCKET: SignedDuration = SignedDuration::from_hours(364 * 24);

/// The conditions on figures, and what has to be known of a look to judge them.
#[derive(Debug)]
pub(super) struct FigureQuestions<'a> {
    conditions: &'a Conditions,
    /// After how long a connection was counted as idle.
    idle_after: Option<Duration>,
    taken_at: Timestamp,
    /// When the look had ended.
    ended_at: Timestamp,
}

impl<'a> FigureQuestions<'a> {
    pub(super) fn new(conditions: &'a Conditions, snapshot: &Snapshot) -> Self {
        // a millisecond more, for what was cut off
        let duration_ms = i64::try_from(snapshot.coverage.duration_ms.saturating_add(1)).unwrap_or(i64::MAX);
        let duration = SignedDuration::from_millis(duration_ms);
        Self {
            conditions,
            idle_after: snapshot.coverage.idle_after_ms.map(Duration::from_millis),
            taken_at: snapshot.taken_at,
            ended_at: snapshot.taken_at.checked_add(duration).unwrap_or(Timestamp::MAX),
        }
    }

    /// Whether there is any.
    pub(super) fn asks(&self) -> bool {
        let Conditions { idle_for, no_traffic, older_than, younger_than, .. } = self.conditions;
        let Conditions { subscriptions_at_most, subscriptions_at_least, pending_bytes_at_least, .. } =
            self.conditions;
        no_traffic.is_some()
            || [idle_for, older_than, younger_than].into_iter().any(Option::is_some)
            || [subscriptions_at_most, subscriptions_at_least, pending_bytes_at_least]
                .into_iter()
                .any(Option::is_some)
    }

    /// Of how many connections of a group all of them hold.
    pub(super) fn count(&self, figures: &Figures, starts: &StartHistogram) -> CountRange {
        let all = figures.connections;
        let asked = self.conditions;
        let counts = [
            self.quiet(figures),
            self.aged(all, starts),
            asked
                .subscriptions_at_most
                .map_or(CountRange::exact(all), |most| at_most(most, figures.subscriptions, all)),
            asked
                .subscriptions_at_least
                .map_or(CountRange::exact(all), |least| at_least(least, figures.subscriptions, all)),
            asked
                .pending_bytes_at_least
                .map_or(CountRange::exact(all), |least| at_least(least, figures.pending_bytes, all)),
        ];
        // all together: those of whom one does not hold may be other ones each time
        let outside: u64 = counts.iter().map(|count| all - count.at_least).fold(0, u64::saturating_add);
        let most = counts.iter().map(|count| count.at_most).min().unwrap_or(all);
        CountRange::new(all.saturating_sub(outside), most)
    }

    /// Idle for so long, with or without traffic.
    fn quiet(&self, figures: &Figures) -> CountRange {
        let all = figures.connections;
        let without = figures.without_traffic.min(all);
        let idle = figures.idle.min(all);
        let idle_without = figures.idle_without_traffic.min(idle).min(without);
        // of those with the traffic that is asked for: the idle ones, and the others
        let (idle, others) = match self.conditions.no_traffic {
            None => (idle, all - idle),
            Some(true) => (idle_without, without - idle_without),
            Some(false) => (idle - idle_without, (all - without).saturating_sub(idle - idle_without)),
        };
        match (self.conditions.idle_for, self.idle_after) {
            (None, _) => CountRange::exact(idle + others),
            (Some(wanted), Some(counted)) if wanted == counted => CountRange::exact(idle),
            (Some(wanted), Some(counted)) if wanted > counted => CountRange::up_to(idle),
            (Some(_), Some(_)) => CountRange::new(idle, idle + others),
            (Some(_), None) => CountRange::up_to(idle + others),
        }
    }

    /// Open for at least, or for less than, so long.
    fn aged(&self, all: u64, starts: &StartHistogram) -> CountRange {
        let Conditions { older_than, younger_than, .. } = *self.conditions;
        if older_than.is_none() && younger_than.is_none() {
            return CountRange::exact(all);
        }
        let (mut certain, mut possible) = (0_u64, all.saturating_sub(starts.total()));
        for bucket in &starts.buckets {
            let last = bucket.to.duration_since(self.taken_at) >= LAST_BUCKET;
            let first = self.taken_at.duration_since(bucket.to) >= FIRST_BUCKET;
            // a server was asked at any time from the beginning of the look to its end
            let youngest = if last { SignedDuration::MIN } else { self.taken_at.duration_since(bucket.to) };
            let oldest = if first { SignedDuration::MAX } else { self.ended_at.duration_since(bucket.from) };
            let signed = |wanted: Duration| SignedDuration::try_from(wanted).unwrap_or(SignedDuration::MAX);
            let all_are = older_than.is_none_or(|wanted| youngest >= signed(wanted))
                && younger_than.is_none_or(|wanted| oldest < signed(wanted));
            let none_is = older_than.is_some_and(|wanted| oldest < signed(wanted))
                || younger_than.is_some_and(|wanted| youngest >= signed(wanted));
            certain = certain.saturating_add(if all_are { bucket.connections } else { 0 });
            possible = possible.saturating_add(if none_is { 0 } else { bucket.connections });
        }
        CountRange::new(certain.min(all), possible.min(all))
    }
}

/// How many of some connections have at most so many of something, of which all together have `sum`.
fn at_most(most: u64, sum: u64, all: u64) -> CountRange {
    // each of the others has one more at least
    let others = most.checked_add(1).map_or(0, |more| sum / more);
    let one_has_more = sum > most.saturating_mul(all);
    CountRange::new(all - others.min(all), all - u64::from(one_has_more).min(all))
}

/// How many of some connections have at least so many of something, of which all together have `sum`.
fn at_least(least: u64, sum: u64, all: u64) -> CountRange {
    match least.checked_sub(1) {
        None => CountRange::exact(all),
        Some(less) => CountRange::exact(all).without(at_most(less, sum, all)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::starts::StartBucket;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000_000 + second).unwrap()
    }

    fn range(least: u64, most: u64) -> CountRange {
        CountRange::new(least, most)
    }

    fn questions(conditions: &Conditions) -> FigureQuestions<'_> {
        let (taken_at, ended_at) = (second(0), second(1));
        FigureQuestions { conditions, idle_after: Some(Duration::from_secs(300)), taken_at, ended_at }
    }

    fn minutes(minutes: u64) -> Option<Duration> {
        Some(Duration::from_secs(60 * minutes))
    }

    #[test]
    fn idleness_is_known_at_the_threshold_at_which_it_was_counted() {
        let figures = Figures {
            connections: 10,
            idle: 6,
            without_traffic: 5,
            idle_without_traffic: 4,
            ..Figures::default()
        };
        let cases = [
            (minutes(5), None, range(6, 6)),
            (minutes(5), Some(true), range(4, 4)),
            (minutes(5), Some(false), range(2, 2)),
            (minutes(9), None, range(0, 6)),
            (minutes(9), Some(false), range(0, 2)),
            (minutes(1), None, range(6, 10)),
            (minutes(1), Some(true), range(4, 5)),
            (None, Some(true), range(5, 5)),
            (None, Some(false), range(5, 5)),
        ];
        for (idle_for, no_traffic, expected) in cases {
            let conditions = Conditions { idle_for, no_traffic, ..Conditions::default() };
            let count =
                |questions: FigureQuestions<'_>| questions.count(&figures, &StartHistogram::default());
            assert_eq!(count(questions(&conditions)), expected, "{conditions:?}");
            let unknown = FigureQuestions { idle_after: None, ..questions(&conditions) };
            assert!(idle_for.is_none() || count(unknown).at_least == 0);
        }
    }

    #[test]
    fn ages_are_known_as_far_as_buckets_of_start_times_are_narrow() {
        let bucket = |from, to, connections| StartBucket { from: second(from), to: second(to), connections };
        let starts = StartHistogram { buckets: vec![bucket(-600, -540, 5), bucket(-60, -55, 3)] };
        let count = |older_than, younger_than| {
            let conditions = Conditions { older_than, younger_than, ..Conditions::default() };
            let figures = Figures { connections: 10, ..Figures::default() };
            questions(&conditions).count(&figures, &starts)
        };
        // of two the start is not known
        assert_eq!(count(minutes(5), None), range(5, 7));
        assert_eq!(count(None, minutes(5)), range(3, 5));
        assert_eq!(count(minutes(10), None), range(0, 7), "the bucket is cut");
        assert_eq!(count(minutes(2), minutes(30)), range(5, 7));
    }

    #[test]
    fn a_sum_bounds_how_many_can_have_much_and_how_many_can_have_little() {
        assert_eq!(at_least(5, 12, 10), range(0, 2));
        assert_eq!(at_least(1, 50, 10), range(1, 10));
        assert_eq!(at_least(2, 11, 10), range(1, 5));
        assert_eq!(at_least(0, 0, 10), range(10, 10));
        assert_eq!(at_least(3, 7, 1), range(1, 1));
        assert_eq!(at_most(1, 4, 10), range(8, 10));
        assert_eq!(at_most(1, 11, 10), range(5, 9));
        assert_eq!(at_most(u64::MAX, 4, 10), range(10, 10));
        assert_eq!(at_most(2, 3, 1), range(0, 0));
    }
}
