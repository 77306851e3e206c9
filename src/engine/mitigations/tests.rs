//! Mitigations in a store of their own, and an engine whose only server does not answer: what goes wrong with the store, and
//! what happens at the same moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Clock;
use crate::engine::{Cluster, Engine, EvidenceSources, GivenUp, IncidentRules, RUN, Settings, Sources};
use crate::jobs::Bell;
use crate::model::application::ApplicationRules;
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::ids::MitigationId;
use crate::model::mapping::ClusterRoute;
use crate::model::mitigation::{Begun, Mitigation, MitigationState};
use crate::model::mitigation_rules::MitigationSettings;
use crate::model::owner::Owners;
use crate::model::plan::{ActionKind, BlastRadius, Plan};
use crate::model::retention::Retention;
use crate::model::sampling::Sampling;
use crate::model::victim::{KeepOf, Victim, VictimKey, VictimLimits, VictimOrder};
use crate::nats::monitoring::{MonitoringClient, MonitoringSettings};
use crate::observe::sweep::{ClusterTargets, Observer};
use crate::observe::users::UserMask;
use crate::store::jobs::{LeasedJob, NewJob};
use crate::store::{self, Store};
use crate::telemetry::metrics::Metrics;

const PAUSE: Duration = Duration::from_secs(60);

/// An engine that watches the cluster `prod`, of which nobody answers.
pub(super) struct Scene {
    pub(super) engine: Engine,
    _directory: TempDir,
}

impl Scene {
    pub(super) async fn make() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let clock = Clock::manual(now());
        let patience = MonitoringSettings {
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            max_reply_bytes: 1024,
        };
        let observer = Observer::new(
            MonitoringClient::new(patience),
            Arc::new(ApplicationRules::default()),
            UserMask::new(&[7; 32]),
            Duration::from_secs(300),
            clock.clone(),
        );
        // nobody listens on port 1
        let nowhere = "http://127.0.0.1:1".parse().unwrap();
        let cluster = Cluster {
            route: ClusterRoute { name: "prod".to_owned(), matchers: None, server_labels: Vec::new() },
            targets: ClusterTargets::new("prod", vec![nowhere], None),
            evidence: EvidenceSources {
                metric_prefix: "gnatsd".to_owned(),
                account_limits: BTreeMap::new(),
                logs: Vec::new(),
            },
        };
        let settings = Settings {
            clusters: vec![cluster],
            rules: IncidentRules {
                reopen_window: PAUSE,
                stale_timeout: PAUSE,
                verify_interval: PAUSE,
                connection_alerts: BTreeSet::new(),
                thresholds: BTreeMap::new(),
                alertmanager_can_be_asked: false,
            },
            diagnosis: DiagnosisRules::default(),
            sources: Sources::default(),
            owners: Owners::default(),
            reverse_dns: None,
            sampling: Sampling::default(),
            mitigations: MitigationSettings::default(),
        };
        let (metrics, bell) = (Metrics::new(), Bell::default());
        let engine = Engine::new(store, observer, settings, clock, metrics, bell).await.unwrap();
        Self { engine, _directory: directory }
    }

    /// Stores a mitigation of a cluster that stands somewhere.
    pub(super) async fn insert(&self, cluster: &str, state: MitigationState) -> Mitigation {
        let mitigation = mitigation(self.engine.0.clock.new_id(), cluster, state);
        let mut tx = self.engine.0.store.write().await.unwrap();
        store::mitigations::insert(&mut tx, &mitigation, None).await.unwrap();
        store::commit(tx).await.unwrap();
        mitigation
    }

    /// The job that deals with the next batch of a run.
    pub(super) async fn run_of(&self, mitigation: &Mitigation) -> LeasedJob {
        let mut tx = self.engine.0.store.write().await.unwrap();
        let job = NewJob { kind: RUN, subject: mitigation.id.to_string(), due_at: now() };
        store::jobs::insert(&mut tx, &[job], now()).await.unwrap();
        let job = store::jobs::lease(&mut tx, RUN, now(), Duration::from_secs(60)).await.unwrap();
        store::commit(tx).await.unwrap();
        job.unwrap()
    }

    /// Where a mitigation stands.
    async fn standing(&self, mitigation: &Mitigation) -> String {
        let mut conn = self.engine.0.store.read().await.unwrap();
        let found = store::mitigations::find_summary(&mut conn, mitigation.id).await.unwrap();
        found.unwrap().state.standing()
    }

    /// Does something to the database that nobody else does.
    async fn meddle(&self, statement: &'static str) {
        let mut tx = self.engine.0.store.write().await.unwrap();
        sqlx::query(statement).execute(&mut *tx).await.unwrap();
        store::commit(tx).await.unwrap();
    }
}

pub(super) fn running() -> MitigationState {
    let begun = Begun {
        approved_by: "ann".to_owned(),
        approval: None,
        started_by: "bob".to_owned(),
        started_at: now(),
    };
    MitigationState::Running { begun }
}

fn now() -> Timestamp {
    "2026-11-24T09:00:00Z".parse().unwrap()
}

pub(super) fn mitigation(id: Uuid, cluster: &str, state: MitigationState) -> Mitigation {
    let victim = |cid| Victim {
        key: VictimKey { server_id: "NA".to_owned(), cid, start: "2026-01-05T09:00:00Z".to_owned() },
        server: "nats-1".to_owned(),
        application: Some("orders".to_owned()),
        name: None,
        ip: None,
        account: "APP".to_owned(),
        account_name: None,
        kind: None,
        user: None,
        idle_ms: None,
        age_ms: None,
        messages: 0,
        subscriptions: 0,
    };
    let plan = Plan {
        cluster: cluster.to_owned(),
        action: ActionKind::Drain,
        selector: serde_json::from_value(json!({ "application": "orders" })).unwrap(),
        order: VictimOrder::Oldest,
        limits: VictimLimits { at_most: 10, at_most_percent: 10.0, keep: 0, keep_of: KeepOf::Application },
        taken_at: now(),
        total: 100,
        matched: 2,
        protected: Default::default(),
        kept: 0,
        victims: vec![victim(1), victim(2)],
        blast_radius: BlastRadius::default(),
        expected_effect: "fewer".to_owned(),
        warning: "they come back".to_owned(),
        guards: Vec::new(),
        digest: "sha256:1".to_owned(),
    };
    Mitigation {
        id: MitigationId(id),
        incident: None,
        plan,
        planned_by: "ann".to_owned(),
        planned_at: now() - SignedDuration::from_hours(48),
        reason: None,
        state,
    }
}

#[tokio::test]
async fn a_run_that_is_given_up_is_stopped_and_if_that_fails_it_is_told() {
    let scene = Scene::make().await;
    let run = scene.insert("prod", running()).await;
    let give_up = async || scene.engine.abandon(RUN, &run.id.to_string(), GivenUp::Failed).await;
    scene.meddle("ALTER TABLE audit RENAME TO gone").await;
    let error = give_up().await.unwrap_err();
    assert_eq!(error.to_string(), "stopping the run of a job that was given up");
    assert_eq!(scene.standing(&run).await, "running");
    scene.meddle("ALTER TABLE gone RENAME TO audit").await;
    give_up().await.unwrap();
    assert_eq!(scene.standing(&run).await, "stopped (interrupted)");
    give_up().await.unwrap();
}

#[tokio::test]
async fn a_mitigation_that_cannot_be_read_keeps_neither_others_nor_retention_waiting() {
    let scene = Scene::make().await;
    let broken = scene.insert("broken", MitigationState::Planned).await;
    let late = scene.insert("prod", MitigationState::Planned).await;
    scene.meddle("UPDATE mitigations SET state_data = '{' WHERE cluster = 'broken'").await;
    scene.engine.retain(&Retention::default(), &CancellationToken::new()).await.unwrap();
    assert_eq!(scene.standing(&late).await, "expired");
    scene
        .meddle("UPDATE mitigations SET state_data = '{\"state\": \"planned\"}' WHERE cluster = 'broken'")
        .await;
    assert_eq!(scene.standing(&broken).await, "planned");
}

#[tokio::test]
async fn a_run_that_cannot_be_read_keeps_nobody_from_starting() {
    let scene = Scene::make().await;
    scene.insert("broken", running()).await;
    let run = scene.insert("prod", running()).await;
    scene.meddle("UPDATE mitigations SET state_data = '{' WHERE cluster = 'broken'").await;
    assert_eq!(scene.engine.interrupt_mitigations().await.unwrap(), 1);
    assert_eq!(scene.standing(&run).await, "stopped (interrupted)");
}

#[tokio::test]
async fn a_run_is_stopped_without_its_victims_being_read() {
    let scene = Scene::make().await;
    let run = scene.insert("prod", running()).await;
    scene.meddle("UPDATE victims SET known = '{'").await;
    scene.engine.stop_mitigation(run.id, "ann", "wrong one").await.unwrap();
    assert_eq!(scene.standing(&run).await, "stopped (asked)");
}
