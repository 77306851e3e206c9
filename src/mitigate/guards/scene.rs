//! A draft, a view and settings that a guard's test begins from.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::mitigate::guards::{
    Draft, EarlierRun, IncidentFacts, Initiator, LiveCount, LookCoverage, PauseFacts, ProblemFacts,
    Silencing, View, judge,
};
use crate::model::guard::{GuardKind, GuardSettings, GuardVerdict, TimeWindow};
use crate::model::ids::MitigationId;
use crate::model::mitigation::Outcome;
use crate::model::owner::Pattern;
use crate::model::picking::{Picked, PickedGroup};
use crate::model::plan::{ActionKind, PlanRequest};
use crate::model::protection::Protection;
use crate::model::selector::{Candidate, Conditions, Selector};
use crate::model::threshold::{Threshold, Verdict};
use crate::model::victim::{KeepOf, Victim, VictimLimits, VictimOrder};

/// Everything that guards look at.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) request: PlanRequest,
    pub(super) picked: Picked,
    pub(super) taken_at: Timestamp,
    pub(super) has_incident: bool,
    pub(super) by: Initiator,
    pub(super) view: View,
    pub(super) settings: GuardSettings,
}

impl Scene {
    /// Nothing is in the way: twenty of a thousand connections are to be cut, at noon of 2026-01-05, a Monday.
    pub(super) fn quiet() -> Self {
        let now: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        let conditions = Conditions { application: Some("orders".to_owned()), ..Conditions::default() };
        let limits =
            VictimLimits { at_most: 10_000, at_most_percent: 100.0, keep: 1, keep_of: KeepOf::Application };
        let threshold = Threshold { connections: 900.0 };
        let count = LiveCount::Compared { connections: 1_000, threshold, verdict: Verdict::Above };
        let scene = Self {
            request: PlanRequest {
                action: ActionKind::Kick,
                selector: Selector::try_from(conditions).unwrap(),
                order: VictimOrder::default(),
                limits,
            },
            picked: Picked { total: 1_000, matched: 600, ..Picked::default() },
            taken_at: now - SignedDuration::from_secs(3),
            has_incident: true,
            by: Initiator::Person,
            view: View {
                now,
                protection: Protection::default(),
                incident: Some(IncidentFacts {
                    problem: ProblemFacts { is_unresolved: true, count },
                    is_cluster_assumed: false,
                    silencing: Silencing::Clear,
                    has_alertmanager: true,
                }),
                coverage: LookCoverage {
                    is_complete: true,
                    servers_expected: 3,
                    servers_unreachable: 0,
                    missing: String::new(),
                },
                capability: Ok(()),
                running: None,
                earlier: Vec::new(),
                cut_within_the_hour: 0,
                vain_runs: Vec::new(),
                pauses: Vec::new(),
                other_wardens: Vec::new(),
            },
            settings: GuardSettings::default(),
        };
        scene.with_victims(20)
    }

    /// Everything is in the way.
    pub(super) fn worst() -> Self {
        let mut scene = Self::quiet().with_victims(2_000);
        let now = scene.view.now;
        scene.by = Initiator::Policy;
        scene.taken_at = now - SignedDuration::from_mins(50);
        scene.picked.groups[0].total = 2_000;
        scene.view = View {
            protection: Protection::default(),
            incident: Some(IncidentFacts {
                problem: ProblemFacts {
                    is_unresolved: true,
                    count: LiveCount::Compared {
                        connections: 899,
                        threshold: Threshold { connections: 900.0 },
                        verdict: Verdict::Near,
                    },
                },
                is_cluster_assumed: true,
                silencing: Silencing::Unknown,
                has_alertmanager: true,
            }),
            coverage: LookCoverage {
                is_complete: false,
                servers_expected: 3,
                servers_unreachable: 2,
                missing: "n2: connection refused".to_owned(),
            },
            capability: Err("no system account is configured".to_owned()),
            running: Some(MitigationId(Uuid::nil())),
            earlier: vec![EarlierRun { ended_at: now, outcome: Some(Outcome::Ineffective) }],
            cut_within_the_hour: 490,
            vain_runs: vec![now - SignedDuration::from_mins(5); 3],
            pauses: vec![PauseFacts {
                name: "fair".to_owned(),
                reason: "nobody acts today".to_owned(),
                by: "ann".to_owned(),
            }],
            other_wardens: vec!["connwarden b7".to_owned()],
            ..scene.view
        };
        scene.view.protection.settings.applications.push(Pattern::new("orders"));
        scene.settings.breaker_window = Duration::from_secs(3_600);
        scene.settings.windows =
            vec![TimeWindow { days: [true; 7], from_minute: 22 * 60, until_minute: 6 * 60 }];
        scene
    }

    /// With so many victims of one application at one address.
    pub(super) fn with_victims(mut self, count: u64) -> Self {
        let victim = |cid| {
            Victim::of(&Candidate {
                server_id: "NA",
                server: "n1",
                cid,
                start: "2026-01-05T09:00:00Z",
                application: Some("orders"),
                name: Some("orders-1"),
                ip: Some([10, 0, 0, 1].into()),
                account: "APP",
                user: Some("alice"),
                kind: Some("client/nats"),
                ..Candidate::default()
            })
        };
        self.picked.victims = (0..count).map(victim).collect();
        let group =
            PickedGroup { application: Some("orders".to_owned()), ip: None, total: 2_600, victims: count };
        self.picked.groups = if count == 0 { Vec::new() } else { vec![group] };
        self
    }

    /// What all guards say.
    pub(super) fn judge(&self) -> Vec<GuardVerdict> {
        let draft = Draft {
            request: &self.request,
            picked: &self.picked,
            taken_at: self.taken_at,
            has_incident: self.has_incident,
            by: self.by,
        };
        judge(&draft, &self.view, &self.settings)
    }

    /// What one guard says.
    pub(super) fn ask(&self, guard: GuardKind) -> GuardVerdict {
        self.judge().into_iter().find(|verdict| verdict.guard == guard).unwrap()
    }
}
