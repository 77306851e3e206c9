//! `connwarden changes`: what was changed around incidents, and telling of a change.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::cli::client::{Client, ClientArguments};
use crate::cli::output::OutputArguments;
use crate::cli::print;
use crate::cli::table::{Column, draw, table_width, terminal, with_next};
use crate::clock::Clock;
use crate::http::api::documents::{ChangeList, NewChange};
use crate::model::change::{Change, ChangeKind};
use crate::model::printable::{age, visible};

/// Where changes are listed and told.
const PATH: &str = "api/v1/changes";

/// The source of what is told from here.
const SOURCE: &str = "cli";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List changes, newest first.
    List(ListArguments),
    /// Tell of a change.
    Add(AddArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Only those that name this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// Only those that name this application.
    #[arg(long)]
    application: Option<String>,
    /// Only of this kind: deploy, config_reload, server_start, server_version or other.
    #[arg(long, value_parser = read_kind)]
    kind: Option<ChangeKind>,
    /// Only what happened then or later, such as 2026-11-24T09:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only what happened before.
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
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
struct AddArguments {
    /// What happened, in one line. [default: made of --application and --revision]
    title: Option<String>,
    /// What kind of change it was: deploy, config_reload, server_start, server_version or other.
    #[arg(long, default_value = "deploy", value_parser = read_kind)]
    kind: ChangeKind,
    /// When it began, or happened. [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// When it had ended.
    #[arg(long, value_name = "TIME")]
    ended_at: Option<Timestamp>,
    /// The configured cluster it concerns. [default: any]
    #[arg(long)]
    cluster: Option<String>,
    /// The application that was changed.
    #[arg(long)]
    application: Option<String>,
    /// The name of the NATS server that was changed.
    #[arg(long, value_name = "NAME")]
    nats_server: Option<String>,
    /// What was rolled out, such as a commit.
    #[arg(long)]
    revision: Option<String>,
    /// More about it.
    #[arg(long)]
    text: Option<String>,
    /// Where there is more to read.
    #[arg(long)]
    url: Option<String>,
    /// A word to find it by; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// What tells of it.
    #[arg(long, default_value = SOURCE)]
    source: String,
    /// What it is called there: told again, it is the same change.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(arguments.client)?;
    let text = match arguments.command {
        Command::List(list) => self::list(&client, list).await?,
        Command::Add(add) => self::add(&client, add).await?,
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, arguments: ListArguments) -> anyhow::Result<String> {
    let mut query = vec![("limit", arguments.limit.to_string())];
    let optional = [
        ("cluster", arguments.cluster),
        ("application", arguments.application),
        ("kind", arguments.kind.map(|kind| kind.name().to_owned())),
        ("from", arguments.from.map(|from| from.to_string())),
        ("to", arguments.to.map(|to| to.to_string())),
        ("before", arguments.before),
    ];
    query.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let page: ChangeList = client.get(PATH, &query).await?;
    arguments.output.write(&page, |page| {
        if page.changes.is_empty() {
            return Ok("no changes\n".to_owned());
        }
        let text = table(&page.changes, Clock::system().now(), table_width(terminal()));
        Ok(with_next(text, page.next.as_deref()))
    })
}

/// Draws changes as a table; ages are told as of `now`.
pub(super) fn table(changes: &[Change], now: Timestamp, width: usize) -> String {
    let columns = [
        Column { heading: "WHAT", numeric: false, expendable: 0 },
        Column { heading: "WHEN", numeric: true, expendable: 0 },
        Column { heading: "KIND", numeric: false, expendable: 1 },
        Column { heading: "APPLICATION", numeric: false, expendable: 2 },
        Column { heading: "SERVER", numeric: false, expendable: 3 },
        Column { heading: "CLUSTER", numeric: false, expendable: 4 },
        Column { heading: "TOLD BY", numeric: false, expendable: 5 },
    ];
    let given = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
    let rows = changes.iter().map(|change| {
        vec![
            change.title.clone(),
            format!("{} ago", age(Some(change.at), now)),
            change.kind.title().to_owned(),
            given(&change.application),
            given(&change.server),
            given(&change.cluster),
            format!("{} ({})", change.author, change.source),
        ]
    });
    draw(&columns, &rows.collect::<Vec<_>>(), width)
}

async fn add(client: &Client, arguments: AddArguments) -> anyhow::Result<String> {
    let new = NewChange {
        kind: arguments.kind,
        at: arguments.at,
        ended_at: arguments.ended_at,
        cluster: arguments.cluster,
        application: arguments.application,
        server: arguments.nats_server,
        revision: arguments.revision,
        title: arguments.title,
        text: arguments.text,
        url: arguments.url,
        tags: arguments.tags,
        source: Some(arguments.source),
        external_id: arguments.external_id,
    };
    let change: Change = client.post(PATH, &serde_json::to_value(&new)?).await?;
    let (id, at) = (change.id, change.at);
    Ok(visible(&format!("change {id} of {at}: {}", change.title)).into_owned() + "\n")
}

fn read_kind(text: &str) -> Result<ChangeKind, String> {
    ChangeKind::from_name(text)
        .ok_or_else(|| format!("expected one of {}", ChangeKind::ALL.map(ChangeKind::name).join(", ")))
}
