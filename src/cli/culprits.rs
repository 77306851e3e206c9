//! `connwarden culprits`: who was the culprit of how many incidents, from a running daemon.

use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use crate::cli::client::{Client, ClientArguments};
use crate::cli::output::{Output, as_json};
use crate::cli::print;
use crate::cli::printable::spreadsheet;
use crate::cli::table::{Column, draw, table_width, terminal};
use crate::clock::Clock;
use crate::http::api::culprits::CulpritList;
use crate::model::printable::{age, with_commas};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
    /// Only of incidents of this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// Only of incidents opened since then: an instant, or how long ago (`30d`, `12h`).
    #[arg(long, value_name = "TIME", value_parser = Since::read)]
    since: Option<Since>,
    /// Culprits to list.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// An instant, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Since {
    Instant(Timestamp),
    Ago(SignedDuration),
}

impl Since {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if let Ok(instant) = text.parse() {
            return Ok(Self::Instant(instant));
        }
        // days are not of equal length where there is summer time; here they are
        let duration = match text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()) {
            Some(days) => Ok(SignedDuration::from_hours(24 * i64::from(days))),
            None => text.parse::<SignedDuration>(),
        };
        match duration {
            Ok(duration) if !duration.is_negative() => Ok(Self::Ago(duration)),
            _ => Err(format!(
                "`{text}` is neither an instant like 2026-11-24T09:00:00Z nor a time like 30d or 12h"
            )),
        }
    }

    pub(super) fn instant(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Instant(instant) => instant,
            Self::Ago(duration) => now.saturating_sub(duration).unwrap_or(Timestamp::MIN),
        }
    }
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(arguments.client)?;
    let now = Clock::system().now();
    let mut query = vec![("limit", arguments.limit.to_string())];
    query.extend(arguments.cluster.map(|cluster| ("cluster", cluster)));
    query.extend(arguments.since.map(|since| ("since", since.instant(now).to_string())));
    let list: CulpritList = client.get("api/v1/culprits", &query).await?;
    let text = match arguments.output {
        Output::Json => as_json(&list)?,
        Output::Csv => as_csv(&list)?,
        Output::Table => as_table(&list, now, table_width(terminal())),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn as_table(list: &CulpritList, now: Timestamp, width: usize) -> String {
    if list.culprits.is_empty() {
        return "no culprits\n".to_owned();
    }
    let columns = [
        Column { heading: "CULPRIT", numeric: false, expendable: 0 },
        Column { heading: "INCIDENTS", numeric: true, expendable: 0 },
        Column { heading: "GROWN BY", numeric: true, expendable: 1 },
        Column { heading: "LAST", numeric: true, expendable: 0 },
        Column { heading: "CLUSTER", numeric: false, expendable: 2 },
        Column { heading: "LAST INCIDENT", numeric: false, expendable: 3 },
    ];
    let rows = list.culprits.iter().map(|culprit| {
        vec![
            format!("{} {}", culprit.dimension, culprit.key),
            with_commas(culprit.incidents),
            with_commas(culprit.grown_by),
            format!("{} ago", age(Some(culprit.last_opened_at), now)),
            culprit.last_cluster.clone().unwrap_or_default(),
            culprit.last_incident.to_string(),
        ]
    });
    draw(&columns, &rows.collect::<Vec<_>>(), width)
}

fn as_csv(list: &CulpritList) -> anyhow::Result<String> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    lines.write_record([
        "dimension",
        "key",
        "incidents",
        "grown_by",
        "last_incident",
        "last_cluster",
        "last_opened_at",
    ])?;
    for culprit in &list.culprits {
        lines.write_record([
            culprit.dimension.name(),
            &spreadsheet(&culprit.key),
            &culprit.incidents.to_string(),
            &culprit.grown_by.to_string(),
            &culprit.last_incident.to_string(),
            &spreadsheet(culprit.last_cluster.as_deref().unwrap_or_default()),
            &culprit.last_opened_at.to_string(),
        ])?;
    }
    Ok(String::from_utf8(lines.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_an_instant_or_how_long_ago() {
        let now: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
        for (text, instant) in [
            ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
            ("30d", "2026-10-25T09:00:00Z"),
            ("12h", "2026-11-23T21:00:00Z"),
            ("90m", "2026-11-24T07:30:00Z"),
        ] {
            assert_eq!(Since::read(text).unwrap().instant(now).to_string(), instant, "{text}");
        }
        for wrong in ["yesterday", "-1h", "d", ""] {
            assert!(Since::read(wrong).is_err(), "{wrong}");
        }
    }
}
