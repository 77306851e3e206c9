//! The guard of time windows: mitigations run when somebody is there to see it.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use crate::mitigate::guards::View;
use crate::model::guard::{GuardKind, GuardSettings, GuardVerdict, TimeWindow};

/// Wants a time within one of the windows, if there are any.
pub(super) fn time_window(view: &View, settings: &GuardSettings) -> GuardVerdict {
    let guard = GuardKind::TimeWindow;
    if settings.windows.is_empty() {
        return GuardVerdict::pass(guard, "mitigations may run at any time");
    }
    let now = view.now.to_zoned(TimeZone::UTC);
    let (today, yesterday) = (now.weekday(), now.weekday().previous());
    let minute = u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs());
    let is_within = |window: &&TimeWindow| {
        let (from, until) = (window.from_minute, window.until_minute);
        if from < until {
            is_on(window, today) && (from..until).contains(&minute)
        } else {
            // over midnight; a window that ends when it begins lasts a whole day
            (is_on(window, today) && minute >= from) || (is_on(window, yesterday) && minute < until)
        }
    };
    let time = now.strftime("%a %H:%M UTC").to_string();
    let windows = settings.windows.iter().map(described).collect::<Vec<_>>().join(", ");
    let verdict = match settings.windows.iter().find(is_within) {
        Some(window) => GuardVerdict::pass(guard, format!("{time} is within {}", described(window))),
        None => GuardVerdict::block(guard, format!("{time} is not within {windows}")),
    };
    verdict.compared(time, windows)
}

fn is_on(window: &TimeWindow, day: Weekday) -> bool {
    usize::try_from(day.to_monday_zero_offset()).ok().and_then(|day| window.days.get(day)) == Some(&true)
}

/// Writes a window: `Mon Tue 09:00-17:00 UTC`.
fn described(window: &TimeWindow) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let days: Vec<_> =
        DAYS.iter().zip(window.days).filter(|(_, is_on)| *is_on).map(|(day, _)| *day).collect();
    let days = match days.len() {
        0 => "never".to_owned(),
        7 => "daily".to_owned(),
        _ => days.join(" "),
    };
    let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("{days} {}-{} UTC", time(window.from_minute), time(window.until_minute))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mitigate::guards::scene::Scene;

    const WEEKDAYS: [bool; 7] = [true, true, true, true, true, false, false];

    fn passes(days: [bool; 7], from: u16, until: u16, now: &str) -> bool {
        let mut scene = Scene::quiet();
        scene.settings.windows = vec![TimeWindow { days, from_minute: from * 60, until_minute: until * 60 }];
        scene.view.now = now.parse().unwrap();
        scene.ask(GuardKind::TimeWindow).passes
    }

    // 2026-01-05 is a Monday
    #[test]
    fn a_window_begins_and_ends_to_the_minute_on_its_days() {
        let at = |now: &str| passes(WEEKDAYS, 9, 17, now);
        assert!(!at("2026-01-05T08:59:59Z"));
        assert!(at("2026-01-05T09:00:00Z"));
        assert!(at("2026-01-09T16:59:59Z"));
        assert!(!at("2026-01-09T17:00:00Z"));
        assert!(!at("2026-01-10T12:00:00Z"), "on a Saturday");
        assert!(!at("2026-01-04T12:00:00Z"), "on a Sunday");
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let at = |now: &str| passes(WEEKDAYS, 22, 6, now);
        assert!(!at("2026-01-05T05:59:59Z"), "Sunday has none");
        assert!(!at("2026-01-05T21:59:59Z"));
        assert!(at("2026-01-05T22:00:00Z"));
        assert!(at("2026-01-06T05:59:59Z"));
        assert!(!at("2026-01-06T06:00:00Z"));
        assert!(at("2026-01-10T05:00:00Z"), "that of Friday ends on Saturday");
        assert!(!at("2026-01-10T23:00:00Z"));
    }

    #[test]
    fn a_window_that_ends_when_it_begins_lasts_a_day() {
        let at = |now: &str| passes([true, false, false, false, false, false, false], 8, 8, now);
        assert!(!at("2026-01-05T07:59:00Z"));
        assert!(at("2026-01-05T08:00:00Z"));
        assert!(at("2026-01-06T07:59:00Z"));
        assert!(!at("2026-01-06T08:00:00Z"));
        assert!(!passes([false; 7], 0, 24, "2026-01-05T08:00:00Z"), "on no day");
        assert!(passes([true; 7], 0, 24, "2026-01-05T23:59:59Z"));
    }

    #[test]
    fn one_of_several_windows_is_enough_and_all_are_named_if_none_holds() {
        let mut scene = Scene::quiet();
        let window = |days, from, until| TimeWindow { days, from_minute: from, until_minute: until };
        scene.settings.windows = vec![window(WEEKDAYS, 540, 660), window([true; 7], 690, 751)];
        let verdict = scene.ask(GuardKind::TimeWindow);
        assert_eq!(verdict.reason, "Mon 12:00 UTC is within daily 11:30-12:31 UTC");
        scene.settings.windows[1].from_minute = 721;
        let verdict = scene.ask(GuardKind::TimeWindow);
        assert!(!verdict.passes);
        assert_eq!(
            verdict.reason,
            "Mon 12:00 UTC is not within Mon Tue Wed Thu Fri 09:00-11:00 UTC, daily 12:01-12:31 UTC"
        );
        scene.settings.windows.clear();
        assert!(scene.ask(GuardKind::TimeWindow).passes);
    }
}
