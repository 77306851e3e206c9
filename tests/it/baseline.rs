//! The baseline: samples of real clusters, what they say of the time before, and what is kept of them.

use std::collections::BTreeMap;
use std::time::Duration;

use connwarden::config::Config;
use connwarden::model::breakdown::Dimension;
use connwarden::model::history::{Sample, SampledGroups, ServerSample};
use connwarden::model::retention::Retention;
use connwarden::model::sampling::Sampling;
use connwarden::store::baselines::{self, PackedSample};
use connwarden::store::{self, Store};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::harness::daemon::{Daemon, run};
use crate::harness::eventually;
use crate::harness::fake::{Answer, ClosedPort, FakeMonitor};
use crate::harness::fixture;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer};
use crate::harness::test_app::{START, TestApp};
use crate::swarm::random::Random;
use crate::swarm::{ClientSpec, Options, Swarm};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn samples_say_what_a_cluster_was_like_and_when_each_application_came() {
    let nats = NatsServer::start_named("nats-1", NEWEST, ACCOUNTS).await;
    let swarm = open(&nats, &[("orders", 3), ("billing", 2)]).await;
    let app = TestApp::watching([&nats.monitor]).await;
    let mut sampler = app.state.engine.sampler("nats").unwrap();
    let first = app.state.engine.sample(&mut sampler).await.unwrap();
    assert_eq!(first, start());

    app.advance(MINUTE);
    let leaky = client(&nats, "leaky").library("leak", "9.9").source([127, 0, 0, 7]);
    swarm.add(vec![leaky; 4]).await.unwrap();
    eventually("nine connections", async || (nats.connections().await == 9).then_some(())).await;
    let second = app.state.engine.sample(&mut sampler).await.unwrap();

    let history = app.state.engine.history("nats", start(), second).await.unwrap();
    let [before, after] = history.samples.as_slice() else { panic!("{history:?}") };
    assert_eq!((before.at, after.at), (first, second));
    let applications = |sample: &Sample| sample.groups[&Dimension::Application].clone();
    assert_eq!(applications(before), groups(&[("billing", 2), ("orders", 3)], 0));
    assert_eq!(applications(after), groups(&[("billing", 2), ("leaky", 4), ("orders", 3)], 0));
    assert_eq!(after.group(Dimension::Account, "APP"), Some(9));
    assert_eq!(after.group(Dimension::User, "alice"), Some(9));
    assert_eq!(after.group(Dimension::Ip, "127.0.0.7"), Some(4));
    assert_eq!((before.complete, before.connections(), after.connections()), (true, 5, 9));
    let server = &after.servers[0];
    assert_eq!(server.server, "nats-1");
    assert!(server.attempts >= Some(9) && server.started_at.is_some() && server.memory_bytes > Some(1 << 20));

    let seen = async |dimension, keys: &[&str]| {
        let seen = app.state.engine.first_seen("nats", dimension, keys).await.unwrap();
        seen.into_iter().map(|(key, seen)| (key, seen.at, seen.not_seen_at)).collect::<Vec<_>>()
    };
    assert_eq!(
        seen(Dimension::Application, &["leaky", "orders", "nobody"]).await,
        [("leaky".to_owned(), second, Some(first)), ("orders".to_owned(), first, None)]
    );
    assert_eq!(seen(Dimension::Library, &["leak 9.9"]).await[0].1, second);
    assert_eq!(seen(Dimension::Ip, &["127.0.0.7"]).await[0].2, Some(first));

    let changes = async |query: &str| {
        let answer = app.get(&format!("/api/v1/clusters/nats/comparison{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    };
    // no threshold is configured: the lowest level is what is normal
    let now = changes("").await;
    assert_eq!((&now["healthy"], &now["from"]), (&json!("lowest_level"), &json!(START)));
    assert_eq!(now["total"], json!({ "before": 5, "after": 9 }));
    assert_eq!(
        now["by"]["application"],
        json!({ "deltas": [{ "key": "leaky", "before": 0, "after": 4, "kind": "new" }], "unchanged": 2,
                "other": { "before": 5, "after": 5 } })
    );
    assert_eq!(
        now["by"]["account"]["deltas"][0],
        json!({ "key": "APP", "before": 5, "after": 9, "kind": "grown" })
    );
    assert_eq!(now["servers"][0], json!({ "key": "nats-1", "before": 5, "after": 9, "kind": "grown" }));
    assert_eq!(
        now["first_seen"]["ip"]["127.0.0.7"],
        json!({ "at": second.to_string(), "not_seen_at": START })
    );
    assert_eq!(changes("?threshold=6").await["healthy"], "below_threshold");
    let stored = changes(&format!("?from={START}&to={second}&top=0")).await;
    assert_eq!((&stored["healthy"], &stored["to"]), (&Value::Null, &json!(second.to_string())));
    assert_eq!(stored["by"]["application"]["other"], json!({ "before": 5, "after": 9 }));
    let shown = app.get("/api/v1/clusters/nats/history?top=1").await.json();
    assert_eq!(shown["samples"].as_array().unwrap().len(), 2);
    assert_eq!(shown["samples"][1]["groups"]["application"], json!({ "groups": { "leaky": 4 }, "other": 5 }),);

    let metrics = app.get("/metrics").await.text;
    for line in [
        r#"connwarden_nats_application_connections{cluster="nats",server="nats-1",application="leaky"} 4"#,
        r#"connwarden_nats_application_connections{cluster="nats",server="nats-1",application="other"} 0"#,
        r#"connwarden_samples_total{cluster="nats",result="complete"} 2"#,
        r#"connwarden_samples_total{cluster="nats",result="failed"} 0"#,
        r#"connwarden_sample_interval_seconds{cluster="nats"} 60.0"#,
        r#"connwarden_sample_duration_seconds_count{cluster="nats"} 2"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "no `{line}` in {metrics}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sampled_outlives_a_restart_and_a_partial_sample_makes_nothing_new() {
    let nats = NatsServer::start_named("nats-1", NEWEST, ACCOUNTS).await;
    let other = NatsServer::start_named("nats-2", NEWEST, ACCOUNTS).await;
    let _swarm = open(&nats, &[("orders", 3)]).await;
    let closed = ClosedPort::new();
    let urls = [&nats.monitor, &closed.url].map(Url::clone);
    let app = TestApp::watching(&urls).await;
    let mut sampler = app.state.engine.sampler("nats").unwrap();
    app.state.engine.sample(&mut sampler).await.unwrap();

    let config = Config::from_monitors(vec![nats.monitor.clone(), other.monitor.clone()]);
    let app = app.restart_with(config).await;
    app.advance(MINUTE);
    let _others = open(&other, &[("billing", 2)]).await;
    let mut sampler = app.state.engine.sampler("nats").unwrap();
    let at = app.state.engine.sample(&mut sampler).await.unwrap();

    let history = app.state.engine.history("nats", start(), at).await.unwrap();
    let shown: Vec<_> = history
        .samples
        .iter()
        .map(|sample| (sample.complete, sample.servers.len(), sample.connections()))
        .collect();
    assert_eq!(shown, [(false, 1, 3), (true, 2, 5)]);
    let seen = app.state.engine.first_seen("nats", Dimension::Application, &["billing"]).await.unwrap();
    assert_eq!(seen["billing"].not_seen_at, None, "it may have been on the server that did not answer");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_shows_nothing_has_no_sample_and_no_metrics() {
    let fake = FakeMonitor::start(|_| Answer::http("503 Service Unavailable", &[], "")).await;
    let app = TestApp::watching([&fake.url]).await;
    let mut sampler = app.state.engine.sampler("nats").unwrap();
    let error = app.state.engine.sample(&mut sampler).await.unwrap_err();
    assert_eq!(error.to_string(), "no server of cluster `nats` let its connections be seen");
    let history = app.state.engine.history("nats", start(), app.clock.now()).await.unwrap();
    assert_eq!(history.samples, []);
    let metrics = app.get("/metrics").await.text;
    assert!(metrics.contains(r#"connwarden_samples_total{cluster="nats",result="blind"} 1"#), "{metrics}");
    assert!(!metrics.contains("connwarden_nats_application_connections{"), "{metrics}");
    assert!(!metrics.contains("connwarden_last_sample_timestamp_seconds{"), "{metrics}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_was_just_made_is_taken_for_a_sample_and_the_same_one_only_once() {
    let fake = monitor(fixture("nats/2.15.1/connz-open-auth.json")).await;
    let app = TestApp::watching([&fake.url]).await;
    let mut sampler = app.state.engine.sampler("nats").unwrap();
    app.get("/api/v1/clusters/nats/breakdown").await;
    let looks = fake.requests().len();
    app.advance(Duration::from_secs(20));
    for _ in 0..2 {
        assert_eq!(app.state.engine.sample(&mut sampler).await.unwrap(), start());
    }
    assert_eq!(fake.requests().len(), looks, "the server was asked for what was known");
    assert_eq!(app.state.engine.history("nats", start(), app.clock.now()).await.unwrap().samples.len(), 1);
    app.advance(MINUTE);
    app.state.engine.sample(&mut sampler).await.unwrap();
    assert!(fake.requests().len() > looks);
    assert_eq!(app.state.engine.history("nats", start(), app.clock.now()).await.unwrap().samples.len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_the_largest_applications_only_and_drop_what_is_gone() {
    let page = |names: &[&str]| {
        let connections: Vec<Value> = names
            .iter()
            .enumerate()
            .map(|(cid, name)| json!({ "cid": cid, "kind": "Client", "ip": "10.0.0.1", "name": name }))
            .collect();
        json!({ "server_id": "N", "now": START, "num_connections": names.len(), "total": names.len(),
                "connections": connections })
        .to_string()
    };
    let before = page(&["other", "other", "other", "a\"b\n\\", "a\"b\n\\", "c", "c", "d"]);
    let after = page(&["d", "e"]);
    let (fake, second) = (monitor(before).await, monitor(after).await);
    let config = |fake: &FakeMonitor| {
        sampled(Sampling { metric_applications: 2, ..Sampling::default() }, &[&fake.url])
    };
    let shown = |metrics: &str| {
        let prefix = "connwarden_nats_application_connections{cluster=\"nats\",server=";
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(prefix));
        let mut lines: Vec<String> = lines.map(|line| line.split_once(',').unwrap().1.to_owned()).collect();
        lines.sort();
        lines
    };
    let app = TestApp::with(config(&fake)).await;
    let mut sampler = app.state.engine.sampler("nats").unwrap();
    app.state.engine.sample(&mut sampler).await.unwrap();
    let text = app.get("/metrics").await.text;
    assert_eq!(
        shown(&text),
        [r#"application="a\"b\\n\\"} 2"#, r#"application="c"} 2"#, r#"application="other"} 4"#]
    );
    let metrics = app.state.metrics.clone();
    let app = app.restart_with(config(&second)).await;
    let mut sampler = app.state.engine.sampler("nats").unwrap();
    app.state.engine.sample(&mut sampler).await.unwrap();
    assert_eq!(
        shown(&app.get("/metrics").await.text),
        [r#"application="d"} 1"#, r#"application="e"} 1"#, r#"application="other"} 0"#]
    );
    metrics.sampling.applications("nats", BTreeMap::from([(("s".to_owned(), "new".to_owned()), 7)]));
    assert_eq!(shown(&metrics.render()), [r#"application="new"} 7"#], "what is gone is taken away");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_refused_with_its_reason_and_without_a_look() {
    let fake = monitor(fixture("nats/2.15.1/connz-open-auth.json")).await;
    let app = TestApp::watching([&fake.url]).await;
    let cases = [
        ("elsewhere/history", 404, "no cluster `elsewhere` is configured"),
        ("elsewhere/comparison", 404, "no cluster `elsewhere` is configured"),
        ("nats/history?from=yesterday", 400, "from: "),
        ("nats/history?from=2026-11-24T10:00:00Z", 400, "`to` is before `from`"),
        ("nats/comparison?from=2026-11-24T10:00:00Z&to=2026-11-24T09:00:00Z", 400, "`to` is before `from`"),
        (
            "nats/comparison?from=2026-11-24T08:00:00Z",
            404,
            "no sample of cluster `nats` from 2026-11-24T08:00:00Z",
        ),
        ("nats/comparison", 404, "no sample of cluster `nats` in the week before"),
        ("nats/comparison?since=1h", 400, "unknown field `since`"),
    ];
    for (path, status, expected) in cases {
        let detail = app.get(&format!("/api/v1/clusters/{path}")).await.problem(status);
        assert!(detail.contains(expected), "{path}: {detail}");
    }
    assert_eq!(fake.requests(), [""; 0], "NATS was asked in vain");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_samples_by_itself_and_the_command_line_says_what_has_changed() {
    let nats = NatsServer::start_named("nats-1", NEWEST, ACCOUNTS).await;
    let swarm = open(&nats, &[("orders", 3)]).await;
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::watching(directory.path(), [&nats.monitor]).await;
    eventually("the first sample", async || {
        let metrics = daemon.client.get(daemon.at("metrics")).send().await.ok()?.text().await.ok()?;
        metrics.contains(r#"connwarden_samples_total{cluster="nats",result="complete"} 1"#).then_some(())
    })
    .await;
    swarm.add(vec![client(&nats, "leaky"); 4]).await.unwrap();
    eventually("seven connections", async || (nats.connections().await == 7).then_some(())).await;
    let arguments = ["clusters", "compare", "nats", "--server", daemon.url.as_str()];
    let (code, output, errors) = run(&arguments).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[2], "3 connections before, 7 after (+4)", "{output}");
    assert!(
        lines.iter().any(|line| line.split_whitespace().eq(["leaky", "0", "4", "+4", "new"])),
        "{output}"
    );
    let (code, output, _) = run(&["clusters", "list", "--server", daemon.url.as_str()]).await;
    assert!(code == 0 && output.contains("nats-1"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_baseline_nothing_is_sampled() {
    let config = sampled(Sampling { enabled: false, ..Sampling::default() }, &[]);
    let app = TestApp::with(config).await;
    assert!(app.state.engine.sampler("nats").is_none());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_become_fewer_with_age_and_those_that_stay_are_what_they_were() {
    let days = |days: i64| SignedDuration::from_hours(24 * days);
    let keep = Duration::from_secs(86_400 * 10);
    let app = TestApp::with(sampled(Sampling { keep, ..Sampling::default() }, &[])).await;
    let now = start() + days(100);
    app.clock.set(now);
    let mut random = Random::new(1, &[]);
    let mut taken = BTreeMap::new();
    let (mut base, mut at) = (None, now - days(11));
    let mut tx = app.state.store.write().await.unwrap();
    while at <= now {
        let sample = sample(at, &mut random);
        let packed = PackedSample::pack(&sample, base);
        base = Some(baselines::insert(&mut tx, "nats", packed).await.unwrap());
        taken.insert(at, sample);
        at += SignedDuration::from_secs(100 + random.below(40) as i64);
    }
    // another cluster's samples are thinned by themselves
    baselines::insert(&mut tx, "other", PackedSample::pack(&sample(now - days(9), &mut random), None))
        .await
        .unwrap();
    store::commit(tx).await.unwrap();

    for _ in 0..2 {
        retain(&app).await;
    }
    let kept = everything(&app.state.store, "nats").await;
    let expected = expected(taken.keys().copied(), now, now - days(10));
    // a base stays as long as others need it, at most for the rest of its hour
    let too_many: Vec<_> = kept.iter().map(|sample| sample.at).filter(|at| !expected.contains(at)).collect();
    assert!(too_many.len() <= 1, "{too_many:?}");
    assert_eq!(kept.len() - too_many.len(), expected.len());
    assert!(kept.len() < taken.len() / 4);
    for sample in kept {
        assert_eq!(sample, taken[&sample.at]);
    }
    assert_eq!(everything(&app.state.store, "other").await.len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_that_were_not_seen_for_the_longest_are_forgotten_first() {
    let app = TestApp::start().await;
    let keys: Vec<String> = (0..20_700).map(|serial| format!("key-{serial:05}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let note = async |keys: &[&str], at: Timestamp| {
        let mut tx = app.state.store.write().await.unwrap();
        store::first_seen::note(&mut tx, "nats", Dimension::Ip, keys, at, None).await.unwrap();
        store::commit(tx).await.unwrap();
    };
    let day = SignedDuration::from_hours(24);
    note(&keys, start()).await;
    note(&keys[..100], start() + day).await;
    app.clock.set(start() + day + day);
    assert_eq!(retain(&app).await.get("first_seen"), Some(&700));
    let seen = app.state.engine.first_seen("nats", Dimension::Ip, &keys).await.unwrap();
    assert_eq!(seen.len(), 20_000);
    assert!(seen.contains_key("key-00099") && !seen.contains_key("key-00100"));
    assert_eq!(seen["key-00000"].at, start(), "to be seen again is not to be seen first");
    app.clock.set(start() + day * 400);
    assert_eq!(retain(&app).await.get("first_seen"), Some(&20_000), "what was not seen for a year");
    app.finish().await;
}

/// A configuration with the given monitoring URLs as one cluster called `nats`.
fn sampled(baseline: Sampling, monitors: &[&Url]) -> Config {
    let mut config = Config::from_monitors(monitors.iter().map(|url| (*url).clone()).collect());
    config.baseline = baseline;
    config
}

/// What is to be kept of samples, by the plain words of the manual.
fn expected(times: impl Iterator<Item = Timestamp>, now: Timestamp, before: Timestamp) -> Vec<Timestamp> {
    let mut stretches = std::collections::BTreeSet::new();
    let mut expected = Vec::new();
    for at in times {
        let age = now.duration_since(at).as_secs_f64() / 3600.0;
        let minutes = if age > 8.0 * 24.0 {
            60
        } else if age > 24.0 {
            15
        } else if age > 2.0 {
            5
        } else {
            0
        };
        let is_first = [5, 15, 60].map(|width| stretches.insert((width, at.as_second() / (60 * width))));
        let keep = match minutes {
            0 => true,
            5 => is_first[0],
            15 => is_first[1],
            _ => is_first[2],
        };
        if keep && at >= before {
            expected.push(at);
        }
    }
    expected
}

fn sample(at: Timestamp, random: &mut Random) -> Sample {
    let applications = (0..20)
        .map(|serial| (format!("application-{serial}"), 10 + random.below(3)))
        .collect::<BTreeMap<_, _>>();
    let server = ServerSample { server: "nats-1".to_owned(), connections: 200, ..ServerSample::default() };
    let groups = SampledGroups { groups: applications, other: random.below(5) };
    Sample {
        at,
        complete: true,
        servers: vec![server],
        groups: BTreeMap::from([(Dimension::Application, groups)]),
    }
}

async fn everything(store: &Store, cluster: &str) -> Vec<Sample> {
    let mut conn = store.read().await.unwrap();
    let times =
        baselines::list_times(&mut conn, cluster, Timestamp::MIN, Timestamp::MAX, u32::MAX).await.unwrap();
    baselines::list(&mut conn, &times).await.unwrap().unpack().unwrap()
}

async fn retain(app: &TestApp) -> BTreeMap<&'static str, u64> {
    app.state.engine.retain(&Retention::default(), &CancellationToken::new()).await.unwrap()
}

fn start() -> Timestamp {
    START.parse().unwrap()
}

fn groups(listed: &[(&str, u64)], other: u64) -> SampledGroups {
    let groups = listed.iter().map(|(key, connections)| ((*key).to_owned(), *connections));
    SampledGroups { groups: groups.collect(), other }
}

fn client(nats: &NatsServer, name: &str) -> ClientSpec {
    ClientSpec::new(nats.clients).name(name).user("alice", "secret")
}

async fn open(nats: &NatsServer, applications: &[(&str, usize)]) -> Swarm {
    let clients: Vec<ClientSpec> =
        applications.iter().flat_map(|(name, count)| vec![client(nats, name); *count]).collect();
    Swarm::open(clients, Options::default()).await.unwrap()
}

/// A monitoring port that always shows the same page.
async fn monitor(page: String) -> FakeMonitor {
    let varz = fixture("nats/2.15.1/varz.json");
    FakeMonitor::start(move |path| Answer::json(if path == "/varz" { &varz } else { &page })).await
}

#[test]
fn settings_of_the_baseline_are_checked() {
    let parse = |text: &str| Config::parse(&format!("baseline: {{{text}}}"), "c.yml", &|_| unreachable!());
    let config =
        parse("enabled: false, interval: 10s, keep: 90d, top: 2000, metric_applications: 0").unwrap();
    let day = Duration::from_secs(86_400);
    let expected = Sampling {
        enabled: false,
        interval: Duration::from_secs(10),
        keep: day * 90,
        top: 2000,
        metric_applications: 0,
    };
    assert_eq!(config.baseline, expected);
    for (text, expected) in [
        ("enabled: yes", "baseline.enabled: expected `true` or `false`, found `yes`"),
        ("interval: 9s", "baseline.interval: must be at least 10s, found `9s`"),
        ("interval: 2h", "baseline.interval: "),
        ("keep: 1d", "baseline.keep: must be at least 172800s, found `1d`"),
        ("top: 9", "baseline.top: expected a whole number from 10 to 2000, found `9`"),
        ("top: +50", "baseline.top: expected a whole number from 10 to 2000, found `+50`"),
        ("metric_applications: 1001", "expected a whole number from 0 to 1000, found `1001`"),
    ] {
        let problems = parse(text).unwrap_err().to_string();
        assert!(problems.contains(expected), "{text}: {problems}");
    }
}
