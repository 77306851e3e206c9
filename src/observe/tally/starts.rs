//! Start times of open connections, counted by age in buckets that are wider the longer ago they are.
//!
//! Ages are measured by the server's own clock, and put on ours: two servers whose clocks differ agree about them. Counts
//! are always exact; where there would be too many buckets, all of a dimension become wider.

use jiff::Timestamp;

use crate::model::starts::{StartBucket, StartHistogram};

/// How wide buckets are below an age, both in seconds. Each boundary is a multiple of the next width, so that narrow
/// buckets fit into wider ones.
const WIDTHS: [(i32, i32); 5] =
    [(10 * 60, 5), (3 * 60 * 60, 60), (24 * 60 * 60, 10 * 60), (7 * DAY, 60 * 60), (365 * DAY, DAY)];

const DAY: i32 = 24 * 60 * 60;

/// The bucket of all that is older.
const OLDER: i32 = i32::MAX;

/// How long after the reference a connection may begin: what begins later than that counts as just then.
const LATEST: i32 = -60 * 60;

/// How many buckets the groups of one dimension may have together, in the tally of one server.
pub(super) const BUCKETS: usize = 128 * 1024;

/// How much wider than usual the buckets of a dimension are: none is narrower than the width of this place in
/// [`WIDTHS`]; beyond them nothing is counted any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Coarseness(usize);

impl Coarseness {
    pub(super) fn next(self) -> Self {
        Self((self.0 + 1).min(WIDTHS.len()))
    }

    fn width(self, age_s: i32) -> i32 {
        let usual = WIDTHS.iter().find(|(until, _)| age_s < *until).map_or(DAY, |(_, width)| *width);
        WIDTHS.get(self.0).map_or(usual, |(_, least)| usual.max(*least))
    }

    /// The bucket of an age, named by its lower end; `None` once nothing is counted any more.
    fn bucket(self, age_s: i32) -> Option<i32> {
        if self.0 >= WIDTHS.len() {
            return None;
        }
        if age_s >= 365 * DAY {
            return Some(OLDER);
        }
        let (age_s, width) = (age_s.max(LATEST), self.width(age_s));
        Some(age_s.div_euclid(width) * width)
    }
}

/// Makes an age in whole seconds of one in microseconds: a bucket has its older end and not its newer one.
pub(super) fn age_in_seconds(age_us: i64) -> i32 {
    let seconds = age_us.saturating_sub(1).div_euclid(1_000_000);
    i32::try_from(seconds).unwrap_or(if seconds < 0 { LATEST } else { OLDER })
}

/// How many connections began in each bucket; the oldest first, as they mostly come.
#[derive(Debug, Default)]
pub(super) struct StartCounts(Vec<(i32, u32)>);

impl StartCounts {
    /// Counts connections of one age; whether that took a new bucket.
    pub(super) fn add(&mut self, age_s: i32, connections: u32, coarseness: Coarseness) -> bool {
        let Some(bucket) = coarseness.bucket(age_s) else { return false };
        if let Some((last, count)) = self.0.last_mut()
            && *last == bucket
        {
            *count = count.saturating_add(connections);
            return false;
        }
        match self.0.binary_search_by(|(known, _)| bucket.cmp(known)) {
            Ok(place) => {
                let count = &mut self.0[place].1;
                *count = count.saturating_add(connections);
                false
            }
            Err(place) => {
                self.0.insert(place, (bucket, connections));
                true
            }
        }
    }

    /// Counts all that another has counted, whose buckets are not wider.
    pub(super) fn absorb(&mut self, other: &Self, coarseness: Coarseness) {
        for (bucket, connections) in &other.0 {
            self.add(*bucket, *connections, coarseness);
        }
    }

    /// Makes the buckets wider.
    pub(super) fn coarsen(&mut self, coarseness: Coarseness) {
        let narrow = Self(std::mem::take(&mut self.0));
        self.absorb(&narrow, coarseness);
        self.0.shrink_to_fit();
    }

    /// How many buckets there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Shows them as they lie before `reference`. `oldest` is when the oldest connection began.
    pub(super) fn histogram(
        &self,
        coarseness: Coarseness,
        reference: Timestamp,
        oldest: Option<Timestamp>,
    ) -> StartHistogram {
        let before = |age_s: i32| reference.as_second().saturating_sub(i64::from(age_s));
        let buckets = self.0.iter().filter_map(|(bucket, connections)| {
            let (from, to) = if *bucket == OLDER {
                let to = before(365 * DAY);
                (oldest.map_or(to, Timestamp::as_second).min(to - i64::from(DAY)), to)
            } else {
                (before(bucket + coarseness.width(*bucket)), before(*bucket))
            };
            let instant = |second| Timestamp::from_second(second).ok();
            Some(StartBucket { from: instant(from)?, to: instant(to)?, connections: u64::from(*connections) })
        });
        StartHistogram { buckets: buckets.collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The bucket of a connection that began so many microseconds before second 100,000,000.
    fn bucket_of(age_us: i64, coarseness: Coarseness) -> StartBucket {
        let mut counts = StartCounts::default();
        assert!(counts.add(age_in_seconds(age_us), 1, coarseness));
        counts.histogram(coarseness, at(100_000_000), None).buckets.remove(0)
    }

    #[test]
    fn buckets_are_wider_the_longer_ago_they_are() {
        let (minute, hour, day) = (60, 3_600, 86_400);
        let cases = [
            (1, 5),
            (10 * minute, 5),
            (10 * minute + 1, minute),
            (3 * hour, minute),
            (3 * hour + 1, 10 * minute),
            (day, 10 * minute),
            (day + 1, hour),
            (7 * day, hour),
            (7 * day + 1, day),
        ];
        for (age_s, width) in cases {
            let bucket = bucket_of(age_s * 1_000_000, Coarseness::default());
            assert_eq!(bucket.to.as_second() - bucket.from.as_second(), width, "{age_s}");
        }
    }

    #[test]
    fn what_is_older_than_a_year_begins_with_the_oldest() {
        let mut counts = StartCounts::default();
        counts.add(age_in_seconds(400 * 86_400_000_000), 2, Coarseness::default());
        let histogram = counts.histogram(Coarseness::default(), at(100_000_000), Some(at(5)));
        let bucket = StartBucket { from: at(5), to: at(100_000_000 - 365 * 86_400), connections: 2 };
        assert_eq!(histogram.buckets, [bucket]);
    }

    #[test]
    fn at_its_coarsest_nothing_is_counted() {
        let mut coarseness = Coarseness::default();
        let mut counts = StartCounts::default();
        (0..700).for_each(|age| {
            counts.add(age, 1, coarseness);
        });
        let mut lengths = Vec::new();
        for _ in 0..7 {
            lengths.push(counts.len());
            coarseness = coarseness.next();
            counts.coarsen(coarseness);
        }
        assert_eq!(lengths, [122, 12, 2, 1, 1, 0, 0]);
    }

    proptest! {
        #[test]
        fn a_connection_lies_in_its_bucket(age_us in -3_600_000_000_i64..31_536_000_000_000, level in 0..5usize) {
            let bucket = bucket_of(age_us, Coarseness(level));
            let start = Timestamp::from_microsecond(100_000_000_000_000 - age_us).unwrap();
            prop_assert!(bucket.from <= start && start < bucket.to, "{start} is not in {bucket:?}");
        }

        #[test]
        fn buckets_do_not_overlap_and_lose_nothing_however_coarse(
            ages in prop::collection::vec(-5_000..40_000_000_i32, 1..200),
            level in 0..5usize,
        ) {
            let (fine, coarse) = (Coarseness::default(), Coarseness(level));
            let mut counts = StartCounts::default();
            let grown = ages.iter().filter(|age| counts.add(**age, 1, fine)).count();
            prop_assert_eq!(grown, counts.len());
            counts.coarsen(coarse);
            let mut straight = StartCounts::default();
            ages.iter().for_each(|age| { straight.add(*age, 1, coarse); });
            prop_assert_eq!(&counts.0, &straight.0);
            let histogram = counts.histogram(coarse, at(100_000_000), None);
            prop_assert_eq!(histogram.total(), ages.len() as u64);
            prop_assert!(histogram.buckets.windows(2).all(|pair| pair[0].to <= pair[1].from));
        }
    }
}
