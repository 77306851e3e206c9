//! Comparisons: what is different between two samples of a cluster, in exact numbers, and which sample to compare with.
//!
//! A sample lists the largest groups. What one of two samples does not list, while it has some that are not listed, is
//! unknown there and is said to be: it is not taken for nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::breakdown::Dimension;
use crate::model::history::{History, Sample, SampledGroups};
use crate::model::rise::is_foot;

/// What is different between two samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Comparison {
    /// When the earlier sample was taken.
    pub from: Timestamp,
    /// When the later one was.
    pub to: Timestamp,
    /// Whether both samples hold every server in full. If not, what was not seen looks as if it were gone or new.
    pub complete: bool,
    /// All connections that were counted.
    pub total: BeforeAfter,
    /// The clients of each server, by its own word.
    pub servers: Vec<Delta>,
    /// The groups that are not as large as before, those that changed most first.
    #[schema(value_type = BTreeMap<String, Changes>)]
    pub by: BTreeMap<Dimension, Changes>,
}

/// A number of connections, before and after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BeforeAfter {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// What is different in one dimension. The deltas and `other` together are what the total has changed by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// The groups that are not as large as before, those that changed most first.
    pub deltas: Vec<Delta>,
    /// How many groups are as large as before.
    pub unchanged: u64,
    /// Connections in groups that are in no delta, and in those whose number is unknown at that time.
    pub other: BeforeAfter,
}

/// What became of one group or server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delta {
    /// What its connections share. Text from strangers.
    pub key: String,
    /// Its connections before; `null` if unknown: it was too small to be listed, or its server was not seen.
    pub before: Option<u64>,
    /// Its connections after; `null` if unknown.
    pub after: Option<u64>,
    /// What that means.
    pub kind: DeltaKind,
}

/// What became of a group or a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeltaKind {
    /// There was none before.
    New,
    /// There is none any more.
    Gone,
    /// There are more.
    Grown,
    /// There are fewer.
    Shrunk,
    /// One of the two numbers is unknown.
    Unclear,
}

impl Comparison {
    /// Compares two samples of a cluster.
    pub fn between(before: &Sample, after: &Sample) -> Self {
        let dimensions = before.groups.iter().filter_map(|(dimension, groups)| {
            Some((*dimension, Changes::between(groups, after.groups.get(dimension)?)))
        });
        Self {
            from: before.at,
            to: after.at,
            complete: before.complete && after.complete,
            total: BeforeAfter { before: before.counted(), after: after.counted() },
            servers: servers(before, after),
            by: dimensions.collect(),
        }
    }

    /// Keeps the `top` largest deltas of each dimension and adds the others to `other`.
    pub fn top(mut self, top: usize) -> Self {
        for changes in self.by.values_mut() {
            let rest = changes.deltas.split_off(top.min(changes.deltas.len()));
            for delta in rest {
                changes.other.before = changes.other.before.saturating_add(delta.before.unwrap_or(0));
                changes.other.after = changes.other.after.saturating_add(delta.after.unwrap_or(0));
            }
        }
        self
    }
}

impl Changes {
    fn between(before: &SampledGroups, after: &SampledGroups) -> Self {
        let count = |sample: &SampledGroups, key: &str| {
            sample.groups.get(key).copied().or((sample.other == 0).then_some(0))
        };
        let keys: BTreeSet<&String> = before.groups.keys().chain(after.groups.keys()).collect();
        let mut changes =
            Self { other: BeforeAfter { before: before.other, after: after.other }, ..Self::default() };
        for key in keys {
            match Delta::of(key, count(before, key), count(after, key)) {
                Some(delta) => changes.deltas.push(delta),
                None => {
                    changes.unchanged += 1;
                    let unchanged = before.groups.get(key).copied().unwrap_or(0);
                    changes.other.before = changes.other.before.saturating_add(unchanged);
                    changes.other.after = changes.other.after.saturating_add(unchanged);
                }
            }
        }
        changes.deltas.sort_by(|one, two| two.size().cmp(&one.size()).then_with(|| one.key.cmp(&two.key)));
        changes
    }
}

impl Delta {
    /// What became of a group; `None` if nothing did.
    fn of(key: &str, before: Option<u64>, after: Option<u64>) -> Option<Self> {
        let kind = match (before, after) {
            (Some(before), Some(after)) if before == after => return None,
            (Some(0), Some(_)) => DeltaKind::New,
            (Some(_), Some(0)) => DeltaKind::Gone,
            (Some(before), Some(after)) if before < after => DeltaKind::Grown,
            (Some(_), Some(_)) => DeltaKind::Shrunk,
            _ => DeltaKind::Unclear,
        };
        Some(Self { key: key.to_owned(), before, after, kind })
    }

    /// By how much it is larger than before, negative if smaller; `None` if unknown.
    pub fn difference(&self) -> Option<i64> {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Some(signed(self.after?) - signed(self.before?))
    }

    /// How much it is worth saying: by how much it has changed, as far as that is known.
    fn size(&self) -> u64 {
        match (self.before, self.after) {
            (Some(before), Some(after)) => before.abs_diff(after),
            // unknown: at least it is not sure that it has changed
            (one, other) => one.or(other).unwrap_or(0) / 2,
        }
    }
}

/// What became of the servers. One that is in one sample only is new or gone if both samples are complete.
fn servers(before: &Sample, after: &Sample) -> Vec<Delta> {
    let counts = |sample: &Sample| -> BTreeMap<String, u64> {
        sample.servers.iter().map(|server| (server.server.clone(), server.connections)).collect()
    };
    let (then, now) = (counts(before), counts(after));
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let count = |counts: &BTreeMap<String, u64>, name: &str, complete: bool| {
        counts.get(name).copied().or(complete.then_some(0))
    };
    let deltas = names.into_iter().filter_map(|name| {
        Delta::of(name, count(&then, name, before.complete), count(&now, name, after.complete))
    });
    deltas.collect()
}

/// What is known of a problem, to find the sample from before it.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// The one server that it is about; otherwise it is about all of them.
    pub server: Option<&'a str>,
    /// From how many connections of one server on there is a problem, if that is known.
    pub threshold: Option<u64>,
    /// When it was noticed: when its alert began to fire, or now.
    pub noticed_at: Timestamp,
}

/// A sample of a cluster that was well, and what makes it one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Healthy<'a> {
    /// The sample.
    pub sample: &'a Sample,
    /// Why it is taken for one of a cluster that was well.
    pub reason: HealthyReason,
}

/// Why a sample is taken for one of a cluster that was well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthyReason {
    /// The last before the rise at which every server was clearly below the threshold.
    BelowThreshold,
    /// No threshold is known, or none was clearly below it: the last at the lowest level that is remembered.
    LowestLevel,
}

/// What of the threshold is clearly below it, in percent: what goes back and forth across it is not well in between.
const CLEARLY_BELOW: u64 = 90;

/// How far before the threshold was crossed the foot of the rise is looked for at first.
const RISE: SignedDuration = SignedDuration::from_hours(1);

/// Finds the last sample of a cluster that was well: before the problem was noticed, and before the rise that led to it.
///
/// With a threshold, samples clearly below it are looked through from the last one back as long as they go down; what
/// is a tenth of the rise or less above the lowest is its foot. Otherwise it is the last at about the lowest level that
/// is remembered.
///
/// Levels are those of the servers that the last sample has. A sample that should have one of them and does not says
/// nothing: what is missing looks like a low level. Servers that have not answered for long are in nobody's way.
pub fn last_healthy<'a>(history: &'a History, problem: &Problem<'_>) -> Option<Healthy<'a>> {
    let until_then = history.samples.iter().filter(|sample| sample.at <= problem.noticed_at);
    let servers: BTreeSet<&str> = match problem.server {
        Some(server) => BTreeSet::from([server]),
        None => until_then.clone().next_back()?.servers.iter().map(|it| it.server.as_str()).collect(),
    };
    let levels = until_then.filter_map(|sample| Some((sample, level_of(sample, &servers)?)));
    let (samples, levels): (Vec<&Sample>, Vec<u64>) = levels.unzip();
    let level = |place: usize| levels[place];
    let last = samples.len().checked_sub(1)?;
    if let Some(end) = samples.iter().rposition(|sample| problem.is_clearly_below(sample)) {
        let begin = samples[..end]
            .iter()
            .rposition(|sample| !problem.is_clearly_below(sample))
            .map_or(0, |it| it + 1);
        // what came next is the height of the rise
        let peak = level(last.min(end + 1)).max(level(end));
        let place = foot(&samples, begin..end + 1, peak, &level);
        return Some(Healthy { sample: samples[place], reason: HealthyReason::BelowThreshold });
    }
    let lowest = (0..=last).map(level).min()?;
    let highest = (0..=last).map(level).max()?;
    let place = (0..=last).rfind(|place| is_foot(level(*place), lowest, highest))?;
    Some(Healthy { sample: samples[place], reason: HealthyReason::LowestLevel })
}

/// The connections of some servers; `None` if the sample should have one of them and does not. One that a complete
/// sample does not have was not there.
fn level_of(sample: &Sample, servers: &BTreeSet<&str>) -> Option<u64> {
    let wanted = sample.servers.iter().filter(|it| servers.contains(it.server.as_str()));
    let (count, level) =
        wanted.fold((0, 0_u64), |(count, sum), it| (count + 1, sum.saturating_add(it.connections)));
    (count > 0 && (sample.complete || count >= servers.len())).then_some(level)
}

impl Problem<'_> {
    fn is_clearly_below(&self, sample: &Sample) -> bool {
        let Some(threshold) = self.threshold else { return false };
        let mut watched = sample.servers.iter().filter(|it| self.server.is_none_or(|name| it.server == name));
        watched.all(|it| it.connections.saturating_mul(100) <= threshold.saturating_mul(CLEARLY_BELOW))
    }
}

/// The last sample at the foot of a rise to `peak` within `places`: the stretch that is looked through doubles as long as
/// that finds a foot that is lower by more than a tenth of the rise.
fn foot(
    samples: &[&Sample],
    places: std::ops::Range<usize>,
    peak: u64,
    level: &impl Fn(usize) -> u64,
) -> usize {
    let last = places.end - 1;
    let since = |stretch: SignedDuration| {
        let from = samples[last].at.saturating_sub(stretch).unwrap_or(Timestamp::MIN);
        let first = samples.partition_point(|sample| sample.at < from).clamp(places.start, last);
        (first..=last, (first..=last).map(level).min().unwrap_or(0))
    };
    let mut stretch = RISE;
    let (mut looked, mut lowest) = since(stretch);
    while *looked.start() > places.start {
        stretch = stretch.saturating_mul(2);
        let (longer, lower) = since(stretch);
        let is_sparse = longer.start() == looked.start();
        if !is_sparse && is_foot(lowest, lower, peak) {
            break;
        }
        (looked, lowest) = (longer, lower);
    }
    looked.rfind(|place| is_foot(level(*place), lowest, peak)).unwrap_or(last)
}

#[cfg(test)]
mod tests;
