//! Counting the lines that are about connections, by kind and minute, in bounded memory.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::kind::{is_rate_limited, kind_of, version};
use super::line::{Line, without_colours, without_wrapper};
use crate::model::log_evidence::{LogCount, LogEvidence, LogKind};
use crate::model::printable::excerpt;

/// Lines are looked at up to here, in bytes: nothing that counts stands further behind.
const LONGEST_LINE: usize = 4096;

/// The most lines of a kind that are shown.
const MOST_SAMPLES: usize = 3;

/// The most minutes that are told apart: a day and a half.
const MOST_MINUTES: usize = 2160;

/// The most servers that are told apart.
const MOST_SERVERS: usize = 100;

/// The most things that are told to be wrong.
const MOST_PROBLEMS: usize = 10;

/// What was counted so far.
#[derive(Debug)]
pub struct Tally {
    from: Timestamp,
    to: Timestamp,
    counts: BTreeMap<LogKind, Count>,
    lines: u64,
    undated: u64,
    /// What is known of the versions: whether any writes fewer refusals than there are.
    rate_limited: Option<bool>,
    problems: Vec<String>,
    sources: Vec<String>,
    complete: bool,
}

#[derive(Debug, Default)]
struct Count {
    lines: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    per_minute: BTreeMap<i64, u64>,
    servers: BTreeMap<String, u64>,
    samples: Vec<(Option<Timestamp>, String)>,
}

impl Tally {
    /// Counts lines from `from` to `to`, both included.
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            counts: BTreeMap::new(),
            lines: 0,
            undated: 0,
            rate_limited: None,
            problems: Vec::new(),
            sources: Vec::new(),
            complete: true,
        }
    }

    /// From when on lines count.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// Until when lines count.
    pub fn to(&self) -> Timestamp {
        self.to
    }

    /// Learns the version of a server.
    pub fn learn_version(&mut self, version: &str) {
        if let Some(limited) = is_rate_limited(version) {
            self.rate_limited = Some(self.rate_limited.unwrap_or(false) || limited);
        }
    }

    /// Says that a source was read, and whether all of it was that matters.
    pub fn read(&mut self, source: String, complete: bool) {
        self.sources.push(source);
        self.complete &= complete;
    }

    /// Says what could not be read, or what is doubtful.
    pub fn problem(&mut self, problem: String) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// Counts a line, which `server` wrote in a zone that is `offset` from UTC; returns when that was, if it is known.
    /// `known` is when it was written, where whoever keeps it says so.
    pub fn count(
        &mut self,
        line: &str,
        server: Option<&str>,
        known: Option<Timestamp>,
        offset: SignedDuration,
    ) -> Option<Timestamp> {
        self.lines += 1;
        let (wrapper, text) = without_wrapper(clipped(line));
        let text = without_colours(&text);
        let line = Line::read(&text);
        let at = known.or(wrapper).or_else(|| instant(line.time?, offset));
        if let Some(version) = version(line.text) {
            self.learn_version(version);
        }
        if at.is_some_and(|at| at < self.from || at > self.to) {
            return at;
        }
        if let Some(kind) = kind_of(line.level, line.statement()) {
            self.undated += u64::from(at.is_none());
            let count = self.counts.entry(kind).or_default();
            count.add(at, server, &text);
        }
        at
    }

    /// Adds what another tally of the same time has counted.
    pub fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            self.counts.entry(kind).or_default().merge(count);
        }
        self.lines += other.lines;
        self.undated += other.undated;
        self.rate_limited = match (self.rate_limited, other.rate_limited) {
            (Some(one), Some(other)) => Some(one || other),
            (one, other) => one.or(other),
        };
        other.problems.into_iter().for_each(|problem| self.problem(problem));
        self.sources.extend(other.sources);
        self.complete &= other.complete;
    }

    /// What was counted.
    ///
    /// # Errors
    ///
    /// For people: why nothing could be read.
    pub fn evidence(self) -> Result<LogEvidence, String> {
        if self.sources.is_empty() {
            return Err(self.problems.join("; "));
        }
        let mut kinds: Vec<LogCount> =
            self.counts.into_iter().map(|(kind, count)| count.told(kind)).collect();
        kinds.sort_by_key(|count| std::cmp::Reverse(count.lines));
        Ok(LogEvidence {
            source: self.sources.join(", "),
            from: self.from,
            to: self.to,
            complete: self.complete && self.problems.is_empty(),
            kinds,
            lines_read: self.lines,
            undated_lines: self.undated,
            // of an unknown version it may be so
            rate_limited_versions: self.rate_limited.unwrap_or(true),
            problems: self.problems,
        })
    }
}

impl Count {
    fn add(&mut self, at: Option<Timestamp>, server: Option<&str>, text: &str) {
        self.lines += 1;
        if let Some(at) = at {
            self.first = Some(self.first.map_or(at, |first| first.min(at)));
            self.last = Some(self.last.map_or(at, |last| last.max(at)));
            self.add_minute(at.as_second().div_euclid(60), 1);
        }
        if let Some(server) = server {
            self.add_server(server, 1);
        }
        self.samples.push((at, excerpt(&without_secrets(text.trim_end()))));
        self.keep_ends();
    }

    fn add_minute(&mut self, minute: i64, lines: u64) {
        if self.per_minute.len() < MOST_MINUTES || self.per_minute.contains_key(&minute) {
            *self.per_minute.entry(minute).or_default() += lines;
        }
    }

    fn add_server(&mut self, server: &str, lines: u64) {
        let server = excerpt(server);
        if self.servers.len() < MOST_SERVERS || self.servers.contains_key(&server) {
            *self.servers.entry(server).or_default() += lines;
        }
    }

    /// Of the samples the first and the last ones are kept.
    fn keep_ends(&mut self) {
        if self.samples.len() > MOST_SAMPLES {
            self.samples.sort_by_key(|(at, _)| *at);
            self.samples.drain(1..=self.samples.len() - MOST_SAMPLES);
        }
    }

    fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = [self.last, other.last].into_iter().flatten().max();
        other.per_minute.into_iter().for_each(|(minute, lines)| self.add_minute(minute, lines));
        other.servers.iter().for_each(|(server, lines)| self.add_server(server, *lines));
        self.samples.extend(other.samples);
        self.keep_ends();
    }

    fn told(mut self, kind: LogKind) -> LogCount {
        self.samples.sort_by_key(|(at, _)| *at);
        let minute = |(minute, lines)| Some((Timestamp::from_second(minute * 60).ok()?, lines));
        LogCount {
            kind,
            lines: self.lines,
            first: self.first,
            last: self.last,
            per_minute: self.per_minute.into_iter().filter_map(minute).collect(),
            servers: self.servers,
            samples: self.samples.into_iter().map(|(_, text)| text).collect(),
        }
    }
}

/// The instant of a time in a zone that is `offset` from UTC.
pub(super) fn instant(local: DateTime, offset: SignedDuration) -> Option<Timestamp> {
    let utc = local.checked_sub(offset).ok()?;
    Some(utc.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// A line without what a client may have shown to be let in: tokens, which servers before 2.11 write in clear, and what
/// the parser did not understand.
fn without_secrets(text: &str) -> Cow<'_, str> {
    const REDACTED: &str = "[REDACTED]";

    let secret = [" - Token \"", "proto='"].into_iter().find_map(|mark| Some(text.find(mark)? + mark.len()));
    match secret {
        Some(place) => Cow::Owned(format!("{}{REDACTED}", &text[..place])),
        None => Cow::Borrowed(text),
    }
}

/// The beginning of a line, cut between characters.
fn clipped(line: &str) -> &str {
    if line.len() <= LONGEST_LINE {
        return line;
    }
    let end = (0..=LONGEST_LINE).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
    &line[..end]
}

#[cfg(test)]
mod tests;
