//! Pauses: while there is one, no mitigation runs.

use crate::model::pause::Pause;
use crate::store::{Conn, StoreError, instant};

/// Begins a pause, or writes anew who paused the same and why.
///
/// # Errors
///
/// [`StoreError::Conflict`] with `pause` if one of that name is about something else: it would end unseen.
#[tracing::instrument(name = "store.pauses.save", skip_all)]
pub async fn save(conn: &mut Conn, pause: &Pause) -> Result<(), StoreError> {
    let done = sqlx::query(
        "INSERT INTO pauses (name, cluster, reason, paused_by, paused_at)
         VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (name) DO UPDATE
            SET reason = excluded.reason, paused_by = excluded.paused_by, paused_at = excluded.paused_at
          WHERE pauses.cluster IS NOT DISTINCT FROM excluded.cluster",
    )
    .bind(&pause.name)
    .bind(&pause.cluster)
    .bind(&pause.reason)
    .bind(&pause.paused_by)
    .bind(pause.paused_at.as_microsecond())
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict("pause")) }
}

/// Ends a pause; whether there was one of that name.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.pauses.delete", skip_all)]
pub async fn delete(conn: &mut Conn, name: &str) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM pauses WHERE name = $1").bind(name).execute(conn).await?;
    Ok(done.rows_affected() > 0)
}

/// Lists all pauses, the first one first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list(conn: &mut Conn) -> Result<Vec<Pause>, StoreError> {
    let rows: Vec<(String, Option<String>, String, String, i64)> = sqlx::query_as(
        "SELECT name, cluster, reason, paused_by, paused_at
           FROM pauses
          ORDER BY paused_at, name",
    )
    .fetch_all(conn)
    .await?;
    let read = |(name, cluster, reason, paused_by, paused_at)| {
        Ok(Pause { name, cluster, reason, paused_by, paused_at: instant("pauses", "paused_at", paused_at)? })
    };
    rows.into_iter().map(read).collect()
}
