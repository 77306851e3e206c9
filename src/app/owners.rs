//! The owners file while the daemon runs: read again when it changes. What cannot be read is told in the log, once, and
//! what was known before stays.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::{Problems, load_owners};
use crate::engine::Engine;
use crate::model::owner::Owners;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// A file of owners, and what was last seen of it.
#[derive(Debug)]
pub struct OwnersFile {
    path: PathBuf,
    seen: Option<Stamp>,
}

/// Tells one content of the file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    size_bytes: u64,
    inode: u64,
}

impl From<Metadata> for Stamp {
    fn from(found: Metadata) -> Self {
        let modified = (found.mtime(), found.mtime_nsec());
        Self { modified, size_bytes: found.size(), inode: found.ino() }
    }
}

impl OwnersFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    ///
    /// All problems of the file.
    pub fn open(path: PathBuf) -> Result<(Self, Owners), Problems> {
        // looked at before it is read: what changes in between is read again
        let mut file = Self { path, seen: None };
        file.seen = file.stamp();
        let owners = load_owners(&file.path)?;
        Ok((file, owners))
    }

    /// Reads the file again if it has changed.
    ///
    /// # Errors
    ///
    /// All problems of the file, once for each change.
    pub fn reread(&mut self) -> Result<Option<Owners>, Problems> {
        let stamp = self.stamp();
        if stamp == self.seen {
            return Ok(None);
        }
        self.seen = stamp;
        load_owners(&self.path).map(Some)
    }

    /// Keeps an engine up to date until told to stop.
    pub(super) async fn watch(mut self, engine: Engine, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stop.cancelled() => return,
            }
            match self.reread() {
                Ok(None) => {}
                Ok(Some(owners)) => {
                    let (count, file) = (owners.len(), self.path.display());
                    info!(owners = count, "read {file} again: {count} things have an owner");
                    engine.set_owners(Arc::new(owners));
                }
                Err(problems) => {
                    let file = self.path.display();
                    error!("the owners of before stay, because {file} cannot be used: {problems}");
                }
            }
        }
    }

    fn stamp(&self) -> Option<Stamp> {
        self.path.metadata().ok().map(Stamp::from)
    }
}
