//! `connwarden plan`: shows what a mitigation would do, exactly, and does nothing; with a stored look, what it would have
//! done then.

mod estimate;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::cli::client::{Client, ClientArguments};
use crate::cli::incidents::act::read_id;
use crate::cli::mitigations::render_plan;
use crate::cli::output::OutputArguments;
use crate::cli::table::terminal;
use crate::cli::{PARTIAL, print};
use crate::http::api::estimates::EstimateDocument;
use crate::http::api::mitigations::{MitigationDocument, PlanBody};
use crate::model::ids::{IncidentId, SnapshotId};
use crate::model::plan::ActionKind;
use crate::model::selector::Conditions;
use crate::model::victim::{KeepOf, VictimOrder};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
    /// What would be done.
    #[arg(value_enum)]
    action: Action,
    /// For the cluster of this incident.
    #[arg(long, value_name = "ID", value_parser = read_id, conflicts_with = "cluster")]
    incident: Option<IncidentId>,
    /// For this cluster.
    #[arg(long, required_unless_present_any = ["incident", "snapshot"])]
    cluster: Option<String>,
    /// Estimate what a plan would have been when this look of an incident was stored. Nothing is planned.
    #[arg(
        long,
        value_name = "ID",
        value_parser = read_snapshot_id,
        conflicts_with_all = ["incident", "propose", "idempotency_key", "reason"]
    )]
    snapshot: Option<SnapshotId>,
    #[command(flatten)]
    selector: SelectorArguments,
    /// Which of them first.
    #[arg(long, value_enum, default_value = "no-traffic-idle")]
    order: Order,
    /// What the order `random` is made of.
    #[arg(long, default_value = "0", value_name = "NUMBER")]
    seed: u64,
    /// At most so many. [default: as many as the guards allow]
    #[arg(long, value_name = "NUMBER")]
    at_most: Option<u32>,
    /// At most this share of the cluster's connections. [default: as much as the guards allow]
    #[arg(long, value_name = "PERCENT")]
    at_most_percent: Option<f64>,
    /// Leave so many connections of each application. [default: as configured]
    #[arg(long, value_name = "NUMBER")]
    keep: Option<u32>,
    /// Leave them of each application at each address.
    #[arg(long)]
    keep_of_each_ip: bool,
    /// Why, for whoever reads it later.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The same key and the same arguments give the same plan.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Ask for approval at once, where no guard blocks it.
    #[arg(long)]
    propose: bool,
    #[command(flatten)]
    output: OutputArguments,
}

/// Which connections are meant: all that is given holds of each.
#[derive(Debug, Args)]
struct SelectorArguments {
    /// Of this application.
    #[arg(long)]
    application: Option<String>,
    /// Of applications that fit, such as `orders-*`.
    #[arg(long, value_name = "PATTERN")]
    application_glob: Option<String>,
    /// Of clients with this name.
    #[arg(long)]
    name: Option<String>,
    /// Of clients whose name fits.
    #[arg(long, value_name = "PATTERN")]
    name_glob: Option<String>,
    /// Of clients whose whole name matches.
    #[arg(long, value_name = "REGEX")]
    name_regex: Option<String>,
    /// Of clients without a name.
    #[arg(long)]
    unnamed: bool,
    /// From this address or network.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Of this account.
    #[arg(long)]
    account: Option<String>,
    /// Of this user.
    #[arg(long)]
    user: Option<String>,
    /// With a client library of this language.
    #[arg(long)]
    lang: Option<String>,
    /// With this version of the client library.
    #[arg(long, value_name = "VERSION")]
    lang_version: Option<String>,
    /// Of this kind: client/nats, client/websocket, client/mqtt.
    #[arg(long)]
    kind: Option<String>,
    /// On the server of this name.
    #[arg(long, value_name = "NAME")]
    nats_server: Option<String>,
    /// Idle for at least so long, such as 10m.
    #[arg(long, value_name = "DURATION")]
    idle_for: Option<String>,
    /// That never sent or received a message.
    #[arg(long)]
    no_traffic: bool,
    /// Open for at least so long.
    #[arg(long, value_name = "DURATION")]
    older_than: Option<String>,
    /// Open for less than so long.
    #[arg(long, value_name = "DURATION")]
    younger_than: Option<String>,
    /// With at most so many subscriptions.
    #[arg(long, value_name = "NUMBER")]
    subscriptions_at_most: Option<u64>,
    /// With at least so many subscriptions.
    #[arg(long, value_name = "NUMBER")]
    subscriptions_at_least: Option<u64>,
    /// With at least so many bytes waiting for them.
    #[arg(long, value_name = "BYTES")]
    pending_bytes_at_least: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Action {
    /// Cut connections.
    Kick,
    /// Ask clients to leave, and cut those that stay.
    Drain,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    /// Those without any message first, the longest idle of them first.
    NoTrafficIdle,
    /// The longest idle first.
    Idle,
    /// The youngest first.
    Newest,
    /// The oldest first.
    Oldest,
    /// By chance, the same for the same seed.
    Random,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let selector = arguments.selector.conditions()?;
    let order = match arguments.order {
        Order::NoTrafficIdle => VictimOrder::NoTrafficIdle,
        Order::Idle => VictimOrder::Idle,
        Order::Newest => VictimOrder::Newest,
        Order::Oldest => VictimOrder::Oldest,
        Order::Random => VictimOrder::Random { seed: arguments.seed },
    };
    let body = PlanBody {
        cluster: arguments.cluster,
        action: match arguments.action {
            Action::Kick => ActionKind::Kick,
            Action::Drain => ActionKind::Drain,
        },
        selector,
        order,
        at_most: arguments.at_most,
        at_most_percent: arguments.at_most_percent,
        keep: arguments.keep,
        keep_of: if arguments.keep_of_each_ip { KeepOf::ApplicationAndIp } else { KeepOf::Application },
        reason: arguments.reason,
    };
    let client = Client::new(arguments.client)?;
    if let Some(snapshot) = arguments.snapshot {
        return estimate(&client, snapshot, &body, &arguments.output).await;
    }
    let path = match arguments.incident {
        Some(id) => format!("api/v1/incidents/{id}/plans"),
        None => "api/v1/plans".to_owned(),
    };
    let body = serde_json::to_value(&body)?;
    let mut document: MitigationDocument =
        client.post_once(&path, &body, arguments.idempotency_key.as_deref()).await?;
    if arguments.propose && document.mitigation.plan.passes() {
        let path = format!("api/v1/mitigations/{}/propose", document.mitigation.id);
        let seen: Value = serde_json::json!({ "digest": document.mitigation.plan.digest });
        document = client.post(&path, &seen).await?;
    }
    print(&arguments.output.write(&document, |document| render_plan(document, terminal()))?)?;
    // a plan that guards block is shown, and is no success
    Ok(ExitCode::from(if document.mitigation.plan.passes() { 0 } else { PARTIAL }))
}

/// Shows what a plan would have been when a look was stored.
async fn estimate(
    client: &Client,
    snapshot: SnapshotId,
    body: &PlanBody,
    output: &OutputArguments,
) -> anyhow::Result<ExitCode> {
    let path = format!("api/v1/snapshots/{snapshot}/estimates");
    let document: EstimateDocument = client.post(&path, &serde_json::to_value(body)?).await?;
    print(&output.write(&document, |document| Ok(estimate::render(document, terminal())))?)?;
    Ok(ExitCode::from(if document.estimate.is_blocked() { PARTIAL } else { 0 }))
}

fn read_snapshot_id(text: &str) -> Result<SnapshotId, String> {
    text.parse().map_err(|_| {
        format!(
            "`{text}` is not the id of a stored look, `connwarden incidents show ID --output json` lists them"
        )
    })
}

impl SelectorArguments {
    fn conditions(self) -> anyhow::Result<Conditions> {
        let mut conditions = serde_json::to_value(Conditions {
            application: self.application,
            application_glob: self.application_glob,
            name: self.name,
            name_glob: self.name_glob,
            name_regex: self.name_regex,
            unnamed: self.unnamed.then_some(true),
            ip: self.ip,
            account: self.account,
            user: self.user,
            lang: self.lang,
            version: self.lang_version,
            kind: self.kind,
            server: self.nats_server,
            no_traffic: self.no_traffic.then_some(true),
            subscriptions_at_most: self.subscriptions_at_most,
            subscriptions_at_least: self.subscriptions_at_least,
            pending_bytes_at_least: self.pending_bytes_at_least,
            ..Conditions::default()
        })?;
        // durations are read as the API reads them
        for (key, flag, text) in [
            ("idle_for", "--idle-for", self.idle_for),
            ("older_than", "--older-than", self.older_than),
            ("younger_than", "--younger-than", self.younger_than),
        ] {
            if let Some(text) = text {
                let alone = serde_json::json!({ key: text });
                serde_json::from_value::<Conditions>(alone)
                    .map_err(|_| anyhow::anyhow!("{flag}: `{text}` is not a duration such as 10m"))?;
                conditions[key] = text.into();
            }
        }
        Ok(serde_json::from_value(conditions)?)
    }
}
