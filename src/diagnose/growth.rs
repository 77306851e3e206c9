//! Growth: how many connections there are more than before, since when, and who has them.
//!
//! Where samples of the time before exist, the reference is the foot of the rise: the last sample that is not far above
//! the quiet level. Without them the start times of the open connections tell: the reference is then the instant since
//! which more of them began than an even stream would have brought; or, where servers that have been up for long hardly ever
//! had others, the start of the oldest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::breakdown::{Breakdown, Dimension, Group};
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::Evidence;
use crate::model::history::{SAMPLED, Sample};
use crate::model::rise::is_foot;
use crate::model::starts::StartHistogram;

/// How far back a rise is looked for: the shortest span that has one is taken.
const SPANS: [Duration; 4] = [
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(24 * 3600),
    Duration::from_secs(8 * 24 * 3600),
];

/// The quiet level: so many of the samples are not above it.
const QUIET: f64 = 0.2;

/// A rise of less than this share of what was there before is none.
const LEAST_RISE: f64 = 0.1;

/// What began before that is old.
const YOUNG: SignedDuration = SignedDuration::from_hours(1);

/// So long after its start a server has those back who were there before: it may have to read its streams first, and who
/// waits between attempts waits longer and longer.
const ALL_BACK: SignedDuration = SignedDuration::from_mins(10);

/// How a growth was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Against a sample of the time before.
    Samples,
    /// By the start times of the connections that are open now: what ended meanwhile is not subtracted.
    StartTimes,
}

/// How many connections there are more than before.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    /// Since when.
    pub since: Timestamp,
    /// How it was measured.
    pub measure: Measure,
    /// Connections before.
    pub before: u64,
    /// Connections now.
    pub now: u64,
    /// By dimension: who has how many more or less than before, most growth first.
    pub groups: BTreeMap<Dimension, Vec<GroupGrowth>>,
}

/// How much a group has grown.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupGrowth {
    /// Its key.
    pub key: String,
    /// Whether it is the group of connections without a value.
    pub absent: bool,
    /// Connections before.
    pub before: u64,
    /// Connections now.
    pub now: u64,
}

impl GroupGrowth {
    /// How many connections it has more; 0 if less.
    pub fn grown_by(&self) -> u64 {
        self.now.saturating_sub(self.before)
    }

    /// How many times what it had it grew by; a group that was not there counts as one that had one connection.
    pub fn ratio(&self) -> f64 {
        self.grown_by() as f64 / self.before.max(1) as f64
    }
}

impl Growth {
    /// Measures the growth that the evidence shows; `None` if there is none worth speaking of.
    pub fn measure(evidence: &Evidence, rules: &DiagnosisRules) -> Option<Self> {
        let growth = match foot_of_rise(evidence, rules) {
            Foot::At(sample) => Self::since_sample(evidence, sample),
            Foot::Flat => return None,
            Foot::Unknown => Self::by_start_times(evidence)?,
        };
        let least = rules.least_connections.max((growth.before as f64 * LEAST_RISE) as u64);
        (growth.grown_by() >= least).then_some(growth)
    }

    /// How many connections there are more.
    pub fn grown_by(&self) -> u64 {
        self.now.saturating_sub(self.before)
    }

    /// How much the groups of a dimension have grown, most first.
    pub fn of(&self, dimension: Dimension) -> &[GroupGrowth] {
        self.groups.get(&dimension).map_or(&[], Vec::as_slice)
    }

    /// From when on what began came with the growth: a bit before the foot of the rise, which has some of it already.
    pub fn onset(&self, at: Timestamp) -> Timestamp {
        self.since.saturating_sub(at.duration_since(self.since) / 4).unwrap_or(self.since)
    }

    fn since_sample(evidence: &Evidence, sample: &Sample) -> Self {
        let groups = SAMPLED.into_iter().filter_map(|dimension| {
            let breakdown = evidence.breakdown(dimension)?;
            let sampled = sample.groups.get(&dimension)?;
            let now: BTreeMap<&str, &Group> =
                breakdown.groups.iter().map(|group| (group.key.as_str(), group)).collect();
            let keys: BTreeSet<&str> =
                sampled.groups.keys().map(String::as_str).chain(now.keys().copied()).collect();
            let growths = keys.into_iter().map(|key| GroupGrowth {
                key: key.to_owned(),
                absent: now.get(key).map_or(key == dimension.absent(), |group| group.absent),
                // of a group that was too small to be listed, at most what was not listed is known
                before: sample.group(dimension, key).unwrap_or(0),
                now: now.get(key).map_or(0, |group| group.figures.connections),
            });
            Some((dimension, sorted(growths)))
        });
        Self {
            since: sample.at,
            measure: Measure::Samples,
            before: sample.connections(),
            now: evidence.connections(),
            groups: groups.collect(),
        }
    }

    fn by_start_times(evidence: &Evidence) -> Option<Self> {
        let starts = &evidence.breakdown(Dimension::Application)?.starts;
        let since = change_of_pace(starts, evidence.snapshot.taken_at).or_else(|| begin_of_all(evidence))?;
        let groups = SAMPLED.into_iter().filter_map(|dimension| {
            let breakdown = evidence.breakdown(dimension)?;
            let growths = breakdown.groups.iter().filter(|group| !group.starts.is_empty()).map(|group| {
                let (now, new) = (group.figures.connections, group.starts.opened_since(since));
                GroupGrowth {
                    key: group.key.clone(),
                    absent: group.absent,
                    before: now.saturating_sub(new),
                    now,
                }
            });
            Some((dimension, sorted(growths)))
        });
        let (now, new) = (starts.total(), starts.opened_since(since));
        Some(Self {
            since,
            measure: Measure::StartTimes,
            before: now.saturating_sub(new),
            now,
            groups: groups.collect(),
        })
    }
}

impl Evidence {
    /// The breakdown by one dimension, if the look has it.
    pub(super) fn breakdown(&self, dimension: Dimension) -> Option<&Breakdown> {
        self.snapshot.breakdowns.get(&dimension.into())
    }

    /// Connections seen now.
    pub(super) fn connections(&self) -> u64 {
        self.snapshot.coverage.seen
    }
}

fn sorted(growths: impl Iterator<Item = GroupGrowth>) -> Vec<GroupGrowth> {
    let mut growths: Vec<GroupGrowth> = growths.collect();
    growths.sort_by(|one, two| {
        let difference = |growth: &GroupGrowth| (growth.before as i64).saturating_sub(growth.now as i64);
        difference(one).cmp(&difference(two)).then_with(|| one.key.cmp(&two.key))
    });
    growths
}

/// Where a rise began.
enum Foot<'a> {
    /// At this sample.
    At(&'a Sample),
    /// The samples show none.
    Flat,
    /// There are too few samples to tell.
    Unknown,
}

/// Finds the last sample that is not far above the quiet level before the rise.
fn foot_of_rise<'a>(evidence: &'a Evidence, rules: &DiagnosisRules) -> Foot<'a> {
    let Some(history) = evidence.history.seen() else { return Foot::Unknown };
    let taken_at = evidence.snapshot.taken_at;
    // a look that lacks a server must not pass for a quiet time
    let samples: Vec<&Sample> =
        history.samples.iter().filter(|sample| sample.complete && sample.at < taken_at).collect();
    if samples.is_empty() {
        return Foot::Unknown;
    }
    let now = evidence.connections();
    for span in SPANS {
        let from = taken_at.saturating_sub(signed(span)).unwrap_or(Timestamp::MIN);
        let within: Vec<&Sample> = samples.iter().copied().filter(|sample| sample.at >= from).collect();
        let mut counts: Vec<u64> = within.iter().map(|sample| sample.connections()).collect();
        counts.sort_unstable();
        let Some(quiet) = counts.get((counts.len() as f64 * QUIET) as usize) else { continue };
        let rise = now.saturating_sub(*quiet);
        if (rise as f64) < (rules.least_connections as f64).max(*quiet as f64 * LEAST_RISE) {
            continue;
        }
        let foot = within.iter().rev().find(|sample| is_foot(sample.connections(), *quiet, now));
        if let Some(foot) = foot {
            return Foot::At(foot);
        }
    }
    // what is watched only since the problem began has no quiet time
    let watched = taken_at.duration_since(samples[0].at);
    if watched < SignedDuration::from_mins(10) && starts_lately(evidence, samples[0].at) {
        Foot::Unknown
    } else {
        Foot::Flat
    }
}

/// Whether a good part of the connections began shortly before the first sample, and not all of them, unless it is known
/// that there were none before.
fn starts_lately(evidence: &Evidence, first: Timestamp) -> bool {
    let Some(breakdown) = evidence.breakdown(Dimension::Application) else { return false };
    let shortly = first.saturating_sub(SignedDuration::from_mins(10)).unwrap_or(Timestamp::MIN);
    let lately = breakdown.starts.opened_since(shortly);
    let from_nothing = || begin_of_all(evidence).is_some_and(|begin| begin <= first);
    lately > 0 && (lately < breakdown.starts.total() || from_nothing())
}

/// When the oldest connection began, if that was lately and there were none before: every server has been up for long, and
/// together they hardly ever had others.
pub(super) fn begin_of_all(evidence: &Evidence) -> Option<Timestamp> {
    let coverage = &evidence.snapshot.coverage;
    let starts = &evidence.breakdown(Dimension::Application)?.starts;
    let oldest = starts.buckets.first()?.from;
    let age = evidence.snapshot.taken_at.duration_since(oldest);
    if !coverage.complete || age > YOUNG {
        return None;
    }
    let (mut attempts, mut open) = (0_u64, 0_u64);
    for server in coverage.each_server() {
        let vitals = server.vitals.as_ref()?;
        // by its own clock
        let up = vitals.at?.duration_since(vitals.started_at?);
        if up < age.saturating_add(ALL_BACK) {
            return None;
        }
        attempts = attempts.saturating_add(vitals.total_connections?);
        open = open.saturating_add(vitals.connections);
    }
    let few = (open as f64 * LEAST_RISE) as u64;
    // leafnodes are listed, but nobody counts those that there were
    let all_are_clients = starts.total() <= open.saturating_add(few);
    (open > 0 && all_are_clients && attempts.saturating_sub(open) <= few).then_some(oldest)
}

/// Finds the instant since which more connections began than an even stream would have brought: where the share of those
/// that began later is furthest above the share of the time.
fn change_of_pace(starts: &StartHistogram, now: Timestamp) -> Option<Timestamp> {
    let oldest = starts.buckets.first()?.from;
    let seconds = |from: Timestamp| now.duration_since(from).as_secs_f64().max(0.0);
    let (total, whole) = (starts.total() as f64, seconds(oldest));
    if total == 0.0 || whole <= 0.0 {
        return None;
    }
    let mut later = 0;
    let mut best: Option<(f64, Timestamp)> = None;
    for bucket in starts.buckets.iter().rev() {
        later += bucket.connections;
        let above = later as f64 / total - seconds(bucket.from) / whole;
        if best.is_none_or(|(most, _)| above > most) {
            best = Some((above, bucket.from));
        }
    }
    // the whole time is no change of pace
    best.filter(|(above, since)| *above > 0.05 && *since > oldest).map(|(_, since)| since)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
