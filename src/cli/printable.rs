//! Text from strangers, made fit for a terminal and for spreadsheets.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Makes control characters, and characters that turn or hide text, visible.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
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

/// Whether a character moves the cursor, turns the direction of text, or cannot be seen.
fn is_treacherous(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Cuts a visible text to a width in terminal columns.
pub(super) fn fit(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let (mut cut, mut used) = (String::new(), 0);
    for character in text.chars() {
        let columns = character.width().unwrap_or(0);
        if used + columns + 1 > width {
            break;
        }
        used += columns;
        cut.push(character);
    }
    cut.push('…');
    Cow::Owned(cut)
}

/// Makes a text inert in a spreadsheet, which would take `=`, `+`, `-` or `@` at its beginning for a formula, some of
/// them in full width too.
pub(super) fn spreadsheet(text: &str) -> Cow<'_, str> {
    let shown = visible(text);
    if shown.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) {
        Cow::Owned(format!("'{shown}"))
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_long_text_is_cut_by_its_width() {
        assert_eq!(fit("orders", 6), "orders");
        assert_eq!(fit("orders-api", 6), "order…");
        assert_eq!(fit("日本語", 4), "日…");
    }

    #[test]
    fn a_formula_is_text() {
        assert_eq!(spreadsheet("=1+1"), "'=1+1");
        assert_eq!(spreadsheet("@x"), "'@x");
        assert_eq!(spreadsheet("＝1+1"), "'＝1+1");
        assert_eq!(spreadsheet("a=1"), "a=1");
    }
}
