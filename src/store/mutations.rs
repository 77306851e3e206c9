//! Mutations: statements that change rows, made ready one by one, each while the database works on the one before.
//!
//! The database has a thread of its own, and whoever has many rows to write would else stand still while it works, and
//! it while the next rows are gathered.

use crate::store::portions::Statement;
use crate::store::{Conn, StoreError};

/// A statement that changes rows.
#[derive(Debug)]
pub struct Mutation {
    statement: Statement,
    expected: Option<Expected>,
}

/// How many rows a statement changes if everything is as it was thought to be.
#[derive(Debug)]
struct Expected {
    rows: u64,
    /// What the conflict is about if they are others.
    of: &'static str,
}

impl Mutation {
    /// Changes as many rows as it finds.
    pub(super) fn any(statement: Statement) -> Self {
        Self { statement, expected: None }
    }

    /// Changes this many rows; a conflict about `of` if they are not there to be changed.
    pub(super) fn exactly(rows: u64, of: &'static str, statement: Statement) -> Self {
        Self { statement, expected: Some(Expected { rows, of }) }
    }
}

/// Executes mutations, in order, inside the caller's transaction.
///
/// # Errors
///
/// The database refused; [`StoreError::Conflict`] if what was to be changed is not there, or not as it was. Those before
/// have been executed, those behind it have not: the transaction is to be rolled back.
pub async fn execute_each(
    conn: &mut Conn,
    mutations: impl IntoIterator<Item = Mutation, IntoIter: Send>,
) -> Result<(), StoreError> {
    let mut mutations = mutations.into_iter();
    let mut next = mutations.next();
    while let Some(Mutation { statement, expected }) = next {
        // the first is handed to the database's thread before the second begins
        let (done, following) =
            tokio::join!(biased; statement.query().execute(&mut *conn), async { mutations.next() });
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
    use std::time::Duration;

    use sqlx::ConnectOptions;
    use sqlx::sqlite::SqliteConnectOptions;
    use tempfile::TempDir;

    use super::*;
    use crate::store::portions::portions;
    use crate::store::{self, Store};

    const TABLE: &str = "CREATE TABLE kept (key INTEGER PRIMARY KEY)";

    /// A store with one table more.
    async fn with_table() -> (TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let mut tx = store.write().await.unwrap();
        sqlx::query(TABLE).execute(&mut *tx).await.unwrap();
        store::commit(tx).await.unwrap();
        (directory, store)
    }

    /// Adds rows with these keys; of one key they cannot be two.
    fn inserts(keys: &[i64]) -> impl Iterator<Item = Mutation> {
        portions(keys).map(|portion| {
            let (before, after) = ("INSERT INTO kept SELECT * FROM (VALUES ", ") WHERE column1 IS NOT NULL");
            Mutation::any(portion.statement(before, "(?)", after, |row, key| _ = row.bind(*key)))
        })
    }

    /// Removes those that are there.
    fn removals(keys: &[i64]) -> impl Iterator<Item = Mutation> {
        portions(keys).map(|portion| {
            let statement = portion.statement("DELETE FROM kept WHERE key IN (", "?", ")", |row, key| {
                row.bind(*key);
            });
            Mutation::exactly(portion.len(), "row", statement)
        })
    }

    async fn kept(conn: &mut Conn) -> Vec<i64> {
        sqlx::query_scalar("SELECT key FROM kept ORDER BY key").fetch_all(conn).await.unwrap()
    }

    #[tokio::test]
    async fn mutations_are_executed_in_order_until_one_fails() {
        let (_directory, store) = with_table().await;
        let mut tx = store.write().await.unwrap();
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

    #[tokio::test(flavor = "multi_thread")]
    async fn the_next_is_made_ready_while_the_database_works() {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(directory.path().join("kept.db"));
        let options = options.create_if_missing(true).busy_timeout(Duration::from_secs(60));
        let mut conn = options.connect().await.unwrap();
        sqlx::query(TABLE).execute(&mut conn).await.unwrap();

        // the first waits for whoever has the database, and that one for the second to be made
        let mut other = options.connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let (made, is_made) = tokio::sync::oneshot::channel();
        let holding = tokio::spawn(async move {
            is_made.await.unwrap();
            sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        });
        let second = std::iter::once_with(|| made.send(()).unwrap()).flat_map(|()| inserts(&[2]));
        execute_each(&mut conn, inserts(&[1]).chain(second)).await.unwrap();
        holding.await.unwrap();
        assert_eq!(kept(&mut conn).await, [1, 2]);
    }

    #[tokio::test]
    async fn of_a_transaction_in_which_making_one_panics_nothing_is_kept() {
        let (_directory, store) = with_table().await;
        let writing = store.clone();
        let panicked = tokio::spawn(async move {
            let mut tx = writing.write().await.unwrap();
            let broken = std::iter::once_with(|| panic!("as it should in this test"));
            let _ = execute_each(&mut tx, inserts(&[1]).chain(broken)).await;
        });
        assert!(panicked.await.unwrap_err().is_panic());
        let mut tx = store.write().await.unwrap();
        assert_eq!(kept(&mut tx).await, Vec::<i64>::new());
        execute_each(&mut tx, inserts(&[1])).await.unwrap();
        store::commit(tx).await.unwrap();
    }
}
