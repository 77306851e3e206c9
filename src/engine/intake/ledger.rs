//! The ledger: the incidents that some reports are about, as they are while the reports are taken in.
//!
//! It is read once, changed in memory, and written once, so that many notifications cost few statements. What is read
//! are the newest incident of each key and those of its members that are reported on; of all others only how many fire, and
//! whether one stands against its end.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Clock;
use crate::engine::intake::case::Case;
use crate::engine::intake::{Origin, Report};
use crate::engine::rules::IncidentRules;
use crate::model::entry::Entry;
use crate::model::ids::IncidentId;
use crate::model::incident::{Incident, IncidentState};
use crate::model::labels::Fingerprint;
use crate::model::member::Member;
use crate::store::jobs::NewJob;
use crate::store::mutations::{Mutation, execute_each};
use crate::store::{self, Conn, StoreError};

/// The incidents that some reports are about.
pub(super) struct Ledger<'a> {
    rules: &'a IncidentRules,
    clock: &'a Clock,
    cases: Vec<Case>,
    /// Where the newest incident of each identity is among the cases.
    newest: BTreeMap<String, usize>,
}

impl<'a> Ledger<'a> {
    /// Reads what the reports are about.
    pub(super) async fn load<'r>(
        conn: &mut Conn,
        rules: &'a IncidentRules,
        clock: &'a Clock,
        reports: impl Iterator<Item = &'r Report> + Clone,
    ) -> Result<Self, StoreError> {
        let identities: BTreeSet<&str> = reports.clone().map(|report| report.identity.as_str()).collect();
        let identities: Vec<&str> = identities.into_iter().collect();
        let incidents = store::incidents::find_newest(conn, &identities).await?;

        let (mut cases, mut newest, mut places) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        if !incidents.is_empty() {
            let ids: Vec<IncidentId> = incidents.iter().map(|incident| incident.id).collect();
            // what the others do matters only where something ends
            let any_ends = reports.clone().flat_map(|report| &report.alerts).any(|mapped| !mapped.fires());
            let outstanding =
                if any_ends { store::alerts::find_outstanding(conn, &ids).await? } else { BTreeMap::new() };
            for incident in incidents {
                newest.insert(incident.key.identity(), cases.len());
                places.insert(incident.id, cases.len());
                let outstanding = outstanding.get(&incident.id).copied().unwrap_or_default();
                cases.push(Case::known(incident, outstanding));
            }
            let wanted: BTreeSet<(IncidentId, &Fingerprint)> = reports
                .filter_map(|report| {
                    let place: usize = *newest.get(&report.identity)?;
                    let id = cases.get(place).map(|case: &Case| case.incident.id)?;
                    Some(report.alerts.iter().map(move |mapped| (id, &mapped.alert.fingerprint)))
                })
                .flatten()
                .collect();
            let wanted: Vec<(IncidentId, &Fingerprint)> = wanted.into_iter().collect();
            for (id, member) in store::alerts::find(conn, &wanted).await? {
                if let Some(place) = places.get(&id) {
                    cases[*place].know(member);
                }
            }
        }
        Ok(Self { rules, clock, cases, newest })
    }

    /// Takes in what somebody says about one incident; `None` if it says nothing that opens or concerns one.
    pub(super) fn report(&mut self, report: &Report, origin: &Origin) -> Option<IncidentId> {
        let known = self.newest.get(&report.identity).copied();
        let place = match known.map(|place| &self.cases[place]) {
            Some(case) if !self.begins_another(case, report, origin) => known?,
            previous => {
                // resolved without having been open: kept as a notification, nothing to open
                if !report.alerts.iter().any(|mapped| mapped.fires()) {
                    return None;
                }
                let previous = previous.map(|case| case.incident.id);
                let id = IncidentId(self.clock.new_id());
                let incident = Incident::open(id, report.key.clone(), previous, origin.at);
                self.cases.push(Case::opened(incident, origin));
                self.newest.insert(report.identity.clone(), self.cases.len() - 1);
                self.cases.len() - 1
            }
        };
        let case = &mut self.cases[place];
        case.report(&report.alerts, origin, self.rules);
        Some(case.incident.id)
    }

    /// Whether a report begins an incident of its own: the last one was over long ago.
    fn begins_another(&self, case: &Case, report: &Report, origin: &Origin) -> bool {
        match case.incident.state {
            IncidentState::Resolved { resolved_at, .. } => {
                !self.rules.is_same_problem(resolved_at, origin.at) && case.is_news(&report.alerts, origin)
            }
            _ => false,
        }
    }

    /// Writes what has changed; tells how many jobs that has queued.
    pub(super) async fn save(self, conn: &mut Conn) -> Result<usize, StoreError> {
        self.save_after(conn, std::iter::empty()).await
    }

    /// Makes other changes, then those of the incidents; tells how many jobs that has queued.
    pub(super) async fn save_after(
        self,
        conn: &mut Conn,
        before: impl Iterator<Item = Mutation> + Send,
    ) -> Result<usize, StoreError> {
        let opened: Vec<&Incident> =
            self.cases.iter().filter(|case| case.was.is_none()).map(|case| &case.incident).collect();
        let changed: Vec<(&Incident, &str)> = self
            .cases
            .iter()
            .filter(|case| case.has_changed())
            .filter_map(|case| Some((&case.incident, case.was?)))
            .collect();
        let members: Vec<(IncidentId, &Member)> = self
            .cases
            .iter()
            .flat_map(|case| case.touched().map(|member| (case.incident.id, member)))
            .collect();
        let entries: Vec<(IncidentId, &Entry)> = self
            .cases
            .iter()
            .flat_map(|case| case.entries.iter().map(|entry| (case.incident.id, entry)))
            .collect();
        let jobs: Vec<NewJob> = self.cases.iter().flat_map(Case::jobs).collect();
        let mutations = before
            .chain(store::incidents::inserts(&opened))
            .chain(store::incidents::saves(&changed))
            .chain(store::alerts::saves(&members))
            .chain(store::entries::inserts(&entries))
            .chain(store::jobs::inserts(&jobs, self.clock.now()));
        execute_each(conn, mutations).await?;
        Ok(jobs.len())
    }
}
