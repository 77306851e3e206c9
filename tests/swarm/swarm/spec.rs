//! One client of a swarm as it is wanted: where it connects to, from where, and as whom.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::json;

/// One client as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSpec {
    /// The server it connects to.
    pub server: SocketAddr,
    /// The name in its CONNECT.
    pub name: Option<String>,
    /// The local address it connects from.
    pub source: Option<IpAddr>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// Authentication token.
    pub token: Option<String>,
    /// User JWT. It must be a bearer JWT: the swarm signs no nonce.
    pub jwt: Option<Arc<str>>,
    /// The client library it says it is.
    pub lang: String,
    /// The version of that library.
    pub version: String,
    /// How many subjects it subscribes to.
    pub subscriptions: u32,
}

impl ClientSpec {
    /// Describes an unnamed client without credentials and subscriptions.
    pub fn new(server: SocketAddr) -> Self {
        Self {
            server,
            name: None,
            source: None,
            user: None,
            token: None,
            jwt: None,
            lang: "rust".to_owned(),
            version: "0.0.1".to_owned(),
            subscriptions: 0,
        }
    }

    /// Names the client; an empty name means none.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// Lets the client connect from this local address.
    pub fn source(mut self, source: impl Into<IpAddr>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Gives the client a user and password.
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some((user.into(), password.into()));
        self
    }

    /// Gives the client an authentication token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Gives the client a bearer JWT.
    pub fn jwt(mut self, jwt: impl Into<Arc<str>>) -> Self {
        self.jwt = Some(jwt.into());
        self
    }

    /// Lets the client say it is this library in this version.
    pub fn library(mut self, lang: impl Into<String>, version: impl Into<String>) -> Self {
        self.lang = lang.into();
        self.version = version.into();
        self
    }

    /// Lets the client subscribe to this many subjects.
    pub fn subscriptions(mut self, subscriptions: u32) -> Self {
        self.subscriptions = subscriptions;
        self
    }

    /// Writes what the client sends once it has read the server's INFO.
    pub(super) fn hello(&self, index: usize) -> String {
        let mut connect = json!({
            "verbose": false,
            "pedantic": false,
            "lang": self.lang,
            "version": self.version,
            "protocol": 1,
            "echo": true,
            "headers": true,
            "no_responders": true,
        });
        if let Some(name) = &self.name {
            connect["name"] = json!(name);
        }
        if let Some((user, password)) = &self.user {
            connect["user"] = json!(user);
            connect["pass"] = json!(password);
        }
        if let Some(token) = &self.token {
            connect["auth_token"] = json!(token);
        }
        if let Some(jwt) = &self.jwt {
            connect["jwt"] = json!(&**jwt);
        }
        let mut hello = format!("CONNECT {connect}\r\n");
        for sid in 1..=self.subscriptions {
            write!(hello, "SUB swarm.{index}.{sid} {sid}\r\n").expect("a string takes any text");
        }
        hello.push_str("PING\r\n");
        hello
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_introduces_itself_with_a_name_that_needs_escaping() {
        let spec = ClientSpec::new(SocketAddr::from(([127, 0, 0, 1], 4222)))
            .name("a\"b\r\n")
            .user("alice", "secret")
            .subscriptions(2);

        let hello = spec.hello(7);
        let lines: Vec<_> = hello.split("\r\n").collect();
        let connect: serde_json::Value =
            serde_json::from_str(lines[0].trim_start_matches("CONNECT ")).expect("valid JSON");

        assert_eq!(connect["name"], "a\"b\r\n");
        assert_eq!(connect["user"], "alice");
        assert_eq!(connect["pass"], "secret");
        assert_eq!(lines[1..], ["SUB swarm.7.1 1", "SUB swarm.7.2 2", "PING", ""]);
    }
}
