//! The case: the evidence with what several findings need of it, worked out once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::diagnose::attribution::explain;
use crate::diagnose::growth::{GroupGrowth, Growth};
use crate::diagnose::instances::{Instances, origins};
use crate::diagnose::storm::Storm;
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::Origin;
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::Evidence;
use crate::model::snapshot::ServerCoverage;
use crate::model::vitals::ServerVitals;

/// The evidence of an incident, and what follows from it at once.
#[derive(Debug)]
pub struct Case<'a> {
    /// What was observed.
    pub evidence: &'a Evidence,
    /// From when on something is worth a finding.
    pub rules: &'a DiagnosisRules,
    /// How much more there is than before, if there is.
    pub growth: Option<Growth>,
    /// Who explains the growth, most first.
    pub suspects: Vec<Suspect>,
    /// What storm there is, if there is one.
    pub storm: Option<Storm>,
}

/// An application that explains a growth.
#[derive(Debug, Clone)]
pub struct Suspect {
    /// Who, and by how much they grew.
    pub group: GroupGrowth,
    /// Which share of the growth they explain, from 0 to 1.
    pub share: f64,
    /// Since when the growth goes on.
    pub since: Timestamp,
    /// Its addresses.
    pub addresses: Instances,
    /// Its client names.
    pub names: Instances,
    /// Where most of it comes from.
    pub origins: Vec<Origin>,
    /// Which share of what it grew by began in the last quarter of the time, if start times tell.
    pub lately: Option<f64>,
    /// When the newest of its connections began.
    pub newest: Option<Timestamp>,
    /// Which share of its connections is idle and never had a message, from 0 to 1.
    pub hoarded: f64,
}

impl<'a> Case<'a> {
    /// Works out what several findings need.
    pub fn new(evidence: &'a Evidence, rules: &'a DiagnosisRules) -> Self {
        let growth = Growth::measure(evidence, rules);
        let suspects = growth.as_ref().map_or_else(Vec::new, |growth| suspects(evidence, growth, rules));
        let storm = Storm::find(evidence, rules);
        Self { evidence, rules, growth, suspects, storm }
    }

    /// When the look began.
    pub fn now(&self) -> Timestamp {
        self.evidence.snapshot.taken_at
    }

    /// Every server that said something of itself.
    pub fn servers(&self) -> impl Iterator<Item = (&ServerCoverage, &ServerVitals)> {
        self.evidence
            .snapshot
            .coverage
            .servers
            .iter()
            .filter_map(|server| Some((server, server.vitals.as_ref()?)))
    }

    /// How long ago something was.
    pub fn ago(&self, at: Timestamp) -> Duration {
        self.now().duration_since(at).max(SignedDuration::ZERO).unsigned_abs()
    }
}

fn suspects(evidence: &Evidence, growth: &Growth, rules: &DiagnosisRules) -> Vec<Suspect> {
    let onset = growth.onset(evidence.snapshot.taken_at);
    let explained = explain(growth, Dimension::Application, rules).into_iter();
    let suspects = explained.map(|explanation| {
        let group = explanation.group.clone();
        let breakdown = evidence.breakdown(Dimension::Application);
        let open = breakdown.and_then(|breakdown| {
            breakdown.groups.iter().find(|open| open.key == group.key && open.absent == group.absent)
        });
        let lately = open.filter(|open| !open.starts.is_empty()).map(|open| {
            let now = evidence.snapshot.taken_at;
            let quarter = now.duration_since(growth.since) / 4;
            let from = now.saturating_sub(quarter).unwrap_or(growth.since);
            let opened = open.starts.opened_since(growth.since).max(1);
            open.starts.opened_since(from) as f64 / opened as f64
        });
        let hoarded = open.map_or(0.0, |open| {
            open.figures.idle_without_traffic as f64 / open.figures.connections.max(1) as f64
        });
        Suspect {
            share: explanation.share,
            since: growth.since,
            addresses: Instances::by_address(evidence, &group, onset),
            names: Instances::by_name(evidence, &group, onset),
            origins: origins(evidence, &group),
            lately,
            hoarded,
            newest: open.and_then(|open| open.figures.newest_start),
            group,
        }
    });
    suspects.collect()
}
