//! `connwarden mitigations statistics`: how often each action helped.

use clap::Args;

use crate::cli::client::Client;
use crate::cli::culprits::Since;
use crate::cli::output::OutputArguments;
use crate::cli::table::{Column, draw, table_width, terminal};
use crate::clock::Clock;
use crate::http::api::mitigations::statistics::StatisticsList;
use crate::model::printable::with_commas;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only of this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// Only of runs that were started since then: an instant, or how long ago (`30d`, `12h`).
    #[arg(long, value_name = "TIME", value_parser = Since::read)]
    since: Option<Since>,
    #[command(flatten)]
    output: OutputArguments,
}

pub(super) async fn list(client: &Client, arguments: Arguments) -> anyhow::Result<String> {
    let now = Clock::system().now();
    let mut query: Vec<(&str, String)> = Vec::new();
    query.extend(arguments.cluster.map(|cluster| ("cluster", cluster)));
    query.extend(arguments.since.map(|since| ("since", since.instant(now).to_string())));
    let list: StatisticsList = client.get("api/v1/mitigations/statistics", &query).await?;
    arguments.output.write(&list, |list| Ok(as_table(list, table_width(terminal()))))
}

fn as_table(list: &StatisticsList, width: usize) -> String {
    if list.statistics.is_empty() {
        return "no mitigation was run\n".to_owned();
    }
    let columns = [
        Column { heading: "CLUSTER", numeric: false, expendable: 0 },
        Column { heading: "ACTION", numeric: false, expendable: 0 },
        Column { heading: "RUNS", numeric: true, expendable: 0 },
        Column { heading: "EFFECTIVE", numeric: true, expendable: 0 },
        Column { heading: "INEFFECTIVE", numeric: true, expendable: 1 },
        Column { heading: "INCONCLUSIVE", numeric: true, expendable: 3 },
        Column { heading: "FAILED", numeric: true, expendable: 2 },
        Column { heading: "STOPPED", numeric: true, expendable: 4 },
        Column { heading: "VICTIMS", numeric: true, expendable: 5 },
        Column { heading: "CAME BACK", numeric: true, expendable: 1 },
    ];
    let rows = list.statistics.iter().map(|it| {
        let counts =
            [it.runs, it.effective, it.ineffective, it.inconclusive, it.failed, it.stopped, it.victims];
        let mut row = vec![it.cluster.clone(), it.action.name().to_owned()];
        row.extend(counts.map(with_commas));
        row.push(it.returns().unwrap_or_else(|| "-".to_owned()));
        row
    });
    draw(&columns, &rows.collect::<Vec<_>>(), width)
}
