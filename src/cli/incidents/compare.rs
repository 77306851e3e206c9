//! `connwarden incidents compare`: what is different between two looks of one incident, or of two.

use std::fmt::Write;

use clap::Args;

use crate::cli::client::Client;
use crate::cli::clusters::{rest, table, total};
use crate::cli::incidents::{INSTANT, act};
use crate::cli::output::OutputArguments;
use crate::cli::table::{table_width, terminal};
use crate::http::api::incidents::comparison::{ComparedLook, IncidentComparison};
use crate::model::ids::{IncidentId, SnapshotId};
use crate::model::printable::visible;

#[derive(Debug, Args)]
pub(super) struct CompareArguments {
    /// The incident's id.
    #[arg(value_parser = act::read_id)]
    id: IncidentId,
    /// Compare with this look. [default: the first; with --with its fullest]
    #[arg(long, value_name = "SNAPSHOT")]
    from: Option<SnapshotId>,
    /// Compare this look. [default: the last; with --with the fullest]
    #[arg(long, value_name = "SNAPSHOT")]
    to: Option<SnapshotId>,
    /// Compare with another incident.
    #[arg(long, value_name = "INCIDENT", value_parser = act::read_id)]
    with: Option<IncidentId>,
    /// Groups to list per dimension, those that changed most first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    #[command(flatten)]
    output: OutputArguments,
}

/// Asks for a comparison.
pub(super) async fn run(client: &Client, arguments: CompareArguments) -> anyhow::Result<String> {
    let path = format!("api/v1/incidents/{}/comparison", arguments.id);
    let mut query = vec![("top", arguments.top.to_string())];
    query.extend(arguments.from.map(|snapshot| ("from", snapshot.to_string())));
    query.extend(arguments.to.map(|snapshot| ("to", snapshot.to_string())));
    query.extend(arguments.with.map(|incident| ("with", incident.to_string())));
    let document: IncidentComparison = client.get(&path, &query).await?;
    arguments.output.write(&document, |document| Ok(as_tables(document, table_width(terminal()))?))
}

fn as_tables(document: &IncidentComparison, width: usize) -> Result<String, std::fmt::Error> {
    let comparison = &document.comparison;
    let mut text = String::new();
    let mut look = |word: &str, look: &ComparedLook| {
        let (taken_at, cluster) = (look.taken_at.strftime(INSTANT), visible(&look.cluster));
        writeln!(text, "{word} {taken_at}  {cluster}, look {} of incident {}", look.snapshot, look.incident)
    };
    look("from", &document.before)?;
    look("to  ", &document.after)?;
    writeln!(text, "{}", total(comparison.total))?;
    if !comparison.servers.is_empty() {
        write!(text, "\n{}", table("SERVER", &comparison.servers, |_| None, width))?;
    }
    for (dimension, changes) in &comparison.by {
        if changes.deltas.is_empty() {
            writeln!(text, "\n{}: nothing has changed", dimension.title())?;
            continue;
        }
        let heading = dimension.title().to_uppercase();
        write!(text, "\n{}", table(&heading, &changes.deltas, |_| None, width))?;
        writeln!(text, "{}", rest(changes))?;
    }
    if !comparison.complete {
        writeln!(
            text,
            "\nINCOMPLETE: not every server was seen both times, and what it has looks as if it were gone or new"
        )?;
    }
    Ok(text)
}
