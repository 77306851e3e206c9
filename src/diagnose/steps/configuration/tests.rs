//! The configuration step: evidence in, result out.

use super::*;
use crate::diagnose::staged::{
    ago, assert_says, closed, evidence, evidence_of, said, sample, server, silent, snapshot, vitals, watched,
};
use crate::model::diagnosis::StepStatus::{Finding, Ok, Skipped};
use crate::model::vitals::{Churn, ServerVitals};

fn look(evidence: &Evidence) -> Step {
    step(evidence, &DiagnosisRules::default())
}

#[test]
fn a_server_near_its_limit_is_found_and_one_just_below_is_not() {
    let with = |connections| ServerVitals { connections, max_connections: Some(1_000), ..vitals() };
    let step = look(&evidence_of(with(800)));
    assert_says(&step, Finding, "n1 has 800 connections of at most 1,000 (80 %)");
    let step = look(&evidence_of(with(799)));
    assert_says(
        &step,
        Ok,
        "n1 has 799 connections of at most 1,000 (79.9 %); how fast it grows is not known yet.",
    );
}

#[test]
fn a_server_that_is_full_soon_is_found_however_empty_it_is() {
    // 600 connections ten minutes ago, so it grows by ten a minute
    let grows = |connections, max_connections| {
        let mut evidence =
            evidence_of(ServerVitals { connections, max_connections: Some(max_connections), ..vitals() });
        watched(&mut evidence, vec![sample(600, &[("orders-api", 600)])]);
        look(&evidence)
    };
    assert_says(
        &grows(700, 1_300),
        Finding,
        "it grew by 10 a minute over the last 10m, and going on like this it is full in 60m",
    );
    assert_says(&grows(700, 1_310), Ok, "it is full in 61m");
    assert_says(&grows(600, 1_000), Ok, "it did not grow over the last 10m");
    assert_says(&grows(601, 1_000_000), Ok, "which does not fill it within a month");
}

#[test]
fn without_samples_two_looks_tell_the_growth_if_they_are_far_enough_apart() {
    let churn = |seconds| Churn {
        server: "n1".to_owned(),
        from: ago(seconds),
        to: ago(0),
        attempts: 20,
        closed: 0,
        grown: 20,
    };
    let mut evidence = evidence_of(ServerVitals { max_connections: Some(2_000), ..vitals() });
    evidence.churn = vec![churn(10)];
    assert_says(&look(&evidence), Finding, "it grew by 120 a minute over the last 10s");
    evidence.churn = vec![churn(9)];
    assert_says(&look(&evidence), Ok, "how fast it grows is not known yet");
}

#[test]
fn a_sample_of_an_earlier_run_of_the_server_tells_no_growth() {
    let mut evidence = evidence_of(ServerVitals { started_at: Some(ago(500)), ..vitals() });
    watched(&mut evidence, vec![sample(600, &[("orders-api", 1)])]);
    assert_says(&look(&evidence), Ok, "how fast it grows is not known yet");
}

#[test]
fn what_zero_and_below_mean_is_said_by_version() {
    let told = |max_connections, version: &str| {
        let mut evidence = evidence_of(ServerVitals { max_connections: Some(max_connections), ..vitals() });
        snapshot(&mut evidence).coverage.servers[0].version = Some(version.to_owned());
        look(&evidence)
    };
    assert_says(&told(-1, "2.11.11"), Finding, "n1 has no limit");
    assert_says(&told(-1, "2.12.8"), Finding, "n1 lets nobody in");
    assert_says(&told(0, "2.10.26"), Ok, "1,200 connections of at most 65,536");
    assert_says(
        &told(0, "2.12.7"),
        Ok,
        "max_connections of n1 is 0; what that means in its version is not known.",
    );
}

#[test]
fn limits_that_differ_are_found() {
    let limited = |name: &str, limit| server(name, ServerVitals { max_connections: Some(limit), ..vitals() });
    let step = look(&evidence(vec![limited("n1", 65_536), limited("n2", 9_000), limited("n3", 65_536)]));
    assert_says(
        &step,
        Finding,
        "max_connections is not the same everywhere: 65,536 (n1 and n3), 9,000 (n2).",
    );
    let step = look(&evidence(vec![limited("n1", 9_000), limited("n2", 9_000)]));
    assert!(step.status == Ok && !said(&step).contains("default of nats-server"), "{}", said(&step));
}

#[test]
fn memory_that_ends_before_the_limit_counts_as_the_limit() {
    // 50 kB for each connection: 75 MB are 1,500 connections
    let with = |connections| ServerVitals {
        connections,
        memory_bytes: Some(connections * 50_000),
        memory_limit_bytes: Some(75_000_000),
        max_pending_bytes: Some(1_000_000),
        ..vitals()
    };
    assert_says(
        &look(&evidence_of(with(1_200))),
        Finding,
        "at 50.0 kB per connection here its memory limit of 75.0 MB ends at about 1,500",
    );
    assert_says(&look(&evidence_of(with(1_199))), Ok, "ends at about 1,500");
}

#[test]
fn dead_connections_that_linger_are_found() {
    let with = |ping_interval_ms| ServerVitals { ping_interval_ms: Some(ping_interval_ms), ..vitals() };
    assert_says(&look(&evidence_of(with(120_000))), Ok, "counts for up to 6m on n1 (a ping every 2m)");
    assert_says(&look(&evidence_of(with(300_000))), Ok, "counts for up to 15m on n1");
    assert_says(&look(&evidence_of(with(301_000))), Finding, "counts for up to 15m on n1 (a ping every 5m)");
}

#[test]
fn clients_that_ran_out_of_time_to_authenticate_are_found() {
    let mut evidence = evidence_of(vitals());
    snapshot(&mut evidence).closed = Some(closed(&[("Authentication Timeout", 10)]));
    assert_says(&look(&evidence), Finding, "Clients have 2s to authenticate, and 10 ran out of it");
    snapshot(&mut evidence).closed = Some(closed(&[("Authentication Timeout", 9)]));
    assert_says(&look(&evidence), Ok, "Clients have 2s to authenticate.");
    let slow = look(&evidence_of(ServerVitals { auth_timeout_ms: Some(61_000), ..vitals() }));
    assert_says(&slow, Finding, "until then a silent socket counts as a connection");
    assert_eq!(look(&evidence_of(ServerVitals { auth_timeout_ms: Some(60_000), ..vitals() })).status, Ok);
}

#[test]
fn few_clients_that_fill_the_memory_are_found() {
    let with = |memory| ServerVitals { memory_limit_bytes: Some(memory), ..vitals() };
    let text = "9 clients that do not read fill the memory limit of 604.0 MB on n1: each may hold 67.1 MB";
    assert_says(&look(&evidence_of(with(604_000_000))), Finding, text);
    assert_says(&look(&evidence_of(with(672_000_000))), Ok, "10 clients that do not read");
    assert_says(&look(&evidence_of(vitals())), Ok, "no memory limit is told (GOMEMLIMIT)");
}

#[test]
fn what_is_known_of_a_version_is_said() {
    let runs = |version: &str| {
        let mut evidence = evidence_of(vitals());
        snapshot(&mut evidence).coverage.servers[0].version = Some(version.to_owned());
        said(&look(&evidence))
    };
    assert!(runs("2.9.10").contains("nats-server 2.9.10 on n1 can neither cut a single connection"));
    assert!(!runs("2.10.26").contains("can neither cut a single connection"));
    assert!(runs("2.10.26").contains("shows tokens of clients in the clear"));
    assert!(!runs("2.11.11").contains("shows tokens"));
    assert!(!runs("2.11.11").contains("one line in one or two seconds"));
    assert!(runs("2.12.8").contains("one line in one or two seconds"));
}

#[test]
fn what_cannot_be_looked_at_is_said_and_the_rest_is_looked_at() {
    let step = look(&evidence(vec![server("n1", vitals()), silent("n2")]));
    let text = "The configuration of http://n2:8222 could not be looked at: asking http://n2:8222/varz: connection refused.";
    assert_says(&step, Ok, text);
    let step = look(&evidence(vec![silent("n2")]));
    assert_says(&step, Skipped, text);
}

#[test]
fn descriptors_are_unknown_and_it_is_said_how_to_read_them() {
    let step = look(&evidence_of(ServerVitals { max_connections: Some(20_000), ..vitals() }));
    assert_says(&step, Ok, "it must be 20,100 at least, for 20,000 clients and what else is open");
}
