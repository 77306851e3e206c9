//! The life of incidents under anything a sender can do: notifications in any order, late, repeated, with restarts in
//! between, against a reference model of the rules in docs/incidents.md.
//!
//! The alert is one that NATS can say nothing about, so everything depends on what is reported and on time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::payload::notification;
use crate::harness::test_app::{START, TestApp};

const NAME: &str = "NatsSlowConsumers";
const ALERTS: usize = 2;
const REOPEN_WINDOW: SignedDuration = SignedDuration::from_mins(15);
const STALE_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// An alert begins to fire, unless it does.
    Begin(usize),
    /// An alert ends, if it fires.
    End(usize),
    /// A notification of some alerts, as they are now, is delivered.
    Send(Vec<usize>),
    /// One is made and delivered only later.
    Hold(Vec<usize>),
    /// One that was held is delivered.
    Release(usize),
    /// One that was delivered is delivered again.
    Repeat(usize),
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let some = || proptest::sample::subsequence((0..ALERTS).collect::<Vec<_>>(), 1..=ALERTS);
    prop_oneof![
        4 => (0..ALERTS).prop_map(Step::Begin),
        4 => (0..ALERTS).prop_map(Step::End),
        8 => some().prop_map(Step::Send),
        3 => some().prop_map(Step::Hold),
        3 => (0..8_usize).prop_map(Step::Release),
        3 => (0..8_usize).prop_map(Step::Repeat),
        4 => (1..120_u64).prop_map(Step::Wait),
        2 => (500..1200_u64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// When an alert last began, and whether and when that ended.
type Report = (Timestamp, Option<Timestamp>);

/// What a notification says: of each alert that is in it.
type Said = BTreeMap<usize, Report>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    begun: Timestamp,
    ended: Option<Timestamp>,
    stale_since: Option<Timestamp>,
    generation: u64,
    flaps: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Incident {
    resolved_at: Option<Timestamp>,
    reopened: u64,
    members: BTreeMap<usize, Member>,
}

/// The rules, as simple as they can be told.
#[derive(Debug, Default)]
struct Model {
    incidents: Vec<Incident>,
    /// How often each content was delivered.
    seen: BTreeMap<Said, u64>,
}

impl Model {
    fn deliver(&mut self, said: &Said, now: Timestamp) {
        *self.seen.entry(said.clone()).or_default() += 1;
        self.take_in(said, now, false);
    }

    fn take_in(&mut self, said: &Said, now: Timestamp, believed: bool) {
        let begins = |incident: &Incident| {
            said.iter().any(|(alert, (begun, ended))| {
                ended.is_none()
                    && incident.members.get(alert).is_none_or(|member| match member.ended {
                        None => *begun > member.begun,
                        Some(end) => believed || (*begun > member.begun && *begun >= end),
                    })
            })
        };
        let open_another = match self.incidents.last() {
            None => said.values().any(|(_, ended)| ended.is_none()),
            Some(last) => {
                last.resolved_at.is_some_and(|at| now.duration_since(at) > REOPEN_WINDOW && begins(last))
            }
        };
        if open_another {
            self.incidents.push(Incident::default());
        }
        let Some(incident) = self.incidents.last_mut() else { return };
        let news = begins(incident);
        let mut any_ended = false;
        for (alert, (begun, ended)) in said {
            let Some(member) = incident.members.get_mut(alert) else {
                if ended.is_none() {
                    let member =
                        Member { begun: *begun, ended: None, stale_since: None, generation: 1, flaps: 0 };
                    incident.members.insert(*alert, member);
                }
                continue;
            };
            let newer = *begun > member.begun;
            match (member.ended, *ended) {
                (None, None) if newer => {
                    (member.begun, member.generation, member.flaps) =
                        (*begun, member.generation + 1, member.flaps + 1);
                }
                (None, Some(end)) if end >= member.begun => {
                    if newer {
                        (member.generation, member.flaps) = (member.generation + 1, member.flaps + 1);
                    }
                    (member.begun, member.ended) = (*begun, Some(end));
                    any_ended = true;
                }
                (Some(end), None) if believed || (newer && *begun >= end) => {
                    member.generation += 1;
                    (member.begun, member.ended, member.stale_since) = (*begun, None, None);
                }
                (Some(_), None) => member.stale_since = member.stale_since.or(Some(now)),
                (Some(known), Some(end)) => {
                    member.stale_since = None;
                    if end > known {
                        (member.begun, member.ended) = (*begun, Some(end));
                    }
                }
                _ => {}
            }
        }
        if news && incident.resolved_at.take().is_some() {
            incident.reopened += 1;
        }
        if any_ended && incident.members.values().all(|member| member.ended.is_some()) {
            incident.resolved_at = incident.resolved_at.or(Some(now));
        }
    }

    /// A stale firing that nobody takes back is believed in the end, unless another incident has followed that knows of
    /// the alert: what was said there is newer.
    fn believe(&mut self, now: Timestamp) {
        for place in 0..self.incidents.len() {
            let incident = &self.incidents[place];
            let since = incident.members.values().filter_map(|member| member.stale_since).min();
            let stands_for_long = since.is_some_and(|since| now.duration_since(since) >= STALE_TIMEOUT);
            if incident.resolved_at.is_none() || !stands_for_long {
                continue;
            }
            let follower = self.incidents[place + 1..].last();
            let unheard =
                |alert: &usize| follower.is_none_or(|follower| !follower.members.contains_key(alert));
            let stale = incident.members.iter().filter(|(_, member)| member.stale_since.is_some());
            let stale = stale.filter(|(alert, _)| unheard(alert));
            let said: Said = stale.map(|(alert, member)| (*alert, (member.begun, None))).collect();
            if !said.is_empty() {
                self.take_in(&said, now, true);
            }
            if self.incidents.len() - 1 > place {
                let old = &mut self.incidents[place];
                old.members.values_mut().for_each(|member| member.stale_since = None);
            }
        }
    }
}

/// The alerts as they really are.
#[derive(Default)]
struct World {
    alerts: [Option<Report>; ALERTS],
    held: Vec<Said>,
    sent: Vec<Said>,
}

impl World {
    fn say(&self, alerts: &[usize]) -> Said {
        alerts.iter().filter_map(|alert| Some((*alert, self.alerts[*alert]?))).collect()
    }
}

fn body(said: &Said) -> String {
    let alerts = said.iter().map(|(alert, (begun, ended))| {
        json!({
            "status": if ended.is_some() { "resolved" } else { "firing" },
            "labels": { "alertname": NAME, "instance": "nats-1:7777", "consumer": alert.to_string() },
            "annotations": {},
            "startsAt": begun.to_string(),
            "endsAt": ended.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |end| end.to_string()),
            "generatorURL": "",
        })
    });
    notification(&alerts.collect::<Vec<Value>>())
}

/// Fails unless the daemon and the model agree.
async fn compare(app: &TestApp, model: &Model) {
    let list = app.get("/api/v1/incidents").await.json();
    let mut incidents = Vec::new();
    let mut notifications = BTreeSet::new();
    for head in list["incidents"].as_array().unwrap().iter().rev() {
        let path = format!("/api/v1/incidents/{}", head["id"].as_str().unwrap());
        let document = app.get(&path).await.json();
        let instant = |value: &Value| value.as_str().map(|text| text.parse::<Timestamp>().unwrap());
        let members = document["alerts"].as_array().unwrap().iter().map(|alert| {
            let number = alert["labels"]["consumer"].as_str().unwrap();
            let member = Member {
                begun: instant(&alert["starts_at"]).unwrap(),
                ended: instant(&alert["ended_at"]),
                stale_since: instant(&alert["stale_since"]),
                generation: alert["generation"].as_u64().unwrap(),
                flaps: alert["flaps"].as_u64().unwrap(),
            };
            (number.parse().unwrap(), member)
        });
        incidents.push(Incident {
            members: members.collect(),
            resolved_at: instant(&document["resolved_at"]),
            reopened: document["reopened"].as_u64().unwrap(),
        });
        let count = |kind: &str| {
            let entries = document["timeline"].as_array().unwrap();
            entries.iter().filter(|entry| entry["kind"] == kind).count() as u64
        };
        assert_eq!((count("opened"), count("reopened")), (1, document["reopened"].as_u64().unwrap()));
        let ends = count("resolved");
        assert_eq!(ends, count("reopened") + u64::from(document["state"] == "resolved"));
        for notification in document["notifications"].as_array().unwrap() {
            notifications.insert((
                notification["id"].as_str().unwrap().to_owned(),
                notification["seen_count"].as_u64().unwrap(),
            ));
        }
    }
    assert_eq!(incidents, model.incidents);
    let kept: (i64, i64) =
        sqlx::query_as("SELECT count(*), CAST(coalesce(sum(seen_count), 0) AS BIGINT) FROM notifications")
            .fetch_one(&mut *app.state.store.read().await.unwrap())
            .await
            .unwrap();
    let delivered: u64 = model.seen.values().sum();
    assert_eq!((kept.0 as usize, kept.1 as u64), (model.seen.len(), delivered));
}

async fn live(steps: Vec<Step>) {
    let (mut app, mut world, mut model) = (TestApp::start().await, World::default(), Model::default());
    let start: Timestamp = START.parse().unwrap();
    assert_eq!(app.clock.now(), start);
    for step in steps {
        // nothing happens at the same instant
        app.advance(Duration::from_secs(1));
        app.run_jobs().await;
        model.believe(app.clock.now());
        let now = app.clock.now();
        let said = match step {
            Step::Begin(alert) => {
                if world.alerts[alert].is_none_or(|(_, ended)| ended.is_some()) {
                    world.alerts[alert] = Some((now, None));
                }
                None
            }
            Step::End(alert) => {
                if let Some((begun, None)) = world.alerts[alert] {
                    world.alerts[alert] = Some((begun, Some(now)));
                }
                None
            }
            Step::Send(alerts) => Some(world.say(&alerts)),
            Step::Hold(alerts) => {
                let said = world.say(&alerts);
                world.held.push(said);
                None
            }
            Step::Release(place) if !world.held.is_empty() => {
                let place = place % world.held.len();
                Some(world.held.remove(place))
            }
            Step::Repeat(place) if !world.sent.is_empty() => {
                Some(world.sent[place % world.sent.len()].clone())
            }
            Step::Release(_) | Step::Repeat(_) => None,
            Step::Wait(seconds) => {
                app.advance(Duration::from_secs(seconds));
                app.run_jobs().await;
                model.believe(app.clock.now());
                None
            }
            Step::Restart => {
                app = app.restart().await;
                None
            }
        };
        if let Some(said) = said.filter(|said| !said.is_empty()) {
            assert_eq!(app.notify(body(&said)).await.status, 202);
            model.deliver(&said, now);
            world.sent.push(said);
        }
        compare(&app, &model).await;
    }
    app.advance(Duration::from_secs(3600));
    app.run_jobs().await;
    app.finish().await;
}

/// What a person would have to wait long for to see: an incident is followed by another one while a firing stands
/// against its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_firing_is_left_to_the_incident_that_follows() {
    use Step::{Begin, End, Repeat, Send, Wait};
    // the first ends, its firing comes once more at the end of the window, and the next one begins right after it
    let followed =
        vec![Begin(1), Send(vec![1]), End(1), Send(vec![1]), Wait(897), Begin(1), Repeat(0), Send(vec![1])];
    for rest in [vec![], vec![End(1), Send(vec![1])]] {
        let steps = [followed.clone(), rest, vec![Wait(598), Wait(1)]].concat();
        live(steps).await;
    }
    // one that the next one has not heard of is believed there
    let both = |step: fn(usize) -> Step| [step(0), step(1)];
    let steps = [
        both(Begin).to_vec(),
        vec![Send(vec![0, 1])],
        both(End).to_vec(),
        vec![Send(vec![0, 1]), Wait(895), Begin(1), Repeat(0), Wait(1), Send(vec![1])],
        vec![End(1), Send(vec![1]), Wait(598), Wait(10)],
    ];
    live(steps.concat()).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_leads_where_the_rules_say(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(live(steps));
    }
}
