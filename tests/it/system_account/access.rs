//! Who connwarden is to the servers: what its user must be allowed to do, and every way to be let in.

use async_nats::{Client, ConnectOptions, RequestErrorKind};
use nkeys::KeyPair;

use super::*;
use crate::access::pki::Authority;
use crate::harness::PATIENCE;

const DEPLOYMENT: &str = include_str!("../../../docs/deployment.md");

/// The users of the manual, beside two accounts with clients.
pub(super) fn documented() -> String {
    let section = DEPLOYMENT.split("## The system account of NATS").nth(1).expect("the manual has it");
    let own = section.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let clients = "accounts {\n  APP { users: [ { user: alice, password: secret } ] }\n";
    own.replacen("accounts {\n", clients, 1)
}

fn options(user: &str, password: &str) -> ConnectOptions {
    ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
}

async fn connect(server: &NatsServer, user: &str, password: &str) -> Client {
    let options = options(user, password);
    let options =
        options.custom_inbox_prefix("_INBOX.connwarden").request_timeout(Some(Duration::from_secs(2)));
    options.connect(server.url()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_of_the_manual_reads_and_the_actor_acts() {
    for line in [NEWEST, OLDER] {
        let nats = NatsServer::start(line, &documented()).await;
        let client = ClientSpec::new(nats.clients).name("orders").user("alice", "secret");
        let swarm = Swarm::open([client], Options::default()).await.unwrap();

        let eyes = Eyes::with(&[nats.url()], &[], "timeout: 5s", ("connwarden-reader", "change-me-reader"));
        let snapshot = eyes.look().await;
        assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
        assert_eq!((servers(&snapshot)[0].1.as_str(), snapshot.coverage.seen), ("system", 2));

        let connz = http().get(nats.monitor.join("connz").unwrap()).send().await.unwrap();
        let connz: Value = connz.json().await.unwrap();
        let is_client = |connection: &&Value| connection["name"] == "orders";
        let cid = &connz["connections"].as_array().unwrap().iter().find(is_client).unwrap()["cid"];
        let kick = format!("$SYS.REQ.SERVER.{}.KICK", connz["server_id"].as_str().unwrap());
        let victim = json!({ "cid": cid }).to_string();

        let reader = connect(&nats, "connwarden-reader", "change-me-reader").await;
        let refused = reader.request(kick.clone(), victim.clone().into()).await.unwrap_err();
        assert_eq!(refused.kind(), RequestErrorKind::TimedOut);
        assert_eq!(swarm.disconnects().len(), 0);
        // nor can it listen to what others are answered, or to what happens
        let (heard, mut said) = tokio::sync::mpsc::unbounded_channel();
        let listener = options("connwarden-reader", "change-me-reader").event_callback(move |event| {
            let _ = heard.send(event.to_string());
            std::future::ready(())
        });
        let listener = listener.connect(nats.url()).await.unwrap();
        for subject in ["_INBOX.>", "$SYS.>"] {
            let _subscription = listener.subscribe(subject).await.unwrap();
            let refusal = format!("permissions violation for subscription to \"{}\"", subject.to_lowercase());
            let refused = async { while !said.recv().await.unwrap().to_lowercase().contains(&refusal) {} };
            tokio::time::timeout(PATIENCE, refused).await.unwrap_or_else(|_| panic!("{line}: {subject}"));
        }

        let actor = connect(&nats, "connwarden-actor", "change-me-actor").await;
        let done = actor.request(kick, victim.into()).await.unwrap();
        assert!(!String::from_utf8_lossy(&done.payload).contains("error"), "{done:?}");
        eventually("the client to be cut", async || (!swarm.disconnects().is_empty()).then_some(())).await;
        let refused = actor.request("$SYS.REQ.SERVER.PING.CONNZ", "".into()).await.unwrap_err();
        assert_eq!(refused.kind(), RequestErrorKind::TimedOut);
        swarm.close().await;
    }
}

/// A configuration with a system account of which everything but its address is given, and its eyes.
pub(super) fn eyes(server: &NatsServer, scheme: &str, rest: &str) -> Eyes {
    let url = format!("{scheme}://{}", server.clients);
    let text = format!(
        "observe: {{connect_timeout: 2s}}\nclusters:\n  - name: prod\n    system_account:\n      urls: {url}\n{rest}"
    );
    let config = Config::parse(&text, "connwarden.yml", &|_| unreachable!()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    Eyes {
        observer: app::observer(&config, UserMask::new(&[7; 32]), Clock::system()),
        targets: app::watched(&config.clusters[0], &config, "test", &Metrics::new()),
        _secrets: tempfile::tempdir().unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nkey_is_shown_over_tls_with_certificates_of_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    std::fs::write(place.join("ca.crt"), &authority.pem).unwrap();
    std::fs::write(place.join("other-ca.crt"), &stranger.pem).unwrap();
    let server = authority.server().write(place, "server");
    authority.client("connwarden", None).write(place, "client");
    let key = KeyPair::new_user();
    std::fs::write(place.join("reader.nk"), key.seed().unwrap()).unwrap();
    let config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\n\
         accounts {{ SYS {{ users: [ {{ nkey: {} }} ] }} }}\nsystem_account: SYS",
        server.0,
        server.1,
        place.join("ca.crt"),
        key.public_key()
    );
    let nats = NatsServer::start(NEWEST, &config).await;
    let account = |ca: &str, client: &str| {
        let place = place.display();
        format!("      nkey_file: {place}/reader.nk\n      tls: {{ca_file: {place}/{ca}{client}}}\n")
    };
    let client = format!(", cert_file: {0}/client.crt, key_file: {0}/client.key", place.display());

    let snapshot = eyes(&nats, "tls", &account("ca.crt", &client)).look().await;
    assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
    assert_eq!(snapshot.coverage.seen, 1);
    for (ca, client) in [("other-ca.crt", client.as_str()), ("ca.crt", "")] {
        let snapshot = eyes(&nats, "nats", &account(ca, client)).look().await;
        let error = snapshot.coverage.system_error.unwrap_or_default();
        assert!(error.contains("not connected"), "{ca} {client}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file_is_shown_and_read_anew_for_each_connection() {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let operator_jwt =
        jwt(&operator, &operator, "operator", json!({ "system_account": account.public_key() }));
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1
    });
    let account_jwt = jwt(&operator, &account, "account", json!({ "limits": limits }));
    let nats = NatsServer::start(
        NEWEST,
        &format!(
            "operator: {operator_jwt}\nsystem_account: {0}\nresolver: MEMORY\nresolver_preload: {{ {0}: {account_jwt} }}",
            account.public_key()
        ),
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("reader.creds");
    let write = |seed: &str| {
        let permissions = json!({ "subs": -1, "data": -1, "payload": -1 });
        let user_jwt = jwt(&account, &user, "user", permissions);
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write(&KeyPair::new_user().seed().unwrap());
    let eyes = eyes(&nats, "nats", &format!("      credentials_file: {}\n", file.display()));
    let error = eyes.look().await.coverage.system_error.unwrap();
    assert!(error.contains("authorization violation"), "{error}");

    // nothing but the file changes
    write(&user.seed().unwrap());
    eventually("a connection", async || eyes.look().await.coverage.complete.then_some(())).await;
}

/// A JWT as nats-server reads it: claims of `subject` signed by `issuer`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, kind: &str, mut nats: Value) -> String {
    nats["type"] = json!(kind);
    nats["version"] = json!(2);
    let claims = json!({
        "jti": "test", "iat": 1_700_000_000, "iss": issuer.public_key(), "name": kind, "sub": subject.public_key(), "nats": nats
    });
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let text = [header, claims].map(|part| base64url(part.to_string().as_bytes())).join(".");
    let signature = issuer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", base64url(&signature))
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(group >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}
