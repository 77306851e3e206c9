//! Guards of the victims: none is protected, and there are not too many.

use std::collections::BTreeMap;

use crate::mitigate::guards::{Draft, View, counted, percent};
use crate::mitigate::plan::who_stays;
use crate::model::guard::{GuardKind, GuardSettings, GuardVerdict};
use crate::model::printable::with_commas;
use crate::model::protection::ProtectionReason;

/// Looks at each victim once more: it may have become protected since it was picked, and picking may be wrong.
pub(super) fn protected(draft: &Draft<'_>, view: &View) -> GuardVerdict {
    let mut reasons: BTreeMap<ProtectionReason, u64> = BTreeMap::new();
    for victim in &draft.picked.victims {
        if let Some(reason) = view.protection.of(&victim.candidate()) {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    let count: u64 = reasons.values().sum();
    if count == 0 {
        let spared: u64 = draft.picked.protected.values().sum();
        let reason = match spared {
            0 => "no victim is protected".to_owned(),
            spared => format!("no victim is protected; {} are and stay", with_commas(spared)),
        };
        return GuardVerdict::pass(GuardKind::Protected, reason).compared(0, 0);
    }
    let why = reasons.iter().map(|(reason, count)| format!("{}: {}", reason.title(), with_commas(*count)));
    let why = why.collect::<Vec<_>>().join(", ");
    let of = counted(draft.picked.victims.len() as u64, "victim");
    let are = if count == 1 { "is" } else { "are" };
    let reason = format!("{} of {of} {are} protected ({why})", with_commas(count));
    GuardVerdict::block(GuardKind::Protected, reason).compared(count, 0)
}

/// Wants victims, and not too many.
pub(super) fn max_victims(draft: &Draft<'_>, settings: &GuardSettings) -> GuardVerdict {
    let (victims, most) = (draft.picked.victims.len() as u64, u64::from(settings.max_victims));
    let verdict = if victims == 0 {
        let reason = format!("there is nothing to do: {}", who_stays(draft.picked));
        GuardVerdict::block(GuardKind::MaxVictims, reason)
    } else if victims > most {
        let (victims, most) = (counted(victims, "victim"), with_commas(most));
        let reason = format!("{victims} are more than the {most} that one run may have");
        GuardVerdict::block(GuardKind::MaxVictims, reason)
    } else {
        let (victims, most) = (counted(victims, "victim"), with_commas(most));
        let reason = format!("{victims} of at most {most}");
        GuardVerdict::pass(GuardKind::MaxVictims, reason)
    };
    verdict.compared(victims, most)
}

/// Wants the victims to be no large part of the cluster.
pub(super) fn max_share(draft: &Draft<'_>, settings: &GuardSettings) -> GuardVerdict {
    let (victims, total) = (draft.picked.victims.len() as u64, draft.picked.total);
    let most = settings.max_share_percent;
    // floor: a part of a connection is none
    let allowed = (total as f64 * most / 100.0).floor();
    let share = if total == 0 { 0.0 } else { victims as f64 * 100.0 / total as f64 };
    let (counted, all) = (with_commas(victims), with_commas(total));
    let passes = victims as f64 <= allowed;
    let verdict = if passes {
        let reason =
            format!("{counted} of {all} connections are {}, of at most {}", percent(share), percent(most));
        GuardVerdict::pass(GuardKind::MaxShare, reason)
    } else {
        let allowed = with_commas(allowed.max(0.0) as u64);
        let reason = format!(
            "{counted} of {all} connections are {}: at most {} may be cut, that is {allowed}",
            percent(share),
            percent(most)
        );
        GuardVerdict::block(GuardKind::MaxShare, reason)
    };
    verdict.compared(percent(share), percent(most))
}

/// Wants few connections to be cut within an hour, whoever they are.
pub(super) fn hourly_budget(draft: &Draft<'_>, view: &View, settings: &GuardSettings) -> GuardVerdict {
    let (cut, budget) = (view.cut_within_the_hour, u64::from(settings.hourly_budget));
    let together = cut.saturating_add(draft.picked.victims.len() as u64);
    let (already, after, most) = (with_commas(cut), with_commas(together), with_commas(budget));
    let verdict = if together > budget {
        let reason = format!(
            "{already} connections were cut within the last hour: with this it would be {after}, and {most} are the most"
        );
        GuardVerdict::block(GuardKind::HourlyBudget, reason)
    } else {
        let reason = format!("{after} connections within an hour, with this, of at most {most}");
        GuardVerdict::pass(GuardKind::HourlyBudget, reason)
    };
    verdict.compared(together, budget)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mitigate::guards::scene::Scene;
    use crate::model::owner::Pattern;

    #[test]
    fn a_victim_that_is_protected_by_now_blocks() {
        let mut scene = Scene::quiet().with_victims(3);
        assert!(scene.ask(GuardKind::Protected).passes);
        scene.view.protection.settings.applications.push(Pattern::new("other*"));
        assert!(scene.ask(GuardKind::Protected).passes);
        scene.view.protection.own.insert((scene.picked.victims[1].key.server_id.clone(), 1));
        let one = scene.ask(GuardKind::Protected);
        assert_eq!((one.passes, one.value.as_deref(), one.bound.as_deref()), (false, Some("1"), Some("0")));
        assert_eq!(one.reason, "1 of 3 victims is protected (connwarden's own connection: 1)");
        scene.view.protection.settings.applications.push(Pattern::new("orders"));
        let all = scene.ask(GuardKind::Protected);
        assert_eq!(
            all.reason,
            "3 of 3 victims are protected (connwarden's own connection: 1, application protected by configuration: 2)"
        );
    }

    #[test]
    fn protection_is_told_from_everything_that_a_victim_keeps() {
        let mut scene = Scene::quiet().with_victims(1);
        scene.picked.victims[0].account_name = Some("Shop".to_owned());
        scene.view.protection.callout_accounts.insert("Shop".to_owned());
        assert!(!scene.ask(GuardKind::Protected).passes);
        scene.view.protection.callout_accounts.clear();
        assert!(scene.ask(GuardKind::Protected).passes);
        scene.picked.victims[0].kind = Some("leafnode".to_owned());
        assert!(!scene.ask(GuardKind::Protected).passes);
    }

    #[test]
    fn as_many_victims_as_allowed_pass_and_one_more_blocks() {
        for (victims, passes) in [(1, true), (50, true), (51, false)] {
            let verdict = Scene::quiet().with_victims(victims).ask(GuardKind::MaxVictims);
            assert_eq!(verdict.passes, passes, "{verdict:?}");
            assert_eq!((verdict.value, verdict.bound), (Some(victims.to_string()), Some("50".to_owned())));
        }
    }

    #[test]
    fn no_victims_block_and_it_is_said_why_there_are_none() {
        let mut scene = Scene::quiet().with_victims(0);
        scene.picked.matched = 1_240;
        scene.picked.protected.insert(ProtectionReason::User, 1_234);
        scene.picked.kept = 4;
        let verdict = scene.ask(GuardKind::MaxVictims);
        assert!(!verdict.passes);
        assert_eq!(
            verdict.reason,
            "there is nothing to do: 1,240 are meant: 1,234 protected, 4 kept as a minimum, 2 beyond the limit"
        );
    }

    #[test]
    fn a_share_up_to_the_most_passes_and_a_part_of_a_connection_does_not_count() {
        for (victims, total, passes) in [(10, 100, true), (11, 100, false), (10, 109, true), (11, 109, false)]
        {
            let mut scene = Scene::quiet().with_victims(victims);
            scene.picked.total = total;
            let verdict = scene.ask(GuardKind::MaxShare);
            assert_eq!(verdict.passes, passes, "{verdict:?}");
            assert_eq!(verdict.bound.as_deref(), Some("10 %"));
        }
        let mut unseen = Scene::quiet().with_victims(1);
        unseen.picked.total = 0;
        assert!(!unseen.ask(GuardKind::MaxShare).passes);
    }

    #[test]
    fn the_budget_of_an_hour_can_be_used_up_and_not_exceeded() {
        for (cut, passes) in [(0, true), (490, true), (491, false), (u64::MAX, false)] {
            let mut scene = Scene::quiet().with_victims(10);
            scene.view.cut_within_the_hour = cut;
            let verdict = scene.ask(GuardKind::HourlyBudget);
            assert_eq!(verdict.passes, passes, "{verdict:?}");
            assert_eq!(verdict.value, Some(cut.saturating_add(10).to_string()));
            assert_eq!(verdict.bound.as_deref(), Some("500"));
        }
    }
}
