//! Member alerts: what an incident knows of each of its alerts.
//!
//! A member is identified by its fingerprint, which is the same each time the alert fires; its generation
//! counts how often that was.

use jiff::Timestamp;

use crate::model::alert::{Alert, AlertStatus};
use crate::model::mapping::ServerMatch;

/// One alert of an incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The alert as it was last reported.
    pub alert: Alert,
    /// How often it has begun to fire within this incident, from 1.
    pub generation: u32,
    /// The server the alert is about, if one could be made out.
    pub server: Option<ServerMatch>,
    /// When it was first received.
    pub first_seen_at: Timestamp,
    /// When it was last received.
    pub last_seen_at: Timestamp,
}

/// What a report changed about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// It still fires, or is still over: only the time it was last seen.
    SeenAgain,
    /// It fires again, or began anew without the end of the last time having been heard of.
    Refired,
    /// It is over.
    Resolved,
}

impl Member {
    /// Takes a firing alert in.
    pub fn join(alert: Alert, server: Option<ServerMatch>, at: Timestamp) -> Self {
        Self { alert, generation: 1, server, first_seen_at: at, last_seen_at: at }
    }

    /// Whether the alert fires, as far as anybody has said.
    pub fn is_firing(&self) -> bool {
        self.alert.status == AlertStatus::Firing
    }

    /// Takes in what was reported about the same alert later.
    pub fn report(&mut self, alert: Alert, server: Option<ServerMatch>, at: Timestamp) -> MemberChange {
        let change = match (self.alert.status, alert.status) {
            (AlertStatus::Firing, AlertStatus::Firing) if alert.starts_at > self.alert.starts_at => {
                MemberChange::Refired
            }
            (AlertStatus::Resolved { .. }, AlertStatus::Firing) => MemberChange::Refired,
            (AlertStatus::Firing, AlertStatus::Resolved { ended_at }) if ended_at >= self.alert.starts_at => {
                MemberChange::Resolved
            }
            // a late report of an older generation's end says nothing about this one
            (AlertStatus::Firing, AlertStatus::Resolved { .. }) => {
                self.last_seen_at = at;
                return MemberChange::SeenAgain;
            }
            _ => MemberChange::SeenAgain,
        };
        if change == MemberChange::Refired {
            self.generation += 1;
        }
        // nodes of a pair may disagree about the start: it never moves back, or each repetition would fire again
        let starts_at = match (change, alert.status) {
            (MemberChange::SeenAgain, AlertStatus::Firing) => self.alert.starts_at.max(alert.starts_at),
            _ => alert.starts_at,
        };
        self.alert = Alert { starts_at, ..alert };
        self.server = server.or(self.server.take());
        self.last_seen_at = at;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn alert(starts_at: i64, ended_at: Option<i64>) -> Alert {
        let labels: Labels = [("alertname".to_owned(), "A".to_owned())].into_iter().collect();
        Alert {
            fingerprint: labels.fingerprint(),
            labels,
            annotations: Labels::default(),
            status: ended_at.map_or(AlertStatus::Firing, |end| AlertStatus::Resolved { ended_at: at(end) }),
            starts_at: at(starts_at),
            generator_url: String::new(),
            value: None,
        }
    }

    #[test]
    fn each_report_has_one_meaning() {
        use MemberChange::{Refired, Resolved, SeenAgain};
        // (what is known, what is reported, what changed, generation afterwards)
        let cases = [
            (alert(10, None), alert(10, None), SeenAgain, 1),
            (alert(10, None), alert(20, None), Refired, 2),
            (alert(10, None), alert(10, Some(15)), Resolved, 1),
            (alert(10, None), alert(12, Some(15)), Resolved, 1),
            (alert(10, None), alert(1, Some(5)), SeenAgain, 1),
            (alert(10, Some(15)), alert(20, None), Refired, 2),
            (alert(10, Some(15)), alert(10, Some(15)), SeenAgain, 1),
        ];
        for (known, reported, change, generation) in cases {
            let mut member = Member::join(known.clone(), None, at(0));
            assert_eq!(member.report(reported.clone(), None, at(100)), change, "{known:?} {reported:?}");
            assert_eq!(member.generation, generation, "{known:?} {reported:?}");
            assert_eq!(member.last_seen_at, at(100));
        }
    }

    #[test]
    fn two_nodes_that_disagree_about_the_start_make_it_fire_again_once_at_most() {
        let mut member = Member::join(alert(10, None), None, at(0));
        assert_eq!(member.report(alert(20, None), None, at(1)), MemberChange::Refired);
        for round in 2..6 {
            let starts_at = if round % 2 == 0 { 10 } else { 20 };
            assert_eq!(member.report(alert(starts_at, None), None, at(round)), MemberChange::SeenAgain);
        }
        assert_eq!((member.generation, member.alert.starts_at), (2, at(20)));
    }

    #[test]
    fn a_late_end_of_an_older_generation_does_not_end_this_one() {
        let mut member = Member::join(alert(10, None), None, at(0));
        member.report(alert(1, Some(5)), None, at(100));
        assert!(member.is_firing());
        assert_eq!(member.alert.starts_at, at(10));
    }
}
