//! Intake: what becomes of every body that a sender may post.
//!
//! 2xx means stored, 4xx means hopeless, 503 means "try again": Alertmanager never repeats what was answered with
//! 4xx once the alert is over.

mod delivery;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use connwarden::config::Config;
use connwarden::model::ids::NotificationId;
use connwarden::store;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use crate::harness::fixture;
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::test_app::{Answer, TestApp};

/// `lab` and `dev` have no matchers, so nothing is assumed.
const CLUSTERS: &str = r#"
clusters:
  - name: prod
    monitor: [http://nats-1.prod.example:8222, http://nats-2.prod.example:8222]
    match: ['env="prod"']
  - name: lab
    monitor: [http://nats-1:8222, http://nats-2:8222]
  - name: dev
    monitor: [http://nats-1.dev.example:8222]
"#;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn every_captured_notification_is_taken_and_mapped() {
    // the versions of Alertmanager that sent the same thing share a line
    let mut table: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alertmanager");
    for file in std::fs::read_dir(directory).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".json") else { continue };
        let (case, sender) = name.split_once(".am-").or_else(|| name.rsplit_once('.')).unwrap();
        let meaning = take(&file).await;
        table.entry((case.to_owned(), meaning)).or_default().push(sender.to_owned());
    }
    let mut text = String::new();
    for ((case, meaning), mut senders) in table {
        senders.sort_unstable();
        writeln!(text, "{case} ({})\n    {meaning}", senders.join(" ")).unwrap();
    }
    insta::assert_snapshot!(text, @r"
    constructed-minimal-v4 (CONSTRUCTED)
        no incident
    e2e-prom-2.42.0-firing (0.25.0)
        lab by server: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1024.0
    e2e-prom-2.42.0-mixed (0.25.0)
        lab by server: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1010.0
    e2e-prom-2.42.0-new-alert-added (0.25.0)
        lab by server: NatsHighNumberOfConnections, 2 firing, 0 resolved, value 1010.0 1024.0
    e2e-prom-2.42.0-resolved-by-stale-series (0.25.0)
        no incident
    e2e-prom-3.5.3-firing (0.33.1)
        lab by server: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1024.0
    e2e-prom-3.5.3-mixed (0.33.1)
        lab by server: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1010.0
    e2e-prom-3.5.3-new-alert-added (0.33.1)
        lab by server: NatsHighNumberOfConnections, 2 firing, 0 resolved, value 1010.0 1024.0
    e2e-prom-3.5.3-resolved-by-stale-series (0.33.1)
        no incident
    grafana-webhook (CONSTRUCTED)
        lab by server: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1024.0
    group3-firing (0.25.0 0.28.1 0.33.1)
        prod by matchers: NatsHighNumberOfConnections, 3 firing, 0 resolved, value 1024.0 1100.0 1200.0
    group3-mixed (0.25.0 0.28.1 0.33.1)
        prod by matchers: NatsHighNumberOfConnections, 2 firing, 0 resolved, value 1024.0 1200.0
    group3-rest-resolved (0.25.0 0.28.1 0.33.1)
        no incident
    group500 (0.25.0 0.33.1)
        prod by matchers: NatsHighNumberOfConnections, 500 firing, 0 resolved, value 1024.0
    groupby-all (0.25.0 0.28.1 0.33.1)
        prod by matchers: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1024.0
    groupby-none (0.25.0 0.28.1 0.33.1)
        prod by matchers: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1024.0
    ha-duplicate-node0 (0.25.0 0.33.1)
        lab by server: NatsHighNumberOfConnections, 1 firing, 0 resolved, value null
    ha-duplicate-node1 (0.25.0 0.33.1)
        lab by server: NatsHighNumberOfConnections, 1 firing, 0 resolved, value null
    receiver-name-escaped (0.25.0 0.28.1 0.33.1)
        prod by matchers: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1024.0
    resolved-without-firing (0.25.0 0.28.1 0.33.1)
        prod by matchers: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1024.0
    route-labels-am-0.34 (CONSTRUCTED)
        prod by matchers: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1024.0
    single-firing (0.25.0 0.28.1 0.33.1)
        prod by matchers: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1024.0
    single-repeat (0.25.0 0.28.1 0.33.1)
        prod by matchers: NatsHighNumberOfConnections, 1 firing, 0 resolved, value 1024.0
    single-resolved (0.25.0 0.28.1 0.33.1)
        no incident
    truncated (0.25.0 0.28.1 0.33.1)
        prod by matchers: NatsHighNumberOfConnections, 2 firing, 0 resolved, value 1024.0
    unicode (0.25.0)
        prod by matchers: NatsHighNumberOfConnections, 2 firing, 0 resolved, value 1024.0
    unicode (0.28.1 0.33.1)
        prod by matchers: NatsHighNumberOfConnections, 3 firing, 0 resolved, value 1024.0
    ");
}

/// Posts a fixture to a daemon of its own; what the daemon made of it.
async fn take(file: &str) -> String {
    let app = TestApp::with(config(CLUSTERS)).await;
    let body = fixture(&format!("alertmanager/{file}"));
    let answer = app.notify(body.clone()).await;
    assert_eq!(answer.status, 202, "{file}: {}", answer.text);
    assert_eq!(kept_body(&app, &answer).await, body.as_bytes(), "{file} is not kept word for word");

    let mut incidents = Vec::new();
    for id in answer.json()["incidents"].as_array().unwrap() {
        let incident = app.get(&format!("/api/v1/incidents/{}", id.as_str().unwrap())).await.json();
        let alerts = incident["alerts"].as_array().unwrap();
        let count = |status: &str| alerts.iter().filter(|alert| alert["status"] == status).count();
        let values: BTreeSet<String> = alerts.iter().map(|alert| alert["value"].to_string()).collect();
        let values = values.into_iter().collect::<Vec<_>>().join(" ");
        let (cluster, mapped_by, name) =
            (&incident["cluster"], &incident["mapped_by"], &incident["alert_name"]);
        let (firing, resolved) = (count("firing"), count("resolved"));
        incidents.push(format!(
            "{cluster} by {mapped_by}: {name}, {firing} firing, {resolved} resolved, value {values}"
        ));
    }
    // the servers do not exist: nobody needs to look at them
    let jobs = sqlx::query("DELETE FROM jobs").execute(&mut outsider(&app).await).await.unwrap();
    assert_eq!(jobs.rows_affected(), incidents.len() as u64, "{file}: one look per incident");
    app.finish().await;
    if incidents.is_empty() { "no incident".to_owned() } else { incidents.join("\n    ").replace('"', "") }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_never_be_a_notification_is_refused_in_one_line_and_not_kept() {
    let app = TestApp::start().await;
    let with = |key: &str, value: Value| {
        let mut alert = firing(ALERT, "nats-1:7777");
        alert[key] = value;
        notification(&[firing(ALERT, "nats-1:7777"), alert]).into_bytes()
    };
    let brackets = "[".repeat(100_000);
    let nested = |key: &str| {
        let value = format!(r#"{{"A":{brackets}{}}}"#, "]".repeat(100_000));
        String::from_utf8(with(key, json!("?"))).unwrap().replace(r#""?""#, &value).into_bytes()
    };
    assert_eq!(app.notify(nested("values")).await.status, 202, "what can be done without may be anything");
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "the body is not JSON: EOF while parsing"),
        (b"firing!".to_vec(), "the body is not JSON: expected ident"),
        (b"\xff\xfe".to_vec(), "the body is not JSON: "),
        (b"{\"alerts\":[],\"receiver\":\"\xff\"}".to_vec(), "the body is not JSON: invalid unicode"),
        (br#"{"alerts":[]} {"alerts":[]}"#.to_vec(), "the body is not JSON: trailing characters"),
        (b"null".to_vec(), "the body is not an Alertmanager notification: it is no JSON object"),
        (
            br#"{"id":"A","n":1,"st":"firing"}"#.to_vec(),
            "the body is not an Alertmanager notification: missing field `alerts`",
        ),
        (br#"{"alerts":{}}"#.to_vec(), "the body is not an Alertmanager notification: invalid type: map"),
        (br#"{"alerts":[7]}"#.to_vec(), "alerts[0] is not an alert: it is no JSON object"),
        (with("startsAt", json!("yesterday")), "alerts[1] is not an alert: "),
        (with("startsAt", json!("2026-02-30T00:00:00Z")), "alerts[1] is not an alert: "),
        (with("startsAt", json!("a\r\nb")), "alerts[1] is not an alert: "),
        (with("status", json!("pending")), "alerts[1] is not an alert: unknown variant `pending`"),
        (
            with("status", json!("a\nlevel=info b")),
            r"alerts[1] is not an alert: unknown variant `a level=info b`",
        ),
        (with("status", json!("x".repeat(MIB))), "alerts[1] is not an alert: unknown variant `xxx"),
        (with("labels", json!({ "alertname": 7 })), "alerts[1] is not an alert: invalid type: integer `7`"),
        (brackets.clone().into_bytes(), "the body is not JSON: EOF while parsing"),
        (nested("labels"), "alerts[1] is not an alert: invalid type: sequence"),
    ];
    let count = cases.len();
    for (body, expected) in cases {
        let answer = app.notify(body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_one_line(&answer);
        assert!(answer.text.starts_with(expected), "{:?} does not begin with {expected:?}", answer.text);
    }
    assert_eq!(notifications(&app).await, 1);
    assert_eq!(counted(&app, "hopeless").await, count);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_any_kind_come_back_unchanged() {
    let app = TestApp::start().await;
    let odd = firing("a\u{0}b\u{1b}[2J\u{202e}<script>", "=cmd|' /C calc'!A0, \"x\"\r\n:7777");
    let mut bodies = vec![notification(&[odd])];
    bodies.extend(
        ["0.25.0", "0.28.1", "0.33.1"]
            .map(|version| fixture(&format!("alertmanager/unicode.am-{version}.json"))),
    );
    for body in bodies {
        let answer = app.notify(body.clone()).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let mut shown = Vec::new();
        for id in answer.json()["incidents"].as_array().unwrap() {
            let incident = app.get(&format!("/api/v1/incidents/{}", id.as_str().unwrap())).await.json();
            shown.extend(incident["alerts"].as_array().unwrap().iter().cloned());
        }
        let sent: Value = serde_json::from_str(&body).unwrap();
        for alert in sent["alerts"].as_array().unwrap() {
            let same = |shown: &&Value| {
                shown["labels"] == alert["labels"]
                    && shown["annotations"] == alert["annotations"]
                    && shown["generator_url"] == alert["generatorURL"]
            };
            assert!(shown.iter().any(|shown| same(&shown)), "{alert} is not among {shown:?}");
        }
    }
    app.finish().await;
}

fn config(text: &str) -> Config {
    let no_secrets = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    Config::parse(text, "connwarden.yml", &no_secrets).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The body that was kept of the notification that an answer is about.
async fn kept_body(app: &TestApp, answer: &Answer) -> Vec<u8> {
    let id: NotificationId = serde_json::from_value(answer.json()["notification"].clone()).unwrap();
    let mut conn = app.state.store.read().await.unwrap();
    store::notifications::find_body(&mut conn, id).await.unwrap().unwrap()
}

/// A connection to the database that is not the daemon's.
async fn outsider(app: &TestApp) -> SqliteConnection {
    let file = app.directory.path().join("connwarden.db");
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

async fn notifications(app: &TestApp) -> i64 {
    let counting = sqlx::query_scalar("SELECT count(*) FROM notifications");
    counting.fetch_one(&mut outsider(app).await).await.unwrap()
}

/// How many notifications the metrics count with this result.
async fn counted(app: &TestApp, result: &str) -> usize {
    let metrics = app.get("/metrics").await.text;
    let sample = format!("connwarden_notifications_total{{result=\"{result}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&sample));
    count.unwrap_or_else(|| panic!("no {sample}in {metrics}")).parse().unwrap()
}

fn assert_one_line(answer: &Answer) {
    assert_eq!(answer.content_type, "text/plain; charset=utf-8");
    assert_eq!(answer.text.lines().count(), 1, "{:?}", answer.text);
    assert!(answer.text.ends_with('\n') && answer.text.len() < 1000, "{} bytes", answer.text.len());
}
