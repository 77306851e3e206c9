//! The daemon itself: size, start, idle memory.

use std::time::{Duration, Instant};

use crate::harness::daemon::{Daemon, program};
use crate::harness::nats::{NEWEST, NatsServer};
use crate::report::{PAIRS, Report, Target, heading, median, memory_of, mib, ms};

pub async fn measure(report: &mut Report) {
    heading();
    let size = std::fs::metadata(program()).unwrap().len();
    let megabytes = size as f64 / 1e6;
    report.add(
        "release binary",
        format!("{megabytes:.1} MB"),
        "25 MB".to_owned(),
        megabytes / 25.0,
        Target::AtMost(1.0),
    );

    let nats = NatsServer::start(NEWEST, "").await;
    let (mut starts, mut idle) = (Vec::new(), 0);
    for _ in 0..PAIRS {
        let directory = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let daemon = Daemon::watching(directory.path(), [&nats.monitor]).await;
        starts.push(begun.elapsed());
        // as long as it takes to ask the server who it is, and to be idle again
        tokio::time::sleep(Duration::from_millis(200)).await;
        idle = idle.max(memory_of(&daemon.process.id().to_string(), "VmRSS"));
    }
    let start = median(starts);
    let ratio = start.as_secs_f64() / 0.1;
    report.add("start to ready, new storage", ms(start), "100 ms".to_owned(), ratio, Target::AtMost(1.0));
    let ratio = idle as f64 / (25.0 * 1_048_576.0);
    report.add("idle memory (largest of 15)", mib(idle), "25 MiB".to_owned(), ratio, Target::AtMost(1.0));
}
