//! The section `mitigations`: what is never touched, what stops a run, and how fast it is.

use std::time::Duration;

use ipnet::IpNet;

use super::owners::{name, network};
use super::scalar::{self, quoted};
use super::section::{Element, Section};
use crate::model::guard::{GuardSettings, TimeWindow};
use crate::model::mitigation_rules::{MitigationSettings, Pace};
use crate::model::owner::Pattern;
use crate::model::protection::ProtectedBySettings;
use crate::model::victim::MOST_VICTIMS;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long a run may hold others back: the store keeps every run at least so long after its end, and what it no longer
/// has cannot be counted.
const LONGEST_MEMORY: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest pause between two batches: a run holds up all others of its cluster.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The most looks at the effect of a run.
const MOST_LOOKS: usize = 10;

/// The days as they are written, Monday first.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The last minute of a day is the one before this.
const MINUTES_OF_DAY: u16 = 24 * 60;

/// Reads the section.
pub(super) fn read(section: &Section<'_>) -> MitigationSettings {
    let default = MitigationSettings::default();
    MitigationSettings {
        enabled: section.value("enabled", scalar::truth).unwrap_or(default.enabled),
        guards: read_guards(section),
        pace: read_pace(section),
        pause_file: section.value("pause_file", scalar::path),
    }
}

fn read_guards(section: &Section<'_>) -> GuardSettings {
    let default = GuardSettings::default();
    let percent = |key, default| section.value(key, percent).unwrap_or(default);
    let duration = |key, longest, default| {
        section.value(key, |text| scalar::duration_up_to(text, longest)).unwrap_or(default)
    };
    let max_victims = |text: &str| number(text, 1, MOST_VICTIMS);
    let cool_down = duration("cool_down", LONGEST_MEMORY, default.cool_down);
    let max_cool_down = duration("max_cool_down", LONGEST_MEMORY, default.max_cool_down);
    if cool_down > max_cool_down {
        // said where the writer wrote
        let key = if section.mentions("max_cool_down") { "max_cool_down" } else { "cool_down" };
        let (shorter, longer) = (max_cool_down.as_secs(), cool_down.as_secs());
        section.problem(key, format!("max_cool_down ({shorter}s) is shorter than cool_down ({longer}s)"));
    }
    let breaker = section.section("breaker");
    let failures = breaker.value("failures", |text| number(text, 1, 1000));
    let window = breaker.value("window", |text| scalar::duration_up_to(text, LONGEST_MEMORY));
    GuardSettings {
        protected: read_protected(&section.section("protected")),
        max_victims: section.value("max_victims", max_victims).unwrap_or(default.max_victims),
        max_share_percent: section
            .value("max_share_percent", percent_above_0)
            .unwrap_or(default.max_share_percent),
        keep: section.value("keep_minimum", |text| number(text, 0, MOST_VICTIMS)).unwrap_or(default.keep),
        max_snapshot_age: duration("max_snapshot_age", HOUR, default.max_snapshot_age),
        replan_threshold_percent: percent("replan_threshold_percent", default.replan_threshold_percent),
        cool_down,
        max_cool_down,
        hourly_budget: section
            .value("hourly_budget", |text| number(text, 1, 1_000_000))
            .unwrap_or(default.hourly_budget),
        breaker_failures: failures.unwrap_or(default.breaker_failures),
        breaker_window: window.unwrap_or(default.breaker_window),
        max_unreachable_percent: percent("max_unreachable_percent", default.max_unreachable_percent),
        windows: read_windows(section),
        approval_valid: duration("approval_valid", DAY, default.approval_valid),
        stop_errors: default.stop_errors,
        stop_errors_percent: default.stop_errors_percent,
    }
}

fn read_pace(section: &Section<'_>) -> Pace {
    let default = Pace::default();
    Pace {
        batch: section.value("batch", |text| number(text, 1, 1000)).unwrap_or(default.batch),
        batch_pause: section.value("batch_pause", batch_pause).unwrap_or(default.batch_pause),
        drain_wait: section
            .value("drain_wait", |text| scalar::duration_up_to(text, HOUR))
            .unwrap_or(default.drain_wait),
        verify_after: read_looks(section).unwrap_or(default.verify_after),
    }
}

fn read_protected(section: &Section<'_>) -> ProtectedBySettings {
    let patterns = |key| distinct(section.one_or_many(key), |text| name(text).map(Pattern::new));
    ProtectedBySettings {
        applications: patterns("applications"),
        names: patterns("names"),
        accounts: patterns("accounts"),
        users: patterns("users"),
        networks: distinct::<IpNet>(section.one_or_many("networks"), network),
    }
}

fn read_windows(section: &Section<'_>) -> Vec<TimeWindow> {
    // none would mean always, and who writes an empty list may mean never
    if section.is_list("windows") && section.list("windows").is_empty() {
        section.problem("windows", "expected at least one window; remove the key for always");
    }
    distinct(section.one_or_many("windows"), window)
}

fn read_looks(section: &Section<'_>) -> Option<Vec<Duration>> {
    if !section.has("verify_after") {
        return None;
    }
    let elements = section.one_or_many("verify_after");
    if section.is_list("verify_after") && (elements.is_empty() || elements.len() > MOST_LOOKS) {
        section.problem("verify_after", format!("expected between 1 and {MOST_LOOKS} durations"));
    }
    let mut looks: Vec<Duration> = Vec::new();
    for element in elements {
        let Some(after) = element.value(|text| scalar::duration_up_to(text, DAY)) else { continue };
        if looks.last().is_some_and(|last| *last >= after) {
            element.problem("must be longer than the one before it");
        }
        looks.push(after);
    }
    (!looks.is_empty()).then_some(looks)
}

/// Reads elements that must differ.
fn distinct<T: PartialEq>(elements: Vec<Element<'_>>, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    let mut found: Vec<T> = Vec::new();
    for element in elements {
        let Some(value) = element.value(&read) else { continue };
        if found.contains(&value) {
            element.problem("is listed twice");
        } else {
            found.push(value);
        }
    }
    found
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(number) if (least..=most).contains(&number) && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(number)
        }
        _ => Err(format!("expected a whole number from {least} to {most}, found {}", quoted(text))),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err(format!("expected a percentage from 0 to 100 such as `10`, found {}", quoted(text))),
    }
}

fn percent_above_0(text: &str) -> Result<f64, String> {
    match percent(text)? {
        0.0 => Err("must be above 0; `enabled: false` turns mitigations off".to_owned()),
        percent => Ok(percent),
    }
}

fn batch_pause(text: &str) -> Result<Duration, String> {
    match scalar::parse_duration(text)? {
        Duration::ZERO => Ok(Duration::ZERO),
        _ => scalar::duration_up_to(text, LONGEST_PAUSE),
    }
}

/// Reads a window: days, and a part of each of them, such as `Mon-Fri 08:00-18:00`, in UTC.
fn window(text: &str) -> Result<TimeWindow, String> {
    let unreadable = || {
        let expected = "expected a window in UTC such as `Mon-Fri 08:00-18:00`, `Sat,Sun 00:00-24:00` or `daily 22:00-06:00`";
        format!("{expected}, found {}", quoted(text))
    };
    let (days, times) = text.split_once(' ').ok_or_else(unreadable)?;
    let days = days_of(days).ok_or_else(unreadable)?;
    let (from, until) = times.split_once('-').ok_or_else(unreadable)?;
    let (from, until) = (minute(from).ok_or_else(unreadable)?, minute(until).ok_or_else(unreadable)?);
    if from == MINUTES_OF_DAY {
        return Err(format!(
            "no window begins at 24:00, write 00:00 of the next day, found {}",
            quoted(text)
        ));
    }
    if from == until {
        return Err(format!(
            "it ends when it begins, write 00:00-24:00 for whole days, found {}",
            quoted(text)
        ));
    }
    Ok(TimeWindow { days, from_minute: from, until_minute: until })
}

fn days_of(text: &str) -> Option<[bool; 7]> {
    if text == "daily" {
        return Some([true; 7]);
    }
    let day = |text: &str| DAYS.iter().position(|day| *day == text);
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // `Fri-Mon` goes on into the next week
        let length = (last + DAYS.len() - first) % DAYS.len();
        (0..=length).for_each(|offset| days[(first + offset) % DAYS.len()] = true);
    }
    Some(days)
}

/// Reads `hh:mm` as the minute of a day, 24:00 among them.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |text: &str| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { text.parse::<u16>().ok() } else { None }
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= MINUTES_OF_DAY).then_some(minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_days_and_a_part_of_each() {
        let shown = |text: &str| {
            let window = window(text).unwrap();
            let days: String = window.days.iter().map(|day| if *day { 'x' } else { '.' }).collect();
            (days, window.from_minute, window.until_minute)
        };
        for (text, days, from, until) in [
            ("Mon-Fri 08:00-18:00", "xxxxx..", 480, 1080),
            ("Sat,Sun 00:00-24:00", ".....xx", 0, 1440),
            ("Fri-Mon 22:00-06:30", "x...xxx", 1320, 390),
            ("Mon,Wed-Thu,Sun 00:01-00:00", "x.xx..x", 1, 0),
            ("daily 09:00-10:00", "xxxxxxx", 540, 600),
            ("Tue-Tue 09:00-10:00", ".x.....", 540, 600),
        ] {
            assert_eq!(shown(text), (days.to_owned(), from, until), "{text}");
        }
        for text in [
            "",
            "Mon-Fri",
            "08:00-18:00",
            "mon 08:00-18:00",
            "Mon- 08:00-18:00",
            "Mon  08:00-18:00",
            "Mon 8:00-18:00",
            "Mon 08:60-18:00",
            "Mon 08:00-24:01",
            "Mon 08:00-25:00",
            "Mon +8:00-18:00",
            "Mon 08:00",
            "Mon 08:00-18:00 UTC",
            "Mon 08:00-08:00",
            "Mon 24:00-08:00",
            "Mon-Wed-Fri 08:00-18:00",
        ] {
            assert!(window(text).is_err(), "{text}");
        }
    }
}
