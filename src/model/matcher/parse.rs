//! The parser of the matcher syntax.

use super::{Matcher, Operator, is_reserved};

/// Says what is wrong with the text of some matchers, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct InvalidMatchers {
    /// The column of the text, counted in characters from 1.
    pub column: usize,
    /// What is wrong, with a hint where there is one.
    pub message: String,
}

/// Reads `text` as matchers separated by commas, in optional braces.
pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, InvalidMatchers> {
    let mut cursor = Cursor { text, position: 0 };
    let mut matchers = Vec::new();
    let braces = cursor.take('{');

    loop {
        let at_end = match cursor.peek() {
            None => true,
            Some('}') if braces => true,
            Some(_) => false,
        };
        if at_end {
            break;
        }
        matchers.push(cursor.matcher()?);
        if !cursor.take(',') {
            break;
        }
    }

    match (braces, cursor.peek()) {
        (true, Some('}')) => {
            cursor.take('}');
            match cursor.peek() {
                None => Ok(matchers),
                Some(c) => Err(cursor.error(format!("unexpected {} after the closing brace", quoted(c)))),
            }
        }
        (true, None) => Err(cursor.error("missing closing brace `}`")),
        (false, None) => Ok(matchers),
        (false, Some('}')) => Err(cursor.error("closing brace `}` without an opening one")),
        (_, Some(c)) => Err(cursor.error(cursor.unexpected_after_value(c))),
    }
}

struct Cursor<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    /// Looks at the next character that is not white space, and moves up to it.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        let trimmed = rest.trim_start();
        self.position += rest.len() - trimmed.len();
        trimmed.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.position += wanted.len_utf8();
        }
        found
    }

    fn matcher(&mut self) -> Result<Matcher, InvalidMatchers> {
        let name = match self.peek() {
            Some('"') => {
                let start = self.position;
                let name = self.quoted()?;
                if name.is_empty() {
                    return Err(self.error_at(start, "a label name cannot be empty"));
                }
                name
            }
            Some(c) if !is_reserved(c) => self.unquoted().to_owned(),
            Some(c) => {
                return Err(self.error(format!("expected a label name, found {}", quoted(c))));
            }
            None => return Err(self.error("expected a label name")),
        };
        let operator = self.operator(&name)?;
        self.peek();
        let value_at = self.position;
        let value = self.value(operator)?;
        Matcher::new(&name, operator, &value).map_err(|error| self.error_at(value_at, regex_message(&error)))
    }

    fn operator(&mut self, name: &str) -> Result<Operator, InvalidMatchers> {
        self.peek();
        for operator in [Operator::Regex, Operator::NotRegex, Operator::NotEqual, Operator::Equal] {
            if self.rest().starts_with(operator.as_str()) {
                let start = self.position;
                self.position += operator.as_str().len();
                if operator == Operator::Equal && self.rest().starts_with('=') {
                    return Err(self.error_at(start, "`==` is not an operator, write `=`"));
                }
                return Ok(operator);
            }
        }
        Err(self.error(format!("expected `=`, `!=`, `=~` or `!~` after the label name `{name}`")))
    }

    fn value(&mut self, operator: Operator) -> Result<String, InvalidMatchers> {
        match self.peek() {
            Some('"') => self.quoted(),
            Some(c) if !is_reserved(c) => Ok(unescaped(self.unquoted())),
            Some('\'' | '`') => Err(self.error("values are quoted with double quotes")),
            _ => {
                let written = operator.as_str();
                Err(self.error(format!(
                    "expected a value after `{written}`, write `{written}\"\"` for the empty value"
                )))
            }
        }
    }

    fn unquoted(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(is_reserved).unwrap_or(rest.len());
        self.position += end;
        &rest[..end]
    }

    /// Reads a text in double quotes; the cursor stands on the opening one.
    fn quoted(&mut self) -> Result<String, InvalidMatchers> {
        let start = self.position;
        let inner = &self.rest()[1..];
        let mut escaped = false;
        for (i, c) in inner.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    self.position += i + 2;
                    return Ok(unescaped(&inner[..i]));
                }
                _ => {}
            }
        }
        Err(self.error_at(start, "missing closing quote"))
    }

    fn unexpected_after_value(&self, c: char) -> String {
        let hint = if is_reserved(c) { "quote the value" } else { "separate matchers or quote the value" };
        format!("expected a comma after the value, found {}: {hint}", quoted(c))
    }

    fn error(&self, message: impl Into<String>) -> InvalidMatchers {
        self.error_at(self.position, message)
    }

    fn error_at(&self, position: usize, message: impl Into<String>) -> InvalidMatchers {
        let column = self.text[..position].chars().count() + 1;
        InvalidMatchers { column, message: message.into() }
    }
}

/// Resolves the three escapes; any other backslash stands for itself.
fn unescaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            result.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => result.push('\n'),
            Some(c @ ('\\' | '"')) => result.push(c),
            Some(other) => result.extend(['\\', other]),
            None => result.push('\\'),
        }
    }
    result
}

fn quoted(c: char) -> String {
    if c == '`' { "a backtick".to_owned() } else { format!("`{c}`") }
}

/// Says in one line what a regular expression's error says in several.
fn regex_message(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "regular expression is too large".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("invalid regular expression: {}", last.trim_start_matches("error: "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_explained_with_their_column() {
        let huge = format!("a=~\"{}\"", "x{1000}".repeat(200));
        let report: Vec<String> = [
            "=b",
            "a",
            "a b",
            "a~b",
            "a==b",
            "a=",
            "a=,b=c",
            "a='b'",
            "a=b c=d",
            "a=~b{2}",
            "a=b=c",
            r#"a="b"#,
            r#""a="#,
            r#"""="b""#,
            "{a=b",
            "a=b}",
            "{a=b} c",
            ",a=b",
            "a=b,,c=d",
            r#"ラ="値", b=~"(""#,
            r#"a=~"x)|(y""#,
            &huge,
        ]
        .into_iter()
        .map(|text| {
            let shown = if text.len() > 40 { "(a huge one)" } else { text };
            format!("{shown}  →  {}", parse(text).unwrap_err())
        })
        .collect();

        insta::assert_snapshot!(report.join("\n"), @r#"
        =b  →  column 1: expected a label name, found `=`
        a  →  column 2: expected `=`, `!=`, `=~` or `!~` after the label name `a`
        a b  →  column 3: expected `=`, `!=`, `=~` or `!~` after the label name `a`
        a~b  →  column 2: expected `=`, `!=`, `=~` or `!~` after the label name `a`
        a==b  →  column 2: `==` is not an operator, write `=`
        a=  →  column 3: expected a value after `=`, write `=""` for the empty value
        a=,b=c  →  column 3: expected a value after `=`, write `=""` for the empty value
        a='b'  →  column 3: values are quoted with double quotes
        a=b c=d  →  column 5: expected a comma after the value, found `c`: separate matchers or quote the value
        a=~b{2}  →  column 5: expected a comma after the value, found `{`: quote the value
        a=b=c  →  column 4: expected a comma after the value, found `=`: quote the value
        a="b  →  column 3: missing closing quote
        "a=  →  column 1: missing closing quote
        ""="b"  →  column 1: a label name cannot be empty
        {a=b  →  column 5: missing closing brace `}`
        a=b}  →  column 4: closing brace `}` without an opening one
        {a=b} c  →  column 7: unexpected `c` after the closing brace
        ,a=b  →  column 1: expected a label name, found `,`
        a=b,,c=d  →  column 5: expected a label name, found `,`
        ラ="値", b=~"("  →  column 11: invalid regular expression: unclosed group
        a=~"x)|(y"  →  column 4: invalid regular expression: unopened group
        (a huge one)  →  column 4: regular expression is too large
        "#);
    }
}
