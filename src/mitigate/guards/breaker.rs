//! The circuit breaker: after several runs in vain somebody must think first.

use crate::mitigate::guards::{View, after, counted, instant, spoken};
use crate::model::guard::{GuardKind, GuardSettings, GuardVerdict};

/// Wants few runs that failed or did not help, whatever they were against.
pub(super) fn circuit_breaker(view: &View, settings: &GuardSettings) -> GuardVerdict {
    let guard = GuardKind::CircuitBreaker;
    let window = settings.breaker_window;
    // one that would never let anything run is no breaker
    let most = usize::try_from(settings.breaker_failures.max(1)).unwrap_or(usize::MAX);
    let mut vain: Vec<_> = view.vain_runs.iter().filter(|ended| after(**ended, window) > view.now).collect();
    vain.sort();
    let (count, over) = (counted(vain.len() as u64, "run"), spoken(window));
    let verdict = match vain.len().checked_sub(most) {
        // it closes when one fewer than opens it is left
        Some(surplus) => {
            let until = instant(after(*vain[surplus], window));
            let reason =
                format!("{count} within {over} failed or did not help: the breaker is open until {until}");
            GuardVerdict::block(guard, reason)
        }
        None => {
            let reason = format!("{count} within {over} failed or did not help, and {most} open the breaker");
            GuardVerdict::pass(guard, reason)
        }
    };
    verdict.compared(vain.len(), most)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::mitigate::guards::scene::Scene;

    /// Asks with runs in vain that ended so many minutes ago.
    fn ask(ago: &[i64]) -> GuardVerdict {
        let mut scene = Scene::quiet();
        scene.view.vain_runs =
            ago.iter().map(|minutes| scene.view.now - SignedDuration::from_mins(*minutes)).collect();
        scene.ask(GuardKind::CircuitBreaker)
    }

    #[test]
    fn the_third_run_in_vain_opens_it_until_the_first_is_forgotten() {
        assert!(ask(&[]).passes);
        assert!(ask(&[10, 30]).passes);
        let open = ask(&[10, 200, 30]);
        assert!(!open.passes);
        assert_eq!((open.value.as_deref(), open.bound.as_deref()), (Some("3"), Some("3")));
        // now is 12:00; the first ended at 08:40
        assert!(open.reason.contains("until 2026-01-05 12:40:00 UTC"), "{open:?}");
        assert!(ask(&[10, 240, 30]).passes, "the first is forgotten");
        assert!(!ask(&[10, 239, 30]).passes);
    }

    #[test]
    fn more_than_enough_keep_it_open_until_too_few_are_left() {
        let open = ask(&[200, 100, 50, 20, 10]);
        // the third last ended at 11:10
        assert!(open.reason.contains("until 2026-01-05 15:10:00 UTC"), "{open:?}");
    }

    #[test]
    fn a_breaker_of_none_is_one_of_one() {
        let mut scene = Scene::quiet();
        scene.settings.breaker_failures = 0;
        assert!(scene.ask(GuardKind::CircuitBreaker).passes);
        scene.view.vain_runs = vec![scene.view.now];
        assert!(!scene.ask(GuardKind::CircuitBreaker).passes);
    }
}
