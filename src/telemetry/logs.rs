//! Logs: lines on standard error, for people or for machines.
//!
//! What strangers send may end up in a line. Whatever it is, a line stays a line of plain text: see `Inert`.

use std::borrow::Cow;
use std::io::Write;

use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to write log lines that pass `filter` (a level, or tracing's filter directives).
///
/// # Errors
///
/// The filter cannot be read, or logging has begun already.
pub fn start(filter: &str, style: LogStyle) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::builder().parse(with_quiet_client(filter))?;
    let writer = move || Inert { style, to: std::io::stderr() };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match style {
        LogStyle::Text => lines.with_ansi(false).try_init(),
        LogStyle::Json => lines.json().flatten_event(true).try_init(),
    }
}

/// Adds that the NATS client says nothing, unless the filter is about it: what it says we say in our words, and once.
fn with_quiet_client(filter: &str) -> String {
    if filter.contains("async_nats") { filter.to_owned() } else { format!("{filter},async_nats=off") }
}

/// Writes lines, and escapes in each of them every character that moves the cursor, turns the direction of text or
/// cannot be seen. (tracing-subscriber escapes some of them in some places. There are no colours: they could not be told
/// from those of a stranger.)
struct Inert<W> {
    style: LogStyle,
    to: W,
}

impl<W: Write> Write for Inert<W> {
    /// Takes one line at a time, as tracing-subscriber writes them.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        // nearly every line; that of each notification is written while its sender waits
        if line.strip_suffix(b"\n").unwrap_or(line).iter().all(|byte| matches!(byte, b' '..=b'~')) {
            self.to.write_all(line)?;
            return Ok(line.len());
        }
        let text = String::from_utf8_lossy(line);
        let (text, end) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
        self.to.write_all(format!("{}{end}", inert(text, self.style)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

fn inert(text: &str, style: LogStyle) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match style {
            _ if is_plain(character) => shown.push(character),
            LogStyle::Text => shown.extend(character.escape_debug()),
            LogStyle::Json => {
                let mut units = [0; 2];
                let units = character.encode_utf16(&mut units).iter();
                units.for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
            }
        }
    }
    Cow::Owned(shown)
}

/// Whether a character is text that can be seen, by Rust's tables.
fn is_plain(character: char) -> bool {
    matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const HOSTILE: &str = "a\u{1b}[31mb\r\nc\u{202e}d\u{9b}e\u{7f}f\u{e0041}\t\"größe\" \\ 日本";

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written of an event in a span, both of which hold a text from a stranger.
    fn logged(style: LogStyle) -> String {
        let lines = Lines::default();
        let to = lines.clone();
        let writer = move || Inert { style, to: to.clone() };
        let subscriber = tracing_subscriber::fmt().without_time().with_writer(writer).with_ansi(false);
        let log = || {
            let _span = tracing::info_span!("request", path = HOSTILE, user = %HOSTILE).entered();
            tracing::info!(name = HOSTILE, of = %HOSTILE, all = ?HOSTILE, "saw {HOSTILE}");
        };
        match style {
            LogStyle::Text => tracing::subscriber::with_default(subscriber.finish(), log),
            LogStyle::Json => {
                tracing::subscriber::with_default(subscriber.json().flatten_event(true).finish(), log);
            }
        }
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_for_people_holds_nothing_but_plain_text() {
        let line = logged(LogStyle::Text);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.trim_end().chars().all(is_plain), "{line:?}");
        assert!(line.contains("größe") && line.contains("日本") && line.contains("\\u{202e}"), "{line}");
    }

    #[test]
    fn a_line_for_machines_says_exactly_what_was_logged() {
        let line = logged(LogStyle::Json);
        assert!(line.trim_end().chars().all(is_plain), "{line:?}");
        let document: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(document["name"], HOSTILE);
        assert_eq!(document["of"], HOSTILE);
        assert_eq!(document["message"], format!("saw {HOSTILE}"));
        assert_eq!(document["span"]["path"], HOSTILE);
    }
}
