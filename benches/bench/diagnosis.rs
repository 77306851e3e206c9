//! From a notification to its diagnosis, on a cluster of three, against `curl` of the same pages.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::daemon::Daemon;
use crate::harness::nats::{NEWEST, NatsServer, start_cluster};
use crate::harness::payload::{firing, notification};
use crate::report::{PAIRS, Report, Target, median, ms};
use crate::sweep::{Clients, MOST, SPARE, descriptors};

/// What a diagnosis may take beyond the look that it is made of.
const BEYOND: Duration = Duration::from_millis(100);

pub async fn measure(report: &mut Report) {
    let each = descriptors().saturating_sub(SPARE).min(MOST);
    let servers = start_cluster(NEWEST, "bench", 3, "").await;
    let mut clients = Vec::new();
    for server in &servers {
        clients.push(Clients::connect(server, each).await);
    }
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::watching(directory.path(), servers.iter().map(|server| &server.monitor)).await;

    let (mut ours, mut curls) = (Vec::new(), Vec::new());
    for round in 0..PAIRS {
        ours.push(diagnosed(&daemon, &format!("Connections{round}"), 3 * each).await);
        curls.push(curl(&servers));
    }
    let (ours, floor) = (median(ours), median(curls));
    let bound = floor.mul_f64(1.3) + BEYOND;
    report.add(
        &format!("notification to diagnosis, 3 x {each} / (1.3 curl + {})", ms(BEYOND)),
        ms(ours),
        ms(bound),
        ours.as_secs_f64() / bound.as_secs_f64(),
        Target::AtMost(1.0),
    );
    report.note(&format!(
        "three curls at once of varz, closed and open connections: {}; {:.2} times that",
        ms(floor),
        ours.as_secs_f64() / floor.as_secs_f64()
    ));
}

/// Posts an alert of its own name; how long until the diagnosis of its incident can be read.
async fn diagnosed(daemon: &Daemon, alert_name: &str, connections: u64) -> Duration {
    let body = notification(&[firing(alert_name, "nats-1:7777")]);
    let begun = Instant::now();
    let (status, text) = daemon.notify(body).await;
    assert_eq!(status, 202, "{text}");
    let list = daemon.get("api/v1/incidents?limit=1").await;
    assert_eq!(list["incidents"][0]["alert_name"], alert_name, "{list:#}");
    let path = format!("api/v1/incidents/{}", list["incidents"][0]["id"].as_str().unwrap());
    loop {
        let incident = daemon.get(&path).await;
        let took = begun.elapsed();
        if incident["diagnosis"] != Value::Null {
            assert_eq!(incident["coverage"]["seen"], connections, "{incident:#}");
            return took;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Reads what a look reads, of all servers at once.
fn curl(servers: &[NatsServer]) -> Duration {
    let pages = ["varz", "connz?state=closed&auth=1&limit=10000", "connz?auth=1&limit=1000000"];
    let begun = Instant::now();
    let curls: Vec<_> = servers
        .iter()
        .map(|server| {
            let mut curl = Command::new("curl");
            curl.arg("--silent").stdout(Stdio::null());
            for page in pages {
                curl.args(["--output", "/dev/null"]).arg(server.monitor.join(page).unwrap().as_str());
            }
            curl.spawn().expect("curl is here")
        })
        .collect();
    for mut curl in curls {
        assert!(curl.wait().unwrap().success());
    }
    begun.elapsed()
}
