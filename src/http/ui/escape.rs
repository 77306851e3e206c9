//! How text comes into a page: without markup, and with everything visible that could deceive the eye.

use std::fmt::{self, Write};

use askama::filters::{Escaper, Html};

use crate::model::printable::visible;

/// Escapes markup, and makes control characters and characters that turn or hide text visible. `askama.toml` makes
/// it the escaper of every template.
#[derive(Debug, Clone, Copy)]
pub struct Visible;

impl Escaper for Visible {
    fn write_escaped_str<W: Write>(&self, dest: W, text: &str) -> fmt::Result {
        Html.write_escaped_str(dest, &visible(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_inert_and_tricks_are_seen() {
        let cases = [
            ("größe & 日本", "größe &#38; 日本"),
            ("<b title=\"'\">", "&#60;b title=&#34;&#39;&#34;&#62;"),
            ("a\u{202e}b\u{1b}[2J\n", "a\\u{202e}b\\u{1b}[2J\\n"),
        ];
        for (text, shown) in cases {
            let mut page = String::new();
            Visible.write_escaped_str(&mut page, text).unwrap();
            assert_eq!(page, shown);
        }
    }
}
