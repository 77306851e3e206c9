//! Texts that servers send, cut to a length: a server may say anything, and any amount of it.

use serde::{Deserialize, Deserializer};

use crate::model::printable::visible;

/// The longest text of a server that is kept, in bytes.
const LONGEST_KEPT: usize = 256;

/// The longest text of a server that an error repeats, in characters.
const LONGEST_REPEATED: usize = 200;

/// Cuts a text to the length that is kept, between two characters.
pub fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_KEPT)]
}

/// What an error, an entry or the log repeats of a text: one short line in which nothing is hidden.
pub fn excerpt(text: &str) -> String {
    let mut characters = text.chars();
    let kept: String = characters.by_ref().take(LONGEST_REPEATED).collect();
    let mut excerpt = visible(&kept).into_owned();
    if characters.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// Reads a text and cuts it to the length that is kept.
pub(super) fn clipped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let mut text = String::deserialize(deserializer)?;
    text.truncate(clip(&text).len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_two_characters() {
        assert_eq!(clip("nats-1"), "nats-1");
        assert_eq!(clip(&"€".repeat(100)), "€".repeat(85));
    }

    #[test]
    fn what_a_stranger_says_is_one_short_line() {
        assert_eq!(excerpt("nats-1"), "nats-1");
        assert_eq!(excerpt("a\nlevel=info b\u{1b}[2J"), r"a\nlevel=info b\u{1b}[2J");
        assert_eq!(excerpt(&"x".repeat(200)), "x".repeat(200));
        assert_eq!(excerpt(&"é".repeat(1 << 20)), format!("{}…", "é".repeat(200)));
    }
}
