//! Recommendations: what follows from a finding, with the numbers of the cluster, and what does not follow.

use super::*;
use crate::diagnose::staged::{
    ago, breakdown, closed, evidence, evidence_of, firing, sample, server, snapshot, vitals, watched,
};
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::{Origin, Severity, Subject};
use crate::model::vitals::ServerVitals;

/// A finding about somebody, or nobody.
fn finding(kind: FindingKind, subject: Option<(Dimension, &str)>) -> Finding {
    Finding {
        kind,
        severity: Severity::Warning,
        confidence: 0.9,
        summary: "this is so".to_owned(),
        subject: subject.map(|(dimension, key)| Subject::new(dimension, key)),
        since: None,
        evidence: Vec::new(),
        confirm: String::new(),
        refute: String::new(),
    }
}

/// A culprit that has grown by 600.
fn culprit(dimension: Dimension, key: &str) -> Culprit {
    Culprit {
        dimension,
        key: key.to_owned(),
        label: None,
        connections: 900,
        grown_by: Some(600),
        explained_share: 0.9,
        since: Some(ago(600)),
        without_traffic_share: 0.97,
        addresses: vec![Origin { address: "10.2.0.0/16".to_owned(), name: None, connections: 900 }],
        first_seen_at: None,
        owner: None,
        summary: String::new(),
    }
}

fn recommend(evidence: &Evidence, findings: &[Finding], culprits: &[Culprit]) -> Vec<Recommendation> {
    recommendations(evidence, findings, culprits, &DiagnosisRules::default())
}

/// The one recommendation of a step whose title begins like this.
#[track_caller]
fn one<'a>(all: &'a [Recommendation], step: MitigationStep, title: &str) -> &'a Recommendation {
    let found = all.iter().find(|it| it.step == step && it.title.starts_with(title));
    found.unwrap_or_else(|| panic!("no {step:?} `{title}…` in {all:#?}"))
}

fn none(all: &[Recommendation], step: MitigationStep) {
    let found: Vec<&str> = all.iter().filter(|it| it.step == step).map(|it| it.title.as_str()).collect();
    assert!(found.is_empty(), "{found:?}");
}

fn snippets(recommendation: &Recommendation) -> Vec<&str> {
    recommendation.snippets.iter().map(|snippet| snippet.text.as_str()).collect()
}

fn limited(connections: u64, max_connections: i64) -> ServerVitals {
    ServerVitals { connections, max_connections: Some(max_connections), ..vitals() }
}

const NEAR: (FindingKind, Option<(Dimension, &str)>) =
    (FindingKind::NearLimit, Some((Dimension::Server, "n1")));

#[test]
fn where_nothing_is_wrong_nothing_is_recommended() {
    assert_eq!(recommend(&evidence_of(vitals()), &[], &[]), []);
}

#[test]
fn recommendations_come_in_the_order_of_the_runbook_and_are_bounded() {
    let findings: Vec<Finding> = FindingKind::ALL
        .into_iter()
        .flat_map(|kind| (0..50).map(move |_| finding(kind, Some((Dimension::Server, "n1")))))
        .collect();
    let culprits: Vec<Culprit> = (0..50).map(|n| culprit(Dimension::Application, &format!("a{n}"))).collect();
    let all = recommend(&evidence_of(limited(990, 1_000)), &findings, &culprits);
    assert!(all.len() <= MOST && all.is_sorted_by_key(|it| it.step), "{all:#?}");
}

#[test]
fn a_limit_that_is_nearly_reached_is_raised_by_half() {
    let mut evidence = evidence_of(limited(900, 1_000));
    watched(&mut evidence, vec![sample(600, &[("orders-api", 800)])]);
    let all = recommend(&evidence, &[finding(NEAR.0, NEAR.1)], &[]);
    let raise = one(&all, MitigationStep::Limits, "Raise max_connections of n1 from 1,000 to 1,500");
    assert!(
        raise.effect.contains("At the present growth of 10 a minute it would be full in 60m."),
        "{raise:?}"
    );
    assert!(raise.effect.contains("500 more connections take about 22.5 MB"), "{raise:?}");
    assert_eq!(snippets(raise)[0], "max_connections: 1500");
    let files = one(&all, MitigationStep::Resources, "See that n1 may open 1,600 files");
    assert_eq!(snippets(files)[1], "[Service]\nLimitNOFILE=1600");
    one(&all, MitigationStep::Monitoring, "Be told earlier");
    one(&all, MitigationStep::Balancing, "Put a second server beside n1");
}

#[test]
fn where_the_cause_goes_on_more_room_only_wins_time() {
    let evidence = evidence_of(limited(900, 1_000));
    let leak = finding(FindingKind::Leak, Some((Dimension::Application, "orders-api")));
    let all = recommend(
        &evidence,
        &[leak, finding(NEAR.0, NEAR.1)],
        &[culprit(Dimension::Application, "orders-api")],
    );
    one(&all, MitigationStep::Limits, "Raise max_connections of n1 only to win time: 1,500");
    let hold = one(&all, MitigationStep::Limits, "Hold account APP at 1,200 connections");
    assert!(hold.effect.contains("other applications in it are refused as well"), "{hold:?}");
    assert!(snippets(hold)[0].contains("\"APP\" {\n    limits { max_connections: 1200 }"), "{hold:?}");
    let fix = one(&all, MitigationStep::Application, "Let orders-api close the connections it opens");
    assert!(
        fix.effect.starts_with(
            "It has 900 connections, 600 of them more since 14:50 UTC, 97 % of them idle and without any message, \
             from 10.2.0.0/16 (900). "
        ),
        "{fix:?}"
    );
    assert_eq!(
        snippets(fix),
        [
            "connwarden inspect --by application/ip,name,account --top 20 http://n1:8222",
            "# shows whom it would hit and what speaks against it, and cuts nobody\n\
             connwarden plan kick --incident 00000000-0000-0000-0000-000000000000 --application=orders-api --no-traffic"
        ]
    );
    let hoard = finding(FindingKind::IdleHoard, Some((Dimension::Application, "(unnamed)")));
    let unnamed = Culprit { key: "(unnamed)".to_owned(), ..culprit(Dimension::Application, "") };
    let all = recommend(&evidence, &[hoard], std::slice::from_ref(&unnamed));
    let plan = snippets(one(&all, MitigationStep::Application, "Let (unnamed) close connections"));
    assert!(plan[1].contains(" drain ") && plan[1].ends_with(" --unnamed --no-traffic"), "{plan:?}");
    // what carries messages is not for cutting
    let busy = Culprit { without_traffic_share: 0.5, ..unnamed };
    let hoard = finding(FindingKind::IdleHoard, Some((Dimension::Application, "(unnamed)")));
    let all = recommend(&evidence, &[hoard], &[busy]);
    let plan = snippets(one(&all, MitigationStep::Application, "Let (unnamed) close connections"));
    assert_eq!(plan.len(), 1, "{plan:?}");
}

#[test]
fn no_limit_is_recommended_for_an_account_that_may_be_somebody_elses() {
    let mut evidence = evidence_of(vitals());
    let leak = || finding(FindingKind::Leak, Some((Dimension::Application, "orders-api")));
    let culprits = [culprit(Dimension::Application, "orders-api")];
    let accounts = |evidence: &mut Evidence, groups: &[(&str, u64)]| {
        snapshot(evidence).breakdowns.insert(Dimension::Account.into(), breakdown(groups));
    };
    accounts(&mut evidence, &[("APP", 1_000), ("BATCH", 200)]);
    none(&recommend(&evidence, &[leak()], &culprits), MitigationStep::Limits);
    accounts(&mut evidence, &[("$G", 1_200)]);
    let all = recommend(&evidence, &[leak()], &culprits);
    assert_eq!(snippets(one(&all, MitigationStep::Limits, "Give orders-api an account of its own")), [""; 0]);
    // a name that the configuration cannot hold
    accounts(&mut evidence, &[("my \"app\"", 1_200)]);
    let all = recommend(&evidence, &[leak()], &culprits);
    assert_eq!(snippets(one(&all, MitigationStep::Limits, "Hold account my \"app\" at 1,200")), [""; 0]);
}

#[test]
fn an_account_with_a_public_key_is_limited_by_its_jwt() {
    let mut evidence = evidence_of(vitals());
    let key = format!("A{}", "B".repeat(55));
    let mut accounts = breakdown(&[(&key, 1_234)]);
    accounts.groups[0].label = Some("my app".to_owned());
    snapshot(&mut evidence).breakdowns.insert(Dimension::Account.into(), accounts);
    let leak = finding(FindingKind::Leak, Some((Dimension::Application, "orders-api")));
    let all = recommend(&evidence, &[leak], &[culprit(Dimension::Application, "orders-api")]);
    let hold = one(&all, MitigationStep::Limits, "Hold account my app at 1,300 connections");
    assert_eq!(snippets(hold), ["nsc edit account --name 'my app' --conns 1300\nnsc push -a 'my app'"]);
}

#[test]
fn an_account_that_is_full_gets_more_room_and_the_server_does_not() {
    let mut evidence = evidence_of(limited(1_200, 65_536));
    let mut full = closed(&[("Maximum Account Connections Exceeded", 500)]);
    full.accounts = vec![crate::model::closed::ClosedGroup {
        key: "APP".to_owned(),
        absent: false,
        closed: 500,
        refused: 500,
        short_lived: 0,
        median_lifetime_s: None,
        top_reason: String::new(),
    }];
    snapshot(&mut evidence).closed = Some(full);
    let all = recommend(&evidence, &[finding(FindingKind::RefusedAtLimit, None)], &[]);
    one(&all, MitigationStep::Limits, "Raise the limit of account APP to 1,800");
    assert_eq!(all.iter().filter(|it| it.step == MitigationStep::Limits).count(), 1, "{all:#?}");
}

#[test]
fn a_storm_needs_patience_of_the_clients_and_no_limit() {
    let mut evidence = evidence_of(vitals());
    snapshot(&mut evidence).closed =
        Some(closed(&[("Authentication Timeout", 10), ("Authentication Failure", 7)]));
    let storm = || [finding(FindingKind::ReconnectStorm, Some((Dimension::Application, "orders-api")))];
    let culprits = [culprit(Dimension::Application, "orders-api")];
    let all = recommend(&evidence, &storm(), &culprits);
    none(&all, MitigationStep::Limits);
    let wait = one(&all, MitigationStep::Application, "Let orders-api wait longer before it reconnects");
    assert!(wait.effect.contains("7 of the attempts failed because of wrong credentials"), "{wait:?}");
    assert!(snippets(wait)[0].contains("nats.ReconnectJitter("), "{wait:?}");
    let time = one(&all, MitigationStep::Tuning, "Give clients 4s to authenticate");
    assert!(snippets(time)[0].contains("timeout: 4"), "{time:?}");
    one(&all, MitigationStep::Monitoring, "Be told earlier");

    snapshot(&mut evidence).closed = Some(closed(&[("Authentication Timeout", 9)]));
    none(&recommend(&evidence, &storm(), &culprits), MitigationStep::Tuning);
}

#[test]
fn dead_connections_are_a_reason_to_ping_only_where_many_have_died() {
    let mut evidence = evidence_of(vitals());
    let hoard = [finding(FindingKind::IdleHoard, Some((Dimension::Application, "orders-api")))];
    snapshot(&mut evidence).closed = Some(closed(&[("Stale Connection", 10)]));
    let all = recommend(&evidence, &hoard, &[]);
    let ping = one(&all, MitigationStep::Tuning, "Let n1 ping idle clients every 60s");
    assert!(
        ping.effect.contains("for up to 6m as it is and 3m with this. It costs at most 20 pings a second"),
        "{ping:?}"
    );
    one(&all, MitigationStep::Application, "Let orders-api close connections it does not use");
    snapshot(&mut evidence).closed = Some(closed(&[("Stale Connection", 9)]));
    none(&recommend(&evidence, &hoard, &[]), MitigationStep::Tuning);
}

#[test]
fn resources_are_recommended_for_what_is_short() {
    let pressure = [finding(FindingKind::ResourcePressure, Some((Dimension::Server, "n1")))];
    let busy = evidence_of(ServerVitals { cpu_percent: Some(160.0), ..vitals() });
    let all = recommend(&busy, &pressure, &[]);
    let cores = one(&all, MitigationStep::Resources, "Give n1 4 cores instead of 2");
    assert!(cores.effect.contains("It uses 80 % of what it has. With 4 cores it would be 40 %"), "{cores:?}");
    assert_eq!(all.iter().filter(|it| it.step == MitigationStep::Resources).count(), 1);

    let full =
        ServerVitals { memory_bytes: Some(950 << 20), memory_limit_bytes: Some(1_000 << 20), ..vitals() };
    let all = recommend(&evidence_of(full), &pressure, &[]);
    let memory = one(&all, MitigationStep::Resources, "Let n1 have 1.7 GB of memory instead of 1.0 GB");
    assert_eq!(snippets(memory)[0], "[Service]\nEnvironment=GOMEMLIMIT=1600MiB");
}

#[test]
fn a_herd_is_avoided_by_a_slower_shutdown() {
    let herd = [finding(FindingKind::RestartHerd, Some((Dimension::Server, "n1")))];
    let all = recommend(&evidence_of(limited(6_000, 65_536)), &herd, &[]);
    one(&all, MitigationStep::Tuning, "Shut n1 down in lame duck mode, over 2m");
    let all = recommend(&evidence_of(limited(30_000, 65_536)), &herd, &[]);
    let slower = one(&all, MitigationStep::Tuning, "Shut n1 down in lame duck mode, over 10m");
    assert!(slower.effect.contains("terminationGracePeriodSeconds of 660 or more"), "{slower:?}");
}

#[test]
fn an_imbalance_is_evened_out_by_the_clients() {
    let servers =
        [("n1", 800), ("n2", 100), ("n3", 100)].map(|(name, count)| server(name, limited(count, 65_536)));
    let imbalance = [finding(FindingKind::Imbalance, Some((Dimension::Server, "n1")))];
    let all = recommend(&evidence(servers.to_vec()), &imbalance, &[]);
    let spread = one(&all, MitigationStep::Balancing, "Spread the clients of n1 over the cluster");
    assert!(spread.effect.contains("Even would be 333 on each server; n1 has 467 more."), "{spread:?}");
    assert_eq!(snippets(spread), ["nats://n1:4222,nats://n2:4222,nats://n3:4222"]);
}

#[test]
fn slow_consumers_are_no_reason_to_wait_longer_than_usual() {
    let slow = [finding(FindingKind::SlowConsumers, Some((Dimension::Application, "orders-api")))];
    let all = recommend(&evidence_of(vitals()), &slow, &[]);
    one(&all, MitigationStep::Tuning, "Leave write_deadline and max_pending as they are");
    one(&all, MitigationStep::Application, "Let orders-api read faster, or ask for less");
    let hasty = ServerVitals { write_deadline_ms: Some(9_999), ..vitals() };
    one(&recommend(&evidence_of(hasty), &slow, &[]), MitigationStep::Tuning, "Wait 10s for clients");
}

#[test]
fn unnamed_clients_are_given_names_in_their_languages() {
    let mut evidence = evidence_of(vitals());
    let libraries =
        [("rust 0.51.0", 10), ("go 1.47.0", 500), ("python3 2.16.0", 30), ("go 1.30.0", 1), ("x", 900)];
    snapshot(&mut evidence).breakdowns.insert(Dimension::Library.into(), breakdown(&libraries));
    let unnamed = [finding(FindingKind::Unnamed, Some((Dimension::Application, "(unnamed)")))];
    let all = recommend(&evidence, &unnamed, &[]);
    let name = one(&all, MitigationStep::Application, "Let every client say its name");
    let places: Vec<&str> = name.snippets.iter().map(|snippet| snippet.place.as_str()).collect();
    assert_eq!(places, ["client code, Go", "client code, Python", "client code, Rust"]);
}

#[test]
fn the_threshold_is_half_more_than_what_is_usual() {
    let saturated = [finding(FindingKind::SaturatedValue, Some((Dimension::Server, "n1")))];
    let rule = |evidence: &Evidence| {
        let all = recommend(evidence, &saturated, &[]);
        one(&all, MitigationStep::Monitoring, "Let the alert count, with a threshold that fits").clone()
    };
    let mut evidence = evidence_of(limited(1_200, 65_536));
    evidence.metric_prefix = "nats".to_owned();
    // thirty samples from before, and the rise itself
    let mut samples: Vec<_> = (0..30).map(|n| sample(4_000 + n * 60, &[("a", 400)])).collect();
    samples.extend((0..5).map(|n| sample(400 + n * 60, &[("a", 1_200)])));
    watched(&mut evidence, samples.clone());
    let told = rule(&evidence);
    assert!(snippets(&told)[0].contains("expr: nats_varz_connections > 600\n"), "{told:?}");
    assert!(
        told.effect.contains("the busiest server had at most 400; 600 is half as much again."),
        "{told:?}"
    );
    // too few to say what is usual: the threshold stays as it was
    watched(&mut evidence, samples.split_off(1));
    assert!(snippets(&rule(&evidence))[0].contains("expr: nats_varz_connections > 1000\n"));
    // a chosen limit tells how many are too many
    let chosen = evidence_of(limited(1_200, 4_000));
    assert!(snippets(&rule(&chosen))[0].contains("expr: gnatsd_varz_connections > 3200\n"));
    let mut capped = evidence_of(limited(1_200, 700));
    watched(&mut capped, (0..30).map(|n| sample(4_000 + n * 60, &[("a", 400)])).collect());
    let told = rule(&capped);
    assert!(snippets(&told)[0].contains("> 560\n") && told.effect.contains("near the limit"), "{told:?}");
}

#[test]
fn an_alert_that_counts_is_told_another_threshold_or_none() {
    let growth = [finding(FindingKind::Growth, None)];
    let mut evidence = evidence_of(limited(1_200, 65_536));
    evidence.alerts = vec![firing(1_200.0, Some(600.0))];
    // too little is known of what is usual: it would be the same
    watched(&mut evidence, vec![sample(4_000, &[("a", 400)])]);
    none(&recommend(&evidence, &growth, &[]), MitigationStep::Monitoring);
    let samples = |usual| (0..30).map(|n| sample(4_000 + n * 60, &[("a", usual)])).collect();
    watched(&mut evidence, samples(400));
    none(&recommend(&evidence, &growth, &[]), MitigationStep::Monitoring);
    watched(&mut evidence, samples(800));
    let all = recommend(&evidence, &growth, &[]);
    let told = one(&all, MitigationStep::Monitoring, "Let the alert begin at 1,200");
    assert!(snippets(told)[0].contains("expr: gnatsd_varz_connections > 1200\n"), "{told:?}");
}

#[test]
fn a_server_without_a_number_gets_one() {
    let growth = [finding(FindingKind::Growth, None)];
    let all = recommend(&evidence_of(limited(1_200, -1)), &growth, &[]);
    let set = one(&all, MitigationStep::Limits, "Give n1 a limit");
    assert_eq!(snippets(set)[0], "max_connections: 65536");
    none(&recommend(&evidence_of(limited(1_200, 65_536)), &growth, &[]), MitigationStep::Limits);
}
