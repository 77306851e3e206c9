//! What looks at the servers show of their runs: a start, a reload or another version becomes a change, once.

use tracing::{info, warn};

use crate::engine::changes::digest_of_parts;
use crate::engine::{Engine, SELF};
use crate::model::change::{Change, OWN_SOURCE};
use crate::model::ids::ChangeId;
use crate::model::server_run::{RunChange, ServerRun};
use crate::store::{self, Conn, StoreError};

impl Engine {
    /// Takes in what servers have said of their runs. What was learnt of a server before is in the store, so a restart of
    /// connwarden neither hides a change nor tells one again.
    pub(super) async fn note_runs(&self, runs: Vec<ServerRun>) {
        if let Err(error) = self.store_runs(&runs).await {
            warn!(
                error = &error as &dyn std::error::Error,
                "cannot remember the runs of the servers: {error}"
            );
        }
    }

    async fn store_runs(&self, runs: &[ServerRun]) -> Result<(), StoreError> {
        let key = |run: &ServerRun| (run.cluster.clone(), run.server.clone());
        if runs.is_empty() {
            return Ok(());
        }
        // most looks show nothing new
        let known = store::server_runs::list(&mut *self.0.store.read().await?).await?;
        if !runs.iter().any(|run| run.is_news_after(known.get(&key(run)))) {
            return Ok(());
        }
        let mut tx = self.0.store.write().await?;
        let mut known = store::server_runs::list(&mut tx).await?;
        for run in runs {
            let before = known.get(&key(run));
            if !run.is_news_after(before) {
                continue;
            }
            for change in before.map(|before| run.changes_since(before)).unwrap_or_default() {
                self.insert_own(&mut tx, run, change).await?;
            }
            store::server_runs::save(&mut tx, run).await?;
            known.insert(key(run), run.clone());
        }
        store::commit(tx).await
    }

    async fn insert_own(&self, tx: &mut Conn, run: &ServerRun, seen: RunChange) -> Result<(), StoreError> {
        let at = seen.at.to_string();
        let digest = digest_of_parts(&[OWN_SOURCE, &run.cluster, &run.server, seen.kind.name(), &at]);
        if store::changes::find_by_digest(tx, &digest).await?.is_some() {
            return Ok(());
        }
        let change = Change {
            id: ChangeId(self.0.clock.new_id()),
            at: seen.at,
            ended_at: None,
            kind: seen.kind,
            cluster: Some(run.cluster.clone()),
            application: None,
            server: Some(run.server.clone()),
            title: seen.title,
            text: seen.text,
            url: None,
            tags: Vec::new(),
            author: SELF.to_owned(),
            source: OWN_SOURCE.to_owned(),
            external_id: None,
        };
        info!(cluster = %run.cluster, change.id = %change.id, "{}", change.title);
        store::changes::insert(tx, &change, &digest, self.0.clock.now()).await
    }
}
