//! Deletes mitigations with all that belongs to them, and acts from the audit log.
//!
//! A mitigation that has not come to its end is never deleted, and none that guards still look at: what was done within
//! the last seven days decides what may be done next.

use jiff::{SignedDuration, Timestamp};

use crate::store::retention::{BITE, Bite, Candidate, Limits, choose, delete};
use crate::store::{Conn, StoreError, to_i64};

/// For how long guards look back at most.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How many mitigations a transaction deletes.
const MITIGATIONS: i64 = 50;

/// What ended before is no longer looked at by guards.
pub(super) fn remembered(limits: &Limits) -> Timestamp {
    limits.young.saturating_sub(REMEMBERED).unwrap_or(Timestamp::MIN)
}

/// Deletes a few rows of the mitigations without an incident that ended the longest ago. Those of an incident go with it.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.retention.mitigations", level = "debug", skip_all)]
pub async fn bite_of_mitigations(conn: &mut Conn, limits: &Limits) -> Result<Bite, StoreError> {
    let finished: i64 = sqlx::query_scalar(
        "SELECT count(*)
           FROM mitigations
          WHERE incident_key IS NULL AND finished_at IS NOT NULL",
    )
    .fetch_one(&mut *conn)
    .await?;
    let excess = finished.saturating_sub(to_i64(limits.count)).max(0);
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT mitigation_key, finished_at
           FROM mitigations
          WHERE incident_key IS NULL AND finished_at < $1
            AND mitigation_id NOT IN (SELECT subject FROM jobs WHERE state <> 'dead')
          ORDER BY finished_at, mitigation_key
          LIMIT $2",
    )
    .bind(remembered(limits).as_microsecond())
    .bind(MITIGATIONS)
    .fetch_all(&mut *conn)
    .await?;
    let before = limits.before.as_microsecond();
    let doomed: Vec<i64> = (0..)
        .zip(rows)
        .filter(|(place, (_, finished_at))| *place < excess || *finished_at < before)
        .map(|(_, (key, _))| key)
        .collect();
    let mut bite = Bite { next: (!doomed.is_empty()).then_some(0), ..Bite::default() };
    delete_mitigations(conn, &doomed, BITE, &mut bite).await?;
    Ok(bite)
}

/// Deletes a few acts among the first ones after the key `after`, which is 0 at the beginning.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.retention.audit", level = "debug", skip_all)]
pub async fn bite_of_audit(conn: &mut Conn, limits: &Limits, after: i64) -> Result<Bite, StoreError> {
    let total: i64 = sqlx::query_scalar("SELECT count(*) FROM audit").fetch_one(&mut *conn).await?;
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT audit_key, at
           FROM audit
          WHERE audit_key > $1
          ORDER BY audit_key
          LIMIT $2",
    )
    .bind(after)
    .bind(BITE)
    .fetch_all(&mut *conn)
    .await?;
    let candidates = rows.iter().map(|&(key, at)| Candidate { key, from: at, last: at, needed: false });
    let (doomed, next) = choose(candidates, limits, total, rows.len() as i64 == BITE);
    let mut bite = Bite { next, ..Bite::default() };
    bite.add("audit", delete(conn, "DELETE FROM audit WHERE audit_key IN (", &doomed).await?);
    Ok(bite)
}

/// Deletes mitigations, one after another, until about `most` rows are gone; how many more may go. One with many victims
/// takes several bites, and goes with the last.
pub(super) async fn delete_mitigations(
    conn: &mut Conn,
    keys: &[i64],
    most: i64,
    bite: &mut Bite,
) -> Result<i64, StoreError> {
    let mut left = most;
    for key in keys {
        if left <= 0 {
            return Ok(left);
        }
        let victims = sqlx::query(
            "DELETE FROM victims
              WHERE mitigation_key = $1
                AND place IN (SELECT place FROM victims WHERE mitigation_key = $1 ORDER BY place LIMIT $2)",
        )
        .bind(key)
        .bind(left)
        .execute(&mut *conn)
        .await?;
        left -= bite.add("victims", victims.rows_affected());
        if left <= 0 {
            return Ok(left);
        }
        for (table, statement) in [
            (
                "jobs",
                "DELETE FROM jobs
                  WHERE state = 'dead'
                    AND subject = (SELECT mitigation_id FROM mitigations WHERE mitigation_key = $1)",
            ),
            ("mitigation_looks", "DELETE FROM mitigation_looks WHERE mitigation_key = $1"),
            ("mitigations", "DELETE FROM mitigations WHERE mitigation_key = $1"),
        ] {
            let done = sqlx::query(statement).bind(key).execute(&mut *conn).await?;
            left -= bite.add(table, done.rows_affected());
        }
    }
    Ok(left)
}
