//! Pages: what they carry, show and link to. How they look is seen in `screenshots`.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use connwarden::http;
use serde_json::{Value, json};
use tower::ServiceExt;
use url::Url;

use crate::harness::fake::ClosedPort;
use crate::harness::fixture;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer};
use crate::harness::test_app::{Answer, OPERATOR_TOKEN, TestApp};
use crate::swarm::{ClientSpec, Options, Swarm};

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

/// A notification about one alert of this name, on a server that nobody has configured.
fn firing(alert_name: &str) -> String {
    let mut notification: Value =
        serde_json::from_str(&fixture("alertmanager/single-firing.am-0.33.1.json")).unwrap();
    notification["alerts"][0]["labels"]["alertname"] = json!(alert_name);
    notification.to_string()
}

/// The incident that a notification is about.
async fn incident(app: &TestApp, notification: String) -> String {
    let answer = app.notify(notification).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    app.run_jobs().await;
    answer.json()["incidents"][0].as_str().unwrap().to_owned()
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// Where the link with this text leads.
fn link(page: &Answer, text: &str) -> Option<String> {
    let end = page.text.find(&format!(">{text}</a>"))?;
    let start = page.text[..end].rfind("href=\"")? + "href=\"".len();
    let href = page.text[start..end].split('"').next()?;
    Some(href.replace("&#38;", "&"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_load_nothing_but_our_own_style_and_icon() {
    let app = TestApp::start().await;
    let id = incident(&app, firing("A")).await;
    for path in ["/", &format!("/incidents/{id}"), "/nowhere"] {
        let page = app.browse(path).await;
        assert_eq!(page.content_type, "text/html; charset=utf-8", "{path}");
        assert_eq!(header(&page, "content-security-policy"), POLICY, "{path}");
        assert_eq!(header(&page, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&page, "referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header(&page, "cache-control"), "no-store", "{path}");
        assert!(!header(&page, "x-request-id").is_empty(), "{path}");
        for forbidden in ["style=", "<style", "<script", " on", "javascript:"] {
            let markup = page.text.split('<').map(|tag| tag.split('>').next().unwrap());
            let tag = markup.map(|tag| format!("<{tag}")).find(|tag| tag.contains(forbidden));
            assert_eq!(tag, None, "{path} has {forbidden}");
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pages_load_is_named_by_its_content_and_kept_for_good() {
    let app = TestApp::start().await;
    let page = app.browse("/").await.text;
    let assets: Vec<&str> = page.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert!(assets.iter().any(|path| path.ends_with(".css")), "{assets:?}");
    assert!(assets.iter().any(|path| path.ends_with(".svg")), "{assets:?}");
    for path in assets {
        let asset = app.browse(path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert_eq!(header(&asset, "cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(header(&asset, "x-content-type-options"), "nosniff");
        let etag = header(&asset, "etag");
        assert!(path.contains(etag.trim_matches('"')), "{path} {etag}");

        let request = Request::builder().uri(path).header("If-None-Match", etag).body(Body::empty()).unwrap();
        let again = app.send(request).await;
        assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    }
    assert_eq!(app.browse("/assets/style-0000000000000000.css").await.status, 404);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_incident_the_page_says_what_to_do() {
    let app = TestApp::start().await;
    let page = app.browse("/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.text.contains("url: http://warden.example:9480/api/v1/webhook/alertmanager"),
        "{}",
        page.text
    );
    assert!(page.text.contains("No cluster is configured"), "{}", page.text);

    // a host is text from strangers too
    let request = Request::builder().uri("/").header("Host", "a\"<b>").header("Accept", "text/html");
    let page = app.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((page.status.as_u16(), page.content_type.as_str()), (421, "text/html; charset=utf-8"));
    assert!(page.text.contains("web.allowed_hosts") && !page.text.contains("<b>"), "{}", page.text);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn incidents_are_filtered_and_paged_by_links() {
    let app = TestApp::start().await;
    for alert_name in ["First", "Second", "Third"] {
        incident(&app, firing(alert_name)).await;
        app.advance(std::time::Duration::from_secs(90));
    }
    let page = app.browse("/?limit=2&state=triggered").await;
    assert!(page.text.contains("<bdi>Third</bdi>") && page.text.contains("<bdi>Second</bdi>"));
    assert!(!page.text.contains("<bdi>First</bdi>"));
    let opened = "<time datetime=\"2026-11-24T09:03:00Z\" title=\"2026-11-24 09:03:00 UTC\">1m ago</time>";
    assert!(page.text.contains(opened), "{}", page.text);
    assert!(page.text.contains("aria-current=\"true\">triggered</a>"), "{}", page.text);

    let older = link(&page, "Older").unwrap();
    assert!(older.contains("limit=2") && older.contains("state=triggered"), "{older}");
    let page = app.browse(&older).await;
    assert!(page.text.contains("<bdi>First</bdi>") && !page.text.contains("<bdi>Second</bdi>"));
    assert_eq!(link(&page, "Older"), None);
    assert_eq!(link(&page, "Newest").unwrap(), "/?state=triggered&limit=2");
    assert_eq!(link(&page, "resolved").unwrap(), "/?state=resolved&limit=2");

    let page = app.browse("/?state=resolved").await;
    assert!(page.text.contains("No incident is as asked for"), "{}", page.text);
    let json = app.get(&link(&page, "This page as JSON").unwrap()).await;
    assert_eq!(json.json()["incidents"], json!([]));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_wrote_is_text() {
    let hostile = "</td><script src=//x>\u{202e}\u{1b}[31m\"'";
    let shown = "&#60;/td&#62;&#60;script src=//x&#62;\\u{202e}\\u{1b}[31m&#34;&#39;";
    let nats = NatsServer::start(NEWEST, ACCOUNTS).await;
    let stranger = ClientSpec::new(nats.clients).user("alice", "secret").name(hostile).library(hostile, "1");
    let swarm = Swarm::open([stranger.clone(), stranger], Options::default()).await.unwrap();
    let app = TestApp::watching([&nats.monitor]).await;

    let mut notification: Value = serde_json::from_str(&firing(hostile)).unwrap();
    let alert = &mut notification["alerts"][0];
    alert["labels"]["pod"] = json!(hostile);
    alert["annotations"]["summary"] = json!(hostile);
    alert["generatorURL"] = json!("javascript:alert(1)//<b>");
    let id = incident(&app, notification.to_string()).await;

    let pages = [
        "/",
        &format!("/incidents/{id}"),
        "/clusters/nats?by=name,library",
        &format!("/clusters/{}", "%3Cscript%3E"),
    ];
    for path in pages {
        let page = app.browse(path).await.text;
        for raw in ["<script", "\u{202e}", "\u{1b}", "href=\"javascript"] {
            assert!(!page.contains(raw), "{path} has {raw:?}:\n{page}");
        }
    }
    let page = app.browse(&format!("/incidents/{id}")).await.text;
    // alert name, label, annotation, client name, library
    assert!(page.matches(shown).count() >= 5, "{page}");
    app.finish().await;
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_shows_every_breakdown_and_every_look() {
    let nats = NatsServer::start(NEWEST, ACCOUNTS).await;
    let client = ClientSpec::new(nats.clients).user("alice", "secret").name("billing");
    let swarm = Swarm::open([client.clone()], Options::default()).await.unwrap();
    let app = TestApp::watching([&nats.monitor]).await;
    let id = incident(&app, fixture("alertmanager/single-firing.am-0.33.1.json")).await;
    swarm.add([client.clone(), client]).await.unwrap();
    // what comes at the same instant shares the look
    app.advance(std::time::Duration::from_secs(1));
    incident(&app, fixture("alertmanager/group3-firing.am-0.33.1.json")).await;

    let path = format!("/incidents/{id}");
    let document = app.get(&format!("/api/v1{path}")).await.json();
    let looks = document["snapshots"].as_array().unwrap();
    assert_eq!(looks.len(), 2, "{document:#}");

    let page = app.browse(&path).await;
    assert!(page.text.contains("The last look") && page.text.contains("3 of 3 connections seen"));
    for by in document["breakdowns"].as_object().unwrap().keys() {
        let dimension = by.replace('/', "-");
        assert!(page.text.contains(&format!("<a href=\"#by-{dimension}\">")), "{dimension}");
        assert!(page.text.contains(&format!("id=\"by-{dimension}\"")), "{dimension}");
    }
    let earlier = format!("{path}?snapshot={}", looks[0]["id"].as_str().unwrap());
    assert!(page.text.contains(&format!("href=\"{earlier}\"")), "{}", page.text);
    let page = app.browse(&earlier).await;
    assert!(page.text.contains("An earlier look") && page.text.contains("1 of 1 connections seen"));

    let nothing = app.browse(&format!("{path}?snapshot={id}")).await;
    assert_eq!(nothing.status, 404);
    app.finish().await;
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_of_which_a_server_is_missing_is_at_least_that() {
    let nats = NatsServer::start(NEWEST, "").await;
    let swarm =
        Swarm::open([ClientSpec::new(nats.clients).name("billing")], Options::default()).await.unwrap();
    let nobody = ClosedPort::new();
    let app = TestApp::watching([&nats.monitor, &nobody.url]).await;
    let id = incident(&app, firing("A")).await;
    for _ in 0..5 {
        app.advance(Duration::from_secs(300));
        app.run_jobs().await;
    }

    let document = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    let truth = json!({
        "server": null,
        "connections": 1,
        "at_least": true,
        "varz_connections": null,
        "connz_total": null,
        "value_saturated": null,
    });
    assert_eq!(document["alerts"][0]["truth"], truth);
    let page = app.browse(&format!("/incidents/{id}")).await.text;
    assert!(page.contains(">at least 1<span class=\"note\">whole cluster</span>"), "{page}");
    assert!(page.contains("1 of at least 1 connections seen"), "{page}");
    app.finish().await;
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_looked_at_when_its_page_is_opened() {
    let mut nats = NatsServer::start(NEWEST, ACCOUNTS).await;
    let names = ["orders-api", "orders-api", "billing"];
    let clients = names.map(|name| ClientSpec::new(nats.clients).user("alice", "secret").name(name));
    let swarm = Swarm::open(clients, Options::default()).await.unwrap();
    let app = TestApp::watching([&nats.monitor]).await;

    let page = app.browse("/clusters/nats?by=name&top=1").await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("3 of 3 connections seen"), "{}", page.text);
    assert!(page.text.contains("<rect class=\"fill\" width=\"66.67\"") && page.text.contains("66.7 %"));
    assert!(page.text.contains("<bdi>1 more</bdi>") && page.text.contains("<bdi>total</bdi>"));
    assert!(!page.text.contains("<bdi>billing</bdi>"));
    assert_eq!(link(&page, "List 100 groups").unwrap(), "/clusters/nats?by=name&top=100#by-name");
    assert_eq!(link(&page, "Account").unwrap(), "/clusters/nats?by=account&top=1");

    swarm.close().await;
    nats.kill();
    let page = app.browse("/clusters/nats").await;
    assert!(page.text.contains("UNREACHABLE") && page.text.contains("INCOMPLETE"), "{}", page.text);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_a_page_for_people_and_a_document_for_programs() {
    let app = TestApp::watching([&Url::parse("http://127.0.0.1:1").unwrap()]).await;
    let unknown = "/incidents/019b8d7a-0000-7000-8000-00000000000a";
    let pages = [
        ("/nowhere", 404, "nothing is at this path"),
        (unknown, 404, "no incident 019b8d7a"),
        ("/incidents/no-id", 400, "`no-id` is not the id of an incident"),
        ("/?state=odd", 400, "state: `odd` is not one of triggered, acknowledged, recovering, resolved"),
        ("/clusters/elsewhere", 404, "no cluster `elsewhere` is configured"),
        ("/clusters/nats?by=colour", 400, "unknown dimension `colour`"),
    ];
    for (path, status, detail) in pages {
        let page = app.browse(path).await;
        assert_eq!(
            (page.status.as_u16(), page.content_type.as_str()),
            (status, "text/html; charset=utf-8"),
            "{path}"
        );
        assert!(page.text.contains(detail), "{path}: {}", page.text);
        assert!(page.text.contains(header(&page, "x-request-id")), "{path}");

        let document = app.get(path).await;
        assert_eq!(
            (document.status.as_u16(), document.content_type.as_str()),
            (status, "application/problem+json")
        );
    }
    for path in ["/api/v1/nowhere", "/api/v1/incidents?state=odd", "/-/nowhere"] {
        assert_eq!(app.browse(path).await.content_type, "application/problem+json", "{path}");
    }
    let request = Request::builder().method(Method::POST).uri("/").header("Accept", "text/html");
    let request = request.header("Authorization", format!("Bearer {OPERATOR_TOKEN}"));
    let page = app.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(page.status, 405);
    assert!(page.text.contains("this method is not allowed here"), "{}", page.text);

    let state = app.state.clone();
    app.finish().await;
    let request = Request::builder().uri("/").header("Accept", "text/html").body(Body::empty()).unwrap();
    let response = http::router(state).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 500);
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains(">internal error</p>") && !text.contains("database"), "{text}");
}
