//! Mitigations and all that belongs to them, in a real database file.

mod acts;
mod journal;
mod kept;
mod runs;
mod states;

use jiff::SignedDuration;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::model::audit::AuditLine;
use crate::model::incident::{Incident, IncidentKey, IncidentState, Resolution};
use crate::model::journal::{JournalLine, VictimState};
use crate::model::mitigation::{Outcome, StopReason};
use crate::model::pause::Pause;
use crate::model::plan::BlastRadius;
use crate::model::victim::{KeepOf, Victim, VictimKey, VictimLimits, VictimOrder};
use crate::store::audit::{self, AuditFilter};
use crate::store::check::Inspection;
use crate::store::pauses;
use crate::store::retention::{self, Bite, Limits};
use crate::store::{self, Store, Tx, entries, incidents, jobs};

struct World {
    store: Store,
    directory: TempDir,
}

impl World {
    async fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        Self { store, directory }
    }

    async fn write(&self) -> Tx {
        self.store.write().await.unwrap()
    }

    async fn read(&self) -> Tx {
        self.store.read().await.unwrap()
    }

    async fn insert(&self, mitigation: &Mitigation) {
        let mut tx = self.write().await;
        insert(&mut tx, mitigation, None).await.unwrap();
        store::commit(tx).await.unwrap();
    }

    async fn save(&self, mitigation: &Mitigation, was: &str) -> Result<(), StoreError> {
        let mut tx = self.write().await;
        save(&mut tx, mitigation.id, &mitigation.state, was).await?;
        store::commit(tx).await
    }

    async fn record(&self, mitigation: &Mitigation, lines: &[JournalLine]) -> Result<(), StoreError> {
        let mut tx = self.write().await;
        victims::record(&mut tx, mitigation.id, lines).await?;
        store::commit(tx).await
    }

    /// Adds a mitigation of a cluster and moves it on to where it stands.
    async fn insert_in(&self, serial: u128, cluster: &str, state: MitigationState) -> Mitigation {
        let planned = mitigation(serial, cluster, 3);
        self.insert(&planned).await;
        let moved = Mitigation { state, ..planned };
        self.save(&moved, "planned").await.unwrap();
        moved
    }

    /// Nothing contradicts anything, as `doctor` sees it.
    async fn check(&self) {
        let mut inspection = Inspection::open(self.directory.path()).await.unwrap();
        assert_eq!(inspection.orphans().await.unwrap(), [""; 0]);
        assert_eq!(inspection.damages().await.unwrap(), [""; 0]);
        assert_eq!(inspection.contradictions().await.unwrap(), [""; 0]);
    }
}

fn at(minute: i64) -> Timestamp {
    "2026-11-24T09:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

fn victim(place: u64) -> Victim {
    Victim {
        // as large as a number may be that a server counts with
        key: VictimKey {
            server_id: "NA".to_owned(),
            cid: u64::MAX - place,
            start: "2026-01-05T09:00:00Z".to_owned(),
        },
        server: "nats-1".to_owned(),
        application: Some("orders".to_owned()),
        name: place.is_multiple_of(2).then(|| format!("orders-{place}'; DROP TABLE victims; --")),
        ip: Some("10.1.2.3".parse().unwrap()),
        account: "APP".to_owned(),
        account_name: None,
        kind: None,
        user: None,
        idle_ms: Some(place),
        age_ms: None,
        messages: u64::MAX,
        subscriptions: 2,
    }
}

fn mitigation(serial: u128, cluster: &str, victims: u64) -> Mitigation {
    let plan = Plan {
        cluster: cluster.to_owned(),
        action: ActionKind::Kick,
        selector: serde_json::from_value(json!({ "application": "orders", "idle_for": "10m" })).unwrap(),
        order: VictimOrder::Random { seed: u64::MAX },
        limits: VictimLimits {
            at_most: 50,
            at_most_percent: 12.5,
            keep: 1,
            keep_of: KeepOf::ApplicationAndIp,
        },
        taken_at: at(0),
        total: 1203,
        matched: 70,
        protected: std::collections::BTreeMap::from([(
            crate::model::protection::ProtectionReason::Leafnode,
            4,
        )]),
        kept: 1,
        victims: (0..victims).map(victim).collect(),
        blast_radius: BlastRadius::default(),
        expected_effect: "fewer".to_owned(),
        warning: "they come back".to_owned(),
        guards: Vec::new(),
        digest: format!("sha256:{serial}"),
    };
    Mitigation {
        id: MitigationId(Uuid::from_u128(serial)),
        incident: None,
        plan,
        planned_by: "ann".to_owned(),
        planned_at: at(0),
        reason: Some("too many".to_owned()),
        state: MitigationState::Planned,
    }
}

fn line(place: u64, state: VictimState) -> JournalLine {
    JournalLine { victim: victim(place).key, state, at: at(1), error: None }
}

/// One state of each name, in the order of [`MitigationState::NAMES`].
fn states() -> Vec<MitigationState> {
    let planned = MitigationState::Planned;
    let proposed = planned.clone().propose("ann", at(1)).unwrap();
    let approved = proposed.clone().approve("bob", at(2), at(17), None).unwrap();
    let running = approved.clone().start("cid", at(3)).unwrap();
    let verifying = running.clone().complete(at(4)).unwrap();
    vec![
        planned.clone(),
        planned.clone().refuse(Vec::new(), at(2)).unwrap(),
        proposed.clone(),
        approved,
        proposed.reject("bob", at(2), "no").unwrap(),
        planned.expire(at(2), "late").unwrap(),
        running.clone(),
        verifying.clone(),
        verifying.finish(Outcome::Ineffective, "they came back", at(14)).unwrap(),
        running.stop("bob", at(4), StopReason::Worse, "slow consumers").unwrap(),
    ]
}

fn state(name: &str) -> MitigationState {
    states().into_iter().find(|state| state.name() == name).unwrap()
}

fn conflict(result: Result<(), StoreError>) -> &'static str {
    match result {
        Err(StoreError::Conflict(with)) => with,
        other => panic!("no conflict: {other:?}"),
    }
}

async fn count(conn: &mut SqliteConnection, table: &str) -> i64 {
    let query = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(query).fetch_one(conn).await.unwrap()
}

/// Opens an incident, and resolves it at a minute.
async fn insert_incident(world: &World, serial: u128, resolved_at: Option<i64>) -> IncidentId {
    let id = IncidentId(Uuid::from_u128(serial));
    let key = IncidentKey::Unmapped { subject: format!("subject-{serial}"), alert_name: "Alert".to_owned() };
    let mut incident = Incident::open(id, key, None, at(0));
    if let Some(minute) = resolved_at {
        incident.state = IncidentState::Resolved {
            resolution: Resolution::Unverified,
            resolved_at: at(minute),
            resolved_by: None,
        };
    }
    let mut tx = world.write().await;
    incidents::insert(&mut tx, &incident).await.unwrap();
    let opened: crate::model::entry::Entry =
        serde_json::from_value(json!({ "at": at(0), "actor": "connwarden", "kind": "opened", "text": "" }))
            .unwrap();
    entries::insert(&mut tx, id, &[opened]).await.unwrap();
    store::commit(tx).await.unwrap();
    id
}
