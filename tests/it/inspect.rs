//! `connwarden inspect`: who holds the connections, straight from the servers, whatever the clients are called.

use std::collections::BTreeMap;
use std::process::Stdio;

use regex::{Captures, Regex};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::harness::PATIENCE;
use crate::harness::daemon::{Daemon, program, run};
use crate::harness::nats::{NEWEST, NatsServer};
use crate::swarm::{ClientSpec, Options, Population, Swarm};

/// A port where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

/// How wide tables are that go into a pipe.
const WIDTH: usize = 160;

/// Names that want to deceive whoever looks at them; the first is none at all.
fn hostile_names() -> Vec<String> {
    let names = [
        "",
        "(unnamed)",
        "\u{1b}[2J\u{1b}[31mred\u{7}",
        "two\r\nlines",
        "tab\tulator",
        "\u{202e}desrever",
        "zero\u{200b}width\u{feff}",
        "<script>alert(1)</script>",
        "a,b;c",
        "say \"hi\" and 'ho'",
        "=cmd|' /C calc'!A0",
        "+1",
        "-1",
        "@SUM(A1)",
        "🚀 日本 größe",
    ];
    let mut names: Vec<String> = names.map(str::to_owned).to_vec();
    names.push("x".repeat(300));
    names
}

/// A server on which every hostile name has one connection.
async fn hostile_server() -> (NatsServer, Swarm) {
    let nats = NatsServer::start(NEWEST, "").await;
    let clients = hostile_names().into_iter().map(|name| ClientSpec::new(nats.clients).name(name));
    let swarm = Swarm::open(clients, Options::default()).await.unwrap();
    (nats, swarm)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_shows_hostile_names_harmlessly() {
    let (nats, swarm) = hostile_server().await;
    let (code, table, errors) = run(&["inspect", nats.monitor.as_str(), "--by", "name,ip"]).await;
    assert_eq!((code, errors.as_str()), (0, ""));

    let unseemly = |character: char| {
        (character.is_control() && character != '\n')
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert_eq!(table.chars().find(|character| unseemly(*character)), None, "{table:?}");
    for line in table.lines() {
        assert!(line.width() <= WIDTH, "{} columns: {line}", line.width());
    }
    let shown = [
        r"\u{1b}[2J\u{1b}[31mred\u{7} ",
        r"two\r\nlines ",
        r"tab\tulator ",
        r"\u{202e}desrever ",
        r"zero\u{200b}width\u{feff} ",
        "<script>alert(1)</script> ",
        "=cmd|' /C calc'!A0 ",
        "🚀 日本 größe ",
        "xxx… ",
    ];
    for name in shown {
        assert!(table.contains(name), "no {name} in\n{table}");
    }
    // who has no name, and who calls itself that
    for name in ["(unnamed) ", "\"(unnamed)\" "] {
        assert_eq!(table.lines().filter(|line| line.starts_with(name)).count(), 1, "{name}:\n{table}");
    }
    assert!(table.contains("127.0.0.1 "), "{table}");
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_of_hostile_names_reads_back_and_holds_no_formula() {
    let (nats, swarm) = hostile_server().await;
    let (code, text, errors) =
        run(&["inspect", nats.monitor.as_str(), "--by", "name,application", "-o", "csv"]).await;
    assert_eq!((code, errors.as_str()), (0, ""));

    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headings = reader.headers().unwrap().clone();
    assert_eq!(
        headings.iter().take(5).collect::<Vec<_>>(),
        ["dimension", "key", "absent", "label", "connections"]
    );
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut keys = Vec::new();
    for record in reader.records() {
        // every record has as many fields as there are headings, or this fails
        let record = record.unwrap();
        for cell in &record {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "a formula: {cell:?}");
            assert!(!cell.chars().any(char::is_control), "{cell:?}");
        }
        *counts.entry(record[0].to_owned()).or_default() += record[4].parse::<u64>().unwrap();
        keys.push(record[1].to_owned());
    }
    let all = hostile_names().len() as u64;
    assert_eq!(counts, BTreeMap::from([("application".to_owned(), all), ("name".to_owned(), all)]));
    for key in
        ["a,b;c", "say \"hi\" and 'ho'", "'=cmd|' /C calc'!A0", "'+1", "'-1", "'@SUM(A1)", r"two\r\nlines"]
    {
        assert!(keys.iter().any(|own| own == key), "no {key} among {keys:?}");
    }
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_the_document_of_the_api() {
    let (nats, swarm) = hostile_server().await;
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::watching(directory.path(), [&nats.monitor]).await;

    let query = "application,name,ip,subnet,account,library,kind,server";
    let (code, text, _) = run(&["inspect", nats.monitor.as_str(), "--by", query, "--output", "json"]).await;
    assert_eq!(code, 0);
    let mut inspected: Value = serde_json::from_str(&text).unwrap();
    let mut served = daemon.get(&format!("api/v1/clusters/nats/breakdown?by={query}")).await;
    for document in [&mut inspected, &mut served] {
        steady(document);
    }
    assert_eq!(inspected, served);

    let names = inspected["breakdowns"]["name"]["groups"].as_array().unwrap();
    for name in hostile_names() {
        let cut: String = name.chars().take(256).collect();
        let (key, absent) = if name.is_empty() { ("(unnamed)", true) } else { (cut.as_str(), false) };
        let same =
            |group: &&Value| group["key"] == key && group["absent"].as_bool().unwrap_or(false) == absent;
        assert_eq!(names.iter().filter(same).count(), 1, "{name:?} is not in {names:?}");
    }
    swarm.close().await;
}

/// Takes out of a document what differs from look to look.
fn steady(document: &mut Value) {
    match document {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "taken_at" | "duration_ms" | "bytes" | "at" | "cpu_percent" | "memory_bytes" => {
                        *value = json!("…")
                    }
                    _ => steady(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(steady),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_population_fits_one_screen() {
    let nats = NatsServer::start(NEWEST, "").await;
    let model = ClientSpec::new(nats.clients).subscriptions(2);
    let population = Population::new(model, 20).names([("orders-api-{pod}", 6), ("billing", 3), ("", 1)]);
    let swarm = Swarm::open(population.plan().unwrap(), Options::default()).await.unwrap();

    let (code, table, _) =
        run(&["inspect", nats.monitor.as_str(), "--by", "application,name", "--top", "2"]).await;
    assert_eq!(code, 0);
    insta::assert_snapshot!(redacted(&table, &nats), @r"
    SERVER  VERSION  SEEN  TOTAL  LIMIT  TOOK  STATE
    nats-test http://127.0.0.1:PORT  2.15.1  20  20  65,536  ? ms  complete

    APPLICATION                                  CONNECTIONS  SHARE  IDLE  UNUSED  IPS  SUBS  PENDING  OLDEST  NEWEST
    orders-api  e.g. orders-api-rrnp762pl-?????           12   60 %     0       0    1    24        0      ?s      ?s
    billing                                                6   30 %     0       0    1    12        0      ?s      ?s
    … 1 more                                               2   10 %     0       0    1     4        0      ?s      ?s
    total                                                 20  100 %     0       0    1    40        0      ?s      ?s

    NAME       CONNECTIONS  SHARE  IDLE  UNUSED  IPS  SUBS  PENDING  OLDEST  NEWEST
    billing              6   30 %     0       0    1    12        0      ?s      ?s
    (unnamed)            2   10 %     0       0    1     4        0      ?s      ?s
    … 12 more           12   60 %     0       0  >=1    24        0      ?s      ?s
    total               20  100 %     0       0    1    40        0      ?s      ?s
    ");
    swarm.close().await;
}

/// Replaces the port, the time that the look took, the ages, and which client came first and became the example. The
/// widths of the first table depend on them.
fn redacted(table: &str, nats: &NatsServer) -> String {
    let (coverage, breakdowns) = table.split_once("\n\n").unwrap();
    let coverage = coverage.replace(&format!(":{}", nats.monitor.port().unwrap()), ":PORT");
    let coverage = Regex::new(r"\d+ ms").unwrap().replace_all(&coverage, "? ms");
    let coverage = Regex::new(" {2,}").unwrap().replace_all(&coverage, "  ");
    let breakdowns =
        Regex::new(r"(e\.g\. orders-api-\w+)-\w{5}").unwrap().replace_all(breakdowns, "$1-?????");
    let ages = Regex::new(r" +\d+[sm]\b").unwrap();
    let same_width = |age: &Captures<'_>| format!("{:>width$}", "?s", width = age[0].len());
    format!("{coverage}\n\n{}", ages.replace_all(&breakdowns, same_width))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_wrongly_is_explained() {
    let dimensions = "there are application, name, ip, subnet, account, user, library, kind, server";
    let cases: [(&[&str], i32, &str); 7] = [
        (
            &["inspect", NOBODY, "--by", "name,port"],
            2,
            "unknown dimension `port`; there are application, name",
        ),
        (&["inspect", NOBODY, "--by", ""], 2, dimensions),
        (&["inspect", NOBODY, "--top=-1"], 2, "--top"),
        (&["inspect"], 2, "<URL>"),
        (
            &["inspect", "nats-1"],
            2,
            "expected a monitoring address such as `http://nats-1:8222` or `nats-1:8222`, found `nats-1` without a port",
        ),
        (&["inspect", "nats://nats-1:4222"], 2, "that is where clients connect"),
        (
            &["inspect", NOBODY, "--config.file", "/nowhere/connwarden.yml"],
            1,
            "cannot read the configuration",
        ),
    ];
    for (arguments, expected, message) in cases {
        let (code, out, errors) = run(arguments).await;
        assert_eq!((code, out.as_str()), (expected, ""), "{arguments:?}: {errors}");
        assert!(errors.contains(message), "{arguments:?}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_status_says_how_much_was_seen() {
    let nats = NatsServer::start(NEWEST, "").await;
    let swarm =
        Swarm::open([ClientSpec::new(nats.clients).name("orders")], Options::default()).await.unwrap();

    let (code, table, _) = run(&["inspect", NOBODY]).await;
    assert_eq!(code, 1, "{table}");
    assert!(
        table.contains("UNREACHABLE") && table.contains("no server let us see its connections"),
        "{table}"
    );
    assert!(table.contains("! ") && table.contains("refused"), "{table}");

    let (code, table, _) = run(&["inspect", NOBODY, nats.monitor.as_str()]).await;
    assert_eq!(code, 3, "{table}");
    assert!(
        table.contains("orders") && table.contains("INCOMPLETE: the tables hold only what was seen"),
        "{table}"
    );

    // a spreadsheet has no place for it
    let (code, csv, errors) = run(&["inspect", NOBODY, nats.monitor.as_str(), "-o", "csv"]).await;
    assert_eq!(code, 3, "{csv}");
    assert!(csv.contains("orders") && !csv.contains("refused"), "{csv}");
    assert!(errors.starts_with("connwarden: ") && errors.contains("refused"), "{errors}");

    // the same server twice, in whatever form, is one server
    let short = format!("127.0.0.1:{}", nats.monitor.port().unwrap());
    let (code, table, _) = run(&["inspect", nats.monitor.as_str(), &short]).await;
    assert_eq!((code, table.matches("nats-test").count()), (0, 1), "{table}");
    swarm.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_may_stop_early() {
    let nats = NatsServer::start(NEWEST, "").await;
    for output in ["table", "json", "csv"] {
        let mut child = tokio::process::Command::new(program())
            .args(["inspect", nats.monitor.as_str(), "--output", output])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), errors.as_str()), (Some(0), ""), "{output}");
    }
}
