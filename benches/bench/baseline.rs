//! Samples: what a day of them takes on the disk, and what taking one costs connwarden and the server.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use connwarden::app;
use connwarden::clock::Clock;
use connwarden::config::Config;
use connwarden::model::breakdown::Dimension;
use connwarden::model::history::{Sample, SampledGroups, ServerSample};
use connwarden::store::baselines::{self, PackedSample};
use connwarden::store::{self, Store};
use jiff::{SignedDuration, Timestamp};

use crate::harness::nats::{NEWEST, NatsServer};
use crate::report::{Report, Target, median, ms};
use crate::swarm::random::Random;
use crate::sweep::{Clients, descriptors};

const SERVERS: u64 = 10;
const APPLICATIONS: u64 = 200;

/// Addresses, accounts, users and libraries that 200 applications may have.
const OTHERS: [(Dimension, u64); 4] =
    [(Dimension::Ip, 1500), (Dimension::Account, 20), (Dimension::User, 200), (Dimension::Library, 15)];

/// A group is as large as a minute ago, except one in so many.
const CHANGES: u64 = 5;

/// How many samples the cost is the mean of.
const SAMPLES: u32 = 40;

/// How many connections are sampled.
const CONNECTIONS: u64 = 10_000;

/// The interval at which samples are taken unless something else is configured.
const INTERVAL: Duration = Duration::from_secs(60);

pub async fn measure(report: &mut Report) {
    size(report).await;
    cost(report).await;
}

async fn size(report: &mut Report) {
    let now: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let day: Vec<Timestamp> = (0..1440).map(|minute| ago(now, minute)).rev().collect();
    let (megabytes, packing) = stored(&day).await;
    let title = format!("a day of samples, {SERVERS} servers, {APPLICATIONS} applications, none thinned");
    report.add(
        &title,
        format!("{megabytes:.1} MB"),
        "20 MB".to_owned(),
        megabytes / 20.0,
        Target::AtMost(1.0),
    );
    report.note(&format!("writing and packing a sample takes {}", ms(packing)));

    // what retention keeps of 30 days
    let kept = |minute: &i64| match minute / 60 {
        0..2 => true,
        2..24 => minute % 5 == 0,
        24..192 => minute % 15 == 0,
        _ => minute % 60 == 0,
    };
    let month: Vec<Timestamp> = (0..30 * 1440).filter(kept).map(|minute| ago(now, minute)).rev().collect();
    let (megabytes, _) = stored(&month).await;
    let title = format!("30 days of samples, as many as are kept ({})", month.len());
    report.add(&title, format!("{megabytes:.1} MB"), "-".to_owned(), megabytes, Target::Shown);
}

fn ago(now: Timestamp, minutes: i64) -> Timestamp {
    now - SignedDuration::from_mins(minutes)
}

/// The size of a database with samples of these times, in megabytes, and how long packing one takes.
async fn stored(times: &[Timestamp]) -> (f64, Duration) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let empty = size_of(&store, directory.path()).await;
    let mut cluster = Cluster::new();
    let (mut base, mut packing) = (None, Vec::new());
    for at in times {
        let sample = cluster.sample(*at);
        let begun = std::time::Instant::now();
        let packed = PackedSample::pack(&sample, base);
        packing.push(begun.elapsed());
        let mut tx = store.write().await.unwrap();
        base = Some(baselines::insert(&mut tx, "bench", packed).await.unwrap());
        store::commit(tx).await.unwrap();
    }
    // what was written can be read
    let mut conn = store.read().await.unwrap();
    let found =
        baselines::list_times(&mut conn, "bench", Timestamp::MIN, Timestamp::MAX, u32::MAX).await.unwrap();
    let last = baselines::list(&mut conn, &found[found.len() - 1..]).await.unwrap().unpack().unwrap();
    assert_eq!((found.len(), last[0].counted()), (times.len(), cluster.connections()));
    drop(conn);
    let size = size_of(&store, directory.path()).await;
    store.close().await;
    ((size - empty) as f64 / 1e6, median(packing))
}

async fn size_of(store: &Store, directory: &Path) -> u64 {
    store.checkpoint().await.unwrap();
    std::fs::metadata(directory.join("connwarden.db")).unwrap().len()
}

/// A cluster whose numbers change a little from sample to sample.
struct Cluster {
    random: Random,
    groups: BTreeMap<Dimension, BTreeMap<String, u64>>,
    attempts: u64,
}

impl Cluster {
    fn new() -> Self {
        let mut random = Random::new(7, &[]);
        let named = |dimension: Dimension, serial: u64| match dimension {
            Dimension::Ip => format!("10.{}.{}.{}", serial % 4, serial / 250, serial % 250),
            Dimension::User => format!("UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7N{serial:04}"),
            Dimension::Library => format!("go 1.{serial}.0"),
            Dimension::Account => format!("ACCOUNT-{serial}"),
            _ => format!("service-{serial}-of-team-{}", serial % 17),
        };
        let dimensions = OTHERS.into_iter().chain([(Dimension::Application, APPLICATIONS)]);
        let groups = dimensions.map(|(dimension, count)| {
            let groups = (0..count).map(|serial| (named(dimension, serial), 1 + random.below(200)));
            (dimension, groups.collect())
        });
        let groups = groups.collect();
        Self { random, groups, attempts: 1_000_000 }
    }

    fn connections(&self) -> u64 {
        self.groups[&Dimension::Application].values().sum()
    }

    fn sample(&mut self, at: Timestamp) -> Sample {
        for count in self.groups.values_mut().flat_map(BTreeMap::values_mut) {
            if self.random.below(CHANGES) == 0 {
                *count = (*count + self.random.below(7)).saturating_sub(3).max(1);
            }
        }
        let connections = self.connections();
        let servers = (0..SERVERS).map(|serial| {
            self.attempts += self.random.below(90);
            ServerSample {
                server: format!("nats-{serial}"),
                connections: connections / SERVERS + self.random.below(9),
                attempts: Some(self.attempts),
                started_at: Some(Timestamp::UNIX_EPOCH),
                slow_consumers: Some(self.random.below(3)),
                cpu_percent: Some(self.random.below(400) as f64 / 10.0),
                memory_bytes: Some(500_000_000 + self.random.below(50_000_000)),
            }
        });
        let servers = servers.collect();
        let groups = self.groups.iter().map(|(dimension, groups)| {
            (*dimension, SampledGroups { groups: top(groups, 500), other: rest(groups, 500) })
        });
        Sample { at, complete: true, servers, groups: groups.collect() }
    }
}

fn top(groups: &BTreeMap<String, u64>, most: usize) -> BTreeMap<String, u64> {
    let mut list: Vec<_> = groups.iter().collect();
    list.sort_by_key(|(key, count)| (std::cmp::Reverse(**count), *key));
    list.into_iter().take(most).map(|(key, count)| (key.clone(), *count)).collect()
}

fn rest(groups: &BTreeMap<String, u64>, most: usize) -> u64 {
    groups.values().sum::<u64>() - top(groups, most).values().sum::<u64>()
}

/// Takes sample after sample and measures the processor time of both processes: at the interval of a minute it is the
/// same for each.
async fn cost(report: &mut Report) {
    let connections = descriptors().saturating_sub(crate::sweep::SPARE).min(CONNECTIONS);
    let server = NatsServer::start(NEWEST, "").await;
    let _clients = Clients::connect(&server, connections).await;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let config = Config::from_monitors(vec![server.monitor.clone()]);
    let clock = Clock::manual("2026-11-24T09:00:00Z".parse().unwrap());
    let (state, _worker) = app::wire(&config, store.clone(), clock.clone()).await.unwrap();
    let mut sampler = state.engine.sampler("nats").unwrap();
    // the first one notes every key
    state.engine.sample(&mut sampler).await.unwrap();

    let (ours, theirs) = (processor_time("self"), processor_time(&server.id().to_string()));
    for _ in 0..SAMPLES {
        clock.advance(INTERVAL);
        state.engine.sample(&mut sampler).await.unwrap();
    }
    let ours = (processor_time("self") - ours) / SAMPLES;
    let theirs = (processor_time(&server.id().to_string()) - theirs) / SAMPLES;
    for (whose, time) in [("connwarden", ours), ("the server", theirs)] {
        let share = time.as_secs_f64() / INTERVAL.as_secs_f64();
        report.add(
            &format!("sampling {connections} connections a minute: share of a core, {whose}"),
            format!("{:.3} %", share * 100.0),
            "1 %".to_owned(),
            share * 100.0,
            Target::AtMost(1.0),
        );
        report.note(&format!("{} a sample", ms(time)));
    }
    state.engine.close(Duration::from_secs(1)).await;
    store.close().await;
}

/// The processor time that a process has taken, in user and in kernel mode.
fn processor_time(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // the name of the program, in parentheses, may hold anything
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // 100 ticks a second, on every Linux that there is
    Duration::from_millis(ticks * 10)
}
