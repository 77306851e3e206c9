//! Stopping: what must not happen between two batches.

use std::collections::BTreeMap;

use crate::mitigate::guards::pause::describe;
use crate::mitigate::guards::{LiveCount, PauseFacts, ProblemFacts, percent};
use crate::model::guard::GuardSettings;
use crate::model::mitigation::StopReason;
use crate::model::printable::{excerpt, with_commas};
use crate::model::threshold::Verdict;
use crate::model::vitals::{Churn, ServerVitals};

/// As many connections that end beside those that were cut prove nothing.
const FEW_ENDED: f64 = 10.0;

/// So many times the usual number of connections that end, and more, is unusual.
const UNUSUAL: f64 = 3.0;

/// What is seen of a run while it goes on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watch {
    /// Each expected server, by its name.
    pub servers: BTreeMap<String, WatchedServer>,
    /// The incident, where the mitigation has one.
    pub problem: Option<ProblemFacts>,
    /// Who has paused mitigations.
    pub pauses: Vec<PauseFacts>,
    /// Requests sent since the run began.
    pub sent: u64,
    /// Those of them that a server refused or did not answer.
    pub errors: u64,
}

/// What is seen of a server during a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WatchedServer {
    /// What it is called.
    pub name: String,
    /// What it says of itself; `None` if it did not answer.
    pub vitals: Option<ServerVitals>,
    /// How many connections end on it within a minute when nothing is cut; known before the first batch only. `None` where
    /// it is not known: then connections that end are not judged.
    pub usual_closed_per_minute: Option<f64>,
    /// Connections on it that this run has cut or asked to leave, or found gone.
    pub cut: u64,
}

/// Says why a run must not go on, if it must not: from what was seen before its first batch and what is seen now.
pub fn stop(before: &Watch, now: &Watch, settings: &GuardSettings) -> Option<(StopReason, String)> {
    paused(now)
        .or_else(|| over(now))
        .or_else(|| errors(now, settings))
        .or_else(|| worse(before, now).map(|why| (StopReason::Worse, why)))
}

fn paused(now: &Watch) -> Option<(StopReason, String)> {
    Some((StopReason::Paused, format!("mitigations are paused: {}", describe(&now.pauses)?)))
}

fn over(now: &Watch) -> Option<(StopReason, String)> {
    let problem = now.problem?;
    let why = match problem.count {
        _ if !problem.is_unresolved => "the incident is resolved".to_owned(),
        LiveCount::Compared { connections, threshold, verdict: Verdict::Below } => {
            let (counted, threshold) = (with_commas(connections), threshold.connections);
            format!("there are {counted} connections, clearly below the threshold of {threshold}")
        }
        LiveCount::Compared { .. } | LiveCount::ThresholdUnknown | LiveCount::NotCounted => return None,
    };
    Some((StopReason::ProblemIsOver, why))
}

fn errors(now: &Watch, settings: &GuardSettings) -> Option<(StopReason, String)> {
    let (sent, errors) = (now.sent, now.errors);
    if errors == 0 {
        return None;
    }
    let share = errors as f64 * 100.0 / sent.max(errors) as f64;
    let (failed, all) = (with_commas(errors), with_commas(sent));
    let most = if errors >= u64::from(settings.stop_errors) {
        with_commas(settings.stop_errors.into())
    } else if share >= settings.stop_errors_percent {
        percent(settings.stop_errors_percent)
    } else {
        return None;
    };
    Some((StopReason::Errors, format!("{failed} of {all} requests failed: at {most} a run is stopped")))
}

/// What got worse on a server since the run began, if anything did.
fn worse(before: &Watch, now: &Watch) -> Option<String> {
    before.servers.iter().find_map(|(id, then)| {
        let name = excerpt(&then.name);
        // one that was silent already has not got worse
        let earlier = then.vitals.as_ref()?;
        let Some(server) = now.servers.get(id) else {
            return Some(format!("server `{name}` is no longer there"));
        };
        let Some(vitals) = &server.vitals else {
            return Some(format!("server `{name}` does not answer any more"));
        };
        if vitals.started_at != earlier.started_at {
            return Some(format!("server `{name}` was started anew"));
        }
        slow_consumers(&name, earlier, vitals).or_else(|| strangers_ended(&name, then, server))
    })
}

fn slow_consumers(name: &str, earlier: &ServerVitals, vitals: &ServerVitals) -> Option<String> {
    let (were, are) = (earlier.slow_consumers?, vitals.slow_consumers?);
    let risen = are.checked_sub(were).filter(|risen| *risen > 0)?;
    let (risen, were, are) = (with_commas(risen), with_commas(were), with_commas(are));
    Some(format!("server `{name}` has {risen} more slow consumers: {were}, and now {are}"))
}

/// Counts the connections that ended beside those that were cut: refused ones are among them, and so are clients that
/// cannot stay. Each that was cut may fail once before it is back.
fn strangers_ended(name: &str, then: &WatchedServer, server: &WatchedServer) -> Option<String> {
    let usual = then.usual_closed_per_minute?;
    let churn = Churn::between(name, then.vitals.as_ref()?, server.vitals.as_ref()?)?;
    let cut = server.cut.saturating_sub(then.cut);
    let ended = churn.closed.saturating_sub(cut);
    let expected = usual.max(0.0) * churn.duration().as_secs_f64() / 60.0;
    if ended as f64 <= FEW_ENDED + cut as f64 + UNUSUAL * expected {
        return None;
    }
    let (ended, cut) = (with_commas(ended), with_commas(cut));
    let expected = with_commas(expected.round() as u64);
    Some(format!(
        "on server `{name}` {ended} connections ended or were refused beside the {cut} that were cut; usual are {expected}"
    ))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::threshold::Threshold;

    fn vitals(second: i64, connections: u64, attempts: u64, slow_consumers: u64) -> Option<ServerVitals> {
        Some(ServerVitals {
            at: Some(Timestamp::from_second(second).unwrap()),
            started_at: Some(Timestamp::UNIX_EPOCH),
            connections,
            total_connections: Some(attempts),
            slow_consumers: Some(slow_consumers),
            ..ServerVitals::default()
        })
    }

    fn server(vitals: Option<ServerVitals>, cut: u64) -> WatchedServer {
        WatchedServer { name: "n1".to_owned(), vitals, usual_closed_per_minute: Some(60.0), cut }
    }

    fn before() -> Watch {
        let servers = BTreeMap::from([("NA".to_owned(), server(vitals(1_000, 500, 9_000, 4), 0))]);
        Watch { servers, ..Watch::default() }
    }

    fn after_a_minute(vitals: Option<ServerVitals>, cut: u64) -> Watch {
        Watch {
            servers: BTreeMap::from([("NA".to_owned(), server(vitals, cut))]),
            sent: cut,
            ..Watch::default()
        }
    }

    fn ask(now: &Watch) -> Option<(StopReason, String)> {
        stop(&before(), now, &GuardSettings::default())
    }

    #[test]
    fn a_run_that_does_only_what_it_should_goes_on() {
        assert_eq!(ask(&before()), None);
        // 30 were cut, 20 came back, 60 came and went as ever
        assert_eq!(ask(&after_a_minute(vitals(1_060, 490, 9_080, 4), 30)), None);
    }

    #[test]
    fn more_slow_consumers_stop_it() {
        let (reason, text) = ask(&after_a_minute(vitals(1_060, 490, 9_020, 5), 30)).unwrap();
        assert_eq!(reason, StopReason::Worse);
        assert_eq!(text, "server `n1` has 1 more slow consumers: 4, and now 5");
    }

    #[test]
    fn connections_that_end_beside_those_that_were_cut_stop_it() {
        // 490 are left of 500: of so many attempts ten less than have ended. 30 were cut, 10 + 30 + 3 * 60 are let pass
        let at = |attempts: u64| ask(&after_a_minute(vitals(1_060, 490, 9_000 + attempts, 4), 30));
        assert_eq!(at(240), None);
        let (reason, text) = at(241).unwrap();
        assert_eq!(reason, StopReason::Worse);
        assert_eq!(
            text,
            "on server `n1` 221 connections ended or were refused beside the 30 that were cut; usual are 60"
        );
        let mut unknown = after_a_minute(vitals(1_060, 490, 90_000, 4), 30);
        let mut before = before();
        for watch in [&mut before, &mut unknown] {
            watch.servers.get_mut("NA").unwrap().usual_closed_per_minute = None;
        }
        assert_eq!(stop(&before, &unknown, &GuardSettings::default()), None, "nothing is taken for usual");
    }

    #[test]
    fn a_server_that_is_silent_gone_or_anew_stops_it() {
        let silent = ask(&after_a_minute(None, 30)).unwrap();
        assert_eq!(silent, (StopReason::Worse, "server `n1` does not answer any more".to_owned()));
        let gone = ask(&Watch::default()).unwrap();
        assert_eq!(gone, (StopReason::Worse, "server `n1` is no longer there".to_owned()));
        let mut anew = vitals(1_060, 3, 3, 0).unwrap();
        anew.started_at = Some(Timestamp::from_second(1_050).unwrap());
        let anew = ask(&after_a_minute(Some(anew), 30)).unwrap();
        assert_eq!(anew, (StopReason::Worse, "server `n1` was started anew".to_owned()));
        let silent_before =
            Watch { servers: BTreeMap::from([("NA".to_owned(), server(None, 0))]), ..Watch::default() };
        assert_eq!(stop(&silent_before, &silent_before, &GuardSettings::default()), None);
    }

    #[test]
    fn the_end_of_the_problem_stops_it() {
        let watch =
            |is_unresolved, count| Watch { problem: Some(ProblemFacts { is_unresolved, count }), ..before() };
        let counted = |connections, verdict| LiveCount::Compared {
            connections,
            threshold: Threshold { connections: 1000.0 },
            verdict,
        };
        assert_eq!(ask(&watch(true, counted(1_001, Verdict::Above))), None);
        assert_eq!(ask(&watch(true, counted(1_000, Verdict::Near))), None, "it might be back at once");
        assert_eq!(ask(&watch(true, LiveCount::ThresholdUnknown)), None);
        assert_eq!(ask(&watch(true, LiveCount::NotCounted)), None);
        let (reason, text) = ask(&watch(true, counted(949, Verdict::Below))).unwrap();
        assert_eq!(reason, StopReason::ProblemIsOver);
        assert_eq!(text, "there are 949 connections, clearly below the threshold of 1000");
        let (reason, text) = ask(&watch(false, counted(1_001, Verdict::Above))).unwrap();
        assert_eq!((reason, text.as_str()), (StopReason::ProblemIsOver, "the incident is resolved"));
    }

    #[test]
    fn a_pause_stops_it() {
        let pause =
            PauseFacts { name: "fair".to_owned(), reason: "no acts".to_owned(), by: "ann".to_owned() };
        let (reason, text) = ask(&Watch { pauses: vec![pause], ..before() }).unwrap();
        assert_eq!(reason, StopReason::Paused);
        assert_eq!(text, "mitigations are paused: `fair` by ann, no acts");
    }

    #[test]
    fn three_errors_or_a_fifth_of_those_sent_stop_it() {
        let ask = |sent, errors| {
            ask(&Watch { sent, errors, ..before() }).map(|(reason, text)| (reason.name(), text))
        };
        for (sent, errors) in [(0, 0), (10, 0), (10, 1), (6, 1), (50, 2)] {
            assert_eq!(ask(sent, errors), None, "{errors} of {sent}");
        }
        let three = "3 of 50 requests failed: at 3 a run is stopped".to_owned();
        assert_eq!(ask(50, 3), Some(("errors", three)));
        let fifth = "2 of 10 requests failed: at 20 % a run is stopped".to_owned();
        assert_eq!(ask(10, 2), Some(("errors", fifth)));
        assert!(ask(5, 1).is_some());
    }

    #[test]
    fn what_somebody_wants_is_said_before_what_went_wrong() {
        let pause = PauseFacts { name: "fair".to_owned(), reason: String::new(), by: String::new() };
        let problem = Some(ProblemFacts { is_unresolved: false, count: LiveCount::NotCounted });
        let mut watch = Watch { pauses: vec![pause], problem, sent: 9, errors: 9, ..Watch::default() };
        let mut reasons = Vec::new();
        reasons.extend(ask(&watch).map(|(reason, _)| reason));
        watch.pauses.clear();
        reasons.extend(ask(&watch).map(|(reason, _)| reason));
        watch.problem = None;
        reasons.extend(ask(&watch).map(|(reason, _)| reason));
        watch.errors = 0;
        reasons.extend(ask(&watch).map(|(reason, _)| reason));
        let expected = [StopReason::Paused, StopReason::ProblemIsOver, StopReason::Errors, StopReason::Worse];
        assert_eq!(reasons, expected);
    }
}
