//! `connwarden serve` and what belongs to it: how it starts or refuses to, and the commands that ask it.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::harness::daemon::{Daemon, run};
use crate::harness::nats::{NEWEST, NatsServer};
use crate::harness::payload::{firing, notification};
use crate::harness::{fixture, http};

/// Two mistakes, on the first and on the last line.
const WRONG: &str =
    "web: {listen_adress: 127.0.0.1:9480}\nclusters:\n  - name: a\n    monitor: nats-1:8222\n";

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_it_listens_only_when_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let storage = directory.path().join("data");
    let refused = ["serve", "--storage.path", storage.to_str().unwrap(), "--web.listen-address", "0.0.0.0:0"];
    let (code, _, errors) = run(&refused).await;
    assert_eq!(code, 1, "{errors}");
    for said in ["0.0.0.0:0 is not loopback", "there is no authentication", "--web.insecure-no-auth"] {
        assert!(errors.contains(said), "{errors}");
    }
    assert!(!storage.exists(), "a daemon that is not started makes no storage");

    let told = ["--web.listen-address", "0.0.0.0:0", "--web.insecure-no-auth"].map(str::to_owned);
    let mut process = crate::harness::process::Process::start(
        crate::harness::daemon::program(),
        &[&["serve".to_owned()], &told[..]].concat(),
        directory.path(),
    );
    process
        .logged("that it listens", |line| line.contains("listening on http://0.0.0.0:").then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_with_every_problem() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "wrong.yml", WRONG);
    let (code, _, errors) = run(&["serve", "--config.file", &file]).await;
    assert_eq!(code, 1, "{errors}");
    for said in [
        format!("{file}:1:7: "),
        "listen_adress".to_owned(),
        format!("{file}:4:"),
        "write `http://`".to_owned(),
    ] {
        assert!(errors.contains(&said), "no {said} in {errors}");
    }

    let both = ["serve", "--config.file", &file, "--nats.monitor", "http://nats-1:8222"];
    let (code, _, errors) = run(&both).await;
    assert_eq!(code, 2);
    assert!(errors.contains("cannot be used with"), "{errors}");
    let (code, _, errors) = run(&["serve", "--log.level", "loud"]).await;
    assert_eq!(code, 2);
    assert!(errors.contains("--log.level"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "file", "not a directory");
    for path in [file.clone(), format!("{file}/data")] {
        let (code, _, errors) =
            run(&["serve", "--storage.path", &path, "--web.listen-address", "127.0.0.1:0"]).await;
        assert_eq!(code, 1, "{errors}");
        assert!(
            errors.contains(&format!("connwarden: cannot use the storage directory {path}: ")),
            "{errors}"
        );
    }

    let garbage = directory.path().join("data");
    std::fs::create_dir(&garbage).unwrap();
    write(&garbage, "connwarden.db", &"not a database ".repeat(1000));
    let path = garbage.to_str().unwrap();
    let (code, _, errors) =
        run(&["serve", "--storage.path", path, "--web.listen-address", "127.0.0.1:0"]).await;
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("connwarden.db is damaged (") && errors.contains("not a database"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;
    let address = format!("127.0.0.1:{}", daemon.url.port().unwrap());
    let other = directory.path().join("other");
    let other = ["serve", "--storage.path", other.to_str().unwrap(), "--web.listen-address", &address];
    let (code, _, errors) = run(&other).await;
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains(&format!("listening on {address}")) && errors.contains("in use"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_tells_good_from_bad() {
    let directory = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("connwarden.example.yml");
    let example = example.to_str().unwrap();
    let (code, out, errors) = run(&["check-config", example]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    assert_eq!(out.lines().last(), Some(format!("{example}: good: 1 clusters, 3 servers").as_str()));

    let file = write(directory.path(), "wrong.yml", WRONG);
    let (code, out, _) = run(&["check-config", &file, example]).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.starts_with(&format!("{file}:1:7: ")) && out.contains(&format!("\n{file}:4:14: ")), "{out}");
    assert!(out.contains("good: 1 clusters"), "the good file is checked too: {out}");
    assert_eq!(run(&["check-config"]).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_is_asked_for_its_incidents() {
    let nats = NatsServer::start(NEWEST, "").await;
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::watching(directory.path(), [&nats.monitor]).await;
    let server = daemon.url.as_str();
    let (code, out, errors) = run(&["incidents", "--server", server, "list"]).await;
    assert_eq!((code, out.as_str(), errors.as_str()), (0, "no incidents\n", ""));

    daemon.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await;
    daemon.notify(notification(&[firing("=2+5\u{1b}[2J", "nats-1:7777")])).await;
    let seen = |incident: &Value| !incident["headline"].is_null();
    let id = daemon.incident("a headline", seen).await["id"].as_str().unwrap().to_owned();

    let (code, table, _) = run(&["incidents", "list", "--server", server]).await;
    assert_eq!(code, 0);
    assert!(table.starts_with("WHAT") && table.contains("nats (assumed)") && table.contains(&id), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 160 && !line.contains('\u{1b}')), "{table}");

    let (code, json, _) = run(&["incidents", "list", "--server", server, "-o", "json", "--limit", "1"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json), (0, &daemon.get("api/v1/incidents?limit=1").await));
    let (_, page, _) = run(&["incidents", "list", "--server", server, "--limit", "1"]).await;
    let cursor = page.lines().last().unwrap().strip_prefix("there are more: --before ").unwrap();
    let (_, rest, _) = run(&["incidents", "list", "--server", server, "--before", cursor]).await;
    assert!(!rest.contains(&id) && rest.lines().count() == 2, "{rest}");

    let (code, text, _) =
        run(&["incidents", "list", "--server", server, "-o", "csv", "--state", "triggered"]).await;
    assert_eq!(code, 0);
    let records: Vec<csv::StringRecord> =
        csv::Reader::from_reader(text.as_bytes()).records().collect::<Result<_, _>>().unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0][0], &records[0][3]), (id.as_str(), r"'=2+5\u{1b}[2J"));

    let (code, text, _) = run(&["incidents", "show", &id, "--server", server]).await;
    assert_eq!(code, 0);
    for part in [&format!("incident  {id}\n"), "\nALERTS\n", "\nTIMELINE\n", "nats-test", "complete"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let (code, json, _) = run(&["incidents", "show", &id, "--server", server, "-o", "json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json), (0, &daemon.get(&format!("api/v1/incidents/{id}")).await));
    let (_, json, _) =
        run(&["incidents", "show", &id, "--server", server, "-o", "json", "--by", "account,ip"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["breakdowns"].as_object().unwrap().keys().collect::<Vec<_>>(), ["account", "ip"]);
    let (code, text, _) = run(&["incidents", "show", &id, "--server", server, "-o", "csv"]).await;
    assert_eq!((code, text.lines().next().map(|line| line.starts_with("dimension,key,"))), (0, Some(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_in_vain_is_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;
    let nats = NatsServer::start(NEWEST, "").await;
    let (server, unknown) = (daemon.url.as_str(), "0190a1b2-0000-7000-8000-000000000000");
    let cases: [(&[&str], i32, &str); 6] = [
        (
            &["incidents", "list", "--server", "http://127.0.0.1:1"],
            1,
            "asking http://127.0.0.1:1/; is `connwarden serve` running there? (see --server)",
        ),
        (&["incidents", "list", "--server", nats.monitor.as_str()], 1, "is it connwarden?"),
        (
            &["incidents", "list", "--server", server, "--state", "open"],
            1,
            "connwarden: state: `open` is not one of triggered, acknowledged, recovering, resolved",
        ),
        (&["incidents", "show", unknown, "--server", server], 1, "connwarden: no incident 0190a1b2"),
        (&["incidents", "show", "latest", "--server", server], 2, "invalid value 'latest'"),
        (
            &["incidents", "show", unknown, "--by", "port", "--server", server],
            2,
            "unknown dimension `port`; there are",
        ),
    ];
    for (arguments, expected, message) in cases {
        let (code, out, errors) = run(arguments).await;
        assert_eq!((code, out.as_str()), (expected, ""), "{arguments:?}: {errors}");
        assert!(errors.contains(message), "{arguments:?}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_json_when_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--log.format", "json", "--log.level", "debug", "--nats.monitor", "http://127.0.0.1:1"];
    let mut daemon = Daemon::start(directory.path(), &arguments.map(str::to_owned)).await;
    daemon.notify(notification(&[firing("a\nb\u{1b}", "nats-1:7777"), firing("b", "nats-1:7777")])).await;
    daemon.notify("\n{").await;
    daemon.process.logged("the refusal", |line| line.contains("refused a notification").then_some(())).await;
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());

    let log = daemon.process.log();
    let mut messages = Vec::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        if line["level"] == "INFO" && line["message"].as_str().is_some_and(|it| it.starts_with("received")) {
            assert_eq!(
                (&line["notifications"], &line["alerts"], &line["repeated"]),
                (&json!(1), &json!(2), &json!(0))
            );
        }
        messages.push(line["message"].as_str().unwrap_or_default().to_owned());
    }
    for begun in [
        "listening on http://127.0.0.1:",
        "received notifications: 1 with 2 alerts, 0 of them repeated",
        "SIGTERM received",
        "stopped;",
    ] {
        assert!(messages.iter().any(|message| message.starts_with(begun)), "no `{begun}` in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_request_that_failed_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    let mut outsider = SqliteConnectOptions::new()
        .filename(directory.path().join("data/connwarden.db"))
        .connect()
        .await
        .unwrap();
    sqlx::query("ALTER TABLE incidents RENAME TO gone").execute(&mut outsider).await.unwrap();

    let answer = http().get(daemon.at("api/v1/incidents")).send().await.unwrap();
    assert_eq!(answer.status(), 500);
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(problem["request_id"], id);
    let line = |line: &str| line.contains("request failed").then(|| line.to_owned());
    let line = daemon.process.logged("the failure", line).await;
    assert!(line.contains(&id) && line.contains("no such table: incidents"), "{line}");

    // what comes later is logged later
    let (status, _) = daemon.notify(notification(&[firing("a", "nats-1:7777")])).await;
    assert_eq!(status, 503);
    let stored = |line: &str| line.contains("could not be stored").then_some(());
    daemon.process.logged("the other failure", stored).await;
    let log = daemon.process.log();
    assert_eq!(log.lines().filter(|line| line.contains("ERROR")).count(), 2, "{log}");
}

/// Writes a file; its path.
fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}
