//! `connwarden mitigations victims`: every victim of a mitigation, and what became of it.

use clap::Args;

use crate::cli::client::Client;
use crate::cli::mitigations::{PATH, read_id};
use crate::cli::output::OutputArguments;
use crate::cli::printable::fit;
use crate::cli::table::{Column, draw, table_width, terminal};
use crate::http::api::mitigations::{VictimLine, VictimList};
use crate::model::ids::MitigationId;
use crate::model::journal::VictimState;
use crate::model::printable::{span, visible, with_commas};

/// How many victims are asked for at once.
const PAGE: u32 = 100;

/// How many columns of what a server said a table shows.
const LONGEST_ERROR: usize = 60;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The mitigation.
    #[arg(value_parser = read_id)]
    id: MitigationId,
    /// Only those of which this became, such as error or confirmed.
    #[arg(long, value_parser = read_state)]
    state: Option<VictimState>,
    #[command(flatten)]
    output: OutputArguments,
}

/// Lists all of them, however many there are.
pub(super) async fn list(client: &Client, arguments: Arguments) -> anyhow::Result<String> {
    let mut all = VictimList { victims: Vec::new(), next: None };
    loop {
        let page = page(client, arguments.id, arguments.state, all.next, PAGE).await?;
        all.victims.extend(page.victims);
        all.next = page.next;
        if all.next.is_none() {
            break;
        }
    }
    arguments.output.write(&all, |all| match all.victims.as_slice() {
        [] => Ok("no victims\n".to_owned()),
        victims => Ok(table(victims, table_width(terminal()))),
    })
}

/// Asks for the first victims of a mitigation.
pub(super) async fn first(client: &Client, id: MitigationId, limit: u32) -> anyhow::Result<Vec<VictimLine>> {
    Ok(page(client, id, None, None, limit).await?.victims)
}

async fn page(
    client: &Client,
    id: MitigationId,
    state: Option<VictimState>,
    from: Option<u64>,
    limit: u32,
) -> anyhow::Result<VictimList> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(state.map(|state| ("state", state.name().to_owned())));
    query.extend(from.map(|from| ("from", from.to_string())));
    client.get(&format!("{PATH}/{id}/victims"), &query).await
}

/// Draws victims as a table. What became of them is there once anything has, and what servers said if they did.
pub(super) fn table(victims: &[VictimLine], width: usize) -> String {
    let has_begun = victims.iter().any(|line| line.state != VictimState::Pending);
    let any_error = victims.iter().any(|line| line.error.is_some());
    let mut columns = vec![
        Column { heading: "CID", numeric: true, expendable: 0 },
        Column { heading: "NAME", numeric: false, expendable: 0 },
        Column { heading: "IP", numeric: false, expendable: 2 },
        Column { heading: "IDLE", numeric: true, expendable: 3 },
        Column { heading: "AGE", numeric: true, expendable: 4 },
        Column { heading: "MESSAGES", numeric: true, expendable: 5 },
        Column { heading: "ACCOUNT", numeric: false, expendable: 6 },
        Column { heading: "SERVER", numeric: false, expendable: 7 },
    ];
    if has_begun {
        columns.insert(2, Column { heading: "STATE", numeric: false, expendable: 0 });
    }
    if any_error {
        columns.push(Column { heading: "ERROR", numeric: false, expendable: 1 });
    }
    let for_ms = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| span(ms / 1000));
    let rows = victims.iter().map(|VictimLine { victim, state, error, .. }| {
        let mut row = vec![
            victim.key.cid.to_string(),
            victim.name.clone().unwrap_or_else(|| "(unnamed)".to_owned()),
            victim.ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
            for_ms(victim.idle_ms),
            for_ms(victim.age_ms),
            with_commas(victim.messages),
            victim.account.clone(),
            victim.server.clone(),
        ];
        if has_begun {
            row.insert(2, state.name().to_owned());
        }
        if any_error {
            let error = visible(error.as_deref().unwrap_or_default());
            row.push(fit(&error, LONGEST_ERROR).into_owned());
        }
        row
    });
    draw(&columns, &rows.collect::<Vec<_>>(), width)
}

fn read_state(text: &str) -> Result<VictimState, String> {
    VictimState::from_name(text)
        .ok_or_else(|| format!("expected one of {}", VictimState::ALL.map(VictimState::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(place: u64, state: &str, error: Option<&str>) -> VictimLine {
        serde_json::from_value(json!({
            "place": place, "server_id": "NA", "cid": 7 + place, "start": "2026-11-24T08:00:00Z", "server": "nats-1",
            "name": "orders\u{1b}[2J", "application": "orders", "ip": "10.0.0.7", "account": "APP", "kind": "client/nats",
            "idle_ms": 720_000, "age_ms": 3_600_000, "messages": 0, "subscriptions": 1, "pending_bytes": 0,
            "state": state, "at": "2026-11-24T09:00:00Z", "error": error,
        }))
        .unwrap()
    }

    #[test]
    fn what_became_of_victims_is_shown_once_anything_has() {
        insta::assert_snapshot!(table(&[line(0, "pending", None)], 120), @r"
        CID  NAME             IP              IDLE        AGE  MESSAGES  ACCOUNT  SERVER
          7  orders\u{1b}[2J  10.0.0.7  12 min 0 s  1 h 0 min         0  APP      nats-1
        ");
        let some = [line(0, "confirmed", None), line(1, "error", Some("no answer within 5s\u{7}"))];
        insta::assert_snapshot!(table(&some, 120), @r"
        CID  NAME             STATE      IP              IDLE        AGE  MESSAGES  ACCOUNT  SERVER  ERROR
          7  orders\u{1b}[2J  confirmed  10.0.0.7  12 min 0 s  1 h 0 min         0  APP      nats-1
          8  orders\u{1b}[2J  error      10.0.0.7  12 min 0 s  1 h 0 min         0  APP      nats-1  no answer within 5s\u{7}
        ");
        insta::assert_snapshot!(table(&some, 70), @r"
        CID  NAME             STATE      IP        ERROR
          7  orders\u{1b}[2J  confirmed  10.0.0.7
          8  orders\u{1b}[2J  error      10.0.0.7  no answer within 5s\u{7}
        ");
    }
}
