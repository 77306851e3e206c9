//! Mitigations and all that belongs to them, in a real database file.

mod kept;

use jiff::SignedDuration;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::model::incident::{Incident, IncidentKey, IncidentState, Resolution};
use crate::model::journal::{JournalLine, VictimState};
use crate::model::mitigation::{Outcome, StopReason};
use crate::model::pause::Pause;
use crate::model::plan::BlastRadius;
use crate::model::victim::{KeepOf, Victim, VictimKey, VictimLimits, VictimOrder};
use crate::store::audit::{self, AuditLine};
use crate::store::check::Inspection;
use crate::store::mitigations::statistics::StatisticsFilter;
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
        save(&mut tx, mitigation, was).await?;
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
    let approved = proposed.clone().approve("bob", at(2), at(17)).unwrap();
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

#[tokio::test]
async fn a_mitigation_is_read_as_it_was_written_in_every_state() {
    let world = World::make().await;
    let summary = |it: &Mitigation| MitigationSummary {
        id: it.id,
        incident: it.incident,
        cluster: it.plan.cluster.clone(),
        action: it.plan.action,
        selector: it.plan.selector.clone(),
        victims: it.plan.victims.len() as u64,
        digest: it.plan.digest.clone(),
        planned_by: it.planned_by.clone(),
        planned_at: it.planned_at,
        reason: it.reason.clone(),
        state: it.state.clone(),
    };
    for (serial, state) in (0..).zip(states()) {
        let planned = mitigation(serial, "east", u64::try_from(serial).unwrap());
        world.insert(&planned).await;
        let moved = Mitigation { state, ..planned };
        world.save(&moved, "planned").await.unwrap();
        let mut conn = world.read().await;
        assert_eq!(find(&mut conn, moved.id).await.unwrap().as_ref(), Some(&moved));
        assert_eq!(find_summary(&mut conn, moved.id).await.unwrap(), Some(summary(&moved)));
    }
    assert_eq!(find(&mut *world.read().await, MitigationId(Uuid::from_u128(99))).await.unwrap(), None);
}

#[tokio::test]
async fn every_transition_is_saved_only_from_the_state_it_came_from() {
    let world = World::make().await;
    for (serial, from) in (0..).zip(states()) {
        let moved = world.insert_in(serial, &format!("cluster-{serial}"), from.clone()).await;
        for was in MitigationState::NAMES.into_iter().filter(|was| *was != from.name()) {
            for to in states() {
                let moved = Mitigation { state: to, ..moved.clone() };
                assert_eq!(conflict(world.save(&moved, was).await), "mitigation", "{was}");
            }
        }
        let kept = find(&mut *world.read().await, moved.id).await.unwrap();
        assert_eq!(kept, Some(moved), "nothing of it has happened");
    }
    let nobody = Mitigation { state: state("proposed"), ..mitigation(99, "east", 1) };
    assert_eq!(conflict(world.save(&nobody, "planned").await), "mitigation");
}

#[tokio::test]
async fn what_was_known_in_an_earlier_state_stays_in_its_columns() {
    let world = World::make().await;
    let planned = mitigation(1, "east", 1);
    world.insert(&planned).await;
    let mut was = "planned";
    for name in ["proposed", "approved", "running", "stopped"] {
        world.save(&Mitigation { state: state(name), ..planned.clone() }, was).await.unwrap();
        was = name;
    }
    let columns: (String, i64, i64, i64, Option<i64>, i64, String) = sqlx::query_as(
        "SELECT approved_by, approved_at, valid_until, started_at, executed_at, finished_at, stop FROM mitigations",
    )
    .fetch_one(&mut *world.read().await)
    .await
    .unwrap();
    let us = |minute| at(minute).as_microsecond();
    assert_eq!(columns, ("bob".to_owned(), us(2), us(17), us(3), None, us(4), "worse".to_owned()));
}

#[tokio::test]
async fn two_runs_in_a_cluster_collide_and_two_clusters_do_not() {
    let world = World::make().await;
    let east = world.insert_in(1, "east", state("running")).await;
    let other = world.insert_in(2, "east", state("approved")).await;
    let started = Mitigation { state: state("running"), ..other.clone() };
    assert_eq!(conflict(world.save(&started, "approved").await), "cluster");
    assert_eq!(
        conflict(world.save(&started, "proposed").await),
        "mitigation",
        "it is not where it was said to be"
    );
    assert_eq!(find(&mut *world.read().await, other.id).await.unwrap(), Some(other));

    let west = world.insert_in(3, "west", state("running")).await;
    assert_eq!(list_running(&mut *world.read().await).await.unwrap(), [east.id, west.id]);
    // the lease ends with execution, not with the last look
    world.save(&Mitigation { state: state("verifying"), ..east }, "running").await.unwrap();
    world.save(&started, "approved").await.unwrap();
    assert_eq!(list_running(&mut *world.read().await).await.unwrap(), [started.id, west.id]);
}

#[tokio::test]
async fn the_same_idempotency_key_finds_the_first_and_cannot_be_used_for_another() {
    let world = World::make().await;
    let first = mitigation(1, "east", 2);
    let mut tx = world.write().await;
    insert(&mut tx, &first, Some(("key", "sha256:request"))).await.unwrap();
    insert(&mut tx, &mitigation(2, "east", 2), None).await.unwrap();
    insert(&mut tx, &mitigation(3, "east", 2), None).await.unwrap();
    store::commit(tx).await.unwrap();

    let mut tx = world.write().await;
    let second = insert(&mut tx, &mitigation(4, "west", 2), Some(("key", "sha256:other"))).await;
    assert_eq!(conflict(second), "idempotency key");
    drop(tx);
    let mut conn = world.read().await;
    assert_eq!(
        find_by_idempotency_key(&mut conn, "key").await.unwrap(),
        Some((first, "sha256:request".to_owned()))
    );
    assert_eq!(find_by_idempotency_key(&mut conn, "Key").await.unwrap(), None);
    assert_eq!(count(&mut conn, "mitigations").await, 3);
    assert_eq!(count(&mut conn, "victims").await, 6);
}

#[tokio::test]
async fn lists_are_filtered_and_paged_the_newest_first() {
    let world = World::make().await;
    let incident = insert_incident(&world, 7, None).await;
    let mut tx = world.write().await;
    for serial in 0..25 {
        let mut planned = mitigation(serial, if serial % 2 == 0 { "east" } else { "west" }, 1);
        planned.incident = (serial % 5 == 0).then_some(incident);
        planned.plan.action = if serial % 3 == 0 { ActionKind::Drain } else { ActionKind::Kick };
        insert(&mut tx, &planned, None).await.unwrap();
    }
    let missing = Mitigation { incident: Some(IncidentId(Uuid::from_u128(99))), ..mitigation(99, "east", 1) };
    assert_eq!(conflict(insert(&mut tx, &missing, None).await), "incident");
    store::commit(tx).await.unwrap();
    let mut moved = mitigation(4, "east", 1);
    moved.state = state("proposed");
    world.save(&moved, "planned").await.unwrap();

    let serials = async |filter: MitigationFilter, limit: u32| {
        let mut conn = world.read().await;
        let (mut filter, mut all, mut pages) = (filter, Vec::new(), 0);
        loop {
            let page = list(&mut conn, &filter, limit).await.unwrap();
            pages += 1;
            assert!(page.mitigations.len() <= limit as usize);
            all.extend(page.mitigations.iter().map(|it| it.id.0.as_u128()));
            filter.before = page.next;
            if filter.before.is_none() {
                return (all, pages);
            }
        }
    };
    let all: Vec<u128> = (0..25).rev().collect();
    assert_eq!(serials(MitigationFilter::default(), 10).await, (all.clone(), 3));
    assert_eq!(serials(MitigationFilter::default(), 25).await, (all.clone(), 1));
    let only =
        |keep: fn(u128) -> bool| all.iter().copied().filter(|serial| keep(*serial)).collect::<Vec<_>>();
    let none = MitigationFilter::default;
    let filters = [
        (MitigationFilter { cluster: Some("east".to_owned()), ..none() }, only(|it| it % 2 == 0)),
        (MitigationFilter { incident: Some(incident), ..none() }, only(|it| it % 5 == 0)),
        (MitigationFilter { action: Some(ActionKind::Drain), ..none() }, only(|it| it % 3 == 0)),
        (MitigationFilter { state: Some("proposed".to_owned()), ..none() }, vec![4]),
        (
            MitigationFilter {
                cluster: Some("west".to_owned()),
                incident: Some(incident),
                action: Some(ActionKind::Drain),
                ..none()
            },
            vec![15],
        ),
    ];
    for (filter, expected) in filters {
        assert_eq!(serials(filter.clone(), 2).await.0, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn ten_thousand_victims_are_kept_and_listed_in_pages() {
    let world = World::make().await;
    let large = mitigation(1, "east", 10_000);
    world.insert(&large).await;
    world.insert(&mitigation(2, "west", 10)).await;
    let mut conn = world.read().await;
    assert_eq!(find(&mut conn, large.id).await.unwrap().as_ref(), Some(&large));
    let (mut from, mut seen, mut pages) = (Some(0), Vec::new(), 0);
    while let Some(place) = from {
        let page = victims::list(&mut conn, large.id, None, place, 999).await.unwrap();
        pages += 1;
        assert!(page.victims.iter().all(|it| it.state == VictimState::Pending && it.at == at(0)));
        seen.extend(page.victims);
        from = page.next;
    }
    assert_eq!(pages, 11);
    assert!(seen.iter().map(|it| it.place).eq(0..10_000));
    assert!(seen.iter().map(|it| &it.victim).eq(&large.plan.victims));
    drop(conn);

    let moved: Vec<_> =
        (0..10_000).filter(|place| place % 10 < 3).map(|it| line(it, VictimState::Sent)).collect();
    world.record(&large, &moved).await.unwrap();
    let mut conn = world.read().await;
    let counts = victims::counts(&mut conn, large.id).await.unwrap();
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [(VictimState::Pending, 7000), (VictimState::Sent, 3000)]
    );
    assert_eq!(victims::list_in(&mut conn, large.id, VictimState::Sent).await.unwrap(), moved);
    let page = victims::list(&mut conn, large.id, Some(VictimState::Sent), 9_991, 2).await.unwrap();
    assert_eq!((page.victims[0].place, page.victims[1].place, page.next), (9_991, 9_992, None));
}

#[tokio::test]
async fn a_journal_line_goes_forward_and_never_back() {
    // from each state into each, and which of these moves are allowed
    let mut allowed = Vec::new();
    let world = World::make().await;
    let mut serial = 0;
    let ways: [(VictimState, &[VictimState]); 9] = [
        (VictimState::Pending, &[]),
        (VictimState::Sent, &[VictimState::Sent]),
        (VictimState::Asked, &[VictimState::Sent, VictimState::Asked]),
        (VictimState::Left, &[VictimState::Sent, VictimState::Left]),
        (VictimState::Stayed, &[VictimState::Sent, VictimState::Asked, VictimState::Stayed]),
        (VictimState::Confirmed, &[VictimState::Sent, VictimState::Confirmed]),
        (VictimState::Gone, &[VictimState::Gone]),
        (VictimState::Error, &[VictimState::Sent, VictimState::Error]),
        (VictimState::Spared, &[VictimState::Spared]),
    ];
    for (from, way) in ways {
        for to in VictimState::ALL {
            let planned = mitigation(serial, "east", 2);
            serial += 1;
            world.insert(&planned).await;
            for state in way {
                world.record(&planned, &[line(0, *state)]).await.unwrap();
            }
            match world.record(&planned, &[line(0, to)]).await {
                Ok(()) => allowed.push(format!("{} -> {}", from.name(), to.name())),
                refused => assert_eq!(conflict(refused), "victim"),
            }
            let mut conn = world.read().await;
            let page = victims::list(&mut conn, planned.id, None, 1, 10).await.unwrap();
            assert_eq!(page.victims[0].state, VictimState::Pending, "the others stay where they are");
        }
    }
    insta::assert_snapshot!(allowed.join("\n"), @r"
    pending -> sent
    pending -> gone
    pending -> spared
    sent -> asked
    sent -> left
    sent -> confirmed
    sent -> gone
    sent -> error
    asked -> sent
    asked -> left
    asked -> stayed
    ");
}

#[tokio::test]
async fn a_batch_is_written_as_a_whole_or_not_at_all() {
    let world = World::make().await;
    let planned = mitigation(1, "east", 5);
    world.insert(&planned).await;
    world.insert(&mitigation(2, "west", 5)).await;
    world.record(&planned, &[line(3, VictimState::Sent)]).await.unwrap();
    let stranger = VictimKey { start: "2026-02-02T00:00:00Z".to_owned(), ..victim(1).key };
    let batches = [
        vec![line(0, VictimState::Sent), line(3, VictimState::Sent)],
        vec![line(0, VictimState::Sent), line(9, VictimState::Sent)],
        vec![line(0, VictimState::Sent), line(0, VictimState::Sent)],
        vec![line(0, VictimState::Sent), JournalLine { victim: stranger, ..line(1, VictimState::Sent) }],
    ];
    for batch in batches {
        assert_eq!(conflict(world.record(&planned, &batch).await), "victim");
        let counts = victims::counts(&mut *world.read().await, planned.id).await.unwrap();
        assert_eq!(counts.get(&VictimState::Pending), Some(&4));
    }
    let refused = JournalLine { error: Some("no".to_owned()), ..line(3, VictimState::Error) };
    world.record(&planned, &[line(0, VictimState::Sent), refused.clone()]).await.unwrap();
    let mut tx = world.write().await;
    assert_eq!(victims::spare_pending(&mut tx, planned.id, at(9)).await.unwrap(), 3);
    store::commit(tx).await.unwrap();
    let mut conn = world.read().await;
    assert_eq!(victims::list_in(&mut conn, planned.id, VictimState::Error).await.unwrap(), [refused]);
    assert_eq!(victims::list_in(&mut conn, planned.id, VictimState::Sent).await.unwrap().len(), 1);
    let others = MitigationId(Uuid::from_u128(2));
    assert_eq!(victims::counts(&mut conn, others).await.unwrap().get(&VictimState::Pending), Some(&5));
}

#[tokio::test]
async fn guards_are_told_of_runs_against_the_same_of_those_that_ended_and_of_what_was_cut() {
    let world = World::make().await;
    let ineffective = world.insert_in(1, "east", state("finished")).await;
    let stopped = world.insert_in(2, "east", state("stopped")).await;
    world.insert_in(3, "east", state("rejected")).await;
    world.insert_in(4, "west", state("stopped")).await;
    let mut other = mitigation(5, "east", 3);
    other.plan.selector = serde_json::from_value(json!({ "application": "orders" })).unwrap();
    world.insert(&other).await;
    world.save(&Mitigation { state: state("running"), ..other.clone() }, "planned").await.unwrap();
    let lines = [VictimState::Sent, VictimState::Confirmed];
    for state in lines {
        world.record(&ineffective, &[line(0, state), line(1, state)]).await.unwrap();
    }
    world.record(&stopped, &[line(0, VictimState::Sent)]).await.unwrap();
    world.record(&other, &[line(0, VictimState::Gone)]).await.unwrap();

    let mut conn = world.read().await;
    let finished = PastRun {
        id: ineffective.id,
        action: ActionKind::Kick,
        started_at: at(3),
        ended_at: Some(at(4)),
        outcome: Some(Outcome::Ineffective),
        stop: None,
    };
    let worse = PastRun {
        id: stopped.id,
        ended_at: Some(at(4)),
        outcome: None,
        stop: Some(StopReason::Worse),
        ..finished.clone()
    };
    let running = PastRun { id: other.id, ended_at: None, outcome: None, ..finished.clone() };
    // written in another order, the conditions are the same
    let same = serde_json::from_value(json!({ "idle_for": "600s", "application": "orders" })).unwrap();
    let against = list_runs_against(&mut conn, "east", &same).await.unwrap();
    assert_eq!(against, [worse.clone(), finished.clone()]);
    assert_eq!(list_runs_against(&mut conn, "west", &other.plan.selector).await.unwrap(), []);
    let against = list_runs_against(&mut conn, "east", &other.plan.selector).await.unwrap();
    assert_eq!(against, [running]);

    assert_eq!(list_ended_since(&mut conn, "east", at(4)).await.unwrap(), [finished.clone(), worse]);
    assert_eq!(list_ended_since(&mut conn, "east", at(5)).await.unwrap(), [finished]);
    assert_eq!(list_ended_since(&mut conn, "nowhere", at(0)).await.unwrap(), []);

    assert_eq!(
        count_cut_since(&mut conn, "east", at(1)).await.unwrap(),
        3,
        "one that may have been cut counts"
    );
    assert_eq!(count_cut_since(&mut conn, "east", at(2)).await.unwrap(), 0);
    assert_eq!(count_cut_since(&mut conn, "west", at(1)).await.unwrap(), 0);
}

#[tokio::test]
async fn statistics_tell_how_runs_ended_who_was_cut_and_who_came_back() {
    let world = World::make().await;
    let finished = world.insert_in(1, "east", state("finished")).await;
    world.insert_in(2, "east", state("stopped")).await;
    world.insert_in(3, "east", state("rejected")).await;
    world.insert_in(4, "west", state("verifying")).await;
    for state in [VictimState::Sent, VictimState::Confirmed] {
        world.record(&finished, &[line(0, state), line(1, state)]).await.unwrap();
    }
    let mut tx = world.write().await;
    save_before(&mut tx, finished.id, &json!({ "total": 9 })).await.unwrap();
    // only the last look counts
    for (after, returned) in [(5, 0), (30, 1)] {
        let returned: Vec<Value> = ["application", "account", "user", "ip"]
            .into_iter()
            .map(|by| json!({ "dimension": by, "cut": 2, "returned": returned, "groups": [], "more_groups": 0 }))
            .collect();
        let look = json!({
            "at": at(5), "after_ms": after * 1000, "complete": true, "cut": 2, "total_before": 9, "total_now": 8,
            "matched_before": 4, "matched_now": 3, "returned": returned,
        });
        save_look(&mut tx, finished.id, std::time::Duration::from_secs(after), &look).await.unwrap();
    }
    store::commit(tx).await.unwrap();

    let told = async |cluster: Option<&str>, since: Option<i64>| {
        let filter = StatisticsFilter { cluster: cluster.map(str::to_owned), since: since.map(at) };
        let statistics = statistics::list(&mut *world.read().await, &filter).await.unwrap();
        let lines = statistics.iter().map(|it| {
            let returns = it.returns().unwrap_or_default();
            format!(
                "{} {} {}: {}, {} victims, {returns}",
                it.cluster,
                it.action.name(),
                it.runs,
                it.ends(),
                it.victims
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(told(None, None).await, @r"
    east kick 2: 1 ineffective, 1 failed, 2 victims, 1 of 2 (50 %)
    west kick 1: 1 unfinished, 0 victims, 
    ");
    assert!(told(Some("west"), Some(3)).await.starts_with("west kick 1"));
    assert_eq!(told(None, Some(4)).await, "");
}

#[tokio::test]
async fn those_that_waited_too_long_are_told() {
    let world = World::make().await;
    for (serial, state) in (0..).zip(states()) {
        world.insert_in(serial, "east", state).await;
    }
    let mut conn = world.read().await;
    let mut overdue = async |now, before| {
        let ids = list_overdue(&mut conn, now, before, 10).await.unwrap();
        ids.iter()
            .map(|id| MitigationState::NAMES[usize::try_from(id.0.as_u128()).unwrap()])
            .collect::<Vec<_>>()
    };
    assert_eq!(overdue(at(16), at(0)).await, [""; 0]);
    assert_eq!(overdue(at(17), at(0)).await, ["approved"]);
    assert_eq!(overdue(at(16), at(1)).await, ["planned", "proposed"]);
}

#[tokio::test]
async fn looks_are_kept_beside_what_was_before() {
    let world = World::make().await;
    let planned = mitigation(1, "east", 1);
    world.insert(&planned).await;
    let mut tx = world.write().await;
    assert_eq!(find_before::<Value>(&mut tx, planned.id).await.unwrap(), None);
    save_before(&mut tx, planned.id, &json!({ "total": 9 })).await.unwrap();
    for seconds in [30, 5] {
        let after = std::time::Duration::from_secs(seconds);
        save_look(&mut tx, planned.id, after, &json!({ "after": seconds })).await.unwrap();
    }
    let nobody = MitigationId(Uuid::from_u128(9));
    assert_eq!(conflict(save_before(&mut tx, nobody, &json!({})).await), "mitigation");
    assert_eq!(find_before::<Value>(&mut tx, planned.id).await.unwrap(), Some(json!({ "total": 9 })));
    let looks: Vec<Value> = list_looks(&mut tx, planned.id).await.unwrap();
    assert_eq!(looks, [json!({ "after": 5 }), json!({ "after": 30 })]);
    store::commit(tx).await.unwrap();
}

#[tokio::test]
async fn a_pause_holds_until_it_is_ended_and_does_not_end_another_unseen() {
    let world = World::make().await;
    let mut tx = world.write().await;
    let pause = |name: &str, cluster: Option<&str>, minute| Pause {
        name: name.to_owned(),
        cluster: cluster.map(str::to_owned),
        reason: format!("because {minute}"),
        paused_by: "ann".to_owned(),
        paused_at: at(minute),
    };
    let (east, all) = (pause("deploy", Some("east"), 1), pause("night", None, 0));
    for pause in [&east, &all] {
        pauses::save(&mut tx, pause).await.unwrap();
    }
    assert_eq!(pauses::list(&mut tx).await.unwrap(), [all.clone(), east.clone()]);
    assert!(east.holds_for("east") && !east.holds_for("west") && all.holds_for("west"));
    for other in [pause("deploy", Some("west"), 2), pause("deploy", None, 2), pause("night", Some("east"), 2)]
    {
        assert_eq!(conflict(pauses::save(&mut tx, &other).await), "pause");
    }
    let again = [pause("deploy", Some("east"), 3), pause("night", None, 3)];
    for pause in &again {
        pauses::save(&mut tx, pause).await.unwrap();
    }
    assert_eq!(pauses::list(&mut tx).await.unwrap(), again);
    assert!(pauses::delete(&mut tx, "deploy").await.unwrap());
    assert!(!pauses::delete(&mut tx, "deploy").await.unwrap());
    assert_eq!(pauses::list(&mut tx).await.unwrap(), [pause("night", None, 3)]);
}

#[tokio::test]
async fn acts_are_on_record_the_newest_first() {
    let world = World::make().await;
    let mut tx = world.write().await;
    let act = |minute: i64| AuditLine {
        at: at(minute),
        actor: "ann".to_owned(),
        act: if minute % 2 == 0 { "pause" } else { "resume" }.to_owned(),
        subject: format!("subject-{}", minute % 3),
        text: "why".to_owned(),
    };
    for minute in 0..10 {
        audit::insert(&mut tx, &act(minute)).await.unwrap();
    }
    let (mut before, mut all) = (None, Vec::new());
    loop {
        let page = audit::list(&mut tx, None, before, 4).await.unwrap();
        all.extend(page.lines);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(all, (0..10).rev().map(act).collect::<Vec<_>>());
    let page = audit::list(&mut tx, Some("subject-1"), None, 4).await.unwrap();
    assert_eq!((page.lines, page.next), (vec![act(7), act(4), act(1)], None));
}

#[tokio::test]
async fn what_contradicts_the_journal_is_told() {
    let world = World::make().await;
    let never_started = world.insert_in(1, "east", state("approved")).await;
    world.record(&never_started, &[line(0, VictimState::Sent)]).await.unwrap();
    world.insert_in(2, "east", state("stopped")).await;
    let mut tx = world.write().await;
    victims::spare_pending(&mut tx, MitigationId(Uuid::from_u128(2)), at(5)).await.unwrap();
    store::commit(tx).await.unwrap();
    world.insert_in(3, "east", state("verifying")).await;
    let mut tx = world.write().await;
    for change in [
        "UPDATE mitigations SET outcome = 'effective' WHERE state = 'stopped'",
        "DROP INDEX mitigations_running",
    ] {
        sqlx::query(change).execute(&mut *tx).await.unwrap();
    }
    store::commit(tx).await.unwrap();
    for serial in [4, 5] {
        world.insert_in(serial, "west", state("running")).await;
    }
    let mut inspection = Inspection::open(world.directory.path()).await.unwrap();
    insta::assert_snapshot!(inspection.contradictions().await.unwrap().join("\n"), @r"
    several mitigations run in west at once
    mitigation 00000000-0000-0000-0000-000000000001 was never started, but victims were asked to leave or cut
    mitigation 00000000-0000-0000-0000-000000000003 is verifying, but victims wait to be dealt with
    mitigation 00000000-0000-0000-0000-000000000002 is stopped, but its outcome says otherwise
    ");
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
    incidents::insert(&mut tx, &[&incident]).await.unwrap();
    let opened: crate::model::entry::Entry =
        serde_json::from_value(json!({ "at": at(0), "actor": "connwarden", "kind": "opened", "text": "" }))
            .unwrap();
    entries::insert(&mut tx, id, &[opened]).await.unwrap();
    store::commit(tx).await.unwrap();
    id
}
