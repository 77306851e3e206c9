//! The daemon's log, while everybody is hostile.

use connwarden::model::printable::visible;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{HOSTILE, assert_harmless};
use crate::harness::daemon::Daemon;
use crate::harness::eventually;
use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::payload::{firing, notification};

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_for_people_are_plain_text_whatever_is_sent() {
    let lines = lines_of_a_hostile_day("text").await;
    for line in &lines {
        assert!(
            line.starts_with("2") && [" DEBUG ", " INFO ", " WARN "].iter().any(|level| line.contains(level)),
            "{line:?}"
        );
    }
    let said = |text: &str| {
        assert!(lines.iter().any(|line| line.contains(text)), "nobody says {text:?}: {lines:#?}")
    };
    said(r#"path="/a\u{202e}b"#);
    said(r"\u{1b}[2J");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_for_machines_say_what_was_sent() {
    let lines = lines_of_a_hostile_day("json").await;
    let documents: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let paths = documents.iter().filter_map(|document| document["span"]["path"].as_str());
    let paths: Vec<&str> = paths.collect();
    assert!(paths.contains(&"/a\u{202e}b\u{9b}\u{feff}"), "{paths:?}");
    let name = documents
        .iter()
        .find_map(|document| document["nats.server"].as_str().filter(|it| it.starts_with("=cmd")));
    assert_eq!(name, Some(&*visible(HOSTILE)));
}

/// Lets a daemon meet hostile servers, senders and requests; the lines of its log.
async fn lines_of_a_hostile_day(format: &str) -> Vec<String> {
    let varz = json!({ "server_id": HOSTILE, "server_name": HOSTILE, "version": HOSTILE, "connections": 1 });
    let liar = FakeMonitor::start(move |path| match path {
        "/varz" => Answer::json(&varz.to_string()),
        _ => Answer::json(&format!(r#"{{"connections":[{{"name":{}}},{{"in_msgs":{0}}}]}}"#, json!(HOSTILE))),
    })
    .await;
    let broken =
        FakeMonitor::start(|_| Answer::http("500 Internal Server Error", &[("X", "\u{202e}")], HOSTILE))
            .await;
    let directory = tempfile::tempdir().unwrap();
    let arguments = [
        "--log.level",
        "debug",
        "--log.format",
        format,
        "--nats.monitor",
        liar.url.as_str(),
        "--nats.monitor",
        broken.url.as_str(),
    ];
    let daemon = Daemon::start(directory.path(), &arguments.map(str::to_owned)).await;

    let long = HOSTILE.repeat(50);
    let mut alert = firing(&long, &long);
    alert["labels"][&long] = json!(long);
    let body = notification(std::slice::from_ref(&alert));
    alert["status"] = json!(HOSTILE);
    let hopeless = notification(&[alert]);
    let requests = [
        // a header holds any byte but control characters
        request(
            "POST",
            "/api/v1/webhook/alertmanager",
            "User-Agent: \u{202e}\u{9b}31m\u{feff} evil\r\nReferer: \u{202e}",
            body.as_bytes(),
        ),
        request("POST", "/api/v1/webhook/alertmanager", "Content-Type: \u{202e}", hopeless.as_bytes()),
        request("PUT", "/api/v1/webhook/alertmanager", "Content-Encoding: \u{202e}\u{9b}31m", b"x"),
        request("GET", "/a\u{202e}b\u{9b}\u{feff}", "", b""),
        request(
            "GET",
            "/api/v1/clusters/%1b%5b2J%0alevel=error%e2%80%ae/breakdown?by=%1b%0a%e2%80%ae",
            "",
            b"",
        ),
        request("GET", "/api/v1/incidents?state=%1b%0a%e2%80%ae&x", "", b""),
        request("GET", "/api/v1/incidents/%1b%0a%e2%80%ae", "", b""),
        request("EVIL\u{1b}", "/", "", b""),
        b"\x1b[2J\r\nlevel=error\r\n\r\n".to_vec(),
        "POST / HTTP/1.1\r\nHost: \u{202e}\u{9b}31m\u{feff} evil\r\nConnection: close\r\n\r\n".into(),
        b"POST / HTTP/1.1\r\nHost: a\"%1b%0a<b>\r\nConnection: close\r\n\r\n".to_vec(),
    ];
    for request in requests {
        let mut stream = TcpStream::connect(("127.0.0.1", daemon.url.port().unwrap())).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 "), "{}", answer.escape_ascii());
    }
    daemon.incident("an incident that was looked at", |it| it["headline"].is_string()).await;
    let log = eventually("what is wrong with the servers", async || {
        let log = daemon.process.log();
        (log.contains("does not say who it is") && log.contains("refused a notification")).then_some(log)
    })
    .await;
    assert_harmless(&log);
    log.lines().map(str::to_owned).collect()
}

/// A request, byte by byte: clients of our own would refuse to send some of them.
fn request(method: &str, path: &str, header: &str, body: &[u8]) -> Vec<u8> {
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
