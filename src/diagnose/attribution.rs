//! Attribution: which applications explain a growth, and which do not stand out of it.
//!
//! Whoever has most connections also has most of a growth that everybody shares, and is not to blame for it: somebody
//! explains a growth only if they grew far more than the rest did, each by their own measure.

use crate::diagnose::growth::{GroupGrowth, Growth};
use crate::model::breakdown::{Dimension, share};
use crate::model::diagnosis_rules::DiagnosisRules;

/// At most so many explain a growth; more are nobody in particular.
const MOST: usize = 4;

/// So much of a growth must be explained.
const EXPLAINED: f64 = 0.6;

/// One who explains less than this of a growth is not named.
const WORTH_NAMING: f64 = 0.15;

/// How many times more than the rest somebody must have grown, each by what they had before.
const ABOVE_THE_REST: f64 = 2.5;

/// The least growth of the rest that somebody is compared with: of a rest that does not grow, everybody stands out.
const LEAST_OF_THE_REST: f64 = 0.04;

/// One who explains a growth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Explanation<'a> {
    /// Who, and by how much they grew.
    pub group: &'a GroupGrowth,
    /// Which share of the growth they explain, from 0 to 1.
    pub share: f64,
}

/// Finds the groups of a dimension that explain a growth, most first; none if nobody stands out.
pub fn explain<'a>(growth: &'a Growth, dimension: Dimension, rules: &DiagnosisRules) -> Vec<Explanation<'a>> {
    let groups = growth.of(dimension);
    let whole: u64 = groups.iter().map(GroupGrowth::grown_by).sum();
    // what shrank meanwhile hides growth; what is seen of it is explained all the same
    let whole = whole.min(growth.grown_by().max(1)).max(1);
    let mut named: Vec<&GroupGrowth> = groups
        .iter()
        .filter(|group| {
            group.grown_by() >= rules.least_connections / 2 && share(group.grown_by(), whole) >= WORTH_NAMING
        })
        .take(MOST)
        .collect();
    // one after the other, who does not stand out of those who are left goes to them
    while let Some(last) = named.last() {
        let rest = rest_of(groups, &named);
        if stands_out(last, &rest) {
            break;
        }
        named.pop();
    }
    named.retain(|group| stands_out(group, &rest_of(groups, &[group])) || named_alone(groups, group));
    let explained: u64 = named.iter().map(|group| group.grown_by()).sum();
    if share(explained, whole) < EXPLAINED {
        return Vec::new();
    }
    let share = |group: &GroupGrowth| share(group.grown_by(), whole).min(1.0);
    named.into_iter().map(|group| Explanation { group, share: share(group) }).collect()
}

/// Those who are not named, together.
fn rest_of(groups: &[GroupGrowth], named: &[&GroupGrowth]) -> GroupGrowth {
    let rest = groups.iter().filter(|group| !named.iter().any(|named| named.key == group.key));
    rest.fold(GroupGrowth { key: String::new(), absent: false, before: 0, now: 0 }, |sum, group| {
        GroupGrowth { before: sum.before + group.before, now: sum.now + group.now, ..sum }
    })
}

fn stands_out(group: &GroupGrowth, rest: &GroupGrowth) -> bool {
    // nobody else is there to compare with
    if rest.before == 0 && rest.now == 0 {
        return true;
    }
    group.ratio() >= ABOVE_THE_REST * rest.ratio().max(LEAST_OF_THE_REST)
}

fn named_alone(groups: &[GroupGrowth], group: &GroupGrowth) -> bool {
    groups.iter().all(|other| other.key == group.key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::diagnose::growth::Measure;

    /// Who explains a growth of applications with so many connections before and now.
    fn explained(groups: &[(&str, u64, u64)]) -> String {
        let mut growths: Vec<GroupGrowth> = groups
            .iter()
            .map(|(key, before, now)| GroupGrowth {
                key: (*key).to_owned(),
                absent: false,
                before: *before,
                now: *now,
            })
            .collect();
        growths.sort_by_key(|group| group.before as i64 - group.now as i64);
        let growth = Growth {
            since: Timestamp::UNIX_EPOCH,
            measure: Measure::Samples,
            before: growths.iter().map(|group| group.before).sum(),
            now: growths.iter().map(|group| group.now).sum(),
            groups: BTreeMap::from([(Dimension::Application, growths)]),
        };
        let named = explain(&growth, Dimension::Application, &DiagnosisRules::default());
        let named: Vec<String> = named.iter().map(|it| format!("{} {:.2}", it.group.key, it.share)).collect();
        named.join(", ")
    }

    #[test]
    fn one_who_grew_alone_explains_it() {
        assert_eq!(explained(&[("orders", 100, 1_500), ("a", 400, 402), ("b", 300, 299)]), "orders 1.00");
        // a minor application, beside one that is far larger and steady
        assert_eq!(explained(&[("large", 2_000, 2_010), ("minor", 20, 320)]), "minor 0.97");
        // one that was not there before
        assert_eq!(explained(&[("a", 500, 500), ("new", 0, 700)]), "new 1.00");
        // the only one
        assert_eq!(explained(&[("only", 300, 1_100)]), "only 1.00");
    }

    #[test]
    fn two_who_grew_together_explain_it_together() {
        let groups = [("orders", 100, 900), ("billing", 80, 580), ("a", 400, 410), ("b", 300, 305)];
        assert_eq!(explained(&groups), "orders 0.61, billing 0.38");
    }

    #[test]
    fn nobody_explains_what_everybody_shares() {
        assert_eq!(explained(&[("a", 600, 800), ("b", 300, 390), ("c", 100, 131)]), "");
        assert_eq!(explained(&[("a", 600, 800), ("b", 300, 400)]), "");
        // even if one of them has most of it
        assert_eq!(explained(&[("large", 900, 1_260), ("b", 100, 138), ("c", 100, 128)]), "");
        let noise: Vec<(String, u64, u64)> =
            (0..12).map(|n| (format!("app-{n}"), 80 + n, 110 + (n * 7) % 23)).collect();
        let noise: Vec<(&str, u64, u64)> =
            noise.iter().map(|(key, before, now)| (key.as_str(), *before, *now)).collect();
        assert_eq!(explained(&noise), "");
    }

    #[test]
    fn one_below_two_and_a_half_times_the_rest_does_not_stand_out() {
        // the rest grew by a fifth
        assert_eq!(explained(&[("a", 1_000, 1_490), ("rest", 400, 480)]), "");
        assert_eq!(explained(&[("a", 1_000, 1_510), ("rest", 400, 480)]), "a 0.86");
    }

    #[test]
    fn a_growth_of_which_most_is_nobodys_has_no_culprit() {
        let many: Vec<(String, u64, u64)> = (0..30).map(|n| (format!("app-{n}"), 20, 30)).collect();
        let mut groups: Vec<(&str, u64, u64)> =
            many.iter().map(|(key, before, now)| (key.as_str(), *before, *now)).collect();
        groups.push(("one", 20, 200));
        // 180 of 480
        assert_eq!(explained(&groups), "");
    }
}
