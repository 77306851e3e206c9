//! Looking at real servers, against `curl` of the same page to /dev/null.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use connwarden::app;
use connwarden::clock::Clock;
use connwarden::config::Config;
use connwarden::model::breakdown::By;
use connwarden::observe::sweep::{ClusterTargets, Observer};
use connwarden::observe::users::UserMask;
use connwarden::observe::wishes::Wishes;
use url::Url;

use crate::harness::nats::{NEWEST, NatsServer};
use crate::parse::{self, PAGES, timed};
use crate::report::{PAIRS, Report, Target, median, ms};
use crate::swarm::{ClientSpec, Options, Population, Swarm};

/// Descriptors that a server and the process of its clients need for other things.
pub const SPARE: u64 = 200;

/// As many as were measured elsewhere.
pub const MOST: u64 = 19_800;

pub async fn measure(report: &mut Report) {
    let connections = descriptors().saturating_sub(SPARE).min(MOST);
    let server = NatsServer::start(NEWEST, "").await;
    let clients = Clients::connect(&server, connections).await;
    let observer = observer();
    let one = targets(std::slice::from_ref(&server));

    let (mut ours, mut curls, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        ours.push(look(&observer, &one, connections).await);
        let curl = Curl::start(&server.monitor).times();
        curls.push(curl.total);
        waits.push(curl.first_byte);
    }
    let (ours, floor) = (median(ours), median(curls));
    let name = format!("sweep and breakdown of {connections} connections / curl");
    report.add(&name, ms(ours), ms(floor), ours.as_secs_f64() / floor.as_secs_f64(), Target::AtMost(1.5));
    where_it_goes(report, &observer, &server.monitor, median(waits), floor).await;
    nats_cli(report, floor);
    drop((clients, server));

    let each = connections / 3;
    let mut servers = Vec::new();
    let mut swarms = Vec::new();
    for _ in 0..3 {
        let server = NatsServer::start(NEWEST, "").await;
        swarms.push(Clients::connect(&server, each).await);
        servers.push(server);
    }
    let all = targets(&servers);
    let singles: Vec<_> = servers.iter().map(|server| targets(std::slice::from_ref(server))).collect();
    let (mut together, mut alone) = (Vec::new(), vec![Vec::new(); 3]);
    let (mut curls_together, mut curls_alone) = (Vec::new(), vec![Vec::new(); 3]);
    for _ in 0..PAIRS {
        together.push(look(&observer, &all, 3 * each).await);
        for (single, times) in singles.iter().zip(&mut alone) {
            times.push(look(&observer, single, each).await);
        }
        let curls: Vec<_> = servers.iter().map(|server| Curl::start(&server.monitor)).collect();
        curls_together.push(curls.into_iter().map(|curl| curl.times().total).max().unwrap());
        for (server, times) in servers.iter().zip(&mut curls_alone) {
            times.push(Curl::start(&server.monitor).times().total);
        }
    }
    let slowest_of = |times: Vec<Vec<_>>| times.into_iter().map(median).max().unwrap();
    let (together, slowest) = (median(together), slowest_of(alone));
    let name = format!("sweep of three servers with {each} each / the slowest alone");
    report.add(
        &name,
        ms(together),
        ms(slowest),
        together.as_secs_f64() / slowest.as_secs_f64(),
        Target::AtMost(1.3),
    );
    let (together, slowest) = (median(curls_together), slowest_of(curls_alone));
    report.note(&format!(
        "three curls at once / the slowest alone: {} / {} = {:.2}",
        ms(together),
        ms(slowest),
        together.as_secs_f64() / slowest.as_secs_f64()
    ));
}

/// Says what a sweep of one server is made of: what is asked first, what curl waits for, what is done with the page.
async fn where_it_goes(
    report: &mut Report,
    observer: &Observer,
    monitor: &Url,
    wait: Duration,
    floor: Duration,
) {
    let page = reqwest::get(page_of(monitor)).await.unwrap().bytes().await.unwrap();
    let (mut asked, mut counted, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let begun = Instant::now();
        observer.varz(monitor, None).await.unwrap();
        asked.push(begun.elapsed());
        counted.push(timed(|| parse::count(&page, &parse::default_by())) / PAGES);
        read.push(timed(|| parse::sum(&page)) / PAGES);
    }
    report.note(&format!(
        "/varz {}; curl waits {} for the first byte and reads for {}",
        ms(median(asked)),
        ms(wait),
        ms(floor.saturating_sub(wait))
    ));
    report.note(&format!(
        "the same page from memory, {:.1} MB: parsed in {}, parsed and counted in {}",
        page.len() as f64 / 1e6,
        ms(median(read)),
        ms(median(counted))
    ));
}

/// Holds connections until it is killed: a process of its own, because each of them takes a descriptor.
pub async fn hold(server: &str, count: &str) {
    let server: SocketAddr = server.parse().unwrap();
    let names: Vec<String> = (0..40).map(|serial| format!("service{serial}-{{pod}}")).collect();
    let population = Population::new(ClientSpec::new(server).subscriptions(4), count.parse().unwrap())
        .names(names.iter().map(|name| (name.as_str(), 1)))
        .sources((2..22).map(|last| std::net::Ipv4Addr::new(127, 0, 0, last)));
    let _swarm = Swarm::open(population.plan().unwrap(), Options::default()).await.unwrap();
    println!("up");
    std::future::pending::<()>().await;
}

/// The process that holds the connections.
pub struct Clients(Child);

impl Clients {
    pub async fn connect(server: &NatsServer, count: u64) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--hold", &server.clients.to_string(), &count.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let clients = Self(child);
        crate::harness::eventually("all connections", async || {
            (server.connections().await == count).then_some(())
        })
        .await;
        clients
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn look(observer: &Observer, cluster: &ClusterTargets, expected: u64) -> Duration {
    let begun = Instant::now();
    let snapshot = observer.sweep(cluster, &Wishes::by(&By::parse_list("application,ip").unwrap())).await;
    let took = begun.elapsed();
    assert_eq!(snapshot.coverage.seen, expected, "{:?}", snapshot.coverage);
    took
}

/// `curl` of the same page.
struct Curl(Child);

/// What `curl` measures itself, so that its start is not counted.
struct CurlTimes {
    first_byte: Duration,
    total: Duration,
}

impl Curl {
    fn start(monitor: &Url) -> Self {
        let figures = "%{time_starttransfer} %{time_total}";
        let child = Command::new("curl")
            .args(["--silent", "--output", "/dev/null", "--write-out", figures, page_of(monitor).as_str()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl is here");
        Self(child)
    }

    fn times(self) -> CurlTimes {
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut seconds = text.split(' ').map(|text| Duration::from_secs_f64(text.parse().unwrap()));
        CurlTimes { first_byte: seconds.next().unwrap(), total: seconds.next().unwrap() }
    }
}

fn page_of(monitor: &Url) -> Url {
    monitor.join("connz?auth=1&limit=1000000").unwrap()
}

/// What the `nats` command makes of the same server, where it is here.
fn nats_cli(report: &mut Report, floor: Duration) {
    if Command::new("nats").arg("--version").output().is_err() {
        report.note("`nats server report connections`: the nats command is not on PATH");
        return;
    }
    report.note(&format!(
        "the nats command needs a system account; measured elsewhere: 6 to 10 times curl, here {} to {}",
        ms(floor * 6),
        ms(floor * 10)
    ));
}

fn observer() -> Observer {
    app::observer(&Config::default(), UserMask::new(&[7; 32]), Clock::system())
}

fn targets(servers: &[NatsServer]) -> ClusterTargets {
    let monitors = servers.iter().map(|server| server.monitor.clone()).collect();
    app::targets(&Config::from_monitors(monitors).clusters[0])
}

pub fn descriptors() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}
