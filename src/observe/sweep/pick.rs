//! Searches of a sweep: victims picked, or sought again, while connections are counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{ClusterTargets, Observer};
use crate::model::picking::PickingRules;
use crate::model::selector::Selector;
use crate::model::snapshot::Snapshot;
use crate::model::victim::VictimKey;
use crate::nats::connz::{Connection, Envelope};
use crate::nats::text::clip;
use crate::observe::picks::{Found, Picks, Recheck, Sought, StillThere};
use crate::observe::tally::{ServerFacts, TallyRules};
use crate::observe::wishes::Wishes;

/// What is looked for among the connections of every server.
#[derive(Debug, Clone)]
pub(super) enum Search {
    /// Victims.
    Pick(Arc<PickingRules>),
    /// Whether victims are still there.
    Recheck(Arc<Sought>),
}

/// What was found on one server; or on several, once absorbed.
#[derive(Debug)]
pub(super) enum SearchResult {
    /// Victims.
    Picks(Box<Picks>),
    /// Those that are still there, of those that were sought.
    Recheck(Box<Recheck>),
}

impl Search {
    /// Begins with a server.
    pub(super) fn begin(
        &self,
        naming: &TallyRules,
        server: &ServerFacts,
        system_account: Option<&str>,
    ) -> SearchResult {
        match self {
            Self::Pick(rules) => {
                let system_account = system_account.map(clip);
                SearchResult::Picks(Box::new(Picks::new(rules, naming, server.clone(), system_account)))
            }
            Self::Recheck(sought) => {
                SearchResult::Recheck(Box::new(Recheck::new(sought, naming, server.clone())))
            }
        }
    }
}

impl SearchResult {
    /// Looks at a connection.
    pub(super) fn add(&mut self, envelope: &Envelope, connection: &Connection<'_>) {
        match self {
            Self::Picks(picks) => picks.add(envelope, connection),
            Self::Recheck(recheck) => recheck.add(envelope, connection),
        }
    }

    /// Adds what the same search found on another server.
    pub(super) fn absorb(&mut self, other: Self) {
        match (self, other) {
            (Self::Picks(mine), Self::Picks(theirs)) => mine.absorb(*theirs),
            (Self::Recheck(mine), Self::Recheck(theirs)) => mine.absorb(*theirs),
            // one sweep makes one search
            (Self::Picks(_), Self::Recheck(_)) | (Self::Recheck(_), Self::Picks(_)) => {}
        }
    }
}

impl Observer {
    /// Looks at every server of a cluster, counts what it is wished to tell, and picks victims among the connections.
    ///
    /// Always answers: what could not be seen is said in the snapshot's coverage, and nobody there is picked.
    #[tracing::instrument(name = "observe.cluster.pick", skip_all, fields(cluster = %cluster.name))]
    pub async fn pick(
        &self,
        cluster: &ClusterTargets,
        wishes: &Wishes,
        rules: Arc<PickingRules>,
    ) -> (Snapshot, Found) {
        let (snapshot, result) = self.sweep_and_search(cluster, wishes, Some(Search::Pick(rules))).await;
        match result {
            Some(SearchResult::Picks(picks)) => (snapshot, picks.into_found()),
            _ => (snapshot, Found::default()),
        }
    }

    /// Looks at every server of a cluster, and says which of the victims are still there, the same connection of the same
    /// run of a server, and which of these `selector` still means: all if there is none. One that is not found has left
    /// only if the snapshot's coverage is complete, or its server was seen completely.
    #[tracing::instrument(name = "observe.cluster.recheck", skip_all, fields(cluster = %cluster.name))]
    pub async fn recheck(
        &self,
        cluster: &ClusterTargets,
        victims: &BTreeSet<VictimKey>,
        selector: Option<Selector>,
    ) -> (Snapshot, StillThere) {
        let search = Search::Recheck(Arc::new(Sought::new(victims, selector)));
        let (snapshot, result) = self.sweep_and_search(cluster, &Wishes::default(), Some(search)).await;
        match result {
            Some(SearchResult::Recheck(recheck)) => (snapshot, recheck.into_there()),
            _ => (snapshot, StillThere::default()),
        }
    }
}
