//! Markdown: text from strangers that stays text, in CommonMark and in what GitHub, GitLab and the like add to it.
//!
//! Nothing becomes markup, a link, a cell of a table or a line of its own, and nobody is called by a name with an `@`.

use std::fmt::Write;

use crate::model::printable::visible;

/// The shortest fence around a block of code.
const SHORTEST_FENCE: usize = 3;

/// A text as part of a line, or of a cell of a table.
pub fn inline(text: &str) -> String {
    let text = visible(text);
    let text = text.trim();
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    let mut line = String::with_capacity(text.len() + 16);
    for (place, character) in text.char_indices() {
        let (before, after) = (&text[..place], &text[place + character.len_utf8()..]);
        let is_special = match character {
            '\\' | '`' | '*' | '[' | ']' | '~' | '$' => true,
            // within a word it emphasises nothing
            '_' => !(before.ends_with(is_word) && after.starts_with(is_word)),
            // what begins a heading or an item of a list
            '#' | '+' | '-' | '=' => before.is_empty(),
            ')' => is_number(before),
            // what begins one, or makes a link of an address
            '.' => is_number(before) || ends_with_www(before),
            ':' => after.starts_with("//"),
            _ => false,
        };
        match character {
            '&' => line.push_str("&amp;"),
            '<' => line.push_str("&lt;"),
            '>' => line.push_str("&gt;"),
            // a backslash before it is a backslash to some who take tables apart
            '|' => line.push_str("&#124;"),
            // as code nobody is called by it, and it makes no link of an address
            '@' => line.push_str("`@`"),
            character => {
                if is_special {
                    line.push('\\');
                }
                line.push(character);
            }
        }
    }
    line
}

/// A name as code, in a line or in a cell of a table.
pub fn code(text: &str) -> String {
    let shown = visible(text);
    // it ends a cell of a table in code too
    if shown.contains('|') || shown.trim().is_empty() {
        return inline(text);
    }
    let fence = "`".repeat(longest_run(&shown) + 1);
    let pad = if shown.starts_with(['`', ' ']) || shown.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{pad}{shown}{pad}{fence}")
}

/// A text of several lines as a block of code; `language` is one of ours.
pub fn block(text: &str, language: &str) -> String {
    let lines: Vec<_> = text.lines().map(visible).collect();
    let longest = lines.iter().map(|line| longest_run(line)).max().unwrap_or(0);
    let fence = "`".repeat(SHORTEST_FENCE.max(longest + 1));
    let mut block = format!("{fence}{language}\n");
    for line in lines {
        let _ = writeln!(block, "{line}");
    }
    block + &fence + "\n"
}

/// A text of several lines within an item of a list.
pub fn item(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let lines: Vec<String> = lines.map(inline).collect();
    if lines.is_empty() { inline("") } else { lines.join("\\\n  ") }
}

/// How many backticks there are in a row, at the most.
fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn ends_with_www(text: &str) -> bool {
    text.len() >= 3
        && text.is_char_boundary(text.len() - 3)
        && text[text.len() - 3..].eq_ignore_ascii_case("www")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let cases = [
            ("orders-api has 2,940 of 3,100 (97 %).", "orders-api has 2,940 of 3,100 (97 %)."),
            ("report_worker _x_ *y* ~~z~~", r"report_worker \_x\_ \*y\* \~\~z\~\~"),
            ("a|b\\|c", r"a&#124;b\\&#124;c"),
            ("<script>&amp;", "&lt;script&gt;&amp;amp;"),
            ("![x](http://evil.example)", r"!\[x\](http\://evil.example)"),
            ("WWW.evil.example, www.x", r"WWW\.evil.example, www\.x"),
            ("@channel ops@evil.example", "`@`channel ops`@`evil.example"),
            ("`code` $x$", r"\`code\` \$x\$"),
            ("# heading", r"\# heading"),
            ("- item", r"\- item"),
            ("1. item", r"1\. item"),
            ("12) item", r"12\) item"),
            ("a\n# b\r\u{202e}c", r"a\\n# b\\r\\u{202e}c"),
            ("    code", "code"),
            ("", "(empty)"),
        ];
        for (text, shown) in cases {
            assert_eq!(inline(text), shown);
        }
    }

    #[test]
    fn a_name_stays_in_its_code() {
        let cases = [
            ("orders-api", "`orders-api`"),
            ("a`b``c", "```a`b``c```"),
            ("`", "`` ` ``"),
            (" a", "`  a `"),
            ("a|`b`", r"a&#124;\`b\`"),
            ("a\nb", r"`a\nb`"),
            ("", "(empty)"),
        ];
        for (text, shown) in cases {
            assert_eq!(code(text), shown);
        }
    }

    #[test]
    fn a_block_ends_where_its_text_ends() {
        assert_eq!(block("a\nb", "sh"), "```sh\na\nb\n```\n");
        assert_eq!(block("```\n# x\u{1b}[2J", ""), "````\n```\n# x\\u{1b}[2J\n````\n");
    }

    #[test]
    fn what_people_wrote_keeps_its_lines() {
        assert_eq!(item("one\r\n\n# two"), "one\\\n  \\# two");
        assert_eq!(item("\n"), "(empty)");
    }
}
