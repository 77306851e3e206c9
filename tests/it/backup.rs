//! `connwarden backup`: a copy that can be started from, made beside a running daemon, and never instead of something.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::task::JoinSet;

use crate::harness::daemon::{Daemon, program, run};
use crate::harness::document::timeline;
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::process::Process;
use crate::harness::{eventually, http};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_is_backed_up_and_started_again_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;
    let group: Vec<Value> = (0..500).map(|serial| member(ALERT, serial)).collect();
    assert_eq!(daemon.notify(notification(&group)).await.0, 202);

    // as many writers as there may be
    let mut writing = JoinSet::new();
    for sender in 0..8 {
        let (client, webhook) = (http(), daemon.webhook());
        writing.spawn(async move {
            for serial in 0.. {
                let alert = member(&format!("Load{sender}"), serial);
                let answer = client.post(webhook.clone()).body(notification(&[alert])).send().await.unwrap();
                assert_eq!(answer.status(), 202);
            }
        });
    }
    let busy = async || {
        let incidents = daemon.get("api/v1/incidents").await;
        (incidents["incidents"].as_array().unwrap().len() == 9).then_some(())
    };
    eventually("load", busy).await;
    let file = directory.path().join("backup.db");
    let (code, out, errors) = backup(&file, &directory.path().join("data")).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    let begins =
        format!("{} is a copy of {}", file.display(), directory.path().join("data/connwarden.db").display());
    assert!(out.starts_with(&begins) && out.contains(": 9 incidents (9 unresolved), "), "{out}");
    writing.abort_all();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(directory.path()), ["backup.db", "connwarden.log", "data"], "something was left behind");

    // put where the manual says
    let restored = tempfile::tempdir().unwrap();
    std::fs::create_dir(restored.path().join("data")).unwrap();
    std::fs::copy(&file, restored.path().join("data/connwarden.db")).unwrap();
    let again = Daemon::start(restored.path(), &[]).await;
    let list = again.get("api/v1/incidents").await;
    let incidents = list["incidents"].as_array().unwrap();
    assert_eq!(incidents.len(), 9);
    let first = incidents.last().unwrap()["id"].as_str().unwrap();
    let path = format!("api/v1/incidents/{first}");
    let (kept, original) = (again.get(&path).await, daemon.get(&path).await);
    assert_eq!((&kept, timeline(&kept)[0]), (&original, "opened"));
    // two that act on one cluster must see that they are two; users are called the same by both
    let settings = async |directory: &Path| {
        let database = directory.join("data/connwarden.db");
        let mut conn =
            SqliteConnectOptions::new().filename(database).read_only(true).connect().await.unwrap();
        let query =
            "SELECT name, value FROM settings WHERE name IN ('instance_id', 'user_hash_key') ORDER BY name";
        let settings: Vec<(String, String)> = sqlx::query_as(query).fetch_all(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        settings
    };
    let (ours, theirs) = (settings(directory.path()).await, settings(restored.path()).await);
    assert_eq!((ours.len(), theirs.len()), (2, 2));
    assert_ne!(ours[0], theirs[0]);
    assert_eq!(ours[1], theirs[1]);
    assert_eq!(again.notify(notification(&[firing(ALERT, "nats-1:7777")])).await.0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_daemon_is_backed_up_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    assert_eq!(daemon.notify(notification(&[firing(ALERT, "nats-1:7777")])).await.0, 202);
    // what is in the write-ahead log only is in the copy as well
    daemon.process.kill();
    let (code, out, errors) = backup(&directory.path().join("b"), &directory.path().join("data")).await;
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("1 incidents (1 unresolved), 1 notifications"), "{out}");

    let config = directory.path().join("connwarden.yml");
    let storage = directory.path().join("data");
    std::fs::write(&config, format!("storage:\n  path: {}\n", storage.display())).unwrap();
    let second = directory.path().join("c");
    let (code, _, errors) =
        run(&["backup", second.to_str().unwrap(), "--config.file", config.to_str().unwrap()]).await;
    assert_eq!((code, second.exists()), (0, true), "{errors}");
    Daemon::start(directory.path(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_backed_up_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    for serial in 0..200 {
        assert_eq!(daemon.notify(notification(&[firing("A", &format!("nats-{serial}:7777"))])).await.0, 202);
    }
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    let data = directory.path().join("data");
    let before = names(directory.path());

    let there = directory.path().join("connwarden.log");
    let log = std::fs::read(&there).unwrap();
    let (code, _, errors) = backup(&there, &data).await;
    assert_eq!(code, 1);
    assert!(errors.contains("is there already, and a backup overwrites nothing"), "{errors}");
    assert!(std::fs::read(&there).unwrap() == log);

    let nowhere = directory.path().join("nowhere/b.db");
    let (code, _, errors) = backup(&nowhere, &data).await;
    assert_eq!(code, 1);
    assert!(errors.contains(&format!("cannot write {}: No such file", nowhere.display())), "{errors}");

    let file = directory.path().join("b.db");
    let (code, _, errors) = backup(&file, directory.path()).await;
    assert_eq!(code, 1);
    let database = directory.path().join("connwarden.db");
    assert!(errors.contains(&format!("there is no database {}", database.display())), "{errors}");

    let database = data.join("connwarden.db");
    let mut outsider = SqliteConnectOptions::new().filename(&database).connect().await.unwrap();
    let root = "SELECT rootpage FROM sqlite_master WHERE name = 'notifications'";
    let page: i64 = sqlx::query_scalar(root).fetch_one(&mut outsider).await.unwrap();
    outsider.close().await.unwrap();
    let mut bytes = std::fs::read(&database).unwrap();
    let end = page as usize * 4096;
    bytes[end - 4096..end].fill(0x5a);
    std::fs::write(&database, &bytes).unwrap();
    let (code, _, errors) = backup(&file, &data).await;
    assert_eq!(code, 1);
    assert!(errors.contains(&format!("cannot copy {}: ", database.display())), "{errors}");
    assert!(errors.contains("malformed"), "{errors}");
    assert_eq!(names(directory.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_told_to_end_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    let data = directory.path().join("data");
    // whoever wants to read it waits
    let mut holder =
        SqliteConnectOptions::new().filename(data.join("connwarden.db")).connect().await.unwrap();
    sqlx::query("PRAGMA journal_mode = DELETE").execute(&mut holder).await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut holder).await.unwrap();

    let files = tempfile::tempdir().unwrap();
    let arguments = ["backup", "copy.db", "--storage.path", data.to_str().unwrap()];
    for (name, signal) in [("SIGTERM", Process::terminate as fn(&Process)), ("SIGHUP", Process::hang_up)] {
        let mut process = Process::start(program(), &arguments, files.path());
        let unfinished = files.path().join(format!("copy.db.unfinished-{}", process.id()));
        eventually("a copy that has begun", async || unfinished.exists().then_some(())).await;
        signal(&process);
        assert_eq!(process.ended().await.code(), Some(1));
        assert!(
            process.log().contains(&format!("{name} received, so there is no backup")),
            "{}",
            process.log()
        );
        assert_eq!(names(files.path()), ["connwarden.log"]);
    }
}

/// An alert, one of many of the same incident.
fn member(alert_name: &str, serial: usize) -> Value {
    let mut alert = firing(alert_name, "nats-1:7777");
    alert["labels"]["pod"] = json!(format!("pod-{serial}"));
    alert
}

/// Runs `connwarden backup`.
async fn backup(file: &Path, storage: &Path) -> (i32, String, String) {
    run(&["backup", file.to_str().unwrap(), "--storage.path", storage.to_str().unwrap()]).await
}

/// What is in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
