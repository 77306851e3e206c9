//! Logs: lines on standard error, for people or for machines.

use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to write log lines that pass `filter` (a level, or tracing's filter directives).
///
/// # Errors
///
/// The filter cannot be read, or logging has begun already.
pub fn start(filter: &str, style: LogStyle) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::builder().parse(filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match style {
        LogStyle::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogStyle::Json => lines.json().flatten_event(true).try_init(),
    }
}
