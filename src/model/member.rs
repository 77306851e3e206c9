//! Member alerts: what an incident knows of each of its alerts.
//!
//! A member is identified by its fingerprint, which is the same each time the alert fires; its generation counts how
//! often that was. What is reported may be late: a healthy pair of Alertmanagers sends a firing after the resolved it
//! belongs to, with the same start. Such a firing is *stale*: it is written down, and believed only when somebody else
//! confirms it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::alert::{Alert, AlertStatus};
use crate::model::mapping::ServerMatch;

/// One alert of an incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The alert as it was last reported.
    pub alert: Alert,
    /// How often it has begun to fire within this incident, from 1.
    pub generation: u32,
    /// How often it was over in between without anybody having said so.
    pub flaps: u32,
    /// Since when a firing stands against its end, unconfirmed and not taken back.
    pub stale_since: Option<Timestamp>,
    /// Who keeps Alertmanager from notifying about it, as far as Alertmanager has been asked.
    pub suppression: Option<Suppression>,
    /// The server the alert is about, if one could be made out.
    pub server: Option<ServerMatch>,
    /// When it was first received.
    pub first_seen_at: Timestamp,
    /// When it was last received with anything new beside it; repetitions are counted with the notification.
    pub last_seen_at: Timestamp,
}

/// What keeps Alertmanager from notifying about an alert. While it lasts, Alertmanager sends no resolved either.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Suppression {
    /// Ids of silences.
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts that inhibit it.
    pub inhibited_by: Vec<String>,
}

/// What a report changed about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// It still fires, or is still over: only the time it was last seen.
    SeenAgain,
    /// It fires again after it had been over.
    Refired,
    /// It began anew, and the end in between was never told.
    Flapped,
    /// It is over.
    Resolved,
    /// It is said to fire although its end has been told: an old report, as far as anybody knows.
    Stale,
    /// A stale firing was taken back.
    Settled,
}

impl Member {
    /// Takes a firing alert in.
    pub fn join(alert: Alert, server: Option<ServerMatch>, at: Timestamp) -> Self {
        Self {
            alert,
            generation: 1,
            flaps: 0,
            stale_since: None,
            suppression: None,
            server,
            first_seen_at: at,
            last_seen_at: at,
        }
    }

    /// Whether the alert fires, as far as anybody has said who is to be believed.
    pub fn is_firing(&self) -> bool {
        self.alert.status == AlertStatus::Firing
    }

    /// Takes in what was reported about the same alert later.
    pub fn report(&mut self, alert: Alert, server: Option<ServerMatch>, at: Timestamp) -> MemberChange {
        let begins_anew = alert.began_after(&self.alert);
        self.last_seen_at = at;
        match (self.alert.status, alert.status) {
            (AlertStatus::Firing, AlertStatus::Firing) => {
                if begins_anew {
                    self.generation += 1;
                    self.flaps += 1;
                }
                // nodes of a pair may disagree about the start: it never moves back, or each repetition would be a flap
                let starts_at = self.alert.starts_at.max(alert.starts_at);
                self.replace(Alert { starts_at, ..alert }, server);
                if begins_anew { MemberChange::Flapped } else { MemberChange::SeenAgain }
            }
            // a late report of an older generation's end says nothing about this one
            (AlertStatus::Firing, AlertStatus::Resolved { ended_at }) if ended_at < self.alert.starts_at => {
                MemberChange::SeenAgain
            }
            (AlertStatus::Firing, AlertStatus::Resolved { .. }) => {
                if begins_anew {
                    self.generation += 1;
                    self.flaps += 1;
                }
                self.replace(alert, server);
                MemberChange::Resolved
            }
            (AlertStatus::Resolved { ended_at }, AlertStatus::Firing) => {
                // it began before what has ended was over: this report is older than the end
                if !begins_anew || alert.starts_at < ended_at {
                    self.stale_since.get_or_insert(at);
                    return MemberChange::Stale;
                }
                self.fire_again(alert, server);
                MemberChange::Refired
            }
            (AlertStatus::Resolved { ended_at: known }, AlertStatus::Resolved { ended_at }) => {
                if ended_at > known {
                    self.replace(alert, server);
                }
                if self.stale_since.take().is_some() {
                    MemberChange::Settled
                } else {
                    MemberChange::SeenAgain
                }
            }
        }
    }

    /// Takes in a firing that somebody has confirmed, whatever had been said of its end.
    pub fn confirm(&mut self, alert: Alert, server: Option<ServerMatch>, at: Timestamp) -> MemberChange {
        match self.report(alert.clone(), server.clone(), at) {
            MemberChange::Stale => {
                self.fire_again(alert, server);
                MemberChange::Refired
            }
            change => change,
        }
    }

    fn fire_again(&mut self, alert: Alert, server: Option<ServerMatch>) {
        self.generation += 1;
        self.stale_since = None;
        self.replace(alert, server);
    }

    fn replace(&mut self, alert: Alert, server: Option<ServerMatch>) {
        self.alert = alert;
        self.server = server.or(self.server.take());
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
        use MemberChange::{Flapped, Refired, Resolved, SeenAgain, Stale};
        // (what is known, what is reported, what changed, (generation, flaps) afterwards, whether it fires then)
        let cases = [
            (alert(10, None), alert(10, None), SeenAgain, (1, 0), true),
            (alert(10, None), alert(5, None), SeenAgain, (1, 0), true),
            (alert(10, None), alert(20, None), Flapped, (2, 1), true),
            (alert(10, None), alert(10, Some(15)), Resolved, (1, 0), false),
            (alert(10, None), alert(12, Some(15)), Resolved, (2, 1), false),
            (alert(10, None), alert(1, Some(5)), SeenAgain, (1, 0), true),
            (alert(10, Some(15)), alert(20, None), Refired, (2, 0), true),
            (alert(10, Some(15)), alert(15, None), Refired, (2, 0), true),
            (alert(10, Some(15)), alert(10, None), Stale, (1, 0), false),
            (alert(10, Some(15)), alert(12, None), Stale, (1, 0), false),
            (alert(10, Some(15)), alert(5, None), Stale, (1, 0), false),
            (alert(10, Some(15)), alert(10, Some(15)), SeenAgain, (1, 0), false),
            (alert(10, Some(15)), alert(1, Some(5)), SeenAgain, (1, 0), false),
        ];
        for (known, reported, change, counts, fires) in cases {
            let mut member = Member::join(known.clone(), None, at(0));
            assert_eq!(member.report(reported.clone(), None, at(100)), change, "{known:?} {reported:?}");
            let after = ((member.generation, member.flaps), member.is_firing(), member.last_seen_at);
            assert_eq!(after, (counts, fires, at(100)), "{known:?} {reported:?}");
        }
    }

    #[test]
    fn two_nodes_that_disagree_about_the_start_make_it_flap_once_at_most() {
        let mut member = Member::join(alert(10, None), None, at(0));
        assert_eq!(member.report(alert(20, None), None, at(1)), MemberChange::Flapped);
        for round in 2..6 {
            let starts_at = if round % 2 == 0 { 10 } else { 20 };
            assert_eq!(member.report(alert(starts_at, None), None, at(round)), MemberChange::SeenAgain);
        }
        assert_eq!((member.generation, member.alert.starts_at), (2, at(20)));
    }

    #[test]
    fn a_start_that_was_cut_to_milliseconds_is_the_same() {
        let exact: Timestamp = "2026-11-24T09:00:00.123456Z".parse().unwrap();
        let cut: Timestamp = "2026-11-24T09:00:00.123Z".parse().unwrap();
        for (known, reported) in [(exact, cut), (cut, exact)] {
            let since = |starts_at| Alert { starts_at, ..alert(0, None) };
            let mut member = Member::join(since(known), None, at(0));
            assert_eq!(member.report(since(reported), None, at(1)), MemberChange::SeenAgain);
            assert_eq!((member.flaps, member.alert.starts_at), (0, exact));
        }
    }

    #[test]
    fn a_late_end_of_an_older_generation_does_not_end_this_one() {
        let mut member = Member::join(alert(10, None), None, at(0));
        member.report(alert(1, Some(5)), None, at(100));
        assert!(member.is_firing());
        assert_eq!(member.alert.starts_at, at(10));
    }

    #[test]
    fn a_late_report_of_an_older_end_does_not_move_the_end_back() {
        let mut member = Member::join(alert(20, Some(30)), None, at(0));
        member.report(alert(1, Some(5)), None, at(100));
        assert_eq!(member.alert, alert(20, Some(30)));
    }

    #[test]
    fn a_stale_firing_stands_until_it_is_taken_back() {
        let mut member = Member::join(alert(10, Some(15)), None, at(0));
        member.report(alert(10, None), None, at(100));
        member.report(alert(10, None), None, at(200));
        assert_eq!((member.is_firing(), member.stale_since), (false, Some(at(100))));

        assert_eq!(member.report(alert(10, Some(15)), None, at(300)), MemberChange::Settled);
        assert_eq!(member.report(alert(10, Some(15)), None, at(400)), MemberChange::SeenAgain);
        assert_eq!((member.is_firing(), member.stale_since), (false, None));
    }

    #[test]
    fn a_confirmed_firing_is_believed_whatever_had_been_said_of_its_end() {
        let mut member = Member::join(alert(10, Some(15)), None, at(0));
        assert_eq!(member.confirm(alert(10, None), None, at(100)), MemberChange::Refired);
        assert_eq!((member.is_firing(), member.generation, member.stale_since), (true, 2, None));
        assert_eq!(member.confirm(alert(10, None), None, at(200)), MemberChange::SeenAgain);
    }
}
