//! Monitoring ports that fail: what could be seen is shown, what went wrong is said, and it is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connwarden::config::Config;
use insta::assert_snapshot;
use serde_json::{Value, json};
use url::Url;

use crate::harness::daemon::{Daemon, run};
use crate::harness::document::{assert_adds_up, entries, groups, timeline};
use crate::harness::fake::{Answer, ClosedPort, FakeMonitor};
use crate::harness::fixture;
use crate::harness::nats::{NEWEST, NatsServer};
use crate::harness::test_app::TestApp;
use crate::swarm::{ClientSpec, Options, Swarm};

/// The largest reply that is read in these tests, in bytes; a healthy one has a tenth of it.
const LARGEST_REPLY: usize = 64 * 1024;

/// For answers that never come: long enough for a healthy one on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

/// For answers that come.
const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_the_answer_broke_off_stays_counted() {
    let look = look_at(varz(), Answer::cut_short(&half_of_connz(), connz_text().len()), LONG).await;
    assert_snapshot!(look.error, @"GET http://nats-1:8222/connz?auth=1&limit=1000000: the answer broke off after 3105 bytes: end of file before message length reached");
    look.assert_seen(5);
    assert_eq!(look.incident["coverage"]["total"], 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_ends_in_the_middle_is_incomplete() {
    let look = look_at(varz(), Answer::json(&half_of_connz()), LONG).await;
    assert_snapshot!(look.error, @"GET http://nats-1:8222/connz?auth=1&limit=1000000: the connection list ended in the middle, after 5 connections");
    look.assert_seen(5);
    assert_eq!(look.incident["coverage"]["total"], 10);
    assert_snapshot!(look.incident["headline"].as_str().unwrap(), @"10 connections on labA; 40 % are orders; INCOMPLETE: 5 seen, 0 of 1 servers in full");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_shown_although_varz_fails() {
    let broken = || Answer::http("500 Internal Server Error", &[], "out of order\nreally");
    let look = look_at(broken(), connz(), LONG).await;
    assert_snapshot!(look.error, @"GET http://nats-1:8222/varz: status 500: out of order");
    look.assert_seen(10);

    let look = look_at(broken(), Answer::json(&half_of_connz()), LONG).await;
    look.assert_seen(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_never_answers_is_given_up_in_time() {
    let look = look_at(Answer::Silence, Answer::Silence, SHORT).await;
    assert_snapshot!(look.error, @"could not see everything: GET http://nats-1:8222/varz: no complete answer within 2s; trying again in 5s");
    look.assert_blind();

    let look = look_at(varz(), Answer::Silence, SHORT).await;
    assert_snapshot!(look.error, @"GET http://nats-1:8222/connz?auth=1&limit=1000000: no complete answer within 2s");
    look.assert_seen(0);
    assert_eq!(look.incident["coverage"]["servers"][0]["varz_connections"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_something_else_is_no_monitoring_port() {
    let page =
        || Answer::http("200 OK", &[("Content-Type", "text/html; charset=utf-8")], "<html>Hello</html>");
    let look = look_at(page(), page(), LONG).await;
    assert_snapshot!(look.error, @"could not see everything: GET http://nats-1:8222/varz: not a NATS monitoring port: content type `text/html; charset=utf-8`; GET http://nats-1:8222/connz?auth=1&limit=1000000: not a NATS monitoring port: content type `text/html; charset=utf-8`; trying again in 5s");
    look.assert_blind();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let target = FakeMonitor::start(|path| if path == "/varz" { varz() } else { connz() }).await;
    let away = || Answer::http("302 Found", &[("Location", target.url.as_str())], "");
    let look = look_at(away(), away(), LONG).await;
    assert_snapshot!(at(&look.error, &target.url, "elsewhere:80"), @"could not see everything: GET http://nats-1:8222/varz: status 302: redirects to http://elsewhere:80/, which is not followed; GET http://nats-1:8222/connz?auth=1&limit=1000000: status 302: redirects to http://elsewhere:80/, which is not followed; trying again in 5s");
    look.assert_blind();
    assert!(target.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_error_is_quoted_in_one_line() {
    let broken = || Answer::http("500 Internal Server Error", &[], "out of \u{1b}[31morder\nreally");
    let look = look_at(broken(), broken(), LONG).await;
    assert_snapshot!(look.error, @r"could not see everything: GET http://nats-1:8222/varz: status 500: out of \u{1b}[31morder; GET http://nats-1:8222/connz?auth=1&limit=1000000: status 500: out of \u{1b}[31morder; trying again in 5s");
    look.assert_blind();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_claims_more_than_it_lists_is_not_believed_to_be_complete() {
    let claims = connz_text().replace("\"total\": 10", "\"total\": 4000");
    let look = look_at(varz(), Answer::json(&claims), LONG).await;
    assert_snapshot!(look.error, @"http://nats-1:8222/connz: lists 10 connections and says that it has 4000");
    look.assert_seen(10);
    assert_eq!(look.incident["coverage"]["total"], 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_too_large_is_not_read_to_its_end() {
    let endless =
        format!("{{\"connections\":[{}", "{\"cid\":1,\"name\":\"orders\"},".repeat(LARGEST_REPLY / 20));
    let look = look_at(varz(), Answer::cut_short(&endless, 5 << 30), LONG).await;
    assert_snapshot!(look.error, @"GET http://nats-1:8222/connz?auth=1&limit=1000000: the reply is larger than 65536 bytes");
    // of closed connections and of open ones
    assert!(look.incident["coverage"]["bytes"].as_u64().unwrap() < 4 * LARGEST_REPLY as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_another_shape_is_not_taken_for_an_empty_list() {
    let mut errors = Vec::new();
    for (varz_text, connz_text) in [
        ("{}", "{}"),
        ("[]", "[]"),
        (r#"{"server_id":7}"#, r#"{"total":3,"connections":3}"#),
        (r#"{"server_id":"N","connections":"many"}"#, r#"{"connections":[{"ip":["127.0.0.1"]}]}"#),
        (r#"{"server_id":"N","connections":NaN}"#, r#"{"total":NaN,"connections":[]}"#),
    ] {
        let look = look_at(Answer::json(varz_text), Answer::json(connz_text), LONG).await;
        errors.push(look.error);
    }
    assert_snapshot!(errors.join("\n"), @r#"
    could not see everything: GET http://nats-1:8222/varz: not a /varz document: missing field `server_id` at line 1 column 2; GET http://nats-1:8222/connz?auth=1&limit=1000000: not a connection list: it has no `connections`; trying again in 5s
    could not see everything: GET http://nats-1:8222/varz: not a /varz document: invalid length 0, expected struct Varz with 32 elements at line 1 column 2; GET http://nats-1:8222/connz?auth=1&limit=1000000: not a connection list: unexpected `[` at byte 0; trying again in 5s
    GET http://nats-1:8222/varz: not a /varz document: invalid type: integer `7`, expected a string at line 1 column 14; GET http://nats-1:8222/connz?auth=1&limit=1000000: not a connection list: it has no `connections`
    could not see everything: GET http://nats-1:8222/varz: not a /varz document: invalid type: string "many", expected u64 at line 1 column 37; GET http://nats-1:8222/connz?auth=1&limit=1000000: not a connection list: connection 1: invalid type: sequence, expected a text at byte 16; trying again in 5s
    could not see everything: GET http://nats-1:8222/varz: not a /varz document: expected value at line 1 column 32; GET http://nats-1:8222/connz?auth=1&limit=1000000: not a connection list: expected value at byte 9; trying again in 5s
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_value_of_the_wrong_type_is_repeated_only_in_part() {
    let long = format!("a\\nb{}", "x".repeat(30_000));
    let of_varz = Answer::json(&format!(r#"{{"server_id":"N","connections":"{long}"}}"#));
    let of_connz = Answer::json(&format!(r#"{{"connections":[{{"pending_bytes":"{long}"}}]}}"#));
    for (varz_answer, connz_answer, said) in [
        (of_varz, connz(), r#"/varz document: invalid type: string "a\nbxxx"#),
        (varz(), of_connz, r#"connection 1: invalid type: string "a\nbxxx"#),
    ] {
        let error = look_at(varz_answer, connz_answer, LONG).await.error;
        assert!(error.len() < 500 && error.lines().count() == 1 && error.contains(said), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_server_forges_no_line_of_the_log() {
    let name = format!("a\\nINFO b{}", "x".repeat(30_000));
    let fake = FakeMonitor::start(move |_| {
        Answer::json(&format!(r#"{{"server_id":"N","server_name":"{name}","version":"2.10\nINFO c"}}"#))
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::watching(directory.path(), [&fake.url]).await;
    let learnt = |line: &str| line.contains(r"is a\nINFO bxxx").then(|| line.to_owned());
    let line = daemon.process.logged("the name of the server", learnt).await;
    assert!(line.contains(r"x… (2.10\nINFO c)") && line.len() < 1000, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_is_tried_five_times_in_growing_pauses() {
    let fake = FakeMonitor::start(|_| Answer::http("500 Internal Server Error", &[], "out of order")).await;
    let app = TestApp::watching([&fake.url]).await;
    let id = fire(&app).await;
    for (looks, pause) in (1..).zip([5, 15, 45, 135]) {
        app.advance(Duration::from_secs(pause - 1));
        app.run_jobs().await;
        assert_eq!(
            fake.requests(),
            ["/connz", "/varz", "/connz"].repeat(looks),
            "before the pause of {pause} s is over"
        );
        app.advance(Duration::from_secs(1));
        app.run_jobs().await;
    }
    assert_eq!(fake.requests(), ["/connz", "/varz", "/connz"].repeat(5));
    let incident = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    let entries: Vec<String> =
        entries(&incident).skip(2).map(|(kind, text)| format!("{kind}: {text}")).collect();
    assert_snapshot!(at(&entries.join("\n"), &fake.url, "nats-1:8222"), @"
    observation_failed: could not see everything: GET http://nats-1:8222/varz: status 500: out of order; GET http://nats-1:8222/connz?auth=1&limit=1000000: status 500: out of order; trying again in 5s
    observation_failed: gave up after 5 looks: GET http://nats-1:8222/varz: status 500: out of order; GET http://nats-1:8222/connz?auth=1&limit=1000000: status 500: out of order
    ");
    assert_eq!((&incident["headline"], &incident["coverage"]), (&Value::Null, &Value::Null));

    app.advance(Duration::from_secs(3600));
    app.run_jobs().await;
    assert_eq!(app.get(&format!("/api/v1/incidents/{id}")).await.json()["timeline"], incident["timeline"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_the_living_one_is_shown_and_the_dead_one_named() {
    let alive = NatsServer::start_named("alive", NEWEST, "").await;
    let mut dead = NatsServer::start_named("dead", NEWEST, "").await;
    let client = ClientSpec::new(alive.clients).name("orders-1");
    let _swarm = Swarm::open(vec![client; 7], Options::default()).await.unwrap();
    dead.kill();
    let _closed = ClosedPort::of(&dead.monitor);

    let app = TestApp::watching([&dead.monitor, &alive.monitor]).await;
    let id = fire(&app).await;
    let incident = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    assert_eq!(groups(&incident, "application").into_iter().collect::<Vec<_>>(), [("orders", 7)]);
    assert_adds_up(&incident);
    assert_eq!(incident["coverage"]["complete"], false);
    let [of_dead, of_alive] = incident["coverage"]["servers"].as_array().unwrap().as_slice() else {
        panic!("two servers are configured");
    };
    assert_snapshot!(at(of_dead["error"].as_str().unwrap(), &dead.monitor, "dead:8222"), @"GET http://dead:8222/varz: cannot connect: Connection refused (os error 111)");
    assert_eq!((&of_alive["name"], &of_alive["error"]), (&json!("alive"), &Value::Null));
    assert_snapshot!(incident["headline"].as_str().unwrap(), @"7 connections on the 2 servers of nats; 100 % are orders from one address; INCOMPLETE: 7 seen, 1 of 2 servers in full");

    let (code, out, _) = run(&["inspect", dead.monitor.as_str(), alive.monitor.as_str()]).await;
    assert_eq!(code, 3);
    assert!(out.contains("INCOMPLETE"), "{out}");
    assert_eq!(run(&["inspect", dead.monitor.as_str()]).await.0, 1);
    give_up(&app).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_at_which_nobody_listens_is_asked_only_once_a_look() {
    let closed = ClosedPort::new();
    let app = TestApp::watching([&closed.url]).await;
    let id = fire(&app).await;
    let incident = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    let (_, error) = entries(&incident).last().unwrap();
    assert_snapshot!(at(error, &closed.url, "nats-1:8222"), @"could not see everything: GET http://nats-1:8222/varz: cannot connect: Connection refused (os error 111); trying again in 5s");
    give_up(&app).await;
    app.finish().await;
}

/// What an incident shows after one look at a faulty port.
struct Look {
    incident: Value,
    /// What went wrong: from the coverage, or, where nothing could be seen, from the timeline.
    error: String,
}

impl Look {
    /// Fails unless so many connections were seen, and not all.
    fn assert_seen(&self, connections: u64) {
        let coverage = &self.incident["coverage"];
        assert_eq!((&coverage["seen"], &coverage["complete"]), (&json!(connections), &json!(false)));
        assert_adds_up(&self.incident);
        let kinds = ["opened", "alert_joined", "observed", "observation_failed"];
        assert_eq!(timeline(&self.incident), kinds);
    }

    /// Fails unless nothing could be seen.
    fn assert_blind(&self) {
        assert_eq!(self.incident["snapshots"], json!([]));
        assert_eq!(timeline(&self.incident), ["opened", "alert_joined", "observation_failed"]);
    }
}

/// Looks once at a port that answers like this; then the port gets well, and the next look must see everything.
async fn look_at(varz_answer: Answer, connz_answer: Answer, timeout: Duration) -> Look {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = is_well.clone();
    let fake = FakeMonitor::start(move |path| match (well.load(Ordering::SeqCst), path) {
        (false, "/varz") => varz_answer.clone(),
        (false, _) => connz_answer.clone(),
        (true, "/varz") => varz(),
        (true, _) => connz(),
    })
    .await;
    let mut config = Config::from_monitors(vec![fake.url.clone()]);
    config.observe.timeout = timeout;
    config.observe.max_reply_bytes = LARGEST_REPLY as u64;
    let app = TestApp::with(config).await;
    let id = fire(&app).await;
    let path = format!("/api/v1/incidents/{id}");
    let incident = app.get(&path).await.json();
    let in_coverage = incident["coverage"]["servers"][0]["error"].as_str();
    let in_timeline =
        entries(&incident).find(|(kind, _)| *kind == "observation_failed").map(|(_, text)| text);
    let error = at(in_coverage.or(in_timeline).unwrap(), &fake.url, "nats-1:8222");

    is_well.store(true, Ordering::SeqCst);
    app.advance(Duration::from_secs(5));
    app.run_jobs().await;
    let later = app.get(&path).await.json();
    assert_eq!(timeline(&later).last(), Some(&"observed"), "{later:#}");
    assert_eq!((&later["coverage"]["seen"], &later["coverage"]["complete"]), (&json!(10), &json!(true)));
    app.finish().await;
    Look { incident, error }
}

/// Lets an alert fire, and has the cluster looked at once; the incident's id.
async fn fire(app: &TestApp) -> String {
    let answer = app.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    app.run_jobs().await;
    answer.json()["incidents"][0].as_str().unwrap().to_owned()
}

/// Lets the time pass until an incomplete look is no longer tried again.
async fn give_up(app: &TestApp) {
    for pause in [5, 15, 45, 135] {
        app.advance(Duration::from_secs(pause));
        app.run_jobs().await;
    }
}

/// A text with the name of a server in place of its port of today.
fn at(text: &str, server: &Url, name: &str) -> String {
    text.replace(&format!("127.0.0.1:{}", server.port().unwrap()), name)
}

fn varz() -> Answer {
    Answer::json(&fixture("nats/2.15.1/varz.json"))
}

fn connz() -> Answer {
    Answer::json(&connz_text())
}

fn connz_text() -> String {
    fixture("nats/2.15.1/connz-open-auth.json")
}

/// A list of ten connections, cut off in the sixth.
fn half_of_connz() -> String {
    let text = connz_text();
    let sixth = text.match_indices("\"cid\"").nth(5).unwrap().0;
    text[..sixth + 20].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_under_two_addresses_is_counted_once() {
    let nats = NatsServer::start(NEWEST, "").await;
    let swarm = Swarm::open(vec![ClientSpec::new(nats.clients); 3], Options::default()).await.unwrap();
    let other = nats.monitor.as_str().replace("127.0.0.1", "localhost");
    let (code, text, _) = run(&["inspect", nats.monitor.as_str(), &other, "-o", "json"]).await;
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0, "nothing is missing");
    assert_eq!((&document["coverage"]["seen"], &document["coverage"]["total"]), (&json!(3), &json!(3)));
    assert_eq!(document["coverage"]["complete"], true);
    assert_eq!(document["breakdowns"]["ip"]["total"]["connections"], 3);
    let counted_at = document["coverage"]["servers"][1]["counted_at"].as_str().unwrap();
    assert_eq!(counted_at, nats.monitor.as_str().trim_end_matches('/'));
    let (_, text, _) = run(&["inspect", nats.monitor.as_str(), &other]).await;
    assert!(text.contains("duplicate") && text.contains("is the same server as"), "{text}");
    swarm.close().await;
}
