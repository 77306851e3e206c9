//! The probe: what can be done to the connections of a cluster, found out without hurting anybody.
//!
//! Every server is asked to cut, and to warn, connection 0, which none has. `no such client` is the answer of one that would
//! do it; who may not ask hears a refusal or nothing. Servers before 2.10 know no such requests.
//!
//! A refused probe is an error in the server's log: probe when something changes, and not all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::model::capability::{Capabilities, Capability, Missing, Obstacle};
use crate::model::plan::ActionKind;
use crate::model::printable::excerpt;
use crate::nats::system::control::Control;
use crate::nats::system::{ServerRef, SystemAccount, SystemCause};
use crate::observe::sweep::{ClusterTargets, Observer};

/// How many servers are probed at the same time.
const MOST_AT_A_TIME: usize = 16;

/// The first release line with control requests.
const FIRST_LINE: (u32, u32) = (2, 10);

/// What stands against a control request, and on which servers.
type Obstacles = BTreeMap<(Control, Obstacle, String), BTreeSet<String>>;

/// Finds out what can be done to the connections of a cluster.
///
/// Always answers: what could not be found out is missing.
#[tracing::instrument(name = "mitigate.cluster.probe", skip_all, fields(cluster = %cluster.name))]
pub async fn probe(observer: &Observer, cluster: &ClusterTargets, clock: &Clock) -> Capabilities {
    let probed_at = clock.now();
    let obstacles = match (&cluster.system, &cluster.actor) {
        (Some(system), Some(actor)) => probe_servers(observer, cluster, system, actor).await,
        _ => {
            let message = "no system account is configured, and connections can be cut over nothing else: give the cluster a \
                           `system_account`";
            everywhere(Obstacle::NoSystemAccount, message)
        }
    };
    let capabilities = ActionKind::ALL.map(|action| {
        let needed = needed(action);
        let mut missing: Vec<Missing> = Vec::new();
        for ((control, obstacle, message), servers) in &obstacles {
            if !needed.contains(control) {
                continue;
            }
            let is_same = |known: &&mut Missing| known.obstacle == *obstacle && known.message == *message;
            match missing.iter_mut().find(is_same) {
                Some(known) => {
                    known.servers.extend(servers.iter().cloned());
                    known.servers.sort();
                    known.servers.dedup();
                }
                None => {
                    let servers = servers.iter().cloned().collect();
                    missing.push(Missing { obstacle: *obstacle, servers, message: message.clone() });
                }
            }
        }
        Capability::new(action, missing)
    });
    Capabilities { cluster: cluster.name.clone(), probed_at, actions: capabilities.to_vec() }
}

/// What an action asks servers for.
fn needed(action: ActionKind) -> &'static [Control] {
    match action {
        ActionKind::Kick => &[Control::Kick],
        // those that stay are cut
        ActionKind::Drain => &[Control::LameDuck, Control::Kick],
    }
}

/// What stands against every control request on all servers.
fn everywhere(obstacle: Obstacle, message: &str) -> Obstacles {
    Control::ALL.map(|control| ((control, obstacle, message.to_owned()), BTreeSet::new())).into()
}

async fn probe_servers(
    observer: &Observer,
    cluster: &ClusterTargets,
    system: &SystemAccount,
    actor: &SystemAccount,
) -> Obstacles {
    let expected = cluster.roster.expected();
    let call = match observer.roll_call(cluster, system).await {
        Ok(call) => call,
        Err(error) => return everywhere(Obstacle::NotReached, &error.to_string()),
    };
    let mut obstacles = Obstacles::new();
    for name in call.missing(&expected) {
        for control in Control::ALL {
            let message = "it does not answer, so nothing can be done to its connections".to_owned();
            note(&mut obstacles, control, Obstacle::ServerMissing, message, name);
        }
    }
    let (mut probes, places) = (JoinSet::new(), Arc::new(Semaphore::new(MOST_AT_A_TIME)));
    for server in call.servers.into_values() {
        let (system, actor, places) = (system.clone(), actor.clone(), places.clone());
        probes.spawn(async move {
            let _place = places.acquire().await;
            let found = probe_server(&system, &actor, &server).await;
            (server, found)
        });
    }
    for (server, found) in probes.join_all().await {
        for (control, obstacle, message) in found {
            note(&mut obstacles, control, obstacle, message, &server.name);
        }
    }
    obstacles
}

fn note(obstacles: &mut Obstacles, control: Control, obstacle: Obstacle, message: String, server: &str) {
    obstacles.entry((control, obstacle, message)).or_default().insert(excerpt(server));
}

/// What stands against control requests on one server.
async fn probe_server(
    system: &SystemAccount,
    actor: &SystemAccount,
    server: &ServerRef,
) -> Vec<(Control, Obstacle, String)> {
    // it may not tell; then the answers must do
    let version = system.varz(server).await.map(|varz| varz.version).unwrap_or_default();
    if is_too_old(&version) {
        let message =
            format!("nats-server {} cannot be asked for it, only 2.10 and newer can", excerpt(&version));
        return Control::ALL.map(|control| (control, Obstacle::TooOld, message.clone())).to_vec();
    }
    let mut found = Vec::new();
    for control in Control::ALL {
        let Err(error) = actor.try_control(control, server).await else { continue };
        let (obstacle, message) = match error.cause {
            SystemCause::Denied(_) => {
                let subject = control.permission();
                (Obstacle::NotAllowed, format!("the user may not publish to `{subject}`: allow it"))
            }
            SystemCause::NoResponders(_) => {
                let message = "nobody answers to it: the user is not one of the system account, or the server is older \
                               than 2.10";
                (Obstacle::NotInSystemAccount, message.to_owned())
            }
            SystemCause::NotConnected(why) => (Obstacle::NotReached, format!("not connected: {why}")),
            // which server it is, is said beside it
            cause => (Obstacle::Unclear, format!("{}: {cause}", control.verb())),
        };
        found.push((control, obstacle, message));
    }
    found
}

/// Whether a version is known to know no control requests.
fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < FIRST_LINE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_before_2_10_are_known_to_be_too_old() {
        for (version, too_old) in [
            ("2.9.10", true),
            ("1.4.1", true),
            ("2.10.0", false),
            ("3.0.0", false),
            ("2", false),
            ("", false),
        ] {
            assert_eq!(is_too_old(version), too_old, "{version}");
        }
    }
}
