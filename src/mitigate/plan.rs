//! Plans: what was picked, frozen, with what is to be expected of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::mitigate::digest::digest;
use crate::model::breakdown::Dimension;
use crate::model::guard::GuardVerdict;
use crate::model::picking::Picked;
use crate::model::plan::{ActionKind, BlastRadius, Hit, Plan, PlanRequest};
use crate::model::printable::{excerpt, with_commas};
use crate::model::victim::Victim;

/// How many applications, accounts, addresses and servers are listed; the rest is counted together.
pub(in crate::mitigate) const MOST_HITS: usize = 50;

/// What the rest is called.
pub(in crate::mitigate) const OTHERS: &str = "(others)";

/// How many applications the expected effect names.
const NAMED: usize = 3;

/// Freezes what was picked, with what the guards said of it. The same input makes the same plan.
pub fn plan(
    cluster: &str,
    request: &PlanRequest,
    picked: Picked,
    taken_at: Timestamp,
    guards: Vec<GuardVerdict>,
) -> Plan {
    let blast_radius = blast_radius(&picked.victims);
    Plan {
        cluster: cluster.to_owned(),
        action: request.action,
        selector: request.selector.conditions().clone(),
        order: request.order,
        limits: request.limits,
        taken_at,
        total: picked.total,
        matched: picked.matched,
        expected_effect: expected_effect(cluster, request.action, &picked, &blast_radius),
        warning: request.action.warning().to_owned(),
        digest: digest(cluster, request.action, &picked.victims),
        blast_radius,
        protected: picked.protected,
        kept: picked.kept,
        victims: picked.victims,
        guards,
    }
}

/// Counts the victims by what they have in common.
fn blast_radius(victims: &[Victim]) -> BlastRadius {
    let by = |dimension: Dimension, key: fn(&Victim) -> Option<String>| {
        hits(victims.iter().map(|it| key(it).unwrap_or_else(|| dimension.absent().to_owned())))
    };
    BlastRadius {
        applications: by(Dimension::Application, |victim| victim.application.clone()),
        accounts: by(Dimension::Account, |victim| Some(victim.account.clone())),
        ips: by(Dimension::Ip, |victim| victim.ip.map(|ip| ip.to_string())),
        servers: by(Dimension::Server, |victim| Some(victim.server.clone())),
    }
}

/// Counts keys: the most first, of equally many the first in the alphabet.
fn hits(keys: impl Iterator<Item = String>) -> Vec<Hit> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    let mut hits: Vec<Hit> = counts.into_iter().map(|(key, victims)| Hit { key, victims }).collect();
    // stable: the alphabet is kept
    hits.sort_by_key(|hit| std::cmp::Reverse(hit.victims));
    let others: u64 = hits.iter().skip(MOST_HITS).map(|hit| hit.victims).sum();
    hits.truncate(MOST_HITS);
    if others > 0 {
        hits.push(Hit { key: OTHERS.to_owned(), victims: others });
    }
    hits
}

fn expected_effect(cluster: &str, action: ActionKind, picked: &Picked, blast_radius: &BlastRadius) -> String {
    let of_all = format!("{} connections of cluster `{}`", with_commas(picked.total), excerpt(cluster));
    let victims = picked.victims.len() as u64;
    if victims == 0 {
        return format!("nothing is done to the {of_all}: {}", who_stays(picked));
    }
    let done = match (action, victims) {
        (ActionKind::Kick, 1) => "is cut",
        (ActionKind::Kick, _) => "are cut",
        (ActionKind::Drain, 1) => "is asked to leave, and cut if it stays",
        (ActionKind::Drain, _) => "are asked to leave, and cut if they stay",
    };
    let who = victims_by_application(&blast_radius.applications);
    format!("{} of {of_all} {done}: {who}; {}", with_commas(victims), who_stays(picked))
}

/// Says of which applications the victims are.
fn victims_by_application(applications: &[Hit]) -> String {
    let named = applications.iter().take(NAMED);
    let mut parts: Vec<String> =
        named.map(|hit| format!("{} of `{}`", with_commas(hit.victims), excerpt(&hit.key))).collect();
    let rest: u64 = applications.iter().skip(NAMED).map(|hit| hit.victims).sum();
    if rest > 0 {
        parts.push(format!("{} of others", with_commas(rest)));
    }
    parts.join(", ")
}

/// Says how many more the selector means, and why they are no victims.
pub(super) fn who_stays(picked: &Picked) -> String {
    let victims = picked.victims.len() as u64;
    let stay = picked.matched.saturating_sub(victims);
    if stay == 0 {
        let none = if victims == 0 { "none is meant" } else { "no more are meant" };
        return none.to_owned();
    }
    let protected: u64 = picked.protected.values().sum();
    let beyond = stay.saturating_sub(protected).saturating_sub(picked.kept);
    let parts = [(protected, "protected"), (picked.kept, "kept as a minimum"), (beyond, "beyond the limit")];
    let why: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{} {why}", with_commas(count)))
        .collect();
    let more = if victims == 0 { "" } else { "more " };
    let are = if stay == 1 { "is" } else { "are" };
    format!("{} {more}{are} meant: {}", with_commas(stay), why.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protection::ProtectionReason;
    use crate::model::selector::{Candidate, Conditions, Selector};
    use crate::model::victim::{KeepOf, VictimLimits, VictimOrder};

    fn request(action: ActionKind) -> PlanRequest {
        let conditions = Conditions { account: Some("APP".to_owned()), ..Conditions::default() };
        PlanRequest {
            action,
            selector: Selector::try_from(conditions).unwrap(),
            order: VictimOrder::default(),
            limits: VictimLimits {
                at_most: 50,
                at_most_percent: 10.0,
                keep: 1,
                keep_of: KeepOf::Application,
            },
        }
    }

    fn victims(count: u64, application: impl Fn(u64) -> Option<String>) -> Vec<Victim> {
        let victim = |cid| {
            let application = application(cid);
            Victim::of(&Candidate {
                server_id: "NA",
                server: "n1",
                cid,
                application: application.as_deref(),
                account: "APP",
                ..Candidate::default()
            })
        };
        (0..count).map(victim).collect()
    }

    fn effect(action: ActionKind, picked: Picked) -> String {
        plan("east", &request(action), picked, Timestamp::UNIX_EPOCH, Vec::new()).expected_effect
    }

    #[test]
    fn the_expected_effect_says_who_is_hit_and_who_is_not() {
        let names = |cid: u64| match cid {
            0..40 => Some("orders".to_owned()),
            40..46 => None,
            46..48 => Some("evil\n\u{202e}".to_owned()),
            _ => Some("billing".to_owned()),
        };
        let picked = Picked {
            total: 12_030,
            matched: 2_999,
            protected: BTreeMap::from([(ProtectionReason::User, 10), (ProtectionReason::Own, 2)]),
            kept: 4,
            victims: victims(49, names),
            ..Picked::default()
        };
        insta::assert_snapshot!(effect(ActionKind::Kick, picked.clone()), @r"49 of 12,030 connections of cluster `east` are cut: 40 of `orders`, 6 of `(unnamed)`, 2 of `evil\n\u{202e}`, 1 of others; 2,950 more are meant: 12 protected, 4 kept as a minimum, 2,934 beyond the limit");
        let one = Picked { total: 9, matched: 1, victims: victims(1, names), ..Picked::default() };
        insta::assert_snapshot!(effect(ActionKind::Drain, one), @"1 of 9 connections of cluster `east` is asked to leave, and cut if it stays: 1 of `orders`; no more are meant");
        let none = Picked { victims: Vec::new(), matched: 16, ..picked };
        insta::assert_snapshot!(effect(ActionKind::Kick, none), @"nothing is done to the 12,030 connections of cluster `east`: 16 are meant: 12 protected, 4 kept as a minimum");
        insta::assert_snapshot!(effect(ActionKind::Kick, Picked { total: 3, ..Picked::default() }), @"nothing is done to the 3 connections of cluster `east`: none is meant");
    }

    #[test]
    fn the_blast_radius_lists_the_most_and_counts_the_rest() {
        // 60 applications: the first has 60 victims, the last has one
        let victims = victims(1830, |cid| {
            let number = (0_u64..60).find(|number| cid < (0..=*number).map(|it| 60 - it).sum()).unwrap();
            Some(format!("a{number:02}"))
        });
        let plan = plan(
            "east",
            &request(ActionKind::Kick),
            Picked { total: 20_000, matched: 1830, victims, ..Picked::default() },
            Timestamp::UNIX_EPOCH,
            Vec::new(),
        );
        let applications = &plan.blast_radius.applications;
        assert_eq!(applications.len(), 51);
        assert_eq!((applications[0].key.as_str(), applications[0].victims), ("a00", 60));
        assert_eq!((applications[50].key.as_str(), applications[50].victims), (OTHERS, 55));
        assert_eq!(applications.iter().map(|hit| hit.victims).sum::<u64>(), 1830);
        let one = |hits: &[Hit]| (hits.len(), hits[0].key.clone(), hits[0].victims);
        assert_eq!(one(&plan.blast_radius.accounts), (1, "APP".to_owned(), 1830));
        assert_eq!(one(&plan.blast_radius.ips), (1, "(in-process)".to_owned(), 1830));
        assert_eq!(one(&plan.blast_radius.servers), (1, "n1".to_owned(), 1830));
    }

    #[test]
    fn equally_many_are_in_the_order_of_the_alphabet() {
        let hits = hits(["b", "c", "a", "c"].into_iter().map(str::to_owned));
        let keys: Vec<_> = hits.iter().map(|hit| hit.key.as_str()).collect();
        assert_eq!(keys, ["c", "a", "b"]);
    }
}
