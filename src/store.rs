//! The store: SQL, one file per aggregate.
//!
//! One connection writes, several read. Functions take `&mut Conn`, so the caller chooses the transaction: a
//! change, its timeline entries and the jobs it causes are committed together. `INTEGER` keys stay in here.

pub mod alerts;
pub mod entries;
pub mod incidents;
pub mod jobs;
mod lock;
pub mod notifications;
pub mod servers;
pub mod settings;
pub mod snapshots;

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::store::lock::DirectoryLock;

/// A database connection, inside a transaction or not.
pub type Conn = SqliteConnection;

/// A transaction; rolled back unless [`commit`] takes it.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, Sqlite>,
    /// Of one that may write.
    latch: Option<WriteLatch>,
}

impl Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.inner
    }
}

/// Whether the last attempt to write failed.
#[derive(Debug, Clone, Default)]
struct WriteLatch(Arc<AtomicBool>);

impl WriteLatch {
    fn set(&self, failed: bool) {
        self.0.store(failed, Ordering::Release);
    }

    fn has_failed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How long to wait for the database while another process holds it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for a turn to write or read.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long [`Store::check_writing`] may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

const READERS: u32 = 4;

/// Another process has the database.
const SQLITE_BUSY: i32 = 5;

/// Another connection of ours has the table.
const SQLITE_LOCKED: i32 = 6;

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The storage directory cannot be used.
    #[error("cannot use the storage directory {path}: {reason}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The database was made by a newer version, or its migrations were tampered with.
    #[error("cannot bring the database up to date")]
    Migration(#[from] sqlx::migrate::MigrateError),

    /// The database refused or could not be reached.
    #[error("database failure")]
    Driver(#[from] sqlx::Error),

    /// A row holds what this version cannot read.
    #[error("{table}.{column} holds unreadable value {value:?}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },

    /// The last attempt to write failed, and so does one more.
    #[error("nothing can be written since the last attempt failed")]
    CannotWrite,

    /// The row changed between reading and writing it.
    #[error("{0} changed while it was being updated")]
    Conflict(&'static str),
}

impl StoreError {
    /// Whether the same attempt may go well a moment later: others had all the connections, or the lock.
    pub fn is_temporary(&self) -> bool {
        // the low byte is the kind of failure, the rest says more about it
        let kind = |code: &str| code.parse::<i32>().ok().map(|code| code & 0xff);
        match self {
            Self::Driver(sqlx::Error::PoolTimedOut) => true,
            Self::Driver(sqlx::Error::Database(error)) => {
                matches!(error.code().as_deref().and_then(kind), Some(SQLITE_BUSY | SQLITE_LOCKED))
            }
            _ => false,
        }
    }
}

/// The database of one storage directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    latch: WriteLatch,
    _lock: DirectoryLock,
}

impl Store {
    /// Opens the database in `directory`, making both if need be, and brings it up to date.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, another process holds it, or the database cannot be brought up to date.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        let unusable = |reason: String| StoreError::Directory { path: directory.to_owned(), reason };
        // what is in it is nobody else's business
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| unusable(error.to_string()))?;
        let lock = DirectoryLock::take(directory).map_err(unusable)?;

        let database = directory.join("connwarden.db");
        make_private(&database).map_err(|error| unusable(format!("cannot make connwarden.db: {error}")))?;
        let options = SqliteConnectOptions::new()
            .filename(database)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |connections| {
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        sqlx::migrate!().run(&writer).await?;
        // opened lazily: a start pays for what it uses
        let readers = pool(READERS).connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Self { writer, readers, latch: WriteLatch::default(), _lock: lock })
    }

    /// Opens a transaction that may write. It takes the write lock at once, so it waits its turn here instead of
    /// failing at its first write.
    ///
    /// # Errors
    ///
    /// The database cannot be reached or stays locked.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        match self.writer.begin_with("BEGIN IMMEDIATE").await {
            Ok(inner) => Ok(Tx { inner, latch: Some(self.latch.clone()) }),
            Err(error) => {
                self.latch.set(true);
                Err(error.into())
            }
        }
    }

    /// Tells whether the store can be written to: yes after an attempt that went well, otherwise by a short one
    /// that changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::CannotWrite`] if it cannot.
    pub async fn check_writing(&self) -> Result<(), StoreError> {
        if !self.latch.has_failed() {
            return Ok(());
        }
        let attempt = async { self.writer.begin_with("BEGIN IMMEDIATE").await?.rollback().await };
        match tokio::time::timeout(CHECK_TIMEOUT, attempt).await {
            Ok(Ok(())) => {
                self.latch.set(false);
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(StoreError::CannotWrite),
        }
    }

    /// Opens a transaction that only reads: one consistent view.
    ///
    /// # Errors
    ///
    /// The database cannot be reached.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        Ok(Tx { inner: self.readers.begin().await?, latch: None })
    }

    /// Finishes what is going on and closes the database.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes a file for its owner alone, unless it is there: the database holds the key of user hashes, and the directory
/// may be open to others. SQLite gives the files beside it the same mode.
fn make_private(file: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Commits a transaction.
///
/// # Errors
///
/// The database refused; nothing of the transaction happened.
pub async fn commit(tx: Tx) -> Result<(), StoreError> {
    let Tx { inner, latch } = tx;
    let committed = inner.commit().await;
    if let Some(latch) = latch {
        latch.set(committed.is_err());
    }
    Ok(committed?)
}

/// Reads an instant.
fn instant(table: &'static str, column: &'static str, us: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(us).map_err(|_| corrupt(table, column, us))
}

/// Reads a value that is stored as text.
fn parse<T>(
    table: &'static str,
    column: &'static str,
    text: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    read(text).ok_or_else(|| corrupt(table, column, text))
}

/// Reads a value that is stored as JSON.
fn from_json<T: serde::de::DeserializeOwned>(
    table: &'static str,
    column: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    parse(table, column, text, |text| serde_json::from_str(text).ok())
}

/// Writes a value as JSON.
fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("values of the model always serialise")
}

/// Writes a count; what SQLite cannot hold is as much as it can.
fn to_i64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn corrupt(table: &'static str, column: &'static str, value: impl ToString) -> StoreError {
    let value = value.to_string().chars().take(200).collect();
    StoreError::Corrupt { table, column, value }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn the_database_is_readable_by_its_owner_alone_also_in_an_open_directory() {
        let directory = tempfile::tempdir().unwrap();
        set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let database = directory.path().join("connwarden.db");
        let mode = |file: &Path| file.metadata().unwrap().permissions().mode() & 0o777;

        let store = Store::open(directory.path()).await.unwrap();
        for file in ["connwarden.db", "connwarden.db-wal", "connwarden.db-shm"] {
            assert_eq!(mode(&directory.path().join(file)), 0o600, "{file}");
        }
        store.close().await;
        drop(store);

        set_permissions(&database, Permissions::from_mode(0o640)).unwrap();
        Store::open(directory.path()).await.unwrap().close().await;
        assert_eq!(mode(&database), 0o640, "what its owner has decided stays");
    }
}
