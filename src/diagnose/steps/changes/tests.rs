//! The step of changes: evidence in, result out.

use super::*;
use crate::diagnose::staged::{
    ago, assert_says, breakdown, evidence, evidence_of, sample, server, silent, snapshot, vitals, watched,
};
use crate::model::change::ChangeKind;
use crate::model::diagnosis::StepStatus::{Finding, Ok, Skipped};
use crate::model::ids::ChangeId;
use crate::model::vitals::ServerVitals;

/// When the incident of these tests opened, in seconds before the look.
const OPENED: i64 = 300;

fn look(evidence: &Evidence) -> Step {
    step(evidence, &DiagnosisRules::default())
}

/// A deployment of orders-api, so many seconds before the alert.
fn deploy(seconds_before: i64) -> Change {
    Change {
        id: ChangeId(uuid::Uuid::nil()),
        at: ago(OPENED + seconds_before),
        ended_at: None,
        kind: ChangeKind::Deploy,
        cluster: None,
        application: Some("orders-api".to_owned()),
        server: None,
        title: "1.4.2".to_owned(),
        text: String::new(),
        url: None,
        tags: Vec::new(),
        author: "ci".to_owned(),
        source: "ci".to_owned(),
        external_id: None,
    }
}

#[test]
fn what_was_deployed_shortly_before_the_alert_or_since_is_found() {
    let deployed = |seconds| {
        let mut evidence = evidence_of(vitals());
        evidence.changes = Looked::Seen(vec![deploy(seconds)]);
        look(&evidence)
    };
    let text = "12:55 UTC, 2h 0m before the alert: deployment of orders-api: 1.4.2.";
    assert_says(&deployed(7_200), Finding, text);
    assert_says(&deployed(7_201), Ok, "2h 0m before the alert: deployment of orders-api: 1.4.2.");
    assert_says(&deployed(-120), Finding, "2m after the alert: deployment of orders-api");
    let old = deployed(86_401);
    assert!(old.status == Ok && old.remarks.iter().all(|remark| !remark.contains("1.4.2")), "{old:?}");
}

#[test]
fn many_changes_are_told_in_part() {
    let mut evidence = evidence_of(vitals());
    evidence.changes = Looked::Seen((0..200).map(|n| deploy(n * 10)).collect());
    let step = look(&evidence);
    assert_says(&step, Finding, "190 more changes are left out here.");
    assert!(step.remarks.len() < 20);
}

#[test]
fn servers_that_started_or_reloaded_shortly_before_the_alert_are_found() {
    let started = |seconds: i64| {
        let at = Some(ago(OPENED + seconds));
        look(&evidence_of(ServerVitals { started_at: at, config_loaded_at: at, ..vitals() }))
    };
    assert_says(&started(7_200), Finding, "n1 started at 12:55 UTC, 2h 0m before the alert.");
    assert_says(&started(7_201), Ok, "n1 started at 12:54 UTC, 2h 0m before the alert.");
    let reloaded = |seconds: i64| {
        let loaded =
            |name| server(name, ServerVitals { config_loaded_at: Some(ago(OPENED + seconds)), ..vitals() });
        look(&evidence(vec![loaded("n1"), loaded("n2")]))
    };
    assert_says(
        &reloaded(60),
        Finding,
        "all 2 servers loaded the configuration again at 14:54 UTC, 60s before",
    );
    assert_eq!(reloaded(7_201).status, Ok);
}

#[test]
fn who_was_not_there_before_is_found_from_the_least_number_on() {
    let grown = |connections| {
        let mut evidence = evidence_of(vitals());
        watched(&mut evidence, vec![sample(8_000, &[("orders-api", 900)]), sample(600, &[("new-app", 1)])]);
        let groups = breakdown(&[("orders-api", 900), ("new-app", connections), ("(unnamed)", 500)]);
        snapshot(&mut evidence).breakdowns = [(Dimension::Application.into(), groups)].into();
        look(&evidence)
    };
    assert_says(
        &grown(50),
        Finding,
        "1 application with 50 connections that was not there at 12:46 UTC: new-app (50).",
    );
    assert_eq!(grown(49).status, Ok);
}

#[test]
fn without_any_witness_the_step_is_skipped() {
    let step = look(&evidence(vec![silent("n1")]));
    assert_says(&step, Skipped, "What was deployed could not be looked at: no changes in this test.");
    assert_says(&step, Skipped, "Who is new among the clients could not be looked at");
    assert_says(&look(&evidence_of(vitals())), Ok, "What was deployed could not be looked at");
}
