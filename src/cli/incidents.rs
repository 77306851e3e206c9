//! `connwarden incidents`: the incidents of a running daemon, through its API.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use url::Url;

use crate::cli::inspect::{ByList, read_by};
use crate::cli::table::{Column, draw, terminal_width};
use crate::cli::{Output, print, render};
use crate::clock::Clock;
use crate::http::api::clusters::DEFAULT_BY;
use crate::http::api::documents::{AlertDocument, IncidentDocument, IncidentList};
use crate::http::error::Problem;
use crate::model::breakdown::By;
use crate::model::ids::{IncidentId, SnapshotId};
use crate::model::printable::{age, visible};
use crate::model::truth::Truth;
use crate::outgoing;

/// How long the daemon may take to answer.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the daemon listens.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "CONNWARDEN_SERVER",
        default_value = "http://127.0.0.1:9480"
    )]
    server: Url,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List incidents, newest first.
    List(ListArguments),
    /// Show one incident: who holds the connections, and what happened.
    Show(ShowArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Only of this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// Only of this alert.
    #[arg(long)]
    alert_name: Option<String>,
    /// Only in this state: triggered or resolved.
    #[arg(long)]
    state: Option<String>,
    /// Incidents to list.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Continue behind the page that ended with this cursor.
    #[arg(long, value_name = "CURSOR")]
    before: Option<String>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// The incident's id.
    id: IncidentId,
    /// Which breakdowns to show, a comma list. [default: application,ip in tables, everything otherwise]
    #[arg(long, value_parser = read_by)]
    by: Option<ByList>,
    /// Groups to list per breakdown. [default: 20 in tables, 100 otherwise]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Show this look at the cluster instead of the last one.
    #[arg(long, value_name = "ID")]
    snapshot: Option<SnapshotId>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let text = match arguments.command {
        Command::List(list) => self::list(&arguments.server, list).await?,
        Command::Show(show) => self::show(&arguments.server, show).await?,
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(server: &Url, arguments: ListArguments) -> anyhow::Result<String> {
    let mut query = vec![("limit", arguments.limit.to_string())];
    let optional = [
        ("cluster", arguments.cluster),
        ("alert_name", arguments.alert_name),
        ("state", arguments.state),
        ("before", arguments.before),
    ];
    query.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let page: IncidentList = get(server, "api/v1/incidents", &query).await?;
    match arguments.output {
        Output::Json => Ok(serde_json::to_string_pretty(&page)? + "\n"),
        Output::Csv => list_as_csv(&page),
        Output::Table => list_as_table(&page),
    }
}

fn list_as_table(page: &IncidentList) -> anyhow::Result<String> {
    if page.incidents.is_empty() {
        return Ok("no incidents\n".to_owned());
    }
    let now = Clock::system().now();
    let columns = [
        Column { heading: "WHAT", numeric: false, expendable: 0 },
        Column { heading: "STATE", numeric: false, expendable: 0 },
        Column { heading: "CLUSTER", numeric: false, expendable: 1 },
        Column { heading: "OPENED", numeric: true, expendable: 2 },
        Column { heading: "ID", numeric: false, expendable: 0 },
    ];
    let rows: Vec<Vec<String>> = page
        .incidents
        .iter()
        .map(|incident| {
            vec![
                incident.headline.clone().unwrap_or_else(|| incident.alert_name.clone()),
                incident.state.name().to_owned(),
                incident.cluster_name(),
                format!("{} ago", age(Some(incident.opened_at), now)),
                incident.id.to_string(),
            ]
        })
        .collect();
    let mut text = draw(&columns, &rows, terminal_width());
    if let Some(next) = &page.next {
        writeln!(text, "\nthere are more: --before {next}")?;
    }
    Ok(text)
}

fn list_as_csv(page: &IncidentList) -> anyhow::Result<String> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    lines.write_record(["id", "state", "cluster", "alert_name", "opened_at", "headline"])?;
    for incident in &page.incidents {
        lines.write_record([
            &*incident.id.to_string(),
            incident.state.name(),
            &crate::cli::printable::spreadsheet(&incident.cluster_name()),
            &crate::cli::printable::spreadsheet(&incident.alert_name),
            &incident.opened_at.to_string(),
            &crate::cli::printable::spreadsheet(incident.headline.as_deref().unwrap_or_default()),
        ])?;
    }
    Ok(String::from_utf8(lines.into_inner()?)?)
}

async fn show(server: &Url, arguments: ShowArguments) -> anyhow::Result<String> {
    let (default_top, default_by) = match arguments.output {
        Output::Table => ("20", Some(ByList(By::parse_list(DEFAULT_BY)?))),
        Output::Json | Output::Csv => ("100", None),
    };
    let by = arguments.by.or(default_by);
    let top = arguments.top.map_or_else(|| default_top.to_owned(), |top| top.to_string());
    let path = format!("api/v1/incidents/{}", arguments.id);
    let mut query = vec![("top", top)];
    query.extend(by.as_ref().map(|by| ("by", by.to_string())));
    query.extend(arguments.snapshot.map(|snapshot| ("snapshot", snapshot.to_string())));
    let document: IncidentDocument = get(server, &path, &query).await?;
    match arguments.output {
        Output::Json => Ok(serde_json::to_string_pretty(&document)? + "\n"),
        Output::Csv => render::csv(&document.breakdowns),
        Output::Table => show_as_text(&document, by.as_ref().map_or(&[], |by| &by.0)),
    }
}

fn show_as_text(document: &IncidentDocument, by: &[By]) -> anyhow::Result<String> {
    let (width, now) = (terminal_width(), Clock::system().now());
    let head = &document.head;
    let mut text = String::new();
    writeln!(text, "{}", visible(head.headline.as_deref().unwrap_or(&head.alert_name)))?;
    writeln!(text)?;
    writeln!(text, "incident  {}", head.id)?;
    writeln!(text, "alert     {}", visible(&head.alert_name))?;
    writeln!(text, "cluster   {}", visible(&head.cluster_name()))?;
    let opened = age(Some(head.opened_at), now);
    writeln!(text, "state     {}, opened {opened} ago ({})", head.state.name(), head.opened_at)?;

    writeln!(text, "\nALERTS")?;
    text.push_str(&alerts(&document.alerts, width));
    match &document.coverage {
        None => writeln!(text, "\nNATS has not been seen yet; the timeline says why")?,
        Some(coverage) => {
            write!(text, "\n{}", render::coverage(coverage, width))?;
            for by in by {
                match document.breakdowns.get(by) {
                    Some(breakdown) => write!(text, "\n{}", render::breakdown(*by, breakdown, now, width))?,
                    None => {
                        writeln!(text, "\n{by} was not stored; a live look can show it: connwarden inspect")?
                    }
                }
            }
        }
    }
    writeln!(text, "\nTIMELINE")?;
    for entry in &document.timeline {
        let at = entry.at.strftime("%Y-%m-%d %H:%M:%SZ");
        writeln!(text, "{at}  {:<12}  {}", visible(&entry.actor), visible(&entry.text))?;
    }
    Ok(text)
}

fn alerts(alerts: &[AlertDocument], width: usize) -> String {
    let columns = [
        Column { heading: "SERVER", numeric: false, expendable: 0 },
        Column { heading: "STATUS", numeric: false, expendable: 0 },
        Column { heading: "SAYS", numeric: true, expendable: 0 },
        Column { heading: "REALLY", numeric: true, expendable: 0 },
        Column { heading: "", numeric: false, expendable: 1 },
    ];
    let rows: Vec<Vec<String>> = alerts
        .iter()
        .map(|alert| {
            let truth = alert.truth.as_ref();
            vec![
                alert.server_name().to_owned(),
                alert.status.clone(),
                alert.value.map_or_else(|| "?".to_owned(), |value| value.to_string()),
                truth.and_then(Truth::count).unwrap_or_else(|| "?".to_owned()),
                if alert.is_saturated() { "saturated: one /connz page holds 1024" } else { "" }.to_owned(),
            ]
        })
        .collect();
    draw(&columns, &rows, width)
}

/// Asks the daemon for a document.
async fn get<T: DeserializeOwned>(server: &Url, path: &str, query: &[(&str, String)]) -> anyhow::Result<T> {
    let mut url = server.join(path).with_context(|| format!("{server} is not the URL of a daemon"))?;
    url.query_pairs_mut().extend_pairs(query);
    let http = outgoing::client(|builder| builder.timeout(TIMEOUT));
    let answer =
        http.get(url).send().await.with_context(|| {
            format!("asking {server}; is `connwarden serve` running there? (see --server)")
        })?;
    let status = answer.status();
    let body = answer.bytes().await.with_context(|| format!("reading the answer of {server}"))?;
    if !status.is_success() {
        return Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => anyhow::anyhow!("{}", problem.detail),
            Err(_) => anyhow::anyhow!("{server} answers with status {status}: is it connwarden?"),
        });
    }
    serde_json::from_slice(&body).with_context(|| format!("reading the document of {server}"))
}
