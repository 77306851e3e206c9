//! Reverse DNS: names in time or not at all. The DNS server is a fake, because it has to keep silent.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use connwarden::config::Config;
use connwarden::outgoing::reverse_dns::{MOST_ADDRESSES, ReverseDns, ReverseDnsSettings};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::PTR;
use hickory_resolver::proto::rr::{Name, RData, Record};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::payload::{ALERT, firing, notification};
use crate::harness::test_app::TestApp;

/// A DNS server that knows the names of addresses by their last byte.
struct Dns {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

/// From this last byte on it keeps silent.
const SILENT: u8 = 200;

impl Dns {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let book = asked.clone();
        let task = tokio::spawn(async move {
            let mut packet = [0; 4096];
            while let Ok((size, from)) = socket.recv_from(&mut packet).await {
                let query = Message::from_vec(&packet[..size]).unwrap();
                let name = query.queries[0].name().clone();
                let last: u8 = name.to_ascii().split('.').next().unwrap().parse().unwrap();
                book.lock().unwrap().push(last);
                let mut answer = Message::response(query.metadata.id, OpCode::Query);
                answer.add_query(query.queries[0].clone());
                let named =
                    |text: &str| Record::from_rdata(name.clone(), 5, RData::PTR(PTR(text.parse().unwrap())));
                match last {
                    1 => drop(answer.add_answer(named("zebra.example.")).add_answer(named("api-1.example."))),
                    2 => answer.metadata.response_code = ResponseCode::NXDomain,
                    3 => answer.metadata.response_code = ResponseCode::ServFail,
                    9 => {
                        let hostile = Name::from_labels([b"<b>x</b>".as_slice(), b"example"]).unwrap();
                        answer.add_answer(Record::from_rdata(name.clone(), 5, RData::PTR(PTR(hostile))));
                    }
                    SILENT.. => continue,
                    _ => drop(answer.add_answer(named(&format!("host-{last}.example.")))),
                }
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        Self { address, asked, task }
    }

    fn settings(&self, timeout: Duration) -> ReverseDnsSettings {
        ReverseDnsSettings { servers: vec![self.address], timeout, cache_ttl: Duration::from_secs(3600) }
    }

    fn asked(&self) -> Vec<u8> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort_unstable();
        asked.dedup();
        asked
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn start() -> Timestamp {
    "2026-11-24T09:00:00Z".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_get_names_and_what_is_known_is_not_asked_again() {
    let dns = Dns::start().await;
    let names = ReverseDns::new(dns.settings(Duration::from_secs(10))).unwrap();
    let wanted = [ip(7), ip(1), ip(2), ip(7)];
    let found = names.names(&wanted, start()).await;
    let found: Vec<(IpAddr, &str)> = found.iter().map(|(ip, name)| (*ip, name.as_str())).collect();
    assert_eq!(found, [(ip(1), "api-1.example"), (ip(7), "host-7.example")]);
    assert_eq!(dns.asked(), [1, 2, 7]);

    let later = start().checked_add(SignedDuration::from_secs(3599)).unwrap();
    assert_eq!(names.names(&wanted, later).await.len(), 2);
    assert_eq!(dns.asked(), [0_u8; 0], "neither names nor their absence");
    let expired = start().checked_add(SignedDuration::from_secs(3601)).unwrap();
    assert_eq!(names.names(&wanted, expired).await.len(), 2);
    assert_eq!(dns.asked(), [1, 2, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_answer_costs_the_timeout_once() {
    let dns = Dns::start().await;
    let names = ReverseDns::new(dns.settings(Duration::from_millis(700))).unwrap();
    let mut wanted: Vec<IpAddr> = (SILENT..SILENT + 8).map(ip).collect();
    wanted.extend([ip(7), ip(3)]);
    let took = async |now: Timestamp| {
        #[expect(clippy::disallowed_methods, reason = "it is measured how long people wait")]
        let began = Instant::now();
        let found = names.names(&wanted, now).await;
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(ip(7), "host-7.example".to_owned())]);
        began.elapsed()
    };
    let first = took(start()).await;
    assert!(first < Duration::from_secs(5), "{first:?}");
    assert!(dns.asked().contains(&SILENT));
    took(start().checked_add(SignedDuration::from_secs(59)).unwrap()).await;
    assert_eq!(dns.asked(), [0_u8; 0], "that nobody answered is known");
    took(start().checked_add(SignedDuration::from_secs(61)).unwrap()).await;
    // the resolver itself goes easy on a server that did not answer: which of them it asks first is its own affair
    let asked = dns.asked();
    assert!(asked.iter().any(|last| *last >= SILENT || *last == 3), "but not for long: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_addresses_are_asked_for_than_are_shown() {
    let dns = Dns::start().await;
    let names = ReverseDns::new(dns.settings(Duration::from_secs(10))).unwrap();
    let wanted: Vec<IpAddr> = (10..SILENT).map(ip).collect();
    let found = names.names(&wanted, start()).await;
    assert_eq!((found.len(), dns.asked().len()), (MOST_ADDRESSES, MOST_ADDRESSES));
    assert!(found.contains_key(&ip(10)) && !found.contains_key(&ip(10 + MOST_ADDRESSES as u8)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_and_that_of_the_system_are_no_reason_to_fail() {
    let dead = ReverseDnsSettings {
        servers: vec!["127.0.0.1:1".parse().unwrap()],
        timeout: Duration::from_secs(2),
        cache_ttl: Duration::from_secs(60),
    };
    assert!(ReverseDns::new(dead.clone()).unwrap().names(&[ip(7)], start()).await.is_empty());
    // the hosts file is asked before anybody else
    let Ok(system) = ReverseDns::new(ReverseDnsSettings { servers: Vec::new(), ..dead }) else { return };
    let found = system.names(&[[127, 0, 0, 1].into()], start()).await;
    assert!(found.values().all(|name| !name.is_empty()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_shows_the_names_of_its_addresses_once_its_look_is_stored() {
    let dns = Dns::start().await;
    let orders = Arc::new(AtomicUsize::new(0));
    let many = orders.clone();
    let nats = FakeMonitor::start(move |path| {
        let clients = std::iter::repeat_n(("billing", "10.0.0.9"), 10)
            .chain(std::iter::once(("cron", "10.0.0.200")))
            .chain(std::iter::repeat_n(("orders", "10.0.0.1"), many.load(Ordering::SeqCst)));
        let clients = clients.zip(1..).map(|((name, ip), cid)| json!({ "cid": cid, "name": name, "ip": ip }));
        let clients: Vec<Value> = clients.collect();
        let answer = match path {
            "/varz" => json!({ "server_id": "N", "server_name": "nats-1", "connections": clients.len() }),
            _ if path.contains("state=closed") => json!({ "total": 0, "connections": [] }),
            _ => json!({ "total": clients.len(), "connections": clients }),
        };
        Answer::json(&answer.to_string())
    })
    .await;
    let mut config = Config::from_monitors(vec![nats.url.clone()]);
    config.reverse_dns.enabled = true;
    config.reverse_dns.servers = vec![dns.address];
    config.reverse_dns.timeout = Duration::from_millis(700);
    let app = TestApp::with(config).await;
    let mut sampler = app.state.engine.sampler("nats").unwrap();
    app.state.engine.sample(&mut sampler).await.unwrap();
    app.advance(Duration::from_secs(600));
    orders.store(100, Ordering::SeqCst);

    let answer = app.notify(notification(&[firing(ALERT, "nats-1:7777")])).await;
    app.run_jobs().await;
    assert_eq!(dns.asked(), [1, 9, 200]);
    let id = answer.json()["incidents"][0].as_str().unwrap().to_owned();
    let incident = app.get(&format!("/api/v1/incidents/{id}")).await.json();
    let groups = incident["breakdowns"]["ip"]["groups"].as_array().unwrap().iter();
    let labels: Vec<_> = groups.map(|group| (&group["key"], &group["label"])).collect();
    // as DNS writes it
    let hostile = r"\<b\>x\<\/b\>.example";
    let expected = [
        (&json!("10.0.0.1"), &json!("api-1.example")),
        (&json!("10.0.0.9"), &json!(hostile)),
        (&json!("10.0.0.200"), &Value::Null),
    ];
    assert_eq!(labels, expected);
    let origin = &incident["diagnosis"]["culprits"][0]["addresses"][0];
    assert_eq!(origin, &json!({ "address": "10.0.0.1", "name": "api-1.example", "connections": 100 }));

    let page = app.browse(&format!("/incidents/{id}")).await.text;
    assert!(page.contains("<bdi>10.0.0.1</bdi> <bdi class=\"quiet\">api-1.example</bdi>"), "{page}");
    assert!(page.contains("<bdi>10.0.0.9</bdi><span class=\"note\"><bdi>"), "{page}");
    assert!(!page.contains(r"\<b"), "{page}");
    let report = app.get(&format!("/api/v1/incidents/{id}/report")).await.text;
    assert!(report.contains("`10.0.0.1 (api-1.example)` (100)"), "{report}");
    app.finish().await;
}

#[test]
fn settings_are_read_and_mistakes_have_their_place() {
    let parse = |text: &str| Config::parse(text, "connwarden.yml", &|_| unreachable!());
    let config = parse(
        "reverse_dns: {enabled: true, servers: [10.0.0.10, '[::1]:5353'], timeout: 500ms, cache_ttl: 1m}",
    );
    let config = config.unwrap().reverse_dns;
    assert!(config.enabled);
    assert_eq!(
        config.servers,
        ["10.0.0.10:53".parse().unwrap(), "[::1]:5353".parse::<SocketAddr>().unwrap()]
    );
    assert_eq!((config.timeout, config.cache_ttl), (Duration::from_millis(500), Duration::from_secs(60)));
    let problems =
        parse("reverse_dns: {enabled: yes, servers: [dns.example, 10.0.0.1, '10.0.0.1:53'], timeout: 1m}");
    insta::assert_snapshot!(problems.map(|_| ()).unwrap_err().to_string(), @r"
    connwarden.yml:1:24: reverse_dns.enabled: expected `true` or `false`, found `yes`
    connwarden.yml:1:39: reverse_dns.servers[0]: expected the address of a DNS server such as `10.0.0.10` or `10.0.0.10:53`, found `dns.example`
    connwarden.yml:1:62: reverse_dns.servers[2]: 10.0.0.1:53 is listed twice
    connwarden.yml:1:87: reverse_dns.timeout: must be at most 10s, found `1m`
    4 problems in connwarden.yml
    ");
}
