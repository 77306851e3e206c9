//! Parsing and counting a recorded page, against the same parser that only adds one number up.

use std::hash::RandomState;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connwarden::model::application::ApplicationRules;
use connwarden::model::breakdown::By;
use connwarden::nats::connz::{Connection, ConnzReader, Envelope};
use connwarden::observe::tally::{ServerFacts, Tally, TallyRules};
use connwarden::observe::users::UserMask;

use crate::report::{PAIRS, Report, Target, median};

/// Pages read for one of the pairs.
pub const PAGES: u32 = 5;

pub fn measure(report: &mut Report) {
    let page = page();
    for (name, by, target) in [
        ("count a page by application,ip / sum of the same parser", default_by(), Target::AtLeast(0.75)),
        ("count a page by all that is stored / sum", By::standard(), Target::Shown),
    ] {
        let (mut counted, mut summed) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            counted.push(timed(|| count(&page, &by)));
            summed.push(timed(|| sum(&page)));
        }
        let rate = |time: Duration| f64::from(PAGES) * page.len() as f64 / 1e6 / time.as_secs_f64();
        let (counted, summed) = (rate(median(counted)), rate(median(summed)));
        report.add(name, format!("{counted:.0} MB/s"), format!("{summed:.0} MB/s"), counted / summed, target);
    }
    instructions(report, page.len());
}

/// Reads the page so many times, and does nothing else: what is run under valgrind.
pub fn rounds(rounds: &str) {
    let page = page();
    for _ in 0..rounds.parse::<u32>().unwrap() {
        std::hint::black_box(count(&page, &default_by()));
    }
}

/// Instructions per byte, by the difference between many rounds and few.
fn instructions(report: &mut Report, bytes: usize) {
    let run = |rounds: &str| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().unwrap())
            .args(["--parse", rounds])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = text.lines().find(|line| line.contains("Collected :"))?.to_owned();
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    match (run("1"), run("3")) {
        (Some(few), Some(many)) => {
            let per_byte = (many - few) / 2.0 / bytes as f64;
            report.add(
                "instructions per byte, by application,ip",
                format!("{per_byte:.1}"),
                "-".to_owned(),
                per_byte,
                Target::Shown,
            );
        }
        _ => report.note("instructions per byte: valgrind is not here"),
    }
}

pub fn default_by() -> Vec<By> {
    By::parse_list("application,ip").unwrap()
}

/// Counts a page that is in memory.
pub fn count(page: &[u8], by: &[By]) -> u64 {
    let rules = TallyRules {
        by: by.to_vec(),
        applications: Arc::new(ApplicationRules::default()),
        users: UserMask::new(&[7; 32]),
        idle_after_us: 300_000_000,
        starts: None,
        hashing: RandomState::new(),
    };
    let mut tally = Tally::new(&rules, ServerFacts { name: "bench".to_owned(), since_2_11: true, now_us: 0 });
    read(page, &mut |envelope, connection| tally.add(envelope, connection));
    tally.into_breakdowns().values().map(|breakdown| breakdown.total.connections).max().unwrap_or(0)
}

/// Reads a page that is in memory, and counts nothing.
pub fn sum(page: &[u8]) -> u64 {
    let mut sum = 0;
    read(page, &mut |_, connection| sum += connection.subscriptions);
    sum
}

/// Feeds the page in the pieces in which a socket would give it.
fn read(page: &[u8], each: &mut impl FnMut(&Envelope, &Connection<'_>)) {
    let mut reader = ConnzReader::default();
    page.chunks(16 * 1024).for_each(|piece| reader.feed(piece, each).unwrap());
    reader.finish(each).unwrap();
}

/// How long [`PAGES`] pages take.
pub fn timed(mut work: impl FnMut() -> u64) -> Duration {
    let begun = Instant::now();
    (0..PAGES).for_each(|_| {
        std::hint::black_box(work());
    });
    begun.elapsed()
}

fn page() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nats/2.15.1/connz-10k.json.gz");
    let mut page = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut page).unwrap();
    page
}
