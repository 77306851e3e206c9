//! Taking notifications in, each committed before it is answered, over HTTP connections that are kept open.
//!
//! The floor is what the disk and SQLite allow: the same rows into the same tables, see [`crate::rows`].

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use url::Url;

use crate::harness::daemon::Daemon;
use crate::harness::http;
use crate::harness::nats::{NEWEST, NatsServer};
use crate::harness::payload::{firing, notification};
use crate::report::{Report, Target, median, ms};
use crate::rows::Rows;
use crate::sweep::{Clients, MOST, SPARE, descriptors};

/// Connections that are kept open, each with one notification under way: twice as many as a transaction takes, so that
/// the next one is as full as one of the floor.
pub const SENDERS: usize = 128;

/// How many incidents the alerts are about.
const INCIDENTS: usize = 200;

/// How many times each is measured. A run takes seconds.
const RUNS: usize = 7;

pub async fn measure(report: &mut Report) {
    for (alerts, count, gain) in [(1, 6000, 5.0), (10, 2000, 3.0)] {
        let bodies = bodies(count, alerts);
        let (mut ours, mut singles, mut latencies) = (vec![], vec![], vec![]);
        let (mut floors, mut full, mut unwaited, mut unworked) = (vec![], vec![], vec![], vec![]);
        for _ in 0..RUNS {
            let directory = tempfile::tempdir().unwrap();
            let (took, mut each) = take_in(directory.path(), &[], &bodies).await;
            ours.push(took);
            latencies.append(&mut each);
            unworked.push(unread(&bodies).await);
            let rows = Rows::read(&directory.path().join("data"), count).await;
            let (took, batches) = rows.write_for_senders().await;
            floors.push(took);
            full.push(count as f64 / batches as f64);
            unwaited.push(rows.write_at_once().await);
            let directory = tempfile::tempdir().unwrap();
            // it is slow: a part is enough
            let (took, _) = take_in(directory.path(), &["--storage.batch", "1"], &bodies[..count / 4]).await;
            singles.push(took * 4);
        }
        let rate = |times: &[Duration]| count as f64 / median(times.to_vec()).as_secs_f64();
        let of = [&unwaited, &floors, &singles].map(|floors| median_ratio(floors, &ours));
        let (unwaited, unworked) = (rate(&unwaited), rate(&unworked));
        let (ours, floor, single) = (rate(&ours), rate(&floors), rate(&singles));
        let per_second = |rate: f64| format!("{rate:.0}/s");
        let what = if alerts == 1 { "1 alert".to_owned() } else { format!("{alerts} alerts") };
        let name = format!("notifications of {what} / rows alone");
        report.add(&name, per_second(ours), per_second(unwaited), of[0], Target::AtLeast(0.6));
        let name = format!("notifications of {what} / rows alone, awaited by senders");
        report.add(&name, per_second(ours), per_second(floor), of[1], Target::Shown);
        report.note(&format!(
            "the batches of the awaited rows had {:.1} deliveries",
            full.iter().sum::<f64>() / full.len() as f64
        ));
        let both = 1.0 / (1.0 / floor + 1.0 / unworked);
        report.note(&format!(
            "the same requests, answered at once by the same HTTP library: {unworked:.0}/s; one after the other with the \
             rows alone: {both:.0}/s, of which {:.2}",
            ours / both
        ));
        let name = format!("notifications of {what} / a transaction each");
        report.add(&name, per_second(ours), per_second(single), of[2], Target::AtLeast(gain));
        let (p50, p99) = (percentile(&mut latencies, 50), percentile(&mut latencies, 99));
        let name = format!("latency of {what} under load, p99 / p50");
        report.add(&name, ms(p99), ms(p50), p99.as_secs_f64() / p50.as_secs_f64(), Target::Shown);
    }
    while_a_sweep_runs(report).await;
}

/// Compares the latency of a steady trickle of notifications with and without large sweeps beside it.
pub async fn while_a_sweep_runs(report: &mut Report) {
    const TRICKLE: Duration = Duration::from_millis(5);
    const COUNT: usize = 600;

    let connections = descriptors().saturating_sub(SPARE).min(MOST);
    let server = NatsServer::start(NEWEST, "").await;
    let kept = keep_to_one_core(server.id());
    let _clients = Clients::connect(&server, connections).await;
    let directory = tempfile::tempdir().unwrap();
    // the alerts are about no cluster: a look because of them would be in both measures
    let config = format!(
        "clusters:\n  - {{name: nats, monitor: {}, match: 'cluster=\"nats\"', server_labels: [server]}}\n",
        server.monitor
    );
    let file = directory.path().join("connwarden.yml");
    std::fs::write(&file, config).unwrap();
    let flags = ["--config.file".to_owned(), file.to_str().unwrap().to_owned()];
    let daemon = Daemon::start(directory.path(), &flags).await;
    let bodies = bodies(3 * RUNS * COUNT, 1);
    let mut sender = Sender::connect(&daemon.webhook()).await;
    for body in bodies_of(0..INCIDENTS, 1) {
        sender.post(&body).await;
    }

    let (mut alone, mut beside, mut beside_curl) = (vec![], vec![], vec![]);
    let sweeps = Arc::new(AtomicU64::new(0));
    for (run, bodies) in bodies.chunks(COUNT).enumerate() {
        let curling = (run % 3 == 2).then(|| curl_without_end(&server.monitor));
        let looking = (run % 3 == 1).then(|| {
            let url = daemon.at("api/v1/clusters/nats/breakdown?by=application,ip");
            let sweeps = sweeps.clone();
            tokio::spawn(async move {
                let client = http();
                loop {
                    let answer = client.get(url.clone()).send().await.unwrap();
                    assert!(answer.status().is_success(), "{}", answer.status());
                    answer.bytes().await.unwrap();
                    sweeps.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let turns = match run % 3 {
            0 => &mut alone,
            1 => &mut beside,
            _ => &mut beside_curl,
        };
        let mut latencies = Vec::with_capacity(COUNT);
        let mut pace = tokio::time::interval(TRICKLE);
        for body in bodies {
            pace.tick().await;
            latencies.push(sender.post(body).await);
        }
        turns.push(latencies);
        if let Some(looking) = looking {
            looking.abort();
        }
        drop(curling);
    }
    let p99 = |turns: &[Vec<Duration>]| -> Vec<Duration> {
        turns.iter().map(|latencies| percentile(&mut latencies.clone(), 99)).collect()
    };
    let of_all = |turns: &[Vec<Duration>]| percentile(&mut turns.concat(), 99);
    let ratio = median_ratio(&p99(&beside), &p99(&alone));
    let name = format!("p99 of a notification while {connections} are swept / idle");
    let (typical, typical_alone) = (median(p99(&beside)), median(p99(&alone)));
    report.add(&name, ms(typical), ms(typical_alone), ratio, Target::AtMost(2.0));
    report.note(&format!(
        "{} sweeps during {} notifications, one every {TRICKLE:?}; the NATS server {}",
        sweeps.load(Ordering::Relaxed),
        RUNS * COUNT,
        if kept { "is kept to one core, idle and swept" } else { "has all cores: there is no `taskset`" },
    ));
    let (all, all_alone) = (of_all(&beside), of_all(&alone));
    report.note(&format!(
        "of all turns together {} and {}, {:.2} times idle",
        ms(all),
        ms(all_alone),
        all.as_secs_f64() / all_alone.as_secs_f64()
    ));
    report.note(&format!(
        "while curl reads the same page again and again, and the daemon does nothing else: {}, {:.2} times idle",
        ms(median(p99(&beside_curl))),
        median_ratio(&p99(&beside_curl), &p99(&alone))
    ));
}

/// The median of the ratios of pairs: what a machine does for others changes from one run to the next, and less within
/// it.
fn median_ratio(times: &[Duration], others: &[Duration]) -> f64 {
    let ratios = times.iter().zip(others).map(|(time, other)| time.as_secs_f64() / other.as_secs_f64());
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Keeps a process to the last core, as if it had a machine of its own and not this one; whether that could be done.
fn keep_to_one_core(process: u32) -> bool {
    let cores = std::thread::available_parallelism().unwrap().get();
    let arguments = ["--all-tasks", "--cpu-list", "--pid", &(cores - 1).to_string(), &process.to_string()];
    let kept = Command::new("taskset").args(arguments).stdout(Stdio::null()).status();
    kept.is_ok_and(|status| status.success())
}

/// Has `curl` read the connections of a server until it is dropped.
fn curl_without_end(monitor: &Url) -> Endless {
    let page = monitor.join("connz?auth=1&limit=1000000").unwrap();
    // one process, one connection: the page is listed a thousand times
    let mut curl = Command::new("curl");
    curl.arg("--silent").stdout(Stdio::null());
    for _ in 0..1000 {
        curl.args(["--output", "/dev/null"]).arg(page.as_str());
    }
    Endless(curl.spawn().expect("curl is here"))
}

/// A process that is killed when it is dropped.
struct Endless(Child);

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many notifications a second the same senders get rid of when nothing is done with them: read and answered, by
/// the same server library in this process.
async fn unread(bodies: &[Vec<u8>]) -> Duration {
    let answer = |_: axum::body::Bytes| async { (axum::http::StatusCode::ACCEPTED, r#"{"incidents":[]}"#) };
    let router = axum::Router::new().route("/", axum::routing::post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let (took, _) = send(&url, bodies).await;
    serving.abort();
    took
}

/// Has a fresh daemon take in notifications; how long that takes altogether, and each.
async fn take_in(directory: &Path, flags: &[&str], bodies: &[Vec<u8>]) -> (Duration, Vec<Duration>) {
    let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    let mut daemon = Daemon::start(directory, &flags).await;
    let (took, latencies) = send(&daemon.webhook(), bodies).await;
    daemon.process.terminate();
    assert!(daemon.process.ended().await.success());
    (took, latencies)
}

/// Sends notifications over many connections; how long that takes altogether, and each.
async fn send(webhook: &Url, bodies: &[Vec<u8>]) -> (Duration, Vec<Duration>) {
    let mut senders = Vec::new();
    for part in bodies.chunks(bodies.len().div_ceil(SENDERS)) {
        senders.push((Sender::connect(webhook).await, part.to_vec()));
    }
    let (mut sending, begun) = (JoinSet::new(), Instant::now());
    for (mut sender, bodies) in senders {
        sending.spawn(async move {
            let mut latencies = Vec::with_capacity(bodies.len());
            for body in &bodies {
                latencies.push(sender.post(body).await);
            }
            latencies
        });
    }
    let latencies = sending.join_all().await.concat();
    (begun.elapsed(), latencies)
}

/// Notifications with alerts that are all different.
fn bodies(count: usize, alerts: usize) -> Vec<Vec<u8>> {
    bodies_of(INCIDENTS..INCIDENTS + count, alerts)
}

fn bodies_of(serials: std::ops::Range<usize>, alerts: usize) -> Vec<Vec<u8>> {
    let alert = |serial: usize, place: usize| -> Value {
        let mut alert = firing(&format!("Alert{}", serial % INCIDENTS), "nats-1:7777");
        alert["labels"]["pod"] = json!(format!("nats-{serial}-{place}"));
        alert
    };
    let body = |serial| notification(&(0..alerts).map(|place| alert(serial, place)).collect::<Vec<_>>());
    serials.map(|serial| body(serial).into_bytes()).collect()
}

/// One HTTP connection, and no more of HTTP than this takes.
struct Sender {
    stream: TcpStream,
    head: String,
    buffer: Vec<u8>,
}

impl Sender {
    async fn connect(webhook: &Url) -> Self {
        let address = format!("127.0.0.1:{}", webhook.port().unwrap());
        let stream = TcpStream::connect(&address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let head = format!("POST {} HTTP/1.1\r\nHost: {address}\r\nContent-Length: ", webhook.path());
        Self { stream, head, buffer: Vec::new() }
    }

    /// Posts a notification and waits for the answer; how long that takes.
    async fn post(&mut self, body: &[u8]) -> Duration {
        let mut request = format!("{}{}\r\n\r\n", self.head, body.len()).into_bytes();
        request.extend_from_slice(body);
        self.buffer.clear();
        let begun = Instant::now();
        self.stream.write_all(&request).await.unwrap();
        // the answer is a JSON object and ends with it
        while !self.buffer.ends_with(b"}") {
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "it hung up");
        }
        let took = begun.elapsed();
        assert!(self.buffer.starts_with(b"HTTP/1.1 202 "), "{}", String::from_utf8_lossy(&self.buffer));
        took
    }
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}
