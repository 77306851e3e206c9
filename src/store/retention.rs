//! Deletes what has been kept long enough, in bites: one transaction deletes a few rows, and others get their turn.
//!
//! What an unresolved incident has is not touched: not the incident, not what belongs to it, not a notification that
//! its timeline names. A table that refers to incidents must be added to [`bite_of_incidents`]; a foreign key that is
//! forgotten here makes it fail.

mod mitigations;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

use crate::store::{Conn, StoreError, to_i64};

pub use crate::store::retention::mitigations::{bite_of_audit, bite_of_mitigations};

/// How many rows a transaction deletes, about.
pub const BITE: i64 = 500;

/// How many incidents a transaction deletes.
const INCIDENTS: i64 = 50;

/// How many snapshots a transaction deletes: each has a dozen breakdowns or two.
const SNAPSHOTS: i64 = 25;

/// What is too old, and what is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What is from before goes.
    pub before: Timestamp,
    /// Of more than this, the oldest go.
    pub count: u64,
    /// What is younger stays, however much there is.
    pub young: Timestamp,
}

/// What a transaction has deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bite {
    /// Rows, by table.
    pub deleted: Vec<(&'static str, u64)>,
    /// Where the next bite begins; `None` if there is nothing more to delete.
    pub next: Option<i64>,
}

impl Bite {
    /// Rows of one table; if there were any, there may be more.
    pub(super) fn of(table: &'static str, rows: u64) -> Self {
        let mut bite = Self::default();
        if bite.add(table, rows) > 0 {
            bite.next = Some(0);
        }
        bite
    }

    fn add(&mut self, table: &'static str, rows: u64) -> i64 {
        match self.deleted.iter_mut().find(|(of, _)| *of == table) {
            Some((_, deleted)) => *deleted += rows,
            None if rows > 0 => self.deleted.push((table, rows)),
            None => {}
        }
        to_i64(rows)
    }
}

/// Deletes a few notifications among the first ones after the key `after`, which is 0 at the beginning.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.retention.notifications", level = "debug", skip_all)]
pub async fn bite_of_notifications(conn: &mut Conn, limits: &Limits, after: i64) -> Result<Bite, StoreError> {
    let total: i64 = sqlx::query_scalar("SELECT count(*) FROM notifications").fetch_one(&mut *conn).await?;
    // what an unresolved incident names in its timeline is needed
    let rows: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT notification_key, received_at, last_seen_at,
                CASE WHEN EXISTS (SELECT 1
                                    FROM entries
                                    JOIN incidents ON incidents.incident_key = entries.incident_key
                                   WHERE entries.notification_id = notifications.notification_id
                                     AND incidents.state <> 'resolved')
                     THEN 1 ELSE 0 END
           FROM notifications
          WHERE notification_key > $1
          ORDER BY notification_key
          LIMIT $2",
    )
    .bind(after)
    .bind(BITE)
    .fetch_all(&mut *conn)
    .await?;
    let candidates = rows.iter().map(|&(key, received_at, last_seen_at, needed)| Candidate {
        key,
        from: received_at,
        last: last_seen_at,
        needed: needed != 0,
    });
    let (doomed, next) = choose(candidates, limits, total, rows.len() as i64 == BITE);
    let mut bite = Bite { next, ..Bite::default() };
    bite.add(
        "notifications",
        delete(conn, "DELETE FROM notifications WHERE notification_key IN (", &doomed).await?,
    );
    Ok(bite)
}

/// Deletes a few snapshots of resolved incidents among the first ones after the key `after`, which is 0 at the
/// beginning.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.retention.snapshots", level = "debug", skip_all)]
pub async fn bite_of_snapshots(conn: &mut Conn, limits: &Limits, after: i64) -> Result<Bite, StoreError> {
    let total: i64 = sqlx::query_scalar("SELECT count(*) FROM snapshots").fetch_one(&mut *conn).await?;
    let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
        "SELECT snapshots.snapshot_key, snapshots.taken_at,
                CASE WHEN incidents.state <> 'resolved' THEN 1 ELSE 0 END
           FROM snapshots
           JOIN incidents ON incidents.incident_key = snapshots.incident_key
          WHERE snapshots.snapshot_key > $1
          ORDER BY snapshots.snapshot_key
          LIMIT $2",
    )
    .bind(after)
    .bind(SNAPSHOTS)
    .fetch_all(&mut *conn)
    .await?;
    let candidates = rows.iter().map(|&(key, taken_at, needed)| Candidate {
        key,
        from: taken_at,
        last: taken_at,
        needed: needed != 0,
    });
    let (doomed, next) = choose(candidates, limits, total, rows.len() as i64 == SNAPSHOTS);
    let mut bite = Bite { next, ..Bite::default() };
    delete_snapshots(conn, &doomed, &mut bite).await?;
    Ok(bite)
}

/// Deletes a few changes among those that happened first. They belong to no incident, so none keeps them.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.retention.changes", level = "debug", skip_all)]
pub async fn bite_of_changes(conn: &mut Conn, limits: &Limits) -> Result<Bite, StoreError> {
    let total: i64 = sqlx::query_scalar("SELECT count(*) FROM changes").fetch_one(&mut *conn).await?;
    let excess = total.saturating_sub(to_i64(limits.count)).max(0);
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT change_key, at
           FROM changes
          WHERE at < $1
          ORDER BY at, change_key
          LIMIT $2",
    )
    .bind(limits.young.as_microsecond())
    .bind(BITE)
    .fetch_all(&mut *conn)
    .await?;
    let more = rows.len() as i64 == BITE;
    let before = limits.before.as_microsecond();
    let doomed: Vec<i64> = (0..)
        .zip(rows)
        .filter(|(place, (_, at))| *place < excess || *at < before)
        .map(|(_, (key, _))| key)
        .collect();
    let mut bite = Bite { next: (more && doomed.len() as i64 == BITE).then_some(0), ..Bite::default() };
    bite.add("changes", delete(conn, "DELETE FROM changes WHERE change_key IN (", &doomed).await?);
    Ok(bite)
}

/// Deletes a few rows of the incidents that have been resolved the longest. An incident with many rows takes several
/// bites, and goes with the last.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.retention.incidents", level = "debug", skip_all)]
pub async fn bite_of_incidents(conn: &mut Conn, limits: &Limits) -> Result<Bite, StoreError> {
    let mut bite = Bite::default();
    let resolved: i64 = sqlx::query_scalar("SELECT count(*) FROM incidents WHERE state = 'resolved'")
        .fetch_one(&mut *conn)
        .await?;
    let excess = resolved.saturating_sub(to_i64(limits.count)).max(0);
    // an incident with work to do is kept, and one that a person has ended while its alerts went on to fire: as long as
    // they are repeated, without it they would be news; and one whose mitigations are not over, or were a short while ago
    let doomed: Vec<(i64, String, i64)> = sqlx::query_as(
        "SELECT incident_key, incident_id, resolved_at
           FROM incidents
          WHERE state = 'resolved' AND resolved_at < $1
            AND incident_id NOT IN (SELECT subject FROM jobs WHERE state <> 'dead')
            AND (incident_key NOT IN (SELECT incident_key FROM alerts WHERE status = 'firing')
                 OR NOT EXISTS (SELECT 1
                                  FROM entries
                                  JOIN notifications
                                    ON notifications.notification_id = entries.notification_id
                                 WHERE entries.incident_key = incidents.incident_key
                                   AND notifications.last_seen_at >= $2))
            AND NOT EXISTS (SELECT 1
                              FROM mitigations
                             WHERE mitigations.incident_key = incidents.incident_key
                               AND (mitigations.finished_at IS NULL OR mitigations.finished_at >= $3))
          ORDER BY resolved_at, incident_key
          LIMIT $4",
    )
    .bind(limits.young.as_microsecond())
    .bind(limits.before.as_microsecond())
    .bind(mitigations::remembered(limits).as_microsecond())
    .bind(INCIDENTS)
    .fetch_all(&mut *conn)
    .await?;
    let before = limits.before.as_microsecond();
    let doomed: Vec<_> = (0..)
        .zip(doomed)
        .filter(|(place, (_, _, resolved_at))| *place < excess || *resolved_at < before)
        .map(|(_, (key, id, _))| (key, id))
        .collect();
    if doomed.is_empty() {
        return Ok(bite);
    }
    // whatever is deleted, there may be more
    bite.next = Some(0);
    let keys: Vec<i64> = doomed.iter().map(|(key, _)| *key).collect();
    let mut left = BITE;

    let snapshots = "SELECT snapshot_key FROM snapshots WHERE incident_key IN (";
    let snapshots = select(conn, snapshots, &keys, "ORDER BY snapshot_key", SNAPSHOTS).await?;
    delete_snapshots(conn, &snapshots, &mut bite).await?;
    if snapshots.len() as i64 == SNAPSHOTS {
        return Ok(bite);
    }
    let mitigations = "SELECT mitigation_key FROM mitigations WHERE incident_key IN (";
    let mitigations = select(conn, mitigations, &keys, "ORDER BY incident_key, mitigation_key", left).await?;
    left = mitigations::delete_mitigations(conn, &mitigations, left, &mut bite).await?;
    if left <= 0 {
        return Ok(bite);
    }
    let entries = "SELECT entry_key FROM entries WHERE incident_key IN (";
    let entries = select(conn, entries, &keys, "ORDER BY incident_key, entry_key", left).await?;
    left -= bite.add("entries", delete(conn, "DELETE FROM entries WHERE entry_key IN (", &entries).await?);
    if left <= 0 {
        return Ok(bite);
    }
    let alerts = "SELECT alert_key FROM alerts WHERE incident_key IN (";
    let alerts = select(conn, alerts, &keys, "ORDER BY incident_key, alert_key", left).await?;
    left -= bite.add("alerts", delete(conn, "DELETE FROM alerts WHERE alert_key IN (", &alerts).await?);
    if left <= 0 {
        return Ok(bite);
    }
    let mut jobs = QueryBuilder::<Sqlite>::new("DELETE FROM jobs WHERE subject IN (");
    let mut list = jobs.separated(", ");
    for (_, id) in &doomed {
        list.push_bind(id);
    }
    jobs.push(")");
    bite.add("jobs", jobs.build().execute(&mut *conn).await?.rows_affected());
    for (table, statement) in [
        ("findings", "DELETE FROM findings WHERE incident_key IN ("),
        ("culprits", "DELETE FROM culprits WHERE incident_key IN ("),
    ] {
        bite.add(table, delete(conn, statement, &keys).await?);
    }
    bite.add("incidents", delete(conn, "DELETE FROM incidents WHERE incident_key IN (", &keys).await?);
    Ok(bite)
}

/// A row that may go.
struct Candidate {
    key: i64,
    /// When it came; later rows have later ones, as far as the clock was right.
    from: i64,
    /// When it was last of use.
    last: i64,
    needed: bool,
}

/// Chooses the rows that go, and says where the next bite begins.
fn choose(
    candidates: impl Iterator<Item = Candidate>,
    limits: &Limits,
    total: i64,
    more: bool,
) -> (Vec<i64>, Option<i64>) {
    let (before, young) = (limits.before.as_microsecond(), limits.young.as_microsecond());
    let mut excess = total.saturating_sub(to_i64(limits.count)).max(0);
    let (mut doomed, mut next) = (Vec::new(), None);
    for candidate in candidates {
        if excess == 0 && candidate.from >= before {
            // whatever follows is younger
            return (doomed, None);
        }
        next = more.then_some(candidate.key);
        let too_old = candidate.last < before;
        let too_much = excess > 0 && candidate.last < young;
        if !candidate.needed && (too_old || too_much) {
            doomed.push(candidate.key);
            excess = (excess - 1).max(0);
        }
    }
    (doomed, next)
}

async fn delete_snapshots(conn: &mut Conn, keys: &[i64], bite: &mut Bite) -> Result<(), StoreError> {
    let names = delete(conn, "DELETE FROM address_names WHERE snapshot_key IN (", keys).await?;
    bite.add("address_names", names);
    bite.add("diagnoses", delete(conn, "DELETE FROM diagnoses WHERE snapshot_key IN (", keys).await?);
    let breakdowns = delete(conn, "DELETE FROM breakdowns WHERE snapshot_key IN (", keys).await?;
    bite.add("breakdowns", breakdowns);
    bite.add("snapshots", delete(conn, "DELETE FROM snapshots WHERE snapshot_key IN (", keys).await?);
    Ok(())
}

/// Selects keys by a list of others.
async fn select(
    conn: &mut Conn,
    statement: &'static str,
    keys: &[i64],
    order: &'static str,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    let mut query = with_keys(statement, keys);
    query.push(" ").push(order).push(" LIMIT ").push_bind(limit);
    Ok(query.build_query_scalar().fetch_all(conn).await?)
}

/// Deletes by a list of keys; how many rows went.
pub(super) async fn delete(
    conn: &mut Conn,
    statement: &'static str,
    keys: &[i64],
) -> Result<u64, StoreError> {
    if keys.is_empty() {
        return Ok(0);
    }
    Ok(with_keys(statement, keys).build().execute(conn).await?.rows_affected())
}

fn with_keys(statement: &'static str, keys: &[i64]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(statement);
    let mut list = query.separated(", ");
    for key in keys {
        list.push_bind(*key);
    }
    query.push(")");
    query
}
