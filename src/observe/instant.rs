//! Reading the instants that a server writes, fast: every connection has two.

use jiff::Timestamp;

/// Reads an RFC 3339 instant as microseconds since 1970; `None` for what is not one.
pub fn parse_instant(text: &str) -> Option<i64> {
    parse_utc(text.as_bytes()).or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond))
}

/// The one form Go writes in UTC: `2026-11-23T08:28:32.578773087Z`, with 0 to 9 places behind the point.
fn parse_utc(text: &[u8]) -> Option<i64> {
    let (date_time, fraction) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| {
        date_time[from..to]
            .iter()
            .try_fold(0_i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, byte)| date_time[*at] != *byte) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=28).contains(&day) && !is_day(year, month, day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match fraction.strip_suffix(b"Z")? {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            let leading = digits.iter().take(6).fold(0_i64, |sum, byte| sum * 10 + i64::from(byte - b'0'));
            leading * 10_i64.pow(6 - u32::try_from(digits.len().min(6)).expect("at most 6"))
        }
        _ => return None,
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

fn is_day(year: i64, month: i64, day: i64) -> bool {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (1..=length).contains(&day)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar; years are counted from March, so that the leap day
/// comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_instant_is_none() {
        let cases = [
            "",
            "now",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.0000000000Z",
            "2026-01-01T00:00:00",
            "2026-01-00T00:00:00Z",
            "+026-01-01T00:00:00Z",
        ];
        for text in cases {
            assert_eq!(parse_utc(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_instant("2026-01-01T01:00:00+01:00"), parse_instant("2026-01-01T00:00:00Z"));
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_calendar(nanos in 0_i128..253_370_764_800_000_000_000) {
            let instant = Timestamp::from_nanosecond(nanos).unwrap();
            prop_assert_eq!(parse_utc(instant.to_string().as_bytes()), Some(instant.as_microsecond()));
        }
    }
}
