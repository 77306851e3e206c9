//! The servers of the configured clusters: what they say of themselves, learnt from `/varz` and the system accounts, and
//! remembered.
//!
//! Alerts are mapped by it. A nats id is new at each start of a server, so it is learnt anew all the time; what was
//! learnt last is read from the store at start, because a notification may come before the first answer.

use std::collections::HashMap;
use std::sync::PoisonError;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};
use url::Url;

use crate::engine::{Cluster, Engine};
use crate::model::mapping::KnownServer;
use crate::model::printable::excerpt;
use crate::model::server_run::ServerRun;
use crate::model::snapshot::Coverage;
use crate::model::system_account::SystemStatus;
use crate::model::vitals::ServerVitals;
use crate::nats::system::{ServerRef, SystemAccount};
use crate::observe::sweep::ClusterTargets;
use crate::store::{self, Store, StoreError};

/// What was learnt of a server, the version it runs, and what it says of its run.
struct Learnt {
    server: KnownServer,
    version: String,
    vitals: Option<ServerVitals>,
}

/// Lists the configured servers with what was last learnt of each, and those that only system accounts have shown.
pub(super) async fn load(
    store: &Store,
    clusters: &[Cluster],
    now: Timestamp,
) -> Result<Vec<KnownServer>, StoreError> {
    let remembered = store::servers::list(&mut *store.read().await?).await?;
    let mut servers = Vec::new();
    for cluster in clusters {
        let targets = &cluster.targets;
        for url in &targets.servers {
            let is_it =
                |known: &&KnownServer| known.cluster == targets.name && known.url.as_ref() == Some(url);
            let known = remembered.iter().find(is_it).cloned().unwrap_or(KnownServer {
                cluster: targets.name.clone(),
                url: Some(url.clone()),
                server_id: None,
                server_name: None,
            });
            if let Some(server) = server_ref(&known) {
                targets.roster.note_place(url, server);
            }
            servers.push(known);
        }
        let shown = remembered.iter().filter(|known| known.cluster == targets.name && known.url.is_none());
        for known in shown.filter(|_| targets.system.is_some()) {
            if let Some(server) = server_ref(known) {
                targets.roster.note(server, now);
                servers.push(known.clone());
            }
        }
    }
    Ok(servers)
}

/// The server as the system account addresses it, if it has ever said who it is.
fn server_ref(known: &KnownServer) -> Option<ServerRef> {
    let id = known.server_id.clone()?;
    Some(ServerRef { name: known.server_name.clone().unwrap_or_else(|| id.clone()), id })
}

impl Engine {
    /// What is known of every configured server.
    pub fn known_servers(&self) -> Vec<KnownServer> {
        self.0.servers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known of the servers of one cluster.
    pub(super) fn servers_of(&self, cluster: &str) -> Vec<KnownServer> {
        self.known_servers().into_iter().filter(|server| server.cluster == cluster).collect()
    }

    /// Whether the system account of a cluster can be used now; `None` if none is configured.
    pub fn system_status(&self, cluster: &str) -> Option<SystemStatus> {
        let targets = self.clusters().find(|targets| targets.name == cluster)?;
        targets.system.as_ref().map(SystemAccount::status)
    }

    /// Asks every server who it is: by its monitoring port, and by the system accounts. Also keeps a connection to each of
    /// them alive: at its descriptor limit, and at its limit of connections, a server accepts no new ones.
    #[tracing::instrument(name = "engine.servers.learn", level = "debug", skip_all)]
    pub async fn learn_servers(&self) {
        let mut asked = JoinSet::new();
        let mut called = JoinSet::new();
        for cluster in &self.0.clusters {
            let targets = &cluster.targets;
            for url in &targets.servers {
                let (observer, targets, url) = (self.0.observer.clone(), targets.clone(), url.clone());
                asked.spawn(async move {
                    let varz = observer.varz(&url, targets.auth.as_ref()).await;
                    (targets, url, varz)
                });
            }
            if let Some(system) = targets.system.clone() {
                let (observer, targets) = (self.0.observer.clone(), targets.clone());
                called.spawn(async move {
                    let answers = observer.varz_by_system(&targets, &system).await;
                    let answers = answers.unwrap_or_else(|error| {
                        // a connection that is missing or lost has been logged
                        debug!(cluster = %targets.name, %error, "no roll call of cluster {}: {error}", targets.name);
                        Vec::new()
                    });
                    (targets, answers)
                });
            }
        }
        let (mut learnt, mut silent) = (Vec::new(), Vec::new());
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((targets, url, Ok(varz))) => {
                    let vitals = Some(varz.vitals());
                    let known = |text: String| Some(text).filter(|text| !text.is_empty());
                    let (server_id, server_name) = (known(varz.server_id), known(varz.server_name));
                    let (cluster, place) = (targets.name.clone(), Some(url.clone()));
                    let server = KnownServer { cluster, url: place, server_id, server_name };
                    if let Some(server) = server_ref(&server) {
                        targets.roster.note_place(&url, server);
                    }
                    learnt.push(Learnt { server, version: varz.version, vitals });
                }
                Ok((targets, url, Err(error))) => silent.push((targets.name, url, error.to_string())),
                Err(error) => warn!(%error, "asking a server who it is ended early: {error}"),
            }
        }
        self.warn_of(silent);
        self.remember(learnt).await;
        for (targets, answers) in called.join_all().await {
            let told = answers.into_iter().filter_map(|(server, varz)| {
                let varz = varz.ok()?;
                let vitals = Some(varz.vitals());
                Some((server.id, (varz.version, vitals)))
            });
            self.learn_shown(&targets, told.collect()).await;
        }
    }

    /// Says that servers do not answer, once for each time they fall silent.
    fn warn_of(&self, silent: Vec<(String, Url, String)>) {
        let mut known = self.0.silent_servers.lock().unwrap_or_else(PoisonError::into_inner);
        for (cluster, url, error) in &silent {
            if !known.contains(url) {
                warn!(%cluster, nats.server = %url, "server {url} does not say who it is: {error}");
            }
        }
        for url in known.iter().filter(|url| silent.iter().all(|(_, silent, _)| silent != *url)) {
            info!(nats.server = %url, "server {url} answers again");
        }
        *known = silent.into_iter().map(|(_, url, _)| url).collect();
    }

    /// Takes in what a look at a cluster has shown of its servers.
    pub(super) async fn learn_from(&self, targets: &ClusterTargets, coverage: &Coverage) {
        let answered =
            coverage.servers.iter().filter(|server| server.url.is_some() && server.version.is_some());
        let learnt = answered.map(|server| Learnt {
            server: KnownServer {
                cluster: targets.name.clone(),
                url: server.url.clone(),
                server_id: server.server_id.clone(),
                server_name: server.name.clone(),
            },
            version: server.version.clone().unwrap_or_default(),
            vitals: server.vitals.clone(),
        });
        self.remember(learnt.collect()).await;
        let others = coverage.servers.iter().filter(|server| server.url.is_none());
        let told = others.filter_map(|server| {
            Some((server.server_id.clone()?, (server.version.clone()?, server.vitals.clone())))
        });
        self.learn_shown(targets, told.collect()).await;
    }

    /// Takes in which servers the system account of a cluster shows, beside those that are at a monitoring URL, and lets
    /// go of those that are no longer expected. `told` is what they say of themselves, by nats id: version and vitals.
    async fn learn_shown(
        &self,
        targets: &ClusterTargets,
        mut told: HashMap<String, (String, Option<ServerVitals>)>,
    ) {
        if targets.system.is_none() {
            return;
        }
        let shown = targets.roster.servers();
        let known = self.servers_of(&targets.name);
        let is_placed = |server: &ServerRef| {
            let is_it = |known: &KnownServer| {
                known.server_id.as_ref() == Some(&server.id)
                    || known.server_name.as_ref() == Some(&server.name)
            };
            known.iter().any(|known| known.url.is_some() && is_it(known))
        };
        let others: Vec<KnownServer> = shown
            .into_iter()
            .filter(|server| !is_placed(server))
            .map(|ServerRef { id, name }| KnownServer {
                cluster: targets.name.clone(),
                url: None,
                server_id: Some(id),
                server_name: Some(name),
            })
            .collect();
        let is_among = |known: &KnownServer| others.iter().any(|other| other.key() == known.key());
        let gone: Vec<KnownServer> =
            known.into_iter().filter(|known| known.url.is_none() && !is_among(known)).collect();
        let learnt = others.into_iter().map(|server| {
            let told = server.server_id.as_ref().and_then(|id| told.remove(id));
            let (version, vitals) = told.unwrap_or_default();
            Learnt { server, version, vitals }
        });
        self.remember(learnt.collect()).await;
        self.forget(&gone).await;
    }

    async fn remember(&self, learnt: Vec<Learnt>) {
        let runs = learnt
            .iter()
            .filter_map(|learnt| ServerRun::of(&learnt.server, &learnt.version, learnt.vitals.as_ref()?));
        self.note_runs(runs.collect()).await;
        let news: Vec<Learnt> = {
            let mut servers = self.0.servers.write().unwrap_or_else(PoisonError::into_inner);
            let news = learnt.into_iter().filter(|learnt| !servers.contains(&learnt.server));
            let news: Vec<Learnt> = news.collect();
            for Learnt { server, .. } in &news {
                let place = servers
                    .iter_mut()
                    .find(|known| known.cluster == server.cluster && known.key() == server.key());
                match place {
                    Some(known) => *known = server.clone(),
                    None => servers.push(server.clone()),
                }
            }
            news
        };
        if news.is_empty() {
            return;
        }
        for Learnt { server, version, .. } in &news {
            let name = server.server_name.as_deref().map(excerpt);
            let name = name.as_deref().unwrap_or("nameless");
            let (cluster, key) = (&server.cluster, server.key());
            match &server.url {
                Some(_) => {
                    let (place, version) = (key.shown(), excerpt(version));
                    info!(%cluster, nats.server = name, "server {place} is {name} ({version})");
                }
                None => info!(%cluster, nats.server = name, "server {name} is one of cluster {cluster}"),
            }
        }
        if let Err(error) = self.store_servers(&news).await {
            warn!(error = &error as &dyn std::error::Error, "cannot remember who the servers are: {error}");
        }
    }

    /// Lets go of servers that are no longer expected, or now have a monitoring URL.
    async fn forget(&self, gone: &[KnownServer]) {
        if gone.is_empty() {
            return;
        }
        self.0.servers.write().unwrap_or_else(PoisonError::into_inner).retain(|known| !gone.contains(known));
        let forgotten = async {
            let mut tx = self.0.store.write().await?;
            for server in gone {
                store::servers::delete(&mut tx, &server.cluster, &server.key()).await?;
            }
            store::commit(tx).await
        };
        if let Err(error) = forgotten.await {
            warn!(error = &error as &dyn std::error::Error, "cannot forget servers that are gone: {error}");
        }
    }

    async fn store_servers(&self, learnt: &[Learnt]) -> Result<(), StoreError> {
        let mut tx = self.0.store.write().await?;
        for Learnt { server, version, .. } in learnt {
            store::servers::save(&mut tx, server, version, self.0.clock.now()).await?;
        }
        store::commit(tx).await
    }
}
