//! `connwarden incidents report`: an incident as something to paste into a post-mortem.

use clap::{Args, ValueEnum};

use crate::cli::client::Client;
use crate::cli::incidents::act;
use crate::cli::output::as_json;
use crate::http::api::incidents::report::ReportDocument;
use crate::model::ids::{IncidentId, SnapshotId};
use crate::model::printable::visible;

#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// The incident's id.
    #[arg(value_parser = act::read_id)]
    id: IncidentId,
    /// Report this look at the cluster instead of the last one.
    #[arg(long, value_name = "ID")]
    snapshot: Option<SnapshotId>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "markdown")]
    output: Format,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Markdown,
    /// The same document as the API's.
    Json,
}

/// Asks for a report.
pub(super) async fn run(client: &Client, arguments: ReportArguments) -> anyhow::Result<String> {
    let path = format!("api/v1/incidents/{}/report", arguments.id);
    let query = |format: &str| {
        let mut query = vec![("format", format.to_owned())];
        query.extend(arguments.snapshot.map(|snapshot| ("snapshot", snapshot.to_string())));
        query
    };
    match arguments.output {
        Format::Json => {
            let report: ReportDocument = client.get(&path, &query("json")).await?;
            as_json(&report)
        }
        Format::Markdown => {
            let report = client.get_text(&path, &query("markdown")).await?;
            // what answers may not be connwarden
            let lines: Vec<_> = report.lines().map(visible).collect();
            Ok(lines.join("\n") + "\n")
        }
    }
}
