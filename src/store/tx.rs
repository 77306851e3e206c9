//! Transactions: those that read have a connection of several, those that write take turns at one.
//!
//! The one that writes is in no pool of the driver's: that tests a connection whenever it is given back, in a task of
//! its own, and the next transaction would wait for both.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, Transaction};
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;

use crate::store::{ACQUIRE_TIMEOUT, Conn, StoreError};

/// Why an attempt to write failed, when the database does not say it in a way that is known.
pub(super) const UNKNOWN: &str = "the database refuses";

/// A transaction; rolled back unless [`commit`] takes it.
#[derive(Debug)]
pub struct Tx(Inner);

#[derive(Debug)]
enum Inner {
    Reading(Transaction<'static, Sqlite>),
    Writing(Turn),
}

impl Tx {
    pub(super) fn reading(inner: Transaction<'static, Sqlite>) -> Self {
        Self(Inner::Reading(inner))
    }
}

impl Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        match &self.0 {
            Inner::Reading(tx) => tx,
            Inner::Writing(turn) => turn.pen().conn(),
        }
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        match &mut self.0 {
            Inner::Reading(tx) => tx,
            Inner::Writing(turn) => turn.pen_mut().conn_mut(),
        }
    }
}

/// Commits a transaction.
///
/// # Errors
///
/// The database refused; nothing of the transaction happened.
pub async fn commit(tx: Tx) -> Result<(), StoreError> {
    match tx.0 {
        Inner::Reading(tx) => Ok(tx.commit().await?),
        Inner::Writing(mut turn) => {
            let committed = turn.end("COMMIT").await;
            turn.latch.set(committed.as_ref().err().map(|error| error.reason().unwrap_or(UNKNOWN)));
            committed
        }
    }
}

/// Why the last attempt to write failed, if it did.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteLatch(Arc<Mutex<Option<&'static str>>>);

impl WriteLatch {
    pub(super) fn set(&self, failure: Option<&'static str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    pub(super) fn failure(&self) -> Option<&'static str> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection that writes, and whose turn it is. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct WritingConnection(Arc<tokio::sync::Mutex<Pen>>);

#[derive(Debug)]
struct Pen {
    /// `None` once it is closed.
    conn: Option<SqliteConnection>,
    /// Whether a transaction has begun of which nothing has said that it is over.
    unsettled: bool,
    /// How it was opened, and is again should it be lost.
    options: SqliteConnectOptions,
}

impl Pen {
    fn conn(&self) -> &Conn {
        self.conn.as_ref().expect("a turn begins with a connection, and none closes it")
    }

    fn conn_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("a turn begins with a connection, and none closes it")
    }
}

impl WritingConnection {
    /// Takes a connection that was opened with `options`, and opens another one that way should it be lost.
    pub(super) fn new(conn: SqliteConnection, options: SqliteConnectOptions) -> Self {
        Self(Arc::new(tokio::sync::Mutex::new(Pen { conn: Some(conn), unsettled: false, options })))
    }

    /// Waits for a turn, and begins a transaction.
    pub(super) async fn begin(&self, latch: WriteLatch) -> Result<Tx, StoreError> {
        let mut turn = self.turn(latch).await?;
        let pen = turn.pen_mut();
        pen.unsettled = true;
        let begun = sqlx::query("BEGIN IMMEDIATE").execute(pen.conn_mut()).await;
        // what the database refuses has not begun; whatever else went wrong, it may have
        pen.unsettled = !matches!(begun, Err(sqlx::Error::Database(_)));
        begun?;
        Ok(Tx(Inner::Writing(turn)))
    }

    /// Does something beside all transactions.
    pub(super) async fn execute(&self, statement: &'static str) -> Result<(), StoreError> {
        let mut turn = self.turn(WriteLatch::default()).await?;
        sqlx::query(statement).execute(turn.pen_mut().conn_mut()).await?;
        Ok(())
    }

    /// Waits for the turn that is going on and closes the connection.
    pub(super) async fn close(&self) {
        if let Some(conn) = self.0.lock().await.conn.take() {
            // the process ends, and what is committed is there
            let _ = conn.close().await;
        }
    }

    async fn turn(&self, latch: WriteLatch) -> Result<Turn, StoreError> {
        let waited = tokio::time::timeout(ACQUIRE_TIMEOUT, self.0.clone().lock_owned()).await;
        let mut pen = waited.map_err(|_| sqlx::Error::PoolTimedOut)?;
        if pen.conn.is_none() {
            return Err(sqlx::Error::PoolClosed.into());
        }
        if pen.unsettled {
            // SQLite ends a transaction by itself when the disk fails, or it could not be ended: this is for another one
            pen.conn = Some(pen.options.connect().await?);
            pen.unsettled = false;
        }
        Ok(Turn { pen: Some(pen), latch })
    }
}

/// The right to use the connection that writes. What was begun and not ended is rolled back when it is dropped.
#[derive(Debug)]
struct Turn {
    /// `None` once it is dropped.
    pen: Option<OwnedMutexGuard<Pen>>,
    latch: WriteLatch,
}

impl Turn {
    fn pen(&self) -> &Pen {
        self.pen.as_ref().expect("only dropping takes it")
    }

    fn pen_mut(&mut self) -> &mut Pen {
        self.pen.as_mut().expect("only dropping takes it")
    }

    /// Ends the transaction, this way or the other.
    async fn end(&mut self, statement: &'static str) -> Result<(), StoreError> {
        let pen = self.pen_mut();
        sqlx::query(statement).execute(pen.conn_mut()).await?;
        pen.unsettled = false;
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(mut pen) = self.pen.take_if(|pen| pen.unsettled) else { return };
        // without a runtime the next turn gets a new connection, and this one rolls back when it is closed
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            let ended = sqlx::query("ROLLBACK").execute(pen.conn_mut()).await;
            pen.unsettled = ended.is_err();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use crate::store::{Store, commit, settings};

    async fn is_there(store: &Store, name: &str) -> bool {
        settings::find(&mut store.read().await.unwrap(), name).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn what_is_not_committed_is_rolled_back_before_the_next_turn() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let mut tx = store.write().await.unwrap();
        settings::insert(&mut tx, "first", "dropped").await.unwrap();
        drop(tx);
        commit(store.write().await.unwrap()).await.unwrap();
        {
            // whoever gives up while a transaction begins leaves none behind
            let mut begun = pin!(store.write());
            tokio::select! {
                biased;
                _ = &mut begun => {}
                () = std::future::ready(()) => {}
            }
        }
        let mut tx = store.write().await.unwrap();
        settings::insert(&mut tx, "second", "kept").await.unwrap();
        commit(tx).await.unwrap();
        assert!(!is_there(&store, "first").await);
        assert!(is_there(&store, "second").await);
        store.close().await;
    }

    #[tokio::test]
    async fn a_transaction_that_the_database_has_ended_means_another_connection() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let mut tx = store.write().await.unwrap();
        sqlx::query("PRAGMA cache_size = 7").execute(&mut *tx).await.unwrap();
        sqlx::query("ROLLBACK").execute(&mut *tx).await.unwrap();
        drop(tx);
        let mut tx = store.write().await.unwrap();
        let size: i64 = sqlx::query_scalar("PRAGMA cache_size").fetch_one(&mut *tx).await.unwrap();
        assert_ne!(size, 7, "this is the same connection");
        commit(tx).await.unwrap();
        store.close().await;
    }

    #[tokio::test]
    async fn what_has_begun_is_finished_before_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let mut tx = store.write().await.unwrap();
        settings::insert(&mut tx, "last", "kept").await.unwrap();
        let closing = store.clone();
        let closed = tokio::spawn(async move { closing.close().await });
        tokio::task::yield_now().await;
        commit(tx).await.unwrap();
        closed.await.unwrap();
        assert!(store.write().await.is_err());
        drop(store);
        let store = Store::open(directory.path()).await.unwrap();
        assert!(is_there(&store, "last").await);
        store.close().await;
    }
}
