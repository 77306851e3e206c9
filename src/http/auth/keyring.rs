//! Every credential there is, ready to compare with what is shown.

use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use ring::hmac;

use crate::http::auth::secret::{Fit, LiveSecret};
use crate::model::credential::{
    Actor, CertificateName, Credential, LOCAL_OPERATOR, Proof, Role, Secret, check_password,
    check_signing_secret, check_token,
};

/// Every credential there is.
#[derive(Debug)]
pub(super) struct Keyring {
    entries: Vec<Arc<Entry>>,
    /// Whose token is made in the storage directory.
    local: OnceLock<Arc<Entry>>,
    comparing: hmac::Key,
}

/// One credential.
#[derive(Debug)]
pub(super) struct Entry {
    actor: Actor,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Bearer(LiveSecret),
    Basic { username: String, password: LiveSecret },
    Certificate(CertificateName),
    Signature { secret: LiveSecret, header: HeaderName, timestamp_header: Option<HeaderName> },
}

/// What was shown in `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown<'a> {
    /// A token.
    Bearer(&'a str),
    /// A user and a password.
    Basic(&'a str, &'a str),
}

/// Whose something is that was shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Theirs.
    Actor(Actor),
    /// It was somebody's until a moment ago.
    Replaced,
    /// A secret that it may be cannot be read.
    Unreadable,
    /// Nobody's.
    Nobody,
}

/// A signature that a credential may have made.
#[derive(Debug, Clone)]
pub(in crate::http) struct Signature {
    entry: Arc<Entry>,
    bytes: Vec<u8>,
    timestamp: Option<String>,
}

impl Keyring {
    /// Makes ready for comparing; `key` is nobody else's.
    pub(super) fn new(credentials: Vec<Credential>, key: &[u8; 32]) -> Self {
        let comparing = hmac::Key::new(hmac::HMAC_SHA256, key);
        let entries = credentials.into_iter().filter_map(|credential| entry(credential, &comparing));
        Self { entries: entries.collect(), local: OnceLock::new(), comparing }
    }

    /// Lets in whoever shows the token in `secret`, as the operator of this host. The first one counts.
    pub(super) fn trust_local_operator(&self, secret: Secret) {
        let private = matches!(secret, Secret::File(_));
        let live = LiveSecret::new(secret, check_token, self.comparing.clone());
        let live = if private { live.private() } else { live };
        let actor = Actor { name: LOCAL_OPERATOR.to_owned(), role: Role::Operator };
        let _ = self.local.set(Arc::new(Entry { actor, way: Way::Bearer(live) }));
    }

    /// Whether nobody is configured.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a user and a password may let somebody in.
    pub(super) fn knows_users(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.way, Way::Basic { .. }))
    }

    /// Finds whose something is that was shown. What fits nothing is compared a second time, with every file read anew.
    pub(super) fn find(&self, shown: Shown<'_>, now: Timestamp) -> Found {
        match self.find_once(shown, now, false) {
            found @ Found::Actor(_) => found,
            _ => self.find_once(shown, now, true),
        }
    }

    fn find_once(&self, shown: Shown<'_>, now: Timestamp, at_once: bool) -> Found {
        // all of them, whatever is found before: how long it takes tells nothing
        let fits = self.all().filter_map(|entry| Some((entry, entry.fit(shown, now, at_once)?)));
        best(fits.collect::<Vec<_>>())
    }

    /// Finds whose certificate it is.
    pub(super) fn find_certificate(&self, names: &[CertificateName]) -> Option<Actor> {
        let is = |entry: &&Arc<Entry>| matches!(&entry.way, Way::Certificate(name) if names.contains(name));
        self.entries.iter().find(is).map(|entry| entry.actor.clone())
    }

    /// The signatures among the headers of a request, by whoever may have made them; none if nobody signs so.
    pub(super) fn signatures(&self, headers: &HeaderMap) -> Option<Vec<Signature>> {
        let mut signed = false;
        let signatures = self.entries.iter().filter_map(|entry| {
            let Way::Signature { header, timestamp_header, .. } = &entry.way else { return None };
            signed |= headers.contains_key(header);
            let bytes = from_hex(only(headers, header)?)?;
            let timestamp = match timestamp_header {
                Some(header) => Some(only(headers, header)?.to_owned()),
                None => None,
            };
            Some(Signature { entry: entry.clone(), bytes, timestamp })
        });
        let signatures = signatures.collect();
        signed.then_some(signatures)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().chain(self.local.get())
    }
}

impl Entry {
    /// How what was shown fits; none if it is of another kind.
    fn fit(&self, shown: Shown<'_>, now: Timestamp, at_once: bool) -> Option<Fit> {
        match (&self.way, shown) {
            (Way::Bearer(secret), Shown::Bearer(token)) => {
                secret.refresh(now, at_once);
                Some(secret.fits(token.as_bytes(), now))
            }
            (Way::Basic { username, password }, Shown::Basic(user, shown)) => {
                password.refresh(now, at_once);
                let fit = password.fits(shown.as_bytes(), now);
                (user == username).then_some(fit)
            }
            _ => None,
        }
    }
}

impl Signature {
    /// When the body was signed, as it was signed.
    pub(super) fn timestamp(&self) -> Option<&str> {
        self.timestamp.as_deref()
    }

    /// Finds whose of these signatures is one of `body`, and which.
    pub(super) fn find<'s>(all: &'s [Self], body: &[u8], now: Timestamp) -> (Found, Option<&'s Self>) {
        for at_once in [false, true] {
            let fits: Vec<(&Arc<Entry>, Fit)> =
                all.iter().map(|signature| (&signature.entry, signature.fit(body, now, at_once))).collect();
            let place = fits.iter().position(|(_, fit)| *fit == Fit::Current);
            let found = best(fits);
            if place.is_some() || at_once {
                return (found, place.map(|place| &all[place]));
            }
        }
        (Found::Nobody, None)
    }

    fn fit(&self, body: &[u8], now: Timestamp, at_once: bool) -> Fit {
        let Way::Signature { secret, .. } = &self.entry.way else { return Fit::No };
        secret.refresh(now, at_once);
        match &self.timestamp {
            Some(timestamp) => secret.signs(&[timestamp.as_bytes(), b":", body], &self.bytes, now),
            None => secret.signs(&[body], &self.bytes, now),
        }
    }
}

fn entry(credential: Credential, comparing: &hmac::Key) -> Option<Arc<Entry>> {
    let Credential { name, role, proof } = credential;
    let live = |secret, check| LiveSecret::new(secret, check, comparing.clone());
    let way = match proof {
        Proof::Bearer(secret) => Way::Bearer(live(secret, check_token)),
        Proof::Basic { username, password } => {
            Way::Basic { username, password: live(password, check_password) }
        }
        Proof::Certificate(name) => Way::Certificate(name),
        Proof::Signature { secret, header, timestamp_header } => {
            let name = |header: String| HeaderName::try_from(header).ok();
            Way::Signature {
                secret: live(secret, check_signing_secret),
                header: name(header)?,
                timestamp_header: match timestamp_header {
                    // without it, what is signed would be another text
                    Some(header) => Some(name(header)?),
                    None => None,
                },
            }
        }
    };
    Some(Arc::new(Entry { actor: Actor { name, role }, way }))
}

/// What it comes to, by how each credential fits.
fn best(fits: Vec<(&Arc<Entry>, Fit)>) -> Found {
    let is = |wanted: Fit| fits.iter().find(|(_, fit)| *fit == wanted);
    if let Some((entry, _)) = is(Fit::Current) {
        Found::Actor(entry.actor.clone())
    } else if is(Fit::Replaced).is_some() {
        Found::Replaced
    } else if is(Fit::Unknown).is_some() {
        Found::Unreadable
    } else {
        Found::Nobody
    }
}

/// The value of a header that is there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let bytes = text.as_bytes().chunks_exact(2).map(|pair| {
        let value = digit(pair[0])? * 16 + digit(pair[1])?;
        u8::try_from(value).ok()
    });
    bytes.collect()
}
