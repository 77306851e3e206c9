//! Which way is taken when one fails, and which servers are meant.

use std::net::{SocketAddr, TcpListener};

use super::*;
use crate::harness::fake::{Answer, FakeMonitor};

/// A user who may ask who is there and what they say of themselves, and not for connections.
const RESTRICTED: &str = "
accounts {
  APP { users: [ { user: alice, password: secret }, { user: bob, password: secret } ] }
  BATCH { users: [ { user: carol, password: secret } ] }
  SYS { users: [ { user: sys, password: secret, permissions: {
    publish: [\"$SYS.REQ.SERVER.PING\", \"$SYS.REQ.SERVER.*.VARZ\"], subscribe: [\"_INBOX.connwarden.>\"]
  } } ] }
}
system_account: SYS
";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_system_account_may_not_show_is_asked_for_by_http() {
    let nats = start_cluster(NEWEST, "east", 2, RESTRICTED).await;
    let swarm = clients(&nats).await;
    let all: Vec<&NatsServer> = nats.iter().collect();

    let both = Eyes::new(&urls(&nats), &all);
    let begun = Clock::system().stopwatch();
    let snapshot = both.look().await;
    // that it may not is said at once: nobody waits for an answer that will not come
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
    assert_eq!(snapshot.coverage.seen, 121);
    assert!(servers(&snapshot).iter().all(|(_, via, ..)| via == "http"), "{:?}", servers(&snapshot));

    let only_system = Eyes::new(&urls(&nats), &[]).look().await;
    assert!(!only_system.coverage.complete);
    for (name, via, seen, error) in servers(&only_system) {
        // what it says of itself is known all the same
        assert_eq!((via.as_str(), seen), ("system", 0));
        let error = error.unwrap();
        let expected = format!("CONNZ of {name} over the system account: not allowed: Permissions Violation");
        assert!(error.starts_with(&expected), "{error}");
    }
    assert!(only_system.coverage.total >= 121, "{:?}", only_system.coverage);
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_system_account_every_monitoring_port_is_asked() {
    let nats = start_cluster(NEWEST, "east", 2, ACCOUNTS).await;
    let swarm = clients(&nats).await;
    let all: Vec<&NatsServer> = nats.iter().collect();

    let observe = "connect_timeout: 2s";
    let cases = [
        (urls(&nats), ("sys", "wrong"), "not connected: 127.0.0.1:"),
        (vec!["nats://127.0.0.1:1".to_owned()], ("sys", "secret"), "Connection refused"),
        // a user of another account
        (urls(&nats), ("alice", "secret"), "not one of the system account"),
    ];
    for (urls, user, reason) in cases {
        let snapshot = Eyes::with(&urls, &all, observe, user).look().await;
        assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
        assert!(servers(&snapshot).iter().all(|(_, via, ..)| via == "http"), "{:?}", servers(&snapshot));
        let error = snapshot.coverage.system_error.clone().unwrap();
        assert!(error.starts_with("PING over the system account: ") && error.contains(reason), "{error}");
        assert!(!error.contains("wrong"), "{error}");

        // where nothing else is known, nothing is taken for everything
        let blind = Eyes::with(&urls, &[], observe, user).look().await;
        assert!(!blind.coverage.complete && blind.coverage.is_blind(), "{:?}", blind.coverage);
        assert_eq!(blind.coverage.errors().count(), 1);
    }
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_monitoring_port_fails_is_seen_by_the_system_account() {
    let nats = start_cluster(NEWEST, "east", 2, ACCOUNTS).await;
    let swarm = clients(&nats).await;
    let varz = http().get(nats[0].monitor.join("varz").unwrap()).send().await.unwrap().text().await.unwrap();
    // it says who it is, and then it has nothing to say
    let monitor = FakeMonitor::start(move |path| match path {
        "/varz" => Answer::json(&varz),
        _ => Answer::http("500 Internal Server Error", &[], "out of order"),
    })
    .await;
    let mut eyes = Eyes::new(&urls(&nats), &[]);
    eyes.targets.servers = vec![monitor.url.clone()];

    let snapshot = eyes.look().await;
    assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
    let told: Vec<_> =
        snapshot.coverage.servers.iter().map(|server| (server.url.clone(), server.via)).collect();
    assert_eq!(told, [(Some(monitor.url.clone()), Some(Via::System)), (None, Some(Via::System))]);
    assert_eq!(snapshot.coverage.seen, 121);

    // what has answered there once is still known when it does no longer
    let place = monitor.url.clone();
    drop(monitor);
    let snapshot = eyes.look().await;
    assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
    assert_eq!(snapshot.coverage.servers[0].url.as_ref(), Some(&place));
    assert_eq!(snapshot.coverage.servers.len(), 2);
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_behind_a_gateway_are_neither_counted_nor_missing() {
    let gateway = unused_address();
    let to_east = format!("gateways: [ {{ name: east, urls: [\"nats://{gateway}\"] }} ]");
    let east_config =
        |own: &str| format!("gateway {{ name: east, listen: \"{own}\"\n{to_east} }}\n{ACCOUNTS}");
    let mut east = Vec::new();
    let first =
        format!("cluster {{ name: east, listen: \"127.0.0.1:-1\" }}\n{}", east_config(&gateway.to_string()));
    east.push(NatsServer::start_named("east-0", NEWEST, &first).await);
    let routes = east[0].routes.unwrap();
    let second = format!(
        "cluster {{ name: east, listen: \"127.0.0.1:-1\", routes: [\"nats-route://{routes}\"] }}\n{}",
        east_config("127.0.0.1:-1")
    );
    east.push(NatsServer::start_named("east-1", NEWEST, &second).await);
    let west_config = format!(
        "cluster {{ name: west, listen: \"127.0.0.1:-1\" }}\n\
         gateway {{ name: west, listen: \"127.0.0.1:-1\"\n{to_east} }}\n{ACCOUNTS}"
    );
    let west = NatsServer::start_named("west-0", NEWEST, &west_config).await;

    // the system account reaches all three
    let options = async_nats::ConnectOptions::with_user_and_password("sys".to_owned(), "secret".to_owned());
    let anybody = options.connect(east[0].url()).await.unwrap();
    eventually("a supercluster of three", async || {
        let answer = anybody.request("$SYS.REQ.SERVER.PING", "".into()).await.ok()?;
        let statsz: Value = serde_json::from_slice(&answer.payload).unwrap();
        (statsz["statsz"]["active_servers"] == 3).then_some(())
    })
    .await;
    let west_id = id_of(&west).await;
    let behind = anybody.request(format!("$SYS.REQ.SERVER.{west_id}.VARZ"), "".into()).await.unwrap();
    assert!(String::from_utf8_lossy(&behind.payload).contains("west-0"));
    drop(anybody);

    let model = ClientSpec::new(west.clients).user("alice", "secret");
    let swarm = Swarm::open((0..10).map(|_| model.clone()), Options::default()).await.unwrap();
    let both = clients(&east).await;
    let eyes = Eyes::new(&urls(&east), &[]);
    let snapshot = eyes.look().await;
    assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
    assert_eq!(names(&snapshot), ["east-0", "east-1"]);
    assert_eq!(snapshot.coverage.seen, 121);
    let snapshot = Eyes::new(&[west.url()], &[]).look().await;
    assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
    assert_eq!((names(&snapshot), snapshot.coverage.seen), (vec!["west-0".to_owned()], 11));

    // and a whole cluster that is gone is not missed from the other side
    drop(west);
    let snapshot = eyes.look().await;
    assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
    swarm.close().await;
    both.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_goes_on_answering_over_the_permanent_connection() {
    for line in [NEWEST, OLDER] {
        let nats = NatsServer::start(line, &format!("max_connections: 10\n{ACCOUNTS}")).await;
        let eyes = Eyes::with(&[nats.url()], &[], "connect_timeout: 2s", ("sys", "secret"));
        assert_eq!(eyes.look().await.coverage.seen, 1);
        let model = ClientSpec::new(nats.clients).name("orders").user("alice", "secret");
        let swarm = Swarm::open((0..9).map(|_| model.clone()), Options::default()).await.unwrap();

        let late = Eyes::with(&[nats.url()], &[], "connect_timeout: 2s", ("sys", "secret")).look().await;
        let error = late.coverage.system_error.unwrap();
        assert!(error.contains("maximum connections exceeded"), "{error}");
        for _ in 0..2 {
            let snapshot = eyes.look().await;
            assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
            assert_eq!(snapshot.coverage.seen, 10);
        }
        swarm.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_server_that_hangs_moves_to_another() {
    let nats = start_cluster(NEWEST, "east", 2, ACCOUNTS).await;
    // it is connected to the first, and learns of the second from it
    let eyes = Eyes::with(&urls(&nats[..1]), &[], "timeout: 3s", ("sys", "secret"));
    assert!(eyes.look().await.coverage.complete);
    let system = eyes.targets.system.clone().unwrap();
    let connected_to = system.status().server.unwrap();
    let (hanging, other) = if connected_to == "east-0" { (0, 1) } else { (1, 0) };
    nats[hanging].process.hang().await;
    let begun = Clock::system().stopwatch();
    let blind = eyes.look().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // those that were there are not forgotten
    assert_eq!(names(&blind), ["east-0", "east-1"]);
    assert!(blind.coverage.is_blind() && !blind.coverage.complete, "{:?}", blind.coverage);
    assert!(blind.coverage.system_error.unwrap().contains("no answer within 3s"));
    eventually("a look by the other server", async || {
        let snapshot = eyes.look().await;
        let seen = servers(&snapshot);
        (seen[other].1 == "system" && seen[hanging].1 == "unseen").then_some(())
    })
    .await;
    nats[hanging].process.go_on();
}

/// An address at which nobody listens yet.
fn unused_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

async fn id_of(server: &NatsServer) -> String {
    let answer = http().get(server.monitor.join("varz").unwrap()).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["server_id"].as_str().unwrap().to_owned()
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    servers(snapshot).into_iter().map(|(name, ..)| name).collect()
}
