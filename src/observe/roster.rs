//! The roster: the servers of a cluster that have been there, so that one that is missing is missed.
//!
//! The system account shows only who answers. A server that was there is expected, by its name, until it has been gone for
//! [`FORGOTTEN_AFTER`]: by then it has been taken away. One without a name of its own is called by its nats id, which is
//! new at each start: it is expected only as long as its neighbours know it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use crate::nats::system::{RollCall, ServerRef};

/// After how long a server that does not answer is no longer expected.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// The servers of one cluster. Clones are the same roster.
#[derive(Debug, Clone, Default)]
pub struct Roster(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    /// Those that the system account has shown, by name, and when it last did.
    present: BTreeMap<String, (ServerRef, Timestamp)>,
    /// Who was last found at a monitoring URL.
    places: BTreeMap<Url, ServerRef>,
}

impl Roster {
    /// Takes in that a server was there at `at`.
    pub fn note(&self, server: ServerRef, at: Timestamp) {
        self.listed().present.insert(server.name.clone(), (server, at));
    }

    /// Takes in who was found at a monitoring URL.
    pub fn note_place(&self, url: &Url, server: ServerRef) {
        self.listed().places.insert(url.clone(), server);
    }

    /// Takes in a roll call at `at`, and forgets who has been gone for long.
    pub fn note_call(&self, call: &RollCall, at: Timestamp) {
        let mut listed = self.listed();
        for server in call.servers.values() {
            listed.present.insert(server.name.clone(), (server.clone(), at));
        }
        listed.present.retain(|name, (server, seen)| {
            let is_nameless = *name == server.id;
            let is_known = call.servers.contains_key(name) || call.neighbours.contains(name);
            let gone = Duration::try_from(at.duration_since(*seen)).unwrap_or_default();
            is_known || (!is_nameless && gone < FORGOTTEN_AFTER)
        });
    }

    /// The names of those who should be there.
    pub fn expected(&self) -> BTreeSet<String> {
        self.listed().present.keys().cloned().collect()
    }

    /// Those who have been there, by name.
    pub fn servers(&self) -> Vec<ServerRef> {
        self.listed().present.values().map(|(server, _)| server.clone()).collect()
    }

    /// When a server was last there.
    pub fn last_seen(&self, name: &str) -> Option<(ServerRef, Timestamp)> {
        self.listed().present.get(name).cloned()
    }

    /// Who was last found at a monitoring URL.
    pub fn at(&self, url: &Url) -> Option<ServerRef> {
        self.listed().places.get(url).cloned()
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, id: &str) -> ServerRef {
        ServerRef { id: id.to_owned(), name: name.to_owned() }
    }

    fn call(servers: &[(&str, &str)], neighbours: &[&str]) -> RollCall {
        RollCall {
            servers: servers.iter().map(|(name, id)| ((*name).to_owned(), server(name, id))).collect(),
            neighbours: neighbours.iter().map(|name| (*name).to_owned()).collect(),
            ..RollCall::default()
        }
    }

    #[test]
    fn a_server_is_missed_until_it_has_been_gone_for_long() {
        let roster = Roster::default();
        let start = Timestamp::UNIX_EPOCH;
        let names = || roster.expected().into_iter().collect::<Vec<_>>().join(" ");
        roster.note_call(&call(&[("a", "NA"), ("b", "NB"), ("NC", "NC")], &[]), start);
        assert_eq!(names(), "NC a b");
        // one without a name is gone when nobody knows it
        roster.note_call(&call(&[("a", "NA")], &["NC"]), start);
        assert_eq!(names(), "NC a b");
        roster.note_call(&call(&[("a", "NA2")], &[]), start);
        assert_eq!(names(), "a b");
        assert_eq!(roster.last_seen("a").unwrap().0.id, "NA2");
        // a neighbour that has routes to it knows better
        roster.note_call(&call(&[("a", "NA2")], &["b"]), start + FORGOTTEN_AFTER);
        assert_eq!(names(), "a b");
        roster.note_call(&call(&[("a", "NA2")], &[]), start + FORGOTTEN_AFTER);
        assert_eq!(names(), "a");
    }
}
