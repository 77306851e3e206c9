//! The resources step: evidence in, result out.

use super::*;
use crate::diagnose::staged::{
    ago, assert_says, closed, evidence, evidence_of, sample, server, silent, snapshot, vitals, watched,
};
use crate::model::diagnosis::StepStatus::{Finding, Ok, Skipped};

fn look(evidence: &Evidence) -> Step {
    step(evidence, &DiagnosisRules::default())
}

#[test]
fn processors_are_compared_with_the_cores() {
    let with = |cpu, cores| ServerVitals { cpu_percent: Some(cpu), cores, ..vitals() };
    assert_says(
        &look(&evidence_of(with(160.0, Some(2)))),
        Finding,
        "n1 uses 80 % of its 2 cores: clients wait.",
    );
    assert_says(&look(&evidence_of(with(159.0, Some(2)))), Ok, "n1 uses 79.5 % of its 2 cores.");
    let unknown = "n1 uses 160 % of one core; how many it may use is not told.";
    assert_says(&look(&evidence_of(with(160.0, None))), Ok, unknown);
}

#[test]
fn memory_is_compared_with_its_limit() {
    let with = |memory| ServerVitals {
        memory_bytes: Some(memory),
        memory_limit_bytes: Some(1_000_000_000),
        ..vitals()
    };
    let text =
        "n1 uses 900.0 MB of memory, 90 % of its limit of 1.0 GB (GOMEMLIMIT), 750.0 kB for each connection.";
    assert_says(&look(&evidence_of(with(900_000_000))), Finding, text);
    assert_says(&look(&evidence_of(with(899_000_000))), Ok, "89.9 % of its limit");
    let few = ServerVitals { connections: 999, ..vitals() };
    assert_says(&look(&evidence_of(few)), Ok, "n1 uses 60.0 MB of memory; it tells no limit (GOMEMLIMIT)");
}

#[test]
fn slow_consumers_since_the_start_are_no_news() {
    let mut evidence = evidence_of(ServerVitals { slow_consumers: Some(7), ..vitals() });
    assert_says(
        &look(&evidence),
        Ok,
        "n1 has had 7 slow consumers since it started 10d 0h ago; whether any of them is new is not known",
    );
    let sampled = |slow, seconds| {
        let mut sample = sample(seconds, &[("orders-api", 1_200)]);
        sample.servers[0].slow_consumers = Some(slow);
        sample
    };
    watched(&mut evidence, vec![sampled(7, 800), sampled(7, 60)]);
    assert_says(&look(&evidence), Ok, "n1 had no slow consumers in the last 13m.");
    watched(&mut evidence, vec![sampled(6, 800), sampled(7, 60)]);
    assert_says(&look(&evidence), Finding, "n1 had 1 slow consumer in the last 13m.");
    // too long ago to be lately
    watched(&mut evidence, vec![sampled(6, 901)]);
    assert_says(&look(&evidence), Ok, "whether any of them is new is not known");
}

#[test]
fn an_earlier_look_tells_stalls_and_traffic() {
    let counted = |stalled, out_bytes| ServerVitals {
        stalled_clients: Some(stalled),
        in_bytes: Some(1_000),
        out_bytes: Some(out_bytes),
        ..vitals()
    };
    let mut evidence = evidence_of(counted(5, 30_001_000));
    assert_says(&look(&evidence), Ok, "on average since it started, over 10d 0h");
    let earlier = ServerVitals { at: Some(ago(10)), ..counted(5, 1_000) };
    evidence.earlier_vitals = [("n1".to_owned(), earlier.clone())].into();
    assert_says(
        &look(&evidence),
        Ok,
        "n1 receives 0/s and sends 3.0 MB/s over the last 10s; what its network can",
    );
    assert_says(&look(&evidence), Ok, "n1 had no stalls of producers in the last 10s.");
    let earlier = ServerVitals { stalled_clients: Some(4), ..earlier };
    evidence.earlier_vitals = [("n1".to_owned(), earlier.clone())].into();
    assert_says(&look(&evidence), Finding, "n1 had 1 stall of a producer in the last 10s.");
    // another run has counters of its own
    let earlier = ServerVitals { started_at: Some(ago(20)), ..earlier };
    evidence.earlier_vitals = [("n1".to_owned(), earlier)].into();
    assert_says(&look(&evidence), Ok, "n1 has had 5 stalls of producers since it started");
}

#[test]
fn clients_that_were_cut_off_lately_are_found() {
    let mut evidence = evidence_of(vitals());
    snapshot(&mut evidence).closed = Some(closed(&[("Slow Consumer (Pending Bytes)", 1)]));
    let text = "1 client was cut off since 14:00 UTC because they did not read fast enough.";
    assert_says(&look(&evidence), Finding, text);
    // one in two hours is no storm
    if let Some(closed) = &mut snapshot(&mut evidence).closed {
        closed.servers[0].reaches_back_to = Some(ago(7_200));
    }
    assert_eq!(look(&evidence).status, Ok);
}

#[test]
fn what_waits_to_be_sent_is_found_if_it_is_a_part_of_the_memory() {
    let waiting = |pending| {
        let mut evidence = evidence_of(vitals());
        let breakdowns = &mut snapshot(&mut evidence).breakdowns;
        let breakdown = breakdowns.get_mut(&Dimension::Application.into()).unwrap();
        breakdown.total.pending_bytes = pending;
        breakdown.groups[1].figures.pending_bytes = pending;
        look(&evidence)
    };
    assert_says(&waiting(6_000_000), Finding, "6.0 MB wait to be sent to clients, for billing (6.0 MB).");
    assert_says(&waiting(5_999_999), Ok, "6.0 MB wait to be sent to clients");
}

#[test]
fn a_server_that_does_not_answer_is_told_apart() {
    let step = look(&evidence(vec![server("n1", vitals()), silent("n2")]));
    assert_says(&step, Ok, "The resources of http://n2:8222 could not be looked at");
    let mut blind = evidence(vec![silent("n2")]);
    snapshot(&mut blind).closed = None;
    assert_says(&look(&blind), Skipped, "The resources of http://n2:8222 could not be looked at");
}
