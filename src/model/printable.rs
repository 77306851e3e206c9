//! What people are shown: text from strangers made visible, and counts, ages, sizes and shares made readable.

use std::borrow::Cow;
use std::error::Error;

use jiff::{Timestamp, Unit};

/// The longest text of a stranger that an error, an entry or the log repeats, in characters.
const LONGEST_REPEATED: usize = 200;

/// Makes control characters, and characters that turn or hide text, visible.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_treacherous) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            character if is_treacherous(character) => shown.extend(character.escape_unicode()),
            character => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// What an error, an entry or the log repeats of a stranger's text: one short line in which nothing is hidden.
pub fn excerpt(text: &str) -> String {
    let mut characters = text.chars();
    let kept: String = characters.by_ref().take(LONGEST_REPEATED).collect();
    let mut excerpt = visible(&kept).into_owned();
    if characters.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// An error and everything behind it, in one line.
pub fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

/// Whether a character moves the cursor, turns the direction of text, or cannot be seen.
fn is_treacherous(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{e0000}'..='\u{e007f}')
}

/// How long ago an instant was, in its largest unit.
pub fn age(instant: Option<Timestamp>, now: Timestamp) -> String {
    let Some(instant) = instant else { return "-".to_owned() };
    let seconds = now.since((Unit::Second, instant)).map_or(0, |span| span.get_seconds()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Writes how long something took, in its two largest units.
pub fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Writes a size with a unit.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return bytes.to_string();
    }
    let mut size = bytes as f64;
    let mut unit = "";
    for next in UNITS {
        if size < 1000.0 {
            break;
        }
        size /= 1000.0;
        unit = next;
    }
    format!("{size:.1} {unit}")
}

/// Writes a count with commas between thousands.
pub fn with_commas(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes the limit of a server. What 0 and below mean depends on its version, so it is not guessed.
pub fn limit(max_connections: i64) -> String {
    match u64::try_from(max_connections) {
        Ok(limit) if limit > 0 => with_commas(limit),
        _ => format!("{max_connections} (see docs)"),
    }
}

/// Writes a share from 0 to 1 as a percentage with one decimal, if there is one: `97 %`, `94.8 %`. What is not all is never
/// `100 %`, and what is not nothing never `0 %`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.1 {
        return "< 0.1 %".to_owned();
    }
    if percent > 99.9 && percent < 100.0 {
        return "> 99.9 %".to_owned();
    }
    let digits = format!("{percent:.1}");
    format!("{} %", digits.strip_suffix(".0").unwrap_or(&digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_all_is_not_told_as_all_and_what_is_something_not_as_nothing() {
        let shares = [0.0, 0.0009, 0.001, 0.5, 0.948, 0.9996, 1.0, 1.6];
        let told = shares.map(percent);
        assert_eq!(told, ["0 %", "< 0.1 %", "0.1 %", "50 %", "94.8 %", "> 99.9 %", "100 %", "160 %"]);
    }

    #[test]
    fn what_could_deceive_is_made_visible() {
        let cases = [
            ("orders-api", "orders-api"),
            ("größe 日本", "größe 日本"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{9b}31m", "\\u{9b}31m"),
        ];
        for (text, shown) in cases {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn what_a_stranger_says_is_one_short_line() {
        assert_eq!(excerpt("nats-1"), "nats-1");
        assert_eq!(excerpt("a\nlevel=info b\u{1b}[2J"), r"a\nlevel=info b\u{1b}[2J");
        assert_eq!(excerpt(&"x".repeat(200)), "x".repeat(200));
        assert_eq!(excerpt(&"é".repeat(1 << 20)), format!("{}…", "é".repeat(200)));
    }

    #[test]
    fn thousands_are_set_apart() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (19_800, "19,800"), (1_234_567, "1,234,567")];
        for (count, text) in cases {
            assert_eq!(with_commas(count), text);
        }
    }

    #[test]
    fn a_limit_whose_meaning_depends_on_the_version_is_not_guessed() {
        assert_eq!(limit(65_536), "65,536");
        assert_eq!(limit(0), "0 (see docs)");
        assert_eq!(limit(-1), "-1 (see docs)");
    }

    #[test]
    fn a_span_has_two_units() {
        let cases = [
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3725, "1 h 2 min"),
            (90_000, "1 d 1 h"),
            (86_399, "23 h 59 min"),
        ];
        for (seconds, text) in cases {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn ages_and_sizes_are_short() {
        let now: Timestamp = "2026-01-05T09:00:00Z".parse().unwrap();
        let ago = |text: &str| age(Some(text.parse().unwrap()), now);
        assert_eq!(ago("2026-01-05T08:59:30Z"), "30s");
        assert_eq!(ago("2026-01-05T07:00:00Z"), "2h");
        assert_eq!(ago("2026-01-01T07:00:00Z"), "4d");
        assert_eq!(ago("2027-01-01T07:00:00Z"), "0s");
        assert_eq!(age(None, now), "-");
        assert_eq!(size(999), "999");
        assert_eq!(size(1_500_000), "1.5 MB");
        assert_eq!(size(u64::MAX), "18.4 EB");
    }
}
