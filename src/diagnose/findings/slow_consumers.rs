//! Slow consumers: clients that do not read fast enough, and are cut off for it.

use jiff::SignedDuration;

use crate::diagnose::case::Case;
use crate::diagnose::text::{minutes_ago, span};
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::printable::with_commas;

/// Fewer than this may have been one client's bad moment.
const LEAST: u64 = 5;

/// The reason of a closed connection that was too slow begins like this.
const REASON: &str = "Slow Consumer";

/// What is longer ago is not the trouble of now.
const LATELY: SignedDuration = SignedDuration::from_hours(1);

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let mut evidence = Vec::new();
    // a counter since the start of the server is no news by itself
    let mut counted = 0;
    let mut since = None;
    if let Some(history) = case.evidence.history.seen() {
        let earliest = case.now().saturating_sub(LATELY).ok()?;
        for (server, vitals) in case.servers() {
            let Some(now) = vitals.slow_consumers else { continue };
            let before = history.samples.iter().filter(|sample| sample.at >= earliest).find_map(|sample| {
                let sampled =
                    sample.servers.iter().find(|sampled| sampled.server == server.display_name())?;
                (sampled.started_at == vitals.started_at).then_some((sample.at, sampled.slow_consumers?))
            });
            if let Some((at, before)) = before {
                counted += now.saturating_sub(before);
                since = since.max(Some(at));
            }
        }
        if let Some(since) = since {
            let text =
                format!("{} slow consumers more than {} ago", with_commas(counted), span(case.ago(since)));
            evidence.push(Fact::count("slow_consumers", counted, text));
        }
    }
    let closed = case.evidence.snapshot.closed.as_ref();
    let remembered: u64 = closed.map_or(0, |closed| {
        closed
            .reasons
            .iter()
            .filter(|reason| reason.reason.starts_with(REASON))
            .map(|reason| reason.connections)
            .sum()
    });
    let whole = closed.map_or(0, |closed| closed.closed);
    evidence.push(Fact::count(
        "closed_as_slow",
        remembered,
        format!(
            "{} of {} remembered closed connections were too slow",
            with_commas(remembered),
            with_commas(whole)
        ),
    ));
    let by_memory = since.is_none() && remembered >= LEAST;
    if counted < LEAST && !by_memory {
        return None;
    }
    let who = closed.and_then(|closed| {
        closed
            .applications
            .iter()
            .filter(|group| !group.absent && group.top_reason.starts_with(REASON))
            .max_by_key(|group| group.closed)
    });
    let number = if counted >= LEAST { counted } else { remembered };
    let mut summary =
        format!("{} times a client was cut off because it did not read fast enough", with_commas(number));
    if let Some(since) = since {
        summary.push_str(&format!(" since {}", minutes_ago(case, since)));
    }
    if let Some(who) = who {
        summary.push_str(&format!("; most of them are {}", who.key));
        evidence.push(Fact::count(
            "closed",
            who.closed,
            format!("{} of {}", with_commas(who.closed), who.key),
        ));
    }
    Some(Finding {
        kind: FindingKind::SlowConsumers,
        severity: Severity::Warning,
        confidence: if counted >= LEAST { 0.85 } else { 0.5 },
        summary,
        subject: who.map(|who| Subject::new(Dimension::Application, &who.key)),
        since,
        evidence,
        confirm: "The server's log says `Slow Consumer Detected` with the client's connection".to_owned(),
        refute: "The network between server and client was interrupted at that time".to_owned(),
    })
}
