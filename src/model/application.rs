//! Application names: client names with what differs per instance taken off.
//!
//! A thousand pods of one deployment are one application. What is taken off is chosen to be
//! careful rather than thorough: `s3`, `http2` and `facade` stay, because a name that keeps too
//! much is a small nuisance and one that loses too much blames the wrong team. Names that are
//! nothing but instance parts become their kind in angle brackets, so that a million random names
//! are one group and not a million.

mod part;
mod strip;

use std::{borrow::Cow, fmt};

use regex::{Regex, RegexBuilder};

pub use part::InstancePart;
use part::Parts;

/// The application of clients that gave no name.
pub const UNNAMED: &str = "<unnamed>";

/// The most memory one compiled pattern may take.
const PATTERN_SIZE_LIMIT: usize = 1 << 20;

/// How client names become application names.
#[derive(Debug, Clone)]
pub struct ApplicationRules {
    rules: Vec<ApplicationRule>,
    strip: Parts,
}

impl ApplicationRules {
    /// Makes rules that try `rules` in order, and strip the parts in `strip` from other names.
    pub fn new(
        strip: impl IntoIterator<Item = InstancePart>,
        rules: impl IntoIterator<Item = ApplicationRule>,
    ) -> Self {
        Self { rules: rules.into_iter().collect(), strip: strip.into_iter().collect() }
    }

    /// Finds the application of a client called `name`.
    pub fn application<'n>(&self, name: &'n str) -> Cow<'n, str> {
        if let Some(application) = self.rules.iter().find_map(|rule| rule.apply(name)) {
            return Cow::Owned(application);
        }
        let mut rest = Cow::Borrowed(name);
        // Taking one part off can bring another to light: each turn makes the name shorter.
        loop {
            match strip::strip(&rest, self.strip) {
                strip::Stripped::Nothing => return named(rest),
                strip::Stripped::Rest(shorter) => rest = Cow::Owned(shorter),
                strip::Stripped::Everything(part) => return Cow::Borrowed(part.placeholder()),
            }
        }
    }

    /// Whether a client called `name` can be of an application. It is told without working out of which it is: a yes is
    /// no promise.
    pub fn can_be(&self, name: &str, application: &str) -> bool {
        // a rule may say anything, and a placeholder is in no name
        !self.rules.is_empty() || application.starts_with('<') || strip::can_leave(name, application)
    }

    /// Lists the parts that are stripped, in a fixed order.
    pub fn parts(&self) -> impl Iterator<Item = InstancePart> {
        self.strip.iter()
    }

    /// Lists the user's rules in the order they are tried.
    pub fn rules(&self) -> &[ApplicationRule] {
        &self.rules
    }

    /// Explains the rules, one line each, in the order they are tried.
    pub fn describe(&self) -> Vec<String> {
        let rules = self.rules.iter().map(ToString::to_string);
        let parts = self.strip.iter().map(|part| {
            let example = part.example();
            let application = self.application_of_example(example);
            format!("{part}: {}, `{example}` becomes `{application}`", part.meaning())
        });
        rules.chain(parts).collect()
    }

    fn application_of_example(&self, example: &str) -> String {
        Self { rules: Vec::new(), strip: self.strip }.application(example).into_owned()
    }
}

impl Default for ApplicationRules {
    /// Strips every kind of instance part and has no rules of its own.
    fn default() -> Self {
        Self::new(InstancePart::ALL, [])
    }
}

fn named(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.trim().is_empty() { Cow::Borrowed(UNNAMED) } else { name }
}

/// A user's rule: names that match a pattern belong to this application.
#[derive(Debug, Clone)]
pub struct ApplicationRule {
    pattern: String,
    application: String,
    regex: Regex,
}

impl ApplicationRule {
    /// Makes a rule; `application` may use `$1` or `${name}` for what a group of `pattern` matched.
    ///
    /// # Errors
    ///
    /// `pattern` is no regular expression, or `application` is empty or names an unknown group.
    pub fn new(pattern: &str, application: &str) -> Result<Self, InvalidApplicationRule> {
        let compile = |text: &str| {
            RegexBuilder::new(text).size_limit(PATTERN_SIZE_LIMIT).build().map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => InvalidApplicationRule::TooLarge,
                other => InvalidApplicationRule::Pattern(last_line(&other.to_string())),
            })
        };
        // On its own first: `a)|(b` would become valid by what is put around it.
        compile(pattern)?;
        let regex = compile(&format!("^(?:{pattern})$"))?;
        if application.trim().is_empty() {
            return Err(InvalidApplicationRule::Empty);
        }
        for group in groups(application) {
            check_group(group, &regex)?;
        }
        Ok(Self { pattern: pattern.to_owned(), application: application.to_owned(), regex })
    }

    /// Borrows the pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    fn apply(&self, name: &str) -> Option<String> {
        let captures = self.regex.captures(name)?;
        let mut application = String::new();
        captures.expand(&self.application, &mut application);
        Some(if application.trim().is_empty() { UNNAMED.to_owned() } else { application })
    }
}

impl fmt::Display for ApplicationRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule: names matching `{}` become `{}`", self.pattern, self.application)
    }
}

/// Why a user's rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApplicationRule {
    /// The pattern is no regular expression.
    #[error("invalid regular expression: {0}")]
    Pattern(String),

    /// The pattern needs too much memory.
    #[error("regular expression is too large")]
    TooLarge,

    /// The application is empty.
    #[error("the application cannot be empty")]
    Empty,

    /// The application uses a group that the pattern does not have.
    #[error("`${{{group}}}` is no group of the pattern{hint}")]
    UnknownGroup {
        /// The group as it was written.
        group: String,
        /// What was probably meant.
        hint: String,
    },
}

impl InvalidApplicationRule {
    /// Tells whether the pattern is at fault, not the application.
    pub fn is_about_pattern(&self) -> bool {
        matches!(self, Self::Pattern(_) | Self::TooLarge)
    }
}

/// Finds the groups that a replacement text uses, as the `regex` crate reads it.
fn groups(replacement: &str) -> Vec<&str> {
    let mut groups = Vec::new();
    let mut rest = replacement;
    while let Some(dollar) = rest.find('$') {
        rest = &rest[dollar + 1..];
        if let Some(literal) = rest.strip_prefix('$') {
            rest = literal;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let Some(end) = inner.find('}') else { continue };
            groups.push(&inner[..end]);
            rest = &inner[end + 1..];
        } else {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            if end > 0 {
                groups.push(&rest[..end]);
            }
            rest = &rest[end..];
        }
    }
    groups
}

fn check_group(group: &str, regex: &Regex) -> Result<(), InvalidApplicationRule> {
    let known = match group.parse::<usize>() {
        Ok(number) => number < regex.captures_len(),
        Err(_) => regex.capture_names().flatten().any(|name| name == group),
    };
    if known {
        return Ok(());
    }
    let digits = group.bytes().take_while(u8::is_ascii_digit).count();
    let hint = if digits > 0 && digits < group.len() {
        let (number, text) = group.split_at(digits);
        format!(", write `${{{number}}}{text}` for group {number} and then `{text}`")
    } else {
        match regex.captures_len() - 1 {
            0 => ", which has none: put parentheses around what you want to keep".to_owned(),
            1 => ", which has only `$1`".to_owned(),
            last => format!(", which has `$1` to `${last}`"),
        }
    };
    Err(InvalidApplicationRule::UnknownGroup { group: group.to_owned(), hint })
}

fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests;
