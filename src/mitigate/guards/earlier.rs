//! Earlier runs, as far as guards are concerned.

use jiff::Timestamp;

use crate::model::mitigation::{MitigationState, Outcome};

/// A run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlierRun {
    /// When its last victim had been dealt with, or when it was stopped.
    pub ended_at: Timestamp,
    /// What it achieved; `None` as long as that is not known, and of one that was stopped for no fault of its own.
    pub outcome: Option<Outcome>,
}

impl EarlierRun {
    /// Reads it from where a mitigation stands; `None` of one that has not run, or still does.
    pub fn of(state: &MitigationState) -> Option<Self> {
        match state {
            MitigationState::Verifying { executed_at, .. } => {
                Some(Self { ended_at: *executed_at, outcome: None })
            }
            MitigationState::Finished { executed_at, outcome, .. } => {
                Some(Self { ended_at: *executed_at, outcome: Some(*outcome) })
            }
            MitigationState::Stopped { stopped_at, stop, .. } => {
                Some(Self { ended_at: *stopped_at, outcome: stop.is_failure().then_some(Outcome::Failed) })
            }
            MitigationState::Planned
            | MitigationState::Refused { .. }
            | MitigationState::Proposed { .. }
            | MitigationState::Approved { .. }
            | MitigationState::Rejected { .. }
            | MitigationState::Expired { .. }
            | MitigationState::Running { .. } => None,
        }
    }

    /// Whether it was in vain: it failed, or did not help.
    pub fn is_vain(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Failed | Outcome::Ineffective))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mitigation::StopReason;

    #[test]
    fn only_what_has_ended_is_an_earlier_run() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let approved =
            MitigationState::Planned.propose("a", at(1)).unwrap().approve("b", at(2), at(9)).unwrap();
        let running = approved.clone().start("b", at(3)).unwrap();
        let verifying = running.clone().complete(at(4)).unwrap();
        assert_eq!(EarlierRun::of(&approved), None);
        assert_eq!(EarlierRun::of(&running), None);
        assert_eq!(EarlierRun::of(&verifying), Some(EarlierRun { ended_at: at(4), outcome: None }));
        for (outcome, is_vain) in [
            (Outcome::Effective, false),
            (Outcome::Ineffective, true),
            (Outcome::Inconclusive, false),
            (Outcome::Failed, true),
        ] {
            let run = EarlierRun::of(&verifying.clone().finish(outcome, "", at(600)).unwrap()).unwrap();
            assert_eq!((run.ended_at, run.outcome, run.is_vain()), (at(4), Some(outcome), is_vain));
        }
        for (stop, outcome) in [
            (StopReason::Asked, None),
            (StopReason::Interrupted, None),
            (StopReason::Worse, Some(Outcome::Failed)),
            (StopReason::Errors, Some(Outcome::Failed)),
        ] {
            let stopped = running.clone().stop("b", at(5), stop, "").unwrap();
            assert_eq!(EarlierRun::of(&stopped), Some(EarlierRun { ended_at: at(5), outcome }));
        }
    }
}
