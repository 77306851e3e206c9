//! Loki on the wire: the newest lines of a query that are about connections.
//!
//! What is asked for is narrowed to lines that may count, because an answer has a few thousand lines at most
//! (`max_entries_limit_per_query`, 5,000 by default).

use jiff::Timestamp;
use serde::Deserialize;

use super::kind::PATTERN;
use super::tally::Tally;
use crate::model::endpoint::Endpoint;
use crate::model::labels::Labels;
use crate::outgoing::documents::{DocumentError, Documents, Limits};

/// The most lines that are asked for: what Loki allows unless it is told otherwise.
const MOST_LINES: usize = 5000;

/// The largest answer that is read, in bytes.
const MOST_BYTES: usize = 16 << 20;

/// Asks one Loki. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LokiClient(Documents);

impl LokiClient {
    /// Makes a client of one Loki.
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        Self(Documents::new(endpoint, limits).at_most(MOST_BYTES))
    }

    /// Where it is.
    pub fn url(&self) -> &url::Url {
        self.0.url()
    }

    /// Counts the lines of a query. Which server wrote a line is said by the first of `server_labels` that its stream has.
    ///
    /// # Errors
    ///
    /// No answer, not that of a Loki, or the query is wrong.
    pub async fn count(
        &self,
        query: &str,
        server_labels: &[String],
        tally: &mut Tally,
    ) -> Result<(), DocumentError> {
        let nanos = |at: Timestamp| at.as_nanosecond().to_string();
        // the end is excluded
        let end = nanos(tally.to().checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(tally.to()));
        let (start, limit, question) = (nanos(tally.from()), MOST_LINES.to_string(), narrowed(query));
        let parameters = [
            ("query", question.as_str()),
            ("start", &start),
            ("end", &end),
            ("limit", &limit),
            ("direction", "backward"),
        ];
        let streams =
            self.0.get_or_post("loki/api/v1/query_range", &parameters, "lines of Loki", read).await?;
        let mut lines = 0;
        for Stream { stream, values } in streams {
            let server = server_labels.iter().find_map(|label| stream.get(label));
            for (at, line) in values {
                lines += 1;
                tally.count(&line, server, Some(at), jiff::SignedDuration::ZERO);
            }
        }
        let source = format!("{} {query}", self.url().as_str().trim_end_matches('/'));
        tally.read(source, lines < MOST_LINES);
        Ok(())
    }
}

/// A query that finds only lines that may count.
fn narrowed(query: &str) -> String {
    format!("{} |~ `{PATTERN}`", query.trim())
}

/// Lines of one stream, with their times.
#[derive(Debug)]
struct Stream {
    stream: Labels,
    values: Vec<(Timestamp, String)>,
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    data: Data,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "snake_case")]
enum Data {
    Streams(Vec<WireStream>),
}

#[derive(Deserialize)]
struct WireStream {
    stream: Labels,
    values: Vec<WireLine>,
}

/// A time, a line, and with structured metadata a third thing.
#[derive(Deserialize)]
#[serde(untagged)]
enum WireLine {
    Plain((String, String)),
    WithMetadata((String, String, serde::de::IgnoredAny)),
}

fn read(body: &[u8]) -> Result<Vec<Stream>, String> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if envelope.status != "success" {
        return Err(format!("status `{}`", envelope.status));
    }
    let Data::Streams(streams) = envelope.data;
    let streams = streams.into_iter().map(|WireStream { stream, values }| {
        let values = values.into_iter().map(|line| {
            let (WireLine::Plain((nanos, text)) | WireLine::WithMetadata((nanos, text, _))) = line;
            let at = nanos.parse().ok().and_then(|nanos| Timestamp::from_nanosecond(nanos).ok());
            Ok((at.ok_or_else(|| format!("a time is none: {nanos:?}"))?, text))
        });
        Ok(Stream { stream, values: values.collect::<Result<_, String>>()? })
    });
    streams.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_narrowed() {
        let narrowed = narrowed(" {app=\"nats\"} | json\n");
        assert!(
            narrowed.starts_with("{app=\"nats\"} | json |~ `(?i)maximum (account active )?"),
            "{narrowed}"
        );
        assert_eq!(narrowed.matches('`').count(), 2);
    }

    #[test]
    fn streams_are_read() {
        let body = br#"{"status":"success","data":{"resultType":"streams","result":[
            {"stream":{"pod":"nats-0"},"values":[["1795422788072000001","a"],["1795422788072000000","b",{"x":"y"}]]}
        ],"stats":{"summary":{}}}}"#;
        let streams = read(body).unwrap();
        assert_eq!(streams[0].stream.get("pod"), Some("nats-0"));
        let lines: Vec<(i128, &str)> =
            streams[0].values.iter().map(|(at, line)| (at.as_nanosecond(), line.as_str())).collect();
        assert_eq!(lines, [(1_795_422_788_072_000_001, "a"), (1_795_422_788_072_000_000, "b")]);
    }

    #[test]
    fn what_is_no_answer_with_lines_is_refused() {
        for body in [
            "",
            "[]",
            r#"{"status":"error"}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["x","a"]]}]}}"#,
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        let numbers = read(br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#);
        assert!(numbers.unwrap_err().contains("matrix"));
    }
}
