//! The step of metrics: evidence in, result out.

use std::sync::Arc;

use super::*;
use crate::diagnose::staged::{
    ago, assert_says, breakdown, evidence_of, firing, now, sample, snapshot, vitals, watched,
};
use crate::model::diagnosis::StepStatus::{Finding, Ok, Skipped};
use crate::model::pattern::MetricsSource;
use crate::model::starts::{StartBucket, StartHistogram};
use crate::model::vitals::ServerVitals;

fn look(evidence: &Evidence) -> Step {
    step(evidence, &DiagnosisRules::default())
}

/// What Prometheus knows of a server that has been at 1,000 all the time.
fn metrics() -> ServerMetrics {
    ServerMetrics {
        server: "n1".to_owned(),
        url: None,
        pattern: Some(Pattern {
            kind: PatternKind::Flat,
            since: None,
            before: 1_000.0,
            after: 1_000.0,
            per_minute: 0.0,
            confidence: 0.9,
            summary: "stays at 1,000".to_owned(),
        }),
        now: Some(1_000.0),
        before: Some(1_000.0),
        yesterday: None,
        last_week: None,
        new_per_minute: None,
        usual_new_per_minute: None,
        missing_share: 0.0,
        points: Vec::new(),
    }
}

fn asked(server: ServerMetrics) -> Step {
    asked_with(server, false)
}

fn asked_with(server: ServerMetrics, saturated: bool) -> Step {
    let mut evidence = evidence_of(vitals());
    evidence.metrics = Looked::Seen(MetricsEvidence {
        source: MetricsSource {
            prometheus: "http://prometheus:9090".to_owned(),
            metric: "gnatsd_connz_num_connections".to_owned(),
            expression: "gnatsd_connz_num_connections".to_owned(),
        },
        from: ago(3_600),
        to: now(),
        step_seconds: 15,
        servers: vec![server],
        more_servers: 0,
        warnings: vec!["a store was not reached".to_owned()],
        saturated,
    });
    look(&evidence)
}

#[test]
fn what_rose_is_found_if_it_is_sure() {
    let rose = |kind, after, confidence| {
        let pattern = metrics().pattern.map(|pattern| Pattern { kind, after, confidence, ..pattern });
        asked(ServerMetrics { pattern, ..metrics() }).status
    };
    assert_eq!(rose(PatternKind::Step, 2_000.0, 0.5), Finding);
    assert_eq!(rose(PatternKind::Step, 2_000.0, 0.49), Ok);
    assert_eq!(rose(PatternKind::Step, 500.0, 0.9), Ok);
    assert_eq!(rose(PatternKind::Ramp, 1_001.0, 0.9), Finding);
    assert_eq!(rose(PatternKind::Sawtooth, 2_000.0, 0.9), Finding);
    assert_eq!(rose(PatternKind::Seasonal, 2_000.0, 0.9), Ok);
    assert_says(&asked(metrics()), Ok, "n1 stays at 1,000.");
    assert_says(&asked(metrics()), Ok, "It may be only a part: a store was not reached.");
}

#[test]
fn far_more_than_at_the_same_time_before_is_found() {
    let then = |yesterday| asked(ServerMetrics { yesterday: Some(yesterday), ..metrics() });
    assert_says(&then(666.0), Finding, "n1 has 1,000; at the same time yesterday it had 666.");
    assert_says(&then(667.0), Ok, "n1 has 1,000; at the same time yesterday it had 667.");
    // three times as many of very few are nobody's trouble
    let few = ServerMetrics { now: Some(60.0), yesterday: Some(20.0), ..metrics() };
    assert_eq!(asked(few).status, Ok);
}

#[test]
fn many_new_connections_a_minute_are_found() {
    let new = |new, usual| {
        asked(ServerMetrics { new_per_minute: Some(new), usual_new_per_minute: usual, ..metrics() })
    };
    assert_says(
        &new(500.0, Some(400.0)),
        Finding,
        "n1 accepts 500 new connections a minute, usually 400 a minute.",
    );
    assert_eq!(new(499.0, Some(400.0)).status, Ok);
    assert_eq!(new(90.0, Some(30.0)).status, Finding);
    assert_eq!(new(90.0, Some(30.1)).status, Ok);
    assert_eq!(new(59.0, Some(1.0)).status, Ok);
}

#[test]
fn a_metric_that_cannot_count_further_is_found() {
    let text = "Prometheus has only gnatsd_connz_num_connections, the length of one page of 1,024";
    assert_says(&asked_with(metrics(), true), Finding, text);
    let gappy = ServerMetrics { missing_share: 0.1, pattern: None, ..metrics() };
    assert_says(&asked(gappy.clone()), Ok, "10 % of the points of n1 are missing.");
    assert_says(&asked(gappy), Ok, "n1 has too few points in Prometheus to say what it did.");
}

#[test]
fn the_number_of_an_alert_that_is_the_length_of_a_page_is_found() {
    let says = |value, connections| {
        let mut evidence = evidence_of(ServerVitals { connections, ..vitals() });
        // two alerts about one server say it once
        evidence.alerts = vec![firing(value, None); 2];
        look(&evidence)
    };
    let step = says(1_024.0, 1_025);
    assert_says(
        &step,
        Finding,
        "The alert says 1,024, but the cluster has 1,025: its metric is the length of one page",
    );
    assert!(step.remarks.iter().all(|remark| !remark.contains("The alert says")), "{step:?}");
    assert_eq!(says(1_023.0, 1_025).status, Skipped);
}

#[test]
fn without_prometheus_the_samples_are_read() {
    let sampled = |count: i64| {
        let mut evidence = evidence_of(ServerVitals { connections: 1_000, ..vitals() });
        let samples = (1..=count).rev().map(|n| sample(n * 60, &[("orders-api", 1_000)]));
        watched(&mut evidence, samples.collect());
        look(&evidence)
    };
    assert_says(
        &sampled(30),
        Ok,
        "By the samples of the last hour, the number of connections stays at 1,000.",
    );
    assert_says(&sampled(4), Skipped, "Samples could not be looked at: there are too few of them yet.");

    let mut evidence = evidence_of(ServerVitals { connections: 3_000, ..vitals() });
    let samples =
        (1..=30).rev().map(|n| sample(n * 60, &[("orders-api", if n > 10 { 1_000 } else { 3_000 })]));
    watched(&mut evidence, samples.collect());
    assert_says(&look(&evidence), Finding, "the number of connections went up at once from 1,000 to 3,000");
}

#[test]
fn without_samples_the_start_times_are_read() {
    let began = |lately, oldest| {
        let mut evidence = evidence_of(vitals());
        let bucket =
            |seconds, connections| StartBucket { from: ago(seconds), to: ago(seconds - 60), connections };
        let buckets = vec![bucket(oldest, 100), bucket(1_800, lately)];
        let mut breakdown = breakdown(&[("orders-api", 100 + lately)]);
        breakdown.starts = StartHistogram { buckets };
        Arc::make_mut(&mut evidence.snapshot).breakdowns =
            [(Dimension::Application.into(), breakdown)].into();
        look(&evidence)
    };
    let text = "100 of the 200 connections that are open now began within the last 60m (50 %).";
    assert_says(&began(100, 80_000), Finding, text);
    assert_says(&began(99, 80_000), Ok, "99 of the 199 connections");
    // after a restart all of them are new
    assert_eq!(began(100, 7_200).status, Ok);
    let mut blind = evidence_of(vitals());
    snapshot(&mut blind).breakdowns.clear();
    assert_says(
        &look(&blind),
        Skipped,
        "Start times could not be looked at: this look has not counted them.",
    );
}
