//! Deletes samples that are no longer needed, fewer and fewer being kept with age, and what has not been seen for long.

use jiff::Timestamp;

use crate::model::sampling::THINNING;
use crate::store::retention::{BITE, Bite, delete};
use crate::store::{Conn, StoreError, to_i64};

/// How many keys of a dimension of a cluster are remembered.
pub const KEYS_REMEMBERED: i64 = 20_000;

/// How long a key is remembered that is not seen again, in microseconds: a year.
const FORGOTTEN_AFTER_US: i64 = 366 * 86_400 * 1_000_000;

/// Deletes a few samples: those from before `before`, and those that are not the first of their stretch of time.
///
/// A sample that others are compressed with stays until they are gone.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.thinning.baselines", level = "debug", skip_all)]
pub async fn bite_of_baselines(
    conn: &mut Conn,
    now: Timestamp,
    before: Timestamp,
) -> Result<Bite, StoreError> {
    let mut doomed: Vec<i64> = sqlx::query_scalar(
        "SELECT baseline_key
           FROM baselines
          WHERE at < $1
            AND NOT EXISTS (SELECT 1 FROM baselines dependent WHERE dependent.base_key = baselines.baseline_key)
          ORDER BY baseline_key
          LIMIT $2",
    )
    .bind(before.as_microsecond())
    .bind(BITE)
    .fetch_all(&mut *conn)
    .await?;
    let mut until = i64::MIN;
    for thinning in THINNING.iter().rev() {
        if !doomed.is_empty() {
            break;
        }
        let (from, width) = (until, microseconds(thinning.width));
        until = now.as_microsecond().saturating_sub(microseconds(thinning.age));
        doomed = sqlx::query_scalar(
            "SELECT baseline_key
               FROM baselines
              WHERE at >= $1 AND at < $2
                AND EXISTS (SELECT 1
                              FROM baselines earlier
                             WHERE earlier.cluster = baselines.cluster
                               AND earlier.at >= baselines.at - baselines.at % $3
                               AND earlier.at < baselines.at)
                AND NOT EXISTS (SELECT 1 FROM baselines dependent WHERE dependent.base_key = baselines.baseline_key)
              ORDER BY baseline_key
              LIMIT $4",
        )
        .bind(from)
        .bind(until)
        .bind(width)
        .bind(BITE)
        .fetch_all(&mut *conn)
        .await?;
    }
    let deleted = delete(conn, "DELETE FROM baselines WHERE baseline_key IN (", &doomed).await?;
    Ok(Bite::of("baselines", deleted))
}

/// Forgets a few keys: those that have not been seen for a year, and of a dimension with too many the ones that have
/// not been seen for the longest.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.thinning.first_seen", level = "debug", skip_all)]
pub async fn bite_of_first_seen(conn: &mut Conn, now: Timestamp) -> Result<Bite, StoreError> {
    let dimensions: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "SELECT cluster, dimension, count(*), min(last_seen_at)
           FROM first_seen
          GROUP BY cluster, dimension",
    )
    .fetch_all(&mut *conn)
    .await?;
    let before = now.as_microsecond().saturating_sub(FORGOTTEN_AFTER_US);
    for (cluster, dimension, count, oldest) in dimensions {
        let excess = (count - KEYS_REMEMBERED).max(0);
        if excess == 0 && oldest >= before {
            continue;
        }
        let keys: Vec<(String, i64)> = sqlx::query_as(
            "SELECT key, last_seen_at
               FROM first_seen
              WHERE cluster = $1 AND dimension = $2
              ORDER BY last_seen_at, key
              LIMIT $3",
        )
        .bind(&cluster)
        .bind(&dimension)
        .bind(BITE)
        .fetch_all(&mut *conn)
        .await?;
        let mut deleted = 0;
        for (_, (key, _)) in (0..).zip(keys).filter(|(place, (_, last))| *place < excess || *last < before) {
            let done = sqlx::query(
                "DELETE FROM first_seen
                  WHERE cluster = $1 AND dimension = $2 AND key = $3",
            )
            .bind(&cluster)
            .bind(&dimension)
            .bind(key)
            .execute(&mut *conn)
            .await?;
            deleted += to_i64(done.rows_affected());
        }
        return Ok(Bite::of("first_seen", u64::try_from(deleted).unwrap_or(0)));
    }
    Ok(Bite::default())
}

fn microseconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
