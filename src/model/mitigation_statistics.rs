//! Statistics of mitigations: how often each action helped, and how many of those that it cut came back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::mitigation::{Outcome, StopReason};
use crate::model::mitigation_look::Look;
use crate::model::plan::ActionKind;
use crate::model::printable::with_commas;

/// What came of the runs of an action in a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActionStatistics {
    /// The configured cluster.
    pub cluster: String,
    /// The action.
    pub action: ActionKind,
    /// How many were started.
    pub runs: u64,
    /// Of these, those that helped: most of what was cut stayed away.
    pub effective: u64,
    /// Of these, those that did not.
    pub ineffective: u64,
    /// Of these, those of which it cannot be told.
    pub inconclusive: u64,
    /// Of these, those that failed: requests failed, or things got worse.
    pub failed: u64,
    /// Of these, those that ended before their last victim for no fault of their own.
    pub stopped: u64,
    /// Of these, those that go on, or whose effect is still being looked at.
    pub unfinished: u64,
    /// Connections that were cut, or left because they were asked to; those of which it is not known count.
    pub victims: u64,
    /// Of the victims, those of the last hundred runs, as far as everything was seen after these.
    pub looked_after: u64,
    /// Of `looked_after`, those that came back, or others like them: by application, or by account, user and address,
    /// whichever says more.
    pub returned: u64,
    /// `returned` of `looked_after`, in percent; `null` if there are none.
    pub returned_percent: Option<f64>,
}

impl ActionStatistics {
    /// Begins with nothing.
    pub fn new(cluster: &str, action: ActionKind) -> Self {
        Self {
            cluster: cluster.to_owned(),
            action,
            runs: 0,
            effective: 0,
            ineffective: 0,
            inconclusive: 0,
            failed: 0,
            stopped: 0,
            unfinished: 0,
            victims: 0,
            looked_after: 0,
            returned: 0,
            returned_percent: None,
        }
    }

    /// Adds runs that have come to the same end, or have not come to one.
    pub fn add_runs(&mut self, runs: u64, outcome: Option<Outcome>, stop: Option<StopReason>) {
        self.runs += runs;
        let count = match (outcome, stop) {
            (Some(Outcome::Effective), _) => &mut self.effective,
            (Some(Outcome::Ineffective), _) => &mut self.ineffective,
            (Some(Outcome::Inconclusive), _) => &mut self.inconclusive,
            (Some(Outcome::Failed), _) => &mut self.failed,
            (None, Some(stop)) if stop.is_failure() => &mut self.failed,
            (None, Some(_)) => &mut self.stopped,
            (None, None) => &mut self.unfinished,
        };
        *count += runs;
    }

    /// Adds what the last look after a run saw; one that did not see everything tells nothing.
    pub fn add_look(&mut self, look: &Look) {
        let Some(returned) = look.came_back().filter(|_| look.complete) else { return };
        self.looked_after += look.cut;
        self.returned += returned;
        if self.looked_after > 0 {
            self.returned_percent = Some(self.returned as f64 * 100.0 / self.looked_after as f64);
        }
    }

    /// How the runs ended, for people: `3 effective, 1 stopped`.
    pub fn ends(&self) -> String {
        let ends = [
            (self.effective, "effective"),
            (self.ineffective, "ineffective"),
            (self.inconclusive, "inconclusive"),
            (self.failed, "failed"),
            (self.stopped, "stopped"),
            (self.unfinished, "unfinished"),
        ];
        let told = ends.into_iter().filter(|(count, _)| *count > 0);
        told.map(|(count, end)| format!("{} {end}", with_commas(count))).collect::<Vec<_>>().join(", ")
    }

    /// How many came back, for people: `12 of 40 (30 %)`; nothing if nobody knows.
    pub fn returns(&self) -> Option<String> {
        let percent = self.returned_percent?.round();
        Some(format!("{} of {} ({percent} %)", with_commas(self.returned), with_commas(self.looked_after)))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::breakdown::Dimension;
    use crate::model::mitigation_look::Returned;

    fn look(complete: bool, returned: [u64; 4]) -> Look {
        let dimensions = [Dimension::Application, Dimension::Account, Dimension::User, Dimension::Ip];
        let by = |(dimension, returned)| Returned {
            dimension,
            cut: 20,
            returned,
            groups: Vec::new(),
            more_groups: 0,
        };
        Look {
            at: Timestamp::UNIX_EPOCH,
            after_ms: 5_000,
            complete,
            cut: 20,
            total_before: 100,
            total_now: 90,
            matched_before: 20,
            matched_now: 10,
            returned: dimensions.into_iter().zip(returned).map(by).collect(),
        }
    }

    #[test]
    fn every_run_has_one_end_and_the_worst_count_of_returns_is_told() {
        let mut statistics = ActionStatistics::new("east", ActionKind::Kick);
        assert_eq!((statistics.ends(), statistics.returns()), (String::new(), None));
        for outcome in Outcome::ALL {
            statistics.add_runs(2, Some(outcome), None);
        }
        for stop in StopReason::ALL {
            statistics.add_runs(1, None, Some(stop));
        }
        statistics.add_runs(1, None, None);
        insta::assert_snapshot!(statistics.ends(), @"2 effective, 2 ineffective, 2 inconclusive, 4 failed, 4 stopped, 1 unfinished");
        assert_eq!(statistics.runs, 15);

        statistics.add_look(&look(true, [4, 20, 9, 12]));
        statistics.add_look(&look(false, [20, 20, 20, 20]));
        statistics.add_look(&look(true, [3, 0, 0, 0]));
        assert_eq!((statistics.looked_after, statistics.returned), (40, 9 + 3));
        assert_eq!(statistics.returns().as_deref(), Some("12 of 40 (30 %)"));
    }
}
