//! Judgement: whether a mitigation helped.
//!
//! A kick always succeeds, and a client that is tended is back within milliseconds: what counts is who is there minutes
//! later. A client that came back has a new number, maybe another server and another name, so returns are counted by
//! what the victims had in common: the application, and where they came from (account, user and address). Others like
//! them who happened to come count too; that a mitigation helped is only said where all of it agrees.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::breakdown::{Breakdown, By, Dimension};
use crate::model::mitigation::Outcome;
use crate::model::mitigation_look::{Look, Returned, ReturnedGroup};
use crate::model::printable::with_commas;
use crate::model::snapshot::Snapshot;
use crate::model::victim::Victim;

/// From this share of those that were cut on, in percent, too many came back.
const TOO_MANY_RETURNED_PERCENT: u64 = 50;

/// As many groups of a dimension are shown.
const MOST_GROUPS: usize = 50;

/// What victims can have in common, and is looked at.
pub const DIMENSIONS: [Dimension; 4] =
    [Dimension::Application, Dimension::Account, Dimension::User, Dimension::Ip];

/// The connections of the groups that victims are of, over a whole cluster: by dimension and key, keys as breakdowns
/// write them. A group that is not there has none.
pub type GroupCounts = BTreeMap<Dimension, BTreeMap<String, u64>>;

/// A cluster, counted at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// All its connections.
    pub total: u64,
    /// Those that the selector means.
    pub matched: u64,
    /// Those of each group of a victim.
    pub groups: GroupCounts,
    /// Whether all connections of all servers were seen, and all groups of victims counted.
    pub is_complete: bool,
}

impl Count {
    /// Counts the groups of victims in a snapshot that has a breakdown by each of [`DIMENSIONS`]; `matched` are the
    /// connections that the selector means. A group that may be among those that are not listed was not counted.
    pub fn of(snapshot: &Snapshot, matched: u64, victims: &[Victim]) -> Self {
        let mut groups = GroupCounts::new();
        for (dimension, key) in victims.iter().flat_map(groups_of) {
            groups.entry(dimension).or_default().insert(key, 0);
        }
        let mut is_complete = snapshot.coverage.complete;
        for (dimension, counts) in &mut groups {
            let breakdown = snapshot.breakdowns.get(&By::from(*dimension));
            is_complete &= breakdown.is_some_and(|breakdown| count_groups(breakdown, counts));
        }
        Self { total: snapshot.coverage.seen, matched, groups, is_complete }
    }

    fn group(&self, dimension: Dimension, key: &str) -> u64 {
        self.groups.get(&dimension).and_then(|groups| groups.get(key)).copied().unwrap_or(0)
    }
}

/// Reads the connections of some groups; says whether they are exact: some may be among those that are not listed.
fn count_groups(breakdown: &Breakdown, counts: &mut BTreeMap<String, u64>) -> bool {
    let mut is_exact = true;
    for group in &breakdown.groups {
        if let Some(count) = counts.get_mut(&group.key) {
            *count += group.figures.connections;
            is_exact &= group.undercount == 0;
        }
    }
    is_exact && (breakdown.other.figures.connections == 0 || counts.values().all(|count| *count > 0))
}

/// The groups that a victim is of, one of each of [`DIMENSIONS`].
pub fn groups_of(victim: &Victim) -> [(Dimension, String); 4] {
    DIMENSIONS.map(|dimension| {
        let key = match dimension {
            Dimension::Application => victim.application.clone(),
            Dimension::User => victim.user.clone(),
            Dimension::Ip => victim.ip.map(|ip| ip.to_string()),
            _ => Some(victim.account.clone()),
        };
        (dimension, key.unwrap_or_else(|| dimension.absent().to_owned()))
    })
}

/// Compares a cluster with what it was before some of its connections were cut: `cut` are those that were, and only
/// those; `after_ms` is how long ago the last of them was.
pub fn look(cut: &[Victim], before: &Count, now: &Count, at: Timestamp, after_ms: u64) -> Look {
    let mut by_dimension: BTreeMap<Dimension, BTreeMap<String, u64>> = BTreeMap::new();
    for (dimension, key) in cut.iter().flat_map(groups_of) {
        *by_dimension.entry(dimension).or_default().entry(key).or_default() += 1;
    }
    let returned = DIMENSIONS.map(|dimension| {
        let groups = by_dimension.remove(&dimension).unwrap_or_default().into_iter();
        returned(dimension, groups.map(|(key, cut)| group(dimension, key, cut, before, now)).collect())
    });
    Look {
        at,
        after_ms,
        complete: before.is_complete && now.is_complete,
        cut: cut.len() as u64,
        total_before: before.total,
        total_now: now.total,
        matched_before: before.matched,
        matched_now: now.matched,
        returned: returned.into(),
    }
}

fn group(dimension: Dimension, key: String, cut: u64, before: &Count, now: &Count) -> ReturnedGroup {
    let (before, now) = (before.group(dimension, &key), now.group(dimension, &key));
    // what would be there had nobody come back
    let left = before.saturating_sub(cut);
    ReturnedGroup { before, cut, now, returned: now.saturating_sub(left).min(cut), key }
}

/// Adds the groups of a dimension up, and keeps those with most victims.
fn returned(dimension: Dimension, mut groups: Vec<ReturnedGroup>) -> Returned {
    groups.sort_by(|one, other| other.cut.cmp(&one.cut).then_with(|| one.key.cmp(&other.key)));
    let cut = groups.iter().map(|group| group.cut).sum();
    let returned = groups.iter().map(|group| group.returned).sum();
    let more_groups = groups.len().saturating_sub(MOST_GROUPS) as u64;
    groups.truncate(MOST_GROUPS);
    Returned { dimension, cut, returned, groups, more_groups }
}

/// Says what a mitigation achieved, by its last look, and what that is concluded from, in one line.
pub fn conclude(look: &Look) -> (Outcome, String) {
    let (by_application, by_origin) = (look.returned_by_application(), look.returned_by_origin());
    let (cut, before, now) =
        (with_commas(look.cut), with_commas(look.matched_before), with_commas(look.matched_now));
    let seen = format!("the selector meant {before} connections before and means {now} now");
    if look.cut == 0 {
        return (Outcome::Inconclusive, format!("no connection was cut; {seen}"));
    }
    let (Some(by_application), Some(by_origin)) = (by_application, by_origin) else {
        return (Outcome::Inconclusive, format!("{cut} were cut, and nobody counted who came back; {seen}"));
    };
    let returned = format!(
        "of {cut} that were cut {} came back by application and {} by account, user and address; {seen}",
        with_commas(by_application),
        with_commas(by_origin)
    );
    if !look.complete {
        let text = format!("not all connections were seen, so it cannot be told: {returned}");
        return (Outcome::Inconclusive, text);
    }
    if look.matched_now >= look.matched_before {
        return (Outcome::Ineffective, format!("there are no fewer than before: {returned}"));
    }
    let is_too_many =
        |count: u64| u128::from(count) * 100 >= u128::from(look.cut) * u128::from(TOO_MANY_RETURNED_PERCENT);
    match (is_too_many(by_application), is_too_many(by_origin)) {
        (true, true) => (Outcome::Ineffective, format!("most came back: {returned}")),
        (false, false) => (Outcome::Effective, format!("most stayed away: {returned}")),
        _ => (Outcome::Inconclusive, format!("applications and origins say different things: {returned}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::breakdown::{Figures, Group};
    use crate::model::selector::Candidate;
    use crate::model::snapshot::Coverage;

    /// A cluster of 100 connections of which the selector means 40: 30 of `orders` at one address, 10 of `billing` at
    /// another; the other 60 have the same account. Ten of `orders` and two of `billing` are cut.
    fn cut() -> Vec<Victim> {
        let victim = |cid: u64| {
            let is_orders = cid < 10;
            Victim::of(&Candidate {
                server_id: "NA",
                cid,
                application: Some(if is_orders { "orders" } else { "billing" }),
                ip: Some(if is_orders { [10, 0, 0, 1] } else { [10, 0, 0, 2] }.into()),
                account: "APP",
                user: is_orders.then_some("alice"),
                ..Candidate::default()
            })
        };
        (0..12).map(victim).collect()
    }

    fn count(orders: u64, billing: u64, others: u64) -> Count {
        let counts = [
            (Dimension::Application, "orders", orders),
            (Dimension::Application, "billing", billing),
            (Dimension::Account, "APP", orders + billing + others),
            (Dimension::User, "alice", orders),
            (Dimension::User, "(no user)", billing + others),
            (Dimension::Ip, "10.0.0.1", orders),
            (Dimension::Ip, "10.0.0.2", billing),
        ];
        let mut groups = GroupCounts::new();
        for (dimension, key, count) in counts {
            groups.entry(dimension).or_default().insert(key.to_owned(), count);
        }
        Count { total: orders + billing + others, matched: orders + billing, groups, is_complete: true }
    }

    fn look_at(now: &Count) -> Look {
        look(&cut(), &count(30, 10, 60), now, Timestamp::UNIX_EPOCH, 5_000)
    }

    fn concluded(now: &Count) -> (Outcome, String) {
        conclude(&look_at(now))
    }

    #[test]
    fn returns_are_counted_for_each_group_and_never_above_what_was_cut() {
        let look = look_at(&count(27, 500, 60));
        let of = |dimension| look.returned.iter().find(|it| it.dimension == dimension).unwrap();
        let applications = of(Dimension::Application);
        assert_eq!((applications.cut, applications.returned), (12, 7 + 2));
        let group = |key: &str, before, cut, now, returned| ReturnedGroup {
            key: key.to_owned(),
            before,
            cut,
            now,
            returned,
        };
        assert_eq!(applications.groups, [group("orders", 30, 10, 27, 7), group("billing", 10, 2, 500, 2)]);
        assert_eq!(of(Dimension::Account).returned, 12);
        assert_eq!(of(Dimension::Account).groups, [group("APP", 100, 12, 587, 12)]);
        assert_eq!(
            (look.total_before, look.total_now, look.matched_before, look.matched_now),
            (100, 587, 40, 527)
        );
        let fewer = look_at(&count(3, 0, 60));
        assert!(
            fewer.returned.iter().all(|it| it.returned == 0),
            "fewer than the cut would have left: {fewer:?}"
        );
        let gone = look_at(&Count { is_complete: true, ..Count::default() });
        assert_eq!(gone.returned[0].groups[0].now, 0, "a group that is gone has none");
    }

    #[test]
    fn the_groups_of_a_dimension_are_listed_up_to_a_bound_and_all_of_them_are_added_up() {
        let victim = |cid: u64| {
            let name = format!("a{cid:03}");
            Victim::of(&Candidate { cid, application: Some(&name), account: "APP", ..Candidate::default() })
        };
        let cut: Vec<Victim> = (0..60).map(victim).collect();
        let mut groups = GroupCounts::new();
        for (dimension, key) in cut.iter().flat_map(groups_of) {
            *groups.entry(dimension).or_default().entry(key).or_default() += 1;
        }
        let all = Count { total: 60, matched: 60, groups, is_complete: true };
        let look = look(&cut, &all, &all, Timestamp::UNIX_EPOCH, 0);
        let applications = &look.returned[0];
        assert_eq!((applications.groups.len(), applications.more_groups), (50, 10));
        assert_eq!((applications.cut, applications.returned), (60, 60));
    }

    #[test]
    fn most_that_stay_away_are_effective_and_half_that_come_back_are_not() {
        let (outcome, text) = concluded(&count(20, 8, 60));
        assert_eq!(outcome, Outcome::Effective);
        insta::assert_snapshot!(text, @"most stayed away: of 12 that were cut 0 came back by application and 0 by account, user and address; the selector meant 40 connections before and means 28 now");
        // five of twelve, and six of twelve
        assert_eq!(concluded(&count(25, 8, 60)).0, Outcome::Effective);
        let (outcome, text) = concluded(&count(26, 8, 60));
        assert_eq!(outcome, Outcome::Ineffective);
        insta::assert_snapshot!(text, @"most came back: of 12 that were cut 6 came back by application and 6 by account, user and address; the selector meant 40 connections before and means 34 now");
        let (outcome, text) = concluded(&count(30, 10, 60));
        assert_eq!(outcome, Outcome::Ineffective);
        insta::assert_snapshot!(text, @"there are no fewer than before: of 12 that were cut 12 came back by application and 12 by account, user and address; the selector meant 40 connections before and means 40 now");
    }

    #[test]
    fn who_came_back_under_another_name_is_not_called_gone() {
        // twelve of the same addresses, user and account, which call themselves something else
        let mut now = count(20, 8, 72);
        now.groups.get_mut(&Dimension::Ip).unwrap().insert("10.0.0.1".to_owned(), 30);
        now.groups.get_mut(&Dimension::User).unwrap().insert("alice".to_owned(), 30);
        let (outcome, text) = concluded(&now);
        assert_eq!(outcome, Outcome::Inconclusive);
        insta::assert_snapshot!(text, @"applications and origins say different things: of 12 that were cut 0 came back by application and 10 by account, user and address; the selector meant 40 connections before and means 28 now");
    }

    #[test]
    fn groups_are_counted_in_a_snapshot_and_one_that_may_be_unlisted_is_not_taken_for_gone() {
        let listed = |key: &str, connections| Group {
            key: key.to_owned(),
            figures: Figures { connections, ..Figures::default() },
            ..Group::default()
        };
        let by = |groups| Breakdown { groups, ..Breakdown::default() };
        let coverage = Coverage {
            seen: 100,
            total: 100,
            complete: true,
            duration_ms: 0,
            bytes: 0,
            servers: Vec::new(),
            system_error: None,
            idle_after_ms: None,
        };
        let mut snapshot = Snapshot {
            cluster: "east".to_owned(),
            taken_at: Timestamp::UNIX_EPOCH,
            coverage,
            breakdowns: [
                (
                    Dimension::Application,
                    by(vec![listed("audit", 60), listed("orders", 30), listed("billing", 10)]),
                ),
                (Dimension::Account, by(vec![listed("APP", 100)])),
                (Dimension::User, by(vec![listed("(no user)", 70), listed("alice", 30)])),
                (Dimension::Ip, by(vec![listed("10.0.0.1", 30), listed("10.0.0.2", 10)])),
            ]
            .map(|(dimension, breakdown)| (By::from(dimension), breakdown))
            .into(),
            closed: None,
        };
        let counted = |snapshot: &Snapshot| Count::of(snapshot, 40, &cut());
        assert_eq!(counted(&snapshot), count(30, 10, 60));
        let written = serde_json::to_string(&counted(&snapshot)).unwrap();
        assert_eq!(serde_json::from_str::<Count>(&written).unwrap(), counted(&snapshot));

        let applications = By::from(Dimension::Application);
        let breakdown = snapshot.breakdowns.get_mut(&applications).unwrap();
        breakdown.groups.pop();
        let gone = counted(&snapshot);
        assert_eq!((gone.groups[&Dimension::Application]["billing"], gone.is_complete), (0, true));
        let breakdown = snapshot.breakdowns.get_mut(&applications).unwrap();
        breakdown.other.figures.connections = 10;
        assert!(!counted(&snapshot).is_complete, "it may be among the others");
        let breakdown = snapshot.breakdowns.get_mut(&applications).unwrap();
        breakdown.groups.push(listed("billing", 5));
        assert!(counted(&snapshot).is_complete);
        let breakdown = snapshot.breakdowns.get_mut(&applications).unwrap();
        breakdown.groups[1].undercount = 1;
        assert!(!counted(&snapshot).is_complete, "it is not exact");
        snapshot.breakdowns.remove(&applications);
        assert!(!counted(&snapshot).is_complete, "nobody counted");
    }

    #[test]
    fn others_of_the_same_account_are_not_taken_for_those_that_were_cut() {
        assert_eq!(concluded(&count(20, 8, 500)).0, Outcome::Effective);
    }

    #[test]
    fn a_count_that_did_not_fall_is_ineffective_whoever_it_is() {
        let mut now = count(20, 8, 60);
        now.matched = 40;
        assert_eq!(concluded(&now).0, Outcome::Ineffective);
        now.matched = 39;
        assert_eq!(concluded(&now).0, Outcome::Effective);
    }

    #[test]
    fn what_was_not_seen_cannot_be_concluded_from() {
        for (now, is_complete) in [(count(20, 8, 60), false), (count(30, 10, 60), false)] {
            let (outcome, text) = concluded(&Count { is_complete, ..now });
            assert_eq!(outcome, Outcome::Inconclusive, "{text}");
        }
        let before = Count { is_complete: false, ..count(30, 10, 60) };
        let look = look(&cut(), &before, &count(20, 8, 60), Timestamp::UNIX_EPOCH, 0);
        assert_eq!(conclude(&look).0, Outcome::Inconclusive);
        let nobody = super::look(&[], &count(30, 10, 60), &count(3, 1, 60), Timestamp::UNIX_EPOCH, 0);
        assert_eq!(conclude(&nobody).0, Outcome::Inconclusive);
        let unread = Look { returned: Vec::new(), ..look_at(&count(20, 8, 60)) };
        assert_eq!(conclude(&unread).0, Outcome::Inconclusive);
    }
}
