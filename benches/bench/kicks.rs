//! Cutting connections at full pace, against the same requests alone.
//!
//! A daemon executes an approved plan: its journal, its looks between batches and its jobs included. The floor is a client
//! of the same account that sends as many requests to the same server, one after the other, and writes nothing; one that has
//! as many under way at once as the daemon is shown too. All have victims of their own, who were idle until then and do not
//! come back.

use std::path::Path;
use std::time::{Duration, Instant};

use connwarden::engine::REQUESTS_AT_ONCE;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::daemon::Daemon;
use crate::harness::eventually;
use crate::harness::nats::{NEWEST, NatsServer};
use crate::report::{Report, Target, median, ms};
use crate::sweep::{Clients, SPARE, descriptors};

/// How many are cut in a run.
const VICTIMS: u64 = 5000;

/// How many where batches are small.
const FEW_VICTIMS: u64 = 500;

/// How many runs there are of each.
const RUNS: usize = 7;

/// The clients are nobody's in particular; whoever asks the server to cut them is of the system account.
const SERVER: &str = "
accounts {
  APP { users: [ { user: nobody, password: secret } ] }
  $SYS { users: [ { user: sys, password: secret } ] }
}
no_auth_user: nobody
";

pub async fn measure(report: &mut Report) {
    let victims = VICTIMS.min(descriptors().saturating_sub(SPARE));
    let server = NatsServer::start(NEWEST, SERVER).await;
    let (mut ours, mut begun) = (Vec::new(), Vec::new());
    let (mut floors, mut at_once) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        floors.push(requests(&server, victims, 1).await);
        at_once.push(requests(&server, victims, REQUESTS_AT_ONCE).await);
        let run = run(&server, victims, 1000).await;
        ours.push(run.took);
        begun.push(run.began_after);
    }
    let rate = |count: u64, times: &[Duration]| count as f64 / median(times.to_vec()).as_secs_f64();
    let per_second = |rate: f64| format!("{rate:.0}/s");
    let (kicks, floor) = (rate(victims, &ours), rate(victims, &floors));
    let name = format!("kicks, {victims} in batches of 1000 / a loop of requests");
    report.add(&name, per_second(kicks), per_second(floor), kicks / floor, Target::AtLeast(0.8));
    report
        .note(&format!("looking afresh and asking the guards before the first batch: {}", ms(median(begun))));
    let at_once = rate(victims, &at_once);
    let name = format!("the same / requests alone, {REQUESTS_AT_ONCE} at once");
    report.add(&name, per_second(kicks), per_second(at_once), kicks / at_once, Target::Shown);

    let mut small = Vec::new();
    for _ in 0..RUNS.div_ceil(2) {
        small.push(run(&server, FEW_VICTIMS, 10).await.took);
    }
    let kicks = rate(FEW_VICTIMS, &small);
    let name = format!("kicks, {FEW_VICTIMS} in batches of 10 without pause / a loop of requests");
    report.add(&name, per_second(kicks), per_second(floor), kicks / floor, Target::Shown);
    report.note("with the default pause of 2 s after each batch of 10 there are 5 a second");
}

/// Cuts fresh victims by nothing but requests, of which so many are under way at once; how long that takes.
async fn requests(server: &NatsServer, victims: u64, at_once: usize) -> Duration {
    let clients = Clients::connect(server, victims).await;
    let numbers = numbers(server).await;
    let options = async_nats::ConnectOptions::with_user_and_password("sys".to_owned(), "secret".to_owned());
    let account = options.connect(server.url()).await.unwrap();
    let subject = format!("$SYS.REQ.SERVER.{}.KICK", account.server_info().server_id);
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for number in numbers {
        if asking.len() >= at_once {
            asking.join_next().await.unwrap().unwrap();
        }
        let (account, subject) = (account.clone(), subject.clone());
        asking.spawn(async move {
            let answer = account.request(subject, json!({ "cid": number }).to_string().into()).await.unwrap();
            let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
            assert_eq!(answer.get("error"), None, "{answer}");
        });
    }
    asking.join_all().await;
    let took = begun.elapsed();
    drop((account, clients));
    nobody_is_left(server).await;
    took
}

/// How a run went.
struct Run {
    /// From its start to the last victim.
    took: Duration,
    /// From being asked for to its start.
    began_after: Duration,
}

/// Has a daemon plan, approve and execute a mitigation of fresh victims.
async fn run(server: &NatsServer, victims: u64, batch: u32) -> Run {
    let clients = Clients::connect(server, victims).await;
    let directory = tempfile::tempdir().unwrap();
    let (file, password) = (directory.path().join("connwarden.yml"), directory.path().join("password"));
    std::fs::write(&password, "secret\n").unwrap();
    let config = format!(
        "clusters:\n  - name: bench\n    system_account: {{urls: [{:?}], user: sys, password_file: {password:?}}}\n\
         mitigations: {{max_victims: 10000, max_share_percent: 100, keep_minimum: 0, hourly_budget: 10000, \
         batch: {batch}, batch_pause: 0s, verify_after: [1h]}}\nbaseline: {{enabled: false}}\n",
        server.url()
    );
    std::fs::write(&file, config).unwrap();
    let flags = ["--config.file".to_owned(), file.to_str().unwrap().to_owned()];
    let mut daemon = Daemon::start(directory.path(), &flags).await;
    daemon.client = operator(directory.path());

    let wanted = json!({ "cluster": "bench", "action": "kick", "selector": { "kind": "client" } });
    let plan = eventually("a plan that nothing is in the way of", async || {
        let plan = post(&daemon, "api/v1/plans", &wanted).await;
        let guards = plan["plan"]["guards"].as_array().unwrap();
        guards.iter().all(|verdict| verdict["passes"] == true).then_some(plan)
    })
    .await;
    assert_eq!(plan["victim_count"], victims, "{plan:#}");
    let path = format!("api/v1/mitigations/{}", plan["id"].as_str().unwrap());
    let digest = json!({ "digest": plan["plan"]["digest"] });
    for act in ["propose", "approve"] {
        post(&daemon, &format!("{path}/{act}"), &digest).await;
    }
    let asked_at = Instant::now();
    post(&daemon, &format!("{path}/execute"), &digest).await;
    let began_after = asked_at.elapsed();
    let head = eventually("the end of a run", async || {
        let list = daemon.get("api/v1/mitigations?limit=1").await;
        (list["mitigations"][0]["state"] != "running").then(|| list["mitigations"][0].clone())
    })
    .await;
    assert_eq!(head["state"], "verifying", "{head:#}");
    let mitigation = daemon.get(&path).await;
    assert_eq!(mitigation["progress"], json!({ "confirmed": victims }));
    let instant = |key: &str| head[key].as_str().unwrap().parse::<Timestamp>().unwrap();
    let took = instant("executed_at").duration_since(instant("started_at")).unsigned_abs();
    drop((daemon, clients));
    nobody_is_left(server).await;
    Run { took, began_after }
}

/// Asks as the operator, whose token the daemon has made.
fn operator(directory: &Path) -> reqwest::Client {
    let token = std::fs::read_to_string(directory.join("data/operator-token")).unwrap();
    let bearer = format!("Bearer {}", token.trim()).parse().unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
    reqwest::Client::builder().default_headers(headers).no_proxy().build().unwrap()
}

async fn post(daemon: &Daemon, path: &str, body: &Value) -> Value {
    let answer = daemon.client.post(daemon.at(path)).json(body).send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{path}: {status} {text}");
    serde_json::from_str(&text).unwrap()
}

/// The numbers of all connections.
async fn numbers(server: &NatsServer) -> Vec<u64> {
    let page = reqwest::get(server.monitor.join("connz?limit=1000000").unwrap()).await.unwrap();
    let page: Value = serde_json::from_slice(&page.bytes().await.unwrap()).unwrap();
    page["connections"].as_array().unwrap().iter().map(|it| it["cid"].as_u64().unwrap()).collect()
}

async fn nobody_is_left(server: &NatsServer) {
    eventually("a server without connections", async || (server.connections().await == 0).then_some(()))
        .await;
}
