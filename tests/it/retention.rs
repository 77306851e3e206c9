//! Retention: what was kept long enough goes, and nothing that an unresolved incident needs.

mod rows;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use axum::http::Method;
use connwarden::model::retention::{Keep, Retention};
use connwarden::store::retention::{self, Limits};
use connwarden::store::{self, Store};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio_util::sync::CancellationToken;

use self::rows::{
    before, days_ago, dump_unresolved, insert_incident, insert_mitigation, insert_notification, insert_rows,
    now, texts, young,
};
use crate::harness::daemon::Daemon;
use crate::harness::eventually;
use crate::harness::payload::{ALERT, firing, notification, resolved, restarted};
use crate::harness::test_app::TestApp;
use crate::swarm::random::Random;

const DAY: Duration = Duration::from_secs(86_400);

/// Keeps everything.
const FOREVER: Keep = Keep { age: Duration::from_secs(86_400 * 36_500), count: u64::MAX };

#[tokio::test(flavor = "multi_thread")]
async fn resolved_incidents_and_their_notifications_go_after_their_time_and_unresolved_ones_stay() {
    let app = TestApp::start().await;
    let gone = firing(ALERT, "nats-1:7777");
    let stays = firing("Other", "nats-1:7777");
    for alert in [gone.clone(), resolved(gone, "2026-11-24T09:00:00Z"), stays] {
        assert_eq!(app.notify(notification(&[alert])).await.status, 202);
        app.advance(Duration::from_secs(60));
    }
    app.run_jobs().await;
    assert_eq!(incidents(&app).await, ["Other", ALERT]);

    let retention = Retention::default();
    app.advance(DAY * 29);
    assert_eq!(retain(&app, &retention).await, 0);
    app.advance(DAY * 2);
    assert!(retain(&app, &retention).await > 0, "the notifications of the resolved incident");
    assert_eq!(incidents(&app).await, ["Other", ALERT]);
    app.advance(DAY * 60);
    assert!(retain(&app, &retention).await > 0, "the resolved incident");
    assert_eq!(incidents(&app).await, ["Other"]);
    app.advance(DAY * 10_000);
    assert_eq!(retain(&app, &retention).await, 0, "what is unresolved stays for ever");
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM notifications")
        .fetch_one(&mut outsider(app.directory.path()).await)
        .await
        .unwrap();
    assert_eq!(kept, 1, "and so does what it is made of");
    let metrics = app.get("/metrics").await.text;
    for sample in [
        "connwarden_deleted_rows_total{table=\"incidents\"} 1",
        "connwarden_deleted_rows_total{table=\"alerts\"} 1",
        "connwarden_deleted_rows_total{table=\"notifications\"} 2",
    ] {
        assert!(metrics.lines().any(|line| line == sample), "no `{sample}` in {metrics}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_deleted_unresolved_incidents_keep_every_row() {
    for seed in 0..25 {
        let app = TestApp::start().await;
        let mut random = Random::new(seed, &[]);
        let mut conn = outsider(app.directory.path()).await;
        let world = World::make(&mut conn, &mut random).await;
        let keep = |random: &mut Random| Keep {
            age: DAY * (1 + random.below(100) as u32),
            count: if random.below(2) == 0 { u64::MAX } else { random.below(40) },
        };
        let retention = Retention {
            incidents: keep(&mut random),
            notifications: keep(&mut random),
            snapshots: keep(&mut random),
            changes: keep(&mut random),
            mitigations: keep(&mut random),
            audit: keep(&mut random),
        };
        let before = dump_unresolved(&mut conn).await;
        retain(&app, &retention).await;
        assert_eq!(dump_unresolved(&mut conn).await, before, "seed {seed}");
        assert_eq!(texts(&mut conn, "SELECT \"table\" FROM pragma_foreign_key_check").await, [""; 0]);
        assert_eq!(texts(&mut conn, "PRAGMA integrity_check").await, ["ok"]);

        let incidents: BTreeSet<String> =
            texts(&mut conn, "SELECT incident_id FROM incidents").await.into_iter().collect();
        assert_eq!(incidents, world.incidents_to_keep(retention.incidents), "seed {seed}: {retention:?}");
        let notifications: BTreeSet<String> =
            texts(&mut conn, "SELECT notification_id FROM notifications").await.into_iter().collect();
        let expected = world.notifications_to_keep(retention.notifications);
        assert_eq!(notifications, expected, "seed {seed}: {retention:?}");
        assert_eq!(retain(&app, &retention).await, 0, "a second time there is nothing to do");
        sqlx::query("DELETE FROM jobs").execute(&mut conn).await.unwrap();
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_deletes_much() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let mut conn = outsider(directory.path()).await;
    for incident in 0..120 {
        let (entries, alerts, snapshots) = if incident == 7 { (2300, 1700, 60) } else { (3, 2, 1) };
        insert_incident(&mut conn, incident, Some(0)).await;
        insert_rows(&mut conn, incident, entries, alerts, snapshots).await;
        insert_mitigation(&mut conn, incident, entries / 2).await;
    }
    for notification in 0..1234 {
        insert_notification(&mut conn, notification, 0, None).await;
    }
    let limits = Limits { before: now(), count: u64::MAX, young: now() };
    let (mut after, mut bites) = (Some(0), Vec::new());
    while let Some(key) = after {
        let mut tx = store.write().await.unwrap();
        let bite = retention::bite_of_notifications(&mut tx, &limits, key).await.unwrap();
        store::commit(tx).await.unwrap();
        bites.push(bite.deleted.iter().map(|(_, rows)| rows).sum::<u64>());
        after = bite.next;
    }
    assert_eq!(bites, [500, 500, 234]);
    let (mut more, mut bites) = (true, Vec::new());
    while more {
        let mut tx = store.write().await.unwrap();
        let bite = retention::bite_of_incidents(&mut tx, &limits).await.unwrap();
        store::commit(tx).await.unwrap();
        bites.push(bite.deleted.iter().map(|(_, rows)| rows).sum::<u64>());
        more = bite.next.is_some();
        let halves =
            "SELECT count(*) FROM incidents WHERE incident_key NOT IN (SELECT incident_key FROM entries)";
        let halves: i64 = sqlx::query_scalar(halves).fetch_one(&mut conn).await.unwrap();
        assert!(
            halves <= 50,
            "the rows of an incident go together with it, as far as a bite is large enough"
        );
    }
    assert!(bites.len() > 8 && bites.iter().all(|rows| *rows <= 700), "{bites:?}");
    for table in [
        "incidents",
        "alerts",
        "entries",
        "snapshots",
        "breakdowns",
        "mitigations",
        "victims",
        "mitigation_looks",
        "notifications",
    ] {
        let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let count: i64 = sqlx::query_scalar(count).fetch_one(&mut conn).await.unwrap();
        assert_eq!(count, 0, "{table}");
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_room_of_what_was_deleted_is_given_back_while_notifications_come_in() {
    let app = TestApp::start().await;
    let mut conn = outsider(app.directory.path()).await;
    for incident in 0..3000 {
        insert_incident(&mut conn, incident, Some(0)).await;
        insert_rows(&mut conn, incident, 10, 4, 1).await;
    }
    let file = app.directory.path().join("connwarden.db");
    let size = || file.metadata().unwrap().len();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await.unwrap();
    drop(conn);
    let before = size();
    let retention = Retention {
        incidents: Keep { count: 10, ..FOREVER },
        notifications: FOREVER,
        snapshots: FOREVER,
        changes: FOREVER,
        mitigations: FOREVER,
        audit: FOREVER,
    };
    let (deleted, ()) = tokio::join!(retain(&app, &retention), async {
        for serial in 0..100 {
            let mut alert = firing("Meanwhile", "nats-1:7777");
            alert["labels"]["pod"] = json!(format!("pod-{serial}"));
            assert_eq!(app.notify(notification(&[alert])).await.status, 202);
        }
    });
    assert_eq!(deleted, 2990 * (1 + 10 + 4 + 1 + 1));
    assert!(size() < before / 2, "{before} -> {}", size());
    let left = texts(&mut outsider(app.directory.path()).await, "SELECT incident_id FROM incidents").await;
    assert_eq!(left.len(), 11);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_resolved_just_now_stays_however_much_there_is() {
    let app = TestApp::start().await;
    for serial in 0..5 {
        let alert = firing(&format!("Alert{serial}"), "nats-1:7777");
        for alert in [alert.clone(), resolved(alert, "2026-11-24T09:00:00Z")] {
            assert_eq!(app.notify(notification(&[alert])).await.status, 202);
        }
    }
    let few = Keep { age: DAY * 90, count: 1 };
    let retention = Retention {
        incidents: few,
        notifications: few,
        snapshots: few,
        changes: few,
        mitigations: few,
        audit: few,
    };
    retain(&app, &retention).await;
    assert_eq!(incidents(&app).await.len(), 5);
    // it can begin again
    let again = restarted(firing("Alert3", "nats-1:7777"), "2026-11-24T09:05:00Z");
    assert_eq!(app.notify(notification(&[again])).await.status, 202);
    app.advance(DAY);
    retain(&app, &retention).await;
    assert_eq!(incidents(&app).await, ["Alert4", "Alert3"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_ended_is_kept_as_long_as_its_alert_is_repeated() {
    let app = TestApp::start().await;
    let body = notification(&[firing(ALERT, "nats-1:7777")]);
    let answer = app.notify(body.clone()).await.json();
    let id = answer["incidents"][0].as_str().unwrap();
    let path = format!("/api/v1/incidents/{id}/resolve");
    let answer = app.act(Method::POST, &path, json!({ "reason": "known" }).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    app.advance(DAY * 80);
    assert_eq!(app.notify(body.clone()).await.json()["repeated"], true);
    app.advance(DAY * 80);
    let few = Retention { incidents: Keep { age: DAY * 90, count: 1 }, ..Retention::default() };
    retain(&app, &few).await;
    assert_eq!(incidents(&app).await, [ALERT], "without it the next repetition would be a new incident");
    app.advance(DAY * 20);
    assert!(retain(&app, &few).await > 0);
    assert_eq!(incidents(&app).await, [""; 0]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_deletes_by_itself_what_its_configuration_does_not_keep() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    let alert = firing(ALERT, "nats-1:7777");
    for alert in [alert.clone(), resolved(alert, "2026-11-24T09:00:00Z")] {
        assert_eq!(daemon.notify(notification(&[alert])).await.0, 202);
    }
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    let mut conn = outsider(&directory.path().join("data")).await;
    let days = 50 * DAY.as_micros() as i64;
    for change in [
        "UPDATE incidents SET resolved_at = resolved_at - $1",
        "UPDATE notifications SET received_at = received_at - $1, last_seen_at = last_seen_at - $1",
    ] {
        assert!(sqlx::query(change).bind(days).execute(&mut conn).await.unwrap().rows_affected() > 0);
    }
    let file = directory.path().join("connwarden.yml");
    std::fs::write(&file, "retention:\n  incidents: {age: 40d}\n").unwrap();
    let daemon =
        Daemon::start(directory.path(), &["--config.file".to_owned(), file.to_str().unwrap().to_owned()])
            .await;
    let emptied = async || {
        let query = "SELECT (SELECT count(*) FROM incidents) + (SELECT count(*) FROM notifications)";
        let left: i64 = sqlx::query_scalar(query).fetch_one(&mut conn).await.unwrap();
        (left == 0).then_some(())
    };
    eventually("that they are deleted", emptied).await;
    assert_eq!(daemon.get("api/v1/incidents").await["incidents"], json!([]));
}

/// What a test has made.
struct World {
    /// Each incident's id, and when it was resolved.
    incidents: Vec<(String, Option<i64>)>,
    /// Each notification's id, when it came and came last, and whether an unresolved incident names it.
    notifications: Vec<(String, i64, i64, bool)>,
}

impl World {
    async fn make(conn: &mut SqliteConnection, random: &mut Random) -> Self {
        let (mut incidents, mut notifications) = (Vec::new(), Vec::new());
        let mut came = 0;
        for key in 0..i64::try_from(random.below(60)).unwrap() {
            let resolved_at = (random.below(3) > 0).then(|| days_ago(random.below(150)));
            insert_incident(conn, key, resolved_at).await;
            let [entries, alerts, snapshots] = [30, 20, 4].map(|most| random.below(most) as i64);
            insert_rows(conn, key, entries, alerts, snapshots).await;
            if random.below(3) == 0 {
                insert_mitigation(conn, key, random.below(12) as i64).await;
            }
            incidents.push((format!("incident-{key}"), resolved_at));
        }
        for serial in 0..random.below(120) {
            came += random.below(3);
            let received_at = days_ago(150_u64.saturating_sub(came));
            let last =
                if random.below(4) == 0 { days_ago(random.below(150 - came.min(149))) } else { received_at };
            let last = last.max(received_at);
            let incident =
                (!incidents.is_empty() && random.below(2) == 0).then(|| random.position(incidents.len()));
            let serial = serial as i64;
            insert_notification(conn, serial, received_at, incident.map(|place| place as i64)).await;
            sqlx::query("UPDATE notifications SET last_seen_at = $1 WHERE notification_id = $2")
                .bind(last)
                .bind(format!("notification-{serial}"))
                .execute(&mut *conn)
                .await
                .unwrap();
            let needed = incident.is_some_and(|place| incidents[place].1.is_none());
            notifications.push((format!("notification-{serial}"), received_at, last, needed));
        }
        Self { incidents, notifications }
    }

    fn incidents_to_keep(&self, keep: Keep) -> BTreeSet<String> {
        let mut resolved: Vec<_> =
            self.incidents.iter().filter_map(|(id, at)| at.map(|at| (at, id.clone()))).collect();
        // the order in which they were made settles a tie
        resolved.sort_by_key(|(at, id)| (*at, id["incident-".len()..].parse::<u64>().unwrap()));
        let excess = (resolved.len() as u64).saturating_sub(keep.count) as usize;
        let gone: BTreeSet<&String> = resolved
            .iter()
            .enumerate()
            .filter(|(place, (at, _))| (*place < excess && *at < young()) || *at < before(keep))
            .map(|(_, (_, id))| id)
            .collect();
        self.incidents.iter().map(|(id, _)| id).filter(|id| !gone.contains(id)).cloned().collect()
    }

    fn notifications_to_keep(&self, keep: Keep) -> BTreeSet<String> {
        let mut excess = (self.notifications.len() as u64).saturating_sub(keep.count);
        let mut kept = BTreeSet::new();
        for (id, _, last, needed) in &self.notifications {
            let gone = !needed && (*last < before(keep) || (excess > 0 && *last < young()));
            if gone {
                excess = excess.saturating_sub(1);
            } else {
                kept.insert(id.clone());
            }
        }
        kept
    }
}

/// Deletes what is to be deleted; how many rows.
async fn retain(app: &TestApp, retention: &Retention) -> u64 {
    let deleted = app.state.engine.retain(retention, &CancellationToken::new()).await.unwrap();
    deleted.values().sum()
}

/// The alert names of all incidents, the newest first.
async fn incidents(app: &TestApp) -> Vec<String> {
    let list = app.get("/api/v1/incidents").await.json();
    let names = list["incidents"].as_array().unwrap().iter();
    names.map(|incident| incident["alert_name"].as_str().unwrap().to_owned()).collect()
}

/// A connection to the database that is not the daemon's.
async fn outsider(directory: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(directory.join("connwarden.db")).connect().await.unwrap()
}
