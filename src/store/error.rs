//! Why the store could not answer, and what of it an outsider may know.

use std::path::{Path, PathBuf};

use sqlx::migrate::MigrateError;

use crate::store::DATABASE;

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

    /// The database file cannot be understood.
    #[error(
        "{path} is damaged ({reason}); nothing in it was changed: keep it, put the last backup in its place (the manual \
         says how), and start again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The last attempt to write failed, and so does one more.
    #[error("nothing can be written since the last attempt failed: {0}")]
    CannotWrite(&'static str),

    /// The thread that writes what comes in cannot be started.
    #[error("cannot start the thread that writes what comes in")]
    Thread(#[source] std::io::Error),

    /// The row changed between reading and writing it.
    #[error("{0} changed while it was being updated")]
    Conflict(&'static str),
}

impl StoreError {
    /// Whether the same attempt may go well a moment later: others had all the connections, or the lock.
    pub fn is_temporary(&self) -> bool {
        matches!(self.trouble(), Some(Trouble::Locked | Trouble::Busy))
    }

    /// What is the matter with the store itself, in words for outsiders, if that is why it could not answer.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::CannotWrite(reason) => Some(reason),
            other => other.trouble().map(Trouble::reason),
        }
    }

    fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Driver(error) | Self::Migration(MigrateError::Execute(error)) => trouble(error),
            _ => None,
        }
    }

    /// Says which file an error of the database in `directory` is about, and of damage what to do.
    pub fn about(self, directory: &Path) -> Self {
        let path = directory.join(DATABASE);
        match (self.trouble(), &self) {
            (Some(Trouble::Damaged), _) => Self::Damaged { path, reason: innermost(&self) },
            (Some(trouble), _) => {
                let reason = format!("{}: {} ({})", DATABASE, trouble.reason(), innermost(&self));
                Self::Directory { path: directory.to_owned(), reason }
            }
            (None, _) => self,
        }
    }
}

/// An unreadable value, cut.
pub(super) fn corrupt(table: &'static str, column: &'static str, value: impl ToString) -> StoreError {
    let value = value.to_string().chars().take(200).collect();
    StoreError::Corrupt { table, column, value }
}

/// What is the matter with a database, as far as its own error codes tell.
///
/// (The low byte of a code is the kind of failure, the rest says more about it: <https://sqlite.org/rescode.html>.)
fn trouble(error: &sqlx::Error) -> Option<Trouble> {
    let sqlx::Error::Database(error) = error else {
        return matches!(error, sqlx::Error::PoolTimedOut).then_some(Trouble::Busy);
    };
    match error.code()?.parse::<i32>().ok()? & 0xff {
        5 => Some(Trouble::Locked),
        6 => Some(Trouble::Busy),
        8 => Some(Trouble::ReadOnly),
        10 => Some(Trouble::Disk),
        11 | 26 => Some(Trouble::Damaged),
        13 => Some(Trouble::Full),
        14 => Some(Trouble::Unopenable),
        _ => None,
    }
}

/// What is the matter with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Another process has it.
    Locked,
    /// Others of ours have all the connections, or the table.
    Busy,
    ReadOnly,
    Disk,
    Damaged,
    Full,
    Unopenable,
}

impl Trouble {
    fn reason(self) -> &'static str {
        match self {
            Self::Locked => "the database is locked by another process",
            Self::Busy => "the database is busy",
            Self::ReadOnly => "the database is read-only",
            Self::Disk => "the disk cannot be read or written",
            Self::Damaged => "the database file is damaged",
            Self::Full => "the disk is full",
            Self::Unopenable => "the database file cannot be opened",
        }
    }
}

/// What an error comes down to.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
