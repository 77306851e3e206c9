//! The tail of a log file: what was written lately, within a bounded size, across rotations.
//!
//! A line's time is in the zone of the server, which it does not name. The last line was written when the file was last
//! changed, so how far these two are apart is the zone. Where that cannot be, the times are taken as UTC, and it is said.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};

use super::line::{Line, without_colours, without_wrapper};
use super::tally::{Tally, instant};

/// The most entries of a directory that are looked at for rotated files.
const MOST_ENTRIES: usize = 10_000;

/// The most rotated files that are read.
const MOST_ROTATED: usize = 20;

/// Zones are whole quarters of an hour from UTC.
const QUARTER: i64 = 15 * 60;

/// No zone is further from UTC.
const FURTHEST_ZONE: i64 = 14 * 3600;

/// A last line is this much older than its file at most, in seconds.
const WRITTEN_WITHIN: i64 = 60;

/// Counts the lines at the end of a file, `most_bytes` of them at most, and goes on with the files it was rotated to while
/// they may have lines of the time that counts. Blocks.
pub fn read(path: &Path, server: Option<&str>, most_bytes: u64, tally: &mut Tally) {
    let mut left = most_bytes;
    let mut reading = Reading { path, server, tally, earliest: None, whole: true };
    match reading.part(path, &mut left) {
        Ok(()) => {}
        Err(error) => {
            reading.tally.problem(format!("cannot read {}: {error}", path.display()));
            return;
        }
    }
    for rotated in rotated(path, reading.tally.from()) {
        if !reading.needs_more() {
            break;
        }
        if left == 0 || rotated.is_packed {
            reading.whole = false;
            break;
        }
        if let Err(error) = reading.part(&rotated.path, &mut left) {
            // it was rotated once more, or is gone: what it had is missing
            reading.whole = false;
            tracing::debug!(%error, "cannot read {}: {error}", rotated.path.display());
        }
    }
    let complete = reading.whole || !reading.needs_more();
    reading.tally.read(path.display().to_string(), complete);
}

/// A file and those it was rotated to, as far as they are read.
struct Reading<'a> {
    path: &'a Path,
    server: Option<&'a str>,
    tally: &'a mut Tally,
    /// The earliest time of all lines.
    earliest: Option<Timestamp>,
    /// Whether every part so far was read from its beginning.
    whole: bool,
}

impl Reading<'_> {
    /// Whether lines of the time that counts may be in an older part.
    fn needs_more(&self) -> bool {
        self.earliest.is_none_or(|earliest| earliest >= self.tally.from())
    }

    fn part(&mut self, path: &Path, left: &mut u64) -> io::Result<()> {
        // before it is opened: opening a pipe waits for somebody to write
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let start = length.saturating_sub(*left);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        let read = file.by_ref().take(*left).read_to_end(&mut bytes)?;
        *left -= (read as u64).min(*left);
        // after reading: what was written meanwhile may have been read
        let changed = file.metadata()?.modified().ok().and_then(|time| Timestamp::try_from(time).ok());

        let mut text = bytes.as_slice();
        if start > 0 {
            self.whole = false;
            // the first line is only the end of one
            let first_end = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
            text = &text[first_end..];
        }
        let lines = || text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let offset = match lines().rev().find_map(local_time) {
            None => SignedDuration::ZERO,
            Some(last) => zone(last, changed).unwrap_or_else(|| {
                self.tally.problem(format!(
                    "the times in {} do not fit the time it was last written, and are taken as UTC",
                    self.path.display()
                ));
                SignedDuration::ZERO
            }),
        };
        for line in lines() {
            let line = String::from_utf8_lossy(line);
            let at = self.tally.count(&line, self.server, None, offset);
            self.earliest = [self.earliest, at].into_iter().flatten().min();
        }
        Ok(())
    }
}

/// The time of a line by the server's clock, unless a wrapper knows better.
fn local_time(line: &[u8]) -> Option<jiff::civil::DateTime> {
    let line = String::from_utf8_lossy(&line[..line.len().min(1024)]);
    match without_wrapper(&line) {
        (Some(_), _) => None,
        (None, text) => Line::read(&without_colours(&text)).time,
    }
}

/// How far the server's zone is from UTC, by when its last line was written; `None` if that fits no zone.
fn zone(last: jiff::civil::DateTime, changed: Option<Timestamp>) -> Option<SignedDuration> {
    let as_utc = instant(last, SignedDuration::ZERO)?;
    let ahead = as_utc.as_second() - changed?.as_second();
    let quarters = (ahead + QUARTER / 2).div_euclid(QUARTER) * QUARTER;
    let fits = quarters.abs() <= FURTHEST_ZONE && (ahead - quarters).abs() <= WRITTEN_WITHIN;
    fits.then(|| SignedDuration::from_secs(quarters))
}

/// A file that another was rotated to.
struct Rotated {
    path: PathBuf,
    modified: SystemTime,
    is_packed: bool,
}

/// The files that a log was rotated to since a time, the newest first: `nats.log.…` or `nats.log-…`.
fn rotated(path: &Path, since: Timestamp) -> Vec<Rotated> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    // a path without a directory is in the current one
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let name = name.to_string_lossy().into_owned();
    let mut found: Vec<Rotated> = entries
        .take(MOST_ENTRIES)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let other = entry.file_name().to_string_lossy().into_owned();
            let end = other.strip_prefix(&name)?;
            if !end.starts_with(['.', '-']) {
                return None;
            }
            let metadata = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file)?;
            let modified = metadata.modified().ok()?;
            let is_packed = [".gz", ".zst", ".xz", ".bz2", ".zip"].iter().any(|end| other.ends_with(end));
            Some(Rotated { path: entry.path(), modified, is_packed })
        })
        .filter(|rotated| Timestamp::try_from(rotated.modified).is_ok_and(|at| at >= since))
        .collect();
    found.sort_by_key(|rotated| std::cmp::Reverse(rotated.modified));
    found.truncate(MOST_ROTATED);
    found
}

#[cfg(test)]
mod tests;
