//! Settings that connwarden makes itself and must remember.

use crate::store::{Conn, StoreError};

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
