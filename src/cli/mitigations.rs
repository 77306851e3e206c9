//! `connwarden mitigations`: what is planned, running and done, and the say of whoever is on call.

mod statistics;

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::client::{Client, ClientArguments};
use crate::cli::incidents::wrapped;
use crate::cli::print;
use crate::cli::table::{Column, draw, table_width, terminal};
use crate::clock::Clock;
use crate::http::api::mitigations::acts::PauseList;
use crate::http::api::mitigations::{MitigationDocument, MitigationList};
use crate::model::guard::GuardVerdict;
use crate::model::ids::MitigationId;
use crate::model::journal::VictimState;
use crate::model::mitigation::{MitigationState, MitigationSummary};
use crate::model::pause::Pause;
use crate::model::plan::Hit;
use crate::model::printable::{age, span, visible, with_commas};

/// Where they are.
const PATH: &str = "api/v1/mitigations";

/// How many victims are listed for people.
const VICTIMS_SHOWN: usize = 20;

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
    Pause(PauseArguments),
    /// End a pause.
    Resume {
        /// What the pause is called.
        name: String,
    },
    /// List what is paused.
    Pauses,
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
    /// Print the API's document instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// The mitigation.
    #[arg(value_parser = read_id)]
    id: MitigationId,
    /// Print the API's document instead of text.
    #[arg(long)]
    json: bool,
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

#[derive(Debug, Args)]
struct PauseArguments {
    /// What to call it: by this name it is ended.
    name: String,
    /// Only in this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(arguments.client)?;
    let text = match arguments.command {
        Command::List(arguments) => list(&client, arguments).await?,
        Command::Show(arguments) => {
            let document: MitigationDocument = client.get(&format!("{PATH}/{}", arguments.id), &[]).await?;
            if arguments.json {
                serde_json::to_string_pretty(&document)? + "\n"
            } else {
                render(&document, terminal())?
            }
        }
        Command::Propose(seen) => seen_act(&client, "propose", &seen).await?,
        Command::Approve(seen) => seen_act(&client, "approve", &seen).await?,
        Command::Execute(seen) => seen_act(&client, "execute", &seen).await?,
        Command::Reject(why) => act(&client, "reject", why.id, &json!({ "reason": why.reason })).await?,
        Command::Stop(why) => act(&client, "stop", why.id, &json!({ "reason": why.reason })).await?,
        Command::Pause(pause) => {
            let body = json!({ "name": pause.name, "cluster": pause.cluster, "reason": pause.reason });
            let pause: Pause = client.post("api/v1/pauses", &body).await?;
            format!("{}\n", told(&pause))
        }
        Command::Resume { name } => {
            client.delete("api/v1/pauses", &name).await?;
            visible(&format!("pause `{name}` is ended")).into_owned() + "\n"
        }
        Command::Statistics(arguments) => statistics::list(&client, arguments).await?,
        Command::Pauses => {
            let list: PauseList = client.get("api/v1/pauses", &[]).await?;
            match list.pauses.as_slice() {
                [] => "nothing is paused\n".to_owned(),
                pauses => pauses.iter().map(|pause| told(pause) + "\n").collect(),
            }
        }
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
    if arguments.json {
        return Ok(serde_json::to_string_pretty(&page)? + "\n");
    }
    if page.mitigations.is_empty() {
        return Ok("no mitigations\n".to_owned());
    }
    let columns = [
        Column { heading: "ID", numeric: false, expendable: 0 },
        Column { heading: "STATE", numeric: false, expendable: 0 },
        Column { heading: "ACTION", numeric: false, expendable: 1 },
        Column { heading: "VICTIMS", numeric: true, expendable: 2 },
        Column { heading: "CLUSTER", numeric: false, expendable: 3 },
        Column { heading: "PLANNED", numeric: true, expendable: 4 },
        Column { heading: "BY", numeric: false, expendable: 5 },
    ];
    let now = Clock::system().now();
    let row = |head: &MitigationSummary| {
        vec![
            head.id.to_string(),
            head.state.standing(),
            head.action.name().to_owned(),
            with_commas(head.victims),
            head.cluster.clone(),
            format!("{} ago", age(Some(head.planned_at), now)),
            head.planned_by.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = page.mitigations.iter().map(row).collect();
    let mut text = draw(&columns, &rows, table_width(terminal()));
    if let Some(next) = &page.next {
        writeln!(text, "\nthere are more: --before {next}")?;
    }
    Ok(text)
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

fn told(pause: &Pause) -> String {
    let place =
        pause.cluster.as_ref().map_or_else(|| "all clusters".to_owned(), |name| format!("cluster `{name}`"));
    let text = format!(
        "{}: {place} paused by {} at {}: {}",
        pause.name, pause.paused_by, pause.paused_at, pause.reason
    );
    visible(&text).into_owned()
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

/// Shows a mitigation to people: how it stands, what was seen of it, and what was planned. Only a terminal has its lines
/// broken.
pub(super) fn render(document: &MitigationDocument, terminal: Option<usize>) -> anyhow::Result<String> {
    let mitigation = &document.mitigation;
    let mut text = format!("mitigation {} is {}\n", mitigation.id, mitigation.state.standing());
    if let Some(conclusion) = mitigation.state.conclusion() {
        text.push_str(&wrapped("  ", &conclusion, terminal));
    }
    text.push_str(&progress(document, terminal));
    text.push_str(&plan(document, terminal));
    text.push_str(&guards(&mitigation.plan.guards, terminal));
    writeln!(text, "\nvictims ({})", with_commas(document.victim_count))?;
    text.push_str(&victims(document, table_width(terminal)));
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
    add("selector", &serde_json::json!(plan.selector).to_string());
    for (name, hits) in [
        ("application", &plan.blast_radius.applications),
        ("account", &plan.blast_radius.accounts),
        ("address", &plan.blast_radius.ips),
        ("server", &plan.blast_radius.servers),
    ] {
        if !hits.is_empty() {
            add(name, &hits_told(hits));
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
        add("kept", &format!("{} so that enough of each application stay", with_commas(plan.kept)));
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

fn hits_told(hits: &[Hit]) -> String {
    let told: Vec<String> =
        hits.iter().take(HITS_SHOWN).map(|hit| format!("{} {}", with_commas(hit.victims), hit.key)).collect();
    let rest: u64 = hits.iter().skip(HITS_SHOWN).map(|hit| hit.victims).sum();
    let more = if rest > 0 { format!(", {} others", with_commas(rest)) } else { String::new() };
    format!("{}{more}", told.join(", "))
}

fn victims(document: &MitigationDocument, width: usize) -> String {
    let columns = [
        Column { heading: "CID", numeric: true, expendable: 0 },
        Column { heading: "NAME", numeric: false, expendable: 0 },
        Column { heading: "IP", numeric: false, expendable: 1 },
        Column { heading: "IDLE", numeric: true, expendable: 2 },
        Column { heading: "AGE", numeric: true, expendable: 3 },
        Column { heading: "MESSAGES", numeric: true, expendable: 4 },
        Column { heading: "ACCOUNT", numeric: false, expendable: 5 },
        Column { heading: "SERVER", numeric: false, expendable: 6 },
    ];
    let for_ms = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| span(ms / 1000));
    let rows: Vec<Vec<String>> = document
        .mitigation
        .plan
        .victims
        .iter()
        .take(VICTIMS_SHOWN)
        .map(|victim| {
            vec![
                victim.key.cid.to_string(),
                victim.name.clone().unwrap_or_else(|| "(unnamed)".to_owned()),
                victim.ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
                for_ms(victim.idle_ms),
                for_ms(victim.age_ms),
                with_commas(victim.messages),
                victim.account.clone(),
                victim.server.clone(),
            ]
        })
        .collect();
    let mut text = draw(&columns, &rows, width);
    let more = document.victim_count.saturating_sub(rows.len() as u64);
    if more > 0 {
        text.push_str(&format!(
            "and {} more: --json, or {PATH}/{}/victims\n",
            with_commas(more),
            document.mitigation.id
        ));
    }
    text
}

fn read_id(text: &str) -> Result<MitigationId, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a mitigation id, `connwarden mitigations list` shows them"))
}
