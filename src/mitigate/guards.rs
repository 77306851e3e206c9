//! Guards: what must hold before a mitigation may run, and what must not happen while it does.
//!
//! Each guard is a function of the draft, of what is known now, and of the settings. All are asked, whatever the others
//! say, so that somebody who reads the verdicts sees everything that is in the way. What is not known blocks.

mod breaker;
mod cluster;
mod cool_down;
mod earlier;
mod incident;
mod keep_minimum;
pub(super) mod look;
mod pause;
#[cfg(test)]
mod scene;
mod stop;
mod time_window;
mod victims;

use std::time::Duration;

use jiff::Timestamp;

pub use self::earlier::EarlierRun;
pub use self::stop::{Watch, WatchedServer, stop};
use crate::model::guard::{GuardKind, GuardSettings, GuardVerdict};
use crate::model::ids::MitigationId;
use crate::model::picking::Picked;
use crate::model::plan::PlanRequest;
use crate::model::printable::{span, with_commas};
use crate::model::protection::Protection;
use crate::model::snapshot::Coverage;
use crate::model::threshold::{Threshold, Verdict};

/// What guards need to know of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// What was asked for.
    pub request: &'a PlanRequest,
    /// What was found, by the look that began at `taken_at`.
    pub picked: &'a Picked,
    /// When that look began.
    pub taken_at: Timestamp,
    /// Whether it is meant to end an incident.
    pub has_incident: bool,
    /// Who wants it.
    pub by: Initiator,
}

/// Who wants a mitigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiator {
    /// Somebody who looks at it and answers for it.
    Person,
    /// A policy, by itself.
    Policy,
}

impl Draft<'_> {
    /// Whether a person wants it who named no incident: such a plan is not held to what is known of one.
    fn is_without_incident(&self) -> bool {
        self.by == Initiator::Person && !self.has_incident
    }
}

/// What is known now.
#[derive(Debug, Clone)]
pub struct View {
    /// The present.
    pub now: Timestamp,
    /// Which connections are never victims.
    pub protection: Protection,
    /// The incident, where the draft has one.
    pub incident: Option<IncidentFacts>,
    /// What the look saw that the draft was made of.
    pub coverage: LookCoverage,
    /// Whether the cluster can do what is planned, or what is missing.
    pub capability: Result<(), String>,
    /// A mitigation that runs in the cluster; not the one that is judged.
    pub running: Option<MitigationId>,
    /// Earlier runs against the same target: by selectors of the same conditions. In any order.
    pub earlier: Vec<EarlierRun>,
    /// Connections of the cluster that were cut within the last hour.
    pub cut_within_the_hour: u64,
    /// When runs in the cluster ended that failed or were ineffective; those before the breaker's window do no harm.
    pub vain_runs: Vec<Timestamp>,
    /// Who has paused mitigations.
    pub pauses: Vec<PauseFacts>,
    /// Other connwardens that were seen on the cluster, by what their connections say of them.
    pub other_wardens: Vec<String>,
}

/// What is known of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentFacts {
    /// Whether it still is a problem.
    pub problem: ProblemFacts,
    /// Whether its cluster was assumed, because there is only one.
    pub is_cluster_assumed: bool,
    /// Whether its alerts are silenced.
    pub silencing: Silencing,
    /// Whether an Alertmanager is configured that can be asked for silences.
    pub has_alertmanager: bool,
}

/// Whether something still is a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemFacts {
    /// Whether the incident is not resolved.
    pub is_unresolved: bool,
    /// What a fresh count says.
    pub count: LiveCount,
}

/// What a fresh count says of an incident: of the server that is furthest above its threshold, or nearest to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveCount {
    /// It was compared.
    Compared {
        /// The connections there are.
        connections: u64,
        /// The threshold of the alert.
        threshold: Threshold,
        /// How they compare.
        verdict: Verdict,
    },
    /// The threshold is not known.
    ThresholdUnknown,
    /// Nothing could be counted.
    NotCounted,
}

/// Whether Alertmanager is kept quiet about alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silencing {
    /// None of them is.
    Clear,
    /// Somebody has silenced one.
    Silenced,
    /// Another alert inhibits one.
    Inhibited,
    /// It could not be asked.
    Unknown,
}

/// How much of a cluster a look saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookCoverage {
    /// Whether every server was seen with all its connections.
    pub is_complete: bool,
    /// The servers that there should be.
    pub servers_expected: u32,
    /// Those of them that did not answer.
    pub servers_unreachable: u32,
    /// What is missing, in one line; empty when it is complete.
    pub missing: String,
}

impl LookCoverage {
    /// Sums up how much a look saw.
    pub fn of(coverage: &Coverage) -> Self {
        let count = |servers: usize| u32::try_from(servers).unwrap_or(u32::MAX);
        let missing: Vec<String> = coverage
            .servers
            .iter()
            .filter_map(|server| Some(format!("{}: {}", server.display_name(), server.error.as_deref()?)))
            .chain(coverage.system_error.clone())
            .collect();
        Self {
            is_complete: coverage.complete,
            servers_expected: count(coverage.each_server().count()),
            servers_unreachable: count(coverage.each_server().filter(|server| server.via.is_none()).count()),
            missing: missing.join("; "),
        }
    }
}

/// Why mitigations are paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseFacts {
    /// What the pause is called.
    pub name: String,
    /// Why.
    pub reason: String,
    /// By whom.
    pub by: String,
}

/// Asks all guards, in the order of [`GuardKind`].
pub fn judge(draft: &Draft<'_>, view: &View, settings: &GuardSettings) -> Vec<GuardVerdict> {
    let ask = |guard| match guard {
        GuardKind::Protected => victims::protected(draft, view),
        GuardKind::MaxVictims => victims::max_victims(draft, settings),
        GuardKind::MaxShare => victims::max_share(draft, settings),
        GuardKind::KeepMinimum => keep_minimum::keep_minimum(draft, settings),
        GuardKind::SnapshotAge => look::snapshot_age(draft, view, settings),
        GuardKind::SnapshotComplete => look::snapshot_complete(&view.coverage),
        GuardKind::Capability => cluster::capability(draft, view),
        GuardKind::ProblemIsLive => incident::problem_is_live(draft, view),
        GuardKind::NotSilenced => incident::not_silenced(draft, view),
        GuardKind::MappingIsCertain => incident::mapping_is_certain(draft, view),
        GuardKind::OneRun => cluster::one_run(view),
        GuardKind::CoolDown => cool_down::cool_down(view, settings),
        GuardKind::HourlyBudget => victims::hourly_budget(draft, view, settings),
        GuardKind::CircuitBreaker => breaker::circuit_breaker(view, settings),
        GuardKind::StormBrake => look::storm_brake(view, settings),
        GuardKind::TimeWindow => time_window::time_window(view, settings),
        GuardKind::Pause => pause::pause(view),
        GuardKind::SoleWarden => cluster::sole_warden(view),
    };
    GuardKind::ALL.map(ask).into()
}

/// How long it is from one instant to another; nothing if that lies before.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

/// An instant later by a duration; the last one there is if that is too far away.
fn after(instant: Timestamp, duration: Duration) -> Timestamp {
    instant.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Writes a duration for people; a part of a second counts as one.
fn spoken(duration: Duration) -> String {
    span(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

/// Writes an instant for people, to the second.
fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Writes a count with what is counted: `1 victim`, `1,200 victims`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", with_commas(count), if count == 1 { "" } else { "s" })
}

/// Writes a share in percent without superfluous digits.
pub(super) fn percent(percent: f64) -> String {
    format!("{} %", (percent * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::scene::Scene;
    use super::*;

    #[test]
    fn all_guards_are_asked_in_their_order_whatever_the_others_say() {
        let quiet = Scene::quiet();
        let kinds = |verdicts: &[GuardVerdict]| verdicts.iter().map(|it| it.guard).collect::<Vec<_>>();
        let passed = quiet.judge();
        assert_eq!(kinds(&passed), GuardKind::ALL);
        assert!(GuardKind::ALL.is_sorted(), "the order is that of the enum");
        let blocking: Vec<_> = passed.iter().filter(|verdict| !verdict.passes).collect();
        assert!(blocking.is_empty(), "{blocking:?}");

        let worst = Scene::worst().judge();
        assert_eq!(kinds(&worst), GuardKind::ALL);
        let passing: Vec<_> = worst.iter().filter(|verdict| verdict.passes).collect();
        assert!(passing.is_empty(), "{passing:?}");
    }

    #[test]
    fn verdicts_read_on_their_own() {
        let lines = |verdicts: Vec<GuardVerdict>| {
            let line = |verdict: GuardVerdict| {
                assert!(!verdict.reason.is_empty() && !verdict.reason.contains('\n'), "{verdict:?}");
                assert!(verdict.reason.chars().count() < 300, "{verdict:?}");
                let compared = match (verdict.value, verdict.bound) {
                    (Some(value), Some(bound)) => format!(" [{value} | {bound}]"),
                    _ => String::new(),
                };
                format!("{:?}: {}{compared}", verdict.guard, verdict.reason)
            };
            verdicts.into_iter().map(line).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(lines(Scene::quiet().judge()), @r"
        Protected: no victim is protected [0 | 0]
        MaxVictims: 20 victims of at most 50 [20 | 50]
        MaxShare: 20 of 1,000 connections are 2 %, of at most 10 % [2 % | 10 %]
        KeepMinimum: at least 1 of each are left; fewest of `orders`: 2,580 connections [2580 | 1]
        SnapshotAge: the look it was made of is 3 s old, of at most 2 min 0 s [3 s | 2 min 0 s]
        SnapshotComplete: 3 of 3 servers were seen with all their connections [3 of 3 | 3 of them, completely]
        Capability: the cluster can `kick`
        ProblemIsLive: a fresh count says 1,000 connections, beyond the threshold of 900 [1000 | 900]
        NotSilenced: no alert of the incident is silenced or inhibited
        MappingIsCertain: the incident's cluster is known
        OneRun: no other mitigation runs in the cluster [0 | 0]
        CoolDown: there was no run against the same target
        HourlyBudget: 20 connections within an hour, with this, of at most 500 [20 | 500]
        CircuitBreaker: 0 runs within 4 h 0 min failed or did not help, and 3 open the breaker [0 | 3]
        StormBrake: 0 of 3 servers do not answer, of at most 34 % [0 % | 34 %]
        TimeWindow: mitigations may run at any time
        Pause: mitigations are not paused [0 | 0]
        SoleWarden: no other connwarden is on the cluster [0 | 0]
        ");
        insta::assert_snapshot!(lines(Scene::worst().judge()), @r"
        Protected: 2,000 of 2,000 victims are protected (application protected by configuration: 2,000) [2000 | 0]
        MaxVictims: 2,000 victims are more than the 50 that one run may have [2000 | 50]
        MaxShare: 2,000 of 1,000 connections are 200 %: at most 10 % may be cut, that is 100 [200 % | 10 %]
        KeepMinimum: 0 connections of `orders` would be left, and at least 1 must be; so it is for 1 of 1 group [0 | 1]
        SnapshotAge: the look it was made of is 50 min 0 s old, and 2 min 0 s is the most: plan it anew [50 min 0 s | 2 min 0 s]
        SnapshotComplete: not everything was seen, 1 of 3 servers answered: n2: connection refused [1 of 3 | 3 of them, completely]
        Capability: the cluster cannot `kick`: no system account is configured
        ProblemIsLive: a fresh count says 899 connections, no longer beyond the threshold of 900 [899 | 900]
        NotSilenced: Alertmanager did not say whether the alerts are silenced: that counts as silenced
        MappingIsCertain: the incident's cluster was assumed, because only one is configured: give the cluster matchers
        OneRun: mitigation 00000000-0000-0000-0000-000000000000 runs in the cluster: wait for its end, or stop it [1 | 0]
        CoolDown: the last run against the same target ended 0 s ago: wait 20 min 0 s, because the last did not help, until 2026-01-05 12:20:00 UTC [0 s | 20 min 0 s]
        HourlyBudget: 490 connections were cut within the last hour: with this it would be 2,490, and 500 are the most [2490 | 500]
        CircuitBreaker: 3 runs within 1 h 0 min failed or did not help: the breaker is open until 2026-01-05 12:55:00 UTC [3 | 3]
        StormBrake: 2 of 3 servers do not answer: at more than 34 % nothing is done [66.67 % | 34 %]
        TimeWindow: Mon 12:00 UTC is not within daily 22:00-06:00 UTC [Mon 12:00 UTC | daily 22:00-06:00 UTC]
        Pause: mitigations are paused: `fair` by ann, nobody acts today [1 | 0]
        SoleWarden: another connwarden is on the cluster: `connwarden b7` [1 | 0]
        ");
    }
}
