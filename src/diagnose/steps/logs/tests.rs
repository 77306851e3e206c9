//! The step of logs: evidence in, result out.

use std::collections::BTreeMap;

use super::*;
use crate::diagnose::staged::{ago, assert_says, closed, evidence_of, now, said, snapshot, vitals};
use crate::model::closed::ClosedMinute;
use crate::model::diagnosis::StepStatus::{Finding, Ok, Skipped};
use crate::model::evidence::Looked;

/// A log with so many lines of a kind.
fn log(kind: LogKind, lines: u64) -> LogEvidence {
    LogEvidence {
        source: "/var/log/nats.log".to_owned(),
        from: ago(3_600),
        to: now(),
        complete: true,
        kinds: vec![LogCount {
            kind,
            lines,
            first: Some(ago(600)),
            last: Some(ago(60)),
            per_minute: Vec::new(),
            servers: BTreeMap::new(),
            samples: vec!["10.0.0.1:5 - cid:7 - maximum connections exceeded".to_owned()],
        }],
        lines_read: 1_000,
        undated_lines: 0,
        rate_limited_versions: false,
        problems: Vec::new(),
    }
}

#[test]
fn refusals_of_the_last_hour_are_found_and_few_or_old_ones_are_not() {
    let refused = |lately, seconds| {
        let mut evidence = evidence_of(vitals());
        let mut closed = closed(&[("Maximum Connections Exceeded", 400), ("Client Closed", 5)]);
        closed.per_minute = vec![ClosedMinute { at: ago(seconds), closed: lately, refused: lately }];
        snapshot(&mut evidence).closed = Some(closed);
        step(&evidence)
    };
    let text =
        "400 connections were refused, 10 of them in the last 60m: Maximum Connections Exceeded (400).";
    assert_says(&refused(10, 3_600), Finding, text);
    assert_says(&refused(9, 3_600), Ok, "400 connections were refused, 9 of them in the last 60m");
    assert_says(&refused(10, 3_601), Ok, "400 connections were refused, 0 of them in the last 60m");
}

#[test]
fn ends_that_are_not_ordinary_are_found_if_they_are_many_for_the_time() {
    let ended = |reason: &str, count, seconds| {
        let mut evidence = evidence_of(vitals());
        let mut closed = closed(&[(reason, count)]);
        closed.servers[0].reaches_back_to = Some(ago(seconds));
        snapshot(&mut evidence).closed = Some(closed);
        step(&evidence)
    };
    let text =
        "10 connections ended since 14:00 UTC by Stale Connection: the client did not answer pings any more.";
    assert_says(&ended("Stale Connection", 10, 3_600), Finding, text);
    assert_says(&ended("Stale Connection", 9, 3_600), Ok, "9 connections ended");
    assert_says(&ended("Stale Connection", 10, 11 * 3_600), Ok, "10 connections ended");
    assert!(!said(&ended("Client Closed", 9_000, 3_600)).contains("ended since 14:00 UTC by"));
}

#[test]
fn one_line_is_enough_where_it_is_grave_and_others_count_in_numbers() {
    let logged = |kind, lines| {
        let mut evidence = evidence_of(vitals());
        evidence.logs = Looked::Seen(log(kind, lines));
        step(&evidence)
    };
    assert_says(
        &logged(LogKind::OutOfDescriptors, 1),
        Finding,
        "The log has 1 line \"out of file descriptors\" of the last 60m, last at 14:59 UTC: `10.0.0.1:5",
    );
    assert_says(&logged(LogKind::AuthError, 10), Finding, "10 lines \"authentication failed\"");
    assert_says(&logged(LogKind::AuthError, 9), Ok, "9 lines \"authentication failed\"");
    assert_says(&logged(LogKind::Reload, 100), Ok, "100 lines \"configuration reloaded\"");
}

#[test]
fn lines_that_a_server_writes_sparingly_are_a_lower_bound() {
    let mut evidence = evidence_of(vitals());
    let sparing = LogEvidence { rate_limited_versions: true, ..log(LogKind::ServerLimit, 2) };
    evidence.logs = Looked::Seen(LogEvidence { complete: false, ..sparing });
    let step = step(&evidence);
    assert_says(&step, Finding, "The log has at least 2 lines \"over the server's limit\"");
    assert_says(&step, Finding, "From 2.12 on a server writes about one line");
    assert_says(&step, Finding, "Only a part of the log of the last 60m was read");
}

#[test]
fn without_a_log_and_closed_connections_there_is_nothing_to_look_at() {
    let mut evidence = evidence_of(vitals());
    assert_says(&step(&evidence), Ok, "The log could not be looked at: no logs in this test.");
    snapshot(&mut evidence).closed = None;
    assert_says(&step(&evidence), Skipped, "The log could not be looked at: no logs in this test.");
}
