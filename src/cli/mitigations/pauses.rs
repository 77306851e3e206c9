//! `connwarden mitigations pause`, `resume` and `pauses`: the reasons why no mitigation runs.

use clap::Args;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::output::OutputArguments;
use crate::http::api::pauses::PauseList;
use crate::model::pause::{Pause, StandingPause};
use crate::model::printable::visible;

/// Where they are.
const PATH: &str = "api/v1/pauses";

#[derive(Debug, Args)]
pub(super) struct PauseArguments {
    /// What to call it: by this name it is ended.
    name: String,
    /// Only in this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Begins a pause.
pub(super) async fn begin(client: &Client, pause: PauseArguments) -> anyhow::Result<String> {
    let body = json!({ "name": pause.name, "cluster": pause.cluster, "reason": pause.reason });
    let pause: Pause = client.post(PATH, &body).await?;
    Ok(told(&pause) + "\n")
}

/// Ends a pause.
pub(super) async fn end(client: &Client, name: &str) -> anyhow::Result<String> {
    client.delete(PATH, name).await?;
    Ok(visible(&format!("pause `{name}` is ended")).into_owned() + "\n")
}

/// Lists what is paused.
pub(super) async fn list(client: &Client, output: &OutputArguments) -> anyhow::Result<String> {
    let list: PauseList = client.get(PATH, &[]).await?;
    output.write(&list, |list| {
        let standing = list.standing.iter().map(|StandingPause { name, reason, by }| {
            visible(&format!("{name}: all clusters paused by {by}: {reason}")).into_owned()
        });
        let lines: Vec<String> = list.pauses.iter().map(told).chain(standing).collect();
        Ok(if lines.is_empty() { "nothing is paused\n".to_owned() } else { lines.join("\n") + "\n" })
    })
}

fn told(pause: &Pause) -> String {
    let text = format!(
        "{}: {} paused by {} at {}: {}",
        pause.name,
        pause.place(),
        pause.paused_by,
        pause.paused_at,
        pause.reason
    );
    visible(&text).into_owned()
}
