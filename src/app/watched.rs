//! The clusters that are watched: by which ways their servers are asked, and as whom.

use crate::app::{patience, random_key};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::mitigate::probe::probe;
use crate::model::capability::Capabilities;
use crate::model::mapping::ClusterRoute;
use crate::model::system_account::SystemAccess;
use crate::nats;
use crate::nats::system::{Role, SystemAccount};
use crate::observe::sweep::{ClusterTargets, Observer};
use crate::store::settings::INSTANCE_ID;
use crate::store::{self, Store};
use crate::telemetry::metrics::Metrics;

/// The servers that a configured cluster names, to be asked by their monitoring ports.
pub fn targets(cluster: &config::Cluster) -> ClusterTargets {
    ClusterTargets::new(&cluster.name, cluster.monitor.clone(), cluster.auth.clone())
}

/// The servers of a configured cluster, to be asked by its system account too, if it has one. `instance` says in the name
/// of the connection who asks.
pub fn watched(
    cluster: &config::Cluster,
    config: &Config,
    instance: &str,
    metrics: &Metrics,
) -> ClusterTargets {
    let account = |access: &SystemAccess, role| {
        let settings = patience(config);
        SystemAccount::new(&cluster.name, instance, role, access.clone(), settings, metrics.clone())
    };
    let system = cluster.system_account.as_ref().map(|access| account(access, Role::Reader));
    let actor = cluster.system_actor.as_ref().map(|access| account(access, Role::Actor));
    // without an actor, who reads acts too
    ClusterTargets { actor: actor.or_else(|| system.clone()), system, ..targets(cluster) }
}

/// Reads the files of a cluster's system account as a connection would.
///
/// # Errors
///
/// One of them cannot be used; says which and why.
pub fn check_system_account(cluster: &config::Cluster) -> Result<(), String> {
    cluster.system_account.as_ref().map_or(Ok(()), nats::system::check)?;
    let actor = cluster.system_actor.as_ref().map_or(Ok(()), nats::system::check);
    actor.map_err(|error| format!("actor: {error}"))
}

/// Finds out what can be done to the connections of a cluster.
pub async fn capabilities(observer: &Observer, cluster: &ClusterTargets, clock: &Clock) -> Capabilities {
    probe(observer, cluster, clock).await
}

/// Which alerts are about a configured cluster.
pub(super) fn route(cluster: &config::Cluster) -> ClusterRoute {
    let matchers = Some(cluster.matchers.clone()).filter(|matchers| !matchers.is_empty());
    ClusterRoute { name: cluster.name.clone(), matchers, server_labels: cluster.server_labels.clone() }
}

/// What tells this connwarden from others where it is a client: made once per storage directory.
pub(super) async fn instance_id(store: &Store) -> anyhow::Result<String> {
    let mut tx = store.write().await?;
    let id = match store::settings::find(&mut tx, INSTANCE_ID).await? {
        Some(id) => id,
        None => {
            let id: String = random_key()?[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            store::settings::insert(&mut tx, INSTANCE_ID, &id).await?;
            id
        }
    };
    store::commit(tx).await?;
    Ok(id)
}
