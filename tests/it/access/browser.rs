//! What a browser may be made to send: other sites, and names that point here (DNS rebinding).

use axum::body::Body;
use axum::http::Method;

use super::WEBHOOK;
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::test_app::TestApp;

const UNKNOWN: u16 = 421;

#[tokio::test(flavor = "multi_thread")]
async fn a_post_must_name_a_known_host_and_come_from_no_other_site() {
    let app = TestApp::start().await;
    let body = notification(&[firing(ALERT, "nats-1:7777")]);
    let cases: [(&[(&str, &str)], u16); 22] = [
        // Alertmanager, Grafana, curl
        (&[("Host", "127.0.0.1:9480")], 202),
        (&[("Host", "[::1]:9480")], 202),
        (&[("Host", "localhost:9480")], 202),
        (&[("Host", "10.0.0.5:9480")], 202),
        (&[("Host", "warden.example")], 202),
        (&[], 202),
        (&[("Host", "")], UNKNOWN),
        (&[("Host", "connwarden:9480")], UNKNOWN),
        (&[("Host", "evil.example:9480")], UNKNOWN),
        (&[("Host", "127.0.0.1:9480"), ("Host", "evil.example")], UNKNOWN),
        // our own page
        (&[("Host", "127.0.0.1:9480"), ("Origin", "http://127.0.0.1:9480")], 202),
        (
            &[
                ("Host", "127.0.0.1:9480"),
                ("Origin", "http://127.0.0.1:9480"),
                ("Sec-Fetch-Site", "same-origin"),
            ],
            202,
        ),
        (&[("Host", "warden.example"), ("Origin", "https://warden.example")], 202),
        (&[("Host", "127.0.0.1:9480"), ("Sec-Fetch-Site", "none")], 202),
        // pages of others
        (&[("Host", "127.0.0.1:9480"), ("Origin", "http://evil.example")], 403),
        (&[("Host", "127.0.0.1:9480"), ("Origin", "null")], 403),
        (&[("Host", "127.0.0.1:9480"), ("Origin", "http://127.0.0.1:3000")], 403),
        (&[("Host", "127.0.0.1:9480"), ("Sec-Fetch-Site", "cross-site")], 403),
        (&[("Host", "127.0.0.1:9480"), ("Sec-Fetch-Site", "same-site")], 403),
        (
            &[
                ("Host", "127.0.0.1:9480"),
                ("Origin", "http://127.0.0.1:9480"),
                ("Sec-Fetch-Site", "same-site"),
            ],
            403,
        ),
        (
            &[
                ("Host", "127.0.0.1:9480"),
                ("Origin", "http://evil.example"),
                ("Sec-Fetch-Site", "same-origin"),
            ],
            403,
        ),
        // a name of theirs that points here: to the browser it is all one site
        (
            &[("Host", "evil.example"), ("Origin", "http://evil.example"), ("Sec-Fetch-Site", "same-origin")],
            UNKNOWN,
        ),
    ];
    for (headers, status) in cases {
        for method in [Method::POST, Method::PUT] {
            let answer = app.request_with(method, WEBHOOK, headers, Body::from(body.clone())).await;
            assert_eq!(answer.status.as_u16(), status, "{headers:?}: {}", answer.text);
            assert!(status == 202 || answer.text.lines().count() == 1, "{}", answer.text);
        }
    }
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_not_acted_for_by_other_sites() {
    let app = TestApp::start().await;
    let token = format!("Bearer {}", crate::harness::test_app::OPERATOR_TOKEN);
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let headers = [
            ("Authorization", token.as_str()),
            ("Host", "127.0.0.1:9480"),
            ("Origin", "http://evil.example"),
        ];
        let answer = app.request_with(method.clone(), "/nothing", &headers, Body::empty()).await;
        assert_eq!(answer.problem(403), "a browser sent this on behalf of another site", "{method}");
        let answer = app.request_with(method, "/nothing", &headers[..2], Body::empty()).await;
        assert_eq!(answer.problem(404), "nothing is at this path");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_by_a_name_that_is_not_known() {
    let app = TestApp::start().await;
    let get = async |path: &str, host: &str| {
        app.request_with(Method::GET, path, &[("Host", host)], Body::empty()).await
    };
    for path in ["/", "/api/v1/incidents", "/api/v1/openapi.json"] {
        assert_eq!(get(path, "warden.example:9480").await.status, 200);
        let answer = get(path, "evil.example:9480").await;
        assert_eq!(
            answer.problem(UNKNOWN),
            "the host `evil.example:9480` is not known here, add it to web.allowed_hosts if it should be"
        );
    }
    // probes and scrapers come by any name, and what they hear helps nobody
    for path in ["/-/healthy", "/-/ready", "/metrics"] {
        assert_eq!(get(path, "pod-10-0-0-5.example:9480").await.status, 200, "{path}");
    }
    let long = format!("{}.example", "x".repeat(200));
    assert!(get("/", &long).await.text.len() < 400);
    // the form that proxies get
    let answer = get("http://evil.example/api/v1/incidents", "127.0.0.1:9480").await;
    assert_eq!(answer.status, UNKNOWN);
    // another site may link here
    let headers = [("Host", "127.0.0.1:9480"), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(app.request_with(Method::GET, "/", &headers, Body::empty()).await.status, 200);
    app.finish().await;
}
