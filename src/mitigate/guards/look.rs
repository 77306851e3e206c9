//! Guards of the look that a plan was made of: it is fresh and complete, and the cluster is not in a storm.

use crate::mitigate::guards::{Draft, LookCoverage, View, between, percent, spoken};
use crate::model::guard::{GuardKind, GuardSettings, GuardVerdict};
use crate::model::printable::{excerpt, with_commas};

/// Wants a fresh look.
pub(super) fn snapshot_age(draft: &Draft<'_>, view: &View, settings: &GuardSettings) -> GuardVerdict {
    let age = between(draft.taken_at, view.now);
    let most = settings.max_snapshot_age;
    let (old, oldest) = (spoken(age), spoken(most));
    let verdict = if age > most {
        let reason = format!("the look it was made of is {old} old, and {oldest} is the most: plan it anew");
        GuardVerdict::block(GuardKind::SnapshotAge, reason)
    } else {
        let reason = format!("the look it was made of is {old} old, of at most {oldest}");
        GuardVerdict::pass(GuardKind::SnapshotAge, reason)
    };
    verdict.compared(old, oldest)
}

/// Wants a complete look: shares and minimums of what was not seen are not known.
pub(in crate::mitigate) fn snapshot_complete(coverage: &LookCoverage) -> GuardVerdict {
    let expected = coverage.servers_expected;
    let seen = expected.saturating_sub(coverage.servers_unreachable);
    let servers = format!("{} of {}", with_commas(seen.into()), with_commas(expected.into()));
    let verdict = if coverage.is_complete && coverage.servers_unreachable == 0 && expected > 0 {
        let reason = format!("{servers} servers were seen with all their connections");
        GuardVerdict::pass(GuardKind::SnapshotComplete, reason)
    } else {
        let missing = match coverage.missing.as_str() {
            "" => String::new(),
            missing => format!(": {}", excerpt(missing)),
        };
        let reason = format!("not everything was seen, {servers} servers answered{missing}");
        GuardVerdict::block(GuardKind::SnapshotComplete, reason)
    };
    verdict.compared(servers, format!("{} of them, completely", with_commas(expected.into())))
}

/// Wants most servers to answer: when many do not, the clients are moving by themselves.
pub(super) fn storm_brake(view: &View, settings: &GuardSettings) -> GuardVerdict {
    let (unreachable, expected) = (view.coverage.servers_unreachable, view.coverage.servers_expected);
    let most = settings.max_unreachable_percent;
    // nothing was expected: then nothing is known
    let share = if expected == 0 { 100.0 } else { f64::from(unreachable) * 100.0 / f64::from(expected) };
    let servers = format!("{} of {} servers", with_commas(unreachable.into()), with_commas(expected.into()));
    let verdict = if share > most {
        let reason = format!("{servers} do not answer: at more than {} nothing is done", percent(most));
        GuardVerdict::block(GuardKind::StormBrake, reason)
    } else {
        let reason = format!("{servers} do not answer, of at most {}", percent(most));
        GuardVerdict::pass(GuardKind::StormBrake, reason)
    };
    verdict.compared(percent(share), percent(most))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mitigate::guards::scene::Scene;

    #[test]
    fn a_look_of_the_greatest_age_passes_and_an_older_one_blocks() {
        for (age_us, passes, value) in
            [(-5_000_000, true, "0 s"), (120_000_000, true, "2 min 0 s"), (120_000_001, false, "2 min 1 s")]
        {
            let mut scene = Scene::quiet();
            scene.taken_at = scene.view.now - jiff::SignedDuration::from_micros(age_us);
            let verdict = scene.ask(GuardKind::SnapshotAge);
            assert_eq!(verdict.passes, passes, "{verdict:?}");
            assert_eq!(
                (verdict.value.as_deref(), verdict.bound.as_deref()),
                (Some(value), Some("2 min 0 s"))
            );
        }
        let mut scene = Scene::quiet();
        scene.settings.max_snapshot_age = Duration::ZERO;
        scene.taken_at = scene.view.now;
        assert!(scene.ask(GuardKind::SnapshotAge).passes);
    }

    #[test]
    fn anything_that_was_not_seen_blocks() {
        let mut scene = Scene::quiet();
        assert!(scene.ask(GuardKind::SnapshotComplete).passes);
        scene.view.coverage.is_complete = false;
        scene.view.coverage.missing = "n1: 900 of 1,000 connections\nseen".to_owned();
        let verdict = scene.ask(GuardKind::SnapshotComplete);
        assert!(!verdict.passes);
        assert_eq!(
            verdict.reason,
            r"not everything was seen, 3 of 3 servers answered: n1: 900 of 1,000 connections\nseen"
        );
        scene = Scene::quiet();
        scene.view.coverage.servers_unreachable = 1;
        assert!(!scene.ask(GuardKind::SnapshotComplete).passes, "whatever is claimed");
        scene.view.coverage.servers_unreachable = 0;
        scene.view.coverage.servers_expected = 0;
        assert!(!scene.ask(GuardKind::SnapshotComplete).passes, "nobody was looked at");
    }

    #[test]
    fn a_third_of_the_servers_may_be_silent_and_no_more() {
        for (unreachable, expected, passes) in
            [(0, 3, true), (1, 3, true), (2, 3, false), (34, 100, true), (35, 100, false), (0, 0, false)]
        {
            let mut scene = Scene::quiet();
            scene.view.coverage.servers_unreachable = unreachable;
            scene.view.coverage.servers_expected = expected;
            let verdict = scene.ask(GuardKind::StormBrake);
            assert_eq!(verdict.passes, passes, "{verdict:?}");
            assert_eq!(verdict.bound.as_deref(), Some("34 %"));
        }
    }
}
