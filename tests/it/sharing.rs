//! Looks at one cluster are shared: however many ask, a server is asked once at a time.

use std::pin::Pin;
use std::task::Poll;

use crate::harness::document::groups;
use crate::harness::fake::{Answer, FakeMonitor, Gate};
use crate::harness::test_app::TestApp;
use crate::harness::{eventually, fixture};

const BREAKDOWN: &str = "/api/v1/clusters/nats/breakdown";

#[tokio::test(flavor = "multi_thread")]
async fn twenty_who_ask_at_the_same_time_share_one_sweep() {
    let (fake, gate) = gated_server().await;
    let app = TestApp::watching([&gate.url]).await;
    let mut asks: Vec<_> = (0..20).map(|_| Box::pin(app.get(BREAKDOWN))).collect();
    for ask in &mut asks {
        assert!(is_waiting(ask).await);
    }

    gate.open();
    let mut documents = Vec::new();
    for ask in asks {
        documents.push(ask.await.json());
    }
    assert_eq!(fake.requests(), ["/varz", "/connz"]);
    assert_eq!(groups(&documents[0], "application")["orders"], 2);
    assert!(documents.iter().all(|document| *document == documents[0]));

    // what is over is not handed out again
    app.get(BREAKDOWN).await;
    assert_eq!(fake.requests(), ["/varz", "/connz", "/varz", "/connz"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_waiting_takes_the_sweep_from_nobody() {
    let (fake, gate) = gated_server().await;
    let app = TestApp::watching([&gate.url]).await;
    let mut first = Box::pin(app.get(BREAKDOWN));
    assert!(is_waiting(&mut first).await);
    let mut second = Box::pin(app.get(BREAKDOWN));
    assert!(is_waiting(&mut second).await);
    drop(first);

    gate.open();
    assert_eq!(second.await.status, 200);
    assert_eq!(fake.requests(), ["/varz", "/connz"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_more_than_the_look_counts_shares_the_next_one() {
    let (fake, gate) = gated_server().await;
    let app = TestApp::watching([&gate.url]).await;
    let paths =
        ["ip", "account/user", "kind/ip", "library/user", "name/ip"].map(|by| format!("{BREAKDOWN}?by={by}"));
    let mut asks: Vec<_> = paths.iter().map(|path| Box::pin(app.get(path))).collect();
    for ask in &mut asks {
        assert!(is_waiting(ask).await);
    }

    gate.open();
    for (ask, path) in asks.into_iter().zip(&paths) {
        let document = ask.await.json();
        let by = path.rsplit('=').next().unwrap();
        assert!(document["breakdowns"][by]["total"]["connections"].as_u64() > Some(0), "{path}");
    }
    assert_eq!(fake.requests(), ["/varz", "/connz", "/varz", "/connz"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_an_incident_shares_the_sweep_of_those_who_ask() {
    let (fake, gate) = gated_server().await;
    let app = TestApp::watching([&gate.url]).await;
    let answer = app.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await;
    let id = answer.json()["incidents"][0].as_str().unwrap().to_owned();

    let ask = async {
        // the job is the first to come to the gate
        eventually("the look of the job", async || (gate.arrivals() == 1).then_some(())).await;
        let mut ask = Box::pin(app.get(BREAKDOWN));
        assert!(is_waiting(&mut ask).await);
        gate.open();
        ask.await.json()
    };
    let ((), document) = tokio::join!(app.run_jobs(), ask);
    // what is closed is asked for first
    assert_eq!(fake.requests(), ["/connz", "/varz", "/connz"]);
    let incident = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    assert_eq!(incident["breakdowns"]["application"], document["breakdowns"]["application"]);
    app.finish().await;
}

/// A server that says the same every time, behind a closed gate.
async fn gated_server() -> (FakeMonitor, Gate) {
    let fake = FakeMonitor::start(|path| match path {
        "/varz" => Answer::json(&fixture("nats/2.15.1/varz.json")),
        _ => Answer::json(&fixture("nats/2.15.1/connz-open-auth.json")),
    })
    .await;
    let gate = Gate::before(&fake.url).await;
    (fake, gate)
}

/// Lets a request go as far as it comes by itself, and says whether it waits there.
async fn is_waiting(request: &mut Pin<Box<impl Future>>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(request.as_mut().poll(context).is_pending())).await
}
