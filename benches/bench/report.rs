//! The list of measures, as it is printed and written.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

/// How many pairs of a measure and its floor are taken.
pub const PAIRS: usize = 15;

/// Everything that was measured.
#[derive(Default)]
pub struct Report {
    measures: Vec<Measure>,
}

/// What a ratio, or a value, should be.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// Only shown.
    Shown,
}

#[derive(Debug, Serialize)]
struct Measure {
    measure: String,
    value: String,
    floor: String,
    ratio: f64,
    target: String,
    holds: bool,
}

impl Report {
    /// Adds a measure and prints its line. `ratio` is what the target is about.
    pub fn add(&mut self, measure: &str, value: String, floor: String, ratio: f64, target: Target) {
        let (holds, target) = match target {
            Target::AtMost(most) => (ratio <= most, format!("<= {most}")),
            Target::AtLeast(least) => (ratio >= least, format!(">= {least}")),
            Target::Shown => (true, "-".to_owned()),
        };
        let ratio = (ratio * 1000.0).round() / 1000.0;
        let verdict = if holds { "holds" } else { "FALLS SHORT" };
        println!("{measure:<58} {value:>12} {floor:>12} {ratio:>8} {target:>9}  {verdict}");
        self.measures.push(Measure { measure: measure.to_owned(), value, floor, ratio, target, holds });
    }

    /// Prints something beside the measures.
    pub fn note(&self, text: &str) {
        println!("  ({text})");
    }

    /// Writes the list to `target/bench.json`.
    pub fn write(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench.json");
        std::fs::write(&path, serde_json::to_string_pretty(&self.measures).unwrap() + "\n").unwrap();
        let short = self.measures.iter().filter(|measure| !measure.holds).count();
        println!("{} measures, {short} fall short; the list is in {}", self.measures.len(), path.display());
    }
}

/// The heading of the lines.
pub fn heading() {
    println!("{:<58} {:>12} {:>12} {:>8} {:>9}", "MEASURE", "VALUE", "FLOOR", "RATIO", "TARGET");
}

/// The median of a number of times.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A time in milliseconds.
pub fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// A memory size in MiB.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// A field of `/proc/<pid>/status` in bytes.
pub fn memory_of(pid: &str, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
