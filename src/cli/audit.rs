//! `connwarden audit`: who did what to mitigations and pauses, from a running daemon.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use crate::cli::client::{Client, ClientArguments};
use crate::cli::output::OutputArguments;
use crate::cli::print;
use crate::cli::printable::fit;
use crate::cli::table::{Column, draw, table_width, terminal, with_next};
use crate::clock::Clock;
use crate::http::api::audit::AuditList;
use crate::model::printable::{age, visible};

/// How many columns of a subject a table shows: as many as an id has.
const LONGEST_SUBJECT: usize = 36;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
    /// Only what this one did: connwarden, or the name of a credential.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only acts of this kind: pause, resume, or what became of a mitigation, such as mitigation_approved.
    #[arg(long)]
    act: Option<String>,
    /// Only what was done to this mitigation, by its id, or this pause, by its name.
    #[arg(long)]
    subject: Option<String>,
    /// Continue behind the page that ended with this cursor.
    #[arg(long, value_name = "CURSOR")]
    before: Option<String>,
    /// How many, at most 500.
    #[arg(long, default_value = "20")]
    limit: u32,
    #[command(flatten)]
    output: OutputArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(arguments.client)?;
    let mut query = vec![("limit", arguments.limit.to_string())];
    let optional = [
        ("actor", arguments.actor),
        ("act", arguments.act),
        ("subject", arguments.subject),
        ("before", arguments.before),
    ];
    query.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let page: AuditList = client.get("api/v1/audit", &query).await?;
    let now = Clock::system().now();
    let text = arguments.output.write(&page, |page| list_as_table(page, now, table_width(terminal())))?;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn list_as_table(page: &AuditList, now: Timestamp, width: usize) -> anyhow::Result<String> {
    if page.acts.is_empty() {
        return Ok("no acts\n".to_owned());
    }
    let columns = [
        Column { heading: "WHAT", numeric: false, expendable: 0 },
        Column { heading: "WHEN", numeric: true, expendable: 0 },
        Column { heading: "BY", numeric: false, expendable: 0 },
        Column { heading: "SUBJECT", numeric: false, expendable: 1 },
        Column { heading: "ACT", numeric: false, expendable: 2 },
    ];
    let rows = page.acts.iter().map(|line| {
        vec![
            line.text.clone(),
            format!("{} ago", age(Some(line.at), now)),
            line.actor.clone(),
            fit(&visible(&line.subject), LONGEST_SUBJECT).into_owned(),
            line.act.clone(),
        ]
    });
    let text = draw(&columns, &rows.collect::<Vec<_>>(), width);
    Ok(with_next(text, page.next.as_deref()))
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::model::audit::AuditLine;

    fn page() -> AuditList {
        let mitigation = "019dd2c1-8c9e-7d5f-b6a1-0a4f2f1c9e77";
        let line = |actor: &str, act: &str, subject: &str, text: &str| AuditLine {
            at: "2026-11-24T09:00:00Z".parse().unwrap(),
            actor: actor.to_owned(),
            act: act.to_owned(),
            subject: subject.to_owned(),
            text: text.to_owned(),
        };
        let endless = "x".repeat(4000);
        let acts = vec![
            line("ann", "resume", &endless, "mitigations may run again"),
            line("ann", "pause", "deploy\u{1b}[2J", "all clusters paused: the fair\nlevel=error"),
            line("connwarden", "mitigation_executed", mitigation, "executed: 10 confirmed"),
            line(
                "local-operator",
                "mitigation_approved",
                mitigation,
                "approved until 2026-11-24T09:10:00Z: a leak",
            ),
        ];
        AuditList { acts, next: Some("7".to_owned()) }
    }

    fn drawn(width: usize) -> String {
        list_as_table(&page(), "2026-11-24T09:12:00Z".parse().unwrap(), width).unwrap()
    }

    #[test]
    fn a_wide_table_has_it_all() {
        insta::assert_snapshot!(drawn(160), @r"
        WHAT                                            WHEN  BY              SUBJECT                               ACT
        mitigations may run again                    12m ago  ann             xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  resume
        all clusters paused: the fair\nlevel=error   12m ago  ann             deploy\u{1b}[2J                       pause
        executed: 10 confirmed                       12m ago  connwarden      019dd2c1-8c9e-7d5f-b6a1-0a4f2f1c9e77  mitigation_executed
        approved until 2026-11-24T09:10:00Z: a leak  12m ago  local-operator  019dd2c1-8c9e-7d5f-b6a1-0a4f2f1c9e77  mitigation_approved

        there are more: --before 7
        ");
    }

    #[test]
    fn on_eighty_columns_are_what_when_and_by_whom() {
        insta::assert_snapshot!(drawn(80), @r"
        WHAT                                            WHEN  BY
        mitigations may run again                    12m ago  ann
        all clusters paused: the fair\nlevel=error   12m ago  ann
        executed: 10 confirmed                       12m ago  connwarden
        approved until 2026-11-24T09:10:00Z: a leak  12m ago  local-operator

        there are more: --before 7
        ");
        assert!(drawn(80).lines().all(|line| line.width() <= 80));
    }
}
