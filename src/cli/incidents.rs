//! `connwarden incidents`: the incidents of a running daemon, through its API.

pub(super) mod act;
mod compare;
mod diagnosis;
mod report;

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use crate::cli::client::{Client, ClientArguments};
use crate::cli::incidents::act::Act;
use crate::cli::incidents::compare::CompareArguments;
use crate::cli::incidents::report::ReportArguments;
use crate::cli::inspect::{ByList, read_by};
use crate::cli::output::{Output, as_json};
use crate::cli::printable::{fit, spreadsheet, wrap};
use crate::cli::table::{Column, draw, table_width, terminal, with_next};
use crate::cli::{changes, mitigations, print, render};
use crate::clock::Clock;
use crate::http::api::clusters::DEFAULT_BY;
use crate::http::api::documents::{AlertDocument, IncidentDocument, IncidentList};
use crate::model::breakdown::By;
use crate::model::diagnosis::{FindingKind, Subject};
use crate::model::ids::{IncidentId, SnapshotId};
use crate::model::incident::IncidentState;
use crate::model::printable::{age, visible};
use crate::model::truth::Truth;

/// How instants are written for people.
const INSTANT: &str = "%Y-%m-%d %H:%M:%SZ";

/// How many columns of one text a terminal shows.
const LONGEST_TEXT: usize = 300;

/// How many columns of a culprit's name a list shows.
const LONGEST_CULPRIT: usize = 32;

/// A text that would get less room than this begins on a line of its own.
const NARROWEST_TEXT: usize = 40;

/// How far such a text is indented.
const NARROW_INDENT: usize = 4;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List incidents, newest first.
    List(ListArguments),
    /// Show one incident: who holds the connections, and what happened.
    Show(ShowArguments),
    /// Report one incident for a post-mortem: what, who, since when, why, what was done and what to do.
    Report(ReportArguments),
    /// Say what is different between two looks of one incident, or of two incidents.
    Compare(CompareArguments),
    #[command(flatten)]
    Act(Act),
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Only of this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// Only of this alert.
    #[arg(long)]
    alert_name: Option<String>,
    /// Only in this state: triggered, acknowledged, recovering or resolved.
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
    #[arg(value_parser = act::read_id)]
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
    let client = Client::new(arguments.client)?;
    let text = match arguments.command {
        Command::List(list) => self::list(&client, list).await?,
        Command::Show(show) => self::show(&client, show).await?,
        Command::Compare(arguments) => compare::run(&client, arguments).await?,
        Command::Report(arguments) => report::run(&client, arguments).await?,
        Command::Act(act) => act::run(&client, act).await?,
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, arguments: ListArguments) -> anyhow::Result<String> {
    let mut query = vec![("limit", arguments.limit.to_string())];
    let optional = [
        ("cluster", arguments.cluster),
        ("alert_name", arguments.alert_name),
        ("state", arguments.state),
        ("before", arguments.before),
    ];
    query.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let page: IncidentList = client.get("api/v1/incidents", &query).await?;
    match arguments.output {
        Output::Json => as_json(&page),
        Output::Csv => list_as_csv(&page),
        Output::Table => list_as_table(&page, Clock::system().now(), table_width(terminal())),
    }
}

fn list_as_table(page: &IncidentList, now: Timestamp, width: usize) -> anyhow::Result<String> {
    if page.incidents.is_empty() {
        return Ok("no incidents\n".to_owned());
    }
    let columns = [
        Column { heading: "WHAT", numeric: false, expendable: 0 },
        Column { heading: "STATE", numeric: false, expendable: 0 },
        Column { heading: "FINDING", numeric: false, expendable: 4 },
        Column { heading: "CULPRIT", numeric: false, expendable: 5 },
        Column { heading: "ALERT", numeric: false, expendable: 1 },
        Column { heading: "CLUSTER", numeric: false, expendable: 2 },
        Column { heading: "OPENED", numeric: true, expendable: 3 },
        Column { heading: "ID", numeric: false, expendable: 0 },
    ];
    let rows: Vec<Vec<String>> = page
        .incidents
        .iter()
        .map(|incident| {
            vec![
                incident.headline.clone().unwrap_or_else(|| incident.alert_name.clone()),
                match incident.state.since() {
                    None => incident.state.name().to_owned(),
                    Some(since) => format!("{} {} ago", incident.state.name(), age(Some(since), now)),
                },
                incident.top_finding.map_or("-", FindingKind::name).to_owned(),
                culprit(incident.culprit.as_ref()),
                incident.alert_name.clone(),
                incident.cluster_name(),
                format!("{} ago", age(Some(incident.opened_at), now)),
                incident.id.to_string(),
            ]
        })
        .collect();
    let text = draw(&columns, &rows, width);
    Ok(with_next(text, page.next.as_deref()))
}

/// Who explains most of the trouble, as a cell.
fn culprit(culprit: Option<&Subject>) -> String {
    culprit
        .map_or_else(|| "-".to_owned(), |culprit| fit(&visible(&culprit.key), LONGEST_CULPRIT).into_owned())
}

fn list_as_csv(page: &IncidentList) -> anyhow::Result<String> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    lines.write_record([
        "id",
        "state",
        "cluster",
        "alert_name",
        "opened_at",
        "headline",
        "resolved_at",
        "top_finding",
        "culprit",
    ])?;
    for incident in &page.incidents {
        let resolved_at = match &incident.state {
            IncidentState::Resolved { resolved_at, .. } => resolved_at.to_string(),
            _ => String::new(),
        };
        lines.write_record([
            &*incident.id.to_string(),
            incident.state.name(),
            &spreadsheet(&incident.cluster_name()),
            &spreadsheet(&incident.alert_name),
            &incident.opened_at.to_string(),
            &spreadsheet(incident.headline.as_deref().unwrap_or_default()),
            &resolved_at,
            incident.top_finding.map_or("", FindingKind::name),
            &spreadsheet(incident.culprit.as_ref().map_or("", |culprit| &culprit.key)),
        ])?;
    }
    Ok(String::from_utf8(lines.into_inner()?)?)
}

async fn show(client: &Client, arguments: ShowArguments) -> anyhow::Result<String> {
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
    let document: IncidentDocument = client.get(&path, &query).await?;
    match arguments.output {
        Output::Json => as_json(&document),
        Output::Csv => render::csv(&document.breakdowns),
        Output::Table => {
            let by = by.as_ref().map_or(&[][..], |by| &by.0);
            show_as_text(&document, by, Clock::system().now(), terminal())
        }
    }
}

/// Tells an incident as of `now`. Only a terminal has its lines broken and cut: who reads a pipe gets everything.
fn show_as_text(
    document: &IncidentDocument,
    by: &[By],
    now: Timestamp,
    terminal: Option<usize>,
) -> anyhow::Result<String> {
    let width = table_width(terminal);
    let head = &document.head;
    let mut text = String::new();
    text.push_str(&paragraph("", head.headline.as_deref().unwrap_or(&head.alert_name), terminal));
    writeln!(text)?;
    writeln!(text, "incident  {}", head.id)?;
    writeln!(text, "alert     {}", visible(&head.alert_name))?;
    writeln!(text, "cluster   {}", visible(&head.cluster_name()))?;
    let ago = |at: Timestamp| format!("{} ({} ago)", at.strftime(INSTANT), age(Some(at), now));
    let note = head.state.note().map(|note| format!(" ({})", visible(&note))).unwrap_or_default();
    let since = head.state.since().map(|since| format!(" {}", ago(since))).unwrap_or_default();
    let state = format!("{}{note}{since}", head.state.name());
    writeln!(text, "state     {state}, opened {}", ago(head.opened_at))?;
    if let Some(taken_at) = document.taken_at {
        let place = document.snapshots.iter().position(|look| Some(look.id) == document.snapshot);
        let place = place.map_or(0, |place| place + 1);
        writeln!(text, "look      {}, {place} of {}", ago(taken_at), document.snapshots.len())?;
    }

    text.push_str(&diagnosis::diagnosis(document, now, terminal));

    writeln!(text, "\nALERTS")?;
    text.push_str(&alerts(&document.alerts, width));
    match (&document.coverage, document.taken_at) {
        (Some(coverage), Some(taken_at)) => {
            write!(text, "\n{}", render::coverage(coverage, width))?;
            for by in by {
                match document.breakdowns.get(by) {
                    Some(breakdown) => {
                        write!(text, "\n{}", render::breakdown(*by, breakdown, taken_at, width))?
                    }
                    None => {
                        writeln!(text, "\n{by} was not stored; a live look can show it: connwarden inspect")?
                    }
                }
            }
        }
        _ => writeln!(text, "\nNATS has not been seen yet; the timeline says why")?,
    }
    if !document.changes.is_empty() {
        write!(text, "\nCHANGES\n{}", changes::table(&document.changes, now, width))?;
    }
    if !document.mitigations.is_empty() {
        write!(text, "\nMITIGATIONS\n{}", mitigations::table(&document.mitigations, now, width))?;
    }
    writeln!(text, "\nTIMELINE")?;
    for entry in &document.timeline {
        let before = format!("{}  {:<12}  ", entry.at.strftime(INSTANT), visible(&entry.actor));
        text.push_str(&paragraph(&before, &entry.text, terminal));
    }
    Ok(text)
}

/// A text from strangers behind what stands before it. On a terminal it is cut to a sensible length and wrapped.
fn paragraph(before: &str, text: &str, terminal: Option<usize>) -> String {
    match terminal {
        Some(_) => wrapped(before, &fit(&visible(text), LONGEST_TEXT), terminal),
        None => wrapped(before, text, None),
    }
}

/// A text behind what stands before it, wrapped on a terminal.
pub(super) fn wrapped(before: &str, text: &str, terminal: Option<usize>) -> String {
    let text = visible(text);
    let Some(width) = terminal else { return format!("{before}{text}\n") };
    let indent = if width < before.width() + NARROWEST_TEXT { NARROW_INDENT } else { before.width() };
    let lines = wrap(&text, width.saturating_sub(indent)).join(&format!("\n{:indent$}", ""));
    if indent == before.width() {
        format!("{before}{lines}\n")
    } else {
        format!("{}\n{:indent$}{lines}\n", before.trim_end(), "")
    }
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
                remarks(alert),
            ]
        })
        .collect();
    draw(&columns, &rows, width)
}

/// What there is to know about an alert beside its numbers.
fn remarks(alert: &AlertDocument) -> String {
    let quiet = alert.quiet().into_iter().map(|(word, ids)| format!("{word} by {}", visible(&ids)));
    let saturated = alert.is_saturated().then(|| "saturated: one /connz page holds 1024".to_owned());
    quiet.chain(saturated).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LONG: &str =
        "could not see everything: http://nats-2.example:8222/varz: cannot connect: no answer within 3s";

    /// A resolved incident with two looks, of which the first is shown.
    fn document() -> IncidentDocument {
        let coverage = json!({
            "seen": 0, "total": 0, "complete": true, "duration_ms": 1, "bytes": 1, "servers": []
        });
        let look = |id: &str, at: &str| json!({ "id": id, "taken_at": at, "coverage": coverage });
        let figures = json!({
            "connections": 3, "subscriptions": 0, "idle": 0, "idle_without_traffic": 0, "pending_bytes": 0, "in_msgs": 0,
            "out_msgs": 0, "in_bytes": 0, "out_bytes": 0, "oldest_start": "2026-11-24T08:00:00Z",
            "newest_start": "2026-11-24T08:59:00Z", "distinct_ips": 1, "distinct_ips_exact": true
        });
        let mut other = figures.clone();
        other["share"] = json!(0.0);
        other["connections"] = json!(0);
        serde_json::from_value(json!({
            "id": "019b8d7a-0000-7000-8000-00000000000a", "cluster": "nats", "mapped_by": "matchers",
            "alert_name": "High", "state": "resolved", "resolution": "unverified",
            "resolved_at": "2026-11-24T11:00:00Z", "opened_at": "2026-11-24T09:00:00Z",
            "updated_at": "2026-11-24T11:00:00Z", "headline": "3 connections on nats-1", "alerts": [],
            "snapshots": [
                look("019b8d7a-0000-7000-8000-00000000000b", "2026-11-24T09:00:00Z"),
                look("019b8d7a-0000-7000-8000-00000000000c", "2026-11-24T10:00:00Z"),
            ],
            "snapshot": "019b8d7a-0000-7000-8000-00000000000b", "taken_at": "2026-11-24T09:00:00Z",
            "coverage": coverage,
            "breakdowns": { "ip": { "groups": [], "other": other, "total": figures } },
            "timeline": [
                { "at": "2026-11-24T09:00:00Z", "actor": "connwarden", "kind": "observation_failed", "text": LONG },
            ],
        }))
        .unwrap()
    }

    fn shown(terminal: Option<usize>) -> String {
        let now = "2026-11-27T09:00:00Z".parse().unwrap();
        show_as_text(&document(), &[By::from(crate::model::breakdown::Dimension::Ip)], now, terminal).unwrap()
    }

    #[test]
    fn ages_are_told_as_of_the_look_and_the_look_is_named() {
        let text = shown(None);
        assert!(text.contains("\nlook      2026-11-24 09:00:00Z (3d ago), 1 of 2\n"), "{text}");
        let total = text.lines().find(|line| line.starts_with("total")).unwrap();
        assert!(total.ends_with("1h      1m"), "{text}");
    }

    #[test]
    fn a_resolved_incident_says_how_and_when() {
        let state = "\nstate     resolved (unverified) 2026-11-24 11:00:00Z (2d ago), \
                     opened 2026-11-24 09:00:00Z (3d ago)\n";
        let text = shown(None);
        assert!(text.contains(state), "{text}");
    }

    #[test]
    fn what_was_changed_around_it_is_shown_before_the_timeline() {
        assert!(!shown(None).contains("CHANGES"));
        let mut document = document();
        document.changes = serde_json::from_value(json!([{
            "id": "019b8d7a-0000-7000-8000-00000000000d", "at": "2026-11-24T08:48:00Z", "ended_at": null,
            "kind": "deploy", "cluster": null, "application": "orders-api", "server": null,
            "title": "orders-api \u{1b}[2J", "text": "", "url": null, "tags": [], "author": "pipeline", "source": "ci",
            "external_id": null
        }]))
        .unwrap();
        let now = "2026-11-24T09:00:00Z".parse().unwrap();
        let text = show_as_text(&document, &[], now, None).unwrap();
        let changes = text.split_once("\nCHANGES\n").unwrap().1.split_once("\nTIMELINE").unwrap().0;
        insta::assert_snapshot!(changes, @r"
        WHAT                     WHEN  KIND        APPLICATION  SERVER  CLUSTER  TOLD BY
        orders-api \u{1b}[2J  12m ago  deployment  orders-api   -       -        pipeline (ci)
        ");
    }

    #[test]
    fn what_was_planned_and_done_against_it_is_shown_before_the_timeline() {
        assert!(!shown(None).contains("MITIGATIONS"));
        let mut document = document();
        document.mitigations = serde_json::from_value(json!([{
            "id": "019b8d7a-0000-7000-8000-00000000000e", "incident": "019b8d7a-0000-7000-8000-00000000000a",
            "cluster": "nats", "action": "kick", "selector": { "application": "orders-api" }, "victims": 1200,
            "digest": "sha256:00", "planned_by": "ann", "planned_at": "2026-11-24T08:48:00Z", "reason": null,
            "state": "stopped", "approved_by": "bob", "started_by": "bob", "started_at": "2026-11-24T08:50:00Z",
            "stopped_at": "2026-11-24T08:51:00Z", "stopped_by": "ann", "stop": "asked", "stop_text": "enough"
        }]))
        .unwrap();
        let now = "2026-11-24T09:00:00Z".parse().unwrap();
        let text = show_as_text(&document, &[], now, None).unwrap();
        let mitigations = text.split_once("\nMITIGATIONS\n").unwrap().1.split_once("\nTIMELINE").unwrap().0;
        insta::assert_snapshot!(mitigations, @r"
        CLUSTER  ID                                    STATE            ACTION  VICTIMS  PLANNED  BY
        nats     019b8d7a-0000-7000-8000-00000000000e  stopped (asked)  kick      1,200  12m ago  ann
        ");
    }

    #[test]
    fn a_list_says_when_an_incident_was_resolved() {
        let page = IncidentList { incidents: vec![document().head], next: None };
        let now = "2026-11-24T13:00:00Z".parse().unwrap();
        insta::assert_snapshot!(list_as_table(&page, now, 130).unwrap(), @r"
        WHAT                     STATE            FINDING  CULPRIT  ALERT  CLUSTER  OPENED  ID
        3 connections on nats-1  resolved 2h ago  -        -        High   nats     4h ago  019b8d7a-0000-7000-8000-00000000000a
        ");
        let text = list_as_csv(&page).unwrap();
        assert!(text.ends_with(",3 connections on nats-1,2026-11-24T11:00:00Z,,\n"), "{text}");
    }

    #[test]
    fn only_a_terminal_has_its_lines_broken() {
        assert!(shown(None).contains(LONG));
        let timeline = |width| {
            let text = shown(Some(width)).split_once("TIMELINE\n").unwrap().1.to_owned();
            assert!(text.lines().all(|line| line.width() <= width), "{text}");
            text
        };
        insta::assert_snapshot!(timeline(100), @r"
        2026-11-24 09:00:00Z  connwarden    could not see everything: http://nats-2.example:8222/varz:
                                            cannot connect: no answer within 3s
        ");
        insta::assert_snapshot!(timeline(50), @r"
        2026-11-24 09:00:00Z  connwarden
            could not see everything:
            http://nats-2.example:8222/varz: cannot
            connect: no answer within 3s
        ");
        let endless = paragraph("", &"word ".repeat(1000), Some(60));
        assert!(endless.ends_with("…\n") && endless.lines().count() <= 6, "{endless}");
    }
}
