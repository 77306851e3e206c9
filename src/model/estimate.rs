//! Estimates: what a plan would have been when a stored look was taken, as far as its breakdowns tell.
//!
//! A stored look keeps groups, not connections: nobody in it can be named. So an estimate is never proposed or executed,
//! and what groups do not tell is a range that holds what a plan would have found.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::guard::GuardKind;
use crate::model::plan::ActionKind;
use crate::model::printable::with_commas;
use crate::model::protection::ProtectionReason;
use crate::model::selector::Conditions;
use crate::model::snapshot::Coverage;
use crate::model::victim::{VictimLimits, VictimOrder};

/// A count that is known to lie between two numbers; exact where they are equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountRange {
    /// It is no less.
    pub at_least: u64,
    /// It is no more.
    pub at_most: u64,
}

impl CountRange {
    /// From one number to another; where they contradict each other, the second is believed.
    pub fn new(at_least: u64, at_most: u64) -> Self {
        Self { at_least: at_least.min(at_most), at_most }
    }

    /// A count that is known.
    pub fn exact(count: u64) -> Self {
        Self { at_least: count, at_most: count }
    }

    /// Nothing is known but how many it could be.
    pub fn up_to(at_most: u64) -> Self {
        Self { at_least: 0, at_most }
    }

    /// Whether the count is known.
    pub fn is_exact(self) -> bool {
        self.at_least == self.at_most
    }

    /// Whether the count is known to be 0.
    pub fn is_none(self) -> bool {
        self.at_most == 0
    }

    /// Whether the count can be this one.
    pub fn contains(self, count: u64) -> bool {
        (self.at_least..=self.at_most).contains(&count)
    }

    /// The smaller one of the count and a number.
    #[must_use]
    pub fn capped(self, most: u64) -> Self {
        Self { at_least: self.at_least.min(most), at_most: self.at_most.min(most) }
    }

    /// What is left of it once another count, which is a part of it, is taken away.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        Self {
            at_least: self.at_least.saturating_sub(part.at_most),
            at_most: self.at_most.saturating_sub(part.at_least),
        }
    }
}

impl Sum for CountRange {
    fn sum<I: Iterator<Item = Self>>(ranges: I) -> Self {
        ranges.fold(Self::default(), |sum, range| Self {
            at_least: sum.at_least.saturating_add(range.at_least),
            at_most: sum.at_most.saturating_add(range.at_most),
        })
    }
}

impl fmt::Display for CountRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_exact() {
            f.write_str(&with_commas(self.at_most))
        } else {
            write!(f, "{}–{}", with_commas(self.at_least), with_commas(self.at_most))
        }
    }
}

/// How many victims there would have been of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EstimatedHit {
    /// The application, account, address or server.
    pub key: String,
    /// Its victims.
    pub victims: CountRange,
}

/// Who would have been hit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EstimatedRadius {
    /// By application; those without a name are `(unnamed)`. Those that may have the most first.
    pub applications: Vec<EstimatedHit>,
    /// By account.
    pub accounts: Vec<EstimatedHit>,
    /// By address.
    pub ips: Vec<EstimatedHit>,
    /// By server.
    pub servers: Vec<EstimatedHit>,
}

/// What a guard would have said, as far as a stored look tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Foreseen {
    /// It would let the mitigation run.
    Passes,
    /// It would not.
    Blocks,
    /// The numbers are too uncertain to say.
    Unclear,
    /// It looks at the present: it is asked when a plan is made of a live look.
    NotAsked,
}

/// A guard, and what it would have said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuardForecast {
    /// Which guard.
    pub guard: GuardKind,
    /// What it would have said.
    pub foreseen: Foreseen,
    /// Why, in one line.
    pub reason: String,
}

/// What a plan would have been when a stored look was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// The configured cluster.
    pub cluster: String,
    /// What would be done.
    pub action: ActionKind,
    /// To which connections: all conditions hold of each.
    pub selector: Conditions,
    /// Which of them first.
    pub order: VictimOrder,
    /// To how many.
    pub limits: VictimLimits,
    /// When the stored look began.
    pub taken_at: Timestamp,
    /// How long ago that was, in milliseconds.
    pub age_ms: u64,
    /// How much of the cluster it saw; all numbers are of what it saw.
    pub coverage: Coverage,
    /// All connections that were seen then.
    pub total: u64,
    /// Those that the selector means, protected ones among them.
    pub matched: CountRange,
    /// Of these, those that are protected, by why.
    pub protected: BTreeMap<ProtectionReason, CountRange>,
    /// Those that stay because a minimum of each application does.
    pub kept: CountRange,
    /// How many victims there would have been.
    pub victims: CountRange,
    /// Who they are.
    pub blast_radius: EstimatedRadius,
    /// What would have been to be expected, in one line.
    pub expected_effect: String,
    /// What everyone must know before approving such a thing.
    pub warning: String,
    /// What each guard would have said.
    pub guards: Vec<GuardForecast>,
    /// Why numbers are ranges, and what a plan of a live look would know beside; one line each.
    pub notes: Vec<String>,
}

impl Estimate {
    /// Whether it is foreseen that a guard blocks.
    pub fn is_blocked(&self) -> bool {
        self.guards.iter().any(|forecast| forecast.foreseen == Foreseen::Blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_as_one_number_where_it_is_one() {
        let ranges = [(12, 12), (3, 12), (0, 12_000)].map(|(least, most)| CountRange::new(least, most));
        assert_eq!(ranges.map(|range| range.to_string()), ["12", "3–12", "0–12,000"]);
    }

    #[test]
    fn what_is_left_is_as_uncertain_as_what_is_taken_away() {
        let left = |part| CountRange::new(5, 9).without(part);
        assert_eq!(left(CountRange::exact(2)), CountRange::new(3, 7));
        assert_eq!(left(CountRange::new(0, 20)), CountRange::up_to(9));
    }
}
