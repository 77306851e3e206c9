//! Texts that servers send, cut to a length: a server may say anything, and any amount of it.

use serde::{Deserialize, Deserializer};

/// The longest text of a server that is kept, in bytes.
const LONGEST_KEPT: usize = 256;

/// The longest text of a server that an error repeats, in characters.
const LONGEST_QUOTED: usize = 200;

/// Cuts a text to the length that is kept, between two characters.
pub fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_KEPT)]
}

/// What an error repeats of a text: one short line without control characters.
pub(super) fn quote(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LONGEST_QUOTED).collect()
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
        assert_eq!(quote(&format!("\u{1b}[2J{}", "ü".repeat(300))), format!("[2J{}", "ü".repeat(197)));
    }
}
