//! One line of a log: when it was written, and what it says.
//!
//! nats-server writes `[pid] 2026/11/24 09:00:00.123456 [INF] text`, without the time where `logtime` is off, with colours on
//! a terminal, in the time of its own zone unless `logtime_utc` is on, and never says which. Whatever runs it may wrap each line:
//! Docker as JSON, Kubernetes (CRI) with a time and a stream before it. The time of a wrapper has a zone, so it counts.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::Deserialize;

/// One line, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line<'a> {
    /// When it was written, by the clock and in the zone of the server, as far as it says.
    pub(super) time: Option<DateTime>,
    /// `INF`, `WRN`, `ERR`, `DBG`, `TRC`, `FTL`; empty of a line that goes on.
    pub(super) level: &'a str,
    /// What is behind the level.
    pub(super) text: &'a str,
}

/// What Docker wraps a line in.
#[derive(Deserialize)]
struct DockerLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    time: Option<Timestamp>,
}

/// Takes the wrapper off a line that has one; the time is the wrapper's.
pub(super) fn without_wrapper(line: &str) -> (Option<Timestamp>, Cow<'_, str>) {
    if line.starts_with('{')
        && let Ok(DockerLine { log, time }) = serde_json::from_str(line)
    {
        return (time, log);
    }
    if let Some((time, text)) = of_container(line) {
        return (Some(time), Cow::Borrowed(text));
    }
    (None, Cow::Borrowed(line))
}

/// `2026-11-24T09:00:00.123456789Z stderr F text`
fn of_container(line: &str) -> Option<(Timestamp, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let rest = rest.strip_prefix("stderr ").or_else(|| rest.strip_prefix("stdout "))?;
    let text = rest.strip_prefix("F ").or_else(|| rest.strip_prefix("P "))?;
    Some((time.parse().ok()?, text))
}

/// Takes the colours of a terminal out of a line.
pub(super) fn without_colours(line: &str) -> Cow<'_, str> {
    if !line.contains('\u{1b}') {
        return Cow::Borrowed(line);
    }
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, behind)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        let coloured = behind.strip_prefix('[').and_then(|codes| {
            let end = codes.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            codes[end..].strip_prefix('m')
        });
        rest = coloured.unwrap_or(behind);
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

impl<'a> Line<'a> {
    /// Takes a line apart that is in no wrapper any more.
    pub(super) fn read(line: &'a str) -> Self {
        let whole = line.trim_end_matches(['\r', '\n']);
        let rest = after_pid(whole);
        let (time, rest) = match after_time(rest) {
            Some((time, rest)) => (Some(time), rest),
            None => (None, rest),
        };
        match after_level(rest) {
            Some((level, text)) => Self { time, level, text },
            None => Self { time: None, level: "", text: whole },
        }
    }

    /// What the server says, without whom it says it of: the address, the id, and in quotes what the client calls itself.
    pub(super) fn statement(&self) -> &'a str {
        after_client(self.text).unwrap_or(self.text)
    }
}

fn after_pid(line: &str) -> &str {
    let behind = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match behind {
        Some((pid, rest)) if !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => line,
    }
}

/// `2026/11/24 09:00:00.123456 `
fn after_time(line: &str) -> Option<(DateTime, &str)> {
    const LENGTH: usize = "2026/11/24 09:00:00.123456".len();

    let time = line.get(..LENGTH)?;
    let rest = line.get(LENGTH..)?.strip_prefix(' ')?;
    let number = |range: std::ops::Range<usize>| -> Option<i16> {
        let digits = time.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let small = |range| i8::try_from(number(range)?).ok();
    let micros: i32 = time.get(20..26)?.parse().ok()?;
    let marks = [(4, b'/'), (7, b'/'), (10, b' '), (13, b':'), (16, b':'), (19, b'.')];
    if marks.iter().any(|(place, mark)| time.as_bytes()[*place] != *mark) {
        return None;
    }
    let date = jiff::civil::Date::new(number(0..4)?, small(5..7)?, small(8..10)?).ok()?;
    let clock = jiff::civil::Time::new(small(11..13)?, small(14..16)?, small(17..19)?, micros * 1000).ok()?;
    Some((DateTime::from_parts(date, clock), rest))
}

fn after_level(line: &str) -> Option<(&str, &str)> {
    let (level, text) = line.strip_prefix('[')?.split_once("] ")?;
    matches!(level, "INF" | "WRN" | "ERR" | "DBG" | "TRC" | "FTL").then_some((level, text))
}

/// `127.0.0.1:4711 - cid:7 - "v1:go:name" - "APP/user:alice" - `, where what is in quotes may be missing.
fn after_client(text: &str) -> Option<&str> {
    let (address, rest) = text.split_once(" - ")?;
    let (id, mut rest) = rest.split_once(" - ")?;
    let (kind, number) = id.split_once(':')?;
    let is_kind = matches!(kind, "cid" | "wid" | "mid" | "mid_ws" | "rid" | "gid" | "lid" | "lid_ws");
    if !is_kind || number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) || address.contains(' ') {
        return None;
    }
    while let Some(quoted) = rest.strip_prefix('"') {
        let end = end_of_quoted(quoted)?;
        rest = quoted[end + 1..].strip_prefix(" - ")?;
    }
    Some(rest)
}

/// Where the closing quote is, in what Go quotes: a backslash escapes.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> Option<DateTime> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn lines_of_the_server_are_taken_apart() {
        let full = Line::read("[622] 2026/11/23 08:34:09.491764 [INF] Reloaded: max_connections = 300\r\n");
        let expected = Line {
            time: local("2026-11-23T08:34:09.491764"),
            level: "INF",
            text: "Reloaded: max_connections = 300",
        };
        assert_eq!(full, expected);
        let bare = Line { time: None, ..expected.clone() };
        assert_eq!(Line::read("[622] [INF] Reloaded: max_connections = 300"), bare);
        assert_eq!(Line::read("[INF] Reloaded: max_connections = 300"), bare);
        let no_pid = "2026/11/23 08:34:09.491764 [INF] Reloaded: max_connections = 300";
        assert_eq!(Line::read(no_pid), expected);
        let coloured =
            "[622] 2026/11/23 08:34:09.491764 [\u{1b}[32mINF\u{1b}[0m] Reloaded: max_connections = 300";
        assert_eq!(Line::read(&without_colours(coloured)), expected);
    }

    #[test]
    fn what_is_no_line_of_the_server_is_text() {
        for line in [
            "",
            "[",
            "[]",
            "[x] [INF] a",
            "[1] 2026/13/23 08:34:09.491764 [INF] a",
            "goroutine 1 [running]:",
            "é",
        ] {
            let read = Line::read(line);
            assert_eq!((read.time, read.level, read.text), (None, "", line), "{line}");
        }
    }

    #[test]
    fn wrappers_are_taken_off_and_their_time_counts() {
        let at: Timestamp = "2026-11-24T09:00:00.5Z".parse().unwrap();
        let text = "[1] 2026/11/24 10:00:00.500000 [INF] a \"b\"";
        let docker = format!(
            r#"{{"log":"{}\n","stream":"stderr","time":"2026-11-24T09:00:00.5Z"}}"#,
            text.replace('"', "\\\"")
        );
        assert_eq!(without_wrapper(&docker), (Some(at), Cow::Owned(format!("{text}\n"))));
        let kubernetes = format!("2026-11-24T10:00:00.5+01:00 stderr F {text}");
        assert_eq!(without_wrapper(&kubernetes), (Some(at), Cow::Borrowed(text)));
        for bare in [text, "{\"a\":1}", "2026-11-24T09:00:00Z stderr text", "x stderr F a"] {
            assert_eq!(without_wrapper(bare), (None, Cow::Borrowed(bare)));
        }
    }

    #[test]
    fn what_a_client_calls_itself_is_not_what_the_server_says() {
        let cases = [
            ("127.0.0.1:1 - cid:7 - text", "text"),
            ("127.0.0.1:1 - cid:7 - \"v1:go:name\" - text - \"x\"", "text - \"x\""),
            ("[::1]:1 - wid:7 - \"v1\" - \"APP/user:alice\" - text", "text"),
            (r#"10.0.0.1:1 - cid:7 - "a\" - maximum connections exceeded" - text"#, "text"),
            (r#"10.0.0.1:1 - cid:7 - "a\\" - text"#, "text"),
            ("10.0.0.1:1 - lid_ws:7 - text", "text"),
            ("Server Exiting..", "Server Exiting.."),
            ("a - b - c", "a - b - c"),
            ("10.0.0.1:1 - cid:x - text", "10.0.0.1:1 - cid:x - text"),
            (r#"10.0.0.1:1 - cid:7 - "open"#, r#"10.0.0.1:1 - cid:7 - "open"#),
        ];
        for (text, statement) in cases {
            assert_eq!(Line { time: None, level: "ERR", text }.statement(), statement);
        }
    }

    #[test]
    fn escapes_that_are_no_colour_stay_harmless() {
        assert_eq!(without_colours("a\u{1b}[31;1mb\u{1b}[0m"), "ab");
        assert_eq!(without_colours("a\u{1b}[2Jb"), "a[2Jb");
        assert_eq!(without_colours("a\u{1b}"), "a");
    }
}
