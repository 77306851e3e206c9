//! Vitals of a moment ago: what each server last said of itself before a look, so that counters can be compared.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;

use crate::model::snapshot::Snapshot;
use crate::model::vitals::ServerVitals;

/// Two looks that are closer together than this tell little of what happens in a minute.
const LEAST_APART: SignedDuration = SignedDuration::from_secs(1);

/// How many servers are remembered.
const MOST_SERVERS: usize = 1_000;

/// What the servers of all clusters last said of themselves.
#[derive(Debug, Default)]
pub(super) struct EarlierVitals(Mutex<BTreeMap<(String, String), VecDeque<ServerVitals>>>);

impl EarlierVitals {
    /// Remembers what a look has shown.
    pub(super) fn remember(&self, snapshot: &Snapshot) {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for server in &snapshot.coverage.servers {
            let Some(vitals) = &server.vitals else { continue };
            let key = (snapshot.cluster.clone(), server.display_name().to_owned());
            if servers.len() >= MOST_SERVERS && !servers.contains_key(&key) {
                continue;
            }
            let seen = servers.entry(key).or_default();
            if seen.back().is_none_or(|last| are_apart(last, vitals, LEAST_APART)) {
                seen.push_back(vitals.clone());
            }
            while seen.len() > 2 {
                seen.pop_front();
            }
        }
    }

    /// What each server of a look said before it, by its name; those that said nothing are missing.
    pub(super) fn before(&self, snapshot: &Snapshot) -> BTreeMap<String, ServerVitals> {
        let earlier = snapshot.coverage.servers.iter().filter_map(|server| {
            let (name, vitals) = (server.display_name(), server.vitals.as_ref()?);
            Some((name.to_owned(), self.last(&snapshot.cluster, name, vitals, LEAST_APART)?))
        });
        earlier.collect()
    }

    /// What a server said last, at least so long before this answer of it.
    pub(super) fn last(
        &self,
        cluster: &str,
        server: &str,
        vitals: &ServerVitals,
        apart: SignedDuration,
    ) -> Option<ServerVitals> {
        let servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = servers.get(&(cluster.to_owned(), server.to_owned()))?;
        seen.iter().rev().find(|before| are_apart(before, vitals, apart)).cloned()
    }
}

/// Whether one answer is so much older than another that the two can be compared.
fn are_apart(before: &ServerVitals, after: &ServerVitals, least: SignedDuration) -> bool {
    match (before.at, after.at) {
        (Some(before), Some(after)) => after.duration_since(before) >= least,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::breakdown::Breakdowns;
    use crate::model::snapshot::{Coverage, ServerCoverage};

    /// A look at one server, so many milliseconds after the first.
    fn look(milliseconds: i64) -> Snapshot {
        let at = Timestamp::from_millisecond(milliseconds).unwrap();
        let server = ServerCoverage {
            url: Some("http://n1:8222".parse().unwrap()),
            via: None,
            name: Some("n1".to_owned()),
            server_id: None,
            version: None,
            seen: 0,
            connz_total: None,
            varz_connections: None,
            max_connections: None,
            vitals: Some(ServerVitals { at: Some(at), ..ServerVitals::default() }),
            duration_ms: 0,
            bytes: 0,
            error: None,
            counted_at: None,
        };
        Snapshot {
            cluster: "prod".to_owned(),
            taken_at: at,
            coverage: Coverage::of(vec![server], 0),
            breakdowns: Breakdowns::default(),
            closed: None,
        }
    }

    #[test]
    fn the_last_answer_that_is_far_enough_away_is_compared_with() {
        let earlier = EarlierVitals::default();
        let before = |at| {
            let vitals = earlier.before(&look(at));
            vitals.get("n1").map(|vitals| vitals.at.unwrap().as_millisecond())
        };
        earlier.remember(&look(0));
        assert_eq!(before(0), None);
        assert_eq!(before(999), None);
        assert_eq!(before(1_000), Some(0));
        earlier.remember(&look(500));
        earlier.remember(&look(5_000));
        // its own answer is no earlier one
        assert_eq!(before(5_000), Some(0));
        earlier.remember(&look(9_000));
        assert_eq!(before(9_500), Some(5_000));
        let now = ServerVitals {
            at: Some(Timestamp::from_millisecond(14_000).unwrap()),
            ..ServerVitals::default()
        };
        let last = |server, seconds| {
            let apart = SignedDuration::from_secs(seconds);
            earlier.last("prod", server, &now, apart).map(|vitals| vitals.at.unwrap().as_millisecond())
        };
        assert_eq!([last("n1", 5), last("n1", 6), last("n1", 10)], [Some(9_000), Some(5_000), None]);
        assert_eq!(last("n2", 1), None);
    }
}
