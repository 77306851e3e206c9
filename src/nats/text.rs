//! Texts that servers send, cut to a length: a server may say anything, and any amount of it.

use serde::{Deserialize, Deserializer};

/// The longest text of a server that is kept, in bytes.
const LONGEST_KEPT: usize = 256;

/// Cuts a text to the length that is kept, between two characters.
pub fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_KEPT)]
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
}
