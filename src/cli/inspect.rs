//! `connwarden inspect`: who holds the connections, right now, without any daemon.

use std::fmt::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use url::Url;

use crate::app;
use crate::cli::output::{Output, as_json};
use crate::cli::{FAILURE, PARTIAL, print, render, table};
use crate::clock::Clock;
use crate::config::{self, Config, parse_typed_monitor_url};
use crate::http::api::DEFAULT_TOP;
use crate::http::api::clusters::DEFAULT_BY;
use crate::http::api::documents::BreakdownDocument;
use crate::model::breakdown::{By, InvalidBy};
use crate::model::printable::visible;
use crate::observe::users::UserMask;
use crate::observe::wishes::Wishes;

/// Groups per table, unless it is asked for more or fewer.
const ROWS: usize = 20;

/// Exits 0 if everything was seen, 3 if a part was, 1 if nothing was.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Monitoring URLs of NATS servers, such as http://nats-1:8222 or nats-1:8222; those of one cluster together.
    #[arg(required = true, value_name = "URL", value_parser = parse_typed_monitor_url)]
    servers: Vec<Url>,
    /// What to group by, a comma list: application, name, ip, subnet, account, user, library, kind, server;
    /// two crossed as in application/ip.
    #[arg(long, default_value = DEFAULT_BY, value_parser = read_by)]
    by: ByList,
    /// Groups to list per breakdown. [default: 20 in tables, 100 otherwise]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Configuration file, for its application rules, its time limits and the credentials of its clusters.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
}

/// A comma list of what to group by.
#[derive(Debug, Clone)]
pub(super) struct ByList(pub(super) Vec<By>);

impl fmt::Display for ByList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<String> = self.0.iter().map(By::to_string).collect();
        f.write_str(&list.join(","))
    }
}

pub(super) fn read_by(text: &str) -> Result<ByList, InvalidBy> {
    By::parse_list(text).map(ByList)
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let settings = match &arguments.config_file {
        Some(path) => Config::load(path)
            .map_err(|problems| anyhow::anyhow!("the configuration is wrong\n{problems}"))?,
        None => Config::default(),
    };
    let mut servers: Vec<Url> = Vec::new();
    for server in arguments.servers {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    // a configured cluster lends its credentials to its own servers only
    let configured =
        settings.clusters.iter().find(|cluster| servers.iter().all(|url| cluster.monitor.contains(url)));
    let auth = configured.and_then(|cluster| cluster.auth.clone());
    let cluster = config::Cluster { auth, ..Config::from_monitors(servers).clusters.remove(0) };

    let observer = app::observer(&settings, UserMask::new(&app::random_key()?), Clock::system());
    let snapshot = observer.sweep(&app::targets(&cluster), &Wishes::by(&arguments.by.0)).await;
    let default_top = if arguments.output == Output::Table { ROWS } else { DEFAULT_TOP };
    let document = BreakdownDocument::new(snapshot, &arguments.by.0, arguments.top.unwrap_or(default_top));

    let code = match &document.coverage {
        coverage if coverage.complete => ExitCode::SUCCESS,
        coverage if coverage.is_blind() => ExitCode::from(FAILURE),
        _ => ExitCode::from(PARTIAL),
    };
    let text = match arguments.output {
        Output::Json => as_json(&document)?,
        Output::Csv => render::csv(&document.breakdowns)?,
        Output::Table => as_table(&document, &arguments.by.0)?,
    };
    print(&text)?;
    if arguments.output == Output::Csv {
        for error in document.coverage.errors() {
            eprintln!("connwarden: {}", visible(error));
        }
    }
    Ok(code)
}

fn as_table(document: &BreakdownDocument, by: &[By]) -> anyhow::Result<String> {
    let width = table::table_width(table::terminal());
    let mut text = render::coverage(&document.coverage, width);
    if document.coverage.is_blind() {
        writeln!(text, "\nno server let us see its connections")?;
        return Ok(text);
    }
    for by in by {
        if let Some(breakdown) = document.breakdowns.get(by) {
            write!(text, "\n{}", render::breakdown(*by, breakdown, document.taken_at, width))?;
        }
    }
    if !document.coverage.complete {
        writeln!(text, "\nINCOMPLETE: the tables hold only what was seen")?;
    }
    Ok(text)
}
