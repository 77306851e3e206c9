//! The guard of cool-downs: what was tried a moment ago is not tried again at once, and what did not help even less.

use std::time::Duration;

use crate::mitigate::guards::{EarlierRun, View, after, between, instant, spoken};
use crate::model::guard::{GuardKind, GuardSettings, GuardVerdict};
use crate::model::mitigation::Outcome;
use crate::model::printable::with_commas;

/// Wants the last run against the same target to be long enough ago: twice as long for each run in a row that was not
/// effective.
pub(super) fn cool_down(view: &View, settings: &GuardSettings) -> GuardVerdict {
    let guard = GuardKind::CoolDown;
    let mut runs: Vec<&EarlierRun> = view.earlier.iter().collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.ended_at));
    let Some(last) = runs.first() else {
        return GuardVerdict::pass(guard, "there was no run against the same target");
    };
    let in_vain = runs
        .iter()
        .take_while(|run| run.outcome != Some(Outcome::Effective))
        .filter(|run| run.outcome.is_some())
        .count();
    let wait = doubled(settings.cool_down, in_vain).min(settings.max_cool_down);
    let since = between(last.ended_at, view.now);
    let (passed, whole) = (spoken(since), spoken(wait));
    let vain = match in_vain {
        0 => String::new(),
        1 => ", because the last did not help".to_owned(),
        runs => format!(", because the last {} did not help", with_commas(runs as u64)),
    };
    let verdict = if since < wait {
        let until = instant(after(last.ended_at, wait));
        let reason = format!(
            "the last run against the same target ended {passed} ago: wait {whole}{vain}, until {until}"
        );
        GuardVerdict::block(guard, reason)
    } else {
        let reason =
            format!("the last run against the same target ended {passed} ago, and {whole} is the wait{vain}");
        GuardVerdict::pass(guard, reason)
    };
    verdict.compared(passed, whole)
}

/// Doubles a duration so many times, or makes it the longest there is.
fn doubled(duration: Duration, times: usize) -> Duration {
    let factor = u32::try_from(times).ok().and_then(|times| 1_u32.checked_shl(times)).unwrap_or(u32::MAX);
    duration.saturating_mul(factor)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::mitigate::guards::scene::Scene;

    const VAIN: Option<Outcome> = Some(Outcome::Ineffective);

    /// Asks with runs that ended so many seconds ago.
    fn ask(runs: &[(i64, Option<Outcome>)]) -> GuardVerdict {
        let mut scene = Scene::quiet();
        let run = |&(ago, outcome): &(i64, Option<Outcome>)| EarlierRun {
            ended_at: scene.view.now - SignedDuration::from_secs(ago),
            outcome,
        };
        scene.view.earlier = runs.iter().map(run).collect();
        scene.ask(GuardKind::CoolDown)
    }

    #[test]
    fn the_wait_ends_to_the_second() {
        let effective = Some(Outcome::Effective);
        assert!(ask(&[]).passes);
        let blocked = ask(&[(599, effective)]);
        assert!(!blocked.passes);
        assert_eq!(
            (blocked.value.as_deref(), blocked.bound.as_deref()),
            (Some("9 min 59 s"), Some("10 min 0 s"))
        );
        assert!(blocked.reason.ends_with("until 2026-01-05 12:00:01 UTC"), "{blocked:?}");
        assert!(ask(&[(600, effective)]).passes);
        assert!(!ask(&[(-5, effective)]).passes, "a clock that was put back");
    }

    #[test]
    fn each_run_that_did_not_help_doubles_the_wait_up_to_its_longest() {
        let mut runs = vec![(0, VAIN)];
        for minutes in [20, 40, 80, 160, 320, 360, 360] {
            runs[0].0 = minutes * 60 - 1;
            let verdict = ask(&runs);
            assert!(!verdict.passes, "{verdict:?}");
            assert_eq!(verdict.bound.unwrap(), spoken(Duration::from_secs(minutes.unsigned_abs() * 60)));
            runs[0].0 += 1;
            assert!(ask(&runs).passes, "{minutes}");
            runs.push((100_000, Some(Outcome::Inconclusive)));
        }
        let many = vec![(21_599, Some(Outcome::Failed)); 1_000];
        assert!(!ask(&many).passes);
    }

    #[test]
    fn one_that_helped_begins_anew_whatever_was_before_it() {
        let runs = [(30_000, VAIN), (1_300, VAIN), (20_000, Some(Outcome::Effective)), (40_000, VAIN)];
        let verdict = ask(&runs);
        assert_eq!((verdict.passes, verdict.bound.as_deref()), (true, Some("20 min 0 s")), "{verdict:?}");
    }

    #[test]
    fn what_is_not_known_yet_neither_doubles_nor_begins_anew() {
        let verdict = ask(&[(700, None), (30_000, VAIN)]);
        assert_eq!((verdict.passes, verdict.bound.as_deref()), (false, Some("20 min 0 s")));
        let verdict = ask(&[(500, None)]);
        assert_eq!((verdict.passes, verdict.bound.as_deref()), (false, Some("10 min 0 s")));
    }
}
