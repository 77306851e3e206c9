//! `connwarden mitigations`: what is planned, running and done, and the say of whoever is on call.

mod pauses;
mod statistics;
mod victims;

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use crate::cli::client::{Client, ClientArguments};
use crate::cli::incidents::wrapped;
use crate::cli::output::{OutputArguments, as_json};
use crate::cli::print;
use crate::cli::table::{Column, draw, table_width, terminal, with_next};
use crate::clock::Clock;
use crate::http::api::mitigations::{MitigationDocument, MitigationList, VictimLine};
use crate::model::guard::GuardVerdict;
use crate::model::ids::MitigationId;
use crate::model::journal::VictimState;
use crate::model::mitigation::{MitigationState, MitigationSummary};
use crate::model::plan::{Hit, kept_told};
use crate::model::printable::{age, span, with_commas};

/// Where they are.
const PATH: &str = "api/v1/mitigations";

/// How many victims are listed for people.
const VICTIMS_SHOWN: u32 = 20;

/// How many groups of a blast radius are told in a line.
const HITS_SHOWN: usize = 5;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List mitigations, newest first.
    List(ListArguments),
    /// Show a mitigation: whom it hits, what the guards say, how far it is, whether it helped.
    Show(ShowArguments),
    /// List every victim of a mitigation, and what became of it.
    Victims(victims::Arguments),
    /// Ask people for their approval of a plan.
    Propose(Seen),
    /// Let a proposed mitigation run.
    Approve(Seen),
    /// Begin the run of an approved mitigation.
    Execute(Seen),
    /// Decide against a mitigation that does not run yet.
    Reject(Because),
    /// Stop a run at once.
    Stop(Because),
    /// Let no mitigation begin, and stop those that run.
    Pause(pauses::PauseArguments),
    /// End a pause.
    Resume {
        /// What the pause is called.
        name: String,
    },
    /// List what is paused.
    Pauses(OutputArguments),
    /// Say how often each action helped, by cluster.
    Statistics(statistics::Arguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Only those of this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// Only those of this incident.
    #[arg(long, value_name = "ID")]
    incident: Option<String>,
    /// Only those in this state, such as proposed or running.
    #[arg(long)]
    state: Option<String>,
    /// Continue behind the page that ended with this cursor.
    #[arg(long, value_name = "CURSOR")]
    before: Option<String>,
    /// How many, at most 500.
    #[arg(long, default_value = "20")]
    limit: u32,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// The mitigation.
    #[arg(value_parser = read_id)]
    id: MitigationId,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
struct Seen {
    /// The mitigation.
    #[arg(value_parser = read_id)]
    id: MitigationId,
    /// The digest of the plan that you have looked at.
    #[arg(long)]
    digest: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
struct Because {
    /// The mitigation.
    #[arg(value_parser = read_id)]
    id: MitigationId,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(arguments.client)?;
    let text = match arguments.command {
        Command::List(arguments) => list(&client, arguments).await?,
        Command::Show(arguments) => show(&client, &arguments).await?,
        Command::Victims(arguments) => victims::list(&client, arguments).await?,
        Command::Propose(seen) => seen_act(&client, "propose", &seen).await?,
        Command::Approve(seen) => seen_act(&client, "approve", &seen).await?,
        Command::Execute(seen) => seen_act(&client, "execute", &seen).await?,
        Command::Reject(why) => act(&client, "reject", why.id, &json!({ "reason": why.reason })).await?,
        Command::Stop(why) => act(&client, "stop", why.id, &json!({ "reason": why.reason })).await?,
        Command::Pause(pause) => pauses::begin(&client, pause).await?,
        Command::Resume { name } => pauses::end(&client, &name).await?,
        Command::Pauses(output) => pauses::list(&client, &output).await?,
        Command::Statistics(arguments) => statistics::list(&client, arguments).await?,
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, arguments: ListArguments) -> anyhow::Result<String> {
    let mut query = vec![("limit", arguments.limit.to_string())];
    let optional = [
        ("cluster", arguments.cluster),
        ("incident", arguments.incident),
        ("state", arguments.state),
        ("before", arguments.before),
    ];
    query.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let page: MitigationList = client.get(PATH, &query).await?;
    arguments.output.write(&page, |page| list_as_table(page, table_width(terminal())))
}

fn list_as_table(page: &MitigationList, width: usize) -> anyhow::Result<String> {
    if page.mitigations.is_empty() {
        return Ok("no mitigations\n".to_owned());
    }
    let text = table(&page.mitigations, Clock::system().now(), width);
    Ok(with_next(text, page.next.as_deref()))
}

/// Draws mitigations as a table; ages are told as of `now`.
pub(super) fn table(mitigations: &[MitigationSummary], now: Timestamp, width: usize) -> String {
    let columns = [
        // the first is cut where there is little room, and an id has to be whole
        Column { heading: "CLUSTER", numeric: false, expendable: 0 },
        Column { heading: "ID", numeric: false, expendable: 0 },
        Column { heading: "STATE", numeric: false, expendable: 0 },
        Column { heading: "ACTION", numeric: false, expendable: 1 },
        Column { heading: "VICTIMS", numeric: true, expendable: 2 },
        Column { heading: "PLANNED", numeric: true, expendable: 3 },
        Column { heading: "BY", numeric: false, expendable: 4 },
    ];
    let row = |head: &MitigationSummary| {
        vec![
            head.cluster.clone(),
            head.id.to_string(),
            head.state.standing(),
            head.action.name().to_owned(),
            with_commas(head.victims),
            format!("{} ago", age(Some(head.planned_at), now)),
            head.planned_by.clone(),
        ]
    };
    draw(&columns, &mitigations.iter().map(row).collect::<Vec<_>>(), width)
}

async fn show(client: &Client, arguments: &ShowArguments) -> anyhow::Result<String> {
    let document: MitigationDocument = client.get(&format!("{PATH}/{}", arguments.id), &[]).await?;
    if arguments.output.is_json() {
        return as_json(&document);
    }
    let victims = victims::first(client, arguments.id, VICTIMS_SHOWN).await?;
    render(&document, &victims, terminal())
}

async fn seen_act(client: &Client, act: &str, seen: &Seen) -> anyhow::Result<String> {
    self::act(client, act, seen.id, &json!({ "digest": seen.digest, "reason": seen.reason })).await
}

async fn act(
    client: &Client,
    act: &str,
    id: MitigationId,
    body: &serde_json::Value,
) -> anyhow::Result<String> {
    let document: MitigationDocument = client.post(&format!("{PATH}/{id}/{act}"), body).await?;
    Ok(format!("mitigation {id} is {}\n{}", document.mitigation.state.standing(), next_step(&document)))
}

/// What can be done next, as a command.
fn next_step(document: &MitigationDocument) -> String {
    let (id, digest) = (document.mitigation.id, &document.mitigation.plan.digest);
    match &document.mitigation.state {
        MitigationState::Planned if document.mitigation.plan.passes() => {
            format!("next: connwarden mitigations propose {id} --digest {digest}\n")
        }
        MitigationState::Proposed { .. } => {
            format!("next: connwarden mitigations approve {id} --digest {digest}\n")
        }
        MitigationState::Approved { valid_until, .. } => {
            format!("next, until {valid_until}: connwarden mitigations execute {id} --digest {digest}\n")
        }
        MitigationState::Running { .. } => {
            format!("to stop it: connwarden mitigations stop {id} --reason TEXT\n")
        }
        _ => String::new(),
    }
}

/// Shows a plan to people that nothing has been done about yet.
pub(super) fn render_plan(document: &MitigationDocument, terminal: Option<usize>) -> anyhow::Result<String> {
    let frozen = document.mitigation.plan.victims.iter().take(VICTIMS_SHOWN as usize).zip(0..);
    let victims = frozen.map(|(victim, place)| VictimLine {
        place,
        victim: victim.clone(),
        state: VictimState::Pending,
        at: document.mitigation.planned_at,
        error: None,
    });
    render(document, &victims.collect::<Vec<_>>(), terminal)
}

/// Shows a mitigation to people: how it stands, what was seen of it, what was planned, and its first victims. Only a
/// terminal has its lines broken.
fn render(
    document: &MitigationDocument,
    first: &[VictimLine],
    terminal: Option<usize>,
) -> anyhow::Result<String> {
    let mitigation = &document.mitigation;
    let mut text = format!("mitigation {} is {}\n", mitigation.id, mitigation.state.standing());
    if let Some(conclusion) = mitigation.state.conclusion() {
        text.push_str(&wrapped("  ", &conclusion, terminal));
    }
    text.push_str(&progress(document, terminal));
    text.push_str(&plan(document, terminal));
    text.push_str(&guards(&mitigation.plan.guards, terminal));
    writeln!(text, "\nvictims ({})", with_commas(document.victim_count))?;
    text.push_str(&victims::table(first, table_width(terminal)));
    let more = document.victim_count.saturating_sub(first.len() as u64);
    if more > 0 {
        let id = mitigation.id;
        writeln!(text, "and {} more: connwarden mitigations victims {id}", with_commas(more))?;
    }
    let next = next_step(document);
    if !next.is_empty() {
        write!(text, "\n{next}")?;
    }
    Ok(text)
}

/// A line with a name before it.
pub(super) fn line(name: &str, value: &str, terminal: Option<usize>) -> String {
    wrapped(&format!("  {name:<12} "), value, terminal)
}

/// How far a run is, and what was seen after it; nothing before it was started.
fn progress(document: &MitigationDocument, terminal: Option<usize>) -> String {
    let mut text = String::new();
    let counts = &document.progress;
    if counts.keys().any(|state| *state != VictimState::Pending) {
        let counts: Vec<String> =
            counts.iter().map(|(state, count)| format!("{} {}", with_commas(*count), state.name())).collect();
        text.push_str(&line("progress", &counts.join(", "), terminal));
    }
    for doubt in document.doubts() {
        text.push_str(&line("doubt", &doubt, terminal));
    }
    for look in &document.looks {
        let after = format!("after {}", span(look.after_ms / 1000));
        text.push_str(&line(&after, &look.summary(), terminal));
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// What was planned.
fn plan(document: &MitigationDocument, terminal: Option<usize>) -> String {
    let (mitigation, plan) = (&document.mitigation, &document.mitigation.plan);
    let mut text = "\nplan\n".to_owned();
    let mut add = |name: &str, value: &str| text.push_str(&line(name, value, terminal));
    add("what", &plan.expected_effect);
    add("beware", &plan.warning);
    if let Some(reason) = &mitigation.reason {
        add("why", reason);
    }
    add("by", &format!("{} at {:.0}", mitigation.planned_by, mitigation.planned_at));
    let state = &mitigation.state;
    if let Some(by) = state.approved_by() {
        let why = state.approval().map(|why| format!(": {why}")).unwrap_or_default();
        add("approved by", &format!("{by}{why}"));
    }
    if let Some(begun) = state.begun() {
        add("started by", &format!("{} at {:.0}", begun.started_by, begun.started_at));
    }
    add("selector", &serde_json::json!(plan.selector).to_string());
    for (name, hits) in [
        ("application", &plan.blast_radius.applications),
        ("account", &plan.blast_radius.accounts),
        ("address", &plan.blast_radius.ips),
        ("server", &plan.blast_radius.servers),
    ] {
        if !hits.is_empty() {
            add(name, &Hit::told(hits, HITS_SHOWN));
        }
    }
    let protected: Vec<String> = plan
        .protected
        .iter()
        .map(|(reason, count)| format!("{} {}", with_commas(*count), reason.title()))
        .collect();
    if !protected.is_empty() {
        add("protected", &protected.join(", "));
    }
    if plan.kept > 0 {
        add("kept", &kept_told(with_commas(plan.kept)));
    }
    // in one piece: it is to be copied
    text.push_str(&line("digest", &plan.digest, None));
    text
}

/// What each guard said, and first how many block.
fn guards(verdicts: &[GuardVerdict], terminal: Option<usize>) -> String {
    let all = verdicts.len();
    let mut text = match verdicts.iter().filter(|verdict| !verdict.passes).count() {
        0 => format!("\nguards: all {all} pass\n"),
        blocking => format!("\nguards: {blocking} of {all} block\n"),
    };
    let width = verdicts.iter().map(|verdict| verdict.guard.name().len()).max().unwrap_or(0);
    for verdict in verdicts {
        let mark = if verdict.passes { "ok" } else { "BLOCKS" };
        let before = format!("  {mark:<7} {:<width$}  ", verdict.guard.name());
        text.push_str(&wrapped(&before, &verdict.reason, terminal));
    }
    text
}

fn read_id(text: &str) -> Result<MitigationId, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a mitigation id, `connwarden mitigations list` shows them"))
}
