//! The store: SQL, one file per aggregate.
//!
//! One connection writes, several read. Functions take `&mut Conn`, so the caller chooses the transaction: a
//! change, its timeline entries and the jobs it causes are committed together. `INTEGER` keys stay in here.

pub mod address_names;
pub mod alerts;
pub mod audit;
pub mod backup;
pub mod baselines;
pub mod changes;
pub mod check;
pub mod diagnoses;
pub mod entries;
mod error;
pub mod first_seen;
pub mod incidents;
pub mod jobs;
mod lock;
pub mod mitigations;
pub mod mutations;
pub mod notifications;
pub mod pauses;
mod portions;
pub mod precedents;
pub mod retention;
pub mod server_runs;
pub mod servers;
pub mod settings;
pub mod snapshots;
pub mod space;
pub mod thinning;
mod tx;
pub mod victims;
pub mod writer;

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};

use crate::store::error::corrupt;
use crate::store::lock::DirectoryLock;
use crate::store::portions::{LARGEST_PORTION, READY_STATEMENTS, portions};
use crate::store::tx::{UNKNOWN, WriteLatch, WritingConnection};

pub use crate::store::error::StoreError;
pub use crate::store::tx::{Tx, commit};

/// A database connection, inside a transaction or not.
pub type Conn = SqliteConnection;

/// What makes the tables.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// The name of the database in its directory.
const DATABASE: &str = "connwarden.db";

/// How long to wait for the database while another process holds it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for a turn to write or read.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// The size to which the write-ahead log shrinks once it is written into the database, in bytes.
const WAL_SIZE: u64 = 64 << 20;

/// How long [`Store::check_writing`] may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

const READERS: u32 = 4;

/// The database of one storage directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writer: WritingConnection,
    readers: SqlitePool,
    latch: WriteLatch,
    batch: usize,
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

        let database = directory.join(DATABASE);
        make_private(&database).map_err(|error| unusable(format!("cannot make {DATABASE}: {error}")))?;
        let is_new = database.metadata().is_ok_and(|found| found.len() == 0);
        let options = SqliteConnectOptions::new()
            .filename(database)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("journal_size_limit", WAL_SIZE.to_string())
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(READY_STATEMENTS);
        // what a statement has changed is kept until it ends, in case it fails; in a file that was made and deleted for
        // nearly every batch of notifications. Whoever writes much at once does it bite by bite
        let writing = options.clone().pragma("temp_store", "MEMORY");
        // whoever asks for many rows gets all of them without stopping the database's thread on the way
        let writing = writing.row_buffer_size(LARGEST_PORTION);
        let writer = open(writing, is_new).await.map_err(|error| error.about(directory))?;
        // opened lazily: a start pays for what it uses
        let readers = pool_of_readers().connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Self {
            writer,
            readers,
            latch: WriteLatch::default(),
            batch: writer::MOST_DELIVERIES,
            _lock: lock,
        })
    }

    /// Lets a transaction take at most `deliveries` that wait: for measuring what it is worth to take many.
    pub fn with_batches_of(self, deliveries: usize) -> Self {
        Self { batch: deliveries.clamp(1, writer::MOST_DELIVERIES), ..self }
    }

    /// How many deliveries that wait a transaction takes.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Opens a transaction that may write. It takes the write lock at once, so it waits its turn here instead of
    /// failing at its first write.
    ///
    /// # Errors
    ///
    /// The database cannot be reached or stays locked.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        let begun = self.writer.begin(self.latch.clone()).await;
        begun.inspect_err(|error| self.latch.set(Some(error.reason().unwrap_or(UNKNOWN))))
    }

    /// Takes note of an error within a transaction, in case it is the store's own.
    pub fn note_failure(&self, error: &StoreError) {
        if let Some(reason) = error.reason() {
            self.latch.set(Some(reason));
        }
    }

    /// Tells whether the store can be written to: yes after an attempt that went well, otherwise by one that writes as
    /// much as a notification may have and takes it back.
    ///
    /// # Errors
    ///
    /// [`StoreError::CannotWrite`] if it cannot.
    pub async fn check_writing(&self) -> Result<(), StoreError> {
        let Some(reason) = self.latch.failure() else { return Ok(()) };
        let attempt = async {
            for write in [true, false] {
                let mut tx = self.write().await?;
                if write {
                    settings::save_trial(&mut tx).await?
                } else {
                    settings::delete_trial(&mut tx).await?
                }
                commit(tx).await?;
            }
            Ok::<(), StoreError>(())
        };
        match tokio::time::timeout(CHECK_TIMEOUT, attempt).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                // a transaction that begins well has reset it
                self.latch.set(Some(error.reason().unwrap_or(reason)));
                Err(StoreError::CannotWrite(error.reason().unwrap_or(reason)))
            }
            Err(_) => Err(StoreError::CannotWrite(reason)),
        }
    }

    /// Opens a transaction that only reads: one consistent view.
    ///
    /// # Errors
    ///
    /// The database cannot be reached.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        Ok(Tx::reading(self.readers.begin().await?))
    }

    /// Finishes what is going on and closes the database.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Opens the database for writing and brings it up to date.
async fn open(options: SqliteConnectOptions, is_new: bool) -> Result<WritingConnection, StoreError> {
    if is_new {
        // so that retention can give back the pages that it frees; only what is set before the first table counts
        options.clone().auto_vacuum(SqliteAutoVacuum::Incremental).connect().await?.close().await?;
    }
    let mut conn = options.connect().await?;
    MIGRATIONS.run(&mut conn).await?;
    let writer = WritingConnection::new(conn, options);
    // a file that cannot be written to is opened for reading, without a word until something is to be written
    let mut tx = writer.begin(WriteLatch::default()).await?;
    settings::delete_trial(&mut tx).await?;
    commit(tx).await?;
    Ok(writer)
}

/// The settings of the connections that read.
fn pool_of_readers() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // each is tested when it is given back; a second time is a turn of the database's thread for nothing
        .test_before_acquire(false)
        // SQLite ends a transaction by itself when the disk fails; the driver believes that it goes on, and would begin
        // no other one on this connection ever again
        .before_acquire(|conn, _| Box::pin(async { Ok(!conn.is_in_transaction()) }))
}

/// Makes a file for its owner alone, unless it is there: the database holds the key of user hashes, and the directory
/// may be open to others. SQLite gives the files beside it the same mode.
fn make_private(file: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
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

    #[tokio::test]
    async fn a_database_that_has_become_read_only_says_so_until_it_can_be_written_to_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        store.writer.execute("PRAGMA query_only = ON").await.unwrap();
        store.check_writing().await.expect("nobody has tried yet");
        let error = store.write().await.unwrap_err();
        assert_eq!(error.reason(), Some("the database is read-only"));
        for _ in 0..2 {
            let error = store.check_writing().await.unwrap_err();
            assert!(matches!(error, StoreError::CannotWrite("the database is read-only")), "{error}");
        }
        store.writer.execute("PRAGMA query_only = OFF").await.unwrap();
        store.check_writing().await.unwrap();
        commit(store.write().await.unwrap()).await.unwrap();
        store.close().await;
    }
}
