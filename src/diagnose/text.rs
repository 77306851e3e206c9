//! How numbers are worded in a diagnosis.

use std::time::Duration;

use jiff::Timestamp;

use crate::diagnose::case::Case;
use crate::model::printable::with_commas;

/// `02:51 (14m ago)`: an instant in UTC and how long ago it was.
pub fn minutes_ago(case: &Case<'_>, at: Timestamp) -> String {
    let clock = at.strftime(if case.ago(at) < Duration::from_secs(24 * 3600) { "%H:%M" } else { "%F %H:%M" });
    format!("{clock} UTC ({} ago)", span(case.ago(at)))
}

/// `45s`, `14m`, `3h 20m`, `2d 4h`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// `1,200 a minute`.
pub fn rate(per_minute: f64) -> String {
    format!("{} a minute", with_commas(per_minute.round().max(0.0) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_as_people_tell_it() {
        let told: Vec<String> = [0, 119, 120, 7_199, 7_200, 12_000, 172_799, 172_800, 190_000]
            .map(|s| span(Duration::from_secs(s)))
            .into();
        assert_eq!(told, ["0s", "119s", "2m", "119m", "2h 0m", "3h 20m", "47h 59m", "2d 0h", "2d 4h"]);
    }
}
