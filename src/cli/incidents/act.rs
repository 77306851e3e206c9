//! What operators do about incidents, from the command line.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::client::Client;
use crate::http::api::documents::IncidentHead;
use crate::model::ids::IncidentId;
use crate::model::printable::visible;

/// What can be done. Each is written into the timeline under the name of the credential.
#[derive(Debug, Subcommand)]
pub(super) enum Act {
    /// Say that you take care of an incident.
    Acknowledge(Acknowledge),
    /// Write something into the timeline of an incident.
    Note(Note),
    /// End an incident; it stays over until an alert begins anew.
    Resolve(Because),
    /// Open a resolved incident again.
    Reopen(Because),
    /// Open an incident that no alert has told of.
    Open(Open),
}

#[derive(Debug, Args)]
pub(super) struct Acknowledge {
    /// The incident.
    #[arg(value_parser = read_id)]
    id: IncidentId,
    /// Why, or what you are going to do.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Note {
    /// The incident.
    #[arg(value_parser = read_id)]
    id: IncidentId,
    /// What to write down.
    text: String,
}

#[derive(Debug, Args)]
pub(super) struct Because {
    /// The incident.
    #[arg(value_parser = read_id)]
    id: IncidentId,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct Open {
    /// The configured cluster.
    cluster: String,
    /// What to call it; alerts of this name join it. [default: Manual]
    #[arg(long, value_name = "NAME")]
    alert_name: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Does it; what to say about it.
pub(super) async fn run(client: &Client, act: Act) -> anyhow::Result<String> {
    let is_note = matches!(act, Act::Note(_));
    let (path, body) = match act {
        Act::Acknowledge(act) => (below(act.id, "acknowledge"), json!({ "reason": act.reason })),
        Act::Note(act) => (below(act.id, "notes"), json!({ "text": act.text })),
        Act::Resolve(act) => (below(act.id, "resolve"), json!({ "reason": act.reason })),
        Act::Reopen(act) => (below(act.id, "reopen"), json!({ "reason": act.reason })),
        Act::Open(act) => (
            "api/v1/incidents".to_owned(),
            json!({ "cluster": act.cluster, "alert_name": act.alert_name, "reason": act.reason }),
        ),
    };
    let incident: IncidentHead = client.post(&path, &body).await?;
    if is_note {
        // its state has not changed
        return Ok(format!("note added to incident {}\n", incident.id));
    }
    let note = incident.state.note().map(|note| format!(" ({note})")).unwrap_or_default();
    Ok(visible(&format!("incident {} is {}{note}", incident.id, incident.state.name())).into_owned() + "\n")
}

fn below(id: IncidentId, act: &str) -> String {
    format!("api/v1/incidents/{id}/{act}")
}

/// Reads the id of an incident.
pub(in crate::cli) fn read_id(text: &str) -> Result<IncidentId, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not an incident id, `connwarden incidents list` shows them"))
}
