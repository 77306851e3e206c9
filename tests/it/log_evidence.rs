//! What the logs of NATS servers say: real servers that refuse, cut and reload, with their log files.
//!
//! There is no Loki to fetch here, so a fake answers as Loki's API is documented: <https://grafana.com/docs/loki/latest/reference/loki-http-api/>.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use connwarden::clock::Clock;
use connwarden::config::Config;
use connwarden::model::log_evidence::{LogEvidence, LogKind};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::HashMap;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use url::Url;

use crate::harness::eventually;
use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::nats::{NEWEST, NatsServer, OLDER};
use crate::harness::test_app::TestApp;

/// A daemon of which the clock stands at `now`, with these logs.
async fn reading(now: Timestamp, logs: &str) -> TestApp {
    let text =
        format!("clusters:\n- {{ name: prod, monitor: 'http://nats.invalid:8222', logs: [{logs}] }}\n");
    let config =
        Config::parse(&text, "test.yml", &|_| unreachable!()).unwrap_or_else(|problems| panic!("{problems}"));
    TestApp::beginning(now, config).await
}

fn lines(evidence: &LogEvidence, kind: LogKind) -> u64 {
    evidence.kinds.iter().find(|count| count.kind == kind).map_or(0, |count| count.lines)
}

/// A client that says who it is.
async fn connect(address: SocketAddr, user: &str, password: &str) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let mut info = String::new();
    stream.read_line(&mut info).await.unwrap();
    let connect = json!({ "user": user, "pass": password, "name": "x - maximum connections exceeded", "verbose": false });
    // a server that refuses may have hung up already
    let _ = stream.write_all(format!("CONNECT {connect}\r\nPING\r\n").as_bytes()).await;
    stream
}

/// A client that was let in.
async fn connected(address: SocketAddr, user: &str) -> BufReader<TcpStream> {
    let mut stream = connect(address, user, "secret").await;
    let mut answer = String::new();
    stream.read_line(&mut answer).await.unwrap();
    assert_eq!(answer.trim(), "PONG");
    stream
}

/// Reads until the server hangs up.
async fn cut(mut stream: BufReader<TcpStream>) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

/// Everything that is to be seen in a log happens to a server.
async fn trouble(line: &str, log: &Path) -> NatsServer {
    let config = format!(
        "log_file: {log:?}\nmax_connections: 4\nmax_pending: 1MB\nwrite_deadline: \"1s\"\naccounts {{\n  \
           APP {{ users: [ {{ user: alice, password: secret }} ] }}\n  \
           SMALL {{ users: [ {{ user: bob, password: secret }} ], limits {{ max_connections: 1 }} }}\n}}\n"
    );
    let server = NatsServer::start(line, &config).await;
    let address = server.clients;

    cut(connect(address, "alice", "wrong").await).await;
    let bob = connected(address, "bob").await;
    cut(connect(address, "bob", "secret").await).await;
    let mut garbage = connected(address, "alice").await;
    garbage.write_all(b"XYZZY 1 2\r\n").await.unwrap();
    cut(garbage).await;

    // who does not take what is sent is cut
    let mut deaf = connected(address, "alice").await;
    deaf.write_all(b"SUB x 1\r\nPING\r\n").await.unwrap();
    let mut pong = String::new();
    deaf.read_line(&mut pong).await.unwrap();
    let mut loud = connected(address, "alice").await;
    let mut message = b"PUB x 65536\r\n".to_vec();
    message.extend([b'x'; 65536]);
    message.extend(b"\r\n");
    for _ in 0..400 {
        loud.write_all(&message).await.unwrap();
    }
    eventually("a slow consumer", async || {
        std::fs::read_to_string(log).ok()?.contains("Slow Consumer Detected").then_some(())
    })
    .await;
    drop((deaf, loud));
    eventually("nobody but bob", async || (server.connections().await == 1).then_some(())).await;

    let others = [
        connected(address, "alice").await,
        connected(address, "alice").await,
        connected(address, "alice").await,
    ];
    for _ in 0..5 {
        cut(connect(address, "alice", "secret").await).await;
    }
    server.hang_up();
    eventually("a reload", async || {
        std::fs::read_to_string(log).ok()?.contains("Reloaded server configuration").then_some(())
    })
    .await;
    drop((bob, others));
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_real_servers_is_found_in_their_log_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = |line: &str| directory.path().join(format!("{line}.log"));
    let (new, old) = (file(NEWEST), file(OLDER));
    let _servers = tokio::join!(trouble(NEWEST, &new), trouble(OLDER, &old));

    // the last lines are written within this second
    let now = Clock::system().now() + SignedDuration::from_secs(1);
    for (path, limited) in [(&new, true), (&old, false)] {
        let app = reading(now, &format!("{{ file: {path:?}, server: n1 }}")).await;
        let evidence = app.state.engine.gather_logs("prod", [], []).await.unwrap();
        assert_eq!(evidence.problems, [""; 0]);
        assert!(evidence.complete, "{evidence:#?}");
        assert_eq!(evidence.source, path.display().to_string());
        // the version is read from the log itself
        assert_eq!(evidence.rate_limited_versions, limited);
        let refused = lines(&evidence, LogKind::ServerLimit);
        if limited {
            assert!((1..5).contains(&refused), "{evidence:#?}");
        } else {
            assert_eq!(refused, 5, "{evidence:#?}");
        }
        let expected = [
            LogKind::AccountLimit,
            LogKind::AuthError,
            LogKind::ProtocolError,
            LogKind::SlowConsumer,
            LogKind::Reload,
            LogKind::Start,
        ];
        for kind in expected {
            assert!(lines(&evidence, kind) >= 1, "{kind:?} is not in {evidence:#?}");
        }
        assert_eq!((lines(&evidence, LogKind::Start), lines(&evidence, LogKind::Reload)), (1, 1));
        for count in &evidence.kinds {
            let (first, last) = (count.first.unwrap(), count.last.unwrap());
            assert!(now - SignedDuration::from_mins(5) < first && first <= last && last <= now, "{count:?}");
            assert_eq!(count.per_minute.iter().map(|(_, lines)| lines).sum::<u64>(), count.lines);
            assert_eq!(count.servers["n1"], count.lines);
            assert!(!count.samples.is_empty() && count.samples.len() <= 3);
        }
        app.finish().await;
    }

    // both together are one cluster's
    let app =
        reading(now, &format!("{{ file: {new:?}, server: n1 }}, {{ file: {old:?}, server: n2 }}")).await;
    let evidence = app.state.engine.gather_logs("prod", [], []).await.unwrap();
    let started = evidence.kinds.iter().find(|count| count.kind == LogKind::Start).unwrap();
    assert_eq!((started.lines, started.servers.len(), evidence.rate_limited_versions), (2, 2, true));
    app.finish().await;
}

/// How a fake Loki was asked.
type Asked = Arc<Mutex<Vec<(HashMap<String, String>, HeaderMap)>>>;

/// A Loki that has so many refusals in two streams.
async fn loki(now: Timestamp, refusals: usize) -> (Url, Asked) {
    let asked = Asked::default();
    let book = asked.clone();
    let answer = move |Query(query): Query<HashMap<String, String>>, headers: HeaderMap| async move {
        let tenant = headers.get("X-Scope-OrgID").is_some();
        book.lock().unwrap().push((query, headers));
        if !tenant {
            return (StatusCode::UNAUTHORIZED, "no org id\n").into_response();
        }
        let line = |number: usize| {
            let at = now - SignedDuration::from_millis(i64::try_from(number).unwrap() * 100);
            // by the clock of the server, which is wrong
            let text = format!(
                "[7] 2020/01/01 00:00:00.000000 [ERR] 10.0.0.{}:1 - cid:{number} - maximum connections exceeded",
                number % 250
            );
            json!([at.as_nanosecond().to_string(), text])
        };
        let stream = |pod: &str, lines: Vec<serde_json::Value>| json!({ "stream": { "app": "nats", "pod": pod }, "values": lines });
        let streams = json!([
            stream("nats-0", (0..refusals / 2).map(line).collect()),
            stream("nats-1", (refusals / 2..refusals).map(line).collect()),
        ]);
        let data = json!({ "resultType": "streams", "result": streams, "stats": { "summary": {} } });
        Json(json!({ "status": "success", "data": data })).into_response()
    };
    let router = Router::new().route("/prefix/loki/api/v1/query_range", get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/prefix", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loki_is_asked_for_what_is_about_connections() {
    let now: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
    let (url, asked) = loki(now, 100).await;
    let query = "{app=\"nats\"}";
    let logs =
        format!("{{ loki: {{ url: '{url}', query: '{query}', tenant: team-a, bearer_token: t0ken }} }}");
    let app = reading(now, &logs).await;
    let evidence = app.state.engine.gather_logs("prod", [], ["2.10.26"]).await.unwrap();
    assert_eq!((evidence.source.as_str(), evidence.complete), (format!("{url} {query}").as_str(), true));
    assert!(!evidence.rate_limited_versions, "by the version of the server that is known");
    let count = &evidence.kinds[0];
    assert_eq!((count.kind, count.lines, count.last), (LogKind::ServerLimit, 100, Some(now)));
    assert_eq!((count.servers["nats-0"], count.servers["nats-1"]), (50, 50));

    {
        let asked = asked.lock().unwrap();
        let [(parameters, headers)] = asked.as_slice() else { panic!("{asked:?}") };
        assert!(parameters["query"].starts_with("{app=\"nats\"} |~ `(?i)"), "{parameters:?}");
        assert_eq!((parameters["limit"].as_str(), parameters["direction"].as_str()), ("5000", "backward"));
        let from = now - SignedDuration::from_hours(1);
        assert_eq!(parameters["start"], from.as_nanosecond().to_string());
        assert_eq!(parameters["end"], (now.as_nanosecond() + 1).to_string());
        assert_eq!(headers["authorization"], "Bearer t0ken");
        assert_eq!(headers["x-scope-orgid"], "team-a");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_loki_leaves_out_is_told() {
    let now: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
    let (url, _) = loki(now, 5000).await;
    let one = |more: &str| format!("{{ loki: {{ url: '{url}', query: '{{app=\"nats\"}}'{more} }} }}");
    let app = reading(now, &one(", tenant: a")).await;
    let evidence = app.state.engine.gather_logs("prod", [], []).await.unwrap();
    assert_eq!((lines(&evidence, LogKind::ServerLimit), evidence.complete), (5000, false));
    assert!(evidence.rate_limited_versions, "of an unknown version it may be so");
    app.finish().await;

    let app = reading(now, &one("")).await;
    let refused = app.state.engine.gather_logs("prod", [], []).await.unwrap_err();
    assert!(refused.starts_with(&format!("GET {url}/loki/api/v1/query_range?")), "{refused}");
    assert!(refused.ends_with(": status 401: no org id"), "{refused}");
    app.finish().await;

    // what else there is counts, and that it is not all is told
    let app = reading(now, &format!("{}, {}", one(""), one(", tenant: a"))).await;
    let evidence = app.state.engine.gather_logs("prod", [], []).await.unwrap();
    assert_eq!((evidence.problems.len(), evidence.complete), (1, false));
    assert_eq!(lines(&evidence, LogKind::ServerLimit), 5000);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_cannot_be_read_are_told() {
    let now: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
    let nothing = reading(now, "").await;
    let refused = nothing.state.engine.gather_logs("prod", [], []).await.unwrap_err();
    assert_eq!(refused, "no logs of cluster `prod` are configured (`logs`)");
    let refused = nothing.state.engine.gather_logs("other", [], []).await.unwrap_err();
    assert_eq!(refused, "no cluster `other` is configured");
    nothing.finish().await;

    let silent = FakeMonitor::start(|_| Answer::Silence).await;
    let logs = format!(
        "{{ file: /nowhere/nats.log }}, {{ loki: {{ url: '{}', query: '{{a=\"b\"}}' }} }}",
        silent.url
    );
    let app = reading(now, &logs).await;
    let stopwatch = Clock::system().stopwatch();
    let refused = app.state.engine.gather_logs("prod", [], []).await.unwrap_err();
    assert!(stopwatch.elapsed() < Duration::from_secs(8), "{:?}", stopwatch.elapsed());
    let expected = format!(
        "cannot read /nowhere/nats.log: No such file or directory (os error 2); {} {{a=\"b\"}} could not be read within 5s",
        silent.url
    );
    assert_eq!(refused, expected);
    app.finish().await;
}
