//! Servers: what tells one from the others of its cluster.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

/// How a key that is a name begins in text; no monitoring URL begins like this.
const NAME: &str = "name:";

/// What tells a server from the others of its cluster and outlives its restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ServerKey {
    /// Its configured monitoring URL.
    Url(Url),
    /// Its server name, where no monitoring URL is configured for it.
    Name(String),
}

impl ServerKey {
    /// The key of a server: its monitoring URL if it has one, else its name.
    pub fn of(url: Option<&Url>, name: Option<&str>) -> Option<Self> {
        url.map(|url| Self::Url(url.clone())).or_else(|| name.map(|name| Self::Name(name.to_owned())))
    }

    /// The monitoring URL, if it is one.
    pub fn url(&self) -> Option<&Url> {
        match self {
            Self::Url(url) => Some(url),
            Self::Name(_) => None,
        }
    }

    /// What to call the server as long as nothing better is known.
    pub fn shown(&self) -> &str {
        match self {
            Self::Url(url) => url.as_str().trim_end_matches('/'),
            Self::Name(name) => name,
        }
    }
}

/// Writes it as [`FromStr`] reads it: the URL, or `name:` and the name.
impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url.as_str()),
            Self::Name(name) => write!(f, "{NAME}{name}"),
        }
    }
}

/// A text is not the key of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither a URL nor `{NAME}` and the name of a server")]
pub struct InvalidServerKey;

impl FromStr for ServerKey {
    type Err = InvalidServerKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(NAME) {
            Some(name) => Ok(Self::Name(name.to_owned())),
            None => Url::parse(text).map(Self::Url).map_err(|_| InvalidServerKey),
        }
    }
}

impl From<ServerKey> for String {
    fn from(key: ServerKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for ServerKey {
    type Error = InvalidServerKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let url = ServerKey::Url(Url::parse("http://nats-1:8222").unwrap());
        for (key, text) in [
            (url, "http://nats-1:8222/"),
            (ServerKey::Name("nats-1".to_owned()), "name:nats-1"),
            // a server may call itself anything
            (ServerKey::Name("http://nats-1:8222/".to_owned()), "name:http://nats-1:8222/"),
            (ServerKey::Name("name:".to_owned()), "name:name:"),
        ] {
            assert_eq!(key.to_string(), text);
            assert_eq!(text.parse(), Ok(key));
        }
        assert_eq!("nats-1".parse::<ServerKey>(), Err(InvalidServerKey));
    }
}
