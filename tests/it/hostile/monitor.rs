//! Monitoring ports of hostile servers.

use std::time::Duration;

use connwarden::app;
use connwarden::clock::Clock;
use connwarden::config::Config;
use connwarden::model::breakdown::By;
use connwarden::model::snapshot::Snapshot;
use connwarden::observe::users::UserMask;
use connwarden::observe::wishes::Wishes;
use insta::assert_snapshot;

use super::{HOSTILE, assert_harmless};
use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::test_app::TestApp;

const MIB: usize = 1 << 20;

/// For answers that never end.
const SHORT: Duration = Duration::from_secs(2);

const VARZ: &str = r#"{"server_id":"N","server_name":"nats-1","version":"2.15.1","connections":2}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_million_distinct_names_are_counted_exactly() {
    const NAMES: u64 = 1_000_000;
    const A_PIECE: u64 = 1000;
    let pieces = || {
        let head = format!(r#"{{"total":{NAMES},"connections":["#).into_bytes();
        let connections = (0..NAMES / A_PIECE).map(|piece| {
            let connection = |serial: u64| {
                let (a, b, c) = (serial >> 16 & 255, serial >> 8 & 255, serial & 255);
                let comma = if serial == 0 { "" } else { "," };
                format!(
                    r#"{comma}{{"cid":{serial},"ip":"10.{a}.{b}.{c}","name":"client {serial:x} of nobody"}}"#
                )
            };
            (piece * A_PIECE..(piece + 1) * A_PIECE).map(connection).collect::<String>().into_bytes()
        });
        [head].into_iter().chain(connections).chain([b"]}".to_vec()])
    };
    let snapshot = look(answering(Answer::json(VARZ), Answer::made(pieces)).await, |_| {}).await;
    let coverage = &snapshot.coverage;
    assert_eq!((coverage.seen, coverage.total, coverage.complete), (NAMES, NAMES, true), "{coverage:?}");
    assert_adds_up(&snapshot);
    let names = &snapshot.breakdowns[&By::parse_list("name").unwrap()[0]];
    assert!(names.groups.len() < 10_000 && names.other.groups.is_none(), "{} groups", names.groups.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_end_is_read_up_to_the_largest_reply_and_counts_until_there() {
    const LARGEST_REPLY: u64 = 8 * MIB as u64;
    const CONNECTION: &[u8] = br#"{"cid":1,"ip":"10.0.0.1","name":"orders"},"#;
    let endless = || {
        let head = br#"{"total":2,"connections":["#.to_vec();
        [head].into_iter().chain(std::iter::repeat_with(|| CONNECTION.repeat(1000)))
    };
    let fake = answering(Answer::json(VARZ), Answer::made(endless)).await;
    let snapshot = look_at(&fake, |config| config.observe.max_reply_bytes = LARGEST_REPLY).await;
    assert_snapshot!(error(&snapshot, &fake), @"GET http://nats-1:8222/connz?auth=1&limit=1000000: the reply is larger than 8388608 bytes");
    let coverage = &snapshot.coverage;
    assert!((LARGEST_REPLY..2 * LARGEST_REPLY).contains(&coverage.bytes), "{} bytes", coverage.bytes);
    // all but the piece that was too much
    let most = LARGEST_REPLY / CONNECTION.len() as u64;
    assert!((most - most / 8..=most).contains(&coverage.seen), "{} of {most} seen", coverage.seen);
    assert_adds_up(&snapshot);
    // beyond what was read there is only what waits in the buffers of two sockets
    assert!(fake.sent() < 4 * LARGEST_REPLY, "{} bytes sent", fake.sent());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_a_second_is_given_up_in_time() {
    let drip = |body: &str| {
        let Answer::Raw(bytes) = Answer::json(body) else { panic!("a JSON answer is bytes") };
        Answer::Drip(bytes)
    };
    let stopwatch = Clock::system().stopwatch();
    let fake = answering(drip(VARZ), drip(VARZ)).await;
    let snapshot = look_at(&fake, |config| config.observe.timeout = SHORT).await;
    assert_snapshot!(error(&snapshot, &fake), @"GET http://nats-1:8222/varz: no complete answer within 2s");
    assert_eq!(fake.requests(), ["/varz"], "whoever does not even say who it is holds nobody up twice");

    let list = r#"{"total":1,"connections":[{"cid":1}]}"#;
    let fake = answering(Answer::json(VARZ), drip(list)).await;
    let snapshot = look_at(&fake, |config| config.observe.timeout = SHORT).await;
    assert_snapshot!(error(&snapshot, &fake), @"GET http://nats-1:8222/connz?auth=1&limit=1000000: no complete answer within 2s");
    assert!(stopwatch.elapsed() < 10 * SHORT, "{:?}", stopwatch.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_no_server_has_are_read_or_refused_and_never_wrap() {
    // what is sent as a count, and what is read
    let counts = [
        ("-1", 0),
        ("-1e308", 0),
        ("1.9", 1),
        ("-0", 0),
        ("1e3", 1000),
        ("18446744073709551615", u64::MAX),
        ("18446744073709551616", u64::MAX),
        ("1e308", u64::MAX),
        ("null", 0),
    ];
    for (number, read) in counts {
        let connection =
            format!(r#"{{"subscriptions":{number},"in_bytes":{number},"pending_bytes":{number}}}"#);
        let list = format!(r#"{{"total":2,"connections":[{connection},{connection}]}}"#);
        let snapshot = look(answering(Answer::json(VARZ), Answer::json(&list)).await, |_| {}).await;
        assert!(snapshot.coverage.complete, "{number}: {:?}", snapshot.coverage);
        let total = &snapshot.breakdowns.values().next().unwrap().total;
        let twice = u64::saturating_mul(read, 2);
        assert_eq!(
            (total.subscriptions, total.in_bytes, total.pending_bytes),
            (twice, twice, twice),
            "{number}"
        );
    }
    // what is sent as the total of a list of one, and whether more is missed
    for (number, total) in [("-5", 1), ("0.5", 1), ("1e308", u64::MAX), ("\"many\"", 1), ("[]", 1)] {
        let list = format!(r#"{{"total":{number},"connections":[{{}}]}}"#);
        let snapshot = look(answering(Answer::json(VARZ), Answer::json(&list)).await, |_| {}).await;
        let coverage = &snapshot.coverage;
        assert_eq!((coverage.seen, coverage.complete), (1, total == 1), "{number}: {coverage:?}");
        assert!(coverage.total.max(1) >= total.min(1), "{number}: {coverage:?}");
    }
    let mut errors = Vec::new();
    for number in ["NaN", "Infinity", "-", "1e400", "0x10", "01", "+1", "\"7\"", "true"] {
        let list = format!(r#"{{"total":2,"connections":[{{}},{{"in_msgs":{number}}}]}}"#);
        let fake = answering(Answer::json(VARZ), Answer::json(&list)).await;
        let snapshot = look_at(&fake, |_| {}).await;
        assert_eq!(snapshot.coverage.seen, 1, "{number}: what came before stands");
        errors.push(format!("{number}: {}", error(&snapshot, &fake).split_once("list: ").unwrap().1));
    }
    assert_snapshot!(errors.join("\n"), @r#"
    NaN: connection 2: expected value at byte 29
    Infinity: connection 2: expected value at byte 29
    -: connection 2: invalid number at byte 29
    1e400: connection 2: number out of range at byte 29
    0x10: connection 2: expected `,` or `}` at byte 29
    01: connection 2: invalid number at byte 29
    +1: connection 2: expected value at byte 29
    "7": connection 2: invalid type: string "7", expected a number at byte 29
    true: connection 2: invalid type: boolean `true`, expected a number at byte 29
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_varz_that_lies_is_cut_or_said_to_be_none() {
    let mut errors = Vec::new();
    for number in ["-1", "18446744073709551616", "1e300", "1.5", "NaN", "null"] {
        let varz = VARZ.replace(r#""connections":2"#, &format!(r#""connections":{number}"#));
        let fake = answering(Answer::json(&varz), Answer::json(r#"{"total":1,"connections":[{}]}"#)).await;
        let snapshot = look_at(&fake, |_| {}).await;
        let coverage = &snapshot.coverage;
        assert_eq!((coverage.seen, coverage.servers[0].varz_connections), (1, None), "{number}");
        errors.push(format!("{number}: {}", error(&snapshot, &fake).split_once("document: ").unwrap().1));
    }
    let long = format!("{HOSTILE}{}", "ü".repeat(140_000));
    let wrong = serde_json::json!({ "server_id": "N", "connections": long }).to_string();
    let fake = answering(Answer::json(&wrong), Answer::json(r#"{"connections":[]}"#)).await;
    let repeated = error(&look_at(&fake, |_| {}).await, &fake);
    assert!(repeated.len() < 500, "{} bytes", repeated.len());
    let large = serde_json::json!({ "server_id": "N", "server_name": "x".repeat(2 * MIB) }).to_string();
    let fake = answering(Answer::json(&large), Answer::json(r#"{"connections":[]}"#)).await;
    errors.push(format!("2 MiB: {}", error(&look_at(&fake, |_| {}).await, &fake)));
    assert_snapshot!(errors.join("\n"), @"
    -1: invalid value: integer `-1`, expected u64 at line 1 column 75
    18446744073709551616: invalid type: floating point `1.8446744073709552e+19`, expected u64 at line 1 column 93
    1e300: invalid type: floating point `1e+300`, expected u64 at line 1 column 78
    1.5: invalid type: floating point `1.5`, expected u64 at line 1 column 76
    NaN: expected value at line 1 column 74
    null: invalid type: null, expected u64 at line 1 column 77
    2 MiB: GET http://nats-1:8222/varz: the reply is larger than 1048576 bytes
    ");

    // names and versions of almost a megabyte, full of control characters
    let varz =
        serde_json::json!({ "server_id": long, "server_name": long, "version": long, "connections": 1 });
    let list = serde_json::json!({ "server_id": long, "connections": [{ "lang": long, "version": long, "name": long }] });
    let (varz, list) = (Answer::json(&varz.to_string()), Answer::json(&list.to_string()));
    let fake = answering(varz, list).await;
    let app = TestApp::watching([&fake.url]).await;
    let receipt = app.notify(notification(&[firing(ALERT, "nats-1:7777")])).await.json();
    app.run_jobs().await;
    let incident = app.get(&format!("/api/v1/incidents/{}", receipt["incidents"][0].as_str().unwrap())).await;
    assert!(incident.text.len() < 30_000, "{} bytes", incident.text.len());
    let incident = incident.json();
    let server = &incident["coverage"]["servers"][0];
    for field in ["name", "server_id", "version"] {
        let kept = server[field].as_str().unwrap();
        assert!(long.starts_with(kept) && (250..=256).contains(&kept.len()), "{field}: {} bytes", kept.len());
    }
    for (by, breakdown) in incident["breakdowns"].as_object().unwrap() {
        let key = breakdown["groups"][0]["key"].as_str().unwrap();
        assert!(key.len() <= 600, "{by}: {} bytes", key.len());
    }
    for entry in incident["timeline"].as_array().unwrap() {
        assert_harmless(entry["text"].as_str().unwrap());
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_nesting_is_skipped_or_refused() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let varz = VARZ.replace('}', &format!(r#","x":{deep}}}"#));
    let list = format!(r#"{{"x":{deep},"total":1,"connections":[{{"cid":1,"tls":{deep}}}],"y":{deep}}}"#);
    let snapshot = look(answering(Answer::json(&varz), Answer::json(&list)).await, |_| {}).await;
    assert!(snapshot.coverage.complete && snapshot.coverage.seen == 1, "{:?}", snapshot.coverage);

    let varz = VARZ.replace(r#""nats-1""#, &deep);
    let list = format!(r#"{{"connections":[{{"name":{deep}}}]}}"#);
    let fake = answering(Answer::json(&varz), Answer::json(&list)).await;
    assert_snapshot!(error(&look_at(&fake, |_| {}).await, &fake), @"GET http://nats-1:8222/varz: not a /varz document: invalid type: sequence, expected a string at line 1 column 31; GET http://nats-1:8222/connz?auth=1&limit=1000000: not a connection list: connection 1: invalid type: sequence, expected a text at byte 16");
    let list = format!(r#"{{"total":{deep},"connections":[]}}"#);
    let fake = answering(Answer::json(VARZ), Answer::json(&list)).await;
    assert_snapshot!(error(&look_at(&fake, |_| {}).await, &fake), @"GET http://nats-1:8222/connz?auth=1&limit=1000000: not a connection list: recursion limit exceeded at byte 9");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_no_text_ends_where_it_stops_being_one() {
    let with = |value: &[u8]| {
        [br#"{"total":2,"connections":[{"name":"a"},{"name":""#.as_slice(), value, br#""}]}"#].concat()
    };
    let cases: [&[u8]; 5] = [b"\xff", b"\xed\xa0\x80", br"\ud800", br"\udc00", br"\ud800\u0041"];
    let mut errors = Vec::new();
    for value in cases {
        let bytes = with(value);
        let fake = answering(Answer::json(VARZ), Answer::made(move || [bytes.clone()].into_iter())).await;
        let snapshot = look_at(&fake, |_| {}).await;
        assert_eq!((snapshot.coverage.seen, snapshot.coverage.total), (1, 2), "{}", value.escape_ascii());
        assert_adds_up(&snapshot);
        let said = error(&snapshot, &fake);
        errors.push(format!("{}: {}", value.escape_ascii(), said.split_once("list: ").unwrap().1));
    }
    assert_snapshot!(errors.join("\n"), @r"
    \xff: connection 2: invalid unicode code point at byte 39
    \xed\xa0\x80: connection 2: invalid unicode code point at byte 39
    \\ud800: connection 2: unexpected end of hex escape at byte 39
    \\udc00: connection 2: lone leading surrogate in hex escape at byte 39
    \\ud800\\u0041: connection 2: lone leading surrogate in hex escape at byte 39
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_list_that_says_things_twice_nothing_is_lost() {
    let list = r#"{"total":1,"connections":[{"cid":1}],"total":3,"connections":[{"cid":2},{"cid":3}]}"#;
    let snapshot = look(answering(Answer::json(VARZ), Answer::json(list)).await, |_| {}).await;
    let coverage = &snapshot.coverage;
    assert_eq!((coverage.seen, coverage.total, coverage.complete), (3, 3, true), "{coverage:?}");
    assert_adds_up(&snapshot);

    let list = r#"{"total":2,"connections":[{"port":1,"port":2},{"name":"a","name":"b"}]}"#;
    let fake = answering(Answer::json(VARZ), Answer::json(list)).await;
    let snapshot = look_at(&fake, |_| {}).await;
    assert_eq!(snapshot.coverage.seen, 1);
    assert_snapshot!(error(&snapshot, &fake), @"GET http://nats-1:8222/connz?auth=1&limit=1000000: not a connection list: connection 2: duplicate field `name` at byte 46");
    let twice = VARZ.replace(r#""server_id":"N""#, r#""server_id":"N","server_id":"M""#);
    let fake = answering(Answer::json(&twice), Answer::json(r#"{"connections":[]}"#)).await;
    assert_snapshot!(error(&look_at(&fake, |_| {}).await, &fake), @"GET http://nats-1:8222/varz: not a /varz document: duplicate field `server_id` at line 1 column 28");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_answer_is_not_unpacked() {
    let packed = |encoding: &str| {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", encoding)];
        Answer::http("200 OK", &headers, "\u{1f}\u{8b}")
    };
    let fake = answering(packed("gzip"), packed("br, x")).await;
    assert_snapshot!(error(&look_at(&fake, |_| {}).await, &fake), @"GET http://nats-1:8222/varz: the answer is compressed (`gzip`), which was not asked for; GET http://nats-1:8222/connz?auth=1&limit=1000000: the answer is compressed (`br, x`), which was not asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_too_many_or_too_large_headers_is_none() {
    let many: Vec<String> = (0..10_000).map(|serial| format!("X-{serial}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "y")).collect();
    let large = "y".repeat(4 * MIB);
    let fake =
        answering(Answer::http("200 OK", &many, VARZ), Answer::http("200 OK", &[("X", &large)], "{}")).await;
    assert_snapshot!(error(&look_at(&fake, |_| {}).await, &fake), @"GET http://nats-1:8222/varz: the answer broke off after 0 bytes: message head is too large; GET http://nats-1:8222/connz?auth=1&limit=1000000: the answer broke off after 0 bytes: message head is too large");
}

/// A monitoring port with these two answers.
async fn answering(varz: Answer, connz: Answer) -> FakeMonitor {
    FakeMonitor::start(move |path| if path == "/varz" { varz.clone() } else { connz.clone() }).await
}

/// Looks once at a port that is of no interest afterwards.
async fn look(fake: FakeMonitor, settings: impl Fn(&mut Config)) -> Snapshot {
    look_at(&fake, settings).await
}

/// Looks once at a port.
async fn look_at(fake: &FakeMonitor, settings: impl Fn(&mut Config)) -> Snapshot {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = Config::from_monitors(vec![fake.url.clone()]);
    config.observe.timeout = Duration::from_secs(300);
    settings(&mut config);
    let observer = app::observer(&config, UserMask::new(&[7; 32]), Clock::system());
    let by = By::parse_list("name").unwrap();
    observer.sweep(&app::targets(&config.clusters[0]), &Wishes::by(&by)).await
}

/// What went wrong, with a name in place of the port of today.
fn error(snapshot: &Snapshot, fake: &FakeMonitor) -> String {
    let error = snapshot.coverage.servers[0].error.as_deref().expect("something went wrong");
    assert_harmless(error);
    error.replace(&format!("127.0.0.1:{}", fake.url.port().unwrap()), "nats-1:8222")
}

/// Fails unless every breakdown adds up to what was seen.
fn assert_adds_up(snapshot: &Snapshot) {
    for (by, breakdown) in &snapshot.breakdowns {
        let listed: u64 = breakdown.groups.iter().map(|group| group.figures.connections).sum();
        assert_eq!(listed + breakdown.other.figures.connections, snapshot.coverage.seen, "by {by}");
        assert_eq!(breakdown.total.connections, snapshot.coverage.seen, "by {by}");
    }
}
