//! Diagnosing: puts together the evidence of an incident, from all who can say something about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::engine::Engine;
use crate::engine::verify::Members;
use crate::model::breakdown::Dimension;
use crate::model::evidence::{AlertEvidence, Evidence, Looked};
use crate::model::first_seen::FirstSeen;
use crate::model::history::History;
use crate::model::incident::Incident;
use crate::model::snapshot::Snapshot;
use crate::model::vitals::{Churn, ServerVitals};
use crate::store::StoreError;

/// How far back samples are asked for: what is further back stands for itself at the same time of an earlier day.
const HISTORY: SignedDuration = SignedDuration::from_hours(24);

/// Of how many groups of a dimension it is asked when they were first seen, the largest first.
const FIRST_SEEN: usize = 200;

/// How many accounts the servers are asked about, those with most connections first.
const MOST_ACCOUNTS: usize = 10;

/// Whether an account is one of operator mode, whose limit its servers tell: known by its public key.
fn is_public_key(account: &str) -> bool {
    account.len() == 56 && account.starts_with('A')
}

impl Engine {
    /// Puts together what there is to know about an incident whose cluster was just looked at. Takes a bounded time: who
    /// does not answer is missing, with the reason.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub(super) async fn gather(
        &self,
        incident: &Incident,
        members: &Members,
        snapshot: Arc<Snapshot>,
    ) -> Result<Evidence, StoreError> {
        let cluster = &snapshot.cluster;
        let versions = snapshot.coverage.servers.iter().filter_map(|server| server.version.as_deref());
        let (churn, earlier_vitals) = self.churn(&snapshot);
        let (history, metrics, logs) = tokio::join!(
            self.history_before(&snapshot),
            self.gather_metrics(cluster, members.values()),
            self.gather_logs(cluster, members.values(), versions),
        );
        let changes = self.changes_around(&mut *self.0.store.read().await?, incident).await?;
        let alerts = members.values().map(|member| AlertEvidence {
            member: member.clone(),
            threshold: self.0.rules.threshold(&incident.key, member),
        });
        Ok(Evidence {
            incident: incident.id,
            at: self.0.clock.now(),
            opened_at: incident.opened_at,
            alerts: alerts.collect(),
            applications: self.0.observer.applications().clone(),
            churn,
            earlier_vitals,
            history: history?,
            first_seen: self.first_seen_of(&snapshot).await?,
            changes: Looked::Seen(changes),
            metrics: metrics.into(),
            logs: logs.into(),
            account_limits: self.account_limits(&snapshot).await,
            owners: self.owners(),
            metric_prefix: self.metric_prefix(cluster),
            snapshot,
        })
    }

    /// What the cluster was like before a look.
    async fn history_before(&self, snapshot: &Snapshot) -> Result<Looked<History>, StoreError> {
        if self.sampler(&snapshot.cluster).is_none() {
            return Ok(Looked::Unseen("no samples are taken (`baseline.enabled`)".to_owned()));
        }
        let from = snapshot.taken_at.saturating_sub(HISTORY).unwrap_or(Timestamp::MIN);
        let history = self.history(&snapshot.cluster, from, snapshot.taken_at).await?;
        if history.samples.is_empty() {
            return Ok(Looked::Unseen("no sample of the time before was taken yet".to_owned()));
        }
        Ok(Looked::Seen(history))
    }

    /// When the largest groups of a look were first seen, as far as that is known.
    async fn first_seen_of(
        &self,
        snapshot: &Snapshot,
    ) -> Result<BTreeMap<(Dimension, String), FirstSeen>, StoreError> {
        let mut first_seen = BTreeMap::new();
        let whole_looks = self.whole_looks(&snapshot.cluster).await?;
        for dimension in [Dimension::Application, Dimension::Ip, Dimension::User] {
            let Some(breakdown) = snapshot.breakdowns.get(&dimension.into()) else { continue };
            let groups = breakdown.groups.iter().filter(|group| !group.absent).take(FIRST_SEEN);
            let keys: Vec<&str> = groups.map(|group| group.key.as_str()).collect();
            let found = self.first_seen(&snapshot.cluster, dimension, &keys).await?;
            // who came since the last sample was not noted yet: this look is the first
            let before = whole_looks.get(&dimension).copied().filter(|at| *at < snapshot.taken_at);
            let unnoted = FirstSeen { at: snapshot.taken_at, not_seen_at: before };
            let seen = keys.iter().map(|key| (*key, found.get(*key).copied().unwrap_or(unnoted)));
            // what was there at the first look may have been there for ever
            let known = seen.filter(|(_, seen)| seen.not_seen_at.is_some());
            first_seen.extend(known.map(|(key, seen)| ((dimension, key.to_owned()), seen)));
        }
        Ok(first_seen)
    }

    /// What became of the connections of each server since it was last asked, and what it said then.
    fn churn(&self, snapshot: &Snapshot) -> (Vec<Churn>, BTreeMap<String, ServerVitals>) {
        let said: BTreeMap<&str, &ServerVitals> = snapshot
            .coverage
            .servers
            .iter()
            .filter_map(|server| Some((server.display_name(), server.vitals.as_ref()?)))
            .collect();
        let earlier = self.0.earlier_vitals.before(snapshot);
        let churn = earlier
            .iter()
            .filter_map(|(name, before)| Churn::between(name, before, said.get(name.as_str())?));
        (churn.collect(), earlier)
    }

    /// How many connections the accounts of a look may have: what is configured, else what the servers tell.
    async fn account_limits(&self, snapshot: &Snapshot) -> BTreeMap<String, u64> {
        let cluster = &snapshot.cluster;
        let configured = self.0.evidence.get(cluster).map(|sources| sources.account_limits.clone());
        let mut limits = configured.unwrap_or_default();
        let Some(watched) = self.0.clusters.iter().find(|watched| watched.targets.name == *cluster) else {
            return limits;
        };
        let accounts = snapshot.breakdowns.get(&Dimension::Account.into());
        let untold: Vec<&str> = accounts
            .into_iter()
            .flat_map(|accounts| &accounts.groups)
            .map(|account| account.key.as_str())
            .filter(|account| is_public_key(account) && !limits.contains_key(*account))
            .take(MOST_ACCOUNTS)
            .collect();
        limits.extend(self.0.observer.account_limits(&watched.targets, &untold).await);
        limits
    }

    fn metric_prefix(&self, cluster: &str) -> String {
        self.0
            .evidence
            .get(cluster)
            .map_or_else(|| "gnatsd".to_owned(), |sources| sources.metric_prefix.clone())
    }
}
