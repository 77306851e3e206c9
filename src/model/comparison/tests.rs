//! Tests of comparisons: exact numbers, what is unknown, and which sample is one of a cluster that was well.

use proptest::prelude::*;

use super::*;
use crate::model::history::ServerSample;

const NOW: i64 = 1_790_000_000;

fn minutes_ago(minutes: i64) -> Timestamp {
    Timestamp::from_second(NOW - 60 * minutes).unwrap()
}

fn groups(listed: &[(&str, u64)], other: u64) -> SampledGroups {
    SampledGroups {
        groups: listed.iter().map(|(key, connections)| ((*key).to_owned(), *connections)).collect(),
        other,
    }
}

fn sample(servers: &[(&str, u64)], applications: SampledGroups) -> Sample {
    let servers = servers.iter().map(|(server, connections)| ServerSample {
        server: (*server).to_owned(),
        connections: *connections,
        ..ServerSample::default()
    });
    Sample {
        at: minutes_ago(0),
        complete: true,
        servers: servers.collect(),
        groups: BTreeMap::from([(Dimension::Application, applications)]),
    }
}

fn delta(key: &str, before: Option<u64>, after: Option<u64>, kind: DeltaKind) -> Delta {
    Delta { key: key.to_owned(), before, after, kind }
}

#[test]
fn what_is_new_gone_grown_and_shrunk_is_told_in_exact_numbers() {
    let before = sample(&[("n1", 60), ("n2", 50)], groups(&[("a", 50), ("b", 30), ("c", 20), ("d", 10)], 0));
    let after = sample(&[("n1", 60), ("n2", 81)], groups(&[("a", 50), ("b", 80), ("c", 7), ("e", 4)], 0));
    let comparison = Comparison::between(&before, &after);
    assert_eq!(comparison.total, BeforeAfter { before: 110, after: 141 });
    let changes = &comparison.by[&Dimension::Application];
    assert_eq!(
        changes.deltas,
        [
            delta("b", Some(30), Some(80), DeltaKind::Grown),
            delta("c", Some(20), Some(7), DeltaKind::Shrunk),
            delta("d", Some(10), Some(0), DeltaKind::Gone),
            delta("e", Some(0), Some(4), DeltaKind::New),
        ]
    );
    assert_eq!((changes.unchanged, changes.other), (1, BeforeAfter { before: 50, after: 50 }));
    assert_eq!(comparison.servers, [delta("n2", Some(50), Some(81), DeltaKind::Grown)]);
    let differences: Vec<_> = changes.deltas.iter().map(Delta::difference).collect();
    assert_eq!(differences, [Some(50), Some(-13), Some(-10), Some(4)]);
}

#[test]
fn what_was_too_small_to_be_listed_is_unclear_and_not_new() {
    let before = sample(&[], groups(&[("a", 50)], 12));
    let after = sample(&[], groups(&[("a", 50), ("b", 30)], 0));
    let changes = |before, after| {
        let mut by = Comparison::between(before, after).by;
        by.remove(&Dimension::Application).unwrap()
    };
    let forward = changes(&before, &after);
    assert_eq!(forward.deltas, [delta("b", None, Some(30), DeltaKind::Unclear)]);
    assert_eq!(forward.deltas[0].difference(), None);
    let back = changes(&after, &before);
    assert_eq!(back.deltas, [delta("b", Some(30), None, DeltaKind::Unclear)]);
}

#[test]
fn a_server_that_was_not_seen_is_not_gone() {
    let (both, mut one) =
        (sample(&[("n1", 5), ("n2", 7)], groups(&[], 0)), sample(&[("n1", 5)], groups(&[], 0)));
    assert_eq!(Comparison::between(&both, &one).servers, [delta("n2", Some(7), Some(0), DeltaKind::Gone)]);
    one.complete = false;
    let comparison = Comparison::between(&both, &one);
    assert_eq!(comparison.servers, [delta("n2", Some(7), None, DeltaKind::Unclear)]);
    assert!(!comparison.complete);
}

fn any_groups() -> impl Strategy<Value = SampledGroups> {
    (prop::collection::btree_map("[a-f]", 1..50u64, 0..6), 0..20u64)
        .prop_map(|(groups, other)| SampledGroups { groups, other })
}

proptest! {
    #[test]
    fn the_deltas_add_up_to_the_change_of_the_total(before in any_groups(), after in any_groups(), top in 0..7usize) {
        let (before, after) = (sample(&[], before), sample(&[], after));
        let whole = Comparison::between(&before, &after);
        for comparison in [whole.clone(), whole.top(top)] {
            let changes = &comparison.by[&Dimension::Application];
            let sum = |side: fn(&Delta) -> Option<u64>| -> u64 { changes.deltas.iter().filter_map(side).sum() };
            prop_assert_eq!(sum(|delta| delta.before) + changes.other.before, before.counted());
            prop_assert_eq!(sum(|delta| delta.after) + changes.other.after, after.counted());
            prop_assert_eq!(comparison.total, BeforeAfter { before: before.counted(), after: after.counted() });
            for delta in &changes.deltas {
                let expected = match (delta.before, delta.after) {
                    (Some(0), Some(_)) => DeltaKind::New,
                    (Some(_), Some(0)) => DeltaKind::Gone,
                    (Some(before), Some(after)) if after > before => DeltaKind::Grown,
                    (Some(before), Some(after)) => { prop_assert!(after < before); DeltaKind::Shrunk }
                    _ => DeltaKind::Unclear,
                };
                prop_assert_eq!(delta.kind, expected);
            }
        }
    }
}

/// A history of one server, a sample a minute, the last of them now.
fn history(levels: impl IntoIterator<Item = u64>) -> History {
    let levels: Vec<u64> = levels.into_iter().collect();
    let count = i64::try_from(levels.len()).unwrap();
    let samples = levels
        .iter()
        .zip((0..count).rev())
        .map(|(level, ago)| Sample { at: minutes_ago(ago), ..sample(&[("n1", *level)], groups(&[], 0)) });
    History { samples: samples.collect() }
}

fn problem(threshold: Option<u64>) -> Problem<'static> {
    Problem { server: None, threshold, noticed_at: minutes_ago(0) }
}

/// How many minutes ago the cluster was well, how many connections it had then, and why that is thought.
fn found(history: &History, problem: &Problem<'_>) -> Option<(i64, u64, HealthyReason)> {
    last_healthy(history, problem).map(|healthy| {
        let minutes = (NOW - healthy.sample.at.as_second()) / 60;
        (minutes, healthy.sample.connections(), healthy.reason)
    })
}

fn flat(level: u64, minutes: usize) -> impl Iterator<Item = u64> {
    std::iter::repeat_n(level, minutes)
}

use HealthyReason::{BelowThreshold, LowestLevel};

#[test]
fn before_a_step_the_last_sample_below_it_is_healthy() {
    let step = history(flat(800, 60).chain(flat(2000, 10)));
    assert_eq!(found(&step, &problem(Some(1000))), Some((10, 800, BelowThreshold)));
    assert_eq!(found(&step, &problem(None)), Some((10, 800, LowestLevel)));
    let earlier = Problem { noticed_at: minutes_ago(30), ..problem(Some(1000)) };
    assert_eq!(
        found(&step, &earlier),
        Some((30, 800, BelowThreshold)),
        "what is not noticed yet is not known"
    );
}

#[test]
fn a_slow_rise_is_followed_down_to_its_foot() {
    // 300, and for the last four hours 3 a minute more, a little up and down
    let leak = (1..=240).map(|minute| 300 + 3 * minute + minute % 3);
    let slow = history(flat(300, 300).chain(leak));
    let (minutes, connections, reason) = found(&slow, &problem(Some(1000))).unwrap();
    assert_eq!(reason, BelowThreshold);
    assert!((205..=240).contains(&minutes) && connections <= 300 + 70, "{minutes} {connections}");
}

#[test]
fn the_ups_and_downs_of_a_day_are_not_part_of_a_step() {
    let morning = (0..480).map(|minute| 200 + minute * 600 / 480);
    let day = history(flat(200, 300).chain(morning).chain(flat(800, 120)).chain(flat(2000, 20)));
    assert_eq!(found(&day, &problem(Some(1000))), Some((20, 800, BelowThreshold)));
}

#[test]
fn just_below_the_threshold_is_not_well() {
    for (level, expected) in [(900, (5, 900, BelowThreshold)), (901, (5, 901, LowestLevel))] {
        let just = history(flat(level, 30).chain(flat(1100, 5)));
        assert_eq!(found(&just, &problem(Some(1000))), Some(expected));
    }
    let flapping = [950, 1050, 960, 1010].into_iter().cycle().take(40);
    let flapping = history(flat(500, 60).chain(flapping));
    assert_eq!(found(&flapping, &problem(Some(1000))), Some((40, 500, BelowThreshold)));
}

#[test]
fn after_the_end_of_a_problem_before_it_the_cluster_was_well_again() {
    let twice = history(flat(300, 60).chain(flat(2000, 30)).chain(flat(500, 60)).chain(flat(1500, 5)));
    assert_eq!(found(&twice, &problem(Some(1000))), Some((5, 500, BelowThreshold)));
}

#[test]
fn every_server_is_compared_with_the_threshold_and_the_one_in_question_alone_where_it_is_known() {
    let mut two = history(flat(0, 20));
    for (place, sample) in two.samples.iter_mut().enumerate() {
        let moved = if place < 10 { 0 } else { 700 };
        sample.servers = self::sample(&[("n1", 500 + moved), ("n2", 800 - moved)], groups(&[], 0)).servers;
    }
    for server in [None, Some("n1")] {
        let problem = Problem { server, ..problem(Some(1000)) };
        assert_eq!(found(&two, &problem), Some((10, 1300, BelowThreshold)), "{server:?}");
    }
    let other = Problem { server: Some("n2"), ..problem(Some(1000)) };
    assert_eq!(found(&two, &other).unwrap().0, 0);
    let stranger = Problem { server: Some("n3"), ..problem(Some(1000)) };
    assert_eq!(found(&two, &stranger), None);
}

#[test]
fn a_sample_without_a_server_that_is_there_again_says_nothing_and_no_samples_say_nothing() {
    let mut cut = history(flat(800, 10).chain(flat(20, 3)).chain(flat(2000, 5)));
    for (place, sample) in cut.samples.iter_mut().enumerate() {
        let connections = sample.servers[0].connections;
        sample.complete = !(10..13).contains(&place);
        let both = [("n1", 10), ("n2", connections - 10)];
        sample.servers = self::sample(&both[..if sample.complete { 2 } else { 1 }], groups(&[], 0)).servers;
    }
    assert_eq!(found(&cut, &problem(Some(1000))), Some((8, 800, BelowThreshold)));
    assert_eq!(found(&cut, &problem(None)), Some((8, 800, LowestLevel)));
    assert_eq!(found(&History::default(), &problem(Some(1000))), None);
}

#[test]
fn a_server_that_has_not_answered_for_long_and_one_that_is_new_are_in_nobodys_way() {
    let mut dead = history(flat(800, 60).chain(flat(2000, 10)));
    dead.samples.iter_mut().for_each(|sample| sample.complete = false);
    assert_eq!(found(&dead, &problem(Some(1000))), Some((10, 800, BelowThreshold)));

    let mut grown = history(flat(800, 60).chain(flat(2000, 10)));
    for sample in &mut grown.samples[55..] {
        sample.servers.extend(self::sample(&[("n2", 5)], groups(&[], 0)).servers);
    }
    assert_eq!(found(&grown, &problem(Some(1000))), Some((10, 805, BelowThreshold)));
}

proptest! {
    #[test]
    fn a_healthy_sample_is_found_whenever_one_is_complete(
        levels in prop::collection::vec(0..3000u64, 1..80),
        threshold in prop::option::of(0..3000u64),
    ) {
        let history = history(levels.clone());
        let (_, connections, reason) = found(&history, &problem(threshold)).unwrap();
        let below = threshold.is_some_and(|threshold| connections * 100 <= threshold * CLEARLY_BELOW);
        prop_assert_eq!(below, reason == BelowThreshold);
    }
}
