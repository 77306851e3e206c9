//! Words: names, spans and rates as a tired person reads them.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::printable::with_commas;

/// How many names a sentence lists.
const MOST_NAMES: usize = 3;

/// Lists names, the first few of many: `n1`, `n1 and n2`, `n1, n2, n3 and 4 more`.
pub(super) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [name] => (*name).to_owned(),
        [first @ .., last] if names.len() <= MOST_NAMES => format!("{} and {last}", first.join(", ")),
        _ => format!("{} and {} more", names[..MOST_NAMES].join(", "), names.len() - MOST_NAMES),
    }
}

/// Lists the servers that something holds for, of `all` that were seen.
pub(super) fn whose<S: AsRef<str>>(servers: &[S], all: usize) -> String {
    if servers.len() == all && all > 1 { format!("all {all} servers") } else { list(servers) }
}

/// How long it is from one instant to another; nothing if the other comes first.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

/// A number without decimals; small ones with one.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size > 0.0 && size < 9.95 && (size - size.round()).abs() >= 0.05 => format!("{value:.1}"),
        // a float that is too large becomes the largest number
        size if value < 0.0 => format!("-{}", with_commas(size.round() as u64)),
        size => with_commas(size.round() as u64),
    }
}

/// How often something happens, in the unit in which that is a number one can imagine.
pub(super) fn rate(per_minute: f64) -> String {
    let units = [(1.0, "a minute"), (60.0, "an hour"), (1440.0, "a day")];
    let (factor, unit) =
        units.into_iter().find(|(factor, _)| per_minute.abs() * factor >= 1.0).unwrap_or(units[2]);
    format!("{} {unit}", number(per_minute * factor))
}

/// An instant to the minute.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// The time of day of an instant on the day of `now`, else with its date.
pub(super) fn time(at: Timestamp, now: Timestamp) -> String {
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    if day(at) == day(now) { at.strftime("%H:%M UTC").to_string() } else { moment(at) }
}

/// A number of things, with the word for one of them and the word for more.
pub(super) fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", with_commas(count), if count == 1 { one } else { more })
}

/// Begins a sentence with a capital letter.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_short() {
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(list(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
        assert_eq!(whose(&["a", "b"], 2), "all 2 servers");
        assert_eq!(whose(&["a", "b"], 3), "a and b");
        assert_eq!(whose(&["a"], 1), "a");
    }

    #[test]
    fn rates_can_be_imagined() {
        assert_eq!(rate(1_234.4), "1,234 a minute");
        assert_eq!(rate(0.5), "30 an hour");
        assert_eq!(rate(0.001), "1.4 a day");
        assert_eq!(rate(-2.5), "-2.5 a minute");
        assert_eq!(rate(0.0), "0 a day");
    }
}
