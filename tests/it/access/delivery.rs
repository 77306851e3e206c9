//! A real Alertmanager that has to show something, and secrets that are replaced while both run.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::alertmanager::Alertmanager;
use crate::harness::daemon::Daemon;
use crate::harness::{PATIENCE, eventually};

/// A daemon of a configuration, asked by its own operator.
pub struct Guarded {
    pub daemon: Daemon,
    pub directory: TempDir,
}

impl Guarded {
    /// Starts a daemon with `web` as that section of its configuration.
    pub async fn start(directory: TempDir, web: &Value) -> Self {
        Self::start_trusting(directory, web, None).await
    }

    /// Starts one whose certificate is signed by `authority`, in PEM.
    pub async fn start_trusting(directory: TempDir, web: &Value, authority: Option<&str>) -> Self {
        let file = directory.path().join("connwarden.yml");
        std::fs::write(&file, json!({ "web": web }).to_string()).unwrap();
        let arguments = ["--config.file".to_owned(), file.to_str().unwrap().to_owned()];
        let mut daemon = Daemon::start_for(client(authority, None, None), directory.path(), &arguments).await;
        let token = std::fs::read_to_string(directory.path().join("data/operator-token")).unwrap();
        daemon.client = client(authority, Some(token.trim()), None);
        Self { daemon, directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Status and answer of an empty delivery that shows a token: 400 is as far as it gets.
    pub async fn deliver_with(&self, client: &reqwest::Client, token: &str) -> (u16, String) {
        let request = client.post(self.daemon.webhook()).bearer_auth(token);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// A client that trusts an authority, and shows a token and an identity (a certificate and its key) if it has them.
pub fn client(authority: Option<&str>, token: Option<&str>, identity: Option<&str>) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().timeout(PATIENCE).no_proxy();
    if let Some(pem) = authority {
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]);
    }
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        builder = builder.default_headers([(reqwest::header::AUTHORIZATION, value)].into_iter().collect());
    }
    if let Some(pem) = identity {
        builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

/// An alert as Prometheus pushes it.
pub fn alert(name: &str) -> Value {
    json!([{ "labels": { "alertname": name, "instance": "nats-1:7777" }, "annotations": {} }])
}

/// Waits until the daemon knows of an alert.
pub async fn told(daemon: &Daemon, name: &str) {
    eventually("an incident", async || {
        let list = daemon.get(&format!("api/v1/incidents?alert_name={name}")).await;
        (!list["incidents"].as_array()?.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_shows_a_token_from_a_file_that_is_replaced_while_both_run() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "the-first-token-of-alertmanager\n").unwrap();
    let web = json!({ "credentials": [
        { "name": "alertmanager", "role": "webhook", "bearer_token_file": token },
    ] });
    let guarded = Guarded::start(directory, &web).await;
    let daemon = &guarded.daemon;
    let http_config = format!("authorization:\n  credentials_file: {}", token.display());
    let alertmanager = Alertmanager::start_with(&daemon.webhook(), &http_config).await;
    alertmanager.push(&alert("BeforeRotation")).await;
    told(daemon, "BeforeRotation").await;

    // as Kubernetes does it: another file takes the place at once
    let new = guarded.path().join("token.new");
    std::fs::write(&new, "the-second-token-of-alertmanager\n").unwrap();
    std::fs::rename(&new, &token).unwrap();
    alertmanager.push(&alert("AfterRotation")).await;
    told(daemon, "AfterRotation").await;

    let stranger = client(None, None, None);
    let deliver = async |token: &str| guarded.deliver_with(&stranger, token).await;
    let replaced = "this secret has been replaced, use the new one\n".to_owned();
    assert_eq!(deliver("the-first-token-of-alertmanager").await, (503, replaced));
    assert_eq!(deliver("the-third-token-of-alertmanager").await.0, 401);

    std::fs::remove_file(&token).unwrap();
    let unreadable = "a secret that decides about this cannot be read now; the log says which\n";
    eventually("that nobody is let in", async || {
        let (status, text) = deliver("the-third-token-of-alertmanager").await;
        (status == 503 && text == unreadable).then_some(())
    })
    .await;
    // the one that was right until now is not let in either
    assert_eq!(deliver("the-second-token-of-alertmanager").await.0, 503);
    std::fs::write(&token, "the-third-token-of-alertmanager\n").unwrap();
    assert_eq!(deliver("the-third-token-of-alertmanager").await.0, 400, "it was let in");

    let log = daemon.process.log();
    assert!(!log.contains("token-of-alertmanager"), "{log}");
    assert!(log.contains("nobody is let in by the secret in") && log.contains("can be read again"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_shows_a_user_and_a_password() {
    let directory = tempfile::tempdir().unwrap();
    let web = json!({ "credentials": [
        { "name": "alertmanager", "role": "webhook", "basic_auth": { "username": "am", "password": "pä:ss wörd" } },
    ] });
    let guarded = Guarded::start(directory, &web).await;
    let http_config = "basic_auth:\n  username: am\n  password: 'pä:ss wörd'";
    let alertmanager = Alertmanager::start_with(&guarded.daemon.webhook(), http_config).await;
    alertmanager.push(&alert("WithPassword")).await;
    told(&guarded.daemon, "WithPassword").await;

    // and nothing else is to be had with it
    let request = client(None, None, None).get(guarded.daemon.at("api/v1/incidents"));
    let answer = request.basic_auth("am", Some("pä:ss wörd")).send().await.unwrap();
    assert_eq!(answer.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_that_shows_nothing_is_told_so_in_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let web = json!({ "credentials": [
        { "name": "alertmanager", "role": "webhook", "bearer_token": "the-token-of-alertmanager" },
    ] });
    let guarded = Guarded::start(directory, &web).await;
    let mut alertmanager = Alertmanager::start(&guarded.daemon.webhook()).await;
    alertmanager.push(&alert("WithoutToken")).await;
    let said = |line: &str| line.contains("this needs a credential").then_some(());
    alertmanager.process.logged("the answer", said).await;
    let list = guarded.daemon.get("api/v1/incidents").await;
    assert_eq!(list["incidents"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_delivery_that_is_refused_hears_why() {
    let directory = tempfile::tempdir().unwrap();
    let web = json!({ "credentials": [
        { "name": "alertmanager", "role": "webhook", "bearer_token": "the-token-of-alertmanager" },
    ] });
    let guarded = Guarded::start(directory, &web).await;
    let stranger = client(None, None, None);
    let answer = stranger.post(guarded.daemon.webhook()).body(vec![b' '; 3 << 20]).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.text().await.unwrap().starts_with("this needs a credential"));
}
