//! `connwarden serve`: the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tracing::{info, warn};
use url::Url;

use crate::app::{App, StartOptions, Stop};
use crate::clock::Clock;
use crate::config::{Config, LogFormat, parse_log_level, parse_typed_monitor_url};
use crate::telemetry::logs::{self, LogStyle};

/// Flags win over the file.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Configuration file; without one, name the servers with --nats.monitor.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Monitoring URL of a NATS server; repeat it for the other servers of the same cluster.
    #[arg(long = "nats.monitor", value_name = "URL", value_parser = parse_typed_monitor_url, conflicts_with = "config_file")]
    monitors: Vec<Url>,
    /// Directory of the database; made if it is not there. [default: data]
    #[arg(long = "storage.path", value_name = "DIR", env = "CONNWARDEN_STORAGE_PATH")]
    storage_path: Option<PathBuf>,
    /// Address to listen on. [default: 127.0.0.1:9480]
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    listen_address: Option<SocketAddr>,
    /// Listen beyond loopback although no credential is configured and nobody has to prove who they are.
    #[arg(long = "web.insecure-no-auth")]
    insecure_no_auth: bool,
    /// Notifications per commit; for measuring what it is worth to commit many together.
    #[arg(long = "storage.batch", value_name = "COUNT", hide = true)]
    batch: Option<usize>,
    /// Log level, or tracing filter directives. [default: info]
    #[arg(long = "log.level", value_name = "LEVEL", value_parser = parse_log_level)]
    log_level: Option<String>,
    /// How log lines are written. [default: text]
    #[arg(long = "log.format", value_name = "FORMAT", value_parser = LogFormat::parse)]
    log_format: Option<LogFormat>,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let options = StartOptions { insecure_no_auth: arguments.insecure_no_auth, batch: arguments.batch };
    let config = configuration(arguments)?;
    let style = match config.log.format {
        LogFormat::Text => LogStyle::Text,
        LogFormat::Json => LogStyle::Json,
    };
    logs::start(&config.log.level, style).map_err(|error| anyhow::anyhow!("starting the log: {error}"))?;
    for warning in config.warnings() {
        warn!("{warning}");
    }
    if config.clusters.is_empty() {
        warn!("no cluster is configured: alerts are stored, but NATS is not looked at; see --nats.monitor");
    }

    let stop = Stop::on_signals()?;
    let app = App::start(&config, Clock::system(), options).await?;
    let url = app.url()?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        storage = %config.storage.path.display(),
        clusters = config.clusters.len(),
        "listening on {url}; let Alertmanager post to {url}/api/v1/webhook/alertmanager",
    );
    app.run(stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration of the file or of nothing, with what the flags say.
fn configuration(arguments: Arguments) -> anyhow::Result<Config> {
    let mut config = match &arguments.config_file {
        Some(path) => Config::load(path)
            .map_err(|problems| anyhow::anyhow!("the configuration is wrong\n{problems}"))?,
        None if arguments.monitors.is_empty() => Config::default(),
        None => Config::from_monitors(arguments.monitors),
    };
    if let Some(path) = arguments.storage_path {
        config.storage.path = path;
    }
    if let Some(address) = arguments.listen_address {
        config.web.listen_address = address;
    }
    if let Some(level) = arguments.log_level {
        config.log.level = level;
    }
    if let Some(format) = arguments.log_format {
        config.log.format = format;
    }
    Ok(config)
}
