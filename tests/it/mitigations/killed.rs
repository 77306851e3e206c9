//! SIGKILL in the middle of a batch, again and again on the same storage: what may have been asked for is written down,
//! nothing is asked for twice, and nobody else is cut.
//!
//! A second client of the system account hears every request, so that what was asked for is known without asking
//! connwarden.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio_stream::StreamExt;

use super::whole_way::OnCall;
use super::{clients, cut, planned};
use crate::harness::daemon::{Daemon, run};
use crate::harness::eventually;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer};
use crate::swarm::random::Random;
use crate::swarm::{Options, Swarm};

/// How often the daemon is killed.
const ROUNDS: u64 = 8;

/// How many are planned for each time.
const VICTIMS: usize = 40;

/// How many of them at a time: more than are asked for at once.
const BATCH: u64 = 20;

/// Who is never to be touched.
const INNOCENT: usize = 30;

/// A connection: the server's nats id, and the number there.
type Connection = (String, u64);

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_in_the_middle_of_a_batch_cuts_nobody_twice_and_no_stranger() {
    let nats = NatsServer::start(NEWEST, ACCOUNTS).await;
    let (leaky, others) = clients(&nats, VICTIMS * (ROUNDS as usize + 2), INNOCENT, Options::default()).await;
    let witness = Witness::start(&nats).await;
    let directory = tempfile::tempdir().unwrap();
    let storage = directory.path().join("data");
    let flags = flags(directory.path(), &nats);
    let seed = u64::from(std::process::id());
    let (mut all_planned, mut in_the_middle) = (BTreeSet::new(), 0);

    for round in 0..ROUNDS {
        let mut daemon = Daemon::start(directory.path(), &flags).await;
        let plan = approved(&OnCall { daemon: &daemon, storage: &storage }).await;
        let before = witness.heard().len();
        let enough = before + Random::new(seed, &[round]).position(VICTIMS + 1);
        // every other time the server answers no more, and what it has been sent is done when the daemon has ended
        let hangs = round % 2 == 0;
        let arguments = execution(&daemon, &storage, &plan);
        let executing = tokio::spawn(async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run(&arguments).await
        });
        witness.wait_for(enough).await;
        if hangs {
            nats.process.hang().await;
        }
        daemon.process.kill();
        nats.process.go_on();
        executing.await.unwrap();
        // all that it had sent is done, and its connections are gone
        eventually("the end of the daemon's connections", async || {
            let ours = leaky.counts().connected + others.counts().connected + 1;
            (nats.connections().await == ours as u64).then_some(())
        })
        .await;

        let daemon = Daemon::start(directory.path(), &flags).await;
        let victims = planned(&plan);
        let asked: BTreeSet<Connection> = witness.heard()[before..].iter().cloned().collect();
        let journal = journal(&daemon, &plan).await;
        compare(round, &victims, &asked, &journal);
        in_the_middle += journal.values().filter(|state| *state == "sent").count();
        all_planned.extend(victims);
        nobody_else_is_cut(&leaky, &others, &witness, &all_planned).await;
        let run = daemon.get(&path_of(&plan)).await;
        match run["state"].as_str().unwrap() {
            "stopped" => assert_eq!(run["stop"], "interrupted", "round {round}: {run:#}"),
            // it had not begun, or had dealt with everybody
            "approved" => assert!(asked.is_empty(), "round {round}: {run:#}"),
            "verifying" | "finished" => assert_eq!(asked.len(), VICTIMS, "round {round}: {run:#}"),
            other => panic!("round {round}: {other}, {run:#}"),
        }
    }
    assert!(in_the_middle > 0, "it was never killed in the middle of a batch: seed {seed}");

    // the cluster is free: a run that nobody disturbs comes to its end
    let daemon = Daemon::start(directory.path(), &flags).await;
    let plan = approved(&OnCall { daemon: &daemon, storage: &storage }).await;
    let arguments = execution(&daemon, &storage, &plan);
    let (code, out, err) = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(code, 0, "{out}{err}");
    let finished = eventually("the outcome", async || {
        let document = daemon.get(&path_of(&plan)).await;
        (document["state"] == "finished").then_some(document)
    })
    .await;
    assert_eq!(finished["progress"], serde_json::json!({ "confirmed": VICTIMS }), "{finished:#}");
    all_planned.extend(planned(&plan));
    nobody_else_is_cut(&leaky, &others, &witness, &all_planned).await;
}

/// What was asked for in a round, and what is written down of it.
fn compare(
    round: u64,
    planned: &BTreeSet<Connection>,
    asked: &BTreeSet<Connection>,
    journal: &BTreeMap<Connection, String>,
) {
    assert_eq!(journal.keys().cloned().collect::<BTreeSet<_>>(), *planned, "round {round}");
    for (victim, state) in journal {
        let is_true = match state.as_str() {
            "confirmed" => asked.contains(victim),
            // written down before it is asked for
            "sent" => true,
            // one that was approved and never began, and one that ended before these
            "pending" => asked.is_empty(),
            "spared" => !asked.contains(victim),
            _ => false,
        };
        assert!(is_true, "round {round}: {victim:?} is {state}; asked for were {asked:?}");
    }
}

/// What was cut is what was asked for, each once, and nobody but who was planned.
async fn nobody_else_is_cut(
    leaky: &Swarm,
    others: &Swarm,
    witness: &Witness,
    planned: &BTreeSet<Connection>,
) {
    let heard = witness.heard();
    let asked: BTreeSet<Connection> = heard.iter().cloned().collect();
    assert_eq!(heard.len(), asked.len(), "somebody was asked for twice");
    eventually("all that were asked for to be cut", async || (cut(leaky).len() >= asked.len()).then_some(()))
        .await;
    assert_eq!(cut(leaky), asked);
    assert!(asked.is_subset(planned), "{:?}", asked.difference(planned));
    assert!(others.disconnects().is_empty());
    assert_eq!(others.counts().connected, INNOCENT);
}

/// Hears every request to cut a connection.
pub(super) struct Witness {
    heard: Arc<Mutex<Vec<Connection>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Witness {
    pub(super) async fn start(nats: &NatsServer) -> Self {
        let options =
            async_nats::ConnectOptions::with_user_and_password("sys".to_owned(), "secret".to_owned());
        let client = options.connect(nats.url()).await.unwrap();
        let mut requests = client.subscribe("$SYS.REQ.SERVER.*.KICK").await.unwrap();
        client.flush().await.unwrap();
        let heard: Arc<Mutex<Vec<Connection>>> = Arc::default();
        let book = heard.clone();
        let task = tokio::spawn(async move {
            // it listens as long as it is connected
            let _client = client;
            while let Some(request) = requests.next().await {
                let server = request.subject.split('.').nth(3).unwrap().to_owned();
                let body: Value = serde_json::from_slice(&request.payload).unwrap();
                let cid = body["cid"].as_u64().unwrap();
                // nobody has the number 0: whether it would be done is asked with it
                if cid > 0 {
                    book.lock().unwrap().push((server, cid));
                }
            }
        });
        Self { heard, task }
    }

    /// All it has heard so far, in the order of asking.
    fn heard(&self) -> Vec<Connection> {
        self.heard.lock().unwrap().clone()
    }

    pub(super) async fn wait_for(&self, requests: usize) {
        let heard = async {
            while self.heard.lock().unwrap().len() < requests {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        };
        tokio::time::timeout(crate::harness::PATIENCE, heard)
            .await
            .unwrap_or_else(|_| panic!("{} of {requests} requests were made", self.heard().len()));
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A daemon that cuts many in little time, again and again.
fn flags(directory: &Path, nats: &NatsServer) -> [String; 2] {
    std::fs::write(directory.join("password"), "secret\n").unwrap();
    let config = directory.join("connwarden.yml");
    let text = format!(
        "clusters:\n  - name: prod\n    system_account: {{urls: [\"{}\"], user: sys, password_file: {:?}}}\n\
         mitigations: {{max_victims: {VICTIMS}, max_share_percent: 100, keep_minimum: 0, cool_down: 1ms, batch: {BATCH}, \
         batch_pause: 20ms, hourly_budget: 10000, verify_after: [100ms]}}\n",
        nats.url(),
        directory.join("password"),
    );
    std::fs::write(&config, text).unwrap();
    ["--config.file", config.to_str().unwrap()].map(str::to_owned)
}

/// A plan that somebody has approved.
async fn approved(on_call: &OnCall<'_>) -> Value {
    let planned =
        on_call.says(&["plan", "kick", "--cluster", "prod", "--application", "leaky", "-o", "json"]).await;
    let plan: Value = serde_json::from_str(&planned).unwrap();
    assert_eq!(plan["victim_count"], VICTIMS, "{planned}");
    let (id, digest) = (plan["id"].as_str().unwrap(), plan["plan"]["digest"].as_str().unwrap());
    for act in ["propose", "approve"] {
        on_call.says(&["mitigations", act, id, "--digest", digest]).await;
    }
    plan
}

/// The command that begins with it.
fn execution(daemon: &Daemon, storage: &Path, plan: &Value) -> Vec<String> {
    let (id, digest) = (plan["id"].as_str().unwrap(), plan["plan"]["digest"].as_str().unwrap());
    let (server, storage) = (daemon.at("").to_string(), storage.to_str().unwrap());
    ["mitigations", "execute", id, "--digest", digest, "--server", &server, "--storage.path", storage]
        .map(str::to_owned)
        .into()
}

fn path_of(plan: &Value) -> String {
    format!("api/v1/mitigations/{}", plan["id"].as_str().unwrap())
}

/// What is written down of each victim.
async fn journal(daemon: &Daemon, plan: &Value) -> BTreeMap<Connection, String> {
    let page = daemon.get(&format!("{}/victims?limit=500", path_of(plan))).await;
    let victims = page["victims"].as_array().unwrap().iter();
    let line = |victim: &Value| {
        let connection = (victim["server_id"].as_str().unwrap().to_owned(), victim["cid"].as_u64().unwrap());
        (connection, victim["state"].as_str().unwrap().to_owned())
    };
    victims.map(line).collect()
}
