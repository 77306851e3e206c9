//! Writes: statements that are made ready one by one, each while the database works on the one before.
//!
//! The database has a thread of its own, and whoever has many rows to write would else stand still while it works, and
//! it while the next rows are gathered.

use crate::store::portions::Statement;
use crate::store::{Conn, StoreError};

/// A statement that changes rows.
#[derive(Debug)]
pub struct Write {
    statement: Statement,
    expected: Option<Expected>,
}

/// How many rows a statement changes if everything is as it was thought to be.
#[derive(Debug)]
struct Expected {
    rows: u64,
    /// What is not so otherwise.
    of: &'static str,
}

impl Write {
    /// Changes as many rows as it finds.
    pub(super) fn any(statement: Statement) -> Self {
        Self { statement, expected: None }
    }

    /// Changes this many rows; a conflict about `of` if they are not there to be changed.
    pub(super) fn exactly(rows: u64, of: &'static str, statement: Statement) -> Self {
        Self { statement, expected: Some(Expected { rows, of }) }
    }
}

/// Executes writes, in order.
///
/// # Errors
///
/// The database refused; [`StoreError::Conflict`] if what was to be changed is not there, or not as it was.
pub async fn execute_each(
    conn: &mut Conn,
    writes: impl IntoIterator<Item = Write, IntoIter: Send>,
) -> Result<(), StoreError> {
    let mut writes = writes.into_iter();
    let mut next = writes.next();
    while let Some(Write { statement, expected }) = next {
        // the first is handed to the database's thread before the second begins
        let (done, following) =
            tokio::join!(biased; statement.query().execute(&mut *conn), async { writes.next() });
        let changed = done?.rows_affected();
        if let Some(expected) = expected
            && changed != expected.rows
        {
            return Err(StoreError::Conflict(expected.of));
        }
        next = following;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::portions::portions;

    /// Adds rows with these keys; of one key they cannot be two.
    fn inserts(keys: &[i64]) -> impl Iterator<Item = Write> {
        portions(keys).map(|portion| {
            let (before, after) = ("INSERT INTO kept SELECT * FROM (VALUES ", ") WHERE column1 IS NOT NULL");
            Write::any(portion.statement(before, "(?)", after, |row, key| _ = row.bind(*key)))
        })
    }

    /// Removes those that are there.
    fn removals(keys: &[i64]) -> impl Iterator<Item = Write> {
        portions(keys).map(|portion| {
            let statement = portion.statement("DELETE FROM kept WHERE key IN (", "?", ")", |row, key| {
                row.bind(*key);
            });
            Write::exactly(portion.len(), "row", statement)
        })
    }

    async fn kept(conn: &mut Conn) -> Vec<i64> {
        sqlx::query_scalar("SELECT key FROM kept ORDER BY key").fetch_all(conn).await.unwrap()
    }

    #[tokio::test]
    async fn writes_are_executed_in_order_until_one_fails() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let mut tx = store.write().await.unwrap();
        sqlx::query("CREATE TABLE kept (key INTEGER PRIMARY KEY)").execute(&mut *tx).await.unwrap();

        let many: Vec<i64> = (0..300).collect();
        execute_each(&mut tx, std::iter::empty()).await.unwrap();
        execute_each(&mut tx, inserts(&many).chain(removals(&many[2..])).chain(inserts(&[7]))).await.unwrap();
        assert_eq!(kept(&mut tx).await, [0, 1, 7]);

        let refused =
            execute_each(&mut tx, inserts(&[8]).chain(removals(&[8, 9])).chain(inserts(&[10]))).await;
        assert!(matches!(refused, Err(StoreError::Conflict("row"))), "{refused:?}");
        assert_eq!(kept(&mut tx).await, [0, 1, 7]);

        let refused = execute_each(&mut tx, inserts(&[7]).chain(inserts(&[11]))).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(kept(&mut tx).await, [0, 1, 7]);
    }
}
