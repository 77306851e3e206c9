//! Settings that connwarden makes itself and must remember.

use crate::store::{Conn, StoreError};

/// The setting that tells this connwarden from others: made once per storage directory, and in no copy of it.
pub const INSTANCE_ID: &str = "instance_id";

/// Finds a setting.
///
/// # Errors
///
/// The database refused.
pub async fn find(conn: &mut Conn, name: &str) -> Result<Option<String>, StoreError> {
    let value = sqlx::query_scalar(
        "SELECT value
           FROM settings
          WHERE name = $1",
    )
    .bind(name)
    .fetch_optional(conn)
    .await?;
    Ok(value)
}

/// Remembers a setting that was not there before.
///
/// # Errors
///
/// The database refused.
pub async fn insert(conn: &mut Conn, name: &str, value: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO settings (name, value)
         VALUES ($1, $2)",
    )
    .bind(name)
    .bind(value)
    .execute(conn)
    .await?;
    Ok(())
}

/// The setting that is written to see whether something can be written.
const TRIAL: &str = "write_trial";

/// How much is written to see it: as much as a large notification, not a bit for which there happens to be room.
const TRIAL_BYTES: usize = 256 << 10;

/// Writes something.
///
/// # Errors
///
/// The database refused.
pub async fn save_trial(conn: &mut Conn) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO settings (name, value)
         VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE
            SET value = excluded.value",
    )
    .bind(TRIAL)
    .bind(" ".repeat(TRIAL_BYTES))
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes back what [`save_trial`] has written.
///
/// # Errors
///
/// The database refused.
pub async fn delete_trial(conn: &mut Conn) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM settings
          WHERE name = $1",
    )
    .bind(TRIAL)
    .execute(conn)
    .await?;
    Ok(())
}
