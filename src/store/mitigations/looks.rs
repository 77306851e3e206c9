//! How the cluster looked before the first victim of a run, and after the last. Each is a document of whoever judges.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::ids::MitigationId;
use crate::store::{Conn, StoreError, from_json, to_i64, to_json};

/// Where the look before the first victim stands among the looks.
const BEFORE: i64 = 0;

/// Keeps how the cluster looked before the first victim.
///
/// # Errors
///
/// [`StoreError::Conflict`] if the mitigation is not there; the database refused, also if that is kept already.
pub async fn save_before(
    conn: &mut Conn,
    mitigation: MitigationId,
    before: &impl Serialize,
) -> Result<(), StoreError> {
    insert(conn, mitigation, BEFORE, to_json(before)).await
}

/// Finds how the cluster looked before the first victim.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find_before<T: DeserializeOwned>(
    conn: &mut Conn,
    mitigation: MitigationId,
) -> Result<Option<T>, StoreError> {
    let document: Option<String> = sqlx::query_scalar(
        "SELECT document
           FROM mitigation_looks
          WHERE mitigation_key = (SELECT mitigation_key FROM mitigations WHERE mitigation_id = $1)
            AND after_ms = $2",
    )
    .bind(mitigation.to_string())
    .bind(BEFORE)
    .fetch_optional(conn)
    .await?;
    document.map(|document| from_json("mitigation_looks", "document", &document)).transpose()
}

/// Keeps how the cluster looked so long after the last victim: at least a millisecond.
///
/// # Errors
///
/// [`StoreError::Conflict`] if the mitigation is not there; the database refused, also if there is a look of that time.
pub async fn save_look(
    conn: &mut Conn,
    mitigation: MitigationId,
    after: Duration,
    look: &impl Serialize,
) -> Result<(), StoreError> {
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    insert(conn, mitigation, to_i64(after_ms).max(BEFORE + 1), to_json(look)).await
}

/// Lists how the cluster looked after the last victim, the first look first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_looks<T: DeserializeOwned>(
    conn: &mut Conn,
    mitigation: MitigationId,
) -> Result<Vec<T>, StoreError> {
    let documents: Vec<String> = sqlx::query_scalar(
        "SELECT document
           FROM mitigation_looks
          WHERE mitigation_key = (SELECT mitigation_key FROM mitigations WHERE mitigation_id = $1)
            AND after_ms > $2
          ORDER BY after_ms",
    )
    .bind(mitigation.to_string())
    .bind(BEFORE)
    .fetch_all(conn)
    .await?;
    documents.iter().map(|document| from_json("mitigation_looks", "document", document)).collect()
}

async fn insert(
    conn: &mut Conn,
    mitigation: MitigationId,
    after_ms: i64,
    document: String,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "INSERT INTO mitigation_looks (mitigation_key, after_ms, document)
         SELECT mitigation_key, $1, $2
           FROM mitigations
          WHERE mitigation_id = $3",
    )
    .bind(after_ms)
    .bind(document)
    .bind(mitigation.to_string())
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict("mitigation")) }
}
