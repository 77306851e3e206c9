//! Credentials: who may do what here, and how they prove who they are.
//!
//! Not to be confused with [`RemoteAuth`](crate::model::remote_auth::RemoteAuth), with which connwarden proves
//! itself to others.

use std::path::PathBuf;

use secrecy::SecretString;

/// The name of the operator whose token is made in the storage directory.
pub const LOCAL_OPERATOR: &str = "local-operator";

/// The shortest bearer token or signing secret, in bytes: shorter ones can be guessed.
pub const SHORTEST_TOKEN: usize = 16;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Deliver notifications, and nothing else.
    Webhook,
    /// Tell of changes, and nothing else.
    Reporter,
    /// Read everything, and nothing else.
    Viewer,
    /// Everything.
    Operator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Webhook, Self::Reporter, Self::Viewer, Self::Operator];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Reporter => "reporter",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }

    /// Whether this role has what `needed` has.
    pub fn includes(self, needed: Self) -> bool {
        self == Self::Operator || self == needed
    }
}

/// Somebody who has proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name of the credential.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// One way to be let in. Debug output does not show the secrets.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The name, unique among the credentials: whoever shows it acts under this name.
    pub name: String,
    /// What it is good for.
    pub role: Role,
    /// What has to be shown.
    pub proof: Proof,
}

/// What has to be shown.
#[derive(Debug, Clone)]
pub enum Proof {
    /// `Authorization: Bearer …`
    Bearer(Secret),
    /// `Authorization: Basic …`
    Basic {
        /// The user.
        username: String,
        /// The user's password.
        password: Secret,
    },
    /// A client certificate with this name, vouched for by the CA that is trusted for clients.
    Certificate(CertificateName),
    /// A signature of the body, as Grafana makes it.
    Signature {
        /// What it is made with.
        secret: Secret,
        /// The header that has it, in lower case.
        header: String,
        /// The header that has the time of signing, in lower case, if that is signed too.
        timestamp_header: Option<String>,
    },
}

impl Proof {
    /// The secret in it, if there is one.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Bearer(secret) | Self::Basic { password: secret, .. } | Self::Signature { secret, .. } => {
                Some(secret)
            }
            Self::Certificate(_) => None,
        }
    }

    /// Checks the text of its secret.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people; nothing of the secret is in it.
    pub fn check(&self, secret: &str) -> Result<(), &'static str> {
        match self {
            Self::Bearer(_) => check_token(secret),
            Self::Basic { .. } => check_password(secret),
            Self::Signature { .. } => check_signing_secret(secret),
            Self::Certificate(_) => Ok(()),
        }
    }
}

/// A name that a certificate gives its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of the subject.
    CommonName(String),
    /// A DNS name among the alternative names.
    Dns(String),
    /// A URI among the alternative names, such as a SPIFFE id.
    Uri(String),
}

/// A secret, or where it is kept.
#[derive(Debug, Clone)]
pub enum Secret {
    /// The secret itself.
    Text(SecretString),
    /// A file that holds it, and may be replaced at any time.
    File(PathBuf),
}

/// Checks a bearer token.
///
/// # Errors
///
/// What is wrong with it, for people.
pub fn check_token(token: &str) -> Result<(), &'static str> {
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err("the token must be one line of printable ASCII characters without blanks")
    } else if token.len() < SHORTEST_TOKEN {
        Err("the token is shorter than 16 characters, take a random one (`openssl rand -hex 32`)")
    } else {
        Ok(())
    }
}

/// Checks a password.
///
/// # Errors
///
/// What is wrong with it, for people.
pub fn check_password(password: &str) -> Result<(), &'static str> {
    if password.is_empty() {
        Err("the secret is empty")
    } else if password.chars().any(char::is_control) {
        Err("the password must be one line without control characters")
    } else {
        Ok(())
    }
}

/// Checks what signatures are made with.
///
/// # Errors
///
/// What is wrong with it, for people.
pub fn check_signing_secret(secret: &str) -> Result<(), &'static str> {
    if secret.chars().any(char::is_control) {
        Err("the secret must be one line without control characters")
    } else if secret.len() < SHORTEST_TOKEN {
        Err("the secret is shorter than 16 characters, take a random one (`openssl rand -hex 32`)")
    } else {
        Ok(())
    }
}

/// The secret in a file's content: one line end behind it is left out.
pub fn line_of(content: &str) -> &str {
    let line = content.strip_suffix('\n').unwrap_or(content);
    line.strip_suffix('\r').unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_operator_has_what_others_have() {
        let included = |role: Role| Role::ALL.map(|needed| role.includes(needed));
        assert_eq!(included(Role::Webhook), [true, false, false, false]);
        assert_eq!(included(Role::Reporter), [false, true, false, false]);
        assert_eq!(included(Role::Viewer), [false, false, true, false]);
        assert_eq!(included(Role::Operator), [true, true, true, true]);
    }

    #[test]
    fn what_can_be_guessed_or_sent_in_no_header_is_no_secret() {
        assert!(check_token("0123456789abcdef").is_ok());
        for token in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdefé", "0123456789\nabcdef"]
        {
            assert!(check_token(token).is_err(), "{token}");
            assert!(token.contains(' ') || token.contains('é') || check_signing_secret(token).is_err());
        }
        assert!(check_password("x").is_ok());
        assert!(check_password("").is_err() && check_password("a\nb").is_err());
    }

    #[test]
    fn one_line_end_is_left_out() {
        for content in ["a", "a\n", "a\r\n"] {
            assert_eq!(line_of(content), "a");
        }
        assert_eq!(line_of("a\n\n"), "a\n");
    }
}
