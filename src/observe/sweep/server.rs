//! One server of a sweep, asked by one way.

use std::time::Duration;

use super::closed::ClosedSweep;
use super::pick::SearchResult;
use super::{Counting, Observer, millis};
use crate::model::printable::excerpt;
use crate::model::snapshot::ServerCoverage;
use crate::nats::connz::{Connection, Envelope};
use crate::nats::monitoring::ConnzOutcome;
use crate::nats::source::{Source, SourceError};
use crate::nats::varz::Varz;
use crate::observe::closed::ClosedTally;
use crate::observe::tally::{ServerFacts, Tally};

/// What one server let us see, not yet added up.
#[derive(Debug)]
pub(super) struct ServerSweep {
    pub(super) coverage: ServerCoverage,
    /// Its connections; nothing if it was not asked for them.
    pub(super) tally: Option<Tally>,
    /// What it remembers of closed ones, if it was asked.
    pub(super) closed: Option<ClosedSweep>,
    /// What was searched for among them, if anything.
    pub(super) searched: Option<SearchResult>,
}

/// What became of asking a server what it says of itself, and how long that took.
#[derive(Debug)]
pub(super) struct FirstAnswer {
    pub(super) varz: Result<Varz, SourceError>,
    pub(super) took: Duration,
}

impl Observer {
    /// Asks a server what it says of itself.
    pub(super) async fn first_answer(&self, source: &Source) -> FirstAnswer {
        let stopwatch = self.clock.stopwatch();
        FirstAnswer { varz: source.varz().await, took: stopwatch.elapsed() }
    }

    /// Asks a server for its closed connections, if they are counted (a storm flushes them within seconds), for what it
    /// says of itself, unless it has been asked for that, and for its connections.
    pub(super) async fn sweep_server(
        &self,
        source: &Source,
        first: Option<FirstAnswer>,
        counting: &Counting,
    ) -> ServerSweep {
        let stopwatch = self.clock.stopwatch();
        let Counting { rules, closed, search } = counting;
        let mut bytes = 0;
        let closed = if *closed {
            let mut tally = ClosedTally::new(rules, self.clock.now().as_microsecond());
            let each = |envelope: &Envelope, connection: &Connection<'_>| tally.add(envelope, connection);
            let outcome = source.closed(each).await;
            bytes += outcome.bytes;
            Some(ClosedSweep { tally, error: outcome.error })
        } else {
            None
        };
        let FirstAnswer { varz, took } = match first {
            Some(first) => first,
            // its time is part of what passes here
            None => FirstAnswer { varz: source.varz().await, took: Duration::ZERO },
        };
        let facts = ServerFacts {
            name: server_name(source.shown(), varz.as_ref().ok()),
            since_2_11: varz.as_ref().is_ok_and(Varz::redacts_tokens),
            now_us: self.clock.now().as_microsecond(),
        };
        let system_account = varz.as_ref().ok().and_then(|varz| varz.system_account.as_deref());
        let mut searched = search.as_ref().map(|search| search.begin(rules, &facts, system_account));
        let mut tally = Tally::new(rules, facts);
        let outcome = match &varz {
            // who does not even say who it is holds nobody up twice
            Err(error) if error.is_silence() => ConnzOutcome::default(),
            _ => {
                let each = |envelope: &Envelope, connection: &Connection<'_>| {
                    tally.add(envelope, connection);
                    if let Some(searched) = &mut searched {
                        searched.add(envelope, connection);
                    }
                };
                source.connz(each).await
            }
        };
        let mut coverage = coverage(source, varz, outcome, took + stopwatch.elapsed());
        coverage.bytes = coverage.bytes.saturating_add(bytes);
        ServerSweep { coverage, tally: Some(tally), closed, searched }
    }
}

/// What to call a server: its name, else what it is known by.
pub(super) fn server_name(known_by: &str, varz: Option<&Varz>) -> String {
    let named = varz.map(|varz| varz.server_name.as_str()).filter(|name| !name.is_empty());
    named.unwrap_or(known_by).to_owned()
}

fn coverage(
    source: &Source,
    varz: Result<Varz, SourceError>,
    outcome: ConnzOutcome<SourceError>,
    duration: Duration,
) -> ServerCoverage {
    let (varz, varz_error) = match varz {
        Ok(varz) => (Some(varz), None),
        Err(error) => (None, Some(error)),
    };
    let seen = outcome.envelope.read;
    let place = match source.url() {
        Some(url) => format!("{url}connz"),
        None => format!("CONNZ of {}", excerpt(source.shown())),
    };
    // a page is a consistent list; a server that lists less than it claims has not let us see everything
    let short = outcome
        .envelope
        .total
        .filter(|total| *total > seen)
        .map(|total| format!("{place}: lists {seen} connections and says that it has {total}"));
    let mut errors: Vec<String> = varz_error.iter().chain(&outcome.error).map(ToString::to_string).collect();
    if outcome.error.is_none() {
        errors.extend(short);
    }
    let named = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let (known_name, known_id) = match source {
        Source::Http { .. } => (None, None),
        Source::System { server, .. } => (Some(server.name.clone()), Some(server.id.clone())),
    };
    ServerCoverage {
        url: source.url().cloned(),
        via: (varz.is_some() || outcome.bytes > 0).then_some(source.via()),
        name: varz.as_ref().and_then(|varz| named(&varz.server_name)).or(known_name),
        server_id: varz
            .as_ref()
            .and_then(|varz| named(&varz.server_id))
            .or(outcome.envelope.server_id)
            .or(known_id),
        version: varz.as_ref().and_then(|varz| named(&varz.version)),
        seen,
        connz_total: outcome.envelope.total,
        varz_connections: varz.as_ref().map(|varz| varz.connections),
        max_connections: varz.as_ref().and_then(|varz| varz.max_connections),
        vitals: varz.as_ref().map(Varz::vitals),
        duration_ms: millis(duration),
        bytes: outcome.bytes,
        error: (!errors.is_empty()).then(|| errors.join("; ")),
        counted_at: None,
    }
}
