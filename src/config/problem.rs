//! Problems of a configuration file, each with its place.

use std::{cell::RefCell, fmt};

use super::KEYS;

/// A place in a file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// One thing that is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// Where it is; a file that cannot be read has no places.
    pub place: Option<Place>,
    /// The setting, as a dotted path; empty if the problem is with the file itself.
    pub path: String,
    /// What is wrong, for people.
    pub message: String,
}

impl Problem {
    /// Makes a problem with the whole of `file`.
    pub(super) fn of_file(file: &str, message: String) -> Self {
        Self { file: file.to_owned(), place: None, path: String::new(), message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)
    }
}

/// All that is wrong with a configuration file, in the order of the lines; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// Lists the problems in the order of the lines.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let file = self.0.first().map_or("", |problem| problem.file.as_str());
        match self.0.len() {
            1 => write!(f, "1 problem in {file}"),
            count => write!(f, "{count} problems in {file}"),
        }
    }
}

impl std::error::Error for Problems {}

/// Collects the problems of one file.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    /// The keys that the file may have.
    pub(super) keys: &'static [&'static str],
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    /// For the configuration.
    pub(super) fn new(file: &str) -> Self {
        Self::for_keys(file, KEYS)
    }

    /// For a file that has other keys.
    pub(super) fn for_keys(file: &str, keys: &'static [&'static str]) -> Self {
        Self { file: file.to_owned(), keys, problems: RefCell::default() }
    }

    /// Makes a problem without adding it.
    pub(super) fn problem(&self, place: Place, path: &str, message: impl Into<String>) -> Problem {
        Problem {
            file: self.file.clone(),
            place: Some(place),
            path: path.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn add(&self, place: Place, path: &str, message: impl Into<String>) {
        let problem = self.problem(place, path, message);
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn into_result(self) -> Result<(), Problems> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.place);
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}
