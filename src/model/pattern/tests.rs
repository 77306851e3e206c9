use proptest::prelude::*;

use super::*;
use PatternKind::{Flat, Noisy, Ramp, Sawtooth, Seasonal, Spike, Step};

const STEP: Duration = Duration::from_secs(60);

fn start() -> Timestamp {
    "2026-11-24T09:00:00Z".parse().unwrap()
}

fn minute(minute: usize) -> Timestamp {
    start() + jiff::SignedDuration::from_mins(i64::try_from(minute).unwrap())
}

/// A value each minute; `NaN` is a missing one.
fn series(values: impl IntoIterator<Item = f64>) -> Series {
    let points = values.into_iter().enumerate();
    Series::new(points.map(|(place, value)| Point { at: minute(place), value }), STEP)
}

/// What scatters evenly between -1 and 1, the same each time.
fn scatter(place: usize) -> f64 {
    let mut hash = place as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for _ in 0..3 {
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    (hash >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

fn made(length: usize, value: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..length).map(|minute| value(minute as f64)).collect()
}

fn noisy(values: &[f64], by: f64) -> Vec<f64> {
    values.iter().enumerate().map(|(place, value)| value + by * scatter(place)).collect()
}

fn pattern(values: &[f64]) -> Pattern {
    Pattern::of(&series(values.iter().copied()), &[]).unwrap()
}

fn kind(values: &[f64]) -> PatternKind {
    pattern(values).kind
}

fn step(at: f64, from: f64, to: f64) -> Vec<f64> {
    made(180, |minute| if minute < at { from } else { to })
}

fn sawtooth() -> Vec<f64> {
    made(180, |minute| 200.0 + (minute % 45.0) * 20.0)
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 0.1 * other.abs()
}

#[test]
fn a_step_has_its_onset_and_both_levels() {
    for values in [step(100.0, 120.0, 1450.0), noisy(&step(100.0, 120.0, 1450.0), 30.0)] {
        let found = pattern(&values);
        assert_eq!((found.kind, found.since), (Step, Some(minute(100))), "{found:?}");
        assert!(close(found.before, 120.0) && close(found.after, 1450.0), "{found:?}");
        assert!(found.confidence > 0.9);
    }
    insta::assert_snapshot!(
        pattern(&step(100.0, 120.0, 1450.0)).summary,
        @"went up at once from 120 to 1,450 at 2026-11-24 10:40 UTC"
    );
    let down = pattern(&step(60.0, 900.0, 300.0));
    assert_eq!((down.kind, down.since), (Step, Some(minute(60))));
    insta::assert_snapshot!(down.summary, @"went down at once from 900 to 300 at 2026-11-24 10:00 UTC");
}

#[test]
fn a_step_that_took_some_minutes_and_one_of_just_now_are_steps() {
    let rollout = made(180, |minute| 100.0 + ((minute - 90.0) / 6.0).clamp(0.0, 1.0) * 500.0);
    let found = pattern(&noisy(&rollout, 10.0));
    assert_eq!(found.kind, Step, "{found:?}");
    assert!(minute(90) <= found.since.unwrap() && found.since.unwrap() <= minute(94), "{found:?}");

    let now = pattern(&noisy(&step(176.0, 120.0, 1450.0), 20.0));
    assert_eq!((now.kind, now.since), (Step, Some(minute(176))), "{now:?}");
    // one last value alone is not believed yet
    assert_ne!(kind(&step(179.0, 120.0, 1450.0)), Step);
}

#[test]
fn a_step_that_goes_on_growing_says_so() {
    let values = made(180, |minute| if minute < 60.0 { 100.0 } else { 1000.0 + (minute - 60.0) * 2.0 });
    let found = pattern(&values);
    assert_eq!(found.kind, Step, "{found:?}");
    assert!(close(found.per_minute, 2.0), "{found:?}");
    assert!(found.summary.ends_with(", and grows by 2 a minute since"), "{}", found.summary);
}

#[test]
fn a_ramp_has_its_onset_and_its_slope() {
    let leak = made(180, |minute| 300.0 + (minute - 80.0).max(0.0) * 7.0);
    for values in [leak.clone(), noisy(&leak, 25.0)] {
        let found = pattern(&values);
        assert_eq!(found.kind, Ramp, "{found:?}");
        let apart = found.since.unwrap().duration_since(minute(80)).as_mins().abs();
        assert!(apart <= 6, "{found:?}");
        assert!(close(found.per_minute, 7.0) && close(found.before, 300.0), "{found:?}");
    }
    insta::assert_snapshot!(
        pattern(&leak).summary,
        @"grows steadily, from 300 to 993 so far, by 7 a minute, since 2026-11-24 10:20 UTC"
    );
}

#[test]
fn a_ramp_that_began_before_the_first_value_says_so_and_one_that_ended_too() {
    let whole = pattern(&made(180, |minute| 500.0 + minute * 3.0));
    assert_eq!((whole.kind, whole.since), (Ramp, None));
    insta::assert_snapshot!(
        whole.summary,
        @"grows steadily, from 500 to 1,037 so far, by 3 a minute, since before the first value"
    );
    let ended = pattern(&made(180, |minute| 900.0 - (minute - 50.0).clamp(0.0, 60.0) * 10.0));
    assert_eq!(ended.kind, Ramp);
    insta::assert_snapshot!(
        ended.summary,
        @"fell steadily from 900 to 300 in 60 minutes, by 10 a minute, since 2026-11-24 09:50 UTC"
    );
}

#[test]
fn a_spike_comes_back() {
    let burst = made(180, |minute| if (100.0..106.0).contains(&minute) { 1500.0 } else { 200.0 });
    for values in [burst.clone(), noisy(&burst, 20.0)] {
        let found = pattern(&values);
        assert_eq!((found.kind, found.since), (Spike, Some(minute(100))), "{found:?}");
        assert!(close(found.before, 200.0) && close(found.after, 1500.0), "{found:?}");
    }
    insta::assert_snapshot!(
        pattern(&burst).summary,
        @"left its level of 200 for a short time, once, last at 2026-11-24 10:40 UTC, and came to 1,500"
    );
    let twice = made(180, |minute| if minute == 40.0 || minute == 120.0 { 900.0 } else { 100.0 });
    assert_eq!((pattern(&twice).kind, pattern(&twice).since), (Spike, Some(minute(120))));
}

#[test]
fn a_server_that_restarted_is_a_spike_downwards() {
    let restart = made(180, |minute| if (90.0..93.0).contains(&minute) { 0.0 } else { 800.0 });
    let found = pattern(&noisy(&restart, 5.0));
    assert_eq!(found.kind, Spike, "{found:?}");
    assert!(found.after < found.before);
}

#[test]
fn a_sawtooth_rises_again_and_again() {
    for values in [sawtooth(), noisy(&sawtooth(), 30.0)] {
        let found = pattern(&values);
        assert_eq!(found.kind, Sawtooth, "{found:?}");
        assert!(close(found.per_minute, 20.0), "{found:?}");
        assert!(found.before < 260.0 && found.after > 1000.0, "{found:?}");
    }
    insta::assert_snapshot!(
        pattern(&sawtooth()).summary,
        @"rises from 200 to 1,080 by 20 a minute and falls back sharply, 3 times so far"
    );
}

#[test]
fn what_swings_or_switches_is_no_sawtooth() {
    let swing = made(180, |minute| 500.0 + 300.0 * (minute / 10.0).sin());
    assert_eq!(kind(&swing), Noisy);
    let switch = made(180, |minute| if ((minute / 15.0) as u64).is_multiple_of(2) { 200.0 } else { 900.0 });
    assert_eq!(kind(&switch), Noisy);
}

#[test]
fn what_happened_at_the_same_time_before_is_seasonal() {
    let morning = made(180, |minute| 200.0 + 800.0 / (1.0 + (-(minute - 90.0) / 12.0).exp()));
    let now = series(noisy(&morning, 20.0));
    let yesterday = series(morning.iter().map(|value| value * 1.05));
    let nothing = series(vec![250.0; 180]);
    let kind = |earlier: &[Series]| Pattern::of(&now, earlier).unwrap().kind;
    assert_ne!(kind(&[]), Seasonal);
    assert_eq!(kind(std::slice::from_ref(&yesterday)), Seasonal);
    assert_eq!(kind(&[nothing.clone(), yesterday.clone()]), Seasonal);
    assert_ne!(kind(&[nothing]), Seasonal);
    // half of yesterday is too little to compare with
    let half = Series::new(yesterday.points()[..90].iter().copied(), STEP);
    assert_ne!(kind(&[half]), Seasonal);
    // as always, until just now
    let mut lately = morning.clone();
    lately[160..].iter_mut().for_each(|value| *value += 900.0);
    assert_ne!(Pattern::of(&series(lately), &[yesterday]).unwrap().kind, Seasonal);
}

#[test]
fn a_level_is_flat_whatever_it_is() {
    for level in [0.0, 1.0, 1024.0, 50_000.0] {
        let found = pattern(&vec![level; 180]);
        assert_eq!((found.kind, found.since, found.before, found.after), (Flat, None, level, level));
    }
    assert_eq!(pattern(&[1024.0; 180]).summary, "stays at 1,024");
    insta::assert_snapshot!(
        pattern(&noisy(&[1000.0; 180], 30.0)).summary,
        @"stays at 1,002, between 971 and 1,029"
    );
}

#[test]
fn what_scatters_is_noisy() {
    let found = pattern(&noisy(&[500.0; 180], 300.0));
    assert_eq!(found.kind, Noisy, "{found:?}");
    assert!(found.summary.starts_with("goes up and down around "), "{}", found.summary);
}

#[test]
fn just_below_a_threshold_it_is_something_else() {
    // a tenth of the largest value is where something happens at all
    assert_eq!(kind(&step(100.0, 900.0, 1000.0)), Flat);
    assert_eq!(kind(&step(100.0, 890.0, 1000.0)), Step);
    // a twentieth of the time is how long a step may take
    let in_minutes =
        |minutes: f64| made(181, move |minute| 100.0 + ((minute - 60.0) / minutes).clamp(0.0, 1.0) * 900.0);
    assert_eq!(kind(&in_minutes(9.0)), Step);
    assert_eq!(kind(&in_minutes(12.0)), Ramp);
    // a quarter of the time is how long a spike may last
    let for_minutes = |minutes: f64| {
        made(180, move |minute| if (60.0..60.0 + minutes).contains(&minute) { 1000.0 } else { 100.0 })
    };
    assert_eq!(kind(&for_minutes(45.0)), Spike);
    assert_ne!(kind(&for_minutes(46.0)), Spike);
    // four spikes are too many
    let times = |times: f64| {
        made(180, move |minute| {
            if minute >= 30.0 && minute < 30.0 * (times + 1.0) && minute % 30.0 < 2.0 { 900.0 } else { 100.0 }
        })
    };
    assert_eq!((kind(&times(3.0)), kind(&times(4.0))), (Spike, Noisy));
    // rises must take three times as long as falls
    let teeth = |fall: f64| {
        made(180, move |minute| {
            let place = minute % 40.0;
            if place < 40.0 - fall { place / (40.0 - fall) } else { (40.0 - place) / fall }
        })
    };
    assert_eq!(kind(&teeth(8.0)), Sawtooth);
    assert_ne!(kind(&teeth(14.0)), Sawtooth);
}

#[test]
fn too_few_points_say_nothing() {
    for length in [0, 1, 2, 7] {
        assert_eq!(Pattern::of(&series(vec![5.0; length]), &[]), None);
    }
    assert!(Pattern::of(&series(vec![5.0; 8]), &[]).is_some());
    assert_eq!(Pattern::of(&series(vec![f64::NAN; 100]), &[]), None);
}

#[test]
fn what_is_missing_changes_nothing() {
    let gaps = |values: Vec<f64>| {
        let values = values.into_iter().enumerate();
        let missing = |place: usize| place % 7 == 3 || (30..55).contains(&place);
        values.map(move |(place, value)| match place % 2 {
            _ if !missing(place) => value,
            0 => f64::NAN,
            _ => f64::INFINITY,
        })
    };
    let of = |values| Pattern::of(&series(gaps(values)), &[]).unwrap();
    let found = of(step(100.0, 120.0, 1450.0));
    assert_eq!((found.kind, found.since), (Step, Some(minute(100))));
    assert_eq!(of(made(180, |minute| 300.0 + (minute - 80.0).max(0.0) * 7.0)).kind, Ramp);
    assert_eq!(of(sawtooth()).kind, Sawtooth);
    assert_eq!(of(vec![7.0; 180]).kind, Flat);
}

#[test]
fn a_single_zero_between_is_no_trouble() {
    let mut values = noisy(&step(100.0, 500.0, 1450.0), 10.0);
    values[40] = 0.0;
    let found = pattern(&values);
    assert_eq!((found.kind, found.since), (Step, Some(minute(100))), "{found:?}");
}

#[test]
fn a_series_is_put_in_order_and_asked() {
    let at = |place: usize, value: f64| Point { at: minute(place), value };
    let series = Series::new([at(5, 50.0), at(1, 10.0), at(3, f64::NAN), at(1, 12.0), at(4, 40.0)], STEP);
    assert_eq!(series.points(), [at(1, 12.0), at(4, 40.0), at(5, 50.0)]);
    assert_eq!(series.value_at(minute(4)), Some(40.0));
    assert_eq!(series.value_at(minute(3)), None);
    assert_eq!(series.value_near(minute(8)), Some(50.0));
    assert_eq!(series.value_near(minute(9)), None);
    assert_eq!(series.median_before(minute(5)), Some(26.0));
    assert_eq!(series.median_before(minute(1)), None);
    assert_eq!(series.last_since(minute(7), STEP * 2), Some(at(5, 50.0)));
    assert_eq!(series.last_since(minute(8), STEP * 2), None);
    assert_eq!(series.missing_share(minute(1), minute(6)), 0.5);
    assert_eq!(series.missing_share(minute(4), minute(5)), 0.0);
}

#[test]
fn what_is_drawn_keeps_the_extremes() {
    let mut values = noisy(&[500.0; 1000], 10.0);
    values[333] = 9000.0;
    values[667] = 0.0;
    let whole = series(values);
    let thin = whole.thinned(MOST_SHOWN);
    assert!(thin.len() <= MOST_SHOWN && thin.len() > MOST_SHOWN / 2);
    assert!(thin.is_sorted_by_key(|point| point.at));
    assert!(thin.iter().any(|point| point.value == 9000.0) && thin.iter().any(|point| point.value == 0.0));
    assert_eq!(series(vec![1.0; 50]).thinned(MOST_SHOWN).len(), 50);
}

proptest! {
    #[test]
    fn any_series_has_a_pattern_of_finite_numbers(
        values in prop::collection::vec(prop::num::f64::ANY, 0..200),
        earlier in prop::collection::vec(prop::num::f64::ANY, 0..200),
        pace in 1_u64..100_000,
    ) {
        let step = Duration::from_millis(pace);
        let make = |values: &[f64]| {
            let points = values.iter().enumerate().map(|(place, value)| {
                let offset = jiff::SignedDuration::from_millis(i64::try_from(place as u64 * pace).unwrap());
                Point { at: start() + offset, value: *value }
            });
            Series::new(points, step)
        };
        let series = make(&values);
        if let Some(found) = Pattern::of(&series, &[make(&earlier)]) {
            prop_assert!((0.0..=1.0).contains(&found.confidence), "{found:?}");
            prop_assert!(!found.summary.contains("NaN"), "{found:?}");
            prop_assert!(found.since.is_none_or(|at| series.points()[0].at.as_second() <= at.as_second()));
        }
        prop_assert!(series.thinned(MOST_SHOWN).len() <= MOST_SHOWN);
    }

    #[test]
    fn a_pattern_does_not_depend_on_the_size(
        values in prop::collection::vec(0.0..100_000.0_f64, 8..200),
        power in -20_i32..20,
    ) {
        let factor = 2.0_f64.powi(power);
        let one = Pattern::of(&series(values.iter().copied()), &[]).unwrap();
        let other = Pattern::of(&series(values.iter().map(|value| value * factor)), &[]).unwrap();
        prop_assert_eq!((one.kind, one.since, one.confidence), (other.kind, other.since, other.confidence));
        prop_assert_eq!((one.before * factor, one.after * factor), (other.before, other.after));
    }
}
