//! A reply of the system account: packed or not, a document, a connection list or an error.

use std::io::Read;

use async_nats::Message;
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::model::printable::excerpt;
use crate::nats::connz::{Connection, ConnzError, ConnzReader, Envelope};
use crate::nats::system::SystemCause;

/// How much is unpacked at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// How much of a reply is looked at for an error, in bytes: one that holds an error holds little else.
const LONGEST_ERROR: usize = 8 * 1024;

/// What a server answered, as it came.
pub(super) struct Reply {
    payload: Bytes,
    /// How it is packed; nothing if it is not.
    encoding: Option<String>,
}

/// What a reply wraps.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
struct Wrapped<T> {
    data: Option<T>,
    error: Option<ServerSaid>,
}

/// What a confirmation is.
#[derive(Deserialize)]
struct Bare {
    server: Option<Confirming>,
    data: Option<IgnoredAny>,
    error: Option<ServerSaid>,
}

/// Who confirms.
#[derive(Deserialize)]
struct Confirming {
    id: String,
}

/// An error of a server.
#[derive(Deserialize)]
struct ServerSaid {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    description: String,
}

impl From<ServerSaid> for SystemCause {
    fn from(said: ServerSaid) -> Self {
        Self::Refused { code: said.code, description: excerpt(&said.description) }
    }
}

impl Reply {
    pub(super) fn new(message: Message) -> Self {
        let headers = message.headers.as_ref();
        let encoding = headers.and_then(|headers| headers.get("Content-Encoding"));
        Self { encoding: encoding.map(|encoding| encoding.as_str().to_owned()), payload: message.payload }
    }

    /// How large it was on the way.
    pub(super) fn bytes(&self) -> u64 {
        self.payload.len() as u64
    }

    /// Reads the document in it, of at most `largest` bytes.
    pub(super) fn document<T: DeserializeOwned>(&self, largest: u64) -> Result<T, SystemCause> {
        let reply: Wrapped<T> = self.envelope(largest)?;
        match reply {
            Wrapped { error: Some(said), .. } => Err(said.into()),
            Wrapped { data: Some(data), .. } => Ok(data),
            Wrapped { .. } => Err(SystemCause::Malformed("it has neither data nor an error".to_owned())),
        }
    }

    /// Reads that the server of this nats id did what it was asked for: an envelope with neither data nor an error.
    pub(super) fn confirmation(&self, largest: u64, server_id: &str) -> Result<(), SystemCause> {
        let reply: Bare = self.envelope(largest)?;
        if reply.server.as_ref().is_none_or(|server| server.id != server_id) {
            return Err(SystemCause::Malformed("it is not of the server that was asked".to_owned()));
        }
        match reply {
            Bare { error: Some(said), .. } => Err(said.into()),
            Bare { data: Some(IgnoredAny), .. } => {
                Err(SystemCause::Malformed("it has data where nothing but a confirmation belongs".to_owned()))
            }
            Bare { .. } => Ok(()),
        }
    }

    /// Feeds the connection list in it to `reader`, piece by piece. `unpacked` counts what came out, over several
    /// replies: not more than `largest` bytes.
    pub(super) async fn connections(
        &self,
        largest: u64,
        unpacked: &mut u64,
        reader: &mut ConnzReader,
        each: &mut impl FnMut(&Envelope, &Connection<'_>),
    ) -> Result<(), SystemCause> {
        let mut source = self.unpacked()?;
        let (mut piece, mut beginning) = (vec![0; PIECE], Vec::new());
        loop {
            let length =
                source.read(&mut piece).map_err(|error| SystemCause::Packed(excerpt(&error.to_string())))?;
            if length == 0 {
                break;
            }
            *unpacked += length as u64;
            if *unpacked > largest {
                return Err(SystemCause::TooLarge(largest));
            }
            let missing = LONGEST_ERROR.saturating_sub(beginning.len()).min(length);
            beginning.extend_from_slice(&piece[..missing]);
            reader.feed(&piece[..length], each)?;
            // a long list is no reason to hold up everybody else
            tokio::task::yield_now().await;
        }
        match reader.finish(each) {
            Err(ConnzError::NoList) => match serde_json::from_slice(&beginning) {
                Ok(Wrapped::<IgnoredAny> { error: Some(said), .. }) => Err(said.into()),
                _ => Err(ConnzError::NoList.into()),
            },
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }

    /// Reads all of it, at most `largest` bytes.
    fn envelope<T: DeserializeOwned>(&self, largest: u64) -> Result<T, SystemCause> {
        let mut text = Vec::new();
        let mut source = self.unpacked()?.take(largest + 1);
        source.read_to_end(&mut text).map_err(|error| SystemCause::Packed(excerpt(&error.to_string())))?;
        if text.len() as u64 > largest {
            return Err(SystemCause::TooLarge(largest));
        }
        serde_json::from_slice(&text).map_err(|error| SystemCause::Malformed(excerpt(&error.to_string())))
    }

    fn unpacked(&self) -> Result<Box<dyn Read + Send + '_>, SystemCause> {
        match self.encoding.as_deref() {
            None => Ok(Box::new(&self.payload[..])),
            Some("gzip") => Ok(Box::new(GzDecoder::new(&self.payload[..]))),
            Some(other) => Err(SystemCause::Packed(format!("it is packed as `{}`", excerpt(other)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::nats::varz::Varz;

    fn packed(text: &[u8]) -> Reply {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        Reply { payload: encoder.finish().unwrap().into(), encoding: Some("gzip".to_owned()) }
    }

    fn plain(text: &str) -> Reply {
        Reply { payload: text.to_owned().into(), encoding: None }
    }

    /// The names that a reply lists, or why it could not be read.
    async fn names(reply: &Reply, largest: u64) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        let mut each = |_: &Envelope, connection: &Connection<'_>| {
            names.extend(connection.name.as_deref().map(str::to_owned));
        };
        let ended = reply.connections(largest, &mut 0, &mut ConnzReader::default(), &mut each).await;
        ended.map(|()| names).map_err(|cause| cause.to_string())
    }

    #[tokio::test]
    async fn a_list_is_the_same_packed_or_not() {
        let text = include_str!("../../../tests/fixtures/nats/2.15.1/sys-connz-reply.json");
        let from_plain = names(&plain(text), 1 << 20).await.unwrap();
        assert_eq!(from_plain, ["labLeaf", "orders"]);
        assert_eq!(names(&packed(text.as_bytes()), 1 << 20).await.unwrap(), from_plain);
    }

    #[tokio::test]
    async fn what_is_packed_to_burst_is_given_up_in_time() {
        // 64 MiB of white space in front of the list, in some 64 KiB
        let mut bomb = vec![b' '; 64 << 20];
        bomb.extend_from_slice(br#"{"data":{"connections":[]}}"#);
        let bomb = packed(&bomb);
        assert!(bomb.bytes() < 1 << 20, "{}", bomb.bytes());
        assert_eq!(names(&bomb, 1 << 20).await.unwrap_err(), "the reply is larger than 1048576 bytes");
        assert_eq!(
            bomb.document::<Varz>(1 << 20).unwrap_err().to_string(),
            "the reply is larger than 1048576 bytes"
        );
    }

    #[tokio::test]
    async fn what_a_server_says_against_it_is_passed_on() {
        let refused =
            r#"{"server":{"name":"a","id":"NA"},"error":{"code":400,"description":"invalid\ncharacter"}}"#;
        let expected = r"error 400: invalid\ncharacter";
        assert_eq!(names(&plain(refused), 1 << 20).await.unwrap_err(), expected);
        assert_eq!(names(&packed(refused.as_bytes()), 1 << 20).await.unwrap_err(), expected);
        assert_eq!(plain(refused).document::<Varz>(1 << 20).unwrap_err().to_string(), expected);
        // as newer servers write it
        let refused = r#"{"data":null,"error":{"code":500,"description":"invalid sorting option: foo"}}"#;
        let expected = "error 500: invalid sorting option: foo";
        assert_eq!(names(&plain(refused), 1 << 20).await.unwrap_err(), expected);
        assert_eq!(plain(refused).document::<Varz>(1 << 20).unwrap_err().to_string(), expected);
    }

    #[test]
    fn only_an_envelope_of_that_server_with_nothing_in_it_confirms() {
        let said = |text: &str| match plain(text).confirmation(1 << 20, "NA") {
            Ok(()) => "done".to_owned(),
            Err(cause) => cause.to_string(),
        };
        assert_eq!(said(r#"{"server":{"name":"a","id":"NA","ver":"2.15.1"}}"#), "done");
        let texts = [
            r#"{"server":{"name":"a","id":"NB"}}"#,
            r#"{"server":{"name":"NA"}}"#,
            r#"{"server":null}"#,
            "{}",
            "",
            "+OK",
            r#"{"server":{"id":"NA"},"data":{}}"#,
            r#"{"server":{"id":"NA"},"error":{"code":500,"description":"no such client or leafnode id"}}"#,
            r#"{"server":{"id":"NB"},"error":{"code":500,"description":"no such client or leafnode id"}}"#,
            r#"{"server":{"id":"NA"},"data":null,"error":{}}"#,
            r#"{"server":{"id":"NA"},"error":"no"}"#,
        ];
        insta::assert_snapshot!(texts.map(said).join("\n"), @r#"
        not the answer to it: it is not of the server that was asked
        not the answer to it: missing field `id` at line 1 column 23
        not the answer to it: it is not of the server that was asked
        not the answer to it: it is not of the server that was asked
        not the answer to it: EOF while parsing a value at line 1 column 0
        not the answer to it: expected value at line 1 column 1
        not the answer to it: it has data where nothing but a confirmation belongs
        error 500: no such client or leafnode id
        not the answer to it: it is not of the server that was asked
        error 0: 
        not the answer to it: invalid type: string "no", expected struct ServerSaid at line 1 column 34
        "#);
    }

    #[tokio::test]
    async fn what_is_no_reply_is_called_that() {
        let cases: [(Reply, &str); 5] = [
            (plain(r#"{"server":{}}"#), "not a connection list: it has no `connections`"),
            (plain(r#"{"data":{"connections":[{"name":"a"}"#), "the connection list ended in the middle"),
            (plain("hello"), "not a connection list: unexpected `h` at byte 0"),
            (
                Reply { encoding: Some("br".to_owned()), ..plain("") },
                "the reply cannot be unpacked: it is packed as `br`",
            ),
            (Reply { encoding: Some("gzip".to_owned()), ..plain("hello") }, "the reply cannot be unpacked"),
        ];
        for (reply, expected) in cases {
            let error = names(&reply, 1 << 20).await.unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
