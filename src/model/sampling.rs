//! Sampling: how often a cluster is looked at to have something to compare with, and how much of a look is kept.

use std::time::Duration;

/// How samples are taken, and how long they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    /// Whether samples are taken at all.
    pub enabled: bool,
    /// The pause between two samples of a cluster, as long as they cost little.
    pub interval: Duration,
    /// How long the oldest samples are kept: of those from before two hours fewer and fewer.
    pub keep: Duration,
    /// How many groups of each dimension a sample keeps.
    pub top: usize,
    /// How many applications of a cluster the metrics name; all others are `other`.
    pub metric_applications: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(60),
            keep: DAY * 30,
            top: 500,
            metric_applications: 20,
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Of samples that are so old, the first of each stretch of time is kept. The stretches nest: a sample that begins a
/// long one begins a short one too.
pub const THINNING: [Thinning; 3] = [
    Thinning { age: Duration::from_secs(2 * 3600), width: Duration::from_secs(5 * 60) },
    Thinning { age: DAY, width: Duration::from_secs(15 * 60) },
    Thinning { age: Duration::from_secs(8 * 86_400), width: HOUR },
];

/// How many samples are kept of a certain age on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinning {
    /// From this age on.
    pub age: Duration,
    /// One for each stretch of this length.
    pub width: Duration,
}

/// What a look at a cluster has cost its servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LookCost {
    /// The longest that a server that answered in full took.
    pub longest: Duration,
    /// Whether a server was at its limit before it was asked, or did not come to an end with its answer.
    pub strained: bool,
}

/// The share of the time that a server may be busy with our looks.
const LARGEST_SHARE: u32 = 50;

/// How often in a row the pause doubles for servers that are strained.
const MOST_DOUBLINGS: u32 = 3;

/// How long the pause may become, whatever looks cost.
const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 60);

/// How fast samples are taken: slower where that costs much, faster again when it no longer does.
#[derive(Debug, Clone)]
pub struct Pace {
    interval: Duration,
    doublings: u32,
    pause: Duration,
}

impl Pace {
    /// Begins with the pause that is wanted.
    pub fn new(interval: Duration) -> Self {
        Self { interval, doublings: 0, pause: interval }
    }

    /// The pause between two samples, as it is now.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Takes in what a look has cost: no server is busy with looks for more than a fiftieth of the time, and one that
    /// is strained is asked half as often each time, an eighth at the least.
    pub fn adapt(&mut self, cost: LookCost) {
        self.doublings = match cost.strained {
            true => (self.doublings + 1).min(MOST_DOUBLINGS),
            false => self.doublings.saturating_sub(1),
        };
        let affordable = cost.longest.saturating_mul(LARGEST_SHARE);
        let longest = LONGEST_PAUSE.max(self.interval);
        self.pause = self.interval.max(affordable).saturating_mul(1 << self.doublings).min(longest);
    }

    /// The pause with a tenth more or less by `chance`, so that many who watch the same servers do not ask in step.
    pub fn jittered(&self, chance: u64) -> Duration {
        self.pause.mul_f64(0.9 + 0.2 * (chance % 1000) as f64 / 1000.0)
    }

    /// How long to wait before the first sample: short, because what is not recorded cannot be compared with.
    pub fn first(&self, chance: u64) -> Duration {
        self.interval.min(MINUTE).mul_f64(0.02 + 0.08 * (chance % 1000) as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn cost(ms: u64, strained: bool) -> LookCost {
        LookCost { longest: Duration::from_millis(ms), strained }
    }

    #[test]
    fn a_cheap_look_changes_nothing_and_a_dear_one_slows_down_until_it_is_cheap_again() {
        let mut pace = Pace::new(INTERVAL);
        for (ms, seconds) in [(40, 60), (1200, 60), (1201, 60), (3000, 150), (40_000, 1800), (100, 60)] {
            pace.adapt(cost(ms, false));
            assert_eq!(pace.pause().as_secs(), seconds, "{ms} ms");
        }
    }

    #[test]
    fn strained_servers_are_asked_less_and_less_often_and_then_more_and_more() {
        let mut pace = Pace::new(INTERVAL);
        let mut pauses = |strained| {
            (0..4)
                .map(|_| {
                    pace.adapt(cost(10, strained));
                    pace.pause().as_secs()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(pauses(true), [120, 240, 480, 480]);
        assert_eq!(pauses(false), [240, 120, 60, 60]);
    }

    #[test]
    fn an_interval_that_is_longer_than_the_longest_pause_stays() {
        let mut pace = Pace::new(HOUR);
        pace.adapt(cost(60_000, true));
        assert_eq!(pace.pause(), HOUR);
    }

    #[test]
    fn chance_moves_the_pause_by_a_tenth() {
        let pace = Pace::new(INTERVAL);
        for chance in [0, 1, 999, 1000, u64::MAX] {
            let pause = pace.jittered(chance);
            assert!((54..=66).contains(&pause.as_secs()), "{pause:?}");
            assert!((1..=6).contains(&pace.first(chance).as_secs()));
        }
        assert_ne!(pace.jittered(0), pace.jittered(500));
    }

    #[test]
    fn the_stretches_nest() {
        for pair in THINNING.windows(2) {
            assert!(pair[0].age < pair[1].age);
            assert_eq!(pair[1].width.as_secs() % pair[0].width.as_secs(), 0);
        }
    }
}
