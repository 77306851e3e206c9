//! What a server says of itself at `/varz`, cut down to what is used.

use serde::Deserialize;

use crate::nats::text::clipped;

/// The part of `/varz` that connwarden reads. Every version from 2.9 to 2.15 has these fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Varz {
    /// The server's nats id (`N…`), new at each start.
    #[serde(deserialize_with = "clipped")]
    pub server_id: String,
    /// Its name; the id again where none is configured.
    #[serde(default, deserialize_with = "clipped")]
    pub server_name: String,
    /// Its version, such as `2.10.26`.
    #[serde(default, deserialize_with = "clipped")]
    pub version: String,
    /// Clients connected now, sockets that have not authenticated yet among them; no leafnodes, no routes.
    #[serde(default)]
    pub connections: u64,
    /// The configured limit, if it is told. 0 and below mean different things in different versions.
    pub max_connections: Option<i64>,
}

impl Varz {
    /// Whether this version hides tokens in `authorized_user` (from 2.11 on); unknown versions do not.
    pub fn redacts_tokens(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().ok());
        match (parts.next().flatten(), parts.next().flatten()) {
            (Some(major), Some(minor)) => (major, minor) >= (2, 11),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_not_told_is_not_0() {
        let read = |json| serde_json::from_str::<Varz>(json).unwrap().max_connections;
        assert_eq!(read(r#"{"server_id":"N","max_connections":0}"#), Some(0));
        assert_eq!(read(r#"{"server_id":"N","max_connections":-1}"#), Some(-1));
        assert_eq!(read(r#"{"server_id":"N"}"#), None);
    }

    #[test]
    fn tokens_are_redacted_from_2_11_on() {
        let redacts =
            |version: &str| Varz { version: version.to_owned(), ..Varz::default() }.redacts_tokens();
        assert!(redacts("2.11.0"));
        assert!(redacts("2.15.1"));
        assert!(redacts("3.0.0-beta.1"));
        assert!(!redacts("2.10.26"));
        assert!(!redacts("2.9.10"));
        assert!(!redacts(""));
        assert!(!redacts("devel"));
    }
}
