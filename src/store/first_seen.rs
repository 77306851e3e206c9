//! What was seen when for the first time, by cluster and dimension.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::QueryBuilder;

use crate::model::breakdown::Dimension;
use crate::model::first_seen::FirstSeen;
use crate::store::{Conn, StoreError, instant, parse, portions};

/// How many keys a statement writes.
const PORTION: usize = 64;

/// Notes that keys were seen at `at`; of those that are new, that they were not there at `not_seen_at`.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.first_seen.note", level = "debug", skip_all, fields(%cluster, %dimension))]
pub async fn note(
    conn: &mut Conn,
    cluster: &str,
    dimension: Dimension,
    keys: &[&str],
    at: Timestamp,
    not_seen_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let at = at.as_microsecond();
    // a clock that was set back makes nothing new
    let not_seen_at = not_seen_at.map(Timestamp::as_microsecond).filter(|not_seen_at| *not_seen_at < at);
    for portion in keys.chunks(PORTION) {
        let mut query = QueryBuilder::new(
            "INSERT INTO first_seen (cluster, dimension, key, first_seen_at, not_seen_at, last_seen_at) ",
        );
        query.push_values(portion, |mut row, key| {
            row.push_bind(cluster)
                .push_bind(dimension.name())
                .push_bind(*key)
                .push_bind(at)
                .push_bind(not_seen_at)
                .push_bind(at);
        });
        query.push(
            " ON CONFLICT (cluster, dimension, key) DO UPDATE
                 SET last_seen_at = excluded.last_seen_at",
        );
        query.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Finds when keys were first seen; those that never were are left out.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find(
    conn: &mut Conn,
    cluster: &str,
    dimension: Dimension,
    keys: &[&str],
) -> Result<BTreeMap<String, FirstSeen>, StoreError> {
    let mut found = BTreeMap::new();
    for portion in portions(keys) {
        let mut query = QueryBuilder::new(
            "SELECT key, first_seen_at, not_seen_at
               FROM first_seen
              WHERE cluster = ",
        );
        query.push_bind(cluster).push(" AND dimension = ").push_bind(dimension.name()).push(" AND key IN (");
        let mut list = query.separated(", ");
        for key in portion.padded() {
            list.push_bind(key.copied());
        }
        query.push(")");
        let rows: Vec<(String, i64, Option<i64>)> = query.build_query_as().fetch_all(&mut *conn).await?;
        for (key, at, not_seen_at) in rows {
            let at = instant("first_seen", "first_seen_at", at)?;
            let not_seen_at = not_seen_at.map(|at| instant("first_seen", "not_seen_at", at)).transpose()?;
            found.insert(key, FirstSeen { at, not_seen_at });
        }
    }
    Ok(found)
}

/// Lists when a look last saw every key of each dimension.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_whole_looks(
    conn: &mut Conn,
    cluster: &str,
) -> Result<BTreeMap<Dimension, Timestamp>, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as("SELECT dimension, at FROM whole_looks WHERE cluster = $1")
        .bind(cluster)
        .fetch_all(conn)
        .await?;
    let read = |(dimension, at): (String, i64)| {
        let dimension = parse("whole_looks", "dimension", &dimension, |text| text.parse().ok())?;
        Ok((dimension, instant("whole_looks", "at", at)?))
    };
    rows.into_iter().map(read).collect()
}

/// Notes that the look of `at` has seen every key of a dimension.
///
/// # Errors
///
/// The database refused.
pub async fn save_whole_look(
    conn: &mut Conn,
    cluster: &str,
    dimension: Dimension,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO whole_looks (cluster, dimension, at)
         VALUES ($1, $2, $3)
             ON CONFLICT (cluster, dimension) DO UPDATE
            SET at = excluded.at",
    )
    .bind(cluster)
    .bind(dimension.name())
    .bind(at.as_microsecond())
    .execute(conn)
    .await?;
    Ok(())
}
