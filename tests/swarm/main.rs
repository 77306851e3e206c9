//! The swarm as a command: holds many NATS client connections until it is told to stop.
//!
//! It is a tool for tests and the demo and takes no part in what connwarden ships.

mod arguments;
mod swarm;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::pending;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, sleep};

use arguments::{Arguments, resolve};
use swarm::{ClientSpec, ClientState, Counts, Swarm, SwarmError};

/// Bad usage, or not enough file descriptors.
const CANNOT_RUN: u8 = 2;
/// Some connections were not up.
const NOT_ALL_UP: u8 = 3;
/// How long connections that were just exchanged may take to be up at the end.
const SETTLING: Duration = Duration::from_secs(2);
/// How long a swarm without an end to it waits for that end.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("swarm: {error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut servers = Vec::new();
    for server in &arguments.servers {
        servers.push(resolve(server).await?);
    }
    let options = arguments.options(&servers);
    let population = arguments.population(servers)?;
    let specs = population.plan()?;
    let leak = arguments.leak(population)?;
    if arguments.plan {
        // A leak without an end has no distribution.
        let leaked = leak.into_iter().flatten().take(arguments.leak_max);
        print(format_args!("{:#}", distribution(specs.into_iter().chain(leaked))));
        return Ok(ExitCode::SUCCESS);
    }

    let swarm = Swarm::new(options);
    swarm.check_descriptors(arguments.count + arguments.leak_max)?;
    watch_over(&swarm, arguments, specs, leak).await?;
    let all_up = is_all_up(&swarm, arguments).await;
    print(summary(&swarm, arguments));
    swarm.close().await;
    Ok(if all_up { ExitCode::SUCCESS } else { ExitCode::from(NOT_ALL_UP) })
}

/// Lets the swarm live, and reports on it, until it has done its work or is to stop.
async fn watch_over(
    swarm: &Swarm,
    arguments: &Arguments,
    specs: Vec<ClientSpec>,
    leak: Option<impl Iterator<Item = ClientSpec>>,
) -> Result<()> {
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut asked = signal(SignalKind::user_defined1()).context("listening for SIGUSR1")?;
    let mut reports = interval(arguments.stats_interval.max(Duration::from_millis(10)));
    reports.tick().await;
    let end = Some(arguments.duration).filter(|duration| !duration.is_zero());
    let end = sleep(end.unwrap_or(FOREVER));
    let life = live(swarm, arguments, specs, leak);
    tokio::pin!(end, life);
    loop {
        tokio::select! {
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            () = &mut end => return Ok(()),
            over = &mut life => return over.context("opening connections"),
            _ = asked.recv() => print(summary(swarm, arguments)),
            _ = reports.tick() => report(swarm, arguments),
        }
    }
}

/// Opens the planned connections, then lets the swarm leak and churn.
async fn live(
    swarm: &Swarm,
    arguments: &Arguments,
    specs: Vec<ClientSpec>,
    leak: Option<impl Iterator<Item = ClientSpec>>,
) -> Result<(), SwarmError> {
    let started = Instant::now();
    let planned = 0..specs.len();
    if arguments.rate > 0.0 {
        swarm.grow(arguments.rate, specs).await?;
    } else {
        swarm.launch(specs)?;
    }
    let counts = swarm.wait_for(FOREVER, |counts| counts.tried >= planned.len()).await?;
    eprintln!("all tried: connected={} of {} in {:.2?}", counts.connected, planned.len(), started.elapsed(),);
    if arguments.exit_when_up && counts.connected == planned.len() {
        return Ok(());
    }
    let leaking = async {
        let Some(extras) = leak else { return };
        if let Err(full) = swarm.grow(arguments.leak_rate, extras).await {
            eprintln!("swarm: the leak ends: {full}");
        }
    };
    let churning = async {
        if arguments.churn > 0.0 {
            swarm.churn(arguments.churn, planned, arguments.seed).await;
        }
    };
    tokio::join!(leaking, churning);
    pending().await
}

/// Tells whether every wanted connection is up, or was up once if it is not to come back.
async fn is_all_up(swarm: &Swarm, arguments: &Arguments) -> bool {
    if arguments.leak_rate > 0.0 || arguments.churn > 0.0 {
        // Time out or not, the states below decide.
        let _ = swarm.wait_for(SETTLING, |counts| counts.connecting == 0).await;
    }
    let statuses = swarm.statuses();
    statuses.len() >= arguments.count
        && statuses.iter().all(|client| match client.state {
            ClientState::Connected => true,
            ClientState::Gone => client.opened > 0,
            ClientState::Connecting | ClientState::Closed => false,
        })
}

fn report(swarm: &Swarm, arguments: &Arguments) {
    let counts = swarm.counts();
    if arguments.json {
        print(state(swarm, arguments, &counts, false));
        return;
    }
    let leaked = counts.clients.saturating_sub(arguments.count);
    let error = swarm.last_error().map(|error| format!(" last_error=`{error}`"));
    eprintln!("{counts} leaked={leaked}{}", error.unwrap_or_default());
}

fn summary(swarm: &Swarm, arguments: &Arguments) -> Value {
    let mut summary = state(swarm, arguments, &swarm.counts(), true);
    let mut names = BTreeMap::<String, usize>::new();
    for client in swarm.statuses() {
        if client.is_connected() {
            *names.entry(client.name().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    names.truncate(arguments.top);
    summary["connected_by_name"] = json!(names.into_iter().collect::<BTreeMap<_, _>>());
    summary
}

fn state(swarm: &Swarm, arguments: &Arguments, counts: &Counts, is_final: bool) -> Value {
    json!({
        "final": is_final,
        "connected": counts.connected,
        "connecting": counts.connecting,
        "gone": counts.gone,
        "opened": counts.opened,
        "refused": counts.refused,
        "disconnected": counts.disconnected,
        "reconnects": counts.reconnects,
        "leaked": counts.clients.saturating_sub(arguments.count),
        "churned": counts.reopened,
        "lame_ducks": counts.lame_ducks,
        "left": counts.left,
        "pings": counts.pings,
        "errors": swarm.errors(),
        "last_error": swarm.last_error(),
    })
}

/// Writes a line to stdout; whoever was to read it may be gone.
fn print(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Counts the planned connections along each dimension.
fn distribution(specs: impl IntoIterator<Item = ClientSpec>) -> Value {
    let [mut servers, mut names, mut users, mut sources] = [const { BTreeMap::new() }; 4];
    let count = |tally: &mut BTreeMap<String, usize>, key: String| {
        *tally.entry(key).or_default() += 1;
    };
    for spec in specs {
        count(&mut servers, spec.server.to_string());
        count(&mut names, spec.name.unwrap_or_default());
        count(&mut users, spec.user.map(|(user, _)| user).unwrap_or_default());
        let source = spec.source.map(|source| source.to_string());
        count(&mut sources, source.unwrap_or_default());
    }
    json!({ "servers": servers, "names": names, "users": users, "source_ips": sources })
}
