//! Label matchers in Alertmanager's own syntax: `cluster="prod-eu"`, `{a="b", c=~"d|e"}`.
//!
//! Two things surprise newcomers: a regular expression must match the whole value, and a label
//! that is missing has the empty value, so `team!="a"` matches alerts without a team.
//!
//! Where Alertmanager's two parsers disagree about a backslash, this one does as Alertmanager does
//! by default: `\\`, `\"` and `\n` are escapes, any other backslash stands for itself, so that
//! `"nats-\d+"` works. Unquoted values end at the first reserved character.

mod parse;

use std::{fmt, str::FromStr};

use regex::{Regex, RegexBuilder};

use super::labels::Labels;

pub use parse::InvalidMatchers;

/// The most memory one compiled regular expression may take.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// Matchers that must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matchers(Vec<Matcher>);

impl Matchers {
    /// Tells whether every matcher holds for `labels`; without matchers every label set does.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|matcher| matcher.matches(labels))
    }

    /// Tells whether there are no matchers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts the matchers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Lists the matchers in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Matcher> {
        self.0.iter()
    }
}

impl FromIterator<Matcher> for Matchers {
    fn from_iter<I: IntoIterator<Item = Matcher>>(matchers: I) -> Self {
        Self(matchers.into_iter().collect())
    }
}

impl IntoIterator for Matchers {
    type Item = Matcher;
    type IntoIter = std::vec::IntoIter<Matcher>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromStr for Matchers {
    type Err = InvalidMatchers;

    /// Reads any number of matchers, with or without braces around them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::parse(text).map(Self)
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, matcher) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{matcher}")?;
        }
        f.write_str("}")
    }
}

/// One condition on one label.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    value: String,
    test: Test,
}

/// How a label's value is compared.
#[derive(Debug, Clone)]
enum Test {
    Equal,
    NotEqual,
    Regex(Regex),
    NotRegex(Regex),
}

/// The operators of the matcher syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`: the value is exactly this.
    Equal,
    /// `!=`: the value is anything but this.
    NotEqual,
    /// `=~`: the whole value matches this regular expression.
    Regex,
    /// `!~`: the whole value does not match this regular expression.
    NotRegex,
}

impl Matcher {
    /// Makes a matcher, compiling `value` if the operator wants a regular expression.
    ///
    /// # Errors
    ///
    /// `value` is no regular expression, or one that is too large.
    pub fn new(name: &str, operator: Operator, value: &str) -> Result<Self, regex::Error> {
        let test = match operator {
            Operator::Equal => Test::Equal,
            Operator::NotEqual => Test::NotEqual,
            Operator::Regex => Test::Regex(anchored(value)?),
            Operator::NotRegex => Test::NotRegex(anchored(value)?),
        };
        Ok(Self { name: name.to_owned(), value: value.to_owned(), test })
    }

    /// Tells whether the condition holds; a missing label has the empty value.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name).unwrap_or_default();
        match &self.test {
            Test::Equal => value == self.value,
            Test::NotEqual => value != self.value,
            Test::Regex(regex) => regex.is_match(value),
            Test::NotRegex(regex) => !regex.is_match(value),
        }
    }

    /// Borrows the name of the label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Borrows the value, or the regular expression, that was asked for.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns how the value is compared.
    pub fn operator(&self) -> Operator {
        match self.test {
            Test::Equal => Operator::Equal,
            Test::NotEqual => Operator::NotEqual,
            Test::Regex(_) => Operator::Regex,
            Test::NotRegex(_) => Operator::NotRegex,
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value && self.operator() == other.operator()
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = !self.name.is_empty() && !self.name.chars().any(needs_quotes);
        if plain {
            f.write_str(&self.name)?;
        } else {
            write_quoted(f, &self.name)?;
        }
        f.write_str(self.operator().as_str())?;
        write_quoted(f, &self.value)
    }
}

impl Operator {
    /// Returns the operator as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// Compiles `pattern` so that it must match the whole text.
fn anchored(pattern: &str) -> Result<Regex, regex::Error> {
    let compile = |text: &str| RegexBuilder::new(text).size_limit(REGEX_SIZE_LIMIT).build();
    // On its own first: `a)|(b` would become valid by what is put around it.
    compile(pattern)?;
    compile(&format!("^(?:{pattern})$"))
}

/// Tells whether `c` ends an unquoted name or value.
fn is_reserved(c: char) -> bool {
    c.is_whitespace() || matches!(c, '{' | '}' | '!' | '=' | '~' | ',' | '"' | '\'' | '`')
}

/// Tells whether a name with `c` in it is printed in quotes.
fn needs_quotes(c: char) -> bool {
    is_reserved(c) || c == '\\'
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '"' => f.write_str("\\\"")?,
            '\n' => f.write_str("\\n")?,
            other => fmt::Write::write_char(f, other)?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels() -> Labels {
        Labels::from_iter([
            ("alertname", "NatsHighNumberOfConnections"),
            ("cluster", "prod-eu"),
            ("dotted.label", "x"),
            ("with space", "a \"quoted\" \\ value"),
            ("lines", "one\ntwo"),
        ])
    }

    fn canonical(text: &str) -> String {
        text.parse::<Matchers>().map(|matchers| matchers.to_string()).unwrap_or_else(|error| {
            panic!("{text}: {error}");
        })
    }

    #[test]
    fn matchers_match() {
        for text in [
            "",
            "{}",
            r#"cluster="prod-eu""#,
            "cluster=prod-eu",
            r#"cluster!="prod-us""#,
            r#"cluster=~"prod-.*""#,
            r#"cluster=~"dev|prod-eu""#,
            r#"cluster!~"prod""#,
            r#"cluster=~"(?i)PROD-EU""#,
            r#"cluster=~"\w+-\w+""#,
            r#""dotted.label"="x""#,
            "dotted.label=x",
            r#""with space"="a \"quoted\" \\ value""#,
            r#"lines="one\ntwo""#,
            r#"lines=~"one\\ntwo""#,
            r#"team="""#,
            r#"team!="a""#,
            r#"team=~".*""#,
            r#"team=~"""#,
            r#"team!~".+""#,
            r#"{alertname="NatsHighNumberOfConnections", cluster=~"prod-(eu|us)"}"#,
        ] {
            assert!(text.parse::<Matchers>().unwrap().matches(&labels()), "{text}");
        }
    }

    #[test]
    fn matchers_do_not_match() {
        for text in [
            r#"cluster="prod""#,
            r#"cluster="Prod-eu""#,
            r#"cluster!="prod-eu""#,
            r#"cluster=~"prod""#,
            r#"cluster=~"dev|prod""#,
            r#"cluster!~"dev|prod-eu""#,
            r#"cluster=~"prod-e""#,
            r#"cluster=~"rod-eu""#,
            r#"cluster="""#,
            r#"lines=~"one.two""#,
            r#"team!="""#,
            r#"team=~".+""#,
            r#"team="a""#,
            r#"{alertname="NatsHighNumberOfConnections", cluster="prod-us"}"#,
        ] {
            assert!(!text.parse::<Matchers>().unwrap().matches(&labels()), "{text}");
        }
    }

    #[test]
    fn matchers_are_printed_in_one_way() {
        for (text, printed) in [
            ("", "{}"),
            ("{ }", "{}"),
            (" a = b ", r#"{a="b"}"#),
            ("a=b,", r#"{a="b"}"#),
            ("{a=b,}", r#"{a="b"}"#),
            ("{a=b , c!=d,e=~f,g!~h}", r#"{a="b", c!="d", e=~"f", g!~"h"}"#),
            (r#""a"="b""#, r#"{a="b"}"#),
            (r#""a b"="c""#, r#"{"a b"="c"}"#),
            (r#""a\"b"="c""#, r#"{"a\"b"="c"}"#),
            ("dotted.label=x", r#"{dotted.label="x"}"#),
            ("ラベル=値", r#"{ラベル="値"}"#),
            (r#"a="b,c=}""#, r#"{a="b,c=}"}"#),
            (r#"a=~"\d+\.x""#, r#"{a=~"\\d+\\.x"}"#),
            (r#"a=~\d+"#, r#"{a=~"\\d+"}"#),
            (r#"a="\\n""#, r#"{a="\\n"}"#),
            ("a=\"x\ny\"", r#"{a="x\ny"}"#),
            ("a:b=c/d:8222", r#"{a:b="c/d:8222"}"#),
        ] {
            assert_eq!(canonical(text), printed, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            parts in prop::collection::vec(("\\PC{1,8}|[a.\\\\\"{}=~!,\n ]{1,6}", 0..4_u8, "\\PC{0,8}|[b\\\\\"n{},\n\t ]{0,8}"), 0..4)
        ) {
            let matchers: Matchers = parts
                .iter()
                .map(|(name, operator, value)| match operator {
                    0 => Matcher::new(name, Operator::Equal, value),
                    1 => Matcher::new(name, Operator::NotEqual, value),
                    2 => Matcher::new(name, Operator::Regex, &regex::escape(value)),
                    _ => Matcher::new(name, Operator::NotRegex, &regex::escape(value)),
                })
                .collect::<Result<_, _>>()
                .unwrap();
            let printed = matchers.to_string();
            let inner = &printed[1..printed.len() - 1];

            prop_assert_eq!(printed.parse::<Matchers>().unwrap(), matchers.clone());
            prop_assert_eq!(inner.parse::<Matchers>().unwrap(), matchers);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*|[ab\"\\\\{}=~!, ']*") {
            if let Ok(matchers) = text.parse::<Matchers>() {
                prop_assert_eq!(matchers.to_string().parse::<Matchers>().unwrap(), matchers);
            }
        }
    }
}
