//! `connwarden doctor`: what it finds, what it says to do, and how it ends.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::harness::daemon::{Daemon, run};
use crate::harness::nats::{NEWEST, NatsServer};
use crate::harness::payload::{ALERT, firing, notification};

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_daemon_is_found_healthy() {
    let nats = NatsServer::start(NEWEST, "").await;
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(directory.path(), &[nats.monitor.as_str()]);
    let arguments = ["--config.file".to_owned(), config.clone()];
    let daemon = Daemon::start(directory.path(), &arguments).await;
    assert_eq!(daemon.notify(notification(&[firing(ALERT, "nats-1:7777")])).await.0, 202);

    let (code, out, errors) = run(&["doctor", "--config.file", &config]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    let data = directory.path().join("data");
    let expected = [
        format!("ok       configuration: {config}: 1 clusters, 1 servers"),
        format!("ok       storage: {}", data.display()),
        format!("ok       lock: connwarden runs as process {}", daemon.process.id()),
        "ok       schema: version 6".to_owned(),
        "ok       integrity: every page and index is as it should be".to_owned(),
        "ok       consistency: no row contradicts another".to_owned(),
        "ok       jobs: none was given up".to_owned(),
    ];
    for line in &expected {
        assert!(lines.contains(&line.as_str()), "no `{line}` in\n{out}");
    }
    let no_actions = "ok       cluster nats: kick and drain cannot work: no system account is configured";
    assert!(lines.iter().any(|line| line.starts_with(no_actions)), "{out}");
    let server = format!("ok       cluster nats: {} is ", nats.monitor);
    assert!(lines.iter().any(|line| line.starts_with(&server) && line.ends_with(" 0 connections")), "{out}");
    assert_eq!(lines.len(), expected.len() + 3, "these, the server, what it can do, and the space: {out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(directory.path(), &["http://127.0.0.1:1"]);
    let arguments = ["--config.file".to_owned(), config.clone()];
    let mut daemon = Daemon::start(directory.path(), &arguments).await;
    for serial in 0..50 {
        assert_eq!(daemon.notify(notification(&[firing("A", &format!("nats-{serial}:7777"))])).await.0, 202);
    }
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    let data = directory.path().join("data");
    let database = data.join("connwarden.db");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o777)).unwrap();
    let token = data.join("operator-token");
    for file in [&database, &token] {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let mut outsider =
        SqliteConnectOptions::new().filename(&database).foreign_keys(false).connect().await.unwrap();
    for change in [
        "UPDATE entries SET incident_key = 77 WHERE entry_key = (SELECT max(entry_key) FROM entries)",
        "DROP INDEX incidents_unresolved",
        "INSERT INTO incidents (incident_id, identity, alert_name, state, reopened, opened_at, updated_at)
         SELECT 'twin', identity, alert_name, state, reopened, opened_at, updated_at FROM incidents LIMIT 1",
        "INSERT INTO jobs (kind, subject, state, attempts, created_at, due_at)
         VALUES ('enrich', 'nobody', 'dead', 7, 0, 0)",
    ] {
        sqlx::query(change).execute(&mut outsider).await.unwrap();
    }

    let (code, out, errors) = run(&["doctor", "--config.file", &config]).await;
    assert_eq!((code, errors.as_str()), (1, ""), "{out}");
    for line in [
        format!("warning  storage: others may write into {0}: chmod go-w {0}", data.display()),
        format!(
            "warning  storage: others may read {0}, which holds the key of user hashes: chmod 600 {0}",
            database.display()
        ),
        format!("warning  storage: others may read {}, so it lets nobody in: remove it", token.display()),
        "ok       lock: no connwarden runs here".to_owned(),
        "ok       integrity: every page and index is as it should be".to_owned(),
        "has no parent in incidents: please report it, with the log".to_owned(),
        "failed   consistency: several incidents of ".to_owned(),
        "failed   consistency: incident twin has no beginning in its timeline: please".to_owned(),
        "failed   consistency: job enrich is about nobody, which is not there: please".to_owned(),
        "warning  jobs: 1 were given up; the log says why".to_owned(),
        "failed   cluster nats: GET http://127.0.0.1:1/varz: cannot connect: ".to_owned(),
    ] {
        assert!(out.contains(&line), "no `{line}` in\n{out}");
    }

    let root = "SELECT rootpage FROM sqlite_master WHERE name = $1";
    let mut pages = Vec::new();
    for table in ["entries", "_sqlx_migrations"] {
        let page: i64 = sqlx::query_scalar(root).bind(table).fetch_one(&mut outsider).await.unwrap();
        pages.push(page as usize);
    }
    outsider.close().await.unwrap();
    let good = std::fs::read(&database).unwrap();
    for (page, found) in pages.into_iter().zip([
        "failed   integrity: ".to_owned(),
        format!("failed   database: {} is damaged (", database.display()),
    ]) {
        let mut bytes = good.clone();
        bytes[(page - 1) * 4096..page * 4096].fill(0x5a);
        std::fs::write(&database, &bytes).unwrap();
        let (code, out, _) = run(&["doctor", "--storage.path", data.to_str().unwrap()]).await;
        assert_eq!(code, 1);
        assert!(out.contains(&found) && out.contains("put the last backup in its place"), "{out}");
    }
    std::fs::write(&database, "not a database ".repeat(1000)).unwrap();
    let (code, out, _) = run(&["doctor", "--storage.path", data.to_str().unwrap()]).await;
    assert_eq!(code, 1);
    assert!(out.contains(&format!("failed   database: {} is damaged (", database.display())), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_yet_is_no_failure_but_a_wrong_configuration_is() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nowhere");
    let (code, out, _) = run(&["doctor", "--storage.path", nowhere.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{out}");
    let expected = format!(
        "warning  storage: {} is not there; the first start of connwarden makes it",
        nowhere.display()
    );
    assert!(out.contains(&expected) && out.contains("warning  servers: no cluster is configured"), "{out}");
    assert!(!nowhere.exists(), "a doctor makes nothing");

    let file = directory.path().join("wrong.yml");
    std::fs::write(&file, "web: {listen_adress: 127.0.0.1:9480}\nlogs: {}\n").unwrap();
    let (code, out, _) = run(&["doctor", "--config.file", file.to_str().unwrap()]).await;
    assert_eq!(code, 1);
    assert_eq!(out.lines().filter(|line| line.starts_with("failed   configuration: ")).count(), 2, "{out}");
}

/// Writes a configuration of one cluster beside its storage; its path.
fn configuration(directory: &Path, monitors: &[&str]) -> String {
    let file = directory.join("connwarden.yml");
    let storage = directory.join("data");
    let text = format!(
        "storage:\n  path: {}\nclusters:\n  - name: nats\n    monitor: {}\n",
        storage.display(),
        serde_json::to_string(monitors).unwrap()
    );
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}
