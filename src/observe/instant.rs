//! Reading the instants that a server writes, fast: every connection has two.

use jiff::Timestamp;

/// Reads an RFC 3339 instant as microseconds since 1970; `None` for what is not one.
pub fn parse_instant(text: &str) -> Option<i64> {
    parse_utc(text.as_bytes()).or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond))
}

/// The one form Go writes in UTC: `2026-11-23T08:28:32.578773087Z`, with 0 to 9 places behind the point.
fn parse_utc(text: &[u8]) -> Option<i64> {
    let (date_time, fraction) = text.split_first_chunk::<19>()?;
    let [century, _, year, _, _, month, ..] = pairs(date_time.first_chunk()?, b"0000-00-")?;
    let [day, ..] = pairs(date_time[8..].first_chunk()?, b"00T00:00")?;
    let [hour, _, _, minute, _, _, second, _] = pairs(date_time.last_chunk()?, b"00:00:00")?;
    let (year, month, day) = (100 * u32::from(century) + u32::from(year), u32::from(month), u32::from(day));
    if !(1..=12).contains(&month) || !(1..=28).contains(&day) && !is_day(year, month, day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match fraction.strip_suffix(b"Z")? {
        [] => 0,
        [b'.', digits @ ..] => micros(digits)?,
        _ => return None,
    };
    let second_of_day = u32::from(hour) * 3600 + u32::from(minute) * 60 + u32::from(second);
    let seconds = days_since_1970(year, month, day) * 86_400 + i64::from(second_of_day);
    Some(seconds * 1_000_000 + i64::from(micros))
}

/// The digits behind the point as microseconds, what is less cut off.
fn micros(digits: &[u8]) -> Option<u32> {
    // Go leaves zeros at the end out, so that nine of ten have all nine digits
    if let (Some(eight), 8..=9) = (digits.first_chunk(), digits.len()) {
        let [ten_thousands, _, hundreds, _, ones, ..] = pairs(eight, b"00000000")?;
        let last_is_digit = digits.last().is_some_and(u8::is_ascii_digit);
        let micros = 10_000 * u32::from(ten_thousands) + 100 * u32::from(hundreds) + u32::from(ones);
        return last_is_digit.then_some(micros);
    }
    if !(1..=9).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let places = (0..6).map(|at| digits.get(at).map_or(0, |digit| u32::from(digit - b'0')));
    Some(places.fold(0, |sum, digit| sum * 10 + digit))
}

/// The number that each byte makes together with its successor, where all eight have the given shape: a `0` in it
/// stands for a digit, anything else for itself. All bytes at once, as one integer: a branch for each is what costs.
fn pairs(text: &[u8; 8], shape: &[u8; 8]) -> Option<[u8; 8]> {
    // digits become their values and what stands for itself 0; what is more reaches the highest bit of its byte
    let values = u64::from_le_bytes(*text) ^ u64::from_le_bytes(*shape);
    let reach = u64::from_le_bytes(shape.map(|byte| if byte == b'0' { 0x7f - 9 } else { 0x7f }));
    if (values | values.wrapping_add(reach)) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    Some((values * 10 + (values >> 8)).to_le_bytes())
}

fn is_day(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (1..=length).contains(&day)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar; years are counted from March, so that the leap day
/// comes last, and from 400 years before the year 0, so that none is negative.
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    let (year, month) = if month > 2 { (year + 400, month - 3) } else { (year + 399, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    i64::from(365 * year + year / 4 - year / 100 + year / 400 + day_of_year) - 719_468 - 146_097
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

        #[test]
        fn before_1970_it_agrees_too(micros in -62_167_219_200_000_000_i64..0) {
            let instant = Timestamp::from_microsecond(micros).unwrap();
            prop_assert_eq!(parse_utc(instant.to_string().as_bytes()), Some(micros));
        }

        #[test]
        fn with_another_byte_somewhere_it_agrees_or_is_none(
            nanos in 0_i128..253_370_764_800_000_000_000,
            places in 0..10usize,
            at in 0..30usize,
            byte in any::<u8>(),
        ) {
            let instant = Timestamp::from_nanosecond(nanos).unwrap();
            let mut text = format!("{instant:.places$}").into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Some(micros) = parse_utc(&text) {
                let read: Timestamp = str::from_utf8(&text).unwrap().parse().unwrap();
                // what is less than a microsecond is cut off, before 1970 too: jiff rounds towards 1970
                let expected = read.as_nanosecond().div_euclid(1000);
                prop_assert_eq!(i128::from(micros), expected, "{:?}", text);
            }
        }
    }
}
