//! Authorised users, without the tokens that servers before 2.11 show in their place.
//!
//! With token authentication those servers put the token itself, in clear, into `authorized_user`. There a value is
//! kept as it is only when it cannot be a token:
//!
//! * the public key of a user (`U` and 55 characters of base 32, a checksum among them) is no secret;
//! * a member of a configured account has a user name: a token leads to the global account, or, behind an
//!   authorisation callout, to a connection with an issuer.
//!
//! Everything else becomes `user#` and a keyed hash, equal for equal users.

use std::borrow::Cow;
use std::fmt;

use ring::hmac;

use crate::nats::connz::Connection;

/// Replaces users that may be tokens.
#[derive(Clone)]
pub struct UserMask(hmac::Key);

impl UserMask {
    /// Makes a mask. The same key gives the same hashes, so that a user is recognised tomorrow.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The user of a connection, in a form that may be stored and shown.
    pub fn user<'a>(&self, connection: &'a Connection<'_>, server_redacts: bool) -> Option<Cow<'a, str>> {
        let user = connection.authorized_user.as_deref()?;
        let no_token = server_redacts
            || user == "[REDACTED]"
            || is_public_key(user)
            || (connection.issuer_key.is_none()
                && connection.account.as_deref().is_some_and(|name| name != "$G"));
        Some(if no_token { Cow::Borrowed(user) } else { Cow::Owned(self.hash(user)) })
    }

    fn hash(&self, user: &str) -> String {
        let tag = hmac::sign(&self.0, user.as_bytes());
        let hex: String = tag.as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("user#{hex}")
    }
}

impl fmt::Debug for UserMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserMask")
    }
}

/// The first byte of a user's public key, which makes it begin with `U`.
const USER_PREFIX: u8 = 20 << 3;

/// Whether the text is the public key of a user, as `nkeys` writes it: in base 32 the prefix, 32 bytes of key, and a
/// checksum over both. By its shape alone it could be a token.
fn is_public_key(text: &str) -> bool {
    text.len() == 56
        && base32(text).is_some_and(|bytes| match bytes.split_last_chunk::<2>() {
            Some((key, sum)) => key.first() == Some(&USER_PREFIX) && crc16(key) == u16::from_le_bytes(*sum),
            None => false,
        })
}

/// Decodes base 32 (RFC 4648) without padding; bits that make no whole byte are dropped.
fn base32(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() * 5 / 8), 0_u16, 0);
    for character in text.bytes() {
        let five = match character {
            b'A'..=b'Z' => character - b'A',
            b'2'..=b'7' => character - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u16::from(five);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(
            sum ^ u16::from(*byte) << 8,
            |sum: u16, _| {
                if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "UCKUF47SNOXWEMFRK2AUCS445BFMZ7SSG3A7NLPJGHOWZMVCNSOZTYFH";

    #[test]
    fn what_only_looks_like_a_public_key_may_be_a_token() {
        assert!(is_public_key(KEY));
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for place in 0..KEY.len() {
            let other = if &KEY[place..=place] == "A" { "B" } else { "A" };
            let flipped = format!("{}{other}{}", &KEY[..place], &KEY[place + 1..]);
            assert!(!is_public_key(&flipped), "{flipped}");
        }
        for text in
            ["", "U", &KEY.to_lowercase(), &KEY[..55], &format!("{KEY}A"), &format!("{}é", &KEY[..54])]
        {
            assert!(!is_public_key(text), "{text}");
        }
    }

    #[test]
    fn what_may_be_a_token_is_hashed() {
        let mask = UserMask::new(&[7; 32]);
        // (user, account, issuer, does the server redact, is it kept)
        let cases = [
            ("s3cret", None, None, false, false),
            ("s3cret", Some("$G"), None, false, false),
            ("s3cret", Some("APP"), Some("AUTH"), false, false),
            ("alice", Some("APP"), None, false, true),
            ("alice", None, None, true, true),
            ("[REDACTED]", None, None, false, true),
            (KEY, None, None, false, true),
        ];
        for (user, account, issuer, redacts, kept) in cases {
            let connection = Connection {
                authorized_user: Some(user.into()),
                account: account.map(Cow::from),
                issuer_key: issuer.map(Cow::from),
                ..Connection::default()
            };
            let shown = mask.user(&connection, redacts).unwrap();
            assert_eq!(shown == user, kept, "{user} {account:?} {issuer:?}");
            assert!(kept || shown.starts_with("user#") && shown.len() == 17, "{shown}");
        }
    }

    #[test]
    fn equal_users_have_equal_hashes_under_one_key_only() {
        let (one, other) = (UserMask::new(&[1; 32]), UserMask::new(&[2; 32]));
        assert_eq!(one.hash("a"), one.hash("a"));
        assert_ne!(one.hash("a"), one.hash("b"));
        assert_ne!(one.hash("a"), other.hash("a"));
    }
}
