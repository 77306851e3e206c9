//! Planning: 5,000 victims among many connections, against the same parser that only adds one number up.
//!
//! Planning is all that a plan is made of once the bytes are there: every connection looked at, victims picked, guards
//! asked, and the plan frozen with its blast radius and its digest.

use std::hash::RandomState;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use connwarden::mitigate::guards::{Draft, Initiator, LookCoverage, View, judge};
use connwarden::mitigate::plan;
use connwarden::model::application::ApplicationRules;
use connwarden::model::guard::GuardSettings;
use connwarden::model::picking::PickingRules;
use connwarden::model::plan::{ActionKind, Plan, PlanRequest};
use connwarden::model::protection::Protection;
use connwarden::model::selector::{Conditions, Selector};
use connwarden::model::victim::{KeepOf, VictimLimits, VictimOrder};
use connwarden::nats::connz::ConnzReader;
use connwarden::observe::picks::Picks;
use connwarden::observe::tally::{ServerFacts, TallyRules};
use connwarden::observe::users::UserMask;
use jiff::Timestamp;

use crate::parse;
use crate::report::{PAIRS, Report, Target, median, memory_of, mib, ms};

/// How many connections a page has, and how many where memory must not grow with them.
const FEW: u64 = 100_000;
const MANY: u64 = 1_000_000;

/// How many victims a plan has.
const VICTIMS: u32 = 5000;

/// By how much a plan may take more memory where there are ten times as many connections, in bytes.
const MAY_GROW: f64 = 4.0 * 1_048_576.0;

/// One in so many connections is of the culprit; of those every other one has been idle for long.
const ONE_IN: u64 = 8;

/// When the page was made: what it is idle against.
const NOW: i64 = 1_767_600_000_000_000;

/// The kinds of selectors that people use, all of which mean more connections than are picked.
const KINDS: [&str; 5] = ["application,idle", "name glob", "network", "name regex", "random"];

pub fn measure(report: &mut Report) {
    let page: Vec<u8> = pieces(FEW).collect::<String>().into_bytes();
    let (mut floors, mut plans) = (Vec::new(), vec![Vec::new(); KINDS.len()]);
    for _ in 0..PAIRS {
        floors.push(timed(|| assert_ne!(parse::sum(&page), 0)));
        for (kind, times) in KINDS.into_iter().zip(&mut plans) {
            times.push(timed(|| {
                let plan = plan_of(kind, VICTIMS, page.chunks(16 * 1024));
                assert!(plan.victims.len() == VICTIMS as usize && plan.passes(), "{:?}", plan.guards);
                plan
            }));
        }
    }
    let floor = median(floors);
    for (kind, times) in KINDS.into_iter().zip(plans) {
        let ours = median(times);
        // what most plans are
        let target = if kind == KINDS[0] { Target::AtMost(1.5) } else { Target::Shown };
        let name = format!("plan {VICTIMS} of {}k, by {kind} / sum", FEW / 1000);
        report.add(&name, ms(ours), ms(floor), ours.as_secs_f64() / floor.as_secs_f64(), target);
    }

    let (few, many) = (peak_of(FEW, VICTIMS), peak_of(MANY, VICTIMS));
    let apart = many.saturating_sub(few);
    let name = format!("peak memory of a plan of {VICTIMS}, of 1M against 100k");
    report.add(&name, mib(many), mib(few), apart as f64 / MAY_GROW, Target::AtMost(1.0));
    let none = peak_of(FEW, 1);
    report.note(&format!(
        "{} apart, {} may be; {VICTIMS} victims take {} more than one",
        mib(apart),
        mib(MAY_GROW as u64),
        mib(few.saturating_sub(none))
    ));
}

/// Plans so many times, and does nothing else: what is run under valgrind.
pub fn rounds(kind: &str, rounds: &str) {
    let page: Vec<u8> = pieces(FEW / 5).collect::<String>().into_bytes();
    for _ in 0..rounds.parse::<u32>().unwrap() {
        let plan = plan_of(kind, VICTIMS / 5, page.chunks(16 * 1024));
        assert_eq!(plan.victims.len() as u32, VICTIMS / 5);
    }
}

/// Plans for so many connections, and says how much memory that took: a process of its own.
pub fn peak(connections: &str, victims: &str) {
    let (connections, victims) = (connections.parse().unwrap(), victims.parse().unwrap());
    let plan = plan_of(KINDS[0], victims, pieces(connections));
    assert_eq!((plan.total, plan.victims.len()), (connections, victims as usize));
    println!("{}", memory_of("self", "VmHWM"));
}

fn peak_of(connections: u64, victims: u32) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--plan-peak", &connections.to_string(), &victims.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// How long something takes to be made; not how long to be forgotten.
fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    let made = work();
    let took = begun.elapsed();
    drop(made);
    took
}

/// Plans for a page that comes in pieces.
fn plan_of(kind: &str, victims: u32, page: impl Iterator<Item = impl AsRef<[u8]>>) -> Plan {
    let request = PlanRequest {
        action: ActionKind::Kick,
        selector: selector(kind),
        order: if kind == "random" { VictimOrder::Random { seed: 7 } } else { VictimOrder::default() },
        limits: VictimLimits {
            at_most: victims,
            at_most_percent: 10.0,
            keep: 1,
            keep_of: KeepOf::Application,
        },
    };
    let rules = Arc::new(PickingRules {
        selector: request.selector.clone(),
        protection: Protection::default(),
        order: request.order,
        limits: request.limits,
    });
    let naming = TallyRules {
        by: Vec::new(),
        applications: Arc::new(ApplicationRules::default()),
        users: UserMask::new(&[7; 32]),
        idle_after_us: 300_000_000,
        starts: None,
        hashing: RandomState::new(),
    };
    let server = ServerFacts { name: "bench".to_owned(), since_2_11: true, now_us: NOW };
    let mut picks = Picks::new(&rules, &naming, server, Some("$SYS"));
    let mut reader = ConnzReader::default();
    for piece in page {
        reader.feed(piece.as_ref(), &mut |envelope, connection| picks.add(envelope, connection)).unwrap();
    }
    reader.finish(&mut |envelope, connection| picks.add(envelope, connection)).unwrap();
    let picked = picks.into_found().picked;

    let taken_at = Timestamp::from_microsecond(NOW).unwrap();
    let draft =
        Draft { request: &request, picked: &picked, taken_at, has_incident: false, by: Initiator::Person };
    let settings = GuardSettings { max_victims: VICTIMS, hourly_budget: VICTIMS, ..GuardSettings::default() };
    let verdicts = judge(&draft, &view(taken_at), &settings);
    plan::plan("bench", &request, picked, taken_at, verdicts)
}

fn selector(kind: &str) -> Selector {
    let text = |text: &str| Some(text.to_owned());
    let conditions = match kind {
        "application,idle" => Conditions {
            application: text("leaky-worker"),
            idle_for: Some(Duration::from_secs(600)),
            ..Conditions::default()
        },
        "name glob" => Conditions { name_glob: text("*-worker-*"), ..Conditions::default() },
        "network" => Conditions { ip: text("10.0.0.0/10"), ..Conditions::default() },
        "name regex" => {
            Conditions { name_regex: text("leaky-[a-z]+-[0-9a-f]{9}-.*"), ..Conditions::default() }
        }
        "random" => Conditions { application: text("leaky-worker"), ..Conditions::default() },
        other => panic!("no selector is called {other}"),
    };
    Selector::try_from(conditions).unwrap()
}

/// Nothing is in the way.
fn view(now: Timestamp) -> View {
    View {
        now,
        protection: Protection::default(),
        incident: None,
        coverage: LookCoverage {
            is_complete: true,
            servers_expected: 1,
            servers_unreachable: 0,
            missing: String::new(),
        },
        capability: Ok(()),
        running: None,
        earlier: Vec::new(),
        cut_within_the_hour: 0,
        vain_runs: Vec::new(),
        pauses: Vec::new(),
        other_wardens: Vec::new(),
    }
}

/// A page with so many connections, as a server would send it.
fn pieces(connections: u64) -> impl Iterator<Item = String> {
    let now = Timestamp::from_microsecond(NOW).unwrap();
    let head = format!(r#"{{"server_id":"NBENCH","now":"{now}","total":{connections},"connections":["#);
    let each = (0..connections).map(|serial| {
        let comma = if serial == 0 { "" } else { "," };
        format!("{comma}{}", connection(serial))
    });
    std::iter::once(head).chain(each).chain(std::iter::once("]}".to_owned()))
}

/// One connection, with a name of its own: 200 applications, 2,000 addresses, the longest there first.
fn connection(serial: u64) -> String {
    let mixed = (serial + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (some, other) = (mixed >> 32, mixed >> 16 & 0xffff);
    let application = match some % ONE_IN {
        0 => "leaky-worker".to_owned(),
        _ => format!("service{}-api", other % 199),
    };
    let idle_us = (some / ONE_IN % 1_200_000) as i64 * 1000;
    let start = Timestamp::from_microsecond(NOW - 90_000_000_000 + serial as i64 * 11).unwrap();
    let active = Timestamp::from_microsecond(NOW - idle_us).unwrap();
    let (cid, b, c) = (serial + 1, other % 200, some % 10);
    format!(
        r#"{{"cid":{cid},"kind":"Client","type":"nats","ip":"10.{b}.0.{c}","port":50000,"start":"{start}","last_activity":"{active}","rtt":"115µs","uptime":"1d1h0m0s","idle":"5m2s","pending_bytes":0,"in_msgs":{other},"out_msgs":1,"in_bytes":2,"out_bytes":2,"subscriptions":4,"name":"{application}-7d9f8b6c5-{}","lang":"go","version":"1.50.0","authorized_user":"alice","account":"APP","name_tag":"APP"}}"#,
        pod(serial)
    )
}

/// What Kubernetes would put behind the name of a replica set.
fn pod(serial: u64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let letter = |place| char::from(LETTERS[(serial / 27_u64.pow(place) % 27) as usize]);
    (0..5).map(letter).collect()
}
