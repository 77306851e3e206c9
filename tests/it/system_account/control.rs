//! Control requests to real servers: what is cut, what is not there, and what must never be taken for either.

use std::collections::BTreeSet;

use async_nats::{Client, ConnectOptions, Event};
use connwarden::nats::system::SystemAccount;
use connwarden::nats::system::control::{CALLOUT_SUBJECT, Done};
use tokio::io::AsyncWriteExt;

use super::access::documented;
use super::*;

/// A client, and what happens to it.
async fn client(
    server: &NatsServer,
    name: &str,
    user: &str,
    password: &str,
) -> (Client, tokio::sync::mpsc::UnboundedReceiver<Event>) {
    let (heard, events) = tokio::sync::mpsc::unbounded_channel();
    let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    let options = options.name(name).event_callback(move |event| {
        let _ = heard.send(event);
        std::future::ready(())
    });
    (options.connect(server.url()).await.unwrap(), events)
}

async fn hear(events: &mut tokio::sync::mpsc::UnboundedReceiver<Event>, wanted: Event) {
    let heard = async { while events.recv().await.unwrap() != wanted {} };
    tokio::time::timeout(crate::harness::PATIENCE, heard).await.unwrap_or_else(|_| panic!("no {wanted:?}"));
}

fn system(eyes: &Eyes) -> &SystemAccount {
    eyes.targets.system.as_ref().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_or_asked_to_leave_on_its_own_server_and_only_there() {
    for line in [NEWEST, OLDER] {
        let nats = start_cluster(line, "east", 2, ACCOUNTS).await;
        // connected to one, acting on the other
        let eyes = Eyes::new(&urls(&nats[..1]), &[]);
        eyes.look().await;
        let (orders, mut events) = client(&nats[1], "orders", "alice", "secret").await;
        let (server, cid) = (orders.server_info().server_id, orders.server_info().client_id);

        assert_eq!(system(&eyes).lame_duck(&server, cid).await.unwrap(), Done::Yes);
        hear(&mut events, Event::LameDuckMode).await;
        assert_eq!(system(&eyes).kick(&server, cid).await.unwrap(), Done::Yes);
        hear(&mut events, Event::Disconnected).await;
        // it is back, under another number
        hear(&mut events, Event::Connected).await;
        assert_ne!(orders.server_info().client_id, cid);
        assert_eq!(system(&eyes).kick(&server, cid).await.unwrap(), Done::NotThere);
        assert_eq!(system(&eyes).lame_duck(&server, cid).await.unwrap(), Done::NotThere);

        let (own_server, own_cid) = system(&eyes).own_connection().unwrap();
        let error = system(&eyes).kick(&own_server, own_cid).await.unwrap_err().to_string();
        assert!(error.ends_with("over the system account: it is our own connection"), "{error}");
        for id in ["", "*", &format!("{server}.KICK"), "PING CONNZ"] {
            let error = system(&eyes).kick(id, cid).await.unwrap_err().to_string();
            assert!(error.contains("is no nats id of a server"), "{error}");
        }
        let gone = server.replace(&server[10..14], "AAAA");
        assert_eq!(system(&eyes).kick(&gone, cid).await.unwrap(), Done::NotThere, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_old_protocol_cannot_be_asked_to_leave() {
    let nats = NatsServer::start(NEWEST, ACCOUNTS).await;
    let mut old = tokio::net::TcpStream::connect(nats.clients).await.unwrap();
    let hello = "CONNECT {\"protocol\":0,\"verbose\":false,\"user\":\"alice\",\"pass\":\"secret\"}\r\n";
    old.write_all(hello.as_bytes()).await.unwrap();
    eventually("the client", async || (nats.connections().await == 1).then_some(())).await;
    let eyes = Eyes::new(&[nats.url()], &[]);
    eyes.look().await;
    let connz = http().get(nats.monitor.join("connz?auth=1").unwrap()).send().await.unwrap();
    let connz: Value = connz.json().await.unwrap();
    let is_alice = |connection: &&Value| connection["authorized_user"] == "alice";
    let alice = connz["connections"].as_array().unwrap().iter().find(is_alice).unwrap();
    let server = connz["server_id"].as_str().unwrap();
    let done = system(&eyes).lame_duck(server, alice["cid"].as_u64().unwrap()).await.unwrap();
    assert_eq!(done, Done::NotUnderstood);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_act_does_not_take_silence_for_success() {
    for line in [NEWEST, OLDER] {
        let nats = NatsServer::start(line, &documented()).await;
        let (orders, _events) = client(&nats, "orders", "alice", "secret").await;
        let (server, cid) = (orders.server_info().server_id, orders.server_info().client_id);
        let gone = server.replace(&server[10..14], "AAAA");

        let reader = Eyes::with(&[nats.url()], &[], "timeout: 5s", ("connwarden-reader", "change-me-reader"));
        assert!(reader.look().await.coverage.complete);
        for id in [&server, &gone] {
            let error = system(&reader).kick(id, cid).await.unwrap_err().to_string();
            assert!(error.contains("not allowed: ") && error.contains(".KICK"), "{line}: {error}");
        }
        // that was to be expected, and nothing is wrong with the connection
        assert_eq!(system(&reader).status().error, None);

        // nobody listens to it, whichever server it means
        let stranger = Eyes::with(&[nats.url()], &[], "timeout: 5s", ("alice", "secret"));
        for id in [&server, &gone] {
            let error = system(&stranger).kick(id, cid).await.unwrap_err().to_string();
            assert!(error.contains("it is not certain that the server is gone"), "{line}: {error}");
        }

        // who may do nothing else
        let actor = Eyes::with(&[nats.url()], &[], "timeout: 5s", ("connwarden-actor", "change-me-actor"));
        assert_eq!(system(&actor).kick(&gone, cid).await.unwrap(), Done::NotThere, "{line}");
        assert_eq!(system(&actor).kick(&server, cid).await.unwrap(), Done::Yes, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_is_gone_and_a_silent_one_is_not() {
    let mut nats = start_cluster(NEWEST, "east", 2, ACCOUNTS).await;
    let eyes = Eyes::with(&urls(&nats[..1]), &[], "timeout: 1s\n  connect_timeout: 1s", ("sys", "secret"));
    eyes.look().await;
    let (orders, _events) = client(&nats[1], "orders", "alice", "secret").await;
    let (server, cid) = (orders.server_info().server_id, orders.server_info().client_id);
    nats[1].process.hang().await;
    let error = system(&eyes).kick(&server, cid).await.unwrap_err().to_string();
    assert!(error.contains("no answer within 1s"), "{error}");
    nats[1].kill();
    eventually("that it is known to be gone", async || {
        (system(&eyes).kick(&server, cid).await.ok()? == Done::NotThere).then_some(())
    })
    .await;
}

/// An authorisation callout that is answered in `AUTH`.
const CALLOUT: &str = "
accounts {
  AUTH { users: [ { user: auth, password: secret }, { user: idle, password: secret } ] }
  APP { users: [ { user: alice, password: secret } ] }
  $SYS { users: [ { user: sys, password: secret } ] }
}
authorization {
  timeout: 2
  auth_callout {
    issuer: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA
    auth_users: [ auth, idle, alice, sys ]
    account: AUTH
  }
}
";

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_authorisation_callouts_is_found_on_whatever_server() {
    for line in [NEWEST, OLDER] {
        let nats = start_cluster(line, "east", 2, CALLOUT).await;
        let eyes = Eyes::new(&urls(&nats[..1]), &[]);
        eyes.look().await;
        let found = async || {
            let accounts = ["AUTH", "APP", "NOBODY"].map(str::to_owned).into();
            system(&eyes).callout_accounts(&accounts).await
        };
        let (auth, _events) = client(&nats[1], "responder", "auth", "secret").await;
        let (idle, _events) = client(&nats[0], "idle", "idle", "secret").await;
        let other = idle.subscribe("$SYS.REQ.USER.INFO").await.unwrap();
        idle.flush().await.unwrap();
        assert_eq!(found().await, BTreeSet::new(), "{line}");

        for subject in [CALLOUT_SUBJECT, "$SYS.REQ.USER.>"] {
            let mut responder = auth.queue_subscribe(subject, "responders".to_owned()).await.unwrap();
            auth.flush().await.unwrap();
            assert_eq!(found().await, BTreeSet::from(["AUTH".to_owned()]), "{line} {subject}");
            responder.unsubscribe().await.unwrap();
            auth.flush().await.unwrap();
            assert_eq!(found().await, BTreeSet::new(), "{line} {subject}");
        }
        drop(other);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_connection_is_known_by_number_also_after_a_server_has_joined() {
    for line in [NEWEST, OLDER] {
        let nats = start_cluster(line, "east", 1, ACCOUNTS).await;
        let eyes = Eyes::new(&[nats[0].url()], &[]);
        assert_eq!(system(&eyes).own_connection(), None);
        eyes.look().await;
        let own = eyes.targets.own_connections();
        assert_eq!(own.len(), 1, "{line}");
        // clients are told of it, which replaces what they know of their own server
        let routes = format!("routes: [\"nats-route://{}\"]", nats[0].routes.unwrap());
        let joining = format!("cluster {{ name: east, listen: \"127.0.0.1:-1\", {routes} }}\n{ACCOUNTS}");
        let _joined = NatsServer::start_named("joined", line, &joining).await;
        eventually("both servers", async || (eyes.look().await.coverage.servers.len() == 2).then_some(()))
            .await;
        assert_eq!(eyes.targets.own_connections(), own, "{line}");
    }
}
