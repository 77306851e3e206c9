//! Which pattern a series is.
//!
//! Everything is measured in shares of the largest value, so that the same shape is the same pattern at any size. The
//! order matters: what repeats is looked for first, because a part of it looks like something else.

use jiff::{SignedDuration, Timestamp};

use super::fit::Fit;
use super::robust::{median, noise, slope, without_single_outliers};
use super::words;
use super::{Pattern, PatternKind, Series};

/// With fewer points nothing is said.
const FEWEST_POINTS: usize = 8;

/// What varies by less than this share of its largest value is flat.
const FLAT: f64 = 0.1;

/// A model that explains this share of the variance describes what was measured.
const EXPLAINED: f64 = 0.75;

/// So long a way to another level, as a share of all the time, is still a step.
const STEP_TIME: f64 = 0.05;

/// To more points than these a model is not fitted.
const MOST_FITTED: usize = 240;

/// More excursions than these are not spikes but restlessness.
const MOST_SPIKES: usize = 3;

/// A series as the rules look at it.
struct Shape {
    /// Minutes since the first point.
    minutes: Vec<f64>,
    /// Values in shares of the largest.
    values: Vec<f64>,
    /// The same without single wild values.
    smooth: Vec<f64>,
    /// The largest value.
    scale: f64,
    /// From the lowest to the highest of `smooth`.
    amplitude: f64,
    /// When the first point was.
    start: Timestamp,
}

/// What a rule found, in shares and points.
struct Found {
    kind: PatternKind,
    /// The point at which it begins; `None` where that was before the first.
    since: Option<usize>,
    before: f64,
    after: f64,
    per_minute: f64,
    confidence: f64,
    /// What else there is to say.
    detail: Detail,
}

/// What the words need beside the numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Detail {
    /// How many minutes the way took, and whether it goes on.
    Way { minutes: f64, goes_on: bool },
    /// How often.
    Times(usize),
    /// How far it goes up and down.
    Between { lowest: f64, highest: f64 },
}

pub(super) fn classify(series: &Series, earlier: &[Series]) -> Option<Pattern> {
    let shape = Shape::of(series)?;
    let found = flat(&shape)
        .or_else(|| sawtooth(&shape))
        .or_else(|| seasonal(&shape, series, earlier))
        .or_else(|| spike(&shape))
        .or_else(|| step_or_ramp(&shape))
        .unwrap_or_else(|| noisy(&shape));
    Some(shape.pattern(found))
}

impl Shape {
    fn of(series: &Series) -> Option<Self> {
        let points = series.points();
        if points.len() < FEWEST_POINTS {
            return None;
        }
        let start = points[0].at;
        let scale = points.iter().map(|point| point.value.abs()).fold(0.0, f64::max);
        let share = |value: f64| if scale > 0.0 { value / scale } else { 0.0 };
        let minutes =
            points.iter().map(|point| point.at.duration_since(start).as_secs_f64() / 60.0).collect();
        let values: Vec<f64> = points.iter().map(|point| share(point.value)).collect();
        let smooth = without_single_outliers(&values);
        let amplitude = amplitude(&smooth);
        Some(Self { minutes, values, smooth, scale, amplitude, start })
    }

    /// From the first point to the last, in minutes.
    fn span(&self) -> f64 {
        self.minutes.last().copied().unwrap_or(0.0)
    }

    fn at(&self, place: usize) -> Timestamp {
        let seconds = SignedDuration::try_from_secs_f64(self.minutes[place] * 60.0);
        let at = self.start.saturating_add(seconds.unwrap_or(SignedDuration::ZERO));
        // a whole second: finer than any step
        at.map_or(self.start, |at| Timestamp::from_second(at.as_second()).unwrap_or(at))
    }

    fn pattern(&self, found: Found) -> Pattern {
        let since = found.since.map(|place| self.at(place));
        let Found { kind, before, after, per_minute, confidence, detail, .. } = found;
        let [before, after, per_minute] = [before, after, per_minute].map(|share| share * self.scale);
        let detail = match detail {
            Detail::Between { lowest, highest } => {
                Detail::Between { lowest: lowest * self.scale, highest: highest * self.scale }
            }
            other => other,
        };
        let confidence = if confidence.is_finite() { confidence.clamp(0.0, 1.0) } else { 0.0 };
        let mut pattern =
            Pattern { kind, since, before, after, per_minute, confidence, summary: String::new() };
        pattern.summary = words::summary(&pattern, detail);
        pattern
    }
}

fn flat(shape: &Shape) -> Option<Found> {
    let whole = amplitude(&shape.values);
    (whole <= FLAT).then(|| level(shape, PatternKind::Flat, 1.0 - whole / FLAT / 2.0))
}

fn noisy(shape: &Shape) -> Found {
    level(shape, PatternKind::Noisy, 0.5)
}

fn level(shape: &Shape, kind: PatternKind, confidence: f64) -> Found {
    let level = median(&shape.values).unwrap_or(0.0);
    let (lowest, highest) = bounds(&shape.values);
    let detail = Detail::Between { lowest, highest };
    Found { kind, since: None, before: level, after: level, per_minute: 0.0, confidence, detail }
}

/// The way from one turning point to the next.
struct Leg {
    from: usize,
    to: usize,
    rises: bool,
}

/// The legs of a zigzag that turns where the value comes back by 0.4 of the amplitude.
fn legs(shape: &Shape) -> Vec<Leg> {
    let turn = 0.4 * shape.amplitude;
    let values = &shape.smooth;
    let mut legs: Vec<Leg> = Vec::new();
    let (mut start, mut lowest, mut highest) = (0, 0, 0);
    let mut rising: Option<bool> = None;
    for place in 0..values.len() {
        if values[place] < values[lowest] {
            lowest = place;
        }
        if values[place] > values[highest] {
            highest = place;
        }
        let fell = values[highest] - values[place] >= turn;
        let rose = values[place] - values[lowest] >= turn;
        match rising {
            None if fell || rose => {
                rising = Some(rose);
                start = if rose { lowest } else { highest };
                (lowest, highest) = (place, place);
            }
            Some(true) if fell => {
                legs.push(Leg { from: start, to: highest, rises: true });
                (start, rising, lowest) = (highest, Some(false), place);
                highest = place;
            }
            Some(false) if rose => {
                legs.push(Leg { from: start, to: lowest, rises: false });
                (start, rising, highest) = (lowest, Some(true), place);
                lowest = place;
            }
            _ => {}
        }
    }
    match rising {
        Some(true) => legs.push(Leg { from: start, to: highest, rises: true }),
        Some(false) => legs.push(Leg { from: start, to: lowest, rises: false }),
        None => {}
    }
    legs
}

impl Leg {
    fn height(&self, shape: &Shape) -> f64 {
        shape.smooth[self.to] - shape.smooth[self.from]
    }

    /// The points between which most of the way is made, from a fifth of it to four fifths.
    fn core(&self, shape: &Shape) -> (usize, usize) {
        let (values, height) = (&shape.smooth, self.height(shape));
        let done = |place: usize| (values[place] - values[self.from]) / height;
        let from = (self.from..=self.to).rev().find(|place| done(*place) <= 0.2).unwrap_or(self.from);
        let to = (from..=self.to).find(|place| done(*place) >= 0.8).unwrap_or(self.to);
        (from, to)
    }

    fn core_minutes(&self, shape: &Shape) -> f64 {
        let (from, to) = self.core(shape);
        shape.minutes[to] - shape.minutes[from]
    }
}

/// Repeated rises, and falls in between that are at least three times as fast.
fn sawtooth(shape: &Shape) -> Option<Found> {
    let legs = legs(shape);
    let (rises, falls): (Vec<&Leg>, Vec<&Leg>) = legs.iter().partition(|leg| leg.rises);
    if rises.len() < 2 || falls.is_empty() {
        return None;
    }
    let minutes = |legs: &[&Leg]| median(&legs.iter().map(|leg| leg.core_minutes(shape)).collect::<Vec<_>>());
    let (rising, falling) = (minutes(&rises)?, minutes(&falls)?);
    let gradual = rises.iter().all(|leg| {
        let (from, to) = leg.core(shape);
        to - from >= 3
    });
    if !gradual || rising < 3.0 * falling {
        return None;
    }
    // the tips are where they were measured: without single wild values a tooth is blunt
    let tips = |place: fn(&Leg) -> usize, tip: fn((f64, f64)) -> f64| {
        let tip = |leg: &&Leg| {
            let place = place(leg);
            tip(bounds(&shape.values[place.saturating_sub(1)..(place + 2).min(shape.values.len())]))
        };
        median(&rises.iter().map(tip).collect::<Vec<_>>())
    };
    let slopes: Vec<f64> = rises
        .iter()
        .map(|leg| {
            let (from, to) = leg.core(shape);
            slope(&pairs(shape, from..to + 1))
        })
        .collect();
    let first = rises[0].from;
    Some(Found {
        kind: PatternKind::Sawtooth,
        since: (shape.minutes[first] > STEP_TIME * shape.span()).then_some(first),
        before: tips(|leg| leg.from, |(lowest, _)| lowest)?,
        after: tips(|leg| leg.to, |(_, highest)| highest)?,
        per_minute: median(&slopes)?,
        confidence: match falls.len() {
            1 => 0.5,
            2 => 0.75,
            _ => 0.9,
        },
        detail: Detail::Times(falls.len()),
    })
}

/// What it did at the same times before, in all and lately.
fn seasonal(shape: &Shape, series: &Series, earlier: &[Series]) -> Option<Found> {
    let found = earlier.iter().filter_map(|earlier| {
        let both: Vec<(f64, f64)> = series
            .points()
            .iter()
            .filter_map(|point| Some((point.value / shape.scale, earlier.value_at(point.at)? / shape.scale)))
            .collect();
        let needed = FEWEST_POINTS.max(series.points().len() * 3 / 5);
        if both.len() < needed {
            return None;
        }
        let apart: Vec<f64> = both.iter().map(|(now, then)| (now - then).abs()).collect();
        let lately = apart.len() - (apart.len() / 10).max(3);
        let then: Vec<f64> = both.iter().map(|(_, then)| *then).collect();
        let (all, late) = (median(&apart)?, median(&apart[lately..])?);
        let alike = all <= 0.1 * shape.amplitude && late <= 0.2 * shape.amplitude;
        (alike && amplitude(&without_single_outliers(&then)) >= 0.5 * shape.amplitude)
            .then(|| 1.0 - all / shape.amplitude)
    });
    let confidence = found.max_by(f64::total_cmp)?;
    Some(level(shape, PatternKind::Seasonal, confidence))
}

/// Short excursions from a quiet level, and back.
fn spike(shape: &Shape) -> Option<Found> {
    let values = &shape.values;
    let base = median(values)?;
    let (lowest, highest) = bounds(values);
    let up = highest - base >= base - lowest;
    let (tip, height) = if up { (highest, highest - base) } else { (lowest, base - lowest) };
    let off = |value: f64| if up { value - base } else { base - value };
    let is_out = |value: f64| off(value) >= height / 2.0;

    let out = values.iter().filter(|value| is_out(**value)).count();
    let ends = [&values[..3], &values[values.len() - 3..]];
    let home = ends.iter().all(|end| median(end).is_some_and(|level| off(level).abs() <= height / 4.0));
    let inside: Vec<f64> =
        values.iter().filter(|value| !is_out(**value)).map(|value| off(*value).abs()).collect();
    let quiet = median(&inside).is_some_and(|level| level <= 0.1 * height) && noise(values) <= 0.15 * height;
    if height <= FLAT || out * 4 > values.len() || !home || !quiet {
        return None;
    }
    let begins: Vec<usize> =
        (1..values.len()).filter(|place| is_out(values[*place]) && !is_out(values[place - 1])).collect();
    if begins.len() > MOST_SPIKES {
        return None;
    }
    let share = out as f64 / values.len() as f64;
    Some(Found {
        kind: PatternKind::Spike,
        since: begins.last().copied(),
        before: base,
        after: tip,
        per_minute: 0.0,
        confidence: 1.0 - share - noise(values) / height,
        detail: Detail::Times(begins.len()),
    })
}

fn step_or_ramp(shape: &Shape) -> Option<Found> {
    let points = fitted(shape);
    let fit = Fit::of(&points)?;
    let way = |x: f64| {
        let (from, to) = (points[fit.leaves].0, points[fit.arrives].0);
        ((x - from) / (to - from)).clamp(0.0, 1.0)
    };
    let left: Vec<f64> = points.iter().map(|(x, y)| (y - fit.before - fit.height * way(*x)).abs()).collect();
    // a step that was only just taken explains little, however clear it is
    let is_clear = fit.explained >= 0.5
        && fit.height.abs() >= 6.0 * noise(&shape.smooth)
        && median(&left)? <= 0.1 * fit.height.abs();
    if fit.explained < EXPLAINED && !is_clear {
        return None;
    }
    let (leaves, arrives) = (points[fit.leaves].0, points[fit.arrives].0);
    let goes_on = fit.arrives + 1 == points.len();
    let is_step = fit.arrives - fit.leaves <= 3 || arrives - leaves <= STEP_TIME * shape.span();
    let after = fit.before + fit.height;
    let detail = Detail::Way { minutes: arrives - leaves, goes_on };
    if is_step {
        let since = onset(shape, &fit, leaves, arrives);
        let later = shape.minutes.partition_point(|minute| *minute < arrives);
        return Some(Found {
            kind: PatternKind::Step,
            since: Some(since),
            before: median(&shape.values[..since]).unwrap_or(fit.before),
            after: median(&shape.values[later..]).unwrap_or(after),
            per_minute: slope(&pairs(shape, later..shape.smooth.len())),
            confidence: fit.explained.max(if is_clear { 0.7 } else { 0.0 }),
            detail,
        });
    }
    let begun_before = fit.leaves == 0 || leaves <= STEP_TIME / 2.0 * shape.span();
    let place = shape.minutes.partition_point(|minute| *minute < leaves).min(shape.minutes.len() - 1);
    Some(Found {
        kind: PatternKind::Ramp,
        since: (!begun_before).then_some(place),
        before: fit.before,
        after,
        per_minute: fit.height / (arrives - leaves),
        confidence: fit.explained,
        detail,
    })
}

/// The first point that has left the level for good on the way of a step.
fn onset(shape: &Shape, fit: &Fit, leaves: f64, arrives: f64) -> usize {
    let done = |place: usize| (shape.smooth[place] - fit.before) / fit.height;
    let last = shape.minutes.len() - 1;
    let to = shape.minutes.partition_point(|minute| *minute < arrives).min(last);
    let from = shape.minutes.partition_point(|minute| *minute < leaves);
    (from..to).rev().find(|place| done(*place) < 0.25).map_or(from, |place| place + 1).min(last)
}

/// What a model is fitted to: the series without wild values, and of a long one the medians of its parts.
fn fitted(shape: &Shape) -> Vec<(f64, f64)> {
    let size = shape.smooth.len().div_ceil(MOST_FITTED);
    let parts = shape.minutes.chunks(size).zip(shape.smooth.chunks(size));
    parts.filter_map(|(minutes, values)| Some((median(minutes)?, median(values)?))).collect()
}

fn pairs(shape: &Shape, range: std::ops::Range<usize>) -> Vec<(f64, f64)> {
    range.map(|place| (shape.minutes[place], shape.smooth[place])).collect()
}

fn bounds(values: &[f64]) -> (f64, f64) {
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (lowest, highest)
}

fn amplitude(values: &[f64]) -> f64 {
    let (lowest, highest) = bounds(values);
    highest - lowest
}
