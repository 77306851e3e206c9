//! Secrets to compare with: given once, or kept in a file that may be replaced at any time.
//!
//! A file is read again at most once a second, and at once when something was shown that fits nothing: whoever is quick
//! to use a new secret is let in. What the file held before is remembered for a while, so that a sender that is slower
//! than we are hears "try again" instead of "no". A file that cannot be read, or holds nothing usable, lets nobody in.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::model::credential::{Secret, line_of};

/// How old what was read of a file may be.
const REREAD_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// How long a replaced secret is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);

/// The largest file that holds a secret, in bytes.
const LARGEST_FILE: u64 = 64 << 10;

/// What a text is that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The secret.
    Current,
    /// What was the secret until a moment ago.
    Replaced,
    /// Something else.
    No,
    /// Nobody knows: the secret cannot be read.
    Unknown,
}

/// A secret to compare with. Nothing of it is shown.
pub(super) struct LiveSecret {
    source: Secret,
    check: fn(&str) -> Result<(), &'static str>,
    /// Whether its file must be ours alone.
    private: bool,
    comparing: hmac::Key,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Known>,
    replaced: Option<(Known, Timestamp)>,
    read_at: Option<Timestamp>,
    /// Why the file could not be read the last time.
    complaint: Option<String>,
}

/// A secret that was read, in the forms in which it is needed.
struct Known {
    /// Its keyed hash: what is compared has one length, and nobody outside can aim at a value of it.
    tag: hmac::Tag,
    /// For signatures.
    signing: hmac::Key,
}

impl fmt::Debug for LiveSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveSecret").field("source", &self.source).finish_non_exhaustive()
    }
}

impl LiveSecret {
    /// A secret of the configuration; its file is read when it is needed.
    pub(super) fn new(
        source: Secret,
        check: fn(&str) -> Result<(), &'static str>,
        comparing: hmac::Key,
    ) -> Self {
        Self { source, check, private: false, comparing, state: Mutex::default() }
    }

    /// A secret in a file that others must not be able to read.
    pub(super) fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Reads the file again, if there is one and it is time; `at_once` it is always time.
    pub(super) fn refresh(&self, now: Timestamp, at_once: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.source {
            Secret::Text(secret) => {
                if state.current.is_none() {
                    state.current = Some(self.known(secret));
                }
            }
            Secret::File(path) => {
                let is_fresh = |at: Timestamp| (at..at + REREAD_AFTER).contains(&now);
                if at_once || !state.read_at.is_some_and(is_fresh) {
                    state.read_at = Some(now);
                    self.take(&mut state, path, read(path, self.private, self.check), now);
                }
            }
        }
    }

    /// Compares a text with the secret as it was last read.
    pub(super) fn fits(&self, shown: &[u8], now: Timestamp) -> Fit {
        self.compare(now, |known| hmac::verify(&self.comparing, shown, known.tag.as_ref()).is_ok())
    }

    /// Compares a signature of `parts` with the one that the secret makes.
    pub(super) fn signs(&self, parts: &[&[u8]], signature: &[u8], now: Timestamp) -> Fit {
        let shown = hmac::sign(&self.comparing, signature);
        self.compare(now, |known| {
            let mut signing = hmac::Context::with_key(&known.signing);
            parts.iter().for_each(|part| signing.update(part));
            hmac::verify(&self.comparing, signing.sign().as_ref(), shown.as_ref()).is_ok()
        })
    }

    fn compare(&self, now: Timestamp, is: impl Fn(&Known) -> bool) -> Fit {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let current = state.current.as_ref().map(&is);
        let replaced = state.replaced.as_ref().is_some_and(|(known, until)| is(known) && now < *until);
        match current {
            Some(true) => Fit::Current,
            _ if replaced => Fit::Replaced,
            Some(false) => Fit::No,
            None => Fit::Unknown,
        }
    }

    /// Takes over what a file holds, or that it cannot be read.
    fn take(&self, state: &mut State, path: &Path, read: Result<SecretString, String>, now: Timestamp) {
        let path = path.display();
        match read {
            Ok(secret) => {
                if state.complaint.take().is_some() {
                    tracing::info!("the secret in {path} can be read again");
                }
                let is_same = |known: &Known| {
                    hmac::verify(&self.comparing, secret.expose_secret().as_bytes(), known.tag.as_ref())
                        .is_ok()
                };
                if state.current.as_ref().is_some_and(is_same) {
                    return;
                }
                if let Some(old) = state.current.replace(self.known(&secret)) {
                    tracing::info!("the secret in {path} has been replaced");
                    state.replaced = Some((old, now + REMEMBERED));
                }
            }
            Err(complaint) => {
                if let Some(old) = state.current.take() {
                    state.replaced = Some((old, now + REMEMBERED));
                }
                if state.complaint.as_ref() != Some(&complaint) {
                    tracing::error!("nobody is let in by the secret in {path}: {complaint}");
                    state.complaint = Some(complaint);
                }
            }
        }
    }

    fn known(&self, secret: &SecretString) -> Known {
        let secret = secret.expose_secret().as_bytes();
        Known { tag: hmac::sign(&self.comparing, secret), signing: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }
}

/// Reads a secret from its file.
fn read(
    path: &Path,
    private: bool,
    check: fn(&str) -> Result<(), &'static str>,
) -> Result<SecretString, String> {
    let said = |error: io::Error| error.to_string();
    let file = File::open(path).map_err(said)?;
    if private {
        check_privacy(&file)?;
    }
    let mut content = String::new();
    file.take(LARGEST_FILE + 1).read_to_string(&mut content).map_err(said)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(format!("the file is larger than {LARGEST_FILE} bytes"));
    }
    let line = line_of(&content);
    if line.is_empty() {
        return Err("the secret is empty".to_owned());
    }
    check(line)?;
    Ok(SecretString::from(line))
}

/// Refuses a file that others may have read or written.
fn check_privacy(file: &File) -> Result<(), String> {
    let file = file.metadata().map_err(|error| error.to_string())?;
    let us = std::fs::metadata("/proc/self").map_err(|error| format!("cannot tell who we are: {error}"))?;
    let mode = file.mode() & 0o7777;
    if !file.is_file() {
        Err("it is no file".to_owned())
    } else if file.uid() != us.uid() {
        Err(format!("it belongs to user {}, and this process to user {}", file.uid(), us.uid()))
    } else if mode & 0o077 != 0 {
        Err(format!("others may use it too (mode {mode:04o}), take that away: chmod 600"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;
    use crate::model::credential::check_token;

    const OLD: &str = "0123456789abcdef-old";
    const NEW: &str = "0123456789abcdef-new";

    fn live(source: Secret) -> LiveSecret {
        LiveSecret::new(source, check_token, hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_500_000 + second).unwrap()
    }

    /// What a text is at a moment, `at_once` with a look into the file.
    fn shown(secret: &LiveSecret, text: &str, second: i64, at_once: bool) -> Fit {
        secret.refresh(at(second), at_once);
        secret.fits(text.as_bytes(), at(second))
    }

    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, content).unwrap();
        (directory, path)
    }

    #[test]
    fn a_text_fits_only_itself() {
        let secret = live(Secret::Text(OLD.into()));
        assert_eq!(secret.fits(OLD.as_bytes(), at(0)), Fit::Unknown, "it was never read");
        assert_eq!(shown(&secret, OLD, 0, false), Fit::Current);
        for other in ["", NEW, &OLD[1..], &format!("{OLD} "), &OLD.to_uppercase()] {
            assert_eq!(shown(&secret, other, 0, true), Fit::No, "{other}");
        }
        assert!(!format!("{secret:?}").contains(OLD), "{secret:?}");
    }

    #[test]
    fn a_file_is_read_again_after_a_second_or_at_once() {
        let (_directory, path) = file(&format!("{OLD}\n"));
        let secret = live(Secret::File(path.clone()));
        assert_eq!(shown(&secret, OLD, 0, false), Fit::Current);
        fs::write(&path, NEW).unwrap();
        assert_eq!(shown(&secret, NEW, 0, false), Fit::No);
        assert_eq!(shown(&secret, NEW, 1, false), Fit::Current);
        fs::write(&path, OLD).unwrap();
        assert_eq!(shown(&secret, OLD, 1, true), Fit::Current);
        fs::write(&path, NEW).unwrap();
        assert_eq!(shown(&secret, NEW, -100, false), Fit::Current, "the clock was set back");
    }

    #[test]
    fn a_replaced_secret_is_remembered_for_a_while_and_does_not_let_in() {
        let (_directory, path) = file(OLD);
        let secret = live(Secret::File(path.clone()));
        assert_eq!(shown(&secret, OLD, 0, false), Fit::Current);
        fs::write(&path, NEW).unwrap();
        assert_eq!(shown(&secret, OLD, 1, false), Fit::Replaced);
        assert_eq!(shown(&secret, OLD, 600, false), Fit::Replaced);
        assert_eq!(shown(&secret, OLD, 601, false), Fit::No);
    }

    #[test]
    fn a_file_that_cannot_be_used_lets_nobody_in_until_it_can() {
        let (directory, path) = file(OLD);
        let secret = live(Secret::File(path.clone()));
        assert_eq!(shown(&secret, OLD, 0, false), Fit::Current);
        fs::remove_file(&path).unwrap();
        assert_eq!(shown(&secret, NEW, 1, false), Fit::Unknown);
        assert_eq!(shown(&secret, OLD, 1, false), Fit::Replaced, "not let in, but not unknown either");
        for useless in ["", "\n", "short", "two\nlines of a file that is long", &"x".repeat(70_000)] {
            fs::write(&path, useless).unwrap();
            for text in [useless, "", NEW] {
                assert_eq!(shown(&secret, text, 2, true), Fit::Unknown, "{useless:.20}");
            }
        }
        fs::write(&path, [0xff; 32]).unwrap();
        assert_eq!(shown(&secret, "", 3, true), Fit::Unknown);
        fs::write(&path, NEW).unwrap();
        assert_eq!(shown(&secret, NEW, 4, false), Fit::Current);
        drop(directory);
    }

    #[test]
    fn a_private_file_must_be_ours_alone() {
        let (_directory, path) = file(OLD);
        let secret = live(Secret::File(path.clone())).private();
        for (mode, fit) in
            [(0o600, Fit::Current), (0o640, Fit::Unknown), (0o604, Fit::Unknown), (0o400, Fit::Current)]
        {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            secret.refresh(at(0), true);
            let found = secret.compare(at(10_000), |known| {
                hmac::verify(&secret.comparing, OLD.as_bytes(), known.tag.as_ref()).is_ok()
            });
            assert_eq!(found, fit, "{mode:o}");
        }
        let link = path.with_file_name("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let secret = live(Secret::File(link)).private();
        assert_eq!(shown(&secret, "", 0, true), Fit::Unknown);
    }

    #[test]
    fn signatures_are_those_of_the_secret_over_all_parts() {
        let secret = live(Secret::Text(OLD.into()));
        secret.refresh(at(0), false);
        let key = hmac::Key::new(hmac::HMAC_SHA256, OLD.as_bytes());
        let signature = hmac::sign(&key, b"1795500000:{}");
        let fit = |parts: &[&[u8]], signature: &[u8]| secret.signs(parts, signature, at(0));
        assert_eq!(fit(&[b"1795500000", b":", b"{}"], signature.as_ref()), Fit::Current);
        assert_eq!(fit(&[b"1795500001", b":", b"{}"], signature.as_ref()), Fit::No);
        assert_eq!(fit(&[b"1795500000", b":", b"{}"], &signature.as_ref()[1..]), Fit::No);
        assert_eq!(fit(&[b"1795500000", b":", b"{}"], b""), Fit::No);
    }
}
