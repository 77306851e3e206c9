//! Notes: what a step comes upon while it looks.

use std::time::Duration;

use crate::diagnose::words::sentence;
use crate::model::diagnosis::{Fact, Step, StepName, StepStatus};
use crate::model::printable::excerpt;

/// The most remarks of one step that are kept; a cluster may have hundreds of servers.
const MOST_REMARKS: usize = 40;

/// The most numbers of one step that are kept.
const MOST_FACTS: usize = 100;

/// What a step comes upon while it looks.
#[derive(Debug, Default)]
pub(super) struct Notes {
    looked: bool,
    found: Vec<String>,
    remarks: Vec<String>,
    unseen: Vec<String>,
    evidence: Vec<Fact>,
}

impl Notes {
    /// Notes something that is wrong, in one sentence; the most important first.
    pub(super) fn find(&mut self, text: impl Into<String>) {
        self.looked = true;
        self.found.push(text.into());
    }

    /// Notes something that is worth knowing, in one sentence.
    pub(super) fn remark(&mut self, text: impl Into<String>) {
        self.looked = true;
        self.remarks.push(text.into());
    }

    /// Notes that something was looked at, whatever there is to say of it.
    pub(super) fn looked(&mut self) {
        self.looked = true;
    }

    /// Notes what could not be looked at: what it was, and why. The reason may repeat the text of a stranger.
    pub(super) fn unseen(&mut self, what: &str, why: &str) {
        self.unseen.push(sentence(&format!("{what} could not be looked at: {}", excerpt(why))));
    }

    /// Notes a number.
    pub(super) fn fact(&mut self, fact: Fact) {
        self.evidence.push(fact);
    }

    /// Notes a time, in seconds.
    pub(super) fn time(&mut self, name: &str, time: Duration, text: impl Into<String>) {
        self.fact(Fact::new(name, time.as_secs_f64(), text));
    }

    /// Whether anything is wrong so far.
    pub(super) fn has_found(&self) -> bool {
        !self.found.is_empty()
    }

    /// Concludes the step: `fine` is what to say if nothing is wrong.
    pub(super) fn conclude(mut self, step: StepName, fine: impl Into<String>) -> Step {
        let status = match (self.looked, self.found.is_empty()) {
            (_, false) => StepStatus::Finding,
            (true, true) => StepStatus::Ok,
            (false, true) => StepStatus::Skipped,
        };
        let summary = match status {
            StepStatus::Finding => {
                let first = self.found.remove(0);
                match self.found.len() {
                    0 => first,
                    1 => format!("{first} And one more thing"),
                    more => format!("{first} And {more} more things"),
                }
                .trim_end_matches('.')
                .to_owned()
                    + "."
            }
            StepStatus::Ok => fine.into(),
            StepStatus::Skipped if self.unseen.is_empty() => "There was nothing to look at.".to_owned(),
            StepStatus::Skipped => std::mem::take(&mut self.unseen).join(". ") + ".",
        };
        let unseen = self.unseen.into_iter().map(|reason| reason + ".");
        let mut remarks: Vec<String> = self.found.into_iter().chain(unseen).chain(self.remarks).collect();
        if remarks.len() > MOST_REMARKS {
            let more = remarks.len() - MOST_REMARKS;
            remarks.truncate(MOST_REMARKS);
            remarks.push(format!("{more} more remarks are left out here."));
        }
        self.evidence.truncate(MOST_FACTS);
        Step { step, status, summary, evidence: self.evidence, remarks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_skipped_only_if_nothing_could_be_looked_at() {
        let mut blind = Notes::default();
        blind.unseen("the log", "no log is configured");
        let step = blind.conclude(StepName::Logs, "Fine.");
        assert_eq!(step.status, StepStatus::Skipped);
        assert_eq!(step.summary, "The log could not be looked at: no log is configured.");
        assert!(step.remarks.is_empty());

        let mut half = Notes::default();
        half.unseen("the log", "no log\nis configured");
        half.looked();
        let step = half.conclude(StepName::Logs, "Fine.");
        assert_eq!((step.status, step.summary.as_str()), (StepStatus::Ok, "Fine."));
        assert_eq!(step.remarks, [r"The log could not be looked at: no log\nis configured."]);
    }

    #[test]
    fn what_is_wrong_comes_first_and_the_rest_is_counted() {
        let mut notes = Notes::default();
        notes.remark("A remark.");
        notes.find("One is wrong.");
        notes.find("Two is wrong.");
        let step = notes.conclude(StepName::Logs, "Fine.");
        assert_eq!(step.status, StepStatus::Finding);
        assert_eq!(step.summary, "One is wrong. And one more thing.");
        assert_eq!(step.remarks, ["Two is wrong.", "A remark."]);
    }

    #[test]
    fn remarks_are_bounded() {
        let mut notes = Notes::default();
        (0..100).for_each(|number| notes.remark(format!("{number}.")));
        let step = notes.conclude(StepName::Logs, "Fine.");
        assert_eq!(step.remarks.len(), MOST_REMARKS + 1);
        assert_eq!(step.remarks[MOST_REMARKS], "60 more remarks are left out here.");
    }
}
