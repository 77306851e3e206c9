//! What all Alertmanagers say at one time, put together.
//!
//! An alert fires if one node lists it: nodes do not share alerts. That none lists it proves something only if every node
//! answered, and none of them has just started: an Alertmanager begins with an empty list.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::alertmanager::api::{AlertmanagerStatus, ClusterStatus, ListedAlert, ListedState};
use crate::model::alert::Alert;
use crate::model::labels::Fingerprint;
use crate::model::member::Suppression;
use crate::model::printable;

/// How long an Alertmanager must have been up until what it does not list counts. Prometheus tells it everything within
/// a minute.
const GROWN_UP: SignedDuration = SignedDuration::from_mins(5);

/// What one node said.
#[derive(Debug)]
pub(in crate::engine) struct Answer {
    /// Where it is.
    pub(in crate::engine) url: Url,
    /// How it is and what it lists, or what went wrong.
    pub(in crate::engine) said: Result<(AlertmanagerStatus, Vec<ListedAlert>), String>,
}

/// What all nodes say.
#[derive(Debug)]
pub(in crate::engine) struct Census {
    /// The alerts that fire.
    pub(in crate::engine) listed: BTreeMap<Fingerprint, Listed>,
    /// What went wrong with nodes that gave no answer.
    pub(in crate::engine) errors: Vec<String>,
    /// Why an alert that is not listed may fire nevertheless; empty if it cannot.
    pub(in crate::engine) doubts: Vec<String>,
    /// Whom was asked, and how they are, for people.
    pub(in crate::engine) asked: String,
}

/// An alert that fires.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) struct Listed {
    pub(in crate::engine) alert: Alert,
    /// Whether a node sends notifications about it.
    pub(in crate::engine) is_active: bool,
    /// Who keeps it quiet, where all nodes that list it do.
    pub(in crate::engine) suppression: Suppression,
    /// Where it is sent to.
    pub(in crate::engine) receivers: BTreeSet<String>,
    /// When a node last heard of it.
    pub(in crate::engine) updated_at: Timestamp,
}

impl Census {
    /// Puts the answers together that were given at `now`.
    pub(in crate::engine) fn of(answers: Vec<Answer>, now: Timestamp) -> Self {
        let mut census =
            Self { listed: BTreeMap::new(), errors: Vec::new(), doubts: Vec::new(), asked: String::new() };
        let mut asked = Vec::new();
        for Answer { url, said } in answers {
            let shown = shown(&url);
            match said {
                Ok((status, alerts)) => {
                    asked.push(format!("{shown} (up {})", age(status.started_at, now)));
                    census.doubts.extend(doubt(&shown, &status, now));
                    alerts.into_iter().for_each(|listed| census.add(listed));
                }
                Err(error) => {
                    asked.push(format!("{shown} (no answer)"));
                    census.doubts.push(error.clone());
                    census.errors.push(error);
                }
            }
        }
        census.asked = asked.join(", ");
        census
    }

    /// Whether every node that could know of an alert has said what it knows: one lists it, or none may still have to hear
    /// of it.
    pub(in crate::engine) fn tells_of(&self, alert: &Fingerprint) -> bool {
        self.doubts.is_empty() || self.listed.contains_key(alert)
    }

    fn add(&mut self, listed: ListedAlert) {
        let is_active = listed.state == ListedState::Active;
        let suppression = Suppression { silenced_by: listed.silenced_by, inhibited_by: listed.inhibited_by };
        let new = Listed {
            alert: listed.alert,
            is_active,
            suppression,
            receivers: listed.receivers.into_iter().collect(),
            updated_at: listed.updated_at,
        };
        match self.listed.get_mut(&new.alert.fingerprint) {
            None => {
                self.listed.insert(new.alert.fingerprint.clone(), new);
            }
            Some(known) => known.merge(new),
        }
    }
}

impl Listed {
    /// Takes in what another node says of the same alert.
    fn merge(&mut self, other: Self) {
        self.is_active |= other.is_active;
        if self.is_active {
            self.suppression = Suppression::default();
        } else {
            add_ids(&mut self.suppression.silenced_by, other.suppression.silenced_by);
            add_ids(&mut self.suppression.inhibited_by, other.suppression.inhibited_by);
        }
        self.receivers.extend(other.receivers);
        self.updated_at = self.updated_at.max(other.updated_at);
        // a node that heard of it later knows a newer start
        if other.alert.starts_at > self.alert.starts_at {
            self.alert = other.alert;
        }
    }
}

fn add_ids(known: &mut Vec<String>, more: Vec<String>) {
    for id in more {
        if !known.contains(&id) {
            known.push(id);
        }
    }
    known.sort_unstable();
}

/// Why what a node does not list may fire nevertheless.
fn doubt(shown: &str, status: &AlertmanagerStatus, now: Timestamp) -> Option<String> {
    // by a clock that was set back it may not have started yet
    let up = now.duration_since(status.started_at);
    if up < GROWN_UP {
        let age = age(status.started_at, now);
        Some(format!("{shown} is up for {age} only: it may not have heard of all alerts yet"))
    } else if status.cluster == ClusterStatus::Settling {
        Some(format!("{shown} is still finding its peers"))
    } else {
        None
    }
}

/// How long ago something was; never less than nothing.
fn age(then: Timestamp, now: Timestamp) -> String {
    printable::age(Some(then), now)
}

/// An address, for people.
pub(in crate::engine) fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alert::AlertStatus;
    use crate::model::labels::Labels;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    fn listed(name: &str, state: ListedState, silences: &[&str]) -> ListedAlert {
        let labels: Labels = [("alertname", name)].into_iter().collect();
        ListedAlert {
            alert: Alert {
                fingerprint: labels.fingerprint(),
                labels,
                annotations: Labels::default(),
                status: AlertStatus::Firing,
                starts_at: at(0),
                generator_url: String::new(),
                value: None,
            },
            state,
            silenced_by: silences.iter().map(|id| (*id).to_owned()).collect(),
            inhibited_by: Vec::new(),
            receivers: Vec::new(),
            updated_at: at(1),
        }
    }

    fn node(name: &str, started: i64, cluster: ClusterStatus, alerts: Vec<ListedAlert>) -> Answer {
        let status = AlertmanagerStatus { version: "0.33.1".to_owned(), started_at: at(started), cluster };
        Answer { url: format!("http://{name}:9093").parse().unwrap(), said: Ok((status, alerts)) }
    }

    #[test]
    fn what_is_not_listed_counts_only_if_all_nodes_are_there_and_grown_up() {
        use ClusterStatus::{Disabled, Ready, Settling};
        let silent = || Answer { url: "http://b:9093".parse().unwrap(), said: Err("GET b: no".to_owned()) };
        // (the nodes, the doubts at minute 60)
        let cases: Vec<(Vec<Answer>, &[&str])> = vec![
            (vec![node("a", 0, Disabled, vec![])], &[]),
            (vec![node("a", 0, Ready, vec![]), node("b", 55, Ready, vec![])], &[]),
            (
                vec![node("a", 0, Ready, vec![]), node("b", 56, Ready, vec![])],
                &["http://b:9093 is up for 4m only: it may not have heard of all alerts yet"],
            ),
            // our clock was set back, or its was ahead
            (
                vec![node("a", 9000, Ready, vec![])],
                &["http://a:9093 is up for 0s only: it may not have heard of all alerts yet"],
            ),
            (vec![node("a", 0, Settling, vec![])], &["http://a:9093 is still finding its peers"]),
            (vec![node("a", 0, Ready, vec![]), silent()], &["GET b: no"]),
        ];
        for (answers, doubts) in cases {
            let census = Census::of(answers, at(60));
            assert_eq!(census.doubts, doubts, "{}", census.asked);
        }
    }

    #[test]
    fn nothing_is_told_of_an_alert_that_a_node_may_not_have_heard_of_yet() {
        let (heard, unheard) = (listed("A", ListedState::Active, &[]), listed("B", ListedState::Active, &[]));
        let told = |started| {
            let census =
                Census::of(vec![node("a", started, ClusterStatus::Ready, vec![heard.clone()])], at(60));
            [&heard, &unheard].map(|listed| census.tells_of(&listed.alert.fingerprint))
        };
        assert_eq!(told(0), [true, true]);
        assert_eq!(told(58), [true, false], "it has just started: its list was empty a moment ago");
    }

    #[test]
    fn an_alert_fires_if_one_node_lists_it_and_is_quiet_if_all_that_do_are() {
        use ListedState::{Active, Suppressed, Unprocessed};
        let of = |answers: [Vec<ListedAlert>; 2]| {
            let [first, second] = answers.map(|alerts| node("a", 0, ClusterStatus::Ready, alerts));
            Census::of(vec![first, second], at(60)).listed.into_values().next().unwrap()
        };
        let quiet =
            of([vec![listed("A", Suppressed, &["s2"])], vec![listed("A", Suppressed, &["s1", "s2"])]]);
        assert_eq!(
            (quiet.is_active, quiet.suppression.silenced_by),
            (false, vec!["s1".to_owned(), "s2".to_owned()])
        );
        for other in [Active, Suppressed, Unprocessed] {
            let one = of([vec![listed("A", Active, &[])], vec![listed("A", other, &["s1"])]]);
            let turned = of([vec![listed("A", other, &["s1"])], vec![listed("A", Active, &[])]]);
            assert!(one.is_active && turned.is_active);
            assert_eq!((one.suppression, turned.suppression), Default::default());
        }
        assert!(!of([vec![], vec![listed("A", Unprocessed, &[])]]).is_active);
    }
}
