//! A push parser for connection lists: aggregates while the bytes arrive.
//!
//! A list of a million connections is half a gigabyte. Instead of collecting it, [`ConnzReader`] is fed chunks as
//! they come and hands each connection, borrowed from the chunk, to a callback; it holds at most one element and
//! one chunk. Where the input is split does not matter.
//!
//! `jwt` is never looked at: up to 2.11 servers send bearer tokens there, in clear.

mod connection;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::model::printable::excerpt;
use crate::nats::connz::connection::Count;
use crate::nats::text::clip;

pub use crate::nats::connz::connection::Connection;

/// How many bytes are gathered before they are looked at.
const STEP: usize = 64 * 1024;

/// The longest single connection (or other value, with its key) that is accepted.
const LONGEST_ELEMENT: usize = 1024 * 1024;

/// The longest key of the envelope that is accepted.
const LONGEST_KEY: usize = 256;

/// What a page says of itself, beside its connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The server's nats id.
    pub server_id: Option<String>,
    /// The server's clock, RFC 3339.
    pub now: Option<String>,
    /// All connections of the server, on this page or not.
    pub total: Option<u64>,
    /// Connections read from this page.
    pub read: u64,
}

/// Why a connection list could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnzError {
    /// It is not JSON, or not where it should be.
    #[error("not a connection list: {reason} at byte {at}")]
    Malformed {
        /// What is wrong.
        reason: String,
        /// How many bytes into the reply.
        at: u64,
    },
    /// It is JSON of another shape.
    #[error("not a connection list: it has no `connections`")]
    NoList,
    /// It stopped before its end.
    #[error("the connection list ended in the middle, after {read} connections")]
    Ended {
        /// Connections read until then.
        read: u64,
    },
    /// A value is longer than anything a server sends.
    #[error("a value of more than {LONGEST_ELEMENT} bytes at byte {at}")]
    TooLong {
        /// How many bytes into the reply.
        at: u64,
    },
}

/// Where in the list the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// In an object: a key or its end.
    Key,
    /// Behind a value of the envelope: a comma or the end.
    AfterValue,
    /// In `connections`: an element or the end.
    Element,
    /// Behind an element: a comma or the end.
    AfterElement,
    End,
}

/// Reads one `/connz` page, or one system-account reply that holds one, piece by piece.
#[derive(Debug)]
pub struct ConnzReader {
    buffer: Vec<u8>,
    /// Bytes taken out of the buffer so far.
    consumed: u64,
    /// How many bytes are gathered before they are looked at.
    step: usize,
    /// The same for the present element: more, where it has proved longer than a step.
    wanted: usize,
    state: State,
    /// Objects entered: 1 for a page, 2 inside the `data` of a system-account reply.
    depth: u32,
    /// Whether `connections` came by.
    listed: bool,
    envelope: Envelope,
}

/// Not enough bytes, or not the right ones.
enum Stop {
    Starved,
    Failed(ConnzError),
}

impl Default for ConnzReader {
    fn default() -> Self {
        Self::with_step(STEP)
    }
}

impl ConnzReader {
    /// Makes a reader that gathers `step` bytes before it looks at them; the default suits all but tests.
    pub fn with_step(step: usize) -> Self {
        Self {
            buffer: Vec::with_capacity(2 * step),
            consumed: 0,
            step,
            wanted: step,
            state: State::Start,
            depth: 0,
            listed: false,
            envelope: Envelope::default(),
        }
    }

    /// Takes the next piece of the reply and hands every connection that is complete to `each`.
    ///
    /// # Errors
    ///
    /// The reply is no connection list; what was handed over until then stands.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(&Envelope, &Connection<'_>),
    ) -> Result<(), ConnzError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // never more than a step beyond what is wanted, however large the piece
            let room = (self.wanted + self.step).saturating_sub(self.buffer.len()).max(1);
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.buffer.extend_from_slice(now);
            rest = later;
            if self.buffer.len() >= self.wanted {
                self.advance(each)?;
            }
        }
        Ok(())
    }

    /// Ends the reply.
    ///
    /// # Errors
    ///
    /// The reply is no connection list, or stopped before its end.
    pub fn finish(
        &mut self,
        each: &mut impl FnMut(&Envelope, &Connection<'_>),
    ) -> Result<Envelope, ConnzError> {
        self.advance(each)?;
        if self.state != State::End {
            return Err(ConnzError::Ended { read: self.envelope.read });
        }
        if !self.listed {
            return Err(ConnzError::NoList);
        }
        Ok(self.envelope.clone())
    }

    /// What the page has said of itself so far.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    fn advance(&mut self, each: &mut impl FnMut(&Envelope, &Connection<'_>)) -> Result<(), ConnzError> {
        let mut at = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        // checked once for all texts in it: looking at each of them alone costs more
        let text = str::from_utf8(&buffer).or_else(|error| str::from_utf8(&buffer[..error.valid_up_to()]));
        let text = text.unwrap_or_default();
        let outcome = loop {
            if let Err(stop) = self.step(&buffer, text, &mut at, each) {
                break stop;
            }
        };
        let waiting = buffer.len() - at;
        buffer.drain(..at);
        self.buffer = buffer;
        self.consumed += at as u64;
        match outcome {
            Stop::Failed(error) => Err(error),
            Stop::Starved if waiting >= LONGEST_ELEMENT => Err(ConnzError::TooLong { at: self.consumed }),
            Stop::Starved => {
                // an element longer than a step: look again only when there is twice as much
                self.wanted = if waiting < self.step { self.step } else { LONGEST_ELEMENT.min(2 * waiting) };
                Ok(())
            }
        }
    }

    /// Takes one thing off the buffer, from `at` on; `at` moves only over what is done with. `text` is as much of the
    /// buffer as is UTF-8.
    fn step(
        &mut self,
        buffer: &[u8],
        text: &str,
        at: &mut usize,
        each: &mut impl FnMut(&Envelope, &Connection<'_>),
    ) -> Result<(), Stop> {
        let byte = skip_white_space(buffer, at);
        // never further than anything may reach, or it would depend on how much is there what is too long
        let end = buffer.len().min(*at + LONGEST_ELEMENT);
        self.state = match (self.state, byte) {
            (_, None) => return Err(Stop::Starved),
            (State::Start, Some(b'{')) => {
                *at += 1;
                self.depth = 1;
                State::Key
            }
            (State::Key | State::AfterValue, Some(b'}')) => {
                *at += 1;
                self.depth -= 1;
                if self.depth == 0 { State::End } else { State::AfterValue }
            }
            (State::AfterValue, Some(b',')) => {
                *at += 1;
                State::Key
            }
            (State::Key, Some(b'"')) => self.member(buffer, at, end)?,
            (State::Element | State::AfterElement, Some(b']')) => {
                *at += 1;
                State::AfterValue
            }
            (State::AfterElement, Some(b',')) => {
                *at += 1;
                State::Element
            }
            (State::Element, Some(b'{')) => {
                let there = &buffer[*at..end];
                let valid = text.get(*at..end.min(text.len())).unwrap_or_default();
                let mut stream = serde_json::Deserializer::from_str(valid).into_iter::<Connection<'_>>();
                let mut stream_of_bytes;
                let (next, length) = match stream.next() {
                    Some(Ok(connection)) => (Some(Ok(connection)), stream.byte_offset()),
                    // what is wrong, or missing, is for the bytes to say
                    _ => {
                        stream_of_bytes = serde_json::Deserializer::from_slice(there).into_iter();
                        (stream_of_bytes.next(), stream_of_bytes.byte_offset())
                    }
                };
                match next {
                    Some(Ok(connection)) => {
                        self.envelope.read += 1;
                        each(&self.envelope, &connection);
                        *at += length;
                        State::AfterElement
                    }
                    Some(Err(error)) if is_certain(&error, there) => {
                        return Err(
                            self.malformed(*at, format!("connection {}: {error}", self.envelope.read + 1))
                        );
                    }
                    _ => return Err(Stop::Starved),
                }
            }
            (State::End, Some(_)) => return Err(self.malformed(*at, "something behind its end".to_owned())),
            (_, Some(byte)) => {
                let reason = format!("unexpected `{}`", char::from(byte).escape_default());
                return Err(self.malformed(*at, reason));
            }
        };
        Ok(())
    }

    /// Takes one key and, unless it is one to step into, its value, none of it beyond `end`.
    fn member(&mut self, buffer: &[u8], at: &mut usize, end: usize) -> Result<State, Stop> {
        let mut here = *at;
        let Some(key) = self.value::<String>(buffer, &mut here, end)? else { return Err(Stop::Starved) };
        if key.len() > LONGEST_KEY {
            return Err(self.malformed(*at, format!("a key of {} bytes", key.len())));
        }
        match skip_white_space(&buffer[..end], &mut here) {
            None => return Err(Stop::Starved),
            Some(b':') => here += 1,
            Some(_) => return Err(self.malformed(here, "a key without `:`".to_owned())),
        }
        let Some(first) = skip_white_space(&buffer[..end], &mut here) else { return Err(Stop::Starved) };

        let state = match (key.as_str(), first) {
            ("connections", b'[') => {
                here += 1;
                self.listed = true;
                State::Element
            }
            ("data", b'{') if self.depth == 1 => {
                here += 1;
                self.depth = 2;
                State::Key
            }
            _ => {
                let known = match key.as_str() {
                    "server_id" => self.value::<Lenient<String>>(buffer, &mut here, end)?.map(|id| {
                        self.envelope.server_id = id.0.map(|id| clip(&id).to_owned());
                    }),
                    "now" => self
                        .value::<Lenient<String>>(buffer, &mut here, end)?
                        .map(|now| self.envelope.now = now.0),
                    "total" => self.value::<Lenient<Count>>(buffer, &mut here, end)?.map(|total| {
                        self.envelope.total = total.0.map(|total| total.0);
                    }),
                    // an unknown account has `null` for a list
                    "connections" => self
                        .value::<IgnoredAny>(buffer, &mut here, end)?
                        .map(|_| self.listed |= first == b'n'),
                    _ => self.value::<IgnoredAny>(buffer, &mut here, end)?.map(|_| ()),
                };
                // a bare number at the end of what is there looks complete and may not be
                if known.is_none() || here >= end {
                    return Err(Stop::Starved);
                }
                State::AfterValue
            }
        };
        *at = here;
        Ok(state)
    }

    /// Takes one value off the buffer; `None` when it is not all there before `end`.
    fn value<T: DeserializeOwned>(
        &self,
        buffer: &[u8],
        at: &mut usize,
        end: usize,
    ) -> Result<Option<T>, Stop> {
        let there = &buffer[*at..end];
        let mut stream = serde_json::Deserializer::from_slice(there).into_iter::<T>();
        match stream.next() {
            Some(Ok(value)) => {
                *at += stream.byte_offset();
                Ok(Some(value))
            }
            Some(Err(error)) if is_certain(&error, there) => Err(self.malformed(*at, error.to_string())),
            _ => Ok(None),
        }
    }

    fn malformed(&self, at: usize, reason: String) -> Stop {
        // serde_json counts lines and columns from where it was put on; our own place is the right one
        let reason = excerpt(reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason));
        Stop::Failed(ConnzError::Malformed { reason, at: self.consumed + at as u64 })
    }
}

/// Whether more bytes would not change an error: it lies before the last of those that are there. (At the end, half a
/// number looks like a number.)
fn is_certain(error: &serde_json::Error, there: &[u8]) -> bool {
    let mut lines = there.split(|byte| *byte == b'\n');
    let before: usize = lines.by_ref().take(error.line().saturating_sub(1)).map(|line| line.len() + 1).sum();
    !error.is_eof() && before + error.column() < there.len()
}

fn skip_white_space(buffer: &[u8], at: &mut usize) -> Option<u8> {
    while let Some(byte) = buffer.get(*at) {
        if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            return Some(*byte);
        }
        *at += 1;
    }
    None
}

/// A value of the expected kind, or nothing where the server sent another kind.
#[derive(Deserialize)]
#[serde(untagged)]
enum Either<T> {
    Expected(T),
    Other(IgnoredAny),
}

struct Lenient<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Expected(value) => Some(value),
            Either::Other(IgnoredAny) => None,
        }))
    }
}

#[cfg(test)]
mod tests;
