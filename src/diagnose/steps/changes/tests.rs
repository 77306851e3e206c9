//! The step of changes: evidence in, result out.

use super::*;
use crate::diagnose::growth::Measure;
use crate::diagnose::staged::{
    ago, assert_says, breakdown, evidence, evidence_of, said, sample, server, silent, snapshot, vitals,
    watched,
};
use crate::model::change::ChangeKind;
use crate::model::diagnosis::StepStatus::{Finding, Ok, Skipped};
use crate::model::first_seen::FirstSeen;
use crate::model::ids::ChangeId;
use crate::model::vitals::ServerVitals;

/// When the incident of these tests opened, in seconds before the look.
const OPENED: i64 = 300;

fn look(evidence: &Evidence) -> Step {
    step(evidence, &DiagnosisRules::default(), None)
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

/// The step, where groups of a dimension grew to so many connections each, and were first seen so many seconds before the
/// alert, after a look in vain so many seconds before it.
fn look_at_newcomers(dimension: Dimension, groups: &[(&str, u64)], seen: i64, not_seen: i64) -> Step {
    let mut evidence = evidence_of(vitals());
    let grown = groups.iter().map(|(key, now)| GroupGrowth {
        key: (*key).to_owned(),
        absent: false,
        before: 0,
        now: *now,
    });
    let growth = Growth {
        since: ago(900),
        measure: Measure::Samples,
        before: 0,
        now: groups.iter().map(|(_, now)| now).sum(),
        groups: [(dimension, grown.collect())].into(),
    };
    let seen = FirstSeen { at: ago(OPENED + seen), not_seen_at: Some(ago(OPENED + not_seen)) };
    evidence.first_seen = groups.iter().map(|(key, _)| ((dimension, (*key).to_owned()), seen)).collect();
    step(&evidence, &DiagnosisRules::default(), Some(&growth))
}

#[test]
fn who_grew_and_was_never_seen_before_is_told_with_the_time_from_the_least_number_on() {
    let orders =
        |connections| look_at_newcomers(Dimension::Application, &[("orders", connections)], 840, 900);
    let text = "The application orders, with 50 connections, was first seen 14m before the alert.";
    assert_says(&orders(50), Finding, text);
    assert_eq!(orders(49).status, Ok);
    let addresses = look_at_newcomers(Dimension::Ip, &[("10.0.0.1", 30), ("10.0.0.2", 20)], -60, 0);
    let text = "2 addresses with 50 connections were first seen shortly before the alert or since: \
                10.0.0.1 (30 connections, 60s after the alert) and 10.0.0.2 (20 connections, 60s after the alert).";
    assert_says(&addresses, Finding, text);
    let user = look_at_newcomers(Dimension::User, &[("al\nice", 60)], 60, 120);
    assert_says(
        &user,
        Finding,
        r"The user al\nice, with 60 connections, was first seen 60s before the alert.",
    );
}

#[test]
fn who_came_longer_ago_or_may_have_is_no_newcomer() {
    let orders =
        |seen, not_seen| look_at_newcomers(Dimension::Application, &[("orders", 900)], seen, not_seen).status;
    assert_eq!(orders(7_200, 7_200), Finding);
    assert_eq!(orders(7_201, 7_201), Ok);
    assert_eq!(orders(60, 7_201), Ok, "nobody looked for hours");
}

#[test]
fn a_newcomer_is_told_once() {
    let mut evidence = evidence_of(vitals());
    watched(&mut evidence, vec![sample(8_000, &[("billing", 300)])]);
    let seen = FirstSeen { at: ago(OPENED + 60), not_seen_at: Some(ago(OPENED + 120)) };
    evidence.first_seen = [((Dimension::Application, "orders-api".to_owned()), seen)].into();
    let told = |growth| {
        let step = step(&evidence, &DiagnosisRules::default(), growth);
        said(&step).matches("orders-api").count()
    };
    let growth = Growth {
        since: ago(900),
        measure: Measure::Samples,
        before: 300,
        now: 1_200,
        groups: [(
            Dimension::Application,
            vec![GroupGrowth { key: "orders-api".to_owned(), absent: false, before: 0, now: 900 }],
        )]
        .into(),
    };
    assert_eq!((told(None), told(Some(&growth))), (1, 1));
}

#[test]
fn without_any_witness_the_step_is_skipped() {
    let step = look(&evidence(vec![silent("n1")]));
    assert_says(&step, Skipped, "What was deployed could not be looked at: no changes in this test.");
    assert_says(&step, Skipped, "Who is new among the clients could not be looked at");
    assert_says(&look(&evidence_of(vitals())), Ok, "What was deployed could not be looked at");
}
