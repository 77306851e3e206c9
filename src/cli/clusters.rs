//! `connwarden clusters`: the clusters of a running daemon, and what has changed in one of them.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::cli::client::{Client, ClientArguments};
use crate::cli::output::OutputArguments;
use crate::cli::table::{Column, draw, table_width, terminal};
use crate::cli::{PARTIAL, print};
use crate::http::api::documents::ClusterList;
use crate::http::api::history::ComparisonDocument;
use crate::model::comparison::{BeforeAfter, Changes, Delta, DeltaKind, HealthyReason};
use crate::model::first_seen::FirstSeen;
use crate::model::printable::with_commas;

/// How instants are written for people.
const INSTANT: &str = "%Y-%m-%d %H:%M:%SZ";

/// Exits 0, or 3 if a comparison lacks a part of the cluster.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the configured clusters and their servers.
    List(OutputArguments),
    /// Say what is new, gone, grown and shrunk in a cluster: since it was last well until now, unless told otherwise.
    Compare(CompareArguments),
}

#[derive(Debug, Args)]
struct CompareArguments {
    /// The cluster.
    #[arg(value_name = "CLUSTER")]
    name: String,
    /// Compare with the last sample until then, such as 2026-11-24T02:50Z. [default: when the cluster was last well]
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Compare the last sample until then. [default: look at the cluster now]
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// From how many connections of one server on the cluster is not well. [default: the lowest that is configured]
    #[arg(long, value_name = "CONNECTIONS")]
    threshold: Option<u64>,
    /// Groups to list per dimension, those that changed most first.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    #[command(flatten)]
    output: OutputArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(arguments.client)?;
    match arguments.command {
        Command::List(output) => list(&client, &output).await,
        Command::Compare(compare) => self::compare(&client, compare).await,
    }
}

async fn list(client: &Client, output: &OutputArguments) -> anyhow::Result<ExitCode> {
    let list: ClusterList = client.get("api/v1/clusters", &[]).await?;
    print(&output.write(&list, |list| Ok(list_as_table(list, table_width(terminal()))))?)?;
    Ok(ExitCode::SUCCESS)
}

fn list_as_table(list: &ClusterList, width: usize) -> String {
    let columns = [
        Column { heading: "CLUSTER", numeric: false, expendable: 0 },
        Column { heading: "SERVER", numeric: false, expendable: 1 },
        Column { heading: "URL", numeric: false, expendable: 0 },
    ];
    let rows = list.clusters.iter().flat_map(|cluster| {
        cluster.servers.iter().map(|server| {
            let name = server.name.clone().unwrap_or_else(|| "?".to_owned());
            vec![cluster.name.clone(), name, server.url.as_ref().map(ToString::to_string).unwrap_or_default()]
        })
    });
    draw(&columns, &rows.collect::<Vec<_>>(), width)
}

async fn compare(client: &Client, arguments: CompareArguments) -> anyhow::Result<ExitCode> {
    let CompareArguments { name, from, to, threshold, top, output } = arguments;
    let given = [
        ("from", from.map(|at| at.to_string())),
        ("to", to.map(|at| at.to_string())),
        ("threshold", threshold.map(|connections| connections.to_string())),
        ("top", Some(top.to_string())),
    ];
    let query: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let path = format!("api/v1/clusters/{name}/comparison");
    let document: ComparisonDocument = client.get(&path, &query).await?;
    print(&output.write(&document, |document| Ok(as_tables(document, table_width(terminal()))))?)?;
    Ok(if document.comparison.complete { ExitCode::SUCCESS } else { ExitCode::from(PARTIAL) })
}

fn as_tables(document: &ComparisonDocument, width: usize) -> String {
    let comparison = &document.comparison;
    let why = match document.healthy {
        Some(HealthyReason::BelowThreshold) => ", when every server was last clearly below the threshold",
        Some(HealthyReason::LowestLevel) => ", when there were last as few as ever in the week before",
        None => "",
    };
    let mut text = String::new();
    // writing into a string cannot fail
    let _ = writeln!(text, "from {}{why}", comparison.from.strftime(INSTANT));
    let _ = writeln!(text, "to   {}", comparison.to.strftime(INSTANT));
    let _ = writeln!(text, "{}", total(comparison.total));
    if !comparison.servers.is_empty() {
        let _ = write!(text, "\n{}", table("SERVER", &comparison.servers, |_| None, width));
    }
    for (dimension, changes) in &comparison.by {
        let first_seen = document.first_seen.get(dimension);
        text.push('\n');
        if changes.deltas.is_empty() {
            let _ = writeln!(text, "{}: nothing has changed", dimension.title());
            continue;
        }
        let heading = dimension.title().to_uppercase();
        let seen = |key: &str| first_seen.and_then(|seen| seen.get(key)).copied();
        text.push_str(&table(&heading, &changes.deltas, seen, width));
        let _ = writeln!(text, "{}", rest(changes));
    }
    if !comparison.complete {
        text.push_str("\nINCOMPLETE: not every server was seen both times, and what it has looks as if it were gone or new\n");
    }
    text
}

/// Says how many connections there were, and are.
pub(super) fn total(total: BeforeAfter) -> String {
    let (before, after) = (with_commas(total.before), with_commas(total.after));
    format!("{before} connections before, {after} after ({})", signed(total.before, total.after))
}

/// Says what is in no delta.
pub(super) fn rest(changes: &Changes) -> String {
    let (before, after) = (with_commas(changes.other.before), with_commas(changes.other.after));
    format!("all others: {before} before, {after} after; {} groups as large as before", changes.unchanged)
}

/// Draws what became of groups or servers.
pub(super) fn table(
    heading: &str,
    deltas: &[Delta],
    first_seen: impl Fn(&str) -> Option<FirstSeen>,
    width: usize,
) -> String {
    let mut columns = vec![
        Column { heading, numeric: false, expendable: 0 },
        Column { heading: "BEFORE", numeric: true, expendable: 0 },
        Column { heading: "AFTER", numeric: true, expendable: 0 },
        Column { heading: "CHANGE", numeric: true, expendable: 0 },
        Column { heading: "", numeric: false, expendable: 0 },
        Column { heading: "FIRST SEEN", numeric: false, expendable: 1 },
    ];
    let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), with_commas);
    let rows = deltas.iter().map(|delta| {
        let change = delta.before.zip(delta.after).map(|(before, after)| signed(before, after));
        let seen = first_seen(&delta.key).map(|seen| match seen.not_seen_at {
            Some(_) => seen.at.strftime(INSTANT).to_string(),
            None => format!("{} or before", seen.at.strftime(INSTANT)),
        });
        vec![
            delta.key.clone(),
            count(delta.before),
            count(delta.after),
            change.unwrap_or_else(|| "?".to_owned()),
            kind(delta.kind).to_owned(),
            seen.unwrap_or_default(),
        ]
    });
    let mut rows: Vec<Vec<String>> = rows.collect();
    if rows.iter().all(|row| row[columns.len() - 1].is_empty()) {
        columns.pop();
        rows.iter_mut().for_each(|row| row.truncate(columns.len()));
    }
    draw(&columns, &rows, width)
}

fn signed(before: u64, after: u64) -> String {
    let sign = if after < before { "-" } else { "+" };
    format!("{sign}{}", with_commas(before.abs_diff(after)))
}

fn kind(kind: DeltaKind) -> &'static str {
    match kind {
        DeltaKind::New => "new",
        DeltaKind::Gone => "gone",
        DeltaKind::Grown => "grown",
        DeltaKind::Shrunk => "shrunk",
        DeltaKind::Unclear => "unclear",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::breakdown::Dimension;
    use crate::model::comparison::Comparison;

    #[test]
    fn a_comparison_is_shown_as_tables() {
        let delta = |key: &str, before, after, kind| Delta { key: key.to_owned(), before, after, kind };
        let applications = Changes {
            deltas: vec![
                delta("report\u{1b}-worker", Some(0), Some(1500), DeltaKind::New),
                delta("small", None, Some(12), DeltaKind::Unclear),
                delta("orders", Some(40), Some(0), DeltaKind::Gone),
            ],
            unchanged: 4,
            other: BeforeAfter { before: 1760, after: 1760 },
        };
        let [from, to] = ["2026-11-24T02:50:12Z", "2026-11-24T09:30:00Z"].map(|at| at.parse().unwrap());
        let seen = |not_seen_at| FirstSeen { at: "2026-11-24T02:51:12Z".parse().unwrap(), not_seen_at };
        let document = ComparisonDocument {
            cluster: "nats".to_owned(),
            healthy: Some(HealthyReason::BelowThreshold),
            comparison: Comparison {
                from,
                to,
                complete: false,
                total: BeforeAfter { before: 1800, after: 3272 },
                servers: vec![delta("nats-1", Some(1800), Some(3272), DeltaKind::Grown)],
                by: BTreeMap::from([
                    (Dimension::Application, applications),
                    (Dimension::Account, Changes::default()),
                ]),
            },
            first_seen: BTreeMap::from([(
                Dimension::Application,
                BTreeMap::from([
                    ("report\u{1b}-worker".to_owned(), seen(Some(from))),
                    ("small".to_owned(), seen(None)),
                ]),
            )]),
        };
        insta::assert_snapshot!(as_tables(&document, 120), @r"
        from 2026-11-24 02:50:12Z, when every server was last clearly below the threshold
        to   2026-11-24 09:30:00Z
        1,800 connections before, 3,272 after (+1,472)

        SERVER  BEFORE  AFTER  CHANGE
        nats-1   1,800  3,272  +1,472  grown

        APPLICATION          BEFORE  AFTER  CHANGE           FIRST SEEN
        report\u{1b}-worker       0  1,500  +1,500  new      2026-11-24 02:51:12Z
        small                     ?     12       ?  unclear  2026-11-24 02:51:12Z or before
        orders                   40      0     -40  gone
        all others: 1,760 before, 1,760 after; 4 groups as large as before

        Account: nothing has changed

        INCOMPLETE: not every server was seen both times, and what it has looks as if it were gone or new
        ");
    }
}
