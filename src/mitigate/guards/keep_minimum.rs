//! The guard of minimums: of each application enough connections are left.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::mitigate::guards::{Draft, counted};
use crate::model::breakdown::Dimension;
use crate::model::guard::{GuardKind, GuardSettings, GuardVerdict};
use crate::model::printable::{excerpt, with_commas};
use crate::model::victim::KeepOf;

/// Counts of each group of victims how many would be left. A group of which that is not known blocks.
pub(super) fn keep_minimum(draft: &Draft<'_>, settings: &GuardSettings) -> GuardVerdict {
    let limits = &draft.request.limits;
    let keep = u64::from(settings.keep.max(limits.keep));
    if keep == 0 {
        return GuardVerdict::pass(GuardKind::KeepMinimum, "no minimum is to be kept");
    }
    if limits.keep < settings.keep {
        let (planned, least) = (counted(limits.keep.into(), "connection"), with_commas(keep));
        let reason = format!("the plan keeps {planned} of each application: at least {least} must be kept");
        return GuardVerdict::block(GuardKind::KeepMinimum, reason).compared(limits.keep, keep);
    }
    let picked = draft.picked;
    let known: HashSet<(Option<&str>, Option<IpAddr>)> =
        picked.groups.iter().map(|group| (group.application.as_deref(), group.ip)).collect();
    let by_ip = limits.keep_of == KeepOf::ApplicationAndIp;
    let of = |application: &Option<String>, ip: Option<IpAddr>| {
        let application = application.as_deref().unwrap_or(Dimension::Application.absent());
        let at = ip.map(|ip| format!(" at {ip}")).unwrap_or_default();
        format!("`{}`{at}", excerpt(application))
    };
    let uncounted = picked
        .victims
        .iter()
        .find(|victim| !known.contains(&(victim.application.as_deref(), victim.ip.filter(|_| by_ip))));
    if let Some(victim) = uncounted {
        let group = of(&victim.application, victim.ip.filter(|_| by_ip));
        let reason = format!("it is not known how many connections of {group} would be left");
        return GuardVerdict::block(GuardKind::KeepMinimum, reason).compared("unknown", keep);
    }
    let Some(worst) = picked.groups.iter().min_by_key(|group| group.left()) else {
        return GuardVerdict::pass(GuardKind::KeepMinimum, "there are no victims").compared(0, keep);
    };
    let left = worst.left();
    let group = of(&worst.application, worst.ip);
    let (remain, least) = (counted(left, "connection"), with_commas(keep));
    let verdict = if left < keep {
        let too_few = with_commas(picked.groups.iter().filter(|group| group.left() < keep).count() as u64);
        let groups = counted(picked.groups.len() as u64, "group");
        let reason = format!(
            "{remain} of {group} would be left, and at least {least} must be; so it is for {too_few} of {groups}"
        );
        GuardVerdict::block(GuardKind::KeepMinimum, reason)
    } else {
        let reason = format!("at least {least} of each are left; fewest of {group}: {remain}");
        GuardVerdict::pass(GuardKind::KeepMinimum, reason)
    };
    verdict.compared(left, keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mitigate::guards::scene::Scene;
    use crate::model::picking::PickedGroup;

    fn scene(victims: u64, total: u64, keep: u32) -> Scene {
        let mut scene = Scene::quiet().with_victims(victims);
        scene.request.limits.keep = keep;
        scene.settings.keep = keep;
        scene.picked.groups[0].total = total;
        scene
    }

    #[test]
    fn as_many_as_the_minimum_may_be_left_and_no_fewer() {
        for (total, passes, left) in [(12, true, "2"), (11, false, "1"), (9, false, "0")] {
            let verdict = scene(10, total, 2).ask(GuardKind::KeepMinimum);
            assert_eq!(verdict.passes, passes, "{verdict:?}");
            assert_eq!((verdict.value.as_deref(), verdict.bound.as_deref()), (Some(left), Some("2")));
        }
        assert!(scene(10, 10, 0).ask(GuardKind::KeepMinimum).passes, "nothing is to be kept");
    }

    #[test]
    fn a_plan_that_keeps_less_than_the_settings_want_blocks() {
        let mut scene = scene(10, 1_000, 2);
        scene.request.limits.keep = 1;
        let verdict = scene.ask(GuardKind::KeepMinimum);
        assert_eq!(
            verdict.reason,
            "the plan keeps 1 connection of each application: at least 2 must be kept"
        );
        scene.request.limits.keep = 3;
        scene.picked.groups[0].total = 12;
        let verdict = scene.ask(GuardKind::KeepMinimum);
        assert_eq!(
            (verdict.passes, verdict.bound.as_deref()),
            (false, Some("3")),
            "its own minimum holds too"
        );
    }

    #[test]
    fn a_group_that_was_not_counted_blocks() {
        let mut scene = scene(2, 1_000, 1);
        scene.picked.victims[1].application = None;
        let verdict = scene.ask(GuardKind::KeepMinimum);
        assert!(!verdict.passes);
        assert_eq!(verdict.reason, "it is not known how many connections of `(unnamed)` would be left");
        scene.picked.groups.push(PickedGroup { application: None, ip: None, total: 2, victims: 1 });
        assert!(scene.ask(GuardKind::KeepMinimum).passes);
    }

    #[test]
    fn minimums_of_each_address_are_looked_at_one_by_one() {
        let mut scene = scene(2, 1_000, 1);
        scene.request.limits.keep_of = KeepOf::ApplicationAndIp;
        assert!(!scene.ask(GuardKind::KeepMinimum).passes, "counted for the application only");
        let ip = scene.picked.victims[0].ip;
        let application = scene.picked.victims[0].application.clone();
        scene.picked.groups = vec![PickedGroup { application, ip, total: 2, victims: 2 }];
        let verdict = scene.ask(GuardKind::KeepMinimum);
        assert_eq!(
            verdict.reason,
            "0 connections of `orders` at 10.0.0.1 would be left, and at least 1 must be; so it is for 1 of 1 group"
        );
        scene.picked.groups[0].total = 3;
        assert!(scene.ask(GuardKind::KeepMinimum).passes);
    }
}
