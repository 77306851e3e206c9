//! What was not as it should be in one round, and must be so in the next as well before anything is done about it.
//!
//! They are kept in memory only: after a start everything is asked twice again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::ids::IncidentId;
use crate::model::labels::Fingerprint;

/// How many rounds in a row something must be the same.
const ROUNDS: u32 = 2;

/// A member of an incident.
pub(in crate::engine) type MemberId = (IncidentId, Fingerprint);

/// What was not as it should be, and in how many rounds in a row.
#[derive(Debug, Default)]
pub(in crate::engine) struct Suspicions {
    /// Members that fire for us, and that nobody lists.
    absent: BTreeMap<MemberId, Suspicion>,
    /// Alerts that are listed, and do not fire for us.
    unheard: BTreeMap<Fingerprint, Suspicion>,
    /// Whether the last round proved nothing about what is not listed.
    doubts: bool,
}

/// Something that was not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Suspicion {
    /// When that was first seen.
    pub(in crate::engine) since: Timestamp,
    /// In how many rounds in a row it has been so.
    pub(in crate::engine) rounds: u32,
    /// Whether the timeline says why nothing is done about it.
    told: bool,
}

impl Suspicions {
    /// Takes in the members that are absent in the round that began at `now`; those that have been so for long enough.
    /// In a round in which absence proves nothing there are none.
    pub(in crate::engine) fn absent(
        &mut self,
        absent: &BTreeSet<MemberId>,
        now: Timestamp,
    ) -> BTreeMap<MemberId, Suspicion> {
        note(&mut self.absent, absent, now)
    }

    /// Takes in the alerts that are listed and do not fire for us; those that have been so for long enough.
    pub(in crate::engine) fn unheard(
        &mut self,
        unheard: &BTreeSet<Fingerprint>,
        now: Timestamp,
    ) -> BTreeMap<Fingerprint, Suspicion> {
        note(&mut self.unheard, unheard, now)
    }

    /// Whether it is new that there are doubts, or that there are none.
    pub(in crate::engine) fn begins_to_doubt(&mut self, doubts: bool) -> bool {
        std::mem::replace(&mut self.doubts, doubts) != doubts
    }

    /// Whether it is to be told why an absent member is taken to fire on: once, as long as it stays so.
    pub(in crate::engine) fn is_worth_telling(&mut self, member: &MemberId) -> bool {
        self.absent.get_mut(member).is_some_and(|suspicion| !std::mem::replace(&mut suspicion.told, true))
    }
}

/// Counts one more round for what is seen, and forgets what is not.
fn note<K: Ord + Clone>(
    known: &mut BTreeMap<K, Suspicion>,
    seen: &BTreeSet<K>,
    now: Timestamp,
) -> BTreeMap<K, Suspicion> {
    known.retain(|key, _| seen.contains(key));
    for key in seen {
        let suspicion = known.entry(key.clone()).or_insert(Suspicion { since: now, rounds: 0, told: false });
        suspicion.rounds = suspicion.rounds.saturating_add(1);
    }
    known
        .iter()
        .filter(|(_, suspicion)| suspicion.rounds >= ROUNDS)
        .map(|(key, own)| (key.clone(), *own))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_must_be_the_same_in_two_rounds_in_a_row() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let of = |names: &[&str]| -> BTreeSet<Fingerprint> {
            names.iter().map(|name| name.parse().unwrap()).collect()
        };
        let mut suspicions = Suspicions::default();
        /// What is unheard in a round, and what is certain since when.
        type Round<'a> = (&'a [&'a str], &'a [(&'a str, i64)]);
        let rounds: [Round<'_>; 7] = [
            (&["a"], &[]),
            (&["a", "b"], &[("a", 0)]),
            (&["b"], &[("b", 1)]),
            (&["a"], &[]),
            (&[], &[]),
            (&["a"], &[]),
            (&["a"], &[("a", 5)]),
        ];
        for (round, (seen, certain)) in (0..).zip(rounds) {
            let found = suspicions.unheard(&of(seen), at(round));
            let found: Vec<(&str, i64)> =
                found.iter().map(|(key, own)| (key.as_str(), own.since.as_second())).collect();
            assert_eq!(found, certain, "round {round}");
        }
    }
}
