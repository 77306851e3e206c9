//! Torture: SIGKILL under load at a random moment, a new start on the same storage, and a look at everything that was
//! promised, again and again. `make torture` plays more rounds than `make test`.
//!
//! `TORTURE_ROUNDS` says how many, `TORTURE_SEED` repeats the choices of another run (not its timing).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::task::JoinSet;
use url::Url;

use crate::harness::daemon::Daemon;
use crate::harness::nats::{NEWEST, NatsServer};
use crate::harness::payload::{firing, notification, resolved};
use crate::harness::{GLANCE, eventually, http};
use crate::swarm::random::Random;

/// How many rounds are played unless it is asked for more.
const ROUNDS: u64 = 50;

/// How many rounds share a storage directory: looking at everything takes longer the more there is.
const ROUNDS_PER_STORAGE: u64 = 10;

/// How many notifications are under way at the same time.
const SENDERS: u64 = 16;

/// After how many answers, at the most, the daemon is killed.
const LONGEST_ROUND: u64 = 150;

/// The longest time between an answer and the end, in microseconds: about what a batch takes.
const LAST_MOMENT_US: u64 = 5000;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_exactly_once_after_every_crash() {
    let rounds = setting("TORTURE_ROUNDS").unwrap_or(ROUNDS);
    let seed = setting("TORTURE_SEED").unwrap_or_else(|| u64::from(std::process::id()) ^ random_seed());
    say(&format!("torture: seed {seed}"));
    let nats = NatsServer::start(NEWEST, "").await;
    let mut total = Total { rounds, ..Total::default() };
    for first in (0..rounds).step_by(ROUNDS_PER_STORAGE as usize) {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let mut wrong = (0, 0);
        for round in first..rounds.min(first + ROUNDS_PER_STORAGE) {
            let mut daemon = Daemon::watching(directory.path(), [&nats.monitor]).await;
            torment(&mut daemon, &ledger, Random::new(seed, &[round])).await;
            drop(daemon);
            let _daemon = Daemon::watching(directory.path(), [&nats.monitor]).await;
            let found = Found::look(&directory).await;
            // what is lost in one round is missing in the next one too
            wrong = total.compare(round, &ledger.lock().unwrap(), &found);
        }
        total.acknowledged += ledger.lock().unwrap().acknowledged();
        total.lost += wrong.0;
        total.duplicated += wrong.1;
    }
    say(&total.line());
    assert!(total.acknowledged > rounds, "that was no load");
    assert_eq!((total.lost, total.duplicated), (0, 0), "seed {seed}: {:#?}", total.complaints);
    assert!(total.complaints.is_empty(), "seed {seed}: {:#?}", total.complaints);
}

/// What all rounds have come to.
#[derive(Default)]
struct Total {
    rounds: u64,
    acknowledged: u64,
    lost: u64,
    duplicated: u64,
    /// What is wrong, and in which round it was seen first.
    complaints: BTreeMap<String, u64>,
}

impl Total {
    fn line(&self) -> String {
        let Self { rounds, acknowledged, lost, duplicated, .. } = self;
        format!("torture: rounds {rounds}, acknowledged {acknowledged}, lost {lost}, duplicated {duplicated}")
    }

    /// Compares what was promised with what is there; how much is lost, and how much duplicated.
    fn compare(&mut self, round: u64, ledger: &Ledger, found: &Found) -> (u64, u64) {
        let (mut lost, mut duplicated, mut complaints) = (0, 0, Vec::new());
        for (body, sent) in &ledger.sent {
            let rows = found.notifications.get(body).map(Vec::as_slice).unwrap_or_default();
            let seen: u64 = rows.iter().map(|row| row.seen).sum();
            let missing = sent.acknowledged.saturating_sub(seen);
            let unknown =
                sent.receipts.iter().filter(|id| rows.iter().all(|row| row.id != **id)).count() as u64;
            let twice = (rows.len() as u64).saturating_sub(1) + seen.saturating_sub(sent.times);
            if missing + unknown + twice > 0 {
                complaints.push(format!("{sent:?}, but there is {rows:?} of {body}"));
            }
            lost += missing.max(unknown);
            duplicated += twice;
            if sent.acknowledged > 0 {
                if let Some(instance) = &sent.fires
                    && !found.members.contains(instance)
                {
                    complaints.push(format!("{instance} fires, and is no member"));
                }
                for incident in sent.incidents.iter().filter(|id| !found.incidents.contains(*id)) {
                    complaints.push(format!("incident {incident} was told of, and is gone"));
                }
            }
        }
        let foreign = found.notifications.keys().filter(|body| !ledger.sent.contains_key(*body));
        complaints.extend(foreign.map(|body| format!("nobody has sent {body}")));
        complaints.extend(found.contradictions.iter().cloned());
        for complaint in complaints {
            self.complaints.entry(complaint).or_insert(round);
        }
        (lost, duplicated)
    }
}

/// What was sent, by its body.
#[derive(Default)]
struct Ledger {
    sent: BTreeMap<String, Sent>,
    serial: u64,
}

impl Ledger {
    fn acknowledged(&self) -> u64 {
        self.sent.values().map(|sent| sent.acknowledged).sum()
    }
}

/// What became of one content.
#[derive(Debug, Default)]
struct Sent {
    times: u64,
    acknowledged: u64,
    /// The ids that were given to it.
    receipts: BTreeSet<String>,
    /// The incidents that were named.
    incidents: BTreeSet<String>,
    /// The instance of the alert that fires in it.
    fires: Option<String>,
}

/// Lets many senders post at the same time, and kills the daemon among it.
async fn torment(daemon: &mut Daemon, ledger: &Arc<Mutex<Ledger>>, mut random: Random) {
    let answers = Arc::new(AtomicU64::new(0));
    let enough = 1 + random.below(LONGEST_ROUND);
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let sender = Sender {
            webhook: daemon.webhook(),
            ledger: ledger.clone(),
            answers: answers.clone(),
            random: Random::new(random.next_u64(), &[]),
            mine: Vec::new(),
        };
        senders.spawn(sender.send_until_the_end());
    }
    eventually("enough answers", async || {
        for _ in 0..20 {
            if answers.load(Ordering::Relaxed) >= enough {
                return Some(());
            }
            tokio::time::sleep(GLANCE / 20).await;
        }
        None
    })
    .await;
    // not to wait for something, but to be somewhere else in the work each time
    tokio::time::sleep(Duration::from_micros(random.below(LAST_MOMENT_US))).await;
    daemon.process.kill();
    senders.join_all().await;
}

/// Posts one notification after the other.
struct Sender {
    webhook: Url,
    ledger: Arc<Mutex<Ledger>>,
    answers: Arc<AtomicU64>,
    random: Random,
    /// Its alerts that fire, and what it has said.
    mine: Vec<(Value, String)>,
}

impl Sender {
    async fn send_until_the_end(mut self) {
        let client = http();
        loop {
            let body = self.next();
            let Ok(answer) = client.post(self.webhook.clone()).body(body.clone()).send().await else {
                return;
            };
            // an answer that is cut off is none
            let status = answer.status();
            let Ok(text) = answer.text().await else { return };
            assert_eq!(status, 202, "{text}");
            let receipt: Value = serde_json::from_str(&text).unwrap();
            let mut ledger = self.ledger.lock().unwrap();
            let sent = ledger.sent.get_mut(&body).unwrap();
            sent.acknowledged += 1;
            sent.receipts.insert(receipt["notification"].as_str().unwrap().to_owned());
            let incidents = receipt["incidents"].as_array().unwrap().iter();
            sent.incidents.extend(incidents.map(|id| id.as_str().unwrap().to_owned()));
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes down what is going to be sent.
    fn next(&mut self) -> String {
        let mut ledger = self.ledger.lock().unwrap();
        let choice = self.random.below(10);
        let (body, fires) = match choice {
            // said before
            0 if !self.mine.is_empty() => {
                let place = self.random.position(self.mine.len());
                let body = self.mine[place].1.clone();
                let fires = ledger.sent[&body].fires.clone();
                (body, fires)
            }
            1 | 2 if !self.mine.is_empty() => {
                let place = self.random.position(self.mine.len());
                let (alert, _) = self.mine.swap_remove(place);
                (notification(&[resolved(alert, "2026-11-24T09:30:00Z")]), None)
            }
            _ => {
                ledger.serial += 1;
                let serial = ledger.serial;
                // of some incidents everybody tells, of others one alone
                let name = if choice < 7 {
                    format!("Shared{}", self.random.below(4) + serial / 400 * 4)
                } else {
                    format!("Own{serial}")
                };
                let instance = format!("nats-{serial}:7777");
                let alert = firing(&name, &instance);
                let body = notification(std::slice::from_ref(&alert));
                self.mine.push((alert, body.clone()));
                (body, Some(instance))
            }
        };
        let sent = ledger.sent.entry(body.clone()).or_default();
        sent.times += 1;
        sent.fires = fires;
        body
    }
}

/// What a restarted daemon has.
struct Found {
    notifications: BTreeMap<String, Vec<Stored>>,
    incidents: BTreeSet<String>,
    /// The instances of all members.
    members: BTreeSet<String>,
    contradictions: Vec<String>,
}

#[derive(Debug)]
struct Stored {
    id: String,
    seen: u64,
}

impl Found {
    async fn look(directory: &TempDir) -> Self {
        let mut conn = SqliteConnectOptions::new()
            .filename(directory.path().join("data/connwarden.db"))
            .read_only(true)
            .connect()
            .await
            .unwrap();
        let conn = &mut conn;
        sqlx::query("BEGIN").execute(&mut *conn).await.unwrap();
        let mut notifications: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
        let rows: Vec<(String, i64, Vec<u8>)> =
            sqlx::query_as("SELECT notification_id, seen_count, body FROM notifications")
                .fetch_all(&mut *conn)
                .await
                .unwrap();
        for (id, seen, body) in rows {
            let body = String::from_utf8(zstd::decode_all(body.as_slice()).unwrap()).unwrap();
            notifications.entry(body).or_default().push(Stored { id, seen: seen as u64 });
        }
        let incidents: Vec<String> =
            sqlx::query_scalar("SELECT incident_id FROM incidents").fetch_all(&mut *conn).await.unwrap();
        let members: Vec<String> =
            sqlx::query_scalar("SELECT labels FROM alerts").fetch_all(&mut *conn).await.unwrap();
        let instance = |labels: String| {
            let labels: Value = serde_json::from_str(&labels).unwrap();
            labels["instance"].as_str().unwrap().to_owned()
        };
        let members = members.into_iter().map(instance).collect();
        let mut contradictions = Vec::new();
        for query in CONTRADICTIONS {
            let found: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut *conn).await.unwrap();
            contradictions.extend(found.into_iter().filter(|found| found != "ok"));
        }
        Self { notifications, incidents: incidents.into_iter().collect(), members, contradictions }
    }
}

/// Each selects what contradicts what connwarden writes in one transaction.
const CONTRADICTIONS: [&str; 8] = [
    "PRAGMA integrity_check",
    "SELECT 'an orphan in ' || \"table\" FROM pragma_foreign_key_check",
    "SELECT 'not opened once: ' || incident_id
       FROM incidents
      WHERE 1 <> (SELECT count(*)
                    FROM entries
                   WHERE entries.incident_key = incidents.incident_key AND kind = 'opened')",
    "SELECT 'without members: ' || incident_id
       FROM incidents
      WHERE incident_key NOT IN (SELECT incident_key FROM alerts)",
    "SELECT 'twice unresolved: ' || identity
       FROM incidents
      WHERE state <> 'resolved'
      GROUP BY identity
     HAVING count(*) > 1",
    "SELECT 'resolved, and still fires: ' || incident_id
       FROM incidents
      WHERE state = 'resolved'
        AND incident_key IN (SELECT incident_key FROM alerts WHERE status = 'firing')",
    "SELECT 'an entry of a notification that is not there: ' || entries.text
       FROM entries
      WHERE notification_id IS NOT NULL
        AND notification_id NOT IN (SELECT notification_id FROM notifications)",
    "SELECT 'nobody looks, and nobody has: ' || incident_id
       FROM incidents
      WHERE cluster IS NOT NULL
        AND state <> 'resolved'
        AND incident_id NOT IN (SELECT subject FROM jobs)
        AND incident_key NOT IN (SELECT incident_key FROM snapshots)
        AND incident_key NOT IN (SELECT incident_key FROM entries WHERE kind = 'observation_failed')",
];

/// A number from the environment.
#[expect(clippy::disallowed_methods, reason = "how long to torture is not the program's business")]
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: `{text}` is no number")))
}

/// A seed that is another one each time.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Says something also where the output of tests that pass is not shown.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}
