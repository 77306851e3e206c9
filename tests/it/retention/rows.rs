//! Rows as a daemon would have written them at some time, put in from outside.

use connwarden::model::retention::Keep;
use jiff::{SignedDuration, Timestamp};
use sqlx::SqliteConnection;

use crate::harness::test_app::START;

pub(super) fn now() -> Timestamp {
    START.parse().unwrap()
}

pub(super) fn days_ago(days: u64) -> i64 {
    (now() - SignedDuration::from_hours(24 * days as i64 + 2)).as_microsecond()
}

pub(super) fn before(keep: Keep) -> i64 {
    (now() - SignedDuration::try_from(keep.age).unwrap()).as_microsecond()
}

pub(super) fn young() -> i64 {
    (now() - SignedDuration::from_hours(1)).as_microsecond()
}

pub(super) async fn insert_incident(conn: &mut SqliteConnection, key: i64, resolved_at: Option<i64>) {
    sqlx::query(
        "INSERT INTO incidents
                (incident_key, incident_id, identity, subject, alert_name, state, resolution, resolved_at, reopened,
                 opened_at, updated_at)
         VALUES ($1, 'incident-' || $1, 'identity-' || $1, 'nats', 'Alert' || $1,
                 CASE WHEN $2 IS NULL THEN 'triggered' ELSE 'resolved' END,
                 CASE WHEN $2 IS NULL THEN NULL ELSE 'unverified' END, $2, 0, 0, 0)",
    )
    .bind(key)
    .bind(resolved_at)
    .execute(conn)
    .await
    .unwrap();
}

/// Adds entries, members, and snapshots with one breakdown each.
pub(super) async fn insert_rows(
    conn: &mut SqliteConnection,
    incident: i64,
    entries: i64,
    alerts: i64,
    snapshots: i64,
) {
    for (count, statement) in [
        (
            entries,
            "INSERT INTO entries (incident_key, at, actor, kind, text)
             SELECT $1, 0, 'somebody', 'opened', 'text ' || serial FROM serials",
        ),
        (
            alerts,
            "INSERT INTO alerts
                    (incident_key, fingerprint, generation, flaps, status, starts_at, ended_at, labels, annotations,
                     generator_url, first_seen_at, last_seen_at)
             SELECT $1, 'f' || serial, 1, 0, 'resolved', 0, 0, '{}', '{}', '', 0, 0 FROM serials",
        ),
        (
            snapshots,
            "INSERT INTO snapshots
                    (snapshot_id, incident_key, cluster, taken_at, seen, total, complete, coverage)
             SELECT 'snapshot-' || $1 || '-' || serial, $1, 'nats', 0, 0, 0, 1, '{}' FROM serials",
        ),
    ] {
        let serials = "WITH RECURSIVE serials (serial) AS (SELECT 1 UNION ALL SELECT serial + 1 FROM serials WHERE serial < $2)";
        if count > 0 {
            let statement = sqlx::AssertSqlSafe(format!("{serials} {statement}"));
            sqlx::query(statement).bind(incident).bind(count).execute(&mut *conn).await.unwrap();
        }
    }
    sqlx::query(
        "INSERT INTO breakdowns (snapshot_key, grouped_by, format, document)
         SELECT snapshot_key, 'name', 1, x'00' FROM snapshots WHERE incident_key = $1",
    )
    .bind(incident)
    .execute(conn)
    .await
    .unwrap();
}

/// Adds a mitigation of an incident that is over for long, with one look.
pub(super) async fn insert_mitigation(conn: &mut SqliteConnection, incident: i64, victims: i64) {
    for statement in [
        "INSERT INTO mitigations
                (mitigation_key, mitigation_id, incident_key, cluster, action, target, digest, state, planned_by,
                 planned_at, finished_at, victim_count, state_data, plan)
         VALUES ($1, 'mitigation-' || $1, $1, 'nats', 'kick', '{}', '', 'expired', 'ann', 0, 0, $2, '{}', '{}')",
        "WITH RECURSIVE serials (serial) AS (SELECT 1 UNION ALL SELECT serial + 1 FROM serials WHERE serial < $2)
         INSERT INTO victims (mitigation_key, place, server_id, cid, start, state, at, known)
         SELECT $1, serial, 'NA', serial, '', 'pending', 0, '{}' FROM serials WHERE serial <= $2",
        "INSERT INTO mitigation_looks (mitigation_key, after_ms, document) VALUES ($1, 0 * $2, '{}')",
    ] {
        sqlx::query(statement).bind(incident).bind(victims).execute(&mut *conn).await.unwrap();
    }
}

pub(super) async fn insert_notification(
    conn: &mut SqliteConnection,
    serial: i64,
    received_at: i64,
    incident: Option<i64>,
) {
    sqlx::query(
        "INSERT INTO notifications
                (notification_id, received_at, sender, receiver, group_key, alert_count, truncated_alerts, digest,
                 body_size_bytes, body, seen_count, last_seen_at)
         VALUES ('notification-' || $1, $2, '', '', '', 1, 0, 'digest-' || $1, 1, x'00', 1, $2)",
    )
    .bind(serial)
    .bind(received_at)
    .execute(&mut *conn)
    .await
    .unwrap();
    if let Some(incident) = incident {
        sqlx::query(
            "INSERT INTO entries (incident_key, at, actor, kind, text, notification_id)
             VALUES ($1, 0, '', 'opened', '', 'notification-' || $2)",
        )
        .bind(incident)
        .bind(serial)
        .execute(conn)
        .await
        .unwrap();
    }
}

/// Every row that an unresolved incident has.
pub(super) async fn dump_unresolved(conn: &mut SqliteConnection) -> Vec<String> {
    let unresolved = "(SELECT incident_key FROM incidents WHERE state <> 'resolved')";
    let mut rows = Vec::new();
    for (columns, rest) in [
        ("incident_id || state || updated_at", "incidents WHERE state <> 'resolved'".to_owned()),
        ("entry_key || text", format!("entries WHERE incident_key IN {unresolved}")),
        ("alert_key || fingerprint", format!("alerts WHERE incident_key IN {unresolved}")),
        ("snapshot_id", format!("snapshots WHERE incident_key IN {unresolved}")),
        (
            "snapshot_key || grouped_by || hex(document)",
            format!(
                "breakdowns WHERE snapshot_key IN (SELECT snapshot_key FROM snapshots WHERE incident_key IN {unresolved})"
            ),
        ),
        ("mitigation_id || state || plan", format!("mitigations WHERE incident_key IN {unresolved}")),
        ("mitigation_key || '/' || place || state", format!("victims WHERE mitigation_key IN {unresolved}")),
        ("mitigation_key || document", format!("mitigation_looks WHERE mitigation_key IN {unresolved}")),
        (
            "notification_id || seen_count || hex(body)",
            format!(
                "notifications WHERE notification_id IN (SELECT notification_id FROM entries WHERE incident_key IN {unresolved})"
            ),
        ),
    ] {
        let query = sqlx::AssertSqlSafe(format!("SELECT {columns} FROM {rest} ORDER BY 1"));
        rows.extend(sqlx::query_scalar::<_, String>(query).fetch_all(&mut *conn).await.unwrap());
    }
    rows
}

pub(super) async fn texts(conn: &mut SqliteConnection, query: &'static str) -> Vec<String> {
    sqlx::query_scalar(query).fetch_all(conn).await.unwrap()
}
