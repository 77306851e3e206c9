//! One connection of a list, borrowed from the bytes it came in.

use std::borrow::Cow;
use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

/// One connection, as far as connwarden looks at it. Borrows from the input where it can.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Connection<'a> {
    /// Its number on its server, in one run of it; they begin with 1, and 0 is none.
    #[serde(default, deserialize_with = "count")]
    pub cid: u64,
    /// `Client` or `Leafnode`.
    #[serde(borrow, default, deserialize_with = "text")]
    pub kind: Option<Cow<'a, str>>,
    /// The client's protocol: `nats`, `websocket` or `mqtt`; absent for leafnodes.
    #[serde(borrow, default, rename = "type", deserialize_with = "text")]
    pub client_type: Option<Cow<'a, str>>,
    /// The client's address; absent for connections inside the server's own process.
    #[serde(borrow, default, deserialize_with = "text")]
    pub ip: Option<Cow<'a, str>>,
    /// When it connected, RFC 3339.
    #[serde(borrow, default, deserialize_with = "text")]
    pub start: Option<Cow<'a, str>>,
    /// When it last sent or received a message or changed a subscription, RFC 3339.
    #[serde(borrow, default, deserialize_with = "text")]
    pub last_activity: Option<Cow<'a, str>>,
    /// Bytes the server could not send yet.
    #[serde(default, deserialize_with = "count")]
    pub pending_bytes: u64,
    /// Messages received from the client.
    #[serde(default, deserialize_with = "count")]
    pub in_msgs: u64,
    /// Messages sent to the client.
    #[serde(default, deserialize_with = "count")]
    pub out_msgs: u64,
    /// Bytes received from the client.
    #[serde(default, deserialize_with = "count")]
    pub in_bytes: u64,
    /// Bytes sent to the client.
    #[serde(default, deserialize_with = "count")]
    pub out_bytes: u64,
    /// Subscriptions.
    #[serde(default, deserialize_with = "count")]
    pub subscriptions: u64,
    /// What the client calls itself: free text, not authenticated.
    #[serde(borrow, default, deserialize_with = "text")]
    pub name: Option<Cow<'a, str>>,
    /// The client library's language.
    #[serde(borrow, default, deserialize_with = "text")]
    pub lang: Option<Cow<'a, str>>,
    /// The client library's version.
    #[serde(borrow, default, deserialize_with = "text")]
    pub version: Option<Cow<'a, str>>,
    /// The user it was authorised as. Up to 2.10 this may be a token, in clear.
    #[serde(borrow, default, deserialize_with = "text")]
    pub authorized_user: Option<Cow<'a, str>>,
    /// The account: a name, or in operator mode a public key; absent for the global account.
    #[serde(borrow, default, deserialize_with = "text")]
    pub account: Option<Cow<'a, str>>,
    /// A readable name: of the user up to 2.10, of the account from 2.11 on.
    #[serde(borrow, default, deserialize_with = "text")]
    pub name_tag: Option<Cow<'a, str>>,
    /// Who signed the user: set in operator mode and behind an authorisation callout.
    #[serde(borrow, default, deserialize_with = "text")]
    pub issuer_key: Option<Cow<'a, str>>,
    /// Of a closed connection: when it ended, RFC 3339.
    #[serde(borrow, default, deserialize_with = "text")]
    pub stop: Option<Cow<'a, str>>,
    /// Of a closed connection: why it ended, such as `Client Closed`.
    #[serde(borrow, default, deserialize_with = "text")]
    pub reason: Option<Cow<'a, str>>,
    /// The MQTT client id; MQTT clients have no name.
    #[serde(borrow, default, deserialize_with = "text")]
    pub mqtt_client: Option<Cow<'a, str>>,
}

/// A count, read as leniently as those of a connection.
pub(super) struct Count(pub(super) u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        count(deserializer).map(Self)
    }
}

/// Reads a count; a negative one counts as nothing, a fraction is cut off, too much is as much as there can be.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct CountVisitor;

    impl Visitor<'_> for CountVisitor {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_u64<E>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }

        fn visit_i64<E>(self, value: i64) -> Result<u64, E> {
            Ok(u64::try_from(value).unwrap_or(0))
        }

        fn visit_f64<E>(self, value: f64) -> Result<u64, E> {
            Ok(value as u64)
        }

        fn visit_unit<E>(self) -> Result<u64, E> {
            Ok(0)
        }
    }

    deserializer.deserialize_any(CountVisitor)
}

/// Reads a text, borrowed where it holds no escapes; `null` and the empty text are none.
///
/// (`#[serde(borrow)] Option<Cow<str>>` alone always copies.)
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    struct TextVisitor;

    impl<'de> Visitor<'de> for TextVisitor {
        type Value = Option<Cow<'de, str>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok((!text.is_empty()).then_some(Cow::Borrowed(text)))
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok((!text.is_empty()).then(|| Cow::Owned(text.to_owned())))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }

    deserializer.deserialize_any(TextVisitor)
}
