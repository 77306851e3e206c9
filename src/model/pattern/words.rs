//! A pattern in words.

use jiff::Timestamp;

use super::classify::Detail;
use super::{Pattern, PatternKind};
use crate::model::printable::with_commas;

pub(super) fn summary(pattern: &Pattern, detail: Detail) -> String {
    let (before, after) = (count(pattern.before), count(pattern.after));
    let up = pattern.after >= pattern.before;
    match pattern.kind {
        PatternKind::Step => {
            let verb = if up { "went up" } else { "went down" };
            // what changes by less than a twentieth of the step in an hour is not worth a word
            let goes_on = pattern.per_minute.abs() * 60.0 >= (pattern.after - pattern.before).abs() / 20.0;
            let growth = match growth(pattern.per_minute).filter(|_| goes_on) {
                Some(growth) if pattern.per_minute > 0.0 => format!(", and grows by {growth} since"),
                Some(growth) => format!(", and falls by {growth} since"),
                None => String::new(),
            };
            format!("{verb} at once from {before} to {after}{}{growth}", since("at", pattern.since))
        }
        PatternKind::Ramp => {
            let verb = if up { "grows" } else { "falls" };
            let growth = growth(pattern.per_minute).unwrap_or_else(|| "less than one a day".to_owned());
            let begun = match pattern.since {
                Some(at) => format!("since {}", moment(at)),
                None => "since before the first value".to_owned(),
            };
            match detail {
                Detail::Way { minutes, goes_on: false } => {
                    let verb = if up { "grew" } else { "fell" };
                    format!(
                        "{verb} steadily from {before} to {after} in {}, by {growth}, {begun}",
                        span(minutes)
                    )
                }
                _ => format!("{verb} steadily, from {before} to {after} so far, by {growth}, {begun}"),
            }
        }
        PatternKind::Spike => {
            let times = match detail {
                Detail::Times(times) if times > 1 => format!("{times} times"),
                _ => "once".to_owned(),
            };
            let last = since("last at", pattern.since);
            format!("left its level of {before} for a short time, {times},{last}, and came to {after}")
        }
        PatternKind::Sawtooth => {
            let times = match detail {
                Detail::Times(1) => "once".to_owned(),
                Detail::Times(times) => format!("{times} times"),
                _ => "again and again".to_owned(),
            };
            let growth = growth(pattern.per_minute).unwrap_or_else(|| "less than one a day".to_owned());
            format!("rises from {before} to {after} by {growth} and falls back sharply, {times} so far")
        }
        PatternKind::Seasonal => {
            format!("does what it did at the same time before{}", between(detail))
        }
        PatternKind::Flat => format!("stays at {before}{}", between(detail)),
        PatternKind::Noisy => format!("goes up and down around {before}{}", between(detail)),
    }
}

fn between(detail: Detail) -> String {
    match detail {
        Detail::Between { lowest, highest } if count(lowest) != count(highest) => {
            format!(", between {} and {}", count(lowest), count(highest))
        }
        _ => String::new(),
    }
}

fn since(word: &str, at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| format!(" {word} {}", moment(at)))
}

/// An instant to the minute.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A number of connections; small ones with a decimal, where there is one.
fn count(value: f64) -> String {
    let sign = if value < -0.05 { "-" } else { "" };
    let size = value.abs();
    if size < 9.95 && (size - size.round()).abs() >= 0.05 {
        format!("{sign}{size:.1}")
    } else {
        // a float that is too large becomes the largest number
        format!("{sign}{}", with_commas(size.round() as u64))
    }
}

/// How fast something changes, in the unit in which that is a number one can imagine; `None` if hardly.
fn growth(per_minute: f64) -> Option<String> {
    let units = [(1.0, "a minute"), (60.0, "an hour"), (1440.0, "a day")];
    let (factor, unit) = units.into_iter().find(|(factor, _)| (per_minute * factor).abs() >= 1.0)?;
    Some(format!("{} {unit}", count(per_minute.abs() * factor)))
}

fn span(minutes: f64) -> String {
    match minutes {
        ..2.0 => format!("{:.0} seconds", minutes * 60.0),
        ..120.0 => format!("{minutes:.0} minutes"),
        _ => format!("{:.1} hours", minutes / 60.0),
    }
}
