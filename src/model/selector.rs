//! Selectors: which connections are meant.
//!
//! All conditions of a selector hold of whatever it selects; one without any would mean everything, and is refused.
//! Names, applications, accounts and users are compared with what breakdowns show, so that what was read there can be
//! written here.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::owner::Pattern;

/// The longest text of one condition, in bytes.
const LONGEST_CONDITION: usize = 1024;

/// The largest regular expression that is accepted, compiled, in bytes.
const LARGEST_REGEX: usize = 256 * 1024;

/// One connection, as selectors and plans look at it.
#[derive(Debug, Clone, Default)]
pub struct Candidate<'a> {
    /// The server's nats id.
    pub server_id: &'a str,
    /// What the server is called.
    pub server: &'a str,
    /// The connection's number on that server, in one run of it.
    pub cid: u64,
    /// When it connected, as the server says it.
    pub start: &'a str,
    /// The application, where the client has a name.
    pub application: Option<&'a str>,
    /// The client's name, else its MQTT client id.
    pub name: Option<&'a str>,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The account; `$G` is the global one.
    pub account: &'a str,
    /// What the account is called, where it is known by a key.
    pub account_name: Option<&'a str>,
    /// The user, as breakdowns show it.
    pub user: Option<&'a str>,
    /// The client library's language.
    pub lang: Option<&'a str>,
    /// The client library's version.
    pub version: Option<&'a str>,
    /// The kind of connection, as breakdowns show it: `client/nats`, `client/websocket`, `client/mqtt`, `leafnode`.
    pub kind: Option<&'a str>,
    /// How long nothing has been sent or received, in microseconds.
    pub idle_us: Option<i64>,
    /// How long it has been open, in microseconds.
    pub age_us: Option<i64>,
    /// Messages in both directions.
    pub messages: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Bytes the server could not send yet.
    pub pending_bytes: u64,
}

/// The conditions of a selector, as they are written; see [`Selector`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// The application is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The application fits this pattern: `*` stands for any characters, `?` for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_glob: Option<String>,
    /// The client's name is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The client's name fits this pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_glob: Option<String>,
    /// The client's name as a whole matches this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_regex: Option<String>,
    /// The client gives itself no name (`true`), or one (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnamed: Option<bool>,
    /// The client's address is this, or in this network (`10.0.0.0/8`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The account is this, by its key or by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The user is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The client library's language is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// The client library's version is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The kind of connection is this: `client` for every client, `client/nats`, `client/websocket`, `client/mqtt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// It is on the server of this name or nats id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Nothing was sent or received for at least so long.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional"
    )]
    #[schema(value_type = Option<String>, example = "10m")]
    pub idle_for: Option<Duration>,
    /// Not one message was ever sent or received (`true`), or some were (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_traffic: Option<bool>,
    /// It has been open for at least so long.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional"
    )]
    #[schema(value_type = Option<String>, example = "1h")]
    pub older_than: Option<Duration>,
    /// It has been open for less than so long.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional"
    )]
    #[schema(value_type = Option<String>, example = "5m")]
    pub younger_than: Option<Duration>,
    /// It has at most so many subscriptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions_at_most: Option<u64>,
    /// It has at least so many subscriptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions_at_least: Option<u64>,
    /// At least so many bytes wait to be sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_bytes_at_least: Option<u64>,
}

/// Why conditions make no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// There is no condition.
    #[error(
        "a selector without conditions would mean every connection: give at least one, such as `application`"
    )]
    Empty,
    /// A condition is too long, or empty.
    #[error("`{condition}` must have between 1 and {LONGEST_CONDITION} bytes")]
    Length {
        /// Which condition.
        condition: &'static str,
    },
    /// A condition cannot be understood.
    #[error("`{condition}`: {why}")]
    Unreadable {
        /// Which condition.
        condition: &'static str,
        /// What is wrong with it, in one line.
        why: String,
    },
}

/// Says which connections are meant: those of which all its conditions hold. Has at least one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Conditions", into = "Conditions")]
pub struct Selector {
    conditions: Conditions,
    application_glob: Option<Pattern>,
    name_glob: Option<Pattern>,
    name_regex: Option<Regex>,
    network: Option<IpNet>,
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.conditions == other.conditions
    }
}

impl Eq for Selector {}

impl From<Selector> for Conditions {
    fn from(selector: Selector) -> Self {
        selector.conditions
    }
}

impl TryFrom<Conditions> for Selector {
    type Error = SelectorError;

    fn try_from(conditions: Conditions) -> Result<Self, Self::Error> {
        if conditions == Conditions::default() {
            return Err(SelectorError::Empty);
        }
        for (condition, text) in conditions.texts() {
            if text.is_empty() || text.len() > LONGEST_CONDITION {
                return Err(SelectorError::Length { condition });
            }
        }
        if let Some(kind) = &conditions.kind
            && !matches!(kind.as_str(), "client" | "client/nats" | "client/websocket" | "client/mqtt")
        {
            let why = "must be `client`, `client/nats`, `client/websocket` or `client/mqtt`; \
                       leafnodes are never selected";
            return Err(SelectorError::Unreadable { condition: "kind", why: why.to_owned() });
        }
        let name_regex = conditions.name_regex.as_deref().map(whole_regex).transpose()?;
        let network = conditions.ip.as_deref().map(network).transpose()?;
        let pattern = |text: &Option<String>| text.as_ref().map(|text| Pattern::new(text.clone()));
        Ok(Self {
            application_glob: pattern(&conditions.application_glob),
            name_glob: pattern(&conditions.name_glob),
            name_regex,
            network,
            conditions,
        })
    }
}

impl Conditions {
    /// The conditions that are texts, each with its name.
    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let texts = [
            ("application", &self.application),
            ("application_glob", &self.application_glob),
            ("name", &self.name),
            ("name_glob", &self.name_glob),
            ("name_regex", &self.name_regex),
            ("ip", &self.ip),
            ("account", &self.account),
            ("user", &self.user),
            ("lang", &self.lang),
            ("version", &self.version),
            ("kind", &self.kind),
            ("server", &self.server),
        ];
        texts.into_iter().filter_map(|(condition, text)| Some((condition, text.as_deref()?)))
    }
}

impl Selector {
    /// Its conditions, as they were written.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Whether all its conditions hold of a connection. What is not known of a connection does not hold.
    pub fn matches(&self, candidate: &Candidate<'_>) -> bool {
        let wanted = &self.conditions;
        let is = |wanted: &Option<String>, value: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
        };
        let at_least = |wanted: Option<Duration>, value: Option<i64>| {
            wanted.is_none_or(|wanted| value.is_some_and(|value| i128::from(value) >= micros(wanted)))
        };
        is(&wanted.application, candidate.application)
            && is(&wanted.name, candidate.name)
            && (is(&wanted.account, Some(candidate.account)) || is(&wanted.account, candidate.account_name))
            && is(&wanted.user, candidate.user)
            && is(&wanted.lang, candidate.lang)
            && is(&wanted.version, candidate.version)
            && (is(&wanted.server, Some(candidate.server)) || is(&wanted.server, Some(candidate.server_id)))
            && wanted.kind.as_deref().is_none_or(|wanted| {
                candidate.kind.is_some_and(|kind| kind == wanted || kind.split('/').next() == Some(wanted))
            })
            && wanted.unnamed.is_none_or(|unnamed| candidate.name.is_none() == unnamed)
            && wanted.no_traffic.is_none_or(|none| (candidate.messages == 0) == none)
            && wanted.subscriptions_at_most.is_none_or(|most| candidate.subscriptions <= most)
            && wanted.subscriptions_at_least.is_none_or(|least| candidate.subscriptions >= least)
            && wanted.pending_bytes_at_least.is_none_or(|least| candidate.pending_bytes >= least)
            && at_least(wanted.idle_for, candidate.idle_us)
            && at_least(wanted.older_than, candidate.age_us)
            && wanted
                .younger_than
                .is_none_or(|wanted| candidate.age_us.is_some_and(|age| i128::from(age) < micros(wanted)))
            && self.network.is_none_or(|network| candidate.ip.is_some_and(|ip| network.contains(&ip)))
            && fits(self.application_glob.as_ref(), candidate.application)
            && fits(self.name_glob.as_ref(), candidate.name)
            && self
                .name_regex
                .as_ref()
                .is_none_or(|regex| candidate.name.is_some_and(|name| regex.is_match(name)))
    }
}

fn fits(pattern: Option<&Pattern>, value: Option<&str>) -> bool {
    pattern.is_none_or(|pattern| value.is_some_and(|value| pattern.matches(value)))
}

fn micros(duration: Duration) -> i128 {
    i128::try_from(duration.as_micros()).unwrap_or(i128::MAX)
}

fn whole_regex(text: &str) -> Result<Regex, SelectorError> {
    let unreadable = |why: String| SelectorError::Unreadable { condition: "name_regex", why };
    let build = |text: &str| {
        let built = RegexBuilder::new(text).size_limit(LARGEST_REGEX).build();
        built.map_err(|error| unreadable(one_line(&error)))
    };
    // alone first: `a)|(b` would become two
    build(text)?;
    build(&format!("^(?:{text})$"))
}

/// The last line of what the library says: what is wrong, without the drawing above it.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or("not a regular expression").trim_start_matches("error: ").to_owned()
}

fn network(text: &str) -> Result<IpNet, SelectorError> {
    let unreadable = || SelectorError::Unreadable {
        condition: "ip",
        why: "not an address such as `10.1.2.3` or a network such as `10.1.0.0/16`".to_owned(),
    };
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().map_err(|_| unreadable())?)),
        None => (text, None),
    };
    let address = address.parse::<IpAddr>().map_err(|_| unreadable())?.to_canonical();
    match length {
        Some(length) => Ok(IpNet::new(address, length).map_err(|_| unreadable())?.trunc()),
        None => Ok(IpNet::from(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(conditions: serde_json::Value) -> Result<Selector, String> {
        serde_json::from_value(conditions).map_err(|error| error.to_string())
    }

    fn candidate() -> Candidate<'static> {
        Candidate {
            server_id: "NA",
            server: "nats-1",
            cid: 7,
            start: "2026-01-05T09:00:00Z",
            application: Some("orders"),
            name: Some("orders-7f9c4b8d6-x2x9k"),
            ip: Some("10.1.2.3".parse().unwrap()),
            account: "APP",
            account_name: Some("Shop"),
            user: Some("alice"),
            lang: Some("go"),
            version: Some("1.31.0"),
            kind: Some("client/nats"),
            idle_us: Some(600_000_000),
            age_us: Some(3_600_000_000),
            messages: 0,
            subscriptions: 2,
            pending_bytes: 10,
        }
    }

    #[test]
    fn each_condition_selects_and_rejects() {
        let cases = [
            (r#"{"application": "orders"}"#, r#"{"application": "order"}"#),
            (r#"{"application_glob": "or*"}"#, r#"{"application_glob": "or?"}"#),
            (r#"{"name": "orders-7f9c4b8d6-x2x9k"}"#, r#"{"name": "orders"}"#),
            (r#"{"name_glob": "orders-*"}"#, r#"{"name_glob": "rders-*"}"#),
            (r#"{"name_regex": "orders-[0-9a-z]+-.*"}"#, r#"{"name_regex": "orders|x"}"#),
            (r#"{"unnamed": false}"#, r#"{"unnamed": true}"#),
            (r#"{"ip": "10.1.2.3"}"#, r#"{"ip": "10.1.2.4"}"#),
            (r#"{"ip": "10.1.2.9/24"}"#, r#"{"ip": "10.1.3.0/24"}"#),
            (r#"{"account": "APP"}"#, r#"{"account": "B"}"#),
            (r#"{"account": "Shop"}"#, r#"{"account": "shop"}"#),
            (r#"{"user": "alice"}"#, r#"{"user": "bob"}"#),
            (r#"{"lang": "go"}"#, r#"{"lang": "rust"}"#),
            (r#"{"version": "1.31.0"}"#, r#"{"version": "1.31"}"#),
            (r#"{"kind": "client"}"#, r#"{"kind": "client/mqtt"}"#),
            (r#"{"server": "nats-1"}"#, r#"{"server": "nats-2"}"#),
            (r#"{"server": "NA"}"#, r#"{"server": "NB"}"#),
            (r#"{"idle_for": "10m"}"#, r#"{"idle_for": "601s"}"#),
            (r#"{"no_traffic": true}"#, r#"{"no_traffic": false}"#),
            (r#"{"older_than": "1h"}"#, r#"{"older_than": "61m"}"#),
            (r#"{"younger_than": "61m"}"#, r#"{"younger_than": "1h"}"#),
            (r#"{"subscriptions_at_most": 2}"#, r#"{"subscriptions_at_most": 1}"#),
            (r#"{"subscriptions_at_least": 2}"#, r#"{"subscriptions_at_least": 3}"#),
            (r#"{"pending_bytes_at_least": 10}"#, r#"{"pending_bytes_at_least": 11}"#),
        ];
        for (yes, no) in cases {
            let parse = |text: &str| selector(serde_json::from_str(text).unwrap()).unwrap();
            assert!(parse(yes).matches(&candidate()), "{yes}");
            assert!(!parse(no).matches(&candidate()), "{no}");
            let again = serde_json::to_value(parse(yes)).unwrap();
            assert_eq!(selector(again), Ok(parse(yes)), "{yes}");
        }
    }

    #[test]
    fn all_conditions_must_hold_and_the_unknown_does_not() {
        let both = selector(serde_json::json!({"application": "orders", "ip": "10.1.2.4"})).unwrap();
        assert!(!both.matches(&candidate()));
        let unknown = Candidate { idle_us: None, ip: None, name: None, ..candidate() };
        for conditions in [r#"{"idle_for": "0s"}"#, r#"{"ip": "0.0.0.0/0"}"#, r#"{"name_glob": "*"}"#] {
            let selector = selector(serde_json::from_str(conditions).unwrap()).unwrap();
            assert!(!selector.matches(&unknown), "{conditions}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_the_reason() {
        let refused = [
            "{}",
            r#"{"applicaton": "x"}"#,
            r#"{"name": ""}"#,
            r#"{"name_regex": "("}"#,
            r#"{"name_regex": "a)|(b"}"#,
            r#"{"name_regex": "(x{1000}){1000}"}"#,
            r#"{"ip": "10.1"}"#,
            r#"{"ip": "10.0.0.0/33"}"#,
            r#"{"kind": "leafnode"}"#,
            r#"{"idle_for": "soon"}"#,
        ];
        let said = refused.map(|text| selector(serde_json::from_str(text).unwrap()).unwrap_err());
        insta::assert_snapshot!(said.join("\n"), @r#"
        a selector without conditions would mean every connection: give at least one, such as `application`
        unknown field `applicaton`, expected one of `application`, `application_glob`, `name`, `name_glob`, `name_regex`, `unnamed`, `ip`, `account`, `user`, `lang`, `version`, `kind`, `server`, `idle_for`, `no_traffic`, `older_than`, `younger_than`, `subscriptions_at_most`, `subscriptions_at_least`, `pending_bytes_at_least`
        `name` must have between 1 and 1024 bytes
        `name_regex`: unclosed group
        `name_regex`: unopened group
        `name_regex`: Compiled regex exceeds size limit of 262144 bytes.
        `ip`: not an address such as `10.1.2.3` or a network such as `10.1.0.0/16`
        `ip`: not an address such as `10.1.2.3` or a network such as `10.1.0.0/16`
        `kind`: must be `client`, `client/nats`, `client/websocket` or `client/mqtt`; leafnodes are never selected
        failed to parse input in the "friendly" duration format: expected duration to start with a unit value (a decimal integer) after an optional sign, but no integer was found
        "#);
    }
}
