//! Finding victims: what a cluster can do, and whom a plan would hit there.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::MitigateError;
use crate::engine::Engine;
use crate::mitigate::probe::probe;
use crate::model::capability::Capabilities;
use crate::model::picking::PickingRules;
use crate::model::plan::{ActionKind, PlanRequest};
use crate::model::protection::Protection;
use crate::model::snapshot::Snapshot;
use crate::observe::picks::Found;
use crate::observe::sweep::ClusterTargets;
use crate::observe::wishes::Wishes;

/// How long it is believed that a cluster can do everything.
const CAPABILITIES_HOLD: SignedDuration = SignedDuration::from_secs(60);

/// How often a plan is made anew because an account turned out to be that of an authorisation callout.
const MOST_ROUNDS: usize = 5;

impl Engine {
    /// Says what can be done to the connections of a cluster, and what is missing for what cannot; as it was found out
    /// at most a minute ago.
    ///
    /// # Errors
    ///
    /// No such cluster is configured.
    pub async fn capabilities(&self, cluster: &str) -> Result<Capabilities, MitigateError> {
        let targets = self.targets_of(cluster)?;
        let known = {
            let known = self.0.mitigations.capabilities.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(cluster).cloned()
        };
        let since = self.0.clock.now().checked_sub(CAPABILITIES_HOLD).unwrap_or(Timestamp::MIN);
        // what is missing may have been mended
        if let Some(known) =
            known.filter(|known| known.probed_at >= since && known.actions.iter().all(|it| it.possible))
        {
            return Ok(known);
        }
        let found = probe(&self.0.observer, &targets, &self.0.clock).await;
        let mut known = self.0.mitigations.capabilities.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(cluster.to_owned(), found.clone());
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
            let (snapshot, found) = self.0.observer.pick(targets, wishes, Arc::new(rules)).await;
            let accounts: BTreeSet<&str> =
                found.picked.victims.iter().map(|victim| victim.account.as_str()).collect();
            let callouts = self.callout_accounts(targets, accounts).await;
            let is_news = !callouts.is_subset(&protection.callout_accounts);
            protection.callout_accounts.extend(callouts);
            // what is found in the last round is told by the guard of protected connections
            if !is_news || rounds == MOST_ROUNDS {
                return (snapshot, found, protection);
            }
        }
    }

    /// Those of some accounts in which somebody answers authorisation callouts. An account that cannot be asked about
    /// is taken for one.
    async fn callout_accounts(&self, targets: &ClusterTargets, accounts: BTreeSet<&str>) -> BTreeSet<String> {
        let mut callouts = BTreeSet::new();
        let Some(system) = &targets.system else { return callouts };
        for account in accounts {
            if system.has_callout_responder(account).await.unwrap_or(true) {
                callouts.insert(account.to_owned());
            }
        }
        callouts
    }
}
