//! A copy of the database that belongs together, also while a daemon writes into it.
//!
//! SQLite writes the copy from one read transaction (`VACUUM INTO`), which works across processes and keeps nobody from
//! writing; so it needs no lock. (What differs between databases stays in this file and in [`crate::store::check`].)

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};

use crate::store::settings::INSTANCE_ID;
use crate::store::{BUSY_TIMEOUT, DATABASE, StoreError};

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The database that was copied.
    pub source: PathBuf,
    /// Incidents in it.
    pub incidents: u64,
    /// Those that are not resolved.
    pub unresolved: u64,
    /// Notifications in it.
    pub notifications: u64,
    /// How large the copy is.
    pub size_bytes: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no database to copy.
    #[error("there is no database {0}")]
    NoDatabase(PathBuf),
    /// The file is there already.
    #[error("{0} is there already, and a backup overwrites nothing")]
    Exists(PathBuf),
    /// The copy cannot be written.
    #[error("cannot write {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The database cannot be copied.
    #[error("cannot copy {path}")]
    Copy {
        /// The database.
        path: PathBuf,
        /// Why not.
        source: StoreError,
    },
    /// The copy is not what it should be.
    #[error("the copy of {path} is damaged, and so it was thrown away: {reason}")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with the copy.
        reason: String,
    },
}

/// Copies the database in `directory` to the new file `target`, checks the copy, and gives it its name only then.
///
/// # Errors
///
/// There is no copy; `target` does not exist, or is what it was before.
pub async fn backup(directory: &Path, target: &Path) -> Result<Backup, BackupError> {
    let source = directory.join(DATABASE);
    if !source.exists() {
        return Err(BackupError::NoDatabase(source));
    }
    let failed = |error| BackupError::File { path: target.to_owned(), error };
    // absolute: SQLite takes what begins with `file:` for something else
    let target = std::path::absolute(target).map_err(failed)?;
    let copy = Unfinished::make(&target)?;
    let failed = |error: sqlx::Error| BackupError::Copy { path: source.clone(), source: error.into() };
    copy_into(&source, &copy.path).await.map_err(failed)?;
    forget_instance(&copy.path).await.map_err(failed)?;
    let (reasons, counts) = look_into(&copy.path).await.map_err(failed)?;
    if let Some(reason) = reasons.into_iter().find(|reason| reason != "ok") {
        return Err(BackupError::Damaged { path: source, reason });
    }
    let size_bytes = copy.finish(&target)?;
    let [incidents, unresolved, notifications] = counts;
    Ok(Backup { source, incidents, unresolved, notifications, size_bytes })
}

async fn copy_into(source: &Path, copy: &Path) -> Result<(), sqlx::Error> {
    let copy = copy.to_str().ok_or_else(|| {
        sqlx::Error::Configuration("SQLite wants file names in UTF-8, and this one is not".into())
    })?;
    let options = SqliteConnectOptions::new().filename(source).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let mut conn = options.connect().await?;
    sqlx::query("VACUUM INTO $1").bind(copy).execute(&mut conn).await?;
    conn.close().await
}

/// Takes out of a copy what tells its connwarden from others: whoever starts from it is another one.
async fn forget_instance(copy: &Path) -> Result<(), sqlx::Error> {
    // nothing to go back to: a copy that is not finished is thrown away
    let options = SqliteConnectOptions::new().filename(copy).journal_mode(SqliteJournalMode::Off);
    let mut conn = options.connect().await?;
    sqlx::query("DELETE FROM settings WHERE name = $1").bind(INSTANCE_ID).execute(&mut conn).await?;
    conn.close().await
}

/// What SQLite says of a copy, and how many incidents, unresolved ones and notifications it has.
async fn look_into(copy: &Path) -> Result<(Vec<String>, [u64; 3]), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(copy).read_only(true).immutable(true);
    let mut conn = options.connect().await?;
    let reasons = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_all(&mut conn).await?;
    let mut counts = [0; 3];
    for (count, query) in counts.iter_mut().zip([
        "SELECT count(*) FROM incidents",
        "SELECT count(*) FROM incidents WHERE state <> 'resolved'",
        "SELECT count(*) FROM notifications",
    ]) {
        let counted: i64 = sqlx::query_scalar(query).fetch_one(&mut conn).await?;
        *count = u64::try_from(counted).unwrap_or(0);
    }
    conn.close().await?;
    Ok((reasons, counts))
}

/// A copy that has not got its name yet. Unless it gets it, it goes away.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// Makes an empty file beside `target`, for its owner alone.
    fn make(target: &Path) -> Result<Self, BackupError> {
        if target.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(target.to_owned()));
        }
        let failed = |error| BackupError::File { path: target.to_owned(), error };
        let name = target.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        let mut unfinished = name.to_owned();
        unfinished.push(format!(".unfinished-{}", std::process::id()));
        let path = target.with_file_name(unfinished);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        Ok(Self { path })
    }

    /// Gives the copy its name, once it is on the disk; how large it is.
    fn finish(self, target: &Path) -> Result<u64, BackupError> {
        let finish = || {
            let file = File::open(&self.path)?;
            file.sync_all()?;
            // a rename would overwrite what somebody else has put there meanwhile
            match std::fs::hard_link(&self.path, target) {
                // what FAT and some network file systems say, which have no links
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
                    ) =>
                {
                    rename_into_the_free(&self.path, target)?;
                }
                linked => linked?,
            }
            let size_bytes = file.metadata()?.len();
            if let Some(directory) = target.parent() {
                File::open(directory)?.sync_all()?;
            }
            Ok(size_bytes)
        };
        finish().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists(target.to_owned()),
            _ => BackupError::File { path: target.to_owned(), error },
        })
    }
}

/// Renames `from` to `to`, where nothing may be. It holds the place with an empty file of its own, which the rename
/// overwrites.
fn rename_into_the_free(from: &Path, to: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    std::fs::rename(from, to).inspect_err(|_| {
        let _ = std::fs::remove_file(to);
    })
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_links_a_copy_gets_its_name_too_and_overwrites_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let [copy, target] = ["copy", "target"].map(|name| directory.path().join(name));
        std::fs::write(&copy, "whole").unwrap();
        std::fs::write(&target, "somebody's").unwrap();
        let refused = rename_into_the_free(&copy, &target).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "somebody's");

        std::fs::remove_file(&target).unwrap();
        rename_into_the_free(&copy, &target).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "whole");
        assert!(!copy.exists());
        assert!(rename_into_the_free(&copy, &directory.path().join("other")).is_err());
        assert_eq!(directory.path().read_dir().unwrap().count(), 1, "the place is free again");
    }
}
