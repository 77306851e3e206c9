//! `connwarden backup`: a copy of the database, whether or not a daemon writes into it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::print;
use crate::cli::storage::StorageArguments;
use crate::store::backup::backup;

/// Exits 0 if the file is there, whole and checked; otherwise there is none.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// File to write; it must not be there yet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    storage: StorageArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.storage.configuration();
    let config = config.map_err(|problems| anyhow::anyhow!("the configuration is wrong\n{problems}"))?;
    let done = tokio::select! {
        done = backup(&config.storage.path, &arguments.file) => done?,
        // what has been written so far goes away with it
        signal = told_to_end() => anyhow::bail!("{} received, so there is no backup", signal?),
    };
    print(&format!(
        "{} is a copy of {}: {} incidents ({} unresolved), {} notifications, {} KiB; it was checked\n",
        arguments.file.display(),
        done.source.display(),
        done.incidents,
        done.unresolved,
        done.notifications,
        done.size_bytes.div_ceil(1024),
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for a signal that asks the process to end; which it was.
async fn told_to_end() -> anyhow::Result<&'static str> {
    let catch = |kind| signal(kind).context("catching signals");
    let mut interrupt = catch(SignalKind::interrupt())?;
    let mut terminate = catch(SignalKind::terminate())?;
    // the terminal went away
    let mut hang_up = catch(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
        _ = hang_up.recv() => "SIGHUP",
    })
}
