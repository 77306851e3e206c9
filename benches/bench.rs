//! `make bench`: what connwarden costs, as ratios against floors measured in the same run.
//!
//! One line per measure, and the same list in `target/bench.json`. Machines that run benchmarks are shared and noisy: a
//! measure and its floor are taken in turns, and the medians of the pairs are compared.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]
#![expect(clippy::disallowed_methods, reason = "a benchmark asks the machine for the time")]

#[path = "bench/baseline.rs"]
mod baseline;
#[path = "bench/daemon.rs"]
mod daemon;
#[path = "bench/diagnosis.rs"]
mod diagnosis;
#[path = "bench/intake.rs"]
mod intake;
#[path = "bench/kicks.rs"]
mod kicks;
#[path = "bench/memory.rs"]
mod memory;
#[path = "bench/parse.rs"]
mod parse;
#[path = "bench/planning.rs"]
mod planning;
#[path = "bench/report.rs"]
mod report;
#[path = "bench/rows.rs"]
mod rows;
#[path = "bench/sweep.rs"]
mod sweep;

#[path = "../tests/it/harness.rs"]
#[expect(dead_code, reason = "the tests use all of it, the benchmarks a part")]
mod harness;
#[path = "../tests/swarm/swarm.rs"]
#[expect(unused_imports, reason = "its tests are not run here")]
mod swarm;

use mimalloc::MiMalloc;

use crate::report::Report;

/// The daemon's: floors have it too.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.as_slice() {
        // parts that need a process of their own
        ["--hold", server, count] => runtime.block_on(sweep::hold(server, count)),
        ["--peak", monitor] => runtime.block_on(memory::peak(monitor)),
        ["--parse", rounds] => parse::rounds(rounds),
        ["--plan", kind, rounds] => planning::rounds(kind, rounds),
        ["--plan-peak", connections, victims] => planning::peak(connections, victims),
        // a part that is wanted alone
        ["--intake", ..] => runtime.block_on(async { intake::measure(&mut Report::default()).await }),
        ["--beside-sweeps", ..] => {
            runtime.block_on(async { intake::while_a_sweep_runs(&mut Report::default()).await });
        }
        ["--diagnosis", ..] => runtime.block_on(async { diagnosis::measure(&mut Report::default()).await }),
        ["--planning", ..] => planning::measure(&mut Report::default()),
        ["--kicks", ..] => runtime.block_on(async { kicks::measure(&mut Report::default()).await }),
        ["--baseline", ..] => runtime.block_on(async { baseline::measure(&mut Report::default()).await }),
        _ => {
            let mut report = Report::default();
            runtime.block_on(async {
                daemon::measure(&mut report).await;
                parse::measure(&mut report);
                memory::measure(&mut report).await;
                sweep::measure(&mut report).await;
                intake::measure(&mut report).await;
                diagnosis::measure(&mut report).await;
                planning::measure(&mut report);
                kicks::measure(&mut report).await;
                baseline::measure(&mut report).await;
            });
            report.write();
        }
    }
}
