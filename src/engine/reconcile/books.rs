//! What we have beside what is listed: the incidents that are not over, and the alerts nobody told us of.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Engine;
use crate::engine::reconcile::census::{Census, Listed};
use crate::engine::reconcile::suspicions::{MemberId, Suspicion};
use crate::engine::reconcile::witness::Testimony;
use crate::model::alert::{Alert, AlertStatus};
use crate::model::ids::IncidentId;
use crate::model::incident::{Incident, IncidentKey, IncidentState, Resolution};
use crate::model::labels::Fingerprint;
use crate::model::mapping::{MappedBy, map_alert};
use crate::model::member::Member;
use crate::store::{self, Conn, StoreError};

/// An incident, and its members.
pub(super) struct Known {
    pub(super) incident: Incident,
    pub(super) members: BTreeMap<Fingerprint, Member>,
}

/// What we have.
pub(super) struct Books {
    /// The incidents that are not over.
    pub(super) unresolved: Vec<Known>,
    /// The members that are said to fire although their end was told.
    pub(super) stale: Vec<(IncidentId, Member)>,
    /// The alerts that are listed and do not fire for us.
    pub(super) unheard: BTreeSet<Fingerprint>,
    /// The identity of the incident that each of them is about, and what we know of the alert.
    about: BTreeMap<Fingerprint, (String, Option<Member>)>,
}

impl Books {
    /// Reads what there is to compare with what is listed.
    pub(super) async fn read(engine: &Engine, census: &Census) -> Result<Self, StoreError> {
        let mut conn = engine.0.store.read().await?;
        let mut unresolved = Vec::new();
        for incident in store::incidents::list_unresolved(&mut conn).await? {
            let members = store::alerts::list(&mut conn, incident.id).await?;
            unresolved.push(Known { incident, members });
        }

        let stale = store::alerts::list_stale(&mut conn).await?;

        let rules = &engine.0.rules;
        let is_of_interest = |name: &str| {
            rules.connection_alerts.contains(name)
                || unresolved.iter().any(|known| known.incident.key.alert_name() == name)
        };
        let receivers = store::notifications::recent_receivers(&mut conn).await?;
        let receivers: BTreeSet<String> = receivers.iter().map(|receiver| unescaped(receiver)).collect();
        let servers = engine.known_servers();
        let mut mapped: Vec<(&Listed, String)> = Vec::new();
        for listed in census.listed.values().filter(|listed| listed.is_active) {
            let key = map_alert(&listed.alert.labels, &engine.0.routes, &servers).key;
            // others may be about clusters that are nobody's business here
            let is_ours = names_our_cluster(&key) || !receivers.is_disjoint(&listed.receivers);
            if is_ours && is_of_interest(key.alert_name()) {
                mapped.push((listed, key.identity()));
            }
        }
        let newest = newest(&mut conn, &mapped).await?;
        let (mut unheard, mut about) = (BTreeSet::new(), BTreeMap::new());
        for (listed, identity) in mapped {
            let known = newest.get(&identity);
            let member = known.and_then(|known| known.members.get(&listed.alert.fingerprint));
            if is_unheard(listed, known.map(|known| &known.incident), member) {
                unheard.insert(listed.alert.fingerprint.clone());
                about.insert(listed.alert.fingerprint.clone(), (identity, member.cloned()));
            }
        }
        Ok(Self { unresolved, stale, unheard, about })
    }

    /// The members that fire, or are said to, and that nobody lists.
    pub(super) fn absent(&self, census: &Census) -> BTreeSet<MemberId> {
        let members = self.unresolved.iter().flat_map(|known| {
            let firing = known.members.values().filter(|member| member.is_firing());
            firing.map(|member| (known.incident.id, member.alert.fingerprint.clone()))
        });
        let stale = self.stale.iter().map(|(id, member)| (*id, member.alert.fingerprint.clone()));
        members.chain(stale).filter(|(_, fingerprint)| !census.listed.contains_key(fingerprint)).collect()
    }

    /// Those of the unheard alerts that are to be taken in, together where they are about the same incident.
    pub(super) fn to_take_in(
        &self,
        census: &Census,
        unheard: &BTreeMap<Fingerprint, Suspicion>,
        testimony: &Testimony,
        prometheus_is_asked: bool,
    ) -> impl Iterator<Item = Vec<Alert>> {
        let mut alerts: BTreeMap<&str, Vec<Alert>> = BTreeMap::new();
        for fingerprint in unheard.keys() {
            let Some((listed, (identity, member))) =
                census.listed.get(fingerprint).zip(self.about.get(fingerprint))
            else {
                continue;
            };
            let told_over = member.as_ref().and_then(|member| match member.alert.status {
                // it began before what has been told to have ended: that end, or this list, is old
                AlertStatus::Resolved { ended_at } if listed.alert.starts_at < ended_at => Some(ended_at),
                _ => None,
            });
            let is_confirmed = told_over.is_none_or(|ended_at| {
                let heard_since = listed.updated_at > ended_at;
                heard_since && (!prometheus_is_asked || testimony.confirms(&listed.alert.labels))
            });
            if is_confirmed {
                alerts.entry(identity).or_default().push(listed.alert.clone());
            }
        }
        alerts.into_values()
    }
}

/// The newest incident of each identity, with those of its members that are listed.
async fn newest(
    conn: &mut Conn,
    mapped: &[(&Listed, String)],
) -> Result<BTreeMap<String, Known>, StoreError> {
    let identities: BTreeSet<&str> = mapped.iter().map(|(_, identity)| identity.as_str()).collect();
    let identities: Vec<&str> = identities.into_iter().collect();
    let incidents = store::incidents::find_newest(conn, &identities).await?;
    let ids: BTreeMap<String, IncidentId> =
        incidents.iter().map(|incident| (incident.key.identity(), incident.id)).collect();
    let wanted =
        mapped.iter().filter_map(|(listed, identity)| Some((*ids.get(identity)?, &listed.alert.fingerprint)));
    let wanted: Vec<(IncidentId, &Fingerprint)> = wanted.collect();
    let mut members: BTreeMap<IncidentId, BTreeMap<Fingerprint, Member>> = BTreeMap::new();
    for (id, member) in store::alerts::find(conn, &wanted).await? {
        members.entry(id).or_default().insert(member.alert.fingerprint.clone(), member);
    }
    let known = incidents.into_iter().map(|incident| {
        let members = members.remove(&incident.id).unwrap_or_default();
        (incident.key.identity(), Known { incident, members })
    });
    Ok(known.collect())
}

/// Whether an alert itself says that it is about a configured cluster.
fn names_our_cluster(key: &IncidentKey) -> bool {
    matches!(key, IncidentKey::Cluster { mapped_by: MappedBy::Matchers | MappedBy::Server, .. })
}

/// The name of a receiver, which a notification writes as a regular expression.
fn unescaped(receiver: &str) -> String {
    let mut characters = receiver.chars();
    let mut name = String::with_capacity(receiver.len());
    while let Some(character) = characters.next() {
        name.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    name
}

/// Whether a listed alert does not fire for us, although it should.
fn is_unheard(listed: &Listed, incident: Option<&Incident>, member: Option<&Member>) -> bool {
    let is_newer = member.is_some_and(|member| listed.alert.began_after(&member.alert));
    match incident.map(|incident| &incident.state) {
        // what a person has ended is over until it begins anew
        Some(IncidentState::Resolved { resolution: Resolution::Manual, resolved_at, .. }) => {
            is_newer || (member.is_none() && listed.alert.starts_at > *resolved_at)
        }
        Some(IncidentState::Resolved { .. }) => is_newer || !member.is_some_and(Member::is_firing),
        _ => !member.is_some_and(Member::is_firing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_called_as_it_is_configured() {
        // as `receiver-name-escaped` has it
        let escaped = r"nats\.autopilot \(prod\) \[v1\]\+";
        assert_eq!(unescaped(escaped), "nats.autopilot (prod) [v1]+");
        assert_eq!(unescaped(r"a\\b-c\"), r"a\b-c");
    }
}
