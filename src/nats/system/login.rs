//! What is shown to be let in: read from its files for each connection, so that they may be replaced at any time.
//!
//! Nothing of a secret may get into a message.

use std::io::Read;
use std::path::Path;

use async_nats::Auth;
use nkeys::KeyPair;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::model::system_account::{SystemAccess, SystemLogin, SystemTls};

/// The largest file that is read, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// Reads the files as a connection would.
///
/// # Errors
///
/// One of them cannot be used; says which and why.
pub fn check(access: &SystemAccess) -> Result<(), String> {
    read(&access.login)?;
    access.tls.as_ref().map_or(Ok(()), check_tls)
}

/// What is shown, once the server has sent what is to be signed.
pub(super) enum Proof {
    /// A user's JWT and the key that it is about.
    Jwt { jwt: String, key: KeyPair },
    /// A user's key.
    Key(KeyPair),
    /// A user and a password.
    Password { user: String, password: String },
}

impl Proof {
    /// What is sent to a server that wants `nonce` signed.
    pub(super) fn answer(self, nonce: &[u8]) -> Result<Auth, String> {
        let sign = |key: &KeyPair| key.sign(nonce).map_err(|error| format!("cannot sign: {error}"));
        let mut auth = Auth::new();
        match self {
            Self::Jwt { jwt, key } => {
                auth.signature = Some(sign(&key)?);
                auth.jwt = Some(jwt);
            }
            Self::Key(key) => {
                auth.signature = Some(sign(&key)?);
                auth.nkey = Some(key.public_key());
            }
            Self::Password { user, password } => {
                auth.username = Some(user);
                auth.password = Some(password);
            }
        }
        Ok(auth)
    }
}

/// Reads what is shown.
pub(super) fn read(login: &SystemLogin) -> Result<Proof, String> {
    match login {
        SystemLogin::Credentials(file) => {
            let text = read_file(file)?;
            let what = |what| format!("{} is no credentials file: it has no {what}", file.display());
            let jwt = block(&text, "USER JWT").ok_or_else(|| what("`BEGIN NATS USER JWT`"))?;
            let seed = block(&text, "NKEY SEED").ok_or_else(|| what("`BEGIN USER NKEY SEED`"))?;
            Ok(Proof::Jwt { jwt: jwt.to_owned(), key: key_pair(seed, file)? })
        }
        SystemLogin::Nkey(file) => {
            let text = read_file(file)?;
            let mut lines = text.lines().map(str::trim);
            let plain = || lines.find(|line| !line.is_empty() && !line.starts_with('#'));
            let seed = block(&text, "NKEY SEED").or_else(plain);
            let seed = seed.ok_or_else(|| format!("{} holds no seed of a user nkey", file.display()))?;
            Ok(Proof::Key(key_pair(seed, file)?))
        }
        SystemLogin::Password { user, password_file } => {
            let text = read_file(password_file)?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            let password = line.strip_suffix('\r').unwrap_or(line);
            if password.is_empty() || password.chars().any(char::is_control) {
                return Err(format!("{} does not hold a password in one line", password_file.display()));
            }
            Ok(Proof::Password { user: user.clone(), password: password.to_owned() })
        }
    }
}

/// The line below `-----BEGIN … kind-----`.
fn block<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("---") && line.contains("BEGIN") && line.contains(kind))?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with("---"))
}

fn key_pair(seed: &str, file: &Path) -> Result<KeyPair, String> {
    // what is wrong with it would repeat some of it
    KeyPair::from_seed(seed).map_err(|_| format!("{} holds no seed of a user nkey (`SU…`)", file.display()))
}

fn check_tls(tls: &SystemTls) -> Result<(), String> {
    let certificates = |file: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
        let text = read_file(file)?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match read {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            _ => Err(format!("{} holds no certificate in PEM", file.display())),
        }
    };
    if let Some(file) = &tls.ca_file {
        for certificate in certificates(file)? {
            let added = RootCertStore::empty().add(certificate);
            added.map_err(|error| format!("{} cannot be trusted: {error}", file.display()))?;
        }
    }
    if let Some((certificate, key)) = &tls.client {
        certificates(certificate)?;
        PrivateKeyDer::from_pem_slice(read_file(key)?.as_bytes())
            .map_err(|_| format!("{} holds no private key in PEM", key.display()))?;
    }
    Ok(())
}

fn read_file(file: &Path) -> Result<String, String> {
    let attempt = || -> std::io::Result<String> {
        let mut text = String::new();
        std::fs::File::open(file)?.take(LARGEST_FILE).read_to_string(&mut text)?;
        Ok(text)
    };
    attempt().map_err(|error| format!("cannot read {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_login_is_read_and_nothing_of_a_secret_is_repeated() {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::new_user();
        let seed = key.seed().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let creds = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.sig\n------END NATS USER JWT------\n\n****** IMPORTANT ******\n\
             NKEY Seed printed below can be used to sign and prove identity.\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n\
             ------END USER NKEY SEED------\n"
        );
        let auth = |login| read(&login).unwrap().answer(b"nonce").unwrap();

        let shown = auth(SystemLogin::Credentials(file("user.creds", &creds)));
        assert_eq!(shown.jwt.as_deref(), Some("eyJ0.eyJq.sig"));
        key.verify(b"nonce", &shown.signature.unwrap()).unwrap();
        for text in [format!("# for connwarden\n{seed}\n"), creds.clone()] {
            let shown = auth(SystemLogin::Nkey(file("user.nk", &text)));
            assert_eq!(shown.nkey, Some(key.public_key()));
            key.verify(b"nonce", &shown.signature.unwrap()).unwrap();
        }
        let user = "reader".to_owned();
        let shown =
            auth(SystemLogin::Password { user: user.clone(), password_file: file("password", "pa ss\n") });
        assert_eq!((shown.username.as_deref(), shown.password.as_deref()), (Some("reader"), Some("pa ss")));

        let broken = &seed[..20];
        let wrong = [
            SystemLogin::Credentials(file("seed-only", &seed)),
            SystemLogin::Credentials(file("broken.creds", &creds.replace(&seed, broken))),
            SystemLogin::Nkey(file("broken.nk", broken)),
            SystemLogin::Nkey(file("empty.nk", "\n# nothing\n")),
            SystemLogin::Password {
                user: user.clone(),
                password_file: file("two-lines", "secret\nsecret\n"),
            },
            SystemLogin::Password { user, password_file: directory.path().join("gone") },
        ];
        let place = format!("{}/", directory.path().display());
        let errors = wrong.map(|login| read(&login).err().unwrap().replace(&place, ""));
        insta::assert_snapshot!(errors.join("\n"), @r"
        seed-only is no credentials file: it has no `BEGIN NATS USER JWT`
        broken.creds holds no seed of a user nkey (`SU…`)
        broken.nk holds no seed of a user nkey (`SU…`)
        empty.nk holds no seed of a user nkey
        two-lines does not hold a password in one line
        cannot read gone: No such file or directory (os error 2)
        ");
        assert!(
            !errors.iter().any(|error| error.contains(&seed[..8]) || error.contains("secret")),
            "{errors:?}"
        );
    }
}
