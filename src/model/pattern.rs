//! Patterns: what a count of connections did over time, and the evidence that Prometheus gives.
//!
//! A [`Series`] is classified by [`Pattern::of`], which looks at shapes and never at absolute numbers: a server with 50
//! connections that doubles looks like one with 50,000 that does. What is missing stays missing. A pattern describes; what
//! it means is for the diagnosis to say.

mod classify;
mod fit;
mod robust;
mod words;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most points of one series that are kept to be drawn.
pub const MOST_SHOWN: usize = 120;

/// One value of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// When it was.
    pub at: Timestamp,
    /// How many there were; always finite.
    pub value: f64,
}

/// Values at a regular pace, of which any may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    points: Vec<Point>,
    step: Duration,
}

impl Series {
    /// Makes a series of what was measured every `step`: values that are no finite number are left out, and of several
    /// at one instant the largest counts.
    pub fn new(points: impl IntoIterator<Item = Point>, step: Duration) -> Self {
        let mut points: Vec<Point> = points.into_iter().filter(|point| point.value.is_finite()).collect();
        points.sort_by(|one, other| one.at.cmp(&other.at).then(other.value.total_cmp(&one.value)));
        points.dedup_by_key(|point| point.at);
        Self { points, step }
    }

    /// What was measured, in the order of time.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// How far apart two points are where none is missing.
    pub fn step(&self) -> Duration {
        self.step
    }

    /// The last point, unless it is older than `now` by more than `age`.
    pub fn last_since(&self, now: Timestamp, age: Duration) -> Option<Point> {
        self.points.last().copied().filter(|point| {
            let passed = now.duration_since(point.at);
            passed.is_negative() || passed.unsigned_abs() <= age
        })
    }

    /// The value at an instant, or the nearest one at most three steps from it.
    pub fn value_near(&self, at: Timestamp) -> Option<f64> {
        let distance = |point: &Point| point.at.duration_since(at).unsigned_abs();
        let nearest = self.points.iter().min_by_key(|point| distance(point))?;
        (distance(nearest) <= self.step * 3).then_some(nearest.value)
    }

    /// The value at exactly this instant.
    pub fn value_at(&self, at: Timestamp) -> Option<f64> {
        let place = self.points.binary_search_by_key(&at, |point| point.at).ok()?;
        Some(self.points[place].value)
    }

    /// The median of the values before an instant; `None` if there are none.
    pub fn median_before(&self, at: Timestamp) -> Option<f64> {
        let before = self.points.iter().take_while(|point| point.at < at);
        robust::median(&before.map(|point| point.value).collect::<Vec<_>>())
    }

    /// Which share of the points that could be there from `from` to `to` is missing, from 0 to 1.
    pub fn missing_share(&self, from: Timestamp, to: Timestamp) -> f64 {
        let span = to.duration_since(from).as_secs_f64();
        let expected = (span / self.step.as_secs_f64()).floor() + 1.0;
        if !expected.is_finite() || expected < 1.0 {
            return 0.0;
        }
        let found = self.points.iter().filter(|point| from <= point.at && point.at <= to).count();
        (1.0 - found as f64 / expected).clamp(0.0, 1.0)
    }

    /// At most `most` points that look like all of them: of each stretch the lowest and the highest are kept.
    pub fn thinned(&self, most: usize) -> Vec<Point> {
        if self.points.len() <= most {
            return self.points.clone();
        }
        let stretch = self.points.len().div_ceil((most / 2).max(1));
        let mut kept = Vec::with_capacity(most);
        for points in self.points.chunks(stretch) {
            let lowest = points.iter().min_by(|one, other| one.value.total_cmp(&other.value));
            let highest = points.iter().max_by(|one, other| one.value.total_cmp(&other.value));
            let (Some(lowest), Some(highest)) = (lowest, highest) else { continue };
            match lowest.at.cmp(&highest.at) {
                std::cmp::Ordering::Less => kept.extend([*lowest, *highest]),
                std::cmp::Ordering::Equal => kept.push(*lowest),
                std::cmp::Ordering::Greater => kept.extend([*highest, *lowest]),
            }
        }
        kept
    }
}

/// What a count did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PatternKind {
    /// It went to another level at once, and stayed.
    Step,
    /// It grew or fell steadily for a while; it may go on.
    Ramp,
    /// It left its level for a short time, and came back.
    Spike,
    /// It rose again and again, and fell sharply in between.
    Sawtooth,
    /// It did what it had done at the same time a day or a week before.
    Seasonal,
    /// It stayed at its level.
    Flat,
    /// It did none of these.
    Noisy,
}

/// What a count did, since when, and how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pattern {
    /// What it did.
    pub kind: PatternKind,
    /// When that began; `None` where nothing did.
    pub since: Option<Timestamp>,
    /// The level before. Of a sawtooth: from where it rises. Where nothing happened: its median.
    pub before: f64,
    /// The level it came to. Of a spike: its tip. Of a sawtooth: to where it rises. Where nothing happened: its median.
    pub after: f64,
    /// How much it grows in a minute: of a ramp while it lasts, of a sawtooth while it rises, of a step since it
    /// happened; negative where it falls, 0 for all others.
    pub per_minute: f64,
    /// How well this describes what was measured, from 0 to 1.
    pub confidence: f64,
    /// All that in words, with its numbers.
    pub summary: String,
}

impl Pattern {
    /// Says what a series did; `earlier` is what it did at the same times before, moved to the times of the series: the
    /// day before and the week before, where they are known. `None` if there is too little to say anything.
    pub fn of(series: &Series, earlier: &[Series]) -> Option<Self> {
        classify::classify(series, earlier)
    }
}

/// What Prometheus says of the connections of a cluster's servers around an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricsEvidence {
    /// Where the numbers are from.
    pub source: MetricsSource,
    /// From when on was asked.
    pub from: Timestamp,
    /// Until when was asked.
    pub to: Timestamp,
    /// How far apart two points are where none is missing, in seconds.
    pub step_seconds: u64,
    /// What each server did, the one with the most connections first.
    pub servers: Vec<ServerMetrics>,
    /// How many servers there were beyond those listed.
    pub more_servers: u64,
    /// What may be wrong with it: what Prometheus warns of, and what could not be asked. With any, it may be only a
    /// part.
    pub warnings: Vec<String>,
    /// Whether nothing but the length of the exporter's page was there, and a server is at its end of 1024: how many
    /// connections it has is then unknown, and growth cannot be seen.
    pub saturated: bool,
}

/// Where numbers are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetricsSource {
    /// The address of the Prometheus.
    pub prometheus: String,
    /// The metric, such as `gnatsd_connz_total`.
    pub metric: String,
    /// The expression, to be looked at there.
    pub expression: String,
}

/// What one server did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerMetrics {
    /// What the series calls it: its `server_id`, or else what the cluster's server labels say.
    pub server: String,
    /// Its configured monitoring URL, where the series could be matched with one.
    pub url: Option<url::Url>,
    /// What its connections did; `None` if there are too few points to say.
    pub pattern: Option<Pattern>,
    /// How many connections it has; `None` if there is no recent value.
    pub now: Option<f64>,
    /// How many it had before the incident began: the median.
    pub before: Option<f64>,
    /// How many it had at the same time yesterday.
    pub yesterday: Option<f64>,
    /// How many it had at the same time a week ago.
    pub last_week: Option<f64>,
    /// How many connections it accepts a minute.
    pub new_per_minute: Option<f64>,
    /// How many it accepted a minute before the incident began: the median.
    pub usual_new_per_minute: Option<f64>,
    /// Which share of the points is missing, from 0 to 1.
    pub missing_share: f64,
    /// Its values, thinned to [`MOST_SHOWN`].
    pub points: Vec<Point>,
}

#[cfg(test)]
mod tests;
