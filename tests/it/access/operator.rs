//! The token of the local operator, and how the command line finds it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::delivery::{Guarded, client};
use crate::harness::daemon::{Daemon, program, run};
use crate::harness::eventually;

fn token_file(directory: &Path) -> PathBuf {
    directory.join("data/operator-token")
}

async fn status(daemon: &Daemon, token: &str) -> u16 {
    let request = client(None, Some(token), None).post(daemon.at("nothing"));
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_at_the_first_start_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    let file = token_file(directory.path());
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let token = fs::read_to_string(&file).unwrap().trim().to_owned();
    assert_eq!(token.len(), 64);
    assert_eq!(status(&daemon, &token).await, 404, "an operator may ask for what is not there");
    assert_eq!(status(&daemon, &token[1..]).await, 401);
    let log = daemon.process.log();
    assert!(!log.contains(&token) && log.contains("data/operator-token"), "{log}");
    daemon.process.terminate();
    daemon.process.ended().await;
    drop(daemon);

    let daemon = Daemon::start(directory.path(), &["--log.level".to_owned(), "trace".to_owned()]).await;
    assert_eq!(status(&daemon, &token).await, 404);
    let log = daemon.process.log();
    assert!(!log.contains(&token), "{log}");
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_others_can_read_is_refused_and_everything_else_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &[]).await;
    let file = token_file(directory.path());
    let token = fs::read_to_string(&file).unwrap().trim().to_owned();
    for mode in [0o640, 0o604, 0o620, 0o602] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        eventually("that it is refused", async || (status(&daemon, &token).await != 404).then_some(())).await;
        let request = client(None, Some(&token), None).get(daemon.at("api/v1/incidents"));
        assert!(!request.send().await.unwrap().status().is_success());
        assert_eq!(daemon.notify("{}").await.0, 400, "deliveries are taken");
        let complaint = format!("others may use it too (mode {mode:04o})");
        daemon.process.logged("why", |line| line.contains(&complaint).then_some(())).await;

        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        eventually("that it counts again", async || (status(&daemon, &token).await == 404).then_some(()))
            .await;
    }
    // another token takes the place of one that got known
    fs::write(&file, "a-token-that-somebody-has-chosen\n").unwrap();
    assert_eq!(status(&daemon, "a-token-that-somebody-has-chosen").await, 404);
    assert_eq!(status(&daemon, &token).await, 401);
    fs::remove_file(&file).unwrap();
    eventually("that it is gone", async || {
        (status(&daemon, "a-token-that-somebody-has-chosen").await != 404).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_on_the_same_host_finds_the_token() {
    let directory = tempfile::tempdir().unwrap();
    // nobody reads without showing something
    let web = json!({ "credentials": [
        { "name": "viewer", "role": "viewer", "bearer_token": "token-of-the-viewer" },
    ] });
    let guarded = Guarded::start(directory, &web).await;
    let server = guarded.daemon.url.as_str();
    let list = async |directory: &Path, arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = tokio::process::Command::new(program());
        command.args(["incidents", "list", "--server", server]).args(arguments);
        command.current_dir(directory).envs(variables.iter().copied()).kill_on_drop(true);
        let output = command.output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let storage = guarded.path().join("data");
    let config = guarded.path().join("with-storage.yml");
    fs::write(&config, json!({ "storage": { "path": storage } }).to_string()).unwrap();
    let viewer = guarded.path().join("viewer");
    fs::write(&viewer, "token-of-the-viewer\n").unwrap();
    let wrong = guarded.path().join("wrong");
    fs::write(&wrong, "token-of-nobody\n").unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (storage, config, viewer, wrong) = (text(&storage), text(&config), text(&viewer), text(&wrong));

    /// Where somebody is, with which arguments and variables.
    type Ways<'a> = [(&'a Path, &'a [&'a str], &'a [(&'a str, &'a str)]); 7];
    let found: Ways<'_> = [
        (guarded.path(), &[], &[]),
        (elsewhere.path(), &["--storage.path", &storage], &[]),
        (elsewhere.path(), &[], &[("CONNWARDEN_STORAGE_PATH", &storage)]),
        (elsewhere.path(), &["--config.file", &config], &[]),
        (elsewhere.path(), &["--token-file", &viewer], &[]),
        (elsewhere.path(), &[], &[("CONNWARDEN_TOKEN_FILE", &viewer)]),
        (elsewhere.path(), &[], &[("CONNWARDEN_TOKEN", "token-of-the-viewer")]),
    ];
    for (directory, arguments, variables) in found {
        let (code, text) = list(directory, arguments, variables).await;
        assert_eq!((code, text.as_str()), (0, "no incidents\n"), "{arguments:?} {variables:?}");
    }
    let (code, text) = list(elsewhere.path(), &[], &[]).await;
    assert_eq!(code, 1);
    assert!(text.contains("this needs a credential"), "{text}");
    let place = elsewhere.path().canonicalize().unwrap().join("data/operator-token");
    assert!(text.contains(&format!("{}: not found", place.display())), "{text}");
    for flag in ["--token-file", "--storage.path", "--config.file"] {
        assert!(text.contains(flag), "{flag}: {text}");
    }
    let (code, text) = list(guarded.path(), &["--token-file", &wrong], &[]).await;
    assert_eq!(code, 1, "what is named counts, not what could be found");
    assert!(text.contains("the credential is not known") && !text.contains("token-of-nobody"), "{text}");
    let (code, text) = list(guarded.path(), &["--token-file", "/nowhere"], &[]).await;
    assert!(code == 1 && text.contains("reading /nowhere"), "{text}");
    let (code, text) = list(guarded.path(), &[], &[("CONNWARDEN_TOKEN", "to ken")]).await;
    assert!(code == 1 && text.contains("reading CONNWARDEN_TOKEN") && !text.contains("to ken"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_credentials_are_enough() {
    let directory = tempfile::tempdir().unwrap();
    let web = json!({ "listen_address": "0.0.0.0:0", "credentials": [
        { "name": "alertmanager", "role": "webhook", "bearer_token": "token-of-alertmanager" },
    ] });
    let file = directory.path().join("connwarden.yml");
    fs::write(&file, json!({ "web": web }).to_string()).unwrap();
    let arguments = ["serve", "--config.file", file.to_str().unwrap()];
    let mut process = crate::harness::process::Process::start(program(), &arguments, directory.path());
    process
        .logged("that it listens", |line| line.contains("listening on http://0.0.0.0:").then_some(()))
        .await;
    assert!(process.log().contains("in the clear"), "{}", process.log());
    drop(process);

    fs::write(&file, json!({ "web": { "listen_address": "0.0.0.0:0", "credentials": [] } }).to_string())
        .unwrap();
    let (code, _, errors) = run(&arguments).await;
    assert!(code == 1 && errors.contains("there is no authentication"), "{errors}");
    let (code, out, _) = run(&["check-config", file.to_str().unwrap()]).await;
    assert!(code == 0 && out.contains("--web.insecure-no-auth"), "a flag of serve may allow it: {out}");
}
