//! `connwarden notifications`: what was received, and taking it in once more.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use crate::cli::client::{Client, ClientArguments};
use crate::cli::output::OutputArguments;
use crate::cli::print;
use crate::cli::table::{Column, draw, table_width, terminal, with_next};
use crate::clock::Clock;
use crate::http::api::documents::{NotificationList, Receipt};
use crate::model::ids::NotificationId;
use crate::model::printable::{age, visible};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List notifications, newest first.
    List(ListArguments),
    /// Print the body of a notification, word for word.
    Body {
        /// The notification.
        id: NotificationId,
    },
    /// Take a stored notification in once more, as if it had come now.
    Replay(ReplayArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Continue a list.
    #[arg(long, value_name = "CURSOR")]
    before: Option<String>,
    /// How many, at most 500.
    #[arg(long, default_value = "20")]
    limit: u32,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
struct ReplayArguments {
    /// The notification.
    id: NotificationId,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(arguments.client)?;
    let text = match arguments.command {
        Command::List(list) => self::list(&client, list).await?,
        Command::Body { id } => {
            let body: serde_json::Value = client.get(&format!("api/v1/notifications/{id}/body"), &[]).await?;
            // escaped, because it is what a stranger has sent
            visible(&serde_json::to_string(&body)?).into_owned() + "\n"
        }
        Command::Replay(replay) => self::replay(&client, replay).await?,
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, arguments: ListArguments) -> anyhow::Result<String> {
    let mut query = vec![("limit", arguments.limit.to_string())];
    query.extend(arguments.before.map(|before| ("before", before)));
    let page: NotificationList = client.get("api/v1/notifications", &query).await?;
    arguments.output.write(&page, |page| list_as_table(page, Clock::system().now(), table_width(terminal())))
}

fn list_as_table(page: &NotificationList, now: Timestamp, width: usize) -> anyhow::Result<String> {
    if page.notifications.is_empty() {
        return Ok("no notifications\n".to_owned());
    }
    let columns = [
        Column { heading: "RECEIVED", numeric: true, expendable: 0 },
        Column { heading: "ALERTS", numeric: true, expendable: 0 },
        Column { heading: "SEEN", numeric: true, expendable: 0 },
        Column { heading: "SENDER", numeric: false, expendable: 1 },
        Column { heading: "RECEIVER", numeric: false, expendable: 2 },
        Column { heading: "ID", numeric: false, expendable: 0 },
    ];
    let rows = page.notifications.iter().map(|notification| {
        vec![
            format!("{} ago", age(Some(notification.received_at), now)),
            notification.alert_count.to_string(),
            notification.seen_count.to_string(),
            notification.sender.clone(),
            notification.receiver.clone(),
            notification.id.to_string(),
        ]
    });
    let text = draw(&columns, &rows.collect::<Vec<_>>(), width);
    Ok(with_next(text, page.next.as_deref()))
}

async fn replay(client: &Client, arguments: ReplayArguments) -> anyhow::Result<String> {
    let path = format!("api/v1/notifications/{}/replay", arguments.id);
    let receipt: Receipt = client.post(&path, &json!({ "reason": arguments.reason })).await?;
    let mut text = format!("notification {} was taken in once more\n", receipt.notification);
    for id in &receipt.incidents {
        writeln!(text, "  incident {id}")?;
    }
    if receipt.incidents.is_empty() {
        writeln!(text, "  it says nothing that opens or concerns an incident")?;
    }
    Ok(text)
}
