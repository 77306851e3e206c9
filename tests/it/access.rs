//! Access: who is let in, by which credential, to which route.

mod browser;
mod config;
pub mod delivery;
mod operator;
pub mod pki;
mod rate;
mod signature;
mod tls;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request};
use connwarden::config::Config;
use connwarden::http::peer::Peer;
use connwarden::model::credential::{CertificateName, Role};

use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::test_app::{Answer, OPERATOR_TOKEN, TestApp};

const WEBHOOK: &str = "/api/v1/webhook/alertmanager";
const CHANGES: &str = "/api/v1/changes";

/// One credential of each role and kind, named after both. In-process there is no listener that reads the files.
const EVERYBODY: &str = "
web:
  tls: {cert_file: none, key_file: none, client_ca_file: none}
  credentials:
    - {name: webhook-bearer, role: webhook, bearer_token: token-of-the-webhook}
    - {name: reporter-bearer, role: reporter, bearer_token: token-of-the-reporter}
    - {name: viewer-bearer, role: viewer, bearer_token: token-of-the-viewer}
    - {name: operator-bearer, role: operator, bearer_token: token-of-the-operator}
    - {name: webhook-basic, role: webhook, basic_auth: {username: webhook, password: pass:word}}
    - {name: reporter-basic, role: reporter, basic_auth: {username: reporter, password: pass:word}}
    - {name: viewer-basic, role: viewer, basic_auth: {username: viewer, password: pass:word}}
    - {name: operator-basic, role: operator, basic_auth: {username: operator, password: pass:word}}
    - {name: webhook-certificate, role: webhook, client_certificate: {common_name: webhook}}
    - {name: reporter-certificate, role: reporter, client_certificate: {uri: 'spiffe://reporter'}}
    - {name: viewer-certificate, role: viewer, client_certificate: {dns_name: viewer}}
    - {name: operator-certificate, role: operator, client_certificate: {uri: 'spiffe://operator'}}
    - {name: webhook-signature, role: webhook, hmac: {secret: secret-of-the-webhook}}
";

/// What is shown with a request.
#[derive(Debug, Clone)]
enum Shown {
    Nothing,
    Header(&'static str, String),
    Certificate(CertificateName),
}

/// Reads a configuration.
fn read(text: &str) -> Config {
    let read_secret = |path: &Path| std::fs::read_to_string(path);
    Config::parse(text, "connwarden.yml", &read_secret).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What each kind of credential of a role shows.
fn shown(role: Role) -> [Shown; 3] {
    // the base64 of `role:pass:word`
    let (basic, certificate) = match role {
        Role::Webhook => ("d2ViaG9vazpwYXNzOndvcmQ=", CertificateName::CommonName("webhook".to_owned())),
        Role::Reporter => ("cmVwb3J0ZXI6cGFzczp3b3Jk", CertificateName::Uri("spiffe://reporter".to_owned())),
        Role::Viewer => ("dmlld2VyOnBhc3M6d29yZA==", CertificateName::Dns("viewer".to_owned())),
        Role::Operator => ("b3BlcmF0b3I6cGFzczp3b3Jk", CertificateName::Uri("spiffe://operator".to_owned())),
    };
    [
        Shown::Header("Authorization", format!("Bearer token-of-the-{}", role.name())),
        Shown::Header("Authorization", format!("Basic {basic}")),
        Shown::Certificate(certificate),
    ]
}

/// Sends a request that comes from an address, with what is shown.
async fn ask_from(app: &TestApp, address: &str, method: Method, path: &str, shown: &Shown) -> Answer {
    send_from(app, address, method, path, shown, Body::empty()).await
}

async fn send_from(
    app: &TestApp,
    address: &str,
    method: Method,
    path: &str,
    shown: &Shown,
    body: Body,
) -> Answer {
    let mut peer = Peer::at(address.parse::<IpAddr>().unwrap());
    let mut request = Request::builder().method(method).uri(path).header("Host", "127.0.0.1:9480");
    request = request.header("Content-Type", "application/json");
    match shown {
        Shown::Nothing => {}
        Shown::Header(name, value) => request = request.header(*name, value),
        // none of the names before and after are anybody's
        Shown::Certificate(name) => {
            let other = CertificateName::Dns("other".to_owned());
            peer.names = Some(Arc::from([other.clone(), name.clone(), other]));
        }
    }
    app.send(request.extension(ConnectInfo(peer)).body(body).unwrap()).await
}

async fn ask(app: &TestApp, method: Method, path: &str, shown: &Shown) -> Answer {
    ask_from(app, "127.0.0.1", method, path, shown).await
}

/// Every route there is: those of the document, the document itself and the pages.
async fn routes(app: &TestApp) -> Vec<(Method, String)> {
    let document = app.act(Method::GET, "/api/v1/openapi.json", Body::empty()).await.json();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "019b8d7a-0000-7000-8000-00000000000a").replace("{name}", "none");
        assert!(!path.contains('{'), "{path}: what stands for the parameter?");
        for method in item.as_object().unwrap().keys() {
            routes.push((method.to_uppercase().parse().unwrap(), path.clone()));
        }
    }
    assert!(routes.len() >= 9, "{routes:?}");
    for page in
        ["/api/v1/openapi.json", "/", "/incidents/019b8d7a-0000-7000-8000-00000000000a", "/clusters/none"]
    {
        routes.push((Method::GET, page.to_owned()));
    }
    // there is nothing, and what is asked for may come to be
    routes.extend([Method::GET, Method::POST, Method::DELETE].map(|method| (method, "/nothing".to_owned())));
    routes
}

/// Who may use a route, as the manual says it.
fn allowed(method: &Method, path: &str) -> &'static [Role] {
    match (method.as_str(), path) {
        (_, "/-/healthy" | "/-/ready") => &Role::ALL,
        (_, WEBHOOK) => &[Role::Webhook, Role::Operator],
        ("POST", CHANGES) => &[Role::Reporter, Role::Operator],
        ("GET", _) => &[Role::Viewer, Role::Operator],
        // asks something, and changes nothing
        ("POST", path) if path.starts_with("/api/v1/snapshots/") && path.ends_with("/estimates") => {
            &[Role::Viewer, Role::Operator]
        }
        _ => &[Role::Operator],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_reaches_its_routes_by_every_kind_of_credential_and_no_other() {
    let app = TestApp::with(read(EVERYBODY)).await;
    for (method, path) in routes(&app).await {
        for role in Role::ALL {
            for shown in shown(role) {
                let answer = ask(&app, method.clone(), &path, &shown).await;
                let place = format!("{method} {path} {shown:?}: {} {}", answer.status, answer.text);
                if allowed(&method, &path).contains(&role) {
                    assert!(!matches!(answer.status.as_u16(), 401 | 403 | 421), "{place}");
                } else {
                    let refusal = format!("has the role `{}`, this takes the role `", role.name());
                    assert!(answer.status == 403 && answer.text.contains(&refusal), "{place}");
                }
            }
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_or_with_a_wrong_one_only_probes_are_answered() {
    let app = TestApp::with(read(EVERYBODY)).await;
    let header = |value: &str| Shown::Header("Authorization", value.to_owned());
    let wrong = [
        Shown::Nothing,
        header("Bearer token-of-the-operator "[..27].trim_end()),
        header("Bearer token-of-the-operators"),
        header("Bearer TOKEN-OF-THE-OPERATOR"),
        header("Bearer "),
        header("Bearer"),
        header("token-of-the-operator"),
        header("Basic Og=="),
        // `operator:`, `:pass:word`, `viewer:pass:wor`, `nobody:pass:word`
        header("Basic b3BlcmF0b3I6"),
        header("Basic OnBhc3M6d29yZA=="),
        header("Basic dmlld2VyOnBhc3M6d29y"),
        header("Basic bm9ib2R5OnBhc3M6d29yZA=="),
        Shown::Certificate(CertificateName::CommonName("operator".to_owned())),
        // the right text as another kind of name
        Shown::Certificate(CertificateName::Dns("webhook".to_owned())),
        Shown::Certificate(CertificateName::Uri("webhook".to_owned())),
        Shown::Header("X-Operator", "operator".to_owned()),
    ];
    for (method, path) in routes(&app).await {
        for shown in &wrong {
            // who guesses too often is not even told that it was wrong
            app.advance(std::time::Duration::from_secs(60));
            let answer = ask(&app, method.clone(), &path, shown).await;
            let place = format!("{method} {path} {shown:?}: {} {}", answer.status, answer.text);
            if allowed(&method, &path).len() == Role::ALL.len() {
                assert_ne!(answer.status, 401, "{place}");
                continue;
            }
            assert_eq!(answer.status, 401, "{place}");
            let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
            assert_eq!(
                challenges,
                ["Bearer realm=\"connwarden\"", "Basic realm=\"connwarden\", charset=\"UTF-8\""],
                "{place}"
            );
            if path == WEBHOOK {
                assert!(answer.text.ends_with('\n') && answer.text.lines().count() == 1, "{place}");
                assert!(answer.content_type.starts_with("text/plain"), "{place}");
            } else {
                answer.problem(401);
            }
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_anybody_reads_and_delivers_and_nobody_acts() {
    let app = TestApp::start().await;
    let proxy = Shown::Header("Authorization", "Basic dmlld2VyOnBhc3M6d29yZA==".to_owned());
    for (method, path) in routes(&app).await {
        let acts = !allowed(&method, &path).iter().any(|role| matches!(role, Role::Viewer | Role::Webhook));
        // a user is for a proxy before us: there are none here
        for shown in [&Shown::Nothing, &proxy] {
            let answer = ask(&app, method.clone(), &path, shown).await;
            let place = format!("{method} {path} {shown:?}: {} {}", answer.status, answer.text);
            if acts {
                let needed = if path == CHANGES { "reporter" } else { "operator" };
                let refusal = format!("this takes the role `{needed}`");
                assert!(answer.problem(403).starts_with(&refusal), "{place}");
            } else {
                assert!(!matches!(answer.status.as_u16(), 401 | 403 | 421), "{place}");
            }
        }
        let operator = Shown::Header("Authorization", format!("Bearer {OPERATOR_TOKEN}"));
        let answer = ask(&app, method.clone(), &path, &operator).await;
        assert!(!matches!(answer.status.as_u16(), 401 | 403), "{method} {path}");
    }
    // a token is meant for us, so a wrong one is not overlooked
    let wrong = Shown::Header("Authorization", "Bearer something".to_owned());
    let answer = ask(&app, Method::GET, "/api/v1/incidents", &wrong).await;
    assert_eq!(answer.problem(401), "the credential is not known");
    assert_eq!(
        answer.headers.get_all("www-authenticate").iter().count(),
        1,
        "no browser is to ask for a user"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_decides_before_a_certificate() {
    let app = TestApp::with(read(EVERYBODY)).await;
    let ask = async |authorization: &str| {
        let mut peer = Peer::at([127, 0, 0, 1].into());
        peer.names = Some(Arc::from([CertificateName::Uri("spiffe://operator".to_owned())]));
        let request = Request::builder().uri("/api/v1/incidents").header("Authorization", authorization);
        app.send(request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap()).await.status.as_u16()
    };
    assert_eq!(ask("Bearer token-of-the-viewer").await, 200);
    assert_eq!(ask("Bearer token-of-the-webhook").await, 403);
    assert_eq!(ask("Bearer token-of-nobody").await, 401);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_is_done_under_the_name_of_the_credential() {
    let app = TestApp::with(read(EVERYBODY)).await;
    let alert = notification(&[firing(ALERT, "nats-1:7777")]);
    let [webhook, ..] = shown(Role::Webhook);
    let receipt = send_from(&app, "127.0.0.1", Method::POST, WEBHOOK, &webhook, alert.into()).await.json();
    let path = format!("/api/v1/incidents/{}", receipt["incidents"][0].as_str().unwrap());
    let local = Shown::Header("Authorization", format!("Bearer {OPERATOR_TOKEN}"));
    for shown in shown(Role::Operator).iter().chain([&local]) {
        let note = serde_json::json!({ "text": "looking" }).to_string();
        let path = format!("{path}/notes");
        let answer = send_from(&app, "127.0.0.1", Method::POST, &path, shown, note.into()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let timeline = ask(&app, Method::GET, &path, &local).await.json()["timeline"].take();
    let notes = timeline.as_array().unwrap().iter().filter(|entry| entry["kind"] == "note");
    let actors: Vec<&str> = notes.map(|entry| entry["actor"].as_str().unwrap()).collect();
    assert_eq!(actors, ["operator-bearer", "operator-basic", "operator-certificate", "local-operator"]);
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_credentials_of_one_kind_hold_at_once() {
    let config = "
web:
  credentials:
    - {name: old, role: viewer, bearer_token: token-of-last-year}
    - {name: new, role: viewer, bearer_token: token-of-this-year}
    - {name: old-user, role: viewer, basic_auth: {username: viewer, password: last year}}
    - {name: new-user, role: viewer, basic_auth: {username: viewer, password: this year}}
";
    let app = TestApp::with(read(config)).await;
    // `viewer:last year` and `viewer:this year`
    for value in [
        "Bearer token-of-last-year",
        "Bearer token-of-this-year",
        "Basic dmlld2VyOmxhc3QgeWVhcg==",
        "Basic dmlld2VyOnRoaXMgeWVhcg==",
    ] {
        let shown = Shown::Header("Authorization", value.to_owned());
        assert_eq!(ask(&app, Method::GET, "/api/v1/incidents", &shown).await.status, 200, "{value}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_let_in_and_why_not_is_counted() {
    let app = TestApp::with(read(EVERYBODY)).await;
    let header = |value: &str| Shown::Header("Authorization", value.to_owned());
    let viewer = header("Bearer token-of-the-viewer");
    for (path, shown) in [
        ("/api/v1/incidents", &viewer),
        ("/", &viewer),
        (WEBHOOK, &viewer),
        ("/", &Shown::Nothing),
        ("/", &header("Bearer nothing")),
        ("/-/healthy", &Shown::Nothing),
    ] {
        ask(&app, Method::GET, path, shown).await;
    }
    // what does not count itself: it is counted before it is answered
    let text = ask(&app, Method::GET, "/metrics", &viewer).await.text;
    let counted: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("connwarden_http_auth_total{result="))
        .filter(|line| !line.ends_with(" 0"))
        .collect();
    let mut counted = counted;
    counted.sort_unstable();
    assert_eq!(counted, ["\"accepted\"} 3", "\"forbidden\"} 1", "\"missing\"} 1", "\"wrong\"} 1"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_is_not_let_in_sees_a_page_and_asks_for_a_user() {
    let app = TestApp::with(read(EVERYBODY)).await;
    let answer = app.browse("/").await;
    assert_eq!(answer.status, 401);
    assert!(answer.content_type.starts_with("text/html"), "{}", answer.text);
    assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 2);
    let sheet =
        answer.text.split('"').find(|part| part.starts_with("/assets/") && part.ends_with(".css")).unwrap();
    assert_eq!(app.browse(sheet).await.status, 200, "a page that is seen has its style");
    app.finish().await;
}
