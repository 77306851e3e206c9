//! `connwarden check-config`: every problem of a configuration file, with its place.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::app::{self, tls};
use crate::cli::{FAILURE, print};
use crate::config::{Config, load_owners};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Configuration files to check.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (mut text, mut good) = (String::new(), true);
    for file in &arguments.files {
        match Config::load(file) {
            Ok(config) => {
                for warning in config.warnings() {
                    writeln!(text, "{warning} (warning)")?;
                }
                if let Some(exposure) = app::exposure(&config) {
                    // whether the flag is given is not said in the file
                    writeln!(text, "{}: {exposure} (warning)", file.display())?;
                }
                if let Some(Err(error)) = config.web.access.tls.as_ref().map(tls::check) {
                    good = false;
                    writeln!(text, "{}: web.tls: {error:#}", file.display())?;
                    continue;
                }
                if let Some(Err(problems)) = config.owners_file.as_deref().map(load_owners) {
                    good = false;
                    writeln!(text, "{problems}")?;
                    continue;
                }
                let accounts = config.clusters.iter().filter_map(|cluster| {
                    let error = app::check_system_account(cluster).err()?;
                    Some(format!("cluster `{}`: system_account: {error}", cluster.name))
                });
                let accounts: Vec<String> = accounts.collect();
                if !accounts.is_empty() {
                    good = false;
                    for problem in accounts {
                        writeln!(text, "{}: {problem}", file.display())?;
                    }
                    continue;
                }
                let clusters = config.clusters.len();
                let servers: usize = config.clusters.iter().map(|cluster| cluster.monitor.len()).sum();
                writeln!(text, "{}: good: {clusters} clusters, {servers} servers", file.display())?;
            }
            Err(problems) => {
                good = false;
                writeln!(text, "{}", problems.to_string().trim_end())?;
            }
        }
    }
    print(&text)?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}
