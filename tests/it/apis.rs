//! The APIs of real Alertmanagers and a real Prometheus, as connwarden reads them.

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::response::Redirect;
use axum::routing::get;
use connwarden::alertmanager::api::{AlertmanagerClient, ClusterStatus, ListedState};
use connwarden::clock::Clock;
use connwarden::model::alert::AlertStatus;
use connwarden::model::endpoint::Endpoint;
use connwarden::model::labels::Labels;
use connwarden::model::remote_auth::RemoteAuth;
use connwarden::outgoing::documents::Limits;
use connwarden::prometheus::{PrometheusClient, PrometheusError, RuleState};
use serde_json::json;
use url::Url;

use crate::harness::alertmanager::{Alertmanager, Pair, route};
use crate::harness::eventually;
use crate::harness::fake::ClosedPort;
use crate::harness::payload::ALERT;
use crate::harness::prometheus::{Exporter, Prometheus};

fn endpoint(url: &Url) -> Endpoint {
    Endpoint { url: url.clone(), auth: None, tenant: None }
}

fn client(alertmanager: &Alertmanager) -> AlertmanagerClient {
    AlertmanagerClient::new(endpoint(&alertmanager.url), Limits::default())
}

fn everything() -> Labels {
    Labels::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_lists_what_fires_and_who_keeps_it_quiet() {
    let am = Alertmanager::start(&ClosedPort::new().url).await;
    let client = client(&am);
    assert_eq!(client.alerts(&everything(), None).await.unwrap(), []);
    let now = Clock::system().now();
    am.push(&json!([{ "labels": { "alertname": "Loud", "pod": "a\"b" } }, { "labels": { "alertname": "Quiet" } }])).await;
    let silence = am.silence("Quiet", now).await;
    am.lists("Quiet", "suppressed").await;
    am.lists("Loud", "active").await;

    let listed = client.alerts(&everything(), None).await.unwrap();
    let [loud, quiet] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((loud.state, quiet.state), (ListedState::Active, ListedState::Suppressed));
    assert_eq!(
        (loud.silenced_by.as_slice(), quiet.silenced_by.as_slice()),
        ([].as_slice(), [silence].as_slice())
    );
    assert_eq!(loud.alert.fingerprint, loud.alert.labels.fingerprint());
    assert_eq!(loud.alert.status, AlertStatus::Firing);
    assert_eq!(loud.receivers, ["connwarden"]);

    let of = async |labels: &[(&str, &str)], receiver| {
        client.alerts(&labels.iter().copied().collect(), receiver).await.unwrap().len()
    };
    assert_eq!(of(&[("pod", "a\"b")], Some("connwarden")).await, 1);
    assert_eq!(of(&[("pod", "a")], None).await, 0);
    assert_eq!(of(&[("alertname", "Loud")], Some("some.*else")).await, 0);
    let refused = client.alerts(&everything(), Some("(")).await.unwrap_err().to_string();
    assert!(refused.contains("status 400"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_that_starts_again_has_forgotten_its_alerts_and_says_when_it_started() {
    let mut am = Alertmanager::start(&ClosedPort::new().url).await;
    let client = client(&am);
    am.push(&json!([{ "labels": { "alertname": ALERT } }])).await;
    am.lists(ALERT, "active").await;
    let before = client.status().await.unwrap();
    assert_eq!((before.cluster, before.version.as_str()), (ClusterStatus::Disabled, "0.25.0"));
    am.restart().await;
    assert_eq!(client.alerts(&everything(), None).await.unwrap(), []);
    assert!(client.status().await.unwrap().started_at > before.started_at);
    am.kill();
    // one without a connection that was kept alive, whose end it may not have heard of yet
    let silent = self::client(&am).status().await.unwrap_err().to_string();
    assert_eq!(
        silent,
        format!("GET {}api/v2/status: cannot connect: Connection refused (os error 111)", am.url)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_of_a_pair_are_ready_and_share_no_alerts() {
    let pair = Pair::start(&ClosedPort::new().url, [route("1s", "5s"), route("1s", "5s")]).await;
    let [first, second] = &pair.nodes;
    first.push(&json!([{ "labels": { "alertname": ALERT } }])).await;
    first.lists(ALERT, "active").await;
    for node in [first, second] {
        assert_eq!(client(node).status().await.unwrap().cluster, ClusterStatus::Ready);
    }
    assert_eq!(client(second).alerts(&everything(), None).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alerts_of_a_prometheus_are_found_again_in_alertmanager() {
    let am = Alertmanager::start(&ClosedPort::new().url).await;
    let exporter = Exporter::start(5).await;
    let prometheus = Prometheus::start(&exporter, &am.url, 10).await;
    let client_of_prometheus = PrometheusClient::new(endpoint(&prometheus.url), Limits::default());
    prometheus.scrapes().await;
    assert_eq!(client_of_prometheus.alerts().await.unwrap().result, []);
    exporter.tell(20);
    am.lists(ALERT, "active").await;

    let answer = client_of_prometheus.alerts().await.unwrap();
    let [alert] = answer.result.as_slice() else { panic!("{answer:?}") };
    assert_eq!((alert.state, alert.value), (RuleState::Firing, Some(20.0)));
    assert!(alert.active_at.unwrap() <= Clock::system().now());
    let listed = client(&am).alerts(&everything(), None).await.unwrap();
    let [listed] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(listed.alert.labels.get("replica"), Some("a"), "the external label");
    assert!(alert.labels.is_subset_of(&listed.alert.labels));
    assert_ne!(alert.labels.fingerprint(), listed.alert.fingerprint);

    let down = async || client_of_prometheus.query("up == 0").await.unwrap().result;
    assert_eq!(down().await, []);
    let target = exporter.target();
    drop(exporter);
    let gone = eventually("a target that is down", async || down().await.pop()).await;
    assert_eq!(gone.labels.get("instance"), Some(target.to_string().as_str()));
    let refused = client_of_prometheus.query("up{").await.unwrap_err();
    assert!(matches!(&refused, PrometheusError::Refused { kind, .. } if kind == "bad_data"), "{refused}");
    let _exporter = Exporter::start_at(target, 5).await;
    prometheus.scrapes().await;
    prometheus.fires(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_shown_to_whom_they_are_for_and_to_nobody_else() {
    // no harness that does it is used here
    let _ = rustls::crypto::ring::default_provider().install_default();
    let shown = |headers: HeaderMap| async move {
        let shown = headers.get(header::AUTHORIZATION).map_or("nothing", |value| value.to_str().unwrap());
        let error = format!(r#"{{"errorType":"shown","error":"{shown}"}}"#);
        (axum::http::StatusCode::UNAUTHORIZED, error)
    };
    let elsewhere = serve(Router::new().fallback(shown)).await;
    let there = elsewhere.join("api/v1/query").unwrap().to_string();
    let router = Router::new()
        .route("/api/v1/query", get(shown))
        .route("/api/v1/alerts", get(|| async move { Redirect::temporary(&there) }));
    let url = serve(router).await;
    let basic = RemoteAuth::Basic { username: "ada".to_owned(), password: "secret".into() };
    let cases = [
        (None, "nothing"),
        (Some(basic), "Basic YWRhOnNlY3JldA=="),
        (Some(RemoteAuth::Bearer("t0ken".into())), "Bearer t0ken"),
    ];
    for (auth, expected) in cases {
        let client =
            PrometheusClient::new(Endpoint { url: url.clone(), auth, tenant: None }, Limits::default());
        let PrometheusError::Refused { reason, .. } = client.query("up").await.unwrap_err() else { panic!() };
        assert_eq!(reason, expected);
        let redirected = client.alerts().await.unwrap_err().to_string();
        assert!(
            redirected.contains("status 307: redirects to") && redirected.ends_with("which is not followed")
        );
        assert!(!format!("{client:?}").contains("secret") && !format!("{client:?}").contains("t0ken"));
    }
}

async fn serve(router: Router) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}
