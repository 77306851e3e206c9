//! What can be done to connections, found out on real servers of every line without touching one.

use std::path::Path;

use connwarden::model::capability::Obstacle;
use connwarden::model::plan::ActionKind;
use connwarden::nats::system::control::Done;

use super::access::{documented, eyes};
use super::*;

/// The reader of the manual, and somebody else who acts.
fn reader_and(server: &NatsServer, secrets: &TempDir, (user, password): (&str, &str)) -> Eyes {
    let write = |name: &str, password: &str| {
        let file = secrets.path().join(name);
        std::fs::write(&file, password).unwrap();
        file
    };
    let (reader, actor) = (write("reader", "change-me-reader"), write("actor", password));
    let rest = format!(
        "      user: connwarden-reader\n      password_file: {reader:?}\n      \
         actor: {{user: {user}, password_file: {actor:?}}}\n"
    );
    eyes(server, "nats", &rest)
}

/// What is missing for an action; nothing if it is possible.
async fn missing(eyes: &Eyes, action: ActionKind) -> Vec<(Obstacle, Vec<String>, String)> {
    let found = app::capabilities(&eyes.observer, &eyes.targets, &Clock::system()).await;
    let capability = found.of(action).unwrap();
    assert_eq!(capability.possible, capability.missing.is_empty());
    let missing = capability.missing.iter();
    missing.map(|it| (it.obstacle, it.servers.clone(), it.message.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_actor_of_the_manual_can_act_on_every_line_from_2_10_on_and_the_reader_cannot() {
    for line in ["2.15", "2.12", "2.11", "2.10"] {
        let nats = NatsServer::start(line, &documented()).await;
        let client = ClientSpec::new(nats.clients).name("orders").user("alice", "secret");
        let swarm = Swarm::open([client], Options::default()).await.unwrap();
        let secrets = tempfile::tempdir().unwrap();
        let reader = Eyes::with(&[nats.url()], &[], "timeout: 5s", ("connwarden-reader", "change-me-reader"));
        let denied = |what: &str| {
            let message = format!("the user may not publish to `$SYS.REQ.SERVER.*.{what}`: allow it");
            (Obstacle::NotAllowed, vec!["nats-test".to_owned()], message)
        };
        assert_eq!(missing(&reader, ActionKind::Kick).await, [denied("KICK")], "{line}");
        assert_eq!(missing(&reader, ActionKind::Drain).await, [denied("KICK"), denied("LDM")], "{line}");

        let actor = reader_and(&nats, &secrets, ("connwarden-actor", "change-me-actor"));
        for action in ActionKind::ALL {
            assert_eq!(missing(&actor, action).await, [], "{line}");
        }
        // and nothing has happened to anybody by that
        assert_eq!(swarm.disconnects().len(), 0, "{line}");

        // both connections are there after the first look, and known for ours
        let own = actor.targets.own_connections();
        assert_eq!(own.len(), 2, "{line}");
        let connz = http().get(nats.monitor.join("connz").unwrap()).send().await.unwrap();
        let connz: Value = connz.json().await.unwrap();
        let name_of = |cid: u64| {
            let mut all = connz["connections"].as_array().unwrap().iter();
            all.find(|one| one["cid"] == cid).unwrap()["name"].as_str().unwrap().to_owned()
        };
        let names: std::collections::BTreeSet<String> = own.iter().map(|(_, cid)| name_of(*cid)).collect();
        assert_eq!(Vec::from_iter(names), ["connwarden/test/prod", "connwarden/test/prod/actor"], "{line}");
        let mut all = connz["connections"].as_array().unwrap().iter();
        let orders = all.find(|one| one["name"] == "orders").unwrap()["cid"].as_u64().unwrap();
        let acting = actor.targets.actor.as_ref().unwrap();
        let server = connz["server_id"].as_str().unwrap();
        assert_eq!(acting.kick(server, orders).await.unwrap(), Done::Yes, "{line}");
        eventually("the client to be cut", async || (!swarm.disconnects().is_empty()).then_some(())).await;
        swarm.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_with_the_servers_that_miss_it() {
    let nats = NatsServer::start(NEWEST, &documented()).await;
    let secrets = tempfile::tempdir().unwrap();
    // somebody of another account is heard by no server
    let stranger = reader_and(&nats, &secrets, ("alice", "secret"));
    let found = missing(&stranger, ActionKind::Kick).await;
    assert_eq!((found[0].0, found.len()), (Obstacle::NotInSystemAccount, 1), "{found:?}");
    // nor is one who is not let in
    let nobody = reader_and(&nats, &secrets, ("nobody", "secret"));
    let found = missing(&nobody, ActionKind::Kick).await;
    assert_eq!((found[0].0, found.len()), (Obstacle::NotReached, 1), "{found:?}");

    let no_account = ClusterTargets::new("prod", vec![nats.monitor.clone()], None);
    let without = Eyes { targets: no_account, ..Eyes::new(&[nats.url()], &[]) };
    let found = missing(&without, ActionKind::Drain).await;
    assert_eq!((found[0].0, found[0].1.len(), found.len()), (Obstacle::NoSystemAccount, 0, 1));

    let kick_only = documented().replace("\"$SYS.REQ.SERVER.*.LDM\"", "");
    let nats = NatsServer::start(NEWEST, &kick_only).await;
    let actor = reader_and(&nats, &secrets, ("connwarden-actor", "change-me-actor"));
    assert_eq!(missing(&actor, ActionKind::Kick).await, []);
    let found = missing(&actor, ActionKind::Drain).await;
    assert!(found.len() == 1 && found[0].2.contains("`$SYS.REQ.SERVER.*.LDM`"), "{found:?}");

    let mut nats = start_cluster(NEWEST, "east", 2, ACCOUNTS).await;
    let eyes = Eyes::with(&urls(&nats[..1]), &[], "timeout: 2s\n  connect_timeout: 1s", ("sys", "secret"));
    eyes.look().await;
    nats[1].kill();
    let found = missing(&eyes, ActionKind::Kick).await;
    assert_eq!((found[0].0, &found[0].1[..]), (Obstacle::ServerMissing, &["east-1".to_owned()][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_before_2_10_are_too_old_and_never_taken_for_gone() {
    let oldest = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/nats-server-2.9");
    if !oldest.exists() {
        eprintln!("without nats-server 2.9, which is in Debian 12, this is not tried");
        return;
    }
    let old = NatsServer::start("2.9", ACCOUNTS).await;
    let eyes = Eyes::new(&[old.url()], &[]);
    let too_old = "nats-server 2.9.10 cannot be asked for it, only 2.10 and newer can";
    for action in ActionKind::ALL {
        let expected = (Obstacle::TooOld, vec!["nats-test".to_owned()], too_old.to_owned());
        assert_eq!(missing(&eyes, action).await, [expected]);
    }
    let system = eyes.targets.system.as_ref().unwrap();
    let (server, cid) = system.own_connection().unwrap();
    let error = system.kick(&server, cid + 1).await.unwrap_err().to_string();
    assert!(error.contains("it is not certain that the server is gone"), "{error}");

    // nor behind a new one
    let route = "cluster { name: east, listen: \"127.0.0.1:-1\" }\n";
    let new = NatsServer::start_named("new", NEWEST, &format!("{route}{ACCOUNTS}")).await;
    let joined = format!(
        "cluster {{ name: east, listen: \"127.0.0.1:-1\", routes: [\"nats-route://{}\"] }}\n{ACCOUNTS}",
        new.routes.unwrap()
    );
    let _old = NatsServer::start_named("old", "2.9", &joined).await;
    let eyes = Eyes::new(&[new.url()], &[]);
    let system = eyes.targets.system.as_ref().unwrap();
    let id = eventually("both servers", async || {
        let call = eyes.observer.roll_call(&eyes.targets, system).await.ok()?;
        Some(call.servers.get("old")?.id.clone())
    })
    .await;
    let error = system.kick(&id, 1).await.unwrap_err().to_string();
    assert!(error.contains("it is not certain that the server is gone"), "{error}");
    let found = missing(&eyes, ActionKind::Kick).await;
    assert_eq!((found[0].0, &found[0].1[..]), (Obstacle::TooOld, &["old".to_owned()][..]), "{found:?}");
}
