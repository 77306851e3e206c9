//! Finding victims: what a cluster can do, and whom a plan would hit there.

use std::collections::BTreeSet;
use std::time::Duration;

use super::MitigateError;
use crate::engine::Engine;
use crate::mitigate::probe::probe;
use crate::model::capability::Capabilities;
use crate::model::instants::later;
use crate::model::picking::PickingRules;
use crate::model::plan::{ActionKind, PlanRequest};
use crate::model::protection::Protection;
use crate::model::snapshot::Snapshot;
use crate::observe::picks::Found;
use crate::observe::sweep::ClusterTargets;
use crate::observe::wishes::Wishes;

/// How long it is believed that a cluster can do everything.
const CAPABILITIES_HOLD: Duration = Duration::from_secs(60);

/// How long it is believed that something is missing: that may be mended at any moment, but whoever asks again and again
/// must not fill the servers' logs with requests that they refuse.
const GAPS_HOLD: Duration = Duration::from_secs(3);

/// How often a plan is made anew because an account turned out to be that of an authorisation callout.
const MOST_ROUNDS: usize = 5;

impl Engine {
    /// Says what can be done to the connections of a cluster, and what is missing for what cannot; as it was found out
    /// a moment ago. Whoever asks meanwhile waits for the same answer.
    ///
    /// # Errors
    ///
    /// No such cluster is configured.
    pub async fn capabilities(&self, cluster: &str) -> Result<Capabilities, MitigateError> {
        let watched = self.watched(cluster);
        let watched = watched.ok_or_else(|| MitigateError::UnknownCluster(cluster.to_owned()))?;
        // held while servers are asked: whoever comes meanwhile shall wait for this answer, and not ask them too
        let mut known = watched.capabilities.lock().await;
        let now = self.0.clock.now();
        let holds = |known: &Capabilities| {
            let is_whole = known.actions.iter().all(|action| action.possible);
            let hold = if is_whole { CAPABILITIES_HOLD } else { GAPS_HOLD };
            (known.probed_at..=later(known.probed_at, hold)).contains(&now)
        };
        if let Some(known) = known.as_ref().filter(|known| holds(known)) {
            return Ok(known.clone());
        }
        let found = probe(&self.0.observer, &watched.targets, &self.0.clock).await;
        *known = Some(found.clone());
        Ok(found)
    }

    /// Whether an action can be carried out in a cluster, or what is missing.
    pub(super) async fn capability(
        &self,
        targets: &ClusterTargets,
        action: ActionKind,
    ) -> Result<(), String> {
        let found = self.capabilities(&targets.name).await.map_err(|error| error.to_string())?;
        match found.of(action).and_then(|capability| capability.reason()) {
            None => Ok(()),
            Some(reason) => Err(reason),
        }
    }

    /// Looks at a cluster and picks victims. Accounts in which authorisation callouts are answered show only when they
    /// are asked for: then it is looked once more without them.
    pub(super) async fn find_victims(
        &self,
        targets: &ClusterTargets,
        request: &PlanRequest,
        wishes: &Wishes,
    ) -> (Snapshot, Found, Protection) {
        // whoever is asked has a connection from then on, and ours are known
        let _ = self.capabilities(&targets.name).await;
        let mut protection = Protection {
            settings: self.0.mitigations.rules.guards.protected.clone(),
            own: targets.own_connections(),
            own_instance: targets.instance().map(str::to_owned),
            ..Protection::default()
        };
        let mut rounds = 0;
        loop {
            rounds += 1;
            let rules = PickingRules {
                selector: request.selector.clone(),
                protection: protection.clone(),
                order: request.order,
                limits: request.limits,
            };
            let (snapshot, found) = self.pick(targets, wishes, rules).await;
            let accounts: BTreeSet<String> =
                found.picked.victims.iter().map(|victim| victim.account.clone()).collect();
            let callouts = match &targets.system {
                Some(system) if !accounts.is_empty() => system.callout_accounts(&accounts).await,
                _ => BTreeSet::new(),
            };
            protection.system_accounts.extend(found.system_accounts.iter().cloned());
            let is_news = !callouts.is_subset(&protection.callout_accounts);
            protection.callout_accounts.extend(callouts);
            // what is found in the last round is told by the guard of protected connections
            if !is_news || rounds == MOST_ROUNDS {
                return (snapshot, found, protection);
            }
        }
    }
}
