//! Text from strangers, made to fit a terminal, and made inert in spreadsheets.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::model::printable::visible;

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

/// Breaks a visible text into lines of at most so many terminal columns: between words, and within those that are longer.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split(' ') {
        if used > 0 && used + 1 + word.width() <= width {
            line.push(' ');
            used += 1;
        } else if used > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        for character in word.chars() {
            let columns = character.width().unwrap_or(0);
            if used > 0 && used + columns > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(character);
            used += columns;
        }
    }
    lines.push(line);
    lines
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
    fn a_long_text_is_cut_by_its_width() {
        assert_eq!(fit("orders", 6), "orders");
        assert_eq!(fit("orders-api", 6), "order…");
        assert_eq!(fit("日本語", 4), "日…");
    }

    #[test]
    fn a_long_text_is_wrapped_between_words_where_it_can_be() {
        assert_eq!(wrap("orders are many", 20), ["orders are many"]);
        assert_eq!(wrap("orders are many", 10), ["orders are", "many"]);
        assert_eq!(wrap("an orders-api-7d9f", 8), ["an", "orders-a", "pi-7d9f"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("ab", 0), ["a", "b"]);
    }

    #[test]
    fn a_formula_is_text() {
        assert_eq!(spreadsheet("=1+1"), "'=1+1");
        assert_eq!(spreadsheet("@x"), "'@x");
        assert_eq!(spreadsheet("＝1+1"), "'＝1+1");
        assert_eq!(spreadsheet("a=1"), "a=1");
    }
}
