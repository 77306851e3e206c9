//! Evidence for the tests of steps and recommendations: a cluster at rest, to be changed by each test.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::model::alert::{Alert, AlertStatus, AlertValue, ValueSource};
use crate::model::application::ApplicationRules;
use crate::model::breakdown::{Breakdown, Breakdowns, Dimension, Figures, Group};
use crate::model::closed::{ClosedConnections, ClosedRing, ReasonCount, is_refusal};
use crate::model::diagnosis::{Step, StepStatus};
use crate::model::evidence::{AlertEvidence, Evidence, Looked};
use crate::model::history::{History, Sample, SampledGroups, ServerSample};
use crate::model::ids::IncidentId;
use crate::model::labels::Labels;
use crate::model::member::Member;
use crate::model::snapshot::{Coverage, ServerCoverage, Snapshot};
use crate::model::threshold::Threshold;
use crate::model::vitals::ServerVitals;

/// When everything is looked at.
pub(super) fn now() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

/// An instant before that.
pub(super) fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

/// The vitals of a server with default settings, up for ten days, with 1,200 connections.
pub(super) fn vitals() -> ServerVitals {
    ServerVitals {
        at: Some(now()),
        started_at: Some(ago(864_000)),
        config_loaded_at: Some(ago(864_000)),
        connections: 1_200,
        total_connections: Some(5_000),
        max_connections: Some(65_536),
        cpu_percent: Some(10.0),
        cores: Some(2),
        memory_bytes: Some(60_000_000),
        slow_consumers: Some(0),
        ping_interval_ms: Some(120_000),
        ping_max: Some(2),
        write_deadline_ms: Some(10_000),
        auth_timeout_ms: Some(2_000),
        max_pending_bytes: Some(67_108_864),
        ..ServerVitals::default()
    }
}

/// A server that answered in full.
pub(super) fn server(name: &str, vitals: ServerVitals) -> ServerCoverage {
    ServerCoverage {
        url: Some(format!("http://{name}:8222").parse().unwrap()),
        via: None,
        name: Some(name.to_owned()),
        server_id: Some(format!("N{name}")),
        version: Some("2.10.26".to_owned()),
        seen: vitals.connections,
        connz_total: Some(vitals.connections),
        varz_connections: Some(vitals.connections),
        max_connections: vitals.max_connections,
        duration_ms: 10,
        bytes: 1_000,
        error: None,
        counted_at: None,
        vitals: Some(vitals),
    }
}

/// A server that did not answer.
pub(super) fn silent(name: &str) -> ServerCoverage {
    ServerCoverage {
        name: None,
        connz_total: None,
        varz_connections: None,
        max_connections: None,
        vitals: None,
        version: None,
        seen: 0,
        error: Some(format!("asking http://{name}:8222/varz: connection refused")),
        counted_at: None,
        ..server(name, vitals())
    }
}

/// Groups with so many connections.
pub(super) fn breakdown(groups: &[(&str, u64)]) -> Breakdown {
    let groups = groups.iter().map(|(key, connections)| Group {
        key: (*key).to_owned(),
        absent: key.starts_with('('),
        figures: Figures { connections: *connections, distinct_ips: 1, ..Figures::default() },
        ..Group::default()
    });
    let groups: Vec<Group> = groups.collect();
    let connections = groups.iter().map(|group| group.figures.connections).sum();
    Breakdown { groups, total: Figures { connections, ..Figures::default() }, ..Breakdown::default() }
}

/// Closed connections by reason, since an hour ago.
pub(super) fn closed(reasons: &[(&str, u64)]) -> ClosedConnections {
    let reasons = reasons.iter().map(|(reason, connections)| ReasonCount {
        reason: (*reason).to_owned(),
        connections: *connections,
        refused: is_refusal(reason),
    });
    let reasons: Vec<ReasonCount> = reasons.collect();
    let sum = |refused: bool| {
        reasons.iter().filter(|reason| !refused || reason.refused).map(|reason| reason.connections).sum()
    };
    ClosedConnections {
        servers: vec![ClosedRing {
            server: "n1".to_owned(),
            listed: sum(false),
            full: false,
            reaches_back_to: Some(ago(3_600)),
            at: now(),
        }],
        closed: sum(false),
        refused: sum(true),
        reasons,
        ..ClosedConnections::default()
    }
}

/// An alert that fires with this value, from more connections than this on.
pub(super) fn firing(value: f64, threshold: Option<f64>) -> AlertEvidence {
    let labels: Labels = [("alertname".to_owned(), "A".to_owned())].into_iter().collect();
    let alert = Alert {
        fingerprint: labels.fingerprint(),
        labels,
        annotations: Labels::default(),
        status: AlertStatus::Firing,
        starts_at: ago(300),
        generator_url: String::new(),
        value: Some(AlertValue { value, source: ValueSource::ValueAnnotation }),
    };
    AlertEvidence {
        member: Member::join(alert, None, ago(300)),
        threshold: threshold.map(|connections| Threshold { connections }),
    }
}

/// A sample of n1, so many seconds ago, with these applications.
pub(super) fn sample(seconds: i64, applications: &[(&str, u64)]) -> Sample {
    let groups = SampledGroups {
        groups: applications.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect(),
        other: 0,
    };
    let connections = groups.groups.values().sum();
    Sample {
        at: ago(seconds),
        complete: true,
        servers: vec![ServerSample {
            server: "n1".to_owned(),
            connections,
            started_at: vitals().started_at,
            slow_consumers: Some(0),
            ..ServerSample::default()
        }],
        groups: BTreeMap::from([(Dimension::Application, groups)]),
    }
}

/// What there is to know of these servers; the incident opened five minutes ago.
pub(super) fn evidence(servers: Vec<ServerCoverage>) -> Evidence {
    let unseen = |what: &str| format!("no {what} in this test");
    let breakdowns: Breakdowns = [
        (Dimension::Application.into(), breakdown(&[("orders-api", 900), ("billing", 300)])),
        (Dimension::Account.into(), breakdown(&[("APP", 1_200)])),
        (Dimension::Library.into(), breakdown(&[("go 1.47.0", 1_200)])),
    ]
    .into();
    Evidence {
        incident: IncidentId(Uuid::nil()),
        at: now(),
        opened_at: ago(300),
        alerts: Vec::new(),
        applications: Arc::new(ApplicationRules::default()),
        snapshot: Arc::new(Snapshot {
            cluster: "prod".to_owned(),
            taken_at: now(),
            coverage: Coverage::of(servers, 10),
            breakdowns,
            closed: Some(closed(&[("Client Closed", 100)])),
        }),
        churn: Vec::new(),
        earlier_vitals: BTreeMap::new(),
        history: Looked::Unseen(unseen("history")),
        first_seen: BTreeMap::new(),
        changes: Looked::Unseen(unseen("changes")),
        metrics: Looked::Unseen(unseen("metrics")),
        logs: Looked::Unseen(unseen("logs")),
        account_limits: BTreeMap::new(),
        owners: Arc::default(),
        metric_prefix: "gnatsd".to_owned(),
    }
}

/// What there is to know of n1 with these vitals.
pub(super) fn evidence_of(vitals: ServerVitals) -> Evidence {
    evidence(vec![server("n1", vitals)])
}

/// Changes the look.
pub(super) fn snapshot(evidence: &mut Evidence) -> &mut Snapshot {
    Arc::make_mut(&mut evidence.snapshot)
}

/// Changes the samples; there are none before.
pub(super) fn watched(evidence: &mut Evidence, samples: Vec<Sample>) {
    evidence.history = Looked::Seen(History { samples });
}

/// Everything a step says, to be searched.
pub(super) fn said(step: &Step) -> String {
    format!("{}\n{}", step.summary, step.remarks.join("\n"))
}

/// Fails unless a step found something, or nothing, and says this.
#[track_caller]
pub(super) fn assert_says(step: &Step, status: StepStatus, text: &str) {
    assert_eq!(step.status, status, "{}", said(step));
    assert!(said(step).contains(text), "{text:?} is not in:\n{}", said(step));
}
