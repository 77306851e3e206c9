//! The command line: the daemon, and what someone with only a shell needs at 3 a.m.
//!
//! `inspect` asks NATS servers itself and needs no daemon; `incidents` asks a daemon through its API.

mod audit;
mod backup;
mod changes;
mod check_config;
mod client;
mod clusters;
mod culprits;
mod doctor;
mod incidents;
mod inspect;
mod mitigations;
mod notifications;
mod output;
mod plan;
mod printable;
mod render;
mod serve;
mod storage;
mod table;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Something was found wrong, or could not be done.
const FAILURE: u8 = 1;

/// What could be done was done, but not all of it.
const PARTIAL: u8 = 3;

/// Says who holds the connections of your NATS servers, and keeps the story.
#[derive(Debug, Parser)]
#[command(name = "connwarden", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: receive alerts, look at NATS, keep incidents.
    Serve(serve::Arguments),
    /// Read a configuration file and report every problem with its place.
    CheckConfig(check_config::Arguments),
    /// Show who holds the connections of NATS servers, right now; needs no daemon.
    Inspect(inspect::Arguments),
    /// List and show the incidents of a running daemon, and act on them.
    Incidents(incidents::Arguments),
    /// List what was changed around incidents, and tell a running daemon of a change.
    Changes(changes::Arguments),
    /// List the clusters of a running daemon, and say what has changed in one of them.
    Clusters(clusters::Arguments),
    /// List who was the culprit of how many incidents.
    Culprits(culprits::Arguments),
    /// Show exactly what a mitigation would do to whom, by a running daemon; does nothing.
    Plan(Box<plan::Arguments>),
    /// List and show mitigations of a running daemon, approve, execute and stop them.
    Mitigations(mitigations::Arguments),
    /// List who did what to mitigations and pauses.
    Audit(audit::Arguments),
    /// List what a running daemon has received, and take it in once more.
    Notifications(notifications::Arguments),
    /// Copy the database into a new file, also while the daemon runs.
    Backup(backup::Arguments),
    /// Check configuration, storage, database and NATS servers, also while the daemon runs.
    Doctor(doctor::Arguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // before anything that may speak TLS; it fails only if a provider is there already
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("connwarden: {error:#}");
            ExitCode::from(FAILURE)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    if let Command::CheckConfig(arguments) = command {
        return check_config::run(&arguments);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        match command {
            Command::Serve(arguments) => serve::run(arguments).await,
            Command::Inspect(arguments) => inspect::run(arguments).await,
            Command::Incidents(arguments) => incidents::run(arguments).await,
            Command::Changes(arguments) => changes::run(arguments).await,
            Command::Clusters(arguments) => clusters::run(arguments).await,
            Command::Culprits(arguments) => culprits::run(arguments).await,
            Command::Plan(arguments) => plan::run(*arguments).await,
            Command::Mitigations(arguments) => mitigations::run(arguments).await,
            Command::Audit(arguments) => audit::run(arguments).await,
            Command::Notifications(arguments) => notifications::run(arguments).await,
            Command::Backup(arguments) => backup::run(arguments).await,
            Command::Doctor(arguments) => doctor::run(arguments).await,
            Command::CheckConfig(_) => unreachable!("handled above, without a runtime"),
        }
    })
}

/// Writes a result to standard output; whoever reads it may stop early (`| head`).
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to standard output"),
    }
}
