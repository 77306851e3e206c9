//! The lock on the storage directory: one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

/// The name of the file.
const LOCK: &str = "lock";

/// Held as long as any clone lives; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug, Clone)]
pub(super) struct DirectoryLock {
    _file: Arc<File>,
}

impl DirectoryLock {
    /// Takes the lock, or says who has it.
    pub(super) fn take(directory: &Path) -> Result<Self, String> {
        let path = directory.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = written_in(&mut file);
                return Err(format!("another connwarden (process {holder}) is using it"));
            }
            Err(TryLockError::Error(error)) => {
                return Err(format!("cannot lock {}: {error}", path.display()));
            }
        }
        let written = file
            .rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self { _file: Arc::new(file) })
    }
}

/// Who has the lock on a directory, as it was written down, if anybody has it.
///
/// A daemon that starts in this very instant takes us for one: there is no asking without trying.
pub(super) fn holder(directory: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(directory.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(written_in(&mut file))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The process id in a lock.
fn written_in(file: &mut File) -> String {
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    let holder = holder.trim();
    if holder.is_empty() { "unknown".to_owned() } else { holder.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_used_by_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(directory.path()).unwrap();
        let refused = DirectoryLock::take(directory.path()).unwrap_err();
        assert_eq!(refused, format!("another connwarden (process {}) is using it", std::process::id()));
        assert_eq!(holder(directory.path()).unwrap(), Some(std::process::id().to_string()));
        drop(first);
        assert_eq!(holder(directory.path()).unwrap(), None);
        DirectoryLock::take(directory.path()).unwrap();
    }
}
