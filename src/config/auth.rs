//! How to be let in by servers that are asked: a user and a password, or a bearer token.

use std::{io, path::Path};

use secrecy::SecretString;

use super::{
    scalar::{self, quoted},
    section::Section,
};
use crate::model::remote_auth::RemoteAuth;

/// Reads the text of a file that holds a secret.
pub(super) type ReadSecret<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Reads how to be let in by a server that is asked; none if nothing is said about it, or it is wrong.
pub(super) fn read_auth(section: &Section<'_>, read_secret: ReadSecret<'_>) -> Option<RemoteAuth> {
    let basic_auth = section.section("basic_auth");
    let basic = if section.mentions("basic_auth") {
        let username = basic_auth.required("username", username);
        let secret = Secret { key: "password", file_key: "password_file", check: check_password };
        let password = secret.read(&basic_auth, read_secret);
        if !secret.is_mentioned(&basic_auth) {
            basic_auth.missing("password", "is missing, give it here or in a `password_file`");
        }
        Some((username, password))
    } else {
        None
    };

    let secret = Secret { key: "bearer_token", file_key: "bearer_token_file", check: check_token };
    let bearer = secret.read(section, read_secret);
    if basic.is_some() && secret.is_mentioned(section) {
        let message = "both `basic_auth` and a bearer token are given, only one can be sent";
        section.problem("basic_auth", message);
    }

    match (basic, bearer) {
        (Some((username, password)), _) => {
            Some(RemoteAuth::Basic { username: username?, password: password? })
        }
        (None, bearer) => bearer.map(RemoteAuth::Bearer),
    }
}

/// Reads the name of a user, as it is sent with a password.
pub(super) fn username(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(':') || text.chars().any(char::is_control) {
        Err("expected a user name without a colon".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn check_password(password: &str) -> Result<(), &'static str> {
    if password.chars().any(char::is_control) {
        Err("the password must be one line without control characters")
    } else {
        Ok(())
    }
}

fn check_token(token: &str) -> Result<(), &'static str> {
    if token.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("the token must be one line of printable ASCII characters without blanks")
    }
}

/// A secret that is given in the configuration or in a file of its own.
struct Secret {
    key: &'static str,
    file_key: &'static str,
    check: fn(&str) -> Result<(), &'static str>,
}

impl Secret {
    fn is_mentioned(&self, section: &Section<'_>) -> bool {
        section.mentions(self.key) || section.mentions(self.file_key)
    }

    /// Reads the secret. Nothing of it may get into a message.
    fn read(&self, section: &Section<'_>, read_secret: ReadSecret<'_>) -> Option<SecretString> {
        if section.mentions(self.key) && section.mentions(self.file_key) {
            let message = format!("both `{}` and `{}` are given", self.key, self.file_key);
            section.problem(self.file_key, message);
            return None;
        }
        if section.mentions(self.file_key) {
            return section.required(self.file_key, |text| {
                let path = scalar::path(text)?;
                let content =
                    read_secret(&path).map_err(|error| format!("cannot read {}: {error}", quoted(text)))?;
                let line = content.strip_suffix('\n').unwrap_or(&content);
                self.accept(line.strip_suffix('\r').unwrap_or(line))
            });
        }
        if section.mentions(self.key) {
            return section.required(self.key, |text| self.accept(text));
        }
        None
    }

    fn accept(&self, secret: &str) -> Result<SecretString, String> {
        if secret.is_empty() {
            return Err("the secret is empty".to_owned());
        }
        (self.check)(secret)?;
        Ok(SecretString::from(secret))
    }
}
