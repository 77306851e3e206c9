//! The room that the database takes on the disk: pages that are free are given back, in bites too.

use crate::store::{Conn, Store, StoreError};

/// How many pages a transaction gives back.
const BITE: i64 = 500;

/// How many free pages are kept for what comes next.
const SPARE: i64 = 256;

/// Gives back a few free pages, if there are many; whether there are still.
///
/// # Errors
///
/// The database refused.
pub async fn give_back(conn: &mut Conn) -> Result<bool, StoreError> {
    let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *conn).await?;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *conn).await?;
    if free <= SPARE.max(pages / 10) {
        return Ok(false);
    }
    // as many as in BITE; SQLite takes no parameter here
    sqlx::query("PRAGMA incremental_vacuum(500)").execute(&mut *conn).await?;
    let left: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(conn).await?;
    // a database that was made otherwise gives nothing back
    Ok(left < free && left > SPARE.max((pages - BITE) / 10))
}

impl Store {
    /// Writes the write-ahead log into the database, as far as nobody reads what is in it.
    ///
    /// # Errors
    ///
    /// The database refused.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        self.writer.execute("PRAGMA wal_checkpoint(PASSIVE)").await
    }
}
