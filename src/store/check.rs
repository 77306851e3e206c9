//! A database looked at from outside: read-only, without the lock, also beside the daemon that has it.
//!
//! (What differs between databases stays in this file and in [`crate::store::backup`].)

use std::io;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio_stream::StreamExt;

use crate::store::{BUSY_TIMEOUT, DATABASE, MIGRATIONS, StoreError, lock};

/// How many problems of a kind are told.
const MOST_TOLD: i64 = 20;

/// An open database.
#[derive(Debug)]
pub struct Inspection {
    conn: SqliteConnection,
}

/// How the schema of a database compares with the one this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// It is this program's.
    Current(i64),
    /// The next start brings it up to date.
    Older(i64),
    /// A newer program has made it.
    Newer(i64),
    /// A program has made it that was never released.
    Foreign(i64),
}

/// Where the database of a storage directory is.
pub fn database(directory: &Path) -> PathBuf {
    directory.join(DATABASE)
}

/// Who uses a storage directory: its process id, as it was written down, if anybody does.
///
/// # Errors
///
/// The lock cannot be read.
pub fn holder(directory: &Path) -> io::Result<Option<String>> {
    lock::holder(directory)
}

impl Inspection {
    /// Opens the database in `directory`.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be read.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(directory.join(DATABASE))
            .read_only(true)
            .busy_timeout(BUSY_TIMEOUT);
        let open = async {
            let mut conn = options.connect().await?;
            // a file is not read before it is asked for something
            sqlx::query("SELECT count(*) FROM sqlite_master").execute(&mut conn).await?;
            Ok(Self { conn })
        };
        open.await.map_err(|error: sqlx::Error| StoreError::from(error).about(directory))
    }

    /// Compares the schema.
    ///
    /// # Errors
    ///
    /// The database cannot be read, or is not one of connwarden.
    pub async fn schema(&mut self) -> Result<Schema, StoreError> {
        let applied: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
                .fetch_all(&mut self.conn)
                .await?;
        let known = || MIGRATIONS.iter().filter(|migration| migration.migration_type.is_up_migration());
        let newest_known = known().map(|migration| migration.version).max().unwrap_or(0);
        let newest = applied.last().map_or(0, |(version, _)| *version);
        if newest > newest_known {
            return Ok(Schema::Newer(newest));
        }
        for (version, checksum) in &applied {
            let same = |migration: &sqlx::migrate::Migration| {
                migration.version == *version && *migration.checksum == **checksum
            };
            if !known().any(same) {
                return Ok(Schema::Foreign(*version));
            }
        }
        Ok(if newest < newest_known { Schema::Older(newest) } else { Schema::Current(newest) })
    }

    /// What SQLite finds wrong with the file: pages, indexes, constraints.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub async fn damages(&mut self) -> Result<Vec<String>, StoreError> {
        let mut rows = sqlx::query_scalar("PRAGMA integrity_check(20)").fetch(&mut self.conn);
        let mut found: Vec<String> = Vec::new();
        while let Some(row) = rows.next().await {
            match row {
                Ok(row) => found.push(row),
                // it ends where it can read no further, and has told of it by then
                Err(_) if !found.is_empty() => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found.into_iter().filter(|found| found != "ok").collect())
    }

    /// Rows whose parent is not there.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub async fn orphans(&mut self) -> Result<Vec<String>, StoreError> {
        let found: Vec<(String, Option<i64>, String, i64)> =
            sqlx::query_as("PRAGMA foreign_key_check").fetch_all(&mut self.conn).await?;
        let found = found.into_iter().take(MOST_TOLD as usize);
        let told = found.map(|(table, row, parent, _)| {
            format!("row {} of {table} has no parent in {parent}", row.unwrap_or_default())
        });
        Ok(told.collect())
    }

    /// What contradicts the rules by which connwarden writes.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub async fn contradictions(&mut self) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        for query in [
            "SELECT 'several incidents of ' || identity || ' are unresolved at once'
               FROM incidents
              WHERE state <> 'resolved'
              GROUP BY identity
             HAVING count(*) > 1
              LIMIT $1",
            "SELECT 'incident ' || incident_id || ' has no beginning in its timeline'
               FROM incidents
              WHERE NOT EXISTS (SELECT 1 FROM entries WHERE entries.incident_key = incidents.incident_key)
              LIMIT $1",
            "SELECT 'incident ' || incident_id || ' is ' || state || ', but when it was resolved says otherwise'
               FROM incidents
              WHERE (state = 'resolved') <> (resolved_at IS NOT NULL)
              LIMIT $1",
            "SELECT 'job ' || kind || ' is about ' || subject || ', which is not there'
               FROM jobs
              WHERE kind IN ('enrich', 'verify')
                AND subject NOT IN (SELECT incident_id FROM incidents)
              LIMIT $1",
            "SELECT 'several mitigations run in ' || cluster || ' at once'
               FROM mitigations
              WHERE state = 'running'
              GROUP BY cluster
             HAVING count(*) > 1
              LIMIT $1",
            "SELECT 'mitigation ' || mitigation_id || ' was never started, but victims were asked to leave or cut'
               FROM mitigations
              WHERE started_at IS NULL
                AND EXISTS (SELECT 1
                              FROM victims
                             WHERE victims.mitigation_key = mitigations.mitigation_key
                               AND victims.state <> 'pending')
              LIMIT $1",
            "SELECT 'mitigation ' || mitigation_id || ' is ' || state || ', but victims wait to be dealt with'
               FROM mitigations
              WHERE state IN ('verifying', 'finished', 'stopped')
                AND EXISTS (SELECT 1
                              FROM victims
                             WHERE victims.mitigation_key = mitigations.mitigation_key
                               AND victims.state = 'pending')
              LIMIT $1",
            "SELECT 'mitigation ' || mitigation_id || ' is ' || state || ', but its outcome says otherwise'
               FROM mitigations
              WHERE (state = 'finished') <> (outcome IS NOT NULL)
              LIMIT $1",
        ] {
            let told: Vec<String> =
                sqlx::query_scalar(query).bind(MOST_TOLD).fetch_all(&mut self.conn).await?;
            found.extend(told);
        }
        Ok(found)
    }

    /// How many jobs were given up, and wait for somebody to look at them.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub async fn dead_jobs(&mut self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'dead'")
            .fetch_one(&mut self.conn)
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}
