//! What is counted of closed connections.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::application::ApplicationRules;
use crate::nats::connz::ConnzReader;
use crate::observe::users::UserMask;

fn tally() -> ClosedTally {
    let rules = TallyRules {
        by: Vec::new(),
        // names as they are: what is stripped is not the subject here
        applications: Arc::new(ApplicationRules::new([], [])),
        users: UserMask::new(&[7; 32]),
        idle_after_us: 0,
        starts: None,
        hashing: RandomState::new(),
    };
    ClosedTally::new(&rules, 0)
}

fn read(page: &str) -> ClosedTally {
    let (mut tally, mut reader) = (tally(), ConnzReader::default());
    let mut each = |envelope: &Envelope, connection: &Connection<'_>| tally.add(envelope, connection);
    reader.feed(page.as_bytes(), &mut each).unwrap();
    reader.finish(&mut each).unwrap();
    tally
}

/// One that ended at `stop` after `lifetime_us`, both in microseconds since 1970.
fn ended(name: &str, reason: &str, stop_us: i64, lifetime_us: i64) -> Connection<'static> {
    let instant = |us| Timestamp::from_microsecond(us).unwrap().to_string();
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty()).map(Cow::Owned);
    Connection {
        name: text(name),
        reason: text(reason),
        start: text(&instant(stop_us - lifetime_us)),
        stop: text(&instant(stop_us)),
        ..Connection::default()
    }
}

fn envelope(now_us: i64) -> Envelope {
    Envelope { now: Some(Timestamp::from_microsecond(now_us).unwrap().to_string()), ..Envelope::default() }
}

#[test]
fn captured_reasons_are_told_apart_in_old_versions_and_new() {
    let old = read(include_str!("../../../tests/fixtures/nats/2.9.10/connz-closed-reasons.json"));
    let new = read(include_str!("../../../tests/fixtures/nats/2.15.1/connz-closed-reasons.json"));
    let told = |tally: ClosedTally| {
        let ring = tally.ring("n1", None);
        tally.into_closed(vec![ring], Vec::new())
    };
    let (old, new) = (told(old), told(new));
    assert_eq!((old.closed, old.refused, new.closed, new.refused), (10, 3, 10, 3));
    assert_eq!((old.accounts.len(), old.applications.len()), (2, 9));
    insta::assert_json_snapshot!(
        serde_json::json!({
            "servers": new.servers, "reasons": new.reasons, "accounts": new.accounts, "per_minute": new.per_minute,
            "applications": new.applications[..2],
        }), @r#"
    {
      "accounts": [
        {
          "closed": 7,
          "key": "APP",
          "median_lifetime_s": 0.147,
          "refused": 0,
          "short_lived": 7,
          "top_reason": "Stale Connection"
        },
        {
          "absent": true,
          "closed": 3,
          "key": "(no account)",
          "median_lifetime_s": null,
          "refused": 3,
          "short_lived": 0,
          "top_reason": "Authentication Failure"
        }
      ],
      "applications": [
        {
          "absent": true,
          "closed": 2,
          "key": "(unnamed)",
          "median_lifetime_s": null,
          "refused": 2,
          "short_lived": 0,
          "top_reason": "Authentication Failure"
        },
        {
          "closed": 1,
          "key": "badauth",
          "median_lifetime_s": null,
          "refused": 1,
          "short_lived": 0,
          "top_reason": "Authentication Failure"
        }
      ],
      "per_minute": [
        {
          "at": "2026-11-23T08:32:00Z",
          "closed": 8,
          "refused": 3
        },
        {
          "at": "2026-11-23T08:33:00Z",
          "closed": 2,
          "refused": 0
        }
      ],
      "reasons": [
        {
          "connections": 3,
          "reason": "Stale Connection",
          "refused": false
        },
        {
          "connections": 2,
          "reason": "Authentication Failure",
          "refused": true
        },
        {
          "connections": 1,
          "reason": "Authentication Timeout",
          "refused": true
        },
        {
          "connections": 1,
          "reason": "Maximum Message Payload Exceeded",
          "refused": false
        },
        {
          "connections": 1,
          "reason": "Protocol Violation",
          "refused": false
        },
        {
          "connections": 1,
          "reason": "Read Error",
          "refused": false
        },
        {
          "connections": 1,
          "reason": "Slow Consumer (Pending Bytes)",
          "refused": false
        }
      ],
      "servers": [
        {
          "at": "2026-11-23T08:33:01.589844Z",
          "full": false,
          "listed": 10,
          "reaches_back_to": "2026-11-23T08:32:53.627588Z",
          "server": "n1"
        }
      ]
    }
    "#);
}

#[test]
fn a_refused_storm_is_named_by_its_address() {
    let page = include_str!("../../../tests/fixtures/nats/2.15.1/connz-closed-max-connections.json");
    let closed = read(page).into_closed(Vec::new(), Vec::new());
    assert_eq!((closed.closed, closed.refused), (3, 3));
    assert_eq!(closed.reasons.len(), 1);
    assert_eq!((closed.ips[0].key.as_str(), closed.ips[0].refused), ("127.0.0.1", 3));
    assert_eq!(closed.ips[0].median_lifetime_s, None);
}

#[test]
fn one_that_has_not_ended_is_not_counted() {
    let page = include_str!("../../../tests/fixtures/nats/2.15.1/connz-open-auth.json");
    let tally = read(page);
    let ring = tally.ring("n1", None);
    assert_eq!((ring.listed, ring.reaches_back_to, ring.full), (0, None, false));
    assert_eq!(ring.at.to_string(), "2026-11-23T08:28:35.255132Z");
    assert_eq!(tally.into_closed(Vec::new(), Vec::new()).closed, 0);
}

#[test]
fn of_more_groups_than_are_told_the_largest_are_told() {
    let mut tally = tally();
    let mut add = |name: &str, reason: &str| tally.add(&envelope(0), &ended(name, reason, 0, 1_000_000));
    for serial in 0..20_000_u32 {
        add(&format!("client {serial:x} of nobody"), &format!("reason {serial}"));
        if serial % 10 == 0 {
            add("leaky", "Read Error");
        }
    }
    let closed = tally.into_closed(Vec::new(), Vec::new());
    assert_eq!((closed.applications.len(), closed.applications[0].key.as_str()), (GROUPS_TOLD, "leaky"));
    assert_eq!(
        (closed.applications[0].closed, closed.applications[0].top_reason.as_str()),
        (2_000, "Read Error")
    );
    assert!(closed.reasons.len() <= REASONS + 2);
    assert_eq!(closed.reasons.iter().map(|reason| reason.connections).sum::<u64>(), closed.closed);
    assert_eq!(closed.reasons[0].reason, OTHER_REASON);
}

#[test]
fn minutes_are_the_last_ones_whatever_comes_first() {
    let mut tally = tally();
    let now = 1_000 * MINUTE_US;
    // newest first, and one in a future that a wrong clock may dream of
    for minute in (0..=1_000).rev().chain([100_000]) {
        tally.add(&envelope(now), &ended("a", "Client Closed", minute * MINUTE_US, 0));
    }
    let closed = tally.into_closed(Vec::new(), Vec::new());
    assert_eq!(closed.closed, 1_002);
    assert_eq!(closed.per_minute.len(), MINUTES);
    let (first, last) = (&closed.per_minute[0], &closed.per_minute[MINUTES - 1]);
    assert_eq!(first.at, Timestamp::from_microsecond(881 * MINUTE_US).unwrap());
    assert_eq!((last.at, last.closed), (Timestamp::from_microsecond(now).unwrap(), 1));
}

#[test]
fn two_servers_add_up_even_if_they_met_their_reasons_in_another_order() {
    let (mut one, mut two) = (tally(), tally());
    one.add(&envelope(0), &ended("a", "Read Error", 0, 2_000_000));
    two.add(&envelope(0), &ended("b", "Authentication Failure", 0, 0));
    two.add(&envelope(0), &ended("a", "Client Closed", 0, 20_000_000));
    two.add(&envelope(0), &ended("a", "Client Closed", 0, 20_000_000));
    one.absorb(two);
    let closed = one.into_closed(Vec::new(), Vec::new());
    assert_eq!((closed.closed, closed.refused), (4, 1));
    let a = &closed.applications[0];
    assert_eq!(
        (a.key.as_str(), a.closed, a.short_lived, a.top_reason.as_str()),
        ("a", 3, 1, "Client Closed")
    );
    assert_eq!(a.median_lifetime_s, Some(20.0));
    let b = &closed.applications[1];
    assert_eq!((b.refused, b.short_lived, b.median_lifetime_s), (1, 0, None));
    assert_eq!(b.top_reason, "Authentication Failure");
}

#[test]
fn a_ring_is_full_if_more_have_ended_than_it_lists() {
    let mut tally = tally();
    (0..50).for_each(|_| tally.add(&envelope(0), &ended("a", "Client Closed", 0, 0)));
    let vitals = |total_connections| ServerVitals {
        connections: 10,
        total_connections: Some(total_connections),
        ..ServerVitals::default()
    };
    assert!(!tally.ring("n1", None).full);
    assert!(!tally.ring("n1", Some(&vitals(60))).full);
    assert!(!tally.ring("n1", Some(&vitals(75))).full, "some ended since");
    assert!(tally.ring("n1", Some(&vitals(1_000))).full);
}

proptest! {
    #[test]
    fn a_lifetime_fits_into_its_step_and_not_into_the_one_before(us in 0..=i64::MAX) {
        let step = step_of(us);
        prop_assert!(us <= top_of_step(step));
        prop_assert!(step == 0 || us > top_of_step(step - 1));
        prop_assert!(top_of_step(step) as f64 <= us as f64 * 1.126);
    }
}
