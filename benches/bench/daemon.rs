//! The daemon itself: size, start, idle memory.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::daemon::program;
use crate::harness::nats::{NEWEST, NatsServer};
use crate::harness::process::Process;
use crate::report::{PAIRS, Report, Target, heading, median, memory_of, mib, ms};

pub async fn measure(report: &mut Report) {
    heading();
    let size = std::fs::metadata(program()).unwrap().len();
    let megabytes = size as f64 / 1e6;
    report.add(
        "release binary",
        format!("{megabytes:.1} MB"),
        "25 MB".to_owned(),
        megabytes / 25.0,
        Target::AtMost(1.0),
    );

    let nats = NatsServer::start(NEWEST, "").await;
    let (mut starts, mut idle) = (Vec::new(), 0);
    for _ in 0..PAIRS {
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let arguments =
            ["serve", "--web.listen-address", &address.to_string(), "--nats.monitor", nats.monitor.as_str()];
        let begun = Instant::now();
        let daemon = Process::start(program(), &arguments, directory.path());
        while !is_ready(address).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        starts.push(begun.elapsed());
        // as long as it takes to ask the server who it is, and to be idle again
        tokio::time::sleep(Duration::from_millis(200)).await;
        idle = idle.max(memory_of(&daemon.id().to_string(), "VmRSS"));
    }
    let start = median(starts);
    let ratio = start.as_secs_f64() / 0.1;
    report.add("start to ready, new storage", ms(start), "100 ms".to_owned(), ratio, Target::AtMost(1.0));
    let ratio = idle as f64 / (25.0 * 1_048_576.0);
    report.add("idle memory (largest of 15)", mib(idle), "25 MiB".to_owned(), ratio, Target::AtMost(1.0));
}

/// Asks once; whoever is not there yet refuses at once.
async fn is_ready(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.0 200"))
    };
    ask.await.unwrap_or(false)
}
