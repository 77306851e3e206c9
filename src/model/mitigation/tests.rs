//! Which act leads from which state to which.

use jiff::Timestamp;

use super::*;
use crate::model::journal::VictimState;

#[test]
fn every_name_is_read_as_it_is_written() {
    for state in VictimState::ALL {
        assert_eq!(VictimState::from_name(state.name()), Some(state));
    }
    for outcome in Outcome::ALL {
        assert_eq!(Outcome::from_name(outcome.name()), Some(outcome));
    }
    for reason in StopReason::ALL {
        assert_eq!(StopReason::from_name(reason.name()), Some(reason));
    }
    assert_eq!((VictimState::from_name("cut"), Outcome::from_name("")), (None, None));
}

#[test]
fn every_act_leads_where_it_may_and_nowhere_else() {
    let at = Timestamp::UNIX_EPOCH;
    let planned = MitigationState::Planned;
    let proposed = planned.clone().propose("ann", at).unwrap();
    let approved = proposed.clone().approve("bob", at, at, Some("it leaks")).unwrap();
    let running = approved.clone().start("bob", at).unwrap();
    let verifying = running.clone().complete(at).unwrap();
    let states = [
        planned.clone(),
        planned.clone().refuse(Vec::new(), at).unwrap(),
        proposed.clone(),
        approved,
        proposed.reject("bob", at, "no").unwrap(),
        planned.expire(at, "late").unwrap(),
        running.clone(),
        verifying.clone(),
        verifying.finish(Outcome::Effective, "fewer", at).unwrap(),
        running.stop("bob", at, StopReason::Asked, "enough").unwrap(),
    ];
    assert_eq!(states.each_ref().map(MitigationState::name), MitigationState::NAMES);
    type Act = fn(MitigationState) -> Result<MitigationState, InvalidTransition>;
    let acts: [(&str, Act); 9] = [
        ("propose", |it| it.propose("x", Timestamp::UNIX_EPOCH)),
        ("refuse", |it| it.refuse(Vec::new(), Timestamp::UNIX_EPOCH)),
        ("approve", |it| it.approve("x", Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, None)),
        ("reject", |it| it.reject("x", Timestamp::UNIX_EPOCH, "no")),
        ("expire", |it| it.expire(Timestamp::UNIX_EPOCH, "late")),
        ("execute", |it| it.start("x", Timestamp::UNIX_EPOCH)),
        ("complete", |it| it.complete(Timestamp::UNIX_EPOCH)),
        ("stop", |it| it.stop("x", Timestamp::UNIX_EPOCH, StopReason::Asked, "")),
        ("finish", |it| it.finish(Outcome::Failed, "", Timestamp::UNIX_EPOCH)),
    ];
    let table = states.iter().map(|state| {
        let leads = acts.iter().filter_map(|(act, go)| match go(state.clone()) {
            Ok(next) => Some(format!("{act} -> {}", next.name())),
            Err(error) => {
                assert_eq!(error, InvalidTransition { act, state: state.name() });
                None
            }
        });
        let leads: Vec<_> = leads.collect();
        assert_eq!(leads.is_empty(), state.is_final(), "{}", state.name());
        format!("{}: {}", state.name(), leads.join(", "))
    });
    insta::assert_snapshot!(table.collect::<Vec<_>>().join("\n"), @r"
    planned: propose -> proposed, refuse -> refused, reject -> rejected, expire -> expired
    refused: 
    proposed: refuse -> refused, approve -> approved, reject -> rejected, expire -> expired
    approved: refuse -> refused, reject -> rejected, expire -> expired, execute -> running
    rejected: 
    expired: 
    running: complete -> verifying, stop -> stopped
    verifying: finish -> finished
    finished: 
    stopped: 
    ");
}

#[test]
fn who_approved_and_who_started_stays_known() {
    let at = Timestamp::UNIX_EPOCH;
    let proposed = MitigationState::Planned.propose("ann", at).unwrap();
    assert_eq!((proposed.approved_by(), proposed.begun()), (None, None));
    assert_eq!(proposed.clone().reject("bob", at, "no").unwrap().approved_by(), None);

    let approved = proposed.approve("bob", at, at, Some("it leaks")).unwrap();
    let given_up = [
        approved.clone().refuse(Vec::new(), at).unwrap(),
        approved.clone().reject("ann", at, "no").unwrap(),
        approved.clone().expire(at, "late").unwrap(),
    ];
    for state in given_up {
        assert_eq!((state.approved_by(), state.begun()), (Some("bob"), None), "{}", state.name());
    }
    let running = approved.clone().start("carl", at).unwrap();
    let verifying = running.clone().complete(at).unwrap();
    let begun = [
        running.clone(),
        verifying.clone(),
        verifying.finish(Outcome::Effective, "fewer", at).unwrap(),
        running.stop("ann", at, StopReason::Asked, "enough").unwrap(),
    ];
    for state in begun {
        let started = state.begun().map(|begun| (begun.started_by.as_str(), begun.started_at));
        let known = (state.approved_by(), state.approval(), started);
        assert_eq!(known, (Some("bob"), Some("it leaks"), Some(("carl", at))), "{}", state.name());
    }
}

#[test]
fn who_let_it_begin_is_written_beside_what_the_state_says() {
    let at = Timestamp::UNIX_EPOCH;
    let approved = MitigationState::Planned.propose("ann", at).unwrap().approve("bob", at, at, None).unwrap();
    let stopped = approved.start("carl", at).unwrap().stop("ann", at, StopReason::Asked, "enough").unwrap();
    let written = serde_json::to_string(&stopped).unwrap();
    insta::assert_snapshot!(
        written.replace(",\"", ",\n\""),
        @r#"
    {"state":"stopped",
    "approved_by":"bob",
    "started_by":"carl",
    "started_at":"1970-01-01T00:00:00Z",
    "stopped_at":"1970-01-01T00:00:00Z",
    "stopped_by":"ann",
    "stop":"asked",
    "stop_text":"enough"}
    "#
    );
    assert_eq!(serde_json::from_str::<MitigationState>(&written).unwrap(), stopped);
}
