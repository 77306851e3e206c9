//! Peak memory of a look: it grows with groups, not with connections.

use std::process::Stdio;
use std::sync::Arc;

use connwarden::app;
use connwarden::clock::Clock;
use connwarden::config::Config;
use connwarden::observe::users::UserMask;
use connwarden::observe::wishes::Wishes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::report::{Report, Target, memory_of, mib};

/// Names that are shared by many connections.
const NAMES: u64 = 200;

const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;

pub async fn measure(report: &mut Report) {
    let few = peak_of(FEW, false).await;
    let many = peak_of(MANY, false).await;
    let apart = many.saturating_sub(few);
    let ratio = apart as f64 / (8.0 * 1_048_576.0);
    report.add(
        "peak memory, 1M against 10k connections, 200 names",
        mib(many),
        mib(few),
        ratio,
        Target::AtMost(1.0),
    );
    report.note(&format!("{} apart; the target is 8 MiB", mib(apart)));

    let distinct = peak_of(MANY, true).await;
    let apart = distinct.saturating_sub(few);
    let ratio = apart as f64 / (24.0 * 1_048_576.0);
    report.add(
        "peak memory, 1M distinct names against 10k connections",
        mib(distinct),
        mib(few),
        ratio,
        Target::AtMost(1.0),
    );
    report.note(&format!("{} apart; the target is 24 MiB", mib(apart)));
}

/// Looks at a server along everything that is stored, and says how much memory that took: a process of its own.
pub async fn peak(monitor: &str) {
    let config = Config::from_monitors(vec![Url::parse(monitor).unwrap()]);
    let observer = app::observer(&config, UserMask::new(&[7; 32]), Clock::system());
    let snapshot = observer
        .sweep(&app::targets(&config.clusters[0]), &Wishes { closed: false, ..Wishes::everything() })
        .await;
    assert!(snapshot.coverage.complete, "{:?}", snapshot.coverage);
    println!("{} {}", snapshot.coverage.seen, memory_of("self", "VmHWM"));
}

async fn peak_of(connections: u64, distinct: bool) -> u64 {
    let url = serve(connections, distinct).await;
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--peak", url.as_str()])
        .stderr(Stdio::inherit())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (seen, peak) = text.trim().split_once(' ').unwrap();
    assert_eq!(seen.parse::<u64>().unwrap(), connections);
    peak.parse().unwrap()
}

/// A server that streams a list of so many connections.
async fn serve(connections: u64, distinct: bool) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let varz = Arc::new(format!(
        r#"{{"server_id":"N","server_name":"bench","version":"2.15.1","connections":{connections},"max_connections":65536}}"#
    ));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, varz.clone(), connections, distinct));
        }
    });
    url
}

async fn answer(mut stream: TcpStream, varz: Arc<String>, connections: u64, distinct: bool) -> Option<()> {
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.ok()?);
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        if request.starts_with(b"GET /varz") {
            let answer = format!("{head}Content-Length: {}\r\n\r\n{varz}", varz.len());
            stream.write_all(answer.as_bytes()).await.ok()?;
            continue;
        }
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.ok()?;
        let envelope = format!(
            r#"{{"server_id":"N","now":"2026-11-24T09:00:00Z","total":{connections},"connections":["#
        );
        stream.write_all(envelope.as_bytes()).await.ok()?;
        let mut piece = String::new();
        for serial in 0..connections {
            if serial > 0 {
                piece.push(',');
            }
            piece.push_str(&connection(serial, distinct));
            if piece.len() > 64 * 1024 {
                stream.write_all(piece.as_bytes()).await.ok()?;
                piece.clear();
            }
        }
        piece.push_str("]}");
        stream.write_all(piece.as_bytes()).await.ok()?;
        stream.shutdown().await.ok()?;
        return None;
    }
}

/// One connection as a server would describe it.
fn connection(serial: u64, distinct: bool) -> String {
    let name = if distinct {
        format!("client {serial} of nobody {serial:x}z")
    } else {
        format!("service-{}x", serial % NAMES)
    };
    let (b, c) = (serial % 7, serial % 49);
    format!(
        r#"{{"cid":{serial},"kind":"Client","type":"nats","ip":"10.0.{b}.{c}","port":50000,"start":"2026-11-23T08:28:32.619050074Z","last_activity":"2026-11-23T08:28:32.623864008Z","rtt":"115µs","uptime":"2s","idle":"2s","pending_bytes":0,"in_msgs":{serial},"out_msgs":1,"in_bytes":2,"out_bytes":2,"subscriptions":4,"name":"{name}","lang":"go","version":"1.50.0","authorized_user":"alice","account":"APP","name_tag":"APP"}}"#
    )
}
