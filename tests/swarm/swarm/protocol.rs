//! What a NATS server says to a client, as far as a client that only listens must understand it.
//!
//! Nothing is kept between two reads but the beginning of an unfinished line, so an idle
//! connection needs no buffer.

use serde_json::Value;

/// The longest line taken for one: INFO lists every server of a cluster, but not more.
const LONGEST_LINE: usize = 256 * 1024;

/// What one read brought.
#[derive(Debug, Default)]
pub struct News {
    /// The last INFO.
    pub info: Option<Info>,
    /// How many PINGs want an answer.
    pub pings: u32,
    /// Whether a PONG came.
    pub pong: bool,
    /// The text of the last `-ERR`.
    pub error: Option<String>,
    /// The beginning of the first line that is not of this protocol.
    pub garbage: Option<String>,
}

/// What the swarm wants to know from an INFO.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The id of the server.
    pub server_id: String,
    /// The id of this connection on it: its cid.
    pub client_id: u64,
    /// Whether the server insists on TLS.
    pub tls_required: bool,
    /// Whether the server asks this client to leave.
    pub lame_duck: bool,
}

/// The place in the stream of one connection.
#[derive(Debug, Default)]
pub struct Protocol {
    unfinished: Vec<u8>,
    payload_left: usize,
}

impl Protocol {
    /// Reads on in the stream and adds what it says to `news`.
    pub fn read(&mut self, data: &[u8], news: &mut News) {
        let mut rest = self.skip_payload(data);
        let mut joined = std::mem::take(&mut self.unfinished);
        if !joined.is_empty() {
            joined.extend_from_slice(rest);
            rest = &joined;
        }
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let line = &rest[..end];
            rest = &rest[end + 2..];
            if let Some(size) = payload_size(line) {
                self.payload_left = size + 2;
                rest = self.skip_payload(rest);
            } else {
                news.take(line);
            }
        }
        if rest.len() > LONGEST_LINE {
            news.reject(rest);
            rest = &[];
        }
        self.unfinished = rest.to_vec();
    }

    fn skip_payload<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let skipped = self.payload_left.min(data.len());
        self.payload_left -= skipped;
        &data[skipped..]
    }
}

impl News {
    fn take(&mut self, line: &[u8]) {
        match line {
            b"PING" => self.pings += 1,
            b"PONG" => self.pong = true,
            b"+OK" => {}
            _ => {
                if let Some(json) = line.strip_prefix(b"INFO ") {
                    match Info::parse(json) {
                        Some(info) => self.info = Some(info),
                        None => self.reject(line),
                    }
                } else if let Some(text) = line.strip_prefix(b"-ERR") {
                    let text = String::from_utf8_lossy(text);
                    self.error = Some(text.trim().trim_matches('\'').to_owned());
                } else {
                    self.reject(line);
                }
            }
        }
    }

    fn reject(&mut self, line: &[u8]) {
        self.garbage.get_or_insert_with(|| beginning(line));
    }
}

impl Info {
    fn parse(json: &[u8]) -> Option<Self> {
        let info: Value = serde_json::from_slice(json).ok()?;
        let flag = |key: &str| info[key].as_bool().unwrap_or_default();
        Some(Self {
            server_id: info["server_id"].as_str()?.to_owned(),
            client_id: info["client_id"].as_u64().unwrap_or_default(),
            tls_required: flag("tls_required"),
            lame_duck: flag("ldm"),
        })
    }
}

/// Reads the size of what follows a MSG or HMSG line.
fn payload_size(line: &[u8]) -> Option<usize> {
    if !line.starts_with(b"MSG ") && !line.starts_with(b"HMSG ") {
        return None;
    }
    let size = line.rsplit(|byte| *byte == b' ').next()?;
    std::str::from_utf8(size).ok()?.parse().ok()
}

fn beginning(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(&line[..line.len().min(80)]);
    line.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"INFO {\"server_id\":\"NA\",\"client_id\":7,\"ldm\":true}\r\n\
        PING\r\nMSG a.b 1 6\r\nPING\r\n\r\nHMSG a.b 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n\
        -ERR 'Stale Connection'\r\nPONG\r\nPING\r\n";

    #[test]
    fn a_stream_reads_the_same_however_it_is_cut() {
        for size in 1..STREAM.len() {
            let (mut protocol, mut news) = (Protocol::default(), News::default());
            for chunk in STREAM.chunks(size) {
                protocol.read(chunk, &mut news);
            }

            let info =
                Info { server_id: "NA".to_owned(), client_id: 7, tls_required: false, lame_duck: true };
            assert_eq!(news.info, Some(info), "in pieces of {size}");
            assert_eq!((news.pings, news.pong), (2, true), "in pieces of {size}");
            assert_eq!(news.error.as_deref(), Some("Stale Connection"));
            assert_eq!(news.garbage, None);
            assert_eq!(protocol.unfinished.capacity(), 0);
        }
    }

    #[test]
    fn another_protocol_is_recognized() {
        let mut news = News::default();
        Protocol::default().read(b"HTTP/1.1 400 Bad Request\r\n\r\n", &mut news);

        assert_eq!(news.garbage.as_deref(), Some("HTTP/1.1 400 Bad Request"));
    }
}
