//! Faults of the disk and of the database: what cannot be stored is refused with the reason, nothing is half-written,
//! `/-/ready` tells the truth, and all is well again when the cause is gone.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::task::JoinSet;

use crate::harness::daemon::{Daemon, program, run};
use crate::harness::payload::{firing, notification};
use crate::harness::test_app::TestApp;
use crate::harness::{eventually, http};
use crate::swarm::random::Random;

/// How much of each notification does not get smaller by compression, in bytes.
const BULK: usize = 50_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_more_means_try_again_until_it_does() {
    let directory = tempfile::tempdir().unwrap();
    // files end at 1 MiB; without the signal that would end the process, as on a disk that is full
    let limited = ["sh", "-c", "trap '' XFSZ; exec prlimit --fsize=1048576:unlimited \"$@\"", "sh"];
    let daemon = Daemon::started_by(&limited, http(), directory.path(), &[]).await;
    let mut taken = 0;
    let refusal = loop {
        match daemon.notify(bulky(taken)).await {
            (202, _) => taken += 1,
            refusal => break refusal,
        }
    };
    assert!((3..30).contains(&taken), "{taken}");
    let refused =
        (503, "the notification could not be stored: the disk cannot be read or written\n".to_owned());
    assert_eq!(refusal, refused);
    for serial in 0..3 {
        assert_eq!(daemon.notify(bulky(100 + serial)).await, refused, "once is no accident");
    }
    assert_eq!(
        ready(&daemon).await,
        (503, "connwarden cannot write to its store: the disk cannot be read or written.\n".to_owned())
    );
    assert_eq!(counts(directory.path()).await, (taken, taken), "something is half-written");
    assert_eq!(daemon.get("api/v1/incidents").await["incidents"].as_array().unwrap().len() as i64, taken);

    let pid = daemon.process.id().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap();
    assert!(status.success());
    eventually("that it is ready again", async || (ready(&daemon).await.0 == 200).then_some(())).await;
    for serial in 0..20 {
        let (status, text) = daemon.notify(bulky(100 + serial)).await;
        assert_eq!(status, 202, "{text}");
    }
    assert_eq!(counts(directory.path()).await, (taken + 20, taken + 20));
    whole(directory.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_may_not_grow_means_try_again() {
    let app = TestApp::start().await;
    // SQLite's own way to have no room
    let mut tx = app.state.store.write().await.unwrap();
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *tx).await.unwrap();
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::query(limit).execute(&mut *tx).await.unwrap();
    drop(tx);

    let answer = app.notify(bulky(1)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (503, "the notification could not be stored: the disk is full\n")
    );
    assert_eq!(
        app.get("/api/v1/incidents").await.json()["incidents"],
        json!([]),
        "something is half-written"
    );
    // the connection that met the end of the room was thrown away with its limit
    eventually("that it is ready again", async || (app.get("/-/ready").await.status == 200).then_some(()))
        .await;
    assert_eq!(app.notify(bulky(1)).await.status, 202);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_another_process_has_means_try_again_until_it_lets_go() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;
    let mut outsider = outsider(directory.path()).await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut outsider).await.unwrap();

    // many wait for the same lock, and are told at the same time
    let mut sending = JoinSet::new();
    for serial in 0..100 {
        let request = http().post(daemon.webhook()).body(small(serial));
        sending.spawn(async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        });
    }
    let refused =
        (503, "the notification could not be stored: the database is locked by another process\n".to_owned());
    for answer in sending.join_all().await {
        assert_eq!(answer, refused);
    }
    assert_eq!(
        ready(&daemon).await,
        (
            503,
            "connwarden cannot write to its store: the database is locked by another process.\n".to_owned()
        )
    );

    sqlx::query("ROLLBACK").execute(&mut outsider).await.unwrap();
    eventually("that it is ready again", async || (ready(&daemon).await.0 == 200).then_some(())).await;
    assert_eq!(daemon.notify(small(1)).await.0, 202);
    assert_eq!(counts(directory.path()).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_another_process_has_at_the_start_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    let mut outsider = outsider(directory.path()).await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut outsider).await.unwrap();
    let (code, errors) = start_in_vain(directory.path()).await;
    assert_eq!(code, 1, "{errors}");
    let storage = directory.path().join("data");
    let expected = format!(
        "connwarden: cannot use the storage directory {}: connwarden.db: the database is locked by another process",
        storage.display()
    );
    assert!(errors.contains(&expected), "{errors}");
    sqlx::query("ROLLBACK").execute(&mut outsider).await.unwrap();
    Daemon::start(directory.path(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_read_only_at_the_start_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    let database = directory.path().join("data/connwarden.db");
    let set_mode = |mode: &str| {
        assert!(Command::new("chmod").arg(mode).arg(&database).status().unwrap().success());
    };
    set_mode("0444");
    let storage = directory.path().join("data");
    let storage = storage.to_str().unwrap();
    let serve = ["serve", "--storage.path", storage, "--web.listen-address", "127.0.0.1:0"];
    // to root without this capability, modes mean something
    let mut command = if is_root() {
        let mut command = tokio::process::Command::new("setpriv");
        command.args(["--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]).arg(program());
        command
    } else {
        tokio::process::Command::new(program())
    };
    let output = command.args(serve).kill_on_drop(true).output().await.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let expected = format!(
        "connwarden: cannot use the storage directory {storage}: connwarden.db: the database is read-only"
    );
    assert!(errors.contains(&expected), "{errors}");
    set_mode("0600");
    Daemon::start(directory.path(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_named_at_the_start_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    for serial in 0..20 {
        assert_eq!(daemon.notify(bulky(serial)).await.0, 202);
    }
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    let file = directory.path().join("data/connwarden.db");
    let good = std::fs::read(&file).unwrap();

    let mut scribbled = good.clone();
    scribbled[4096..].fill(0x5a);
    for damaged in [b"not a database ".repeat(1000), good[..5000].to_vec(), scribbled] {
        std::fs::write(&file, &damaged).unwrap();
        let (code, errors) = start_in_vain(directory.path()).await;
        assert_eq!(code, 1, "{errors}");
        for said in [
            format!("connwarden: {} is damaged (", file.display()),
            "nothing in it was changed".to_owned(),
            "put the last backup in its place".to_owned(),
        ] {
            assert!(errors.contains(&said), "no `{said}` in {errors}");
        }
        assert!(std::fs::read(&file).unwrap() == damaged, "it was changed");
    }

    std::fs::write(&file, &good).unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;
    assert_eq!(daemon.get("api/v1/incidents").await["incidents"].as_array().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_damaged_while_it_is_used_means_try_again() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;
    for serial in 0..20 {
        assert_eq!(daemon.notify(bulky(serial)).await.0, 202);
    }
    let file = directory.path().join("data/connwarden.db");
    let mut outsider = outsider(directory.path()).await;
    // what others change is read anew
    let mut touch = async || {
        sqlx::query("INSERT INTO settings (name, value) VALUES ('touch', '') ON CONFLICT DO UPDATE SET value = value || '.'")
            .execute(&mut outsider)
            .await
            .unwrap();
        let moved: (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut outsider).await.unwrap();
        assert_eq!(moved.0, 0);
    };
    touch().await;
    let good = std::fs::read(&file).unwrap();
    let scribbled = vec![0x5a; good.len() - 4096];
    let write = |at: u64, bytes: &[u8]| {
        let mut file = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(bytes).unwrap();
    };
    write(4096, &scribbled);
    let answer = daemon.notify(small(100)).await;
    assert_eq!(
        answer,
        (503, "the notification could not be stored: the database file is damaged\n".to_owned())
    );
    let (status, text) = ready(&daemon).await;
    assert_eq!((status, text.contains("the database file is damaged")), (503, true), "{text}");

    write(0, &good);
    touch().await;
    eventually("that it is ready again", async || (ready(&daemon).await.0 == 200).then_some(())).await;
    assert_eq!(daemon.notify(small(100)).await.0, 202);
    assert_eq!(counts(directory.path()).await, (21, 21));
    whole(directory.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_a_soft_stop_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    let mut sending = JoinSet::new();
    for sender in 0..16 {
        let (client, webhook) = (http(), daemon.webhook());
        sending.spawn(async move {
            for serial in 0.. {
                let answer = client.post(webhook.clone()).body(small(sender * 100_000 + serial)).send().await;
                match answer {
                    Ok(answer) if answer.status() == 202 => {}
                    _ => return serial,
                }
            }
            unreachable!()
        });
    }
    eventually("some load", async || (counts(directory.path()).await.0 > 100).then_some(())).await;
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    assert!(daemon.process.log().contains("everything that had begun is finished"));
    let taken: i64 = sending.join_all().await.into_iter().sum();
    let (notifications, _) = counts(directory.path()).await;
    // of the last of each sender the answer may have got lost
    assert!((taken..=taken + 16).contains(&notifications), "{taken} {notifications}");
    whole(directory.path()).await;
}

/// A notification about an incident of its own that takes up some room.
fn bulky(serial: i64) -> String {
    let mut alert = alert(serial);
    let text = Random::new(serial as u64, &[])
        .text(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_", BULK);
    alert["annotations"]["text"] = json!(text);
    notification(&[alert])
}

/// A notification about an incident of its own.
fn small(serial: i64) -> String {
    notification(&[alert(serial)])
}

fn alert(serial: i64) -> Value {
    firing(&format!("Alert{serial}"), "nats-1:7777")
}

async fn ready(daemon: &Daemon) -> (u16, String) {
    let answer = http().get(daemon.at("-/ready")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Tries to start a daemon; its exit code and what it says.
async fn start_in_vain(directory: &Path) -> (i32, String) {
    let storage = directory.join("data");
    let serve = ["serve", "--storage.path", storage.to_str().unwrap(), "--web.listen-address", "127.0.0.1:0"];
    let (code, _, errors) = run(&serve).await;
    (code, errors)
}

/// A connection to the database that is not the daemon's.
async fn outsider(directory: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(database(directory)).connect().await.unwrap()
}

fn database(directory: &Path) -> PathBuf {
    directory.join("data/connwarden.db")
}

/// How many notifications and incidents there are.
async fn counts(directory: &Path) -> (i64, i64) {
    let query = "SELECT (SELECT count(*) FROM notifications), (SELECT count(*) FROM incidents)";
    sqlx::query_as(query).fetch_one(&mut outsider(directory).await).await.unwrap()
}

/// Fails unless the database is whole.
async fn whole(directory: &Path) {
    let found: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut outsider(directory).await).await.unwrap();
    assert_eq!(found, ["ok"]);
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}
