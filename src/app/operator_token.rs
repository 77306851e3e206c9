//! The token of the local operator: made once per storage directory, so that a newcomer can act without configuring
//! anything. Whoever can read the file is the operator of this host.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::app::random_key;

/// The name of the file.
const FILE: &str = "operator-token";

/// Where the token of a storage directory is.
pub fn path(storage: &Path) -> PathBuf {
    storage.join(FILE)
}

/// Makes the token unless it is there; the caller has the storage directory for itself. What is there is left alone,
/// whatever it is: its reader refuses what others may have seen.
pub(super) fn make(storage: &Path) -> anyhow::Result<PathBuf> {
    let path = path(storage);
    if fs::symlink_metadata(&path).is_ok() {
        return Ok(path);
    }
    let key = random_key()?;
    let token: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    // never half of a token, and never for a moment one that others can read
    write(&path, &token).with_context(|| format!("making the operator token {}", path.display()))?;
    tracing::info!("made the operator token {}; `connwarden` on this host finds it", path.display());
    Ok(path)
}

fn write(path: &Path, token: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::model::credential::{check_token, line_of};

    #[test]
    fn a_token_is_made_once_and_for_us_alone() {
        let directory = tempfile::tempdir().unwrap();
        // what a crash may have left
        fs::write(directory.path().join("operator-token.new"), "half").unwrap();
        let path = make(directory.path()).unwrap();
        assert_eq!(path, super::path(directory.path()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let token = fs::read_to_string(&path).unwrap();
        assert_eq!(line_of(&token).len(), 64);
        assert!(check_token(line_of(&token)).is_ok());

        assert_eq!(make(directory.path()).unwrap(), path);
        assert_eq!(fs::read_to_string(&path).unwrap(), token, "it is not made anew");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(fs::read_to_string(make(other.path()).unwrap()).unwrap(), token);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path());
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        make(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }
}
