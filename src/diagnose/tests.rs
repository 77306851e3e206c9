//! Evidence in, findings out: each kind, and the case just below its threshold.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::diagnose::growth::Growth as Measured;
use crate::diagnose::scene::{Clients, Scene, ago, closed, now, steady, vitals};
use crate::diagnose::staged;
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::FindingKind::{self, *};
use crate::model::diagnosis::{Fact, Finding};
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::Evidence;
use crate::model::history::{Sample, ServerSample};
use crate::model::vitals::{Churn, ServerVitals};

/// Connections that an application opens at its instances since so many seconds, without closing them.
fn leak(application: &'static str, instances: u64, connections: u64) -> Clients {
    Clients {
        application,
        since: 600,
        until: 0,
        silent: true,
        ..steady(application, instances, connections / instances)
    }
}

fn top(scene: &Scene) -> Option<FindingKind> {
    scene.kinds().first().copied()
}

#[test]
fn where_nothing_is_wrong_nothing_is_found() {
    assert_eq!(Scene::quiet().kinds(), []);
    assert_eq!(Scene { watched: false, ..Scene::quiet() }.kinds(), []);
}

#[test]
fn an_application_that_opens_more_and_more_at_its_instances_leaks() {
    let scene = Scene::quiet().with(steady("shop", 4, 3)).with(leak("shop", 4, 400));
    assert_eq!(top(&scene), Some(Leak));
    assert_eq!(scene.culprits(), ["shop"]);
    let diagnosis = scene.diagnosis();
    insta::assert_snapshot!(diagnosis.headline, @"664 connections on n1; 62.1 % are shop, 400 of them idle and without traffic; Connection leak: shop, +379 since 02:50 UTC (9m ago)");
    insta::assert_snapshot!(diagnosis.findings[0].summary, @"shop grew by 379 to 412 connections since 02:50 UTC (9m ago) and explains 100 % of the growth: the addresses are those that were there before, each has 103 connections now");
    insta::assert_snapshot!(diagnosis.culprits[0].summary, @"of +379 since 02:50 UTC (9m ago), 379 are shop from 10.0.1.1 and 3 more, 97.1 % without traffic");
}

#[test]
fn a_leak_is_seen_without_any_earlier_sample() {
    let scene = Scene::quiet().with(steady("shop", 4, 3)).with(leak("shop", 4, 400));
    let scene = Scene { watched: false, ..scene };
    assert_eq!(top(&scene), Some(Leak));
    assert_eq!(scene.culprits(), ["shop"]);
}

#[test]
fn a_rise_from_nothing_is_seen_by_the_counters_of_the_servers() {
    let vitals_of = |started: i64, attempts: u64| ServerVitals {
        started_at: Some(ago(started)),
        total_connections: Some(attempts),
        ..vitals()
    };
    let rise = |since: i64, started: i64, attempts: u64| Scene {
        clients: vec![Clients { since, until: since - 30, ..leak("shop", 4, 1_200) }],
        vitals: [("n1", vitals_of(started, attempts)), ("n2", vitals_of(started, 0))].into(),
        watched: false,
        ..Scene::quiet()
    };
    let measured = |evidence: &Evidence| Measured::measure(evidence, &DiagnosisRules::default()).is_some();
    let grew = |scene: &Scene| measured(&scene.evidence());
    let scene = rise(90, 7_200, 1_320);
    assert_eq!((top(&scene), scene.culprits()), (Some(Leak), vec!["shop".to_owned()]));
    insta::assert_snapshot!(scene.diagnosis().findings[0].summary, @"shop grew by 1,200 to 1,200 connections since 02:58 UTC (95s ago) and explains 100 % of the growth: 4 new addresses with 300 connections each");
    // watched only since it was over, or since before it
    let sampled = |at| Scene { more_samples: vec![scene.sampled(at)], ..rise(90, 7_200, 1_320) };
    assert_eq!(sampled(40).culprits(), ["shop"]);
    assert_eq!(sampled(120).culprits(), ["shop"]);

    // others were there before, and perhaps came back
    assert!(!grew(&rise(90, 7_200, 1_321)));
    // to a server that started anew: ten minutes and the age of the oldest, which is told in steps of five seconds
    assert!(grew(&rise(90, 695, 1_200)));
    assert!(!grew(&rise(90, 694, 1_200)));
    assert!(grew(&rise(3_590, 7_200, 1_200)));
    assert!(!grew(&rise(3_600, 7_200, 1_200)));
    // a server that does not tell, or was not seen
    let untold = |vitals: ServerVitals| {
        let mut scene = rise(90, 7_200, 1_200);
        scene.vitals.insert("n3", vitals);
        scene
    };
    assert!(grew(&untold(vitals_of(7_200, 0))));
    assert!(!grew(&untold(ServerVitals { total_connections: None, ..vitals_of(7_200, 0) })));
    let partial = |complete| {
        let mut evidence = rise(90, 7_200, 1_200).evidence();
        Arc::make_mut(&mut evidence.snapshot).coverage.complete = complete;
        measured(&evidence)
    };
    assert!(partial(true) && !partial(false));
}

#[test]
fn less_than_the_least_is_nobodys_leak() {
    // 10 % of what was there is less than the least of 50
    assert_eq!(Scene::quiet().with(steady("shop", 4, 3)).with(leak("shop", 4, 44)).kinds(), []);
    assert_eq!(top(&Scene::quiet().with(steady("shop", 4, 3)).with(leak("shop", 4, 60))), Some(Leak));
}

#[test]
fn more_instances_with_as_many_connections_each_are_a_scale_out() {
    let more = Clients { since: 400, until: 380, network: "10.77", ..steady("shop", 60, 3) };
    let scene = Scene::quiet().with(steady("shop", 10, 3)).with(more.clone());
    assert_eq!(top(&scene), Some(ScaleOut));
    assert_eq!(scene.culprits(), ["shop"]);
    // an application that was never there before
    assert_eq!(top(&Scene::quiet().with(more)), Some(ScaleOut));
}

#[test]
fn new_instances_with_far_more_connections_each_leak() {
    let at =
        |each| Clients { since: 400, until: 0, network: "10.77", silent: true, ..steady("shop", 3, each) };
    assert_eq!(top(&Scene::quiet().with(steady("shop", 10, 10)).with(at(80))), Some(Leak));
    // two and a half times as many is more of the same
    let scene = Scene::quiet().with(steady("shop", 10, 10)).with(Clients { silent: false, ..at(25) });
    assert_eq!(top(&scene), Some(ScaleOut));
}

#[test]
fn what_grew_by_itself_is_behind_a_growth_that_everybody_else_shares_little_in() {
    let scene = Scene::quiet().with(steady("shop", 4, 3)).with(leak("shop", 4, 400));
    let others = Clients { since: 500, until: 10, ..steady("mail", 10, 1) };
    assert_eq!(scene.with(others).culprits(), ["shop"]);
}

#[test]
fn a_growth_of_everybody_is_nobodys() {
    let mut scene = Scene::quiet();
    let more = scene.clients.clone().into_iter().map(|clients| Clients {
        since: 900,
        until: 30,
        instances: clients.instances.div_ceil(3),
        ..clients
    });
    scene.clients.extend(more.collect::<Vec<_>>());
    assert_eq!(scene.kinds(), [Growth]);
    assert_eq!(scene.culprits(), Vec::<String>::new());
}

#[test]
fn connections_held_since_long_without_use_are_a_hoard() {
    let pool = |silent, instances| Clients { silent, ..steady("pool", instances, 30) };
    let scene = Scene::quiet().with(pool(true, 8));
    assert_eq!(scene.kinds(), [IdleHoard]);
    assert_eq!(scene.culprits(), ["pool"]);
    let culprit = &scene.diagnosis().culprits[0];
    assert_eq!(culprit.grown_by, None);
    assert!(!serde_json::to_string(culprit).unwrap().contains("grown_by"));
    assert_eq!(Scene::quiet().with(pool(false, 8)).kinds(), []);
    // less than a fifth of all
    assert_eq!(Scene::quiet().with(pool(true, 2)).kinds(), []);
}

#[test]
fn a_leak_that_has_come_to_an_end_long_ago_is_a_hoard() {
    let ended = |until| Clients { until, since: 3_000, ..leak("shop", 4, 400) };
    let scene = |until| Scene::quiet().with(steady("shop", 4, 3)).with(ended(until));
    assert_eq!(top(&scene(650)), Some(IdleHoard));
    assert_eq!(top(&scene(500)), Some(Leak));
}

#[test]
fn a_crowd_without_a_name_that_grew_is_told_as_such() {
    let crowd = Clients { since: 400, until: 350, network: "10.88", ..steady("", 40, 5) };
    let scene = Scene::quiet().with(crowd);
    assert_eq!(top(&scene), Some(Unnamed));
    // and one that was there before, from half of all on
    let old = |each| Clients { network: "10.88", ..steady("", 40, each) };
    assert_eq!(Scene::quiet().with(old(8)).kinds(), [Unnamed]);
    assert_eq!(Scene::quiet().with(old(2)).kinds(), []);
}

/// A storm of one application: so many of its connections ended within the last half minute.
fn storm(ended: u64) -> Scene {
    Scene {
        closed: Some(closed(&[("shop", "Client Closed", ended), ("mail", "Client Closed", 5)], 30)),
        ..Scene::quiet()
    }
}

#[test]
fn connections_that_end_at_once_again_and_again_are_a_storm() {
    assert_eq!(storm(400).kinds(), [ReconnectStorm]);
    assert_eq!(storm(400).culprits(), ["shop"]);
    // below 500 a minute
    assert_eq!(storm(240).kinds(), []);
}

#[test]
fn clients_that_are_replaced_once_are_no_storm() {
    // a deployment: as many ended as there are
    let replaced = |each| storm(400).with(steady("shop", 20, each));
    assert!(replaced(10).kinds().contains(&ReconnectStorm), "twice as many ended as there are");
    assert!(!replaced(11).kinds().contains(&ReconnectStorm));
    // and clients that are cut because they do not read
    let slow = Scene {
        closed: Some(closed(
            &[("board", "Slow Consumer (Pending Bytes)", 400), ("mail", "Client Closed", 5)],
            30,
        )),
        ..Scene::quiet()
    };
    assert!(!slow.kinds().contains(&ReconnectStorm));
}

#[test]
fn the_counters_of_a_server_show_a_storm_too() {
    let churn = |closed| Churn {
        server: "n1".to_owned(),
        from: ago(60),
        to: now(),
        attempts: closed,
        closed,
        grown: 0,
    };
    let scene = |closed| Scene { churn: vec![churn(closed)], ..Scene::quiet() };
    assert_eq!(scene(500).kinds(), [ReconnectStorm]);
    assert_eq!(scene(499).kinds(), []);
    assert_eq!(scene(500).culprits(), Vec::<String>::new());
}

#[test]
fn clients_that_all_left_once_and_came_back_do_not_storm() {
    let mut left = closed(&[("shop", "Client Closed", 600)], 30);
    left.applications[0].median_lifetime_s = Some(4_000.0);
    assert_eq!(Scene { closed: Some(left), ..Scene::quiet() }.kinds(), []);
}

#[test]
fn clients_that_are_turned_away_at_a_limit_come_first() {
    let full = |refused| Scene {
        closed: Some(closed(&[("", "Maximum Connections Exceeded", refused)], 30)),
        vitals: [("n1", ServerVitals { max_connections: Some(300), ..vitals() })].into(),
        ..Scene::quiet()
    };
    assert_eq!(full(5).kinds().first(), Some(&RefusedAtLimit));
    assert_ne!(full(4).kinds().first(), Some(&RefusedAtLimit));
}

#[test]
fn a_leak_that_fills_the_server_is_behind_the_refusals() {
    let scene = Scene::quiet().with(steady("shop", 4, 3)).with(leak("shop", 4, 400));
    let scene = Scene { closed: Some(closed(&[("", "Maximum Connections Exceeded", 90)], 30)), ..scene };
    assert_eq!(scene.kinds()[..2], [RefusedAtLimit, Leak]);
    assert_eq!(scene.culprits(), ["shop"]);
}

#[test]
fn a_server_is_near_its_limit_from_four_fifths_on() {
    let connections = Scene::quiet().evidence().connections() as i64;
    let limited = |limit| Scene {
        vitals: [("n1", ServerVitals { max_connections: Some(limit), ..vitals() })].into(),
        ..Scene::quiet()
    };
    assert_eq!(limited(connections * 10 / 8).kinds(), [NearLimit]);
    assert_eq!(limited(connections * 10 / 8 + 4).kinds(), []);
    // what 0 and below mean differs between versions
    assert_eq!(limited(0).kinds(), []);
    assert_eq!(limited(-1).kinds(), []);
}

/// What there is to know of n1 with so many connections and this limit.
fn full_server(connections: u64, max_connections: i64) -> Evidence {
    staged::evidence_of(ServerVitals {
        connections,
        max_connections: Some(max_connections),
        ..staged::vitals()
    })
}

fn near_limit(evidence: &Evidence) -> Option<Finding> {
    let findings = super::diagnose(evidence, &DiagnosisRules::default()).findings;
    findings.into_iter().find(|finding| finding.kind == NearLimit)
}

#[test]
fn a_limit_of_zero_is_the_default_in_old_versions_only() {
    let mut evidence = full_server(60_000, 0);
    let finding = near_limit(&evidence).unwrap();
    assert!(finding.summary.starts_with("n1 has 60,000 of the 65,536 connections"), "{}", finding.summary);
    staged::snapshot(&mut evidence).coverage.servers[0].version = Some("2.15.1".to_owned());
    assert_eq!(near_limit(&evidence), None);
    assert_eq!(near_limit(&full_server(60_000, -1)), None);
}

#[test]
fn the_finding_and_the_step_foresee_the_same_or_nothing() {
    let foreseen = |evidence: &Evidence| {
        let diagnosis = super::diagnose(evidence, &DiagnosisRules::default());
        let finding = near_limit(evidence).unwrap();
        let seconds =
            |facts: &[Fact], name: &str| facts.iter().find(|fact| fact.name == name).map(|fact| fact.value);
        (seconds(&finding.evidence, "seconds_to_full"), seconds(&diagnosis.steps[1].evidence, "full_in"))
    };
    let mut evidence = full_server(900, 1_000);
    assert_eq!(foreseen(&evidence), (None, None));
    staged::watched(&mut evidence, vec![staged::sample(600, &[("orders-api", 700)])]);
    assert_eq!(foreseen(&evidence), (Some(300.0), Some(300.0)));
    let summary = near_limit(&evidence).unwrap().summary;
    assert!(summary.ends_with(": full in 5m if it goes on growing by 20 a minute"), "{summary}");
    staged::watched(&mut evidence, vec![staged::sample(600, &[("orders-api", 900)])]);
    assert_eq!(foreseen(&evidence), (None, None));
}

#[test]
fn an_account_is_near_its_limit_from_nine_tenths_on() {
    let connections = Scene::quiet().evidence().connections();
    let limited = |limit| Scene { account_limits: [("APP".to_owned(), limit)].into(), ..Scene::quiet() };
    assert_eq!(limited(connections * 10 / 9).kinds(), [NearAccountLimit]);
    assert_eq!(limited(connections * 10 / 9 + 4).kinds(), []);
    assert_eq!(limited(0).kinds(), []);
}

#[test]
fn one_server_with_twice_the_mean_of_its_cluster_is_out_of_balance() {
    let cluster = |on_one: u64, on_others: u64| {
        let at = |server, each| Clients { server, ..steady("shop", 10, each) };
        let all = ["n1", "n2", "n3"];
        Scene {
            clients: vec![at("n1", on_one), at("n2", on_others), at("n3", on_others)],
            vitals: all.map(|name| (name, vitals())).into(),
            ..Scene::quiet()
        }
    };
    assert_eq!(cluster(40, 10).kinds(), [Imbalance]);
    assert_eq!(cluster(39, 10).kinds(), []);
    assert_eq!(cluster(30, 30).kinds(), []);
}

#[test]
fn a_leak_on_one_server_is_a_leak_before_it_is_an_imbalance() {
    let at = |server| Clients { server, ..steady("shop", 10, 10) };
    let scene = Scene {
        clients: vec![at("n1"), at("n2"), at("n3"), leak("mail", 2, 900), steady("mail", 2, 3)],
        vitals: ["n1", "n2", "n3"].map(|name| (name, vitals())).into(),
        ..Scene::quiet()
    };
    assert_eq!(scene.kinds()[0], Leak);
    assert!(scene.kinds().contains(&Imbalance));
}

#[test]
fn a_server_that_started_anew_has_a_herd() {
    let started = |seconds| ServerVitals { started_at: Some(ago(seconds)), ..vitals() };
    let mut scene = Scene { vitals: [("n1", started(120))].into(), watched: false, ..Scene::quiet() };
    for clients in &mut scene.clients {
        (clients.since, clients.until) = (115, 60);
    }
    let before = ServerSample {
        server: "n1".to_owned(),
        connections: 290,
        started_at: Some(ago(86_400)),
        ..ServerSample::default()
    };
    let sample = Sample { at: ago(200), complete: true, servers: vec![before], groups: [].into() };
    // that it is new says nothing as long as nobody knows what was before
    assert!(!scene.kinds().contains(&RestartHerd));
    scene.more_samples = vec![sample];
    assert_eq!(top(&scene), Some(RestartHerd));
    assert_eq!(scene.culprits(), Vec::<String>::new());
    // long ago
    scene.vitals = [("n1", started(1_300))].into();
    assert!(!scene.kinds().contains(&RestartHerd));
}

#[test]
fn many_applications_behind_one_address_share_it() {
    let behind = |n: usize| {
        let mut scene = Scene::quiet();
        scene.clients.iter_mut().take(n).for_each(|clients| clients.address = Some("10.200.0.1"));
        scene
    };
    assert_eq!(behind(10).kinds(), [SharedAddress]);
    assert_eq!(behind(4).kinds(), []);
    assert_eq!(behind(10).culprits(), Vec::<String>::new());
}

#[test]
fn an_address_far_above_its_peers_is_an_outlier() {
    let large = |each| Clients { address: Some("10.201.0.9"), ..steady("edge", 1, each) };
    assert_eq!(Scene::quiet().with(large(120)).kinds(), [Outlier]);
    assert_eq!(Scene::quiet().with(large(120)).culprits(), ["edge"]);
    // less than a tenth of all
    assert_eq!(Scene::quiet().with(large(20)).kinds(), []);
}

#[test]
fn slow_consumers_are_counted_since_the_last_samples() {
    let slow = |count| Scene {
        vitals: [("n1", ServerVitals { slow_consumers: Some(count), ..vitals() })].into(),
        closed: Some(closed(&[("board", "Slow Consumer (Pending Bytes)", count)], 300)),
        ..Scene::quiet().with(steady("board", 3, 2))
    };
    assert_eq!(slow(5).kinds(), [SlowConsumers]);
    assert_eq!(slow(5).culprits(), ["board"]);
    assert_eq!(slow(4).kinds(), []);
    // even where all of them have just been cut
    let gone = Scene { closed: slow(5).closed, vitals: slow(5).vitals, ..Scene::quiet() };
    assert_eq!(gone.culprits(), ["board"]);
}

#[test]
fn a_server_under_pressure_is_told_by_its_cores_and_its_memory_limit() {
    let server = |change: ServerVitals| Scene { vitals: [("n1", change)].into(), ..Scene::quiet() };
    let cpu = |percent| server(ServerVitals { cpu_percent: Some(percent), ..vitals() });
    assert_eq!(cpu(160.0).kinds(), [ResourcePressure]);
    assert_eq!(cpu(159.0).kinds(), []);
    let memory =
        |used| server(ServerVitals { memory_bytes: Some(used), memory_limit_bytes: Some(1_000), ..vitals() });
    assert_eq!(memory(900).kinds(), [ResourcePressure]);
    assert_eq!(memory(899).kinds(), []);
}

#[test]
fn what_is_missing_concludes_nothing() {
    let mut scene = Scene::quiet().with(steady("shop", 4, 3)).with(leak("shop", 4, 400));
    scene.vitals.clear();
    scene.watched = false;
    let mut evidence = scene.evidence();
    let mut snapshot = (*evidence.snapshot).clone();
    snapshot.breakdowns.clear();
    evidence.snapshot = snapshot.into();
    let diagnosis = super::diagnose(&evidence, &scene.rules);
    assert_eq!(diagnosis.findings, []);
    assert_eq!(diagnosis.culprits, []);
}

#[test]
fn a_gap_in_the_samples_is_no_quiet_time() {
    // a look that lacked a server an hour ago must not make everybody grow
    let mut scene = Scene::quiet();
    let mut hole = scene.evidence().history.seen().unwrap().samples[0].clone();
    hole.complete = false;
    hole.at = now() - SignedDuration::from_secs(45);
    hole.servers[0].connections = 1;
    hole.groups.get_mut(&Dimension::Application).unwrap().groups.clear();
    scene.more_samples = vec![hole];
    assert_eq!(scene.kinds(), []);
}

#[test]
fn who_owns_a_culprit_is_told() {
    use crate::model::owner::{Owned, Owner, Owners, Pattern};

    let scene = Scene::quiet().with(steady("shop", 4, 3)).with(leak("shop", 4, 400));
    let mut evidence = scene.evidence();
    let owner = Owner { team: "Checkout".to_owned(), runbook: None, contact: Some("#checkout".to_owned()) };
    evidence.owners = Owners::new([(Owned::Application(Pattern::new("sh*")), owner.clone())]).into();
    let diagnosis = super::diagnose(&evidence, &scene.rules);
    assert_eq!(diagnosis.culprits[0].owner, Some(owner));
    assert!(diagnosis.culprits[0].summary.ends_with("; it belongs to Checkout (#checkout)"));
}
