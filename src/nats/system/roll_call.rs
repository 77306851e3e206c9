//! The roll call: which servers of the NATS cluster are there.
//!
//! Servers answer for themselves, and say to which others they have routes: one that hangs keeps its routes for minutes,
//! so its neighbours know that it is missing. `active_servers` counts those behind gateways too, and tells only that the
//! answers may be all there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use tokio_stream::StreamExt;

use crate::model::printable::excerpt;
use crate::nats::system::link::Link;
use crate::nats::system::{LARGEST_SMALL_REPLY, ServerRef, SystemCause, is_server_id};
use crate::nats::text::{clip, clipped};

/// Where every server listens.
const PING: &str = "$SYS.REQ.SERVER.PING";

/// How long nothing may come before nobody else is waited for, once everybody who is known has answered.
const QUIET: Duration = Duration::from_millis(250);

/// The most servers of one cluster that are taken in.
const MOST_SERVERS: usize = 1024;

/// Who answered, and who is known to those who did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollCall {
    /// The name of the NATS cluster that was asked for; `None` for a server that is in none.
    pub nats_cluster: Option<String>,
    /// The servers that answered, by name.
    pub servers: BTreeMap<String, ServerRef>,
    /// The names of the servers to which those have routes.
    pub neighbours: BTreeSet<String>,
    /// How long was waited for those that did not answer.
    pub patience: Duration,
    /// How many servers there are by those that answered, in all clusters.
    pub active: usize,
}

impl RollCall {
    /// Takes in what a server says; whether it was understood.
    fn note(&mut self, payload: &[u8]) -> bool {
        if payload.len() as u64 > LARGEST_SMALL_REPLY || self.servers.len() >= MOST_SERVERS {
            return false;
        }
        let Ok(Present { server, statsz }) = serde_json::from_slice::<Present>(payload) else { return false };
        // one that does not know how to look at the name of the cluster, or is in none
        if !is_server_id(&server.id) || server.cluster.filter(|name| !name.is_empty()) != self.nats_cluster {
            return false;
        }
        let name = if server.name.is_empty() { server.id.clone() } else { server.name };
        self.servers.insert(name.clone(), ServerRef { id: server.id, name });
        self.active = self.active.max(usize::try_from(statsz.active_servers).unwrap_or(usize::MAX));
        let routes = statsz.routes.unwrap_or_default().into_iter();
        let names = routes.map(|route| route.name).filter(|name| !name.is_empty());
        self.neighbours.extend(names.take(MOST_SERVERS));
        true
    }

    /// Those who should have answered and have not.
    pub fn missing<'a>(&'a self, expected: &'a BTreeSet<String>) -> BTreeSet<&'a str> {
        let known = expected.union(&self.neighbours).map(String::as_str);
        known.filter(|name| !self.servers.contains_key(*name)).collect()
    }

    /// Whether everybody who is known has answered.
    fn is_settled(&self, expected: &BTreeSet<String>) -> bool {
        !self.servers.is_empty() && self.missing(expected).is_empty()
    }
}

/// What a server says to a roll call.
#[derive(Deserialize)]
struct Present {
    server: Identity,
    #[serde(default)]
    statsz: Statsz,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(deserialize_with = "clipped")]
    id: String,
    #[serde(default, deserialize_with = "clipped")]
    name: String,
    cluster: Option<String>,
}

#[derive(Default, Deserialize)]
struct Statsz {
    #[serde(default)]
    active_servers: u64,
    routes: Option<Vec<Route>>,
}

#[derive(Deserialize)]
struct Route {
    #[serde(default, deserialize_with = "clipped")]
    name: String,
}

/// Takes a roll call of the servers of a NATS cluster, or of the one that is in none.
///
/// # Errors
///
/// Nobody answered.
pub(super) async fn take(
    link: &Link,
    nats_cluster: Option<&str>,
    expected: &BTreeSet<String>,
    patience: Duration,
) -> Result<RollCall, SystemCause> {
    let lost = |error: &dyn std::error::Error| SystemCause::Lost(excerpt(&error.to_string()));
    let client = link.connected().await?;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| lost(&error))?;
    let filter = match nats_cluster {
        Some(name) => serde_json::json!({ "cluster": name }).to_string(),
        None => String::new(),
    };
    let mut denied = std::pin::pin!(link.denied(PING));
    client.publish_with_reply(PING, inbox, filter.into()).await.map_err(|error| lost(&error))?;

    let nats_cluster = nats_cluster.map(|name| clip(name).to_owned());
    let mut call = RollCall { nats_cluster, patience, ..RollCall::default() };
    let (mut understood, mut strange) = (true, 0_usize);
    let mut deadline = std::pin::pin!(tokio::time::sleep(patience));
    while !(call.is_settled(expected) && call.servers.len() + strange >= call.active) {
        let settled = call.is_settled(expected);
        let answer = tokio::select! {
            answer = answers.next() => answer,
            () = &mut deadline => None,
            denied = &mut denied => return Err(SystemCause::Denied(denied)),
            () = tokio::time::sleep(QUIET), if settled => None,
        };
        let Some(answer) = answer else { break };
        if answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
            let why = "nobody answers: the user is not one of the system account";
            return Err(SystemCause::NoResponders(why));
        }
        if !call.note(&answer.payload) {
            (understood, strange) = (false, strange + 1);
            if strange > MOST_SERVERS {
                break;
            }
        }
    }
    // a subscription that is left is dropped by the server when the connection ends, at the latest
    let _ = answers.unsubscribe().await;
    if !call.servers.is_empty() {
        Ok(call)
    } else if understood {
        Err(SystemCause::Timeout { within: patience, objection: link.objection() })
    } else {
        Err(SystemCause::Malformed("no server of this NATS cluster is among those that answered".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(nats_cluster: Option<&str>) -> RollCall {
        RollCall { nats_cluster: nats_cluster.map(str::to_owned), ..RollCall::default() }
    }

    fn answer(name: &str, id: &str, cluster: &str, active: u64, routes: &[&str]) -> Vec<u8> {
        let routes: Vec<_> =
            routes.iter().map(|name| serde_json::json!({ "rid": 1, "name": name })).collect();
        let server = serde_json::json!({ "name": name, "id": id, "cluster": cluster, "ver": "2.15.1" });
        serde_json::json!({ "server": server, "statsz": { "active_servers": active, "routes": routes } })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn a_neighbour_that_does_not_answer_is_missing() {
        let mut call = call(Some("east"));
        assert!(call.note(&answer("a", "NA", "east", 5, &["b", "b", "c"])));
        assert!(call.note(&answer("b", "NB", "east", 5, &["a", "c"])));
        let expected = BTreeSet::from(["a".to_owned(), "d".to_owned()]);
        assert_eq!(call.missing(&expected), BTreeSet::from(["c", "d"]));
        assert!(!call.is_settled(&BTreeSet::new()));
        assert!(call.note(&answer("c", "NC", "east", 5, &[])));
        assert!(call.is_settled(&BTreeSet::new()));
    }

    #[test]
    fn strangers_are_not_taken_in() {
        let mut east = call(Some("east"));
        assert!(!east.note(&answer("x", "NX", "west", 1, &["y"])));
        assert!(!east.note(&answer("x", "NX", "", 1, &[])));
        // what would be part of a subject
        assert!(!east.note(&answer("x", "*", "east", 1, &[])));
        assert!(!east.note(&answer("x", "NX.KICK", "east", 1, &[])));
        assert!(!east.note(b"{}"));
        assert!(!east.note(b"nonsense"));
        assert_eq!(east, call(Some("east")));
        let mut alone = call(None);
        assert!(!alone.note(&answer("x", "NX", "west", 1, &[])));
        assert!(alone.note(&answer("", "NX", "", 1, &[])));
        assert_eq!(alone.servers["NX"], ServerRef { id: "NX".to_owned(), name: "NX".to_owned() });
    }
}
