//! What Prometheus knows of an incident: real ones, with a past that `promtool` wrote or with an exporter; fakes for
//! those that answer in part, late, or not at all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::any;
use axum::{Json, Router};
use connwarden::clock::Clock;
use connwarden::config::Config;
use connwarden::model::alert::{Alert, AlertStatus};
use connwarden::model::labels::Labels;
use connwarden::model::member::Member;
use connwarden::model::pattern::{MetricsEvidence, PatternKind, ServerMetrics};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::Url;

use crate::harness::fake::{Answer, ClosedPort, FakeMonitor};
use crate::harness::payload::ALERT;
use crate::harness::prometheus::{Exporter, Prometheus};
use crate::harness::test_app::TestApp;

/// How many minutes ago the incident began.
const BEGAN: i64 = 40;

/// What each series has said: by minutes before now.
#[derive(Default)]
struct Past(BTreeMap<String, BTreeMap<String, Vec<(i64, f64)>>>);

impl Past {
    /// Writes down what a series said each minute of so many minutes, until so many minutes ago.
    fn says(&mut self, metric: &str, labels: &str, until: i64, minutes: i64, value: impl Fn(i64) -> f64) {
        let series = self.0.entry(metric.to_owned()).or_default().entry(labels.to_owned()).or_default();
        series.extend((0..=minutes).map(|minute| (until + minute, value(minute))));
    }

    /// The same, without what was said in between.
    fn is_silent(&mut self, metric: &str, labels: &str, minutes: std::ops::Range<i64>) {
        let series = self.0.get_mut(metric).unwrap().get_mut(labels).unwrap();
        series.retain(|(minute, _)| !minutes.contains(minute));
    }

    fn openmetrics(&self, now: Timestamp) -> String {
        let mut text = String::new();
        for (metric, series) in &self.0 {
            writeln!(text, "# TYPE {metric} gauge").unwrap();
            for (labels, points) in series {
                let mut points = points.clone();
                points.sort_by_key(|(minutes, _)| std::cmp::Reverse(*minutes));
                for (minutes, value) in points {
                    let at = now.as_second() - minutes * 60;
                    writeln!(text, "{metric}{{{labels}}} {value} {at}").unwrap();
                }
            }
        }
        text + "# EOF\n"
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn member(pairs: &[(&str, &str)], starts_at: Timestamp) -> Member {
    let labels: Labels = labels(pairs).iter().chain([("alertname", ALERT)]).collect();
    let alert = Alert {
        fingerprint: labels.fingerprint(),
        labels,
        annotations: Labels::default(),
        status: AlertStatus::Firing,
        starts_at,
        generator_url: String::new(),
        value: None,
    };
    Member::join(alert, None, starts_at)
}

/// A daemon of which the clock stands at `now`, and that asks these.
async fn asking(now: Timestamp, prometheus: &[&Url], clusters: &str) -> TestApp {
    let urls: Vec<String> = prometheus.iter().map(|url| format!("{{ url: '{url}' }}")).collect();
    let text = format!("prometheus: [{}]\nclusters:\n{clusters}", urls.join(", "));
    let config =
        Config::parse(&text, "test.yml", &|_| unreachable!()).unwrap_or_else(|problems| panic!("{problems}"));
    TestApp::beginning(now, config).await
}

const CLUSTERS: &str = "
- { name: prod, monitor: ['http://nats-1.invalid:8222', 'http://nats-2.invalid:8222'], match: 'cluster=\"prod\"' }
- { name: helm, monitor: 'http://nats-0.invalid:8222', match: 'cluster=\"helm\"', metric_prefix: nats }
- { name: other, monitor: 'http://other-1.invalid:8222', match: 'cluster=\"other\"' }
- { name: page, monitor: 'http://page.invalid:8222', match: 'cluster=\"page\"', metric_prefix: page }
";

const ID: &str = "NBIKIDUGV63Z6VLBE6PQS7XNXI2LRC3TPZEFKJTLNX4SMVC2IRKWBWFM";
const NEXT_ID: &str = "NCJLJEVHW74A7WMCF7QRT4YOYJ3MSD4UQ2FGLKUMOY5TNWD3JSLXCXGN";

/// Three clusters: an exporter for two servers, a side-car that changes its id, and one that knows the page only.
fn past() -> Past {
    let mut past = Past::default();
    let server = |host: &str| {
        format!("job=\"nats\",instance=\"exporter:7777\",server_id=\"http://{host}.invalid:8222\"")
    };
    let (one, two) = (server("nats-1"), server("nats-2"));
    for metric in ["gnatsd_connz_total", "gnatsd_varz_connections"] {
        past.says(metric, &one, 0, 240, |minute| if minute <= BEGAN { 1500.0 } else { 300.0 });
        past.says(metric, &two, 0, 240, |_| 200.0);
        past.is_silent(metric, &two, 100..130);
        for (days, connections) in [(1, 320.0), (7, 310.0)] {
            past.says(metric, &one, days * 1440, 240, |_| connections);
        }
    }
    past.says("gnatsd_connz_num_connections", &one, 0, 240, |_| 1024.0);
    // 30 a minute, and 600 since
    let accepted = |minute: i64| {
        let (before, since) = if minute <= BEGAN { (200, BEGAN - minute) } else { (240 - minute, 0) };
        (before * 30 + since * 600) as f64
    };
    past.says("gnatsd_varz_total_connections", &one, 0, 240, accepted);

    let pod = |id: &str| format!("job=\"nats\",pod=\"nats-0\",server_id=\"{id}\"");
    // of another cluster
    past.says("gnatsd_connz_total", &server("other-1"), 0, 240, |_| 9000.0);

    past.says("nats_varz_connections", &pod(NEXT_ID), 0, 59, |minute| f64::from(800 - minute as i32 * 5));
    past.says("nats_varz_connections", &pod(ID), 60, 180, |_| 500.0);

    past.says("page_connz_num_connections", "server_id=\"p\"", 0, 240, |minute| {
        if minute <= BEGAN { 1024.0 } else { 700.0 }
    });
    past
}

fn server<'a>(evidence: &'a MetricsEvidence, name: &str) -> &'a ServerMetrics {
    let found = evidence.servers.iter().find(|server| server.server == name);
    found.unwrap_or_else(|| panic!("{name} is not among {evidence:#?}"))
}

fn about(value: Option<f64>, expected: f64) {
    let value = value.unwrap();
    assert!((value - expected).abs() <= expected * 0.05, "{value} is not about {expected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_knows_what_the_servers_of_an_incident_did_before() {
    let now = Timestamp::from_second(Clock::system().now().as_second()).unwrap();
    let prometheus = Prometheus::remembering(&past().openmetrics(now)).await;
    let app = asking(now, &[&prometheus.url], CLUSTERS).await;
    let began_at = now - SignedDuration::from_mins(BEGAN);
    let engine = &app.state.engine;

    let one = member(&[("server_id", "http://nats-1.invalid:8222"), ("job", "nats")], began_at);
    let evidence = engine.gather_metrics("prod", [&one]).await.unwrap();
    assert_eq!(evidence.warnings, [""; 0]);
    assert_eq!(evidence.source.metric, "gnatsd_connz_total");
    assert_eq!(
        evidence.source.expression,
        r#"max by (server_id, pod, instance) (gnatsd_connz_total{server_id="http://nats-1.invalid:8222",job="nats"})"#
    );
    assert_eq!((evidence.servers.len(), evidence.saturated, evidence.step_seconds), (1, false, 30));
    let first = &evidence.servers[0];
    assert_eq!(first.url.as_ref().map(Url::as_str), Some("http://nats-1.invalid:8222/"));
    assert_eq!((first.now, first.before), (Some(1500.0), Some(300.0)));
    assert_eq!((first.yesterday, first.last_week), (Some(320.0), Some(310.0)));
    about(first.new_per_minute, 600.0);
    about(first.usual_new_per_minute, 30.0);
    assert_eq!(first.missing_share, 0.0);
    let pattern = first.pattern.as_ref().unwrap();
    assert_eq!((pattern.kind, pattern.before, pattern.after), (PatternKind::Step, 300.0, 1500.0));
    let apart = pattern.since.unwrap().duration_since(began_at).as_secs().abs();
    assert!(apart <= 60, "{pattern:?}");
    assert!(first.points.len() <= 120 && first.points.len() > 60);

    // whatever the alert does not say, the cluster's servers of the job are looked at, the largest first, and no other's;
    // what is missing is missing
    let vague = member(&[("job", "nats"), ("cluster", "prod")], began_at);
    let evidence = engine.gather_metrics("prod", [&vague]).await.unwrap();
    let names: Vec<&str> = evidence.servers.iter().map(|server| server.server.as_str()).collect();
    assert_eq!(names, ["http://nats-1.invalid:8222", "http://nats-2.invalid:8222"]);
    let second = server(&evidence, "http://nats-2.invalid:8222");
    assert_eq!(second.pattern.as_ref().unwrap().kind, PatternKind::Flat);
    assert!((0.08..0.16).contains(&second.missing_share), "{}", second.missing_share);
    assert_eq!((second.yesterday, second.new_per_minute), (None, None));
    // and so it is where the labels of the alert are nobody's
    let renamed = member(&[("server_id", "eu-1"), ("job", "nats")], began_at);
    assert_eq!(engine.gather_metrics("prod", [&renamed]).await.unwrap().servers, evidence.servers);
    // what names nobody's server may be anybody's
    let nobody = member(&[("cluster", "page")], began_at);
    let evidence = engine.gather_metrics("page", [&nobody]).await.unwrap();
    assert_eq!(
        evidence.warnings,
        ["no series names a known server of cluster `page`, so these may be another cluster's"]
    );
    assert_eq!((evidence.servers.len(), evidence.servers[0].url.as_ref()), (1, None));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_started_anew_is_the_same_and_a_full_page_is_no_count() {
    let now = Timestamp::from_second(Clock::system().now().as_second()).unwrap();
    let prometheus = Prometheus::remembering(&past().openmetrics(now)).await;
    let app = asking(now, &[&prometheus.url], CLUSTERS).await;
    let began_at = now - SignedDuration::from_mins(BEGAN);
    let engine = &app.state.engine;

    let pod = member(&[("server_id", NEXT_ID), ("pod", "nats-0"), ("job", "nats")], began_at);
    let evidence = engine.gather_metrics("helm", [&pod]).await.unwrap();
    assert_eq!(evidence.source.metric, "nats_varz_connections");
    assert_eq!(evidence.servers.len(), 1, "{evidence:#?}");
    let only = server(&evidence, "nats-0");
    assert_eq!((only.now, only.before, only.missing_share), (Some(800.0), Some(500.0), 0.0));
    assert_eq!(only.pattern.as_ref().unwrap().kind, PatternKind::Ramp, "{only:?}");
    about(only.pattern.as_ref().map(|pattern| pattern.per_minute), 5.0);

    let full = member(&[("server_id", "p")], began_at);
    let evidence = engine.gather_metrics("page", [&full]).await.unwrap();
    assert_eq!(evidence.source.metric, "page_connz_num_connections");
    assert!(evidence.saturated);
    assert_eq!(evidence.servers[0].now, Some(1024.0));

    // a prefix that nobody uses
    let nowhere = CLUSTERS.replace("metric_prefix: page", "metric_prefix: elsewhere");
    let app_of_nowhere = asking(now, &[&prometheus.url], &nowhere).await;
    let refused = app_of_nowhere.state.engine.gather_metrics("page", [&full]).await.unwrap_err();
    let who = prometheus.url.as_str().trim_end_matches('/');
    assert_eq!(
        refused,
        format!(
            "{who} has no series of elsewhere_connz_total, elsewhere_varz_connections, elsewhere_connz_num_connections"
        )
    );
    app_of_nowhere.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_question_is_posted_and_a_young_series_has_no_pattern() {
    let exporter = Exporter::start(1024).await;
    let prometheus = Prometheus::start(&exporter, &ClosedPort::new().url, 5000).await;
    prometheus.scrapes().await;
    let now = Clock::system().now() + SignedDuration::from_secs(5);
    let gone = ClosedPort::new();
    let app = asking(now, &[&gone.url, &prometheus.url], CLUSTERS).await;
    let engine = &app.state.engine;

    let long = "x".repeat(200);
    let names: Vec<String> = (0..40).map(|number| format!("{long}{number}")).collect();
    let mut members: Vec<Member> = names.iter().map(|name| member(&[("server_id", name)], now)).collect();
    members.push(member(&[("server_id", "nats-test")], now));
    let evidence = engine.gather_metrics("prod", &members).await.unwrap();
    assert!(evidence.source.expression.len() > 4096);
    let only = server(&evidence, "nats-test");
    assert_eq!((only.now, only.before, only.yesterday), (Some(1024.0), Some(1024.0), None));
    assert_eq!(only.pattern, None);
    assert!(only.missing_share > 0.9 && evidence.saturated);
    // who was asked first, in vain
    let [warning] = evidence.warnings.as_slice() else { panic!("{:?}", evidence.warnings) };
    assert!(warning.starts_with(&format!("POST {}api/v1/query_range: ", gone.url)), "{warning}");
    assert!(warning.contains("cannot connect"), "{warning}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_in_part_are_told_as_such_and_the_tenant_is_named() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let book = asked.clone();
    let now: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
    let router = Router::new().fallback(any(move |request: Request| {
        let tenant = request.headers().get("X-Scope-OrgID").map(|tenant| tenant.to_str().unwrap().to_owned());
        book.lock().unwrap().push(format!("{} {}", request.method(), tenant.unwrap_or_default()));
        let query = request.uri().query().unwrap_or_default().to_owned();
        async move { mimir(&query, now) }
    }));
    let url = serve(router).await;
    let text =
        format!("prometheus: [{{ url: '{url}prometheus', tenant: 'team-a|team-b' }}]\nclusters:\n{CLUSTERS}");
    let config = Config::parse(&text, "test.yml", &|_| unreachable!()).unwrap();
    let app = TestApp::beginning(now, config).await;

    let evidence =
        app.state.engine.gather_metrics("prod", [&member(&[("server_id", "n1")], now)]).await.unwrap();
    assert_eq!(evidence.servers[0].now, Some(70.0));
    let [part, yesterday, refusal, accepted] = evidence.warnings.as_slice() else { panic!("{evidence:#?}") };
    assert_eq!(part, "store-gateway-1: no answer");
    assert_eq!(yesterday, "yesterday: it answers in part");
    assert_eq!(accepted, "new connections: store-gateway-1: no answer");
    assert!(refusal.starts_with(&format!("a week ago: {url}prometheus/api/v1/query_range")), "{refusal}");
    assert!(refusal.ends_with("execution: the query is too long ago"), "{refusal}");
    assert_eq!(*asked.lock().unwrap(), vec!["GET team-a|team-b"; 4]);
    app.finish().await;
}

/// What a Mimir of which a part is down says.
fn mimir(query: &str, now: Timestamp) -> (StatusCode, Json<Value>) {
    let metric = json!({ "__name__": "gnatsd_varz_connections", "server_id": "n1" });
    let values = json!([[now.as_second() - 30, "NaN"], [now.as_second(), "70"]]);
    let data = json!({ "resultType": "matrix", "result": [{ "metric": metric, "values": values }] });
    let (status, answer) = if query.contains("offset+1d") {
        (200, json!({ "status": "success", "isPartial": true, "data": data }))
    } else if query.contains("offset+1w") {
        (422, json!({ "status": "error", "errorType": "execution", "error": "the query is too long ago" }))
    } else {
        let warnings = ["store-gateway-1: no answer"];
        (200, json!({ "status": "success", "data": data, "warnings": warnings, "infos": ["x"] }))
    };
    (StatusCode::from_u16(status).unwrap(), Json(answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_asked_is_told() {
    let now = Clock::system().now();
    let nobody = asking(now, &[], CLUSTERS).await;
    let someone = member(&[], now);
    let engine = &nobody.state.engine;
    let refused = engine.gather_metrics("prod", [&someone]).await.unwrap_err();
    assert_eq!(refused, "no Prometheus is configured (`prometheus`)");
    let refused = engine.gather_metrics("elsewhere", [&someone]).await.unwrap_err();
    assert_eq!(refused, "no cluster `elsewhere` is configured");
    nobody.finish().await;

    let silent = FakeMonitor::start(|_| Answer::Silence).await;
    let garbled = FakeMonitor::start(|_| Answer::json("{\"status\":\"success\",\"data\":{}}")).await;
    let app = asking(now, &[&silent.url, &garbled.url], CLUSTERS).await;
    let stopwatch = Clock::system().stopwatch();
    let refused = app.state.engine.gather_metrics("prod", [&someone]).await.unwrap_err();
    assert!(stopwatch.elapsed() < Duration::from_secs(6), "{:?}", stopwatch.elapsed());
    let silent = silent.url.as_str().trim_end_matches('/');
    assert!(
        refused
            .starts_with(&format!("{silent} did not say within 1.5s how many connections there were; GET ")),
        "{refused}"
    );
    assert!(refused.contains("the answer is not a range of values"), "{refused}");
    app.finish().await;
}

async fn serve(router: Router) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}
