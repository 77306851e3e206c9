//! The servers of the configured clusters: what they say of themselves, learnt from `/varz` and remembered.
//!
//! Alerts are mapped by it. A nats id is new at each start of a server, so it is learnt anew all the time; what was
//! learnt last is read from the store at start, because a notification may come before the first answer.

use std::sync::PoisonError;

use tokio::task::JoinSet;
use tracing::{info, warn};
use url::Url;

use crate::engine::{Cluster, Engine};
use crate::model::mapping::KnownServer;
use crate::model::printable::excerpt;
use crate::model::server_run::ServerRun;
use crate::model::snapshot::Coverage;
use crate::model::vitals::ServerVitals;
use crate::store::{self, Store, StoreError};

/// What was learnt of a server, the version it runs, and what it says of its run.
struct Learnt {
    server: KnownServer,
    version: String,
    vitals: Option<ServerVitals>,
}

/// Lists the configured servers with what was last learnt of each.
pub(super) async fn load(store: &Store, clusters: &[Cluster]) -> Result<Vec<KnownServer>, StoreError> {
    let remembered = store::servers::list(&mut *store.read().await?).await?;
    let configured = clusters.iter().flat_map(|cluster| {
        let targets = &cluster.targets;
        targets.servers.iter().map(|url| (targets.name.clone(), url.clone()))
    });
    let servers = configured.map(|(cluster, url)| {
        let known =
            remembered.iter().find(|known| known.cluster == cluster && known.url.as_ref() == Some(&url));
        let unheard = KnownServer { cluster, url: Some(url), server_id: None, server_name: None };
        known.cloned().unwrap_or(unheard)
    });
    Ok(servers.collect())
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

    /// Asks every configured server who it is. Also keeps a connection to each of them alive: at its descriptor
    /// limit a server accepts no new ones.
    #[tracing::instrument(name = "engine.servers.learn", level = "debug", skip_all)]
    pub async fn learn_servers(&self) {
        let mut asked = JoinSet::new();
        for cluster in &self.0.clusters {
            for url in &cluster.targets.servers {
                let (observer, url) = (self.0.observer.clone(), url.clone());
                let (name, auth) = (cluster.targets.name.clone(), cluster.targets.auth.clone());
                asked.spawn(async move {
                    let varz = observer.varz(&url, auth.as_ref()).await;
                    (name, url, varz)
                });
            }
        }
        let (mut learnt, mut silent) = (Vec::new(), Vec::new());
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((cluster, url, Ok(varz))) => {
                    let vitals = Some(varz.vitals());
                    let known = |text: String| Some(text).filter(|text| !text.is_empty());
                    let (server_id, server_name) = (known(varz.server_id), known(varz.server_name));
                    let server = KnownServer { cluster, url: Some(url), server_id, server_name };
                    learnt.push(Learnt { server, version: varz.version, vitals });
                }
                Ok((cluster, url, Err(error))) => silent.push((cluster, url, error.to_string())),
                Err(error) => warn!(%error, "asking a server who it is ended early: {error}"),
            }
        }
        self.warn_of(silent);
        self.remember(learnt).await;
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
    pub(super) async fn learn_from(&self, cluster: &str, coverage: &Coverage) {
        let answered = coverage.servers.iter().filter(|server| server.version.is_some());
        let learnt = answered.map(|server| Learnt {
            server: KnownServer {
                cluster: cluster.to_owned(),
                url: server.url.clone(),
                server_id: server.server_id.clone(),
                server_name: server.name.clone(),
            },
            version: server.version.clone().unwrap_or_default(),
            vitals: server.vitals.clone(),
        });
        self.remember(learnt.collect()).await;
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
                if let Some(known) = place {
                    *known = server.clone();
                }
            }
            news
        };
        if news.is_empty() {
            return;
        }
        for Learnt { server, version, .. } in &news {
            let name = server.server_name.as_deref().map(excerpt);
            info!(
                cluster = %server.cluster,
                nats.server = name.as_deref().unwrap_or_default(),
                "server {} is {} ({})",
                server.key().shown(),
                name.as_deref().unwrap_or("nameless"),
                excerpt(version),
            );
        }
        if let Err(error) = self.store_servers(&news).await {
            warn!(error = &error as &dyn std::error::Error, "cannot remember who the servers are: {error}");
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
