//! One client of a swarm as it is wanted: where it connects to, from where, and as whom.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

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
    /// How many subjects of its own it subscribes to.
    pub subscriptions: u32,
    /// What those subjects begin with. Swarms of one server that publish need one each.
    pub prefix: Arc<str>,
    /// Subjects it subscribes to together with others.
    pub subjects: Vec<Arc<str>>,
    /// What it publishes while it is up.
    pub traffic: Option<Traffic>,
    /// How long it leaves lying what the server sends, again and again, before it reads all of it: a
    /// slow consumer.
    pub dozes: Option<Duration>,
}

/// Messages that a client publishes, one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// Where to; `None` is the first of its own subjects.
    pub subject: Option<Arc<str>>,
    /// The mean pause between two messages; it varies by half in both directions.
    pub every: Duration,
    /// The size of a message.
    pub payload_bytes: usize,
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
            prefix: Arc::from("swarm"),
            subjects: Vec::new(),
            traffic: None,
            dozes: None,
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

    /// Lets the client subscribe to this many subjects of its own.
    pub fn subscriptions(mut self, subscriptions: u32) -> Self {
        self.subscriptions = subscriptions;
        self
    }

    /// Sets what the client's own subjects begin with.
    pub fn prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Lets the client subscribe to a subject that others subscribe to too.
    pub fn subscribed_to(mut self, subject: impl Into<Arc<str>>) -> Self {
        self.subjects.push(subject.into());
        self
    }

    /// Lets the client publish.
    pub fn traffic(mut self, traffic: Traffic) -> Self {
        self.traffic = Some(traffic);
        self
    }

    /// Makes the client a slow consumer that reads once in `pause`.
    pub fn dozes(mut self, pause: Duration) -> Self {
        self.dozes = Some(pause);
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
            write!(hello, "SUB {}.{index}.{sid} {sid}\r\n", self.prefix).expect("a string takes any text");
        }
        for (subject, sid) in self.subjects.iter().zip(u64::from(self.subscriptions) + 1..) {
            write!(hello, "SUB {subject} {sid}\r\n").expect("a string takes any text");
        }
        hello.push_str("PING\r\n");
        hello
    }

    /// Writes one message of the client's traffic.
    pub(super) fn message(&self, traffic: &Traffic, index: usize) -> String {
        let size = traffic.payload_bytes;
        match &traffic.subject {
            Some(subject) => format!("PUB {subject} {size}\r\n{:.<size$}\r\n", ""),
            None => format!("PUB {}.{index}.1 {size}\r\n{:.<size$}\r\n", self.prefix, ""),
        }
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

    #[test]
    fn a_client_subscribes_to_shared_subjects_after_its_own() {
        let spec = ClientSpec::new(SocketAddr::from(([127, 0, 0, 1], 4222)))
            .subscriptions(1)
            .prefix("orders")
            .subscribed_to("ticks");
        let (own, shared) = (traffic(None), traffic(Some("ticks")));

        assert!(spec.hello(3).ends_with("\r\nSUB orders.3.1 1\r\nSUB ticks 2\r\nPING\r\n"));
        assert_eq!(spec.message(&own, 3), "PUB orders.3.1 4\r\n....\r\n");
        assert_eq!(spec.message(&shared, 3), "PUB ticks 4\r\n....\r\n");
    }

    fn traffic(subject: Option<&str>) -> Traffic {
        Traffic { subject: subject.map(Arc::from), every: Duration::from_secs(1), payload_bytes: 4 }
    }
}
