//! What a kick and lame duck mode do to a client of async-nats, as `docs/mitigations.md` tells it: clients of other
//! libraries are measured by `make effects`.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout};
use tokio_stream::StreamExt;

use crate::harness::nats::{ACCOUNTS, NatsServer};
use crate::harness::{PATIENCE, http};

/// The lines of servers that the documentation tells of.
const LINES: [&str; 4] = ["2.10", "2.11", "2.12", "2.15"];

/// How often a client is kicked.
const KICKS: usize = 5;

/// Half of the kicked clients are back sooner. Measured are milliseconds; a machine under load gets time.
const BACK_WITHIN: Duration = Duration::from_secs(1);

/// A client, and what happens to it.
struct Watched {
    client: Client,
    events: UnboundedReceiver<Event>,
}

impl Watched {
    async fn connect(server: &NatsServer) -> Self {
        let (heard, events) = unbounded_channel();
        let options = ConnectOptions::with_user_and_password("alice".to_owned(), "secret".to_owned());
        let options = options.name("orders").event_callback(move |event| {
            let _ = heard.send(event);
            std::future::ready(())
        });
        let mut watched = Self { client: options.connect(server.url()).await.unwrap(), events };
        watched.hear(Event::Connected).await;
        watched
    }

    /// Waits until it is told of something.
    async fn hear(&mut self, wanted: Event) {
        let heard = async { while self.events.recv().await.unwrap() != wanted {} };
        timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("no {wanted:?}"));
    }

    fn number(&self) -> u64 {
        self.client.server_info().client_id
    }
}

/// Asks a server to do something to a client.
async fn ask(system: &Client, what: &str, client: &Client) {
    let info = client.server_info();
    let subject = format!("$SYS.REQ.SERVER.{}.{what}", info.server_id);
    let body = json!({ "cid": info.client_id }).to_string();
    let answer = system.request(subject, body.into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer.get("error"), None, "{answer}");
}

async fn system(server: &NatsServer) -> Client {
    let options = ConnectOptions::with_user_and_password("sys".to_owned(), "secret".to_owned());
    options.connect(server.url()).await.unwrap()
}

/// Why the connections of the client ended, as the server remembers it.
async fn reasons(server: &NatsServer) -> BTreeSet<String> {
    let url = server.monitor.join("connz?state=closed").unwrap();
    let closed: Value = http().get(url).send().await.unwrap().json().await.unwrap();
    let closed = closed["connections"].as_array().unwrap().iter();
    closed.filter(|it| it["name"] == "orders").map(|it| it["reason"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kicked_client_is_back_at_once_under_another_number() {
    for line in LINES {
        let server = NatsServer::start(line, ACCOUNTS).await;
        let system = system(&server).await;
        let mut orders = Watched::connect(&server).await;
        let mut back = Vec::new();
        for _ in 0..KICKS {
            let (number, begun) = (orders.number(), Instant::now());
            ask(&system, "KICK", &orders.client).await;
            orders.hear(Event::Disconnected).await;
            orders.hear(Event::Connected).await;
            back.push(begun.elapsed());
            assert_ne!(orders.number(), number, "{line}");
        }
        back.sort();
        assert!(back[KICKS / 2] < BACK_WITHIN, "{line}: {back:?}");
        assert_eq!(reasons(&server).await, BTreeSet::from(["Kicked".to_owned()]), "{line}");
        assert!(!server.process.log().contains("Kicked"), "{line}: only its debug log says so");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_asked_to_leave_hears_it_and_stays() {
    for line in LINES {
        let server = NatsServer::start(line, ACCOUNTS).await;
        let system = system(&server).await;
        let mut orders = Watched::connect(&server).await;
        let number = orders.number();
        let mut messages = orders.client.subscribe("orders").await.unwrap();
        ask(&system, "LDM", &orders.client).await;
        orders.hear(Event::LameDuckMode).await;
        // its messages go back and forth as before
        for _ in 0..3 {
            orders.client.publish("orders", "new".into()).await.unwrap();
            timeout(PATIENCE, messages.next()).await.unwrap().unwrap();
        }
        assert_eq!(orders.number(), number, "{line}");
        assert_eq!(reasons(&server).await, BTreeSet::new(), "{line}");
        assert!(orders.events.try_recv().is_err(), "{line}: nothing else has happened to it");
    }
}
