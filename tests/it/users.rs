//! Users: tokens and JWTs that servers show in clear get neither into storage nor into anything that is shown.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use url::Url;

use connwarden::model::breakdown::By;

use crate::harness::daemon::{Daemon, run};
use crate::harness::document::groups;
use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::fixture;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer, OLDER};
use crate::harness::test_app::TestApp;
use crate::swarm::{ClientSpec, Options, Swarm};

const TOKEN: &str = "s3cret-token";

/// A server that lets in whoever knows the token.
const TOKEN_SERVER: &str = "authorization { token: \"s3cret-token\" }";

/// How every JWT of the fixture begins: `{"typ":"JWT","alg":"ed25519-nkey"}`.
const JWT: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_server_shows_gets_nowhere() {
    let nats = NatsServer::start(OLDER, TOKEN_SERVER).await;
    let _swarm = with_token(nats.clients).await;
    assert!(connz(&nats.monitor).await.contains(TOKEN), "the server hides the token by itself");

    let traces = traces(&nats.monitor).await;
    let users = groups(&traces.incident, "user");
    let (user, count) = users.first_key_value().unwrap();
    assert_eq!((users.len(), *count), (1, 3));
    assert!(user.starts_with("user#") && user.len() == "user#".len() + 12, "{user}");
    traces.assert_without(TOKEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_server_redacts_tokens_itself() {
    let nats = NatsServer::start(NEWEST, TOKEN_SERVER).await;
    let _swarm = with_token(nats.clients).await;
    assert!(!connz(&nats.monitor).await.contains(TOKEN), "the server shows the token");

    let traces = traces(&nats.monitor).await;
    assert_eq!(groups(&traces.incident, "user").into_iter().collect::<Vec<_>>(), [("[REDACTED]", 3)]);
    traces.assert_without(TOKEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_recognised_after_a_restart() {
    let nats = NatsServer::start(OLDER, TOKEN_SERVER).await;
    let _swarm = with_token(nats.clients).await;
    let directory = tempfile::tempdir().unwrap();
    let mut users = Vec::new();
    for _ in 0..2 {
        let mut daemon = Daemon::watching(directory.path(), [&nats.monitor]).await;
        let document = daemon.get("api/v1/clusters/nats/breakdown?by=user").await;
        users.extend(groups(&document, "user").into_keys().map(ToOwned::to_owned));
        daemon.process.terminate();
        assert!(daemon.process.ended().await.success());
    }
    assert_eq!(users.len(), 2);
    assert_eq!(users[0], users[1]);
    assert!(users[0].starts_with("user#"), "{users:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_accounts_are_shown_by_name() {
    let nats = NatsServer::start(OLDER, ACCOUNTS).await;
    let client = |user: &str| ClientSpec::new(nats.clients).user(user, "secret");
    let clients = [client("alice"), client("alice"), client("bob"), client("carol")];
    let _swarm = Swarm::open(clients, Options::default()).await.unwrap();

    let (code, out, _) = run(&["inspect", nats.monitor.as_str(), "--by", "user", "-o", "json"]).await;
    assert_eq!(code, 0);
    let document: Value = serde_json::from_str(&out).unwrap();
    let users: Vec<_> = groups(&document, "user").into_iter().collect();
    assert_eq!(users, [("alice", 2), ("bob", 1), ("carol", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bearer_jwts_get_nowhere() {
    // the fixture is cut down to two connections, but not in what it says of itself
    let connz = fixture("nats/2.10.26/connz-jwt-auth.json").replace("\"total\": 100", "\"total\": 2");
    assert!(connz.contains(JWT));
    let fake = FakeMonitor::start(move |path| match path {
        "/varz" => Answer::json(&fixture("nats/2.10.26/varz.json")),
        _ => Answer::json(&connz),
    })
    .await;
    let traces = traces(&fake.url).await;
    assert_eq!(groups(&traces.incident, "user").values().sum::<u64>(), 2);
    traces.assert_without(JWT);
    // compressed bytes may happen to hold these three, texts do not
    traces.texts.iter().for_each(|text| assert!(!text.contains("eyJ"), "{text}"));
}

/// Three clients that know the token.
async fn with_token(server: SocketAddr) -> Swarm {
    let client = ClientSpec::new(server).name("orders").token(TOKEN);
    Swarm::open(vec![client; 3], Options::default()).await.unwrap()
}

/// What the server itself says.
async fn connz(monitor: &Url) -> String {
    let url = monitor.join("connz?auth=1").unwrap();
    crate::harness::http().get(url).send().await.unwrap().text().await.unwrap()
}

/// Everything that is left of an incident: what is shown, and what is stored.
struct Traces {
    incident: Value,
    texts: Vec<String>,
    files: Vec<Vec<u8>>,
}

/// Lets an alert fire, and gathers what is shown and stored because of it.
async fn traces(monitor: &Url) -> Traces {
    let app = TestApp::watching([monitor]).await;
    let answer = app.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await;
    let id = answer.json()["incidents"][0].as_str().unwrap().to_owned();
    app.run_jobs().await;
    let incident = app.get(&format!("/api/v1/incidents/{id}?top=10000")).await;

    let all = "application,name,ip,subnet,account,user,library,kind,server";
    let mut texts = vec![incident.text.clone()];
    for path in ["/api/v1/incidents", "/api/v1/clusters", "/metrics"] {
        texts.push(app.get(path).await.text);
    }
    texts.push(app.get(&format!("/api/v1/clusters/nats/breakdown?by={all}&top=10000")).await.text);
    for output in ["json", "csv", "table"] {
        let (code, out, errors) = run(&["inspect", monitor.as_str(), "--by", all, "-o", output]).await;
        assert_eq!(code, 0, "{errors}");
        texts.extend([out, errors]);
    }
    let mut conn = app.state.store.read().await.unwrap();
    let documents: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT document FROM breakdowns").fetch_all(&mut *conn).await.unwrap();
    drop(conn);
    assert_eq!(documents.len(), By::standard().len());
    for document in documents {
        texts.push(String::from_utf8(zstd::decode_all(document.as_slice()).unwrap()).unwrap());
    }
    let files = files(app.directory.path());
    app.finish().await;
    Traces { incident: incident.json(), texts, files }
}

/// The bytes of the database and of its log.
fn files(directory: &Path) -> Vec<Vec<u8>> {
    let names = ["connwarden.db", "connwarden.db-wal"];
    names.into_iter().map(|name| std::fs::read(directory.join(name)).unwrap()).collect()
}

impl Traces {
    /// Fails where the secret is found.
    fn assert_without(&self, secret: &str) {
        for text in &self.texts {
            assert!(!text.contains(secret), "{text}");
        }
        for file in &self.files {
            assert!(!file.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "it is stored");
        }
    }
}
