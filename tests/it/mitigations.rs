//! Mitigations on real servers: what was planned is cut, nobody else is, and it is said honestly whether it helped.

mod audited;
mod beside_looks;
mod coverage;
mod effects;
mod estimated;
mod held_back;
mod killed;
mod listed;
mod refused;
mod stopped;
mod verified;
mod watched;
mod whole_way;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Method;
use connwarden::config::Config;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer, OLDER, start_cluster};
use crate::harness::test_app::{Answer, TestApp};
use crate::swarm::{ClientSpec, Options, Population, Swarm};

/// A daemon with the system account of some servers, and guards that allow what the tests need.
struct Stage {
    app: TestApp,
    servers: Vec<NatsServer>,
    _secrets: TempDir,
}

/// Guards that let tests cut half of a small cluster, one run after the other.
const OPEN: &str =
    "max_victims: 100, max_share_percent: 60, keep_minimum: 0, cool_down: 1s, verify_after: [5s, 30s]";

impl Stage {
    async fn start(servers: Vec<NatsServer>, mitigations: &str) -> Self {
        Self::configured(servers, "", mitigations, "").await
    }

    /// The same, with monitoring URLs beside the system account.
    async fn with_monitors(servers: Vec<NatsServer>, monitors: &[String], mitigations: &str) -> Self {
        Self::configured(servers, &format!("    monitor: {monitors:?}\n"), mitigations, "").await
    }

    /// Starts with `cluster` more said of the cluster, and `more` beside it.
    async fn configured(servers: Vec<NatsServer>, cluster: &str, mitigations: &str, more: &str) -> Self {
        let secrets = tempfile::tempdir().unwrap();
        let file = secrets.path().join("password");
        std::fs::write(&file, "secret\n").unwrap();
        let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
        let text = format!(
            "clusters:\n  - name: prod\n    match: 'cluster=\"prod\"'\n{cluster}    system_account:\n      \
             urls: {urls:?}\n      user: sys\n      password_file: {file:?}\nmitigations: {{{mitigations}}}\n{more}"
        );
        let config =
            Config::parse(&text, "connwarden.yml", &|_| unreachable!("no secret is read with the file"))
                .unwrap_or_else(|problems| panic!("{problems}"));
        Self { app: TestApp::with(config).await, servers, _secrets: secrets }
    }

    /// Two servers of one cluster; the daemon is connected to the first.
    async fn two(mitigations: &str) -> Self {
        let mut servers = start_cluster(NEWEST, "prod", 2, ACCOUNTS).await;
        let second = servers.pop();
        let mut stage = Self::start(servers, mitigations).await;
        stage.servers.extend(second);
        stage
    }

    async fn one(line: &str, mitigations: &str) -> Self {
        Self::start(vec![NatsServer::start(line, ACCOUNTS).await], mitigations).await
    }

    async fn act(&self, path: &str, body: Value) -> Answer {
        self.app.act(Method::POST, path, body.to_string()).await
    }

    async fn plan(&self, selector: Value, action: &str) -> Value {
        let body = json!({ "cluster": "prod", "action": action, "selector": selector, "at_most": 100 });
        let answer = self.act("/api/v1/plans", body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()
    }

    /// One step of a plan that somebody has looked at.
    async fn step(&self, plan: &Value, act: &str) -> Answer {
        let path = format!("/api/v1/mitigations/{}/{act}", plan["id"].as_str().unwrap());
        self.act(&path, json!({ "digest": plan["plan"]["digest"] })).await
    }

    /// Proposes, approves and begins.
    async fn execute(&self, plan: &Value) -> Answer {
        for act in ["propose", "approve"] {
            let answer = self.step(plan, act).await;
            assert_eq!(answer.status, 200, "{act}: {}", answer.text);
        }
        self.step(plan, "execute").await
    }

    async fn mitigation(&self, plan: &Value) -> Value {
        self.app.get(&format!("/api/v1/mitigations/{}", plan["id"].as_str().unwrap())).await.json()
    }

    /// Lets the run come to its end, batch after batch.
    async fn run(&self, plan: &Value) -> Value {
        for _ in 0..100 {
            self.app.run_jobs().await;
            let mitigation = self.mitigation(plan).await;
            if mitigation["state"] != "running" {
                return mitigation;
            }
            self.app.advance(Duration::from_secs(2));
        }
        panic!("it runs without end");
    }

    /// Lets the looks after a run pass.
    async fn verify(&self, plan: &Value) -> Value {
        for seconds in [5, 25, 60] {
            self.app.advance(Duration::from_secs(seconds));
            self.app.run_jobs().await;
        }
        self.mitigation(plan).await
    }

    async fn connections(&self) -> u64 {
        let mut all = 0;
        for server in &self.servers {
            all += server.connections().await;
        }
        all
    }
}

/// Clients of the culprit, and innocent ones.
async fn clients(server: &NatsServer, leaked: usize, innocent: usize, options: Options) -> (Swarm, Swarm) {
    let model = || ClientSpec::new(server.clients).subscriptions(1);
    let leaky = Population::new(model(), leaked).names([("leaky-{pod}", 1)]).users([("alice", "secret", 1)]);
    let others = Population::new(model(), innocent)
        .names([("orders-{pod}", 2), ("billing", 1), ("", 1)])
        .users([("alice", "secret", 1), ("bob", "secret", 1), ("carol", "secret", 1)]);
    (
        Swarm::open(leaky.plan().unwrap(), options.clone()).await.unwrap(),
        Swarm::open(others.plan().unwrap(), options).await.unwrap(),
    )
}

fn planned(plan: &Value) -> BTreeSet<(String, u64)> {
    let victims = plan["plan"]["victims"].as_array().unwrap().iter();
    victims.map(|it| (it["server_id"].as_str().unwrap().to_owned(), it["cid"].as_u64().unwrap())).collect()
}

fn cut(swarm: &Swarm) -> BTreeSet<(String, u64)> {
    swarm.disconnects().iter().map(|it| (it.server_id.to_string(), it.client_id)).collect()
}

async fn exactly_the_planned_are_cut(line: &str) {
    let stage = Stage::one(line, OPEN).await;
    let (leaky, others) = clients(&stage.servers[0], 30, 40, Options::default()).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "kick").await;
    assert_eq!(plan["victim_count"], 30, "{plan:#}");
    assert_eq!(plan["state"], "planned");
    let before = stage.connections().await;

    let begun = stage.execute(&plan).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    let run = stage.run(&plan).await;
    assert_eq!(run["state"], "verifying", "{run:#}");
    assert_eq!(run["progress"], json!({ "confirmed": 30 }));
    eventually("the planned ones to be cut", async || (leaky.counts().connected == 0).then_some(())).await;
    assert_eq!(cut(&leaky), planned(&plan));
    assert_eq!(others.counts().connected, 40, "innocent connections are untouched");
    assert!(others.disconnects().is_empty());
    assert_eq!(stage.connections().await, before - 30, "and ours is there");

    let finished = stage.verify(&plan).await;
    assert_eq!(finished["outcome"], "effective", "{finished:#}");
    assert_eq!(finished["looks"].as_array().unwrap().len(), 2);
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_was_planned_is_cut_on_the_newest_server() {
    exactly_the_planned_are_cut(NEWEST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_was_planned_is_cut_on_older_servers() {
    for line in ["2.12", "2.11", OLDER] {
        exactly_the_planned_are_cut(line).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_protected_is_never_cut_whatever_the_selector_names() {
    let stage =
        Stage::one(NEWEST, &format!("{OPEN}, protected: {{applications: [billing], accounts: [BATCH]}}"))
            .await;
    let (leaky, others) = clients(&stage.servers[0], 10, 40, Options::default()).await;
    // everybody, ours too
    let plan = stage.plan(json!({ "kind": "client" }), "kick").await;
    let protected = plan["plan"]["protected"].as_object().unwrap();
    assert!(protected["account"].as_u64().unwrap() > 0 && protected["application"].as_u64().unwrap() > 0);
    assert_eq!(protected.get("system_account").or(protected.get("own")), Some(&json!(1)), "{protected:?}");
    for victim in plan["plan"]["victims"].as_array().unwrap() {
        assert_ne!(victim["application"], "billing");
        assert_ne!(victim["account"], "BATCH");
        assert_ne!(victim["account"], "$SYS");
    }
    assert_eq!(stage.execute(&plan).await.status, 200);
    let run = stage.run(&plan).await;
    assert_eq!(run["state"], "verifying", "{run:#}");
    let victims = planned(&plan);
    eventually("the planned ones to be cut", async || {
        (cut(&leaky).len() + cut(&others).len() == victims.len()).then_some(())
    })
    .await;
    assert_eq!(cut(&leaky).union(&cut(&others)).cloned().collect::<BTreeSet<_>>(), victims);
    stage.verify(&plan).await;
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_that_answers_authorisation_callouts_is_never_cut() {
    let stage = Stage::one(NEWEST, OPEN).await;
    let (_leaky, _others) = clients(&stage.servers[0], 10, 12, Options::default()).await;
    let responder =
        async_nats::ConnectOptions::with_user_and_password("carol".to_owned(), "secret".to_owned())
            .connect(stage.servers[0].url())
            .await
            .unwrap();
    let _subscription = responder.subscribe("$SYS.REQ.USER.AUTH").await.unwrap();
    responder.flush().await.unwrap();
    let plan = stage.plan(json!({ "account": "BATCH" }), "kick").await;
    assert!(plan["plan"]["protected"]["auth_callout"].as_u64().unwrap() > 0, "{plan:#}");
    assert_eq!(plan["victim_count"], 0);
    assert!(stage.step(&plan, "propose").await.problem(409).starts_with("refused by"));
    stage.app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_to_leave_and_does_is_not_cut_and_who_stays_is() {
    let stage = Stage::one(NEWEST, &format!("{OPEN}, drain_wait: 4s")).await;
    let model = || ClientSpec::new(stage.servers[0].clients);
    let obliging = Population::new(model(), 8).names([("leaky-{pod}", 1)]).users([("alice", "secret", 1)]);
    let obliging = Options { heeds_lame_duck: true, ..Options::default() }.opened(&obliging).await;
    let deaf =
        Population::new(model(), 6).names([("leaky-{pod}", 1)]).users([("alice", "secret", 1)]).seed(9);
    let deaf = Options::default().opened(&deaf).await;
    let others = Population::new(model(), 20).names([("orders", 1)]).users([("bob", "secret", 1)]);
    let others = Options::default().opened(&others).await;
    let plan = stage.plan(json!({ "application": "leaky" }), "drain").await;
    assert_eq!(stage.execute(&plan).await.status, 200);
    stage.app.run_jobs().await;
    eventually("the obliging ones to leave", async || (obliging.counts().connected == 0).then_some(())).await;
    assert_eq!(deaf.counts().connected, 6, "nobody is cut before the wait is over");
    let run = stage.run(&plan).await;
    assert_eq!(run["progress"], json!({ "left": 8, "confirmed": 6 }), "{run:#}");
    eventually("the deaf ones to be cut", async || (deaf.counts().connected == 0).then_some(())).await;
    assert_eq!(others.counts().connected, 20);
    assert_eq!(stage.verify(&plan).await["outcome"], "effective");
    stage.app.finish().await;
}

impl Options {
    async fn opened(self, population: &Population) -> Swarm {
        Swarm::open(population.plan().unwrap(), self).await.unwrap()
    }
}
