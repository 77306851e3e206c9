//! What is recommended can be pasted: each snippet is given to the program it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use connwarden::diagnose::recommendations;
use connwarden::model::alert::{Alert, AlertStatus};
use connwarden::model::application::ApplicationRules;
use connwarden::model::breakdown::{Breakdown, Breakdowns, Dimension, Figures, Group};
use connwarden::model::closed::{ClosedConnections, ReasonCount, is_refusal};
use connwarden::model::diagnosis::{
    Culprit, Finding, FindingKind, MitigationStep, Recommendation, Severity, Snippet, Subject,
};
use connwarden::model::diagnosis_rules::DiagnosisRules;
use connwarden::model::evidence::{AlertEvidence, Evidence, Looked};
use connwarden::model::history::History;
use connwarden::model::ids::IncidentId;
use connwarden::model::labels::Labels;
use connwarden::model::member::Member;
use connwarden::model::snapshot::{Coverage, ServerCoverage, Snapshot};
use connwarden::model::vitals::ServerVitals;
use jiff::Timestamp;
use url::Url;
use uuid::Uuid;

use crate::harness::daemon::run;
use crate::harness::nats::{NEWEST, NatsServer, OLDER};
use crate::harness::{tool, yaml};

/// What nobody should have to run, in a name.
const HOSTILE: &str = "a'\"; touch pwned; $(touch pwned) `touch pwned` {{ 1 | fail }} # \\ }";

/// A name of letters.
const PLAIN: &str = "orders-api";

fn finding(kind: FindingKind, dimension: Dimension, key: &str) -> Finding {
    Finding {
        kind,
        severity: Severity::Warning,
        confidence: 0.9,
        summary: format!("{key} is so"),
        subject: Some(Subject::new(dimension, key)),
        since: None,
        evidence: Vec::new(),
        confirm: String::new(),
        refute: String::new(),
    }
}

fn culprit(key: &str) -> Culprit {
    Culprit {
        dimension: Dimension::Application,
        key: key.to_owned(),
        label: None,
        connections: 900,
        grown_by: Some(600),
        explained_share: 0.9,
        since: None,
        without_traffic_share: 1.0,
        addresses: Vec::new(),
        first_seen_at: None,
        owner: None,
        summary: String::new(),
    }
}

fn breakdown(groups: &[(&str, u64, Option<&str>)]) -> Breakdown {
    let groups = groups.iter().map(|(key, connections, label)| Group {
        key: (*key).to_owned(),
        label: label.map(str::to_owned),
        figures: Figures { connections: *connections, distinct_ips: 1, ..Figures::default() },
        ..Group::default()
    });
    Breakdown { groups: groups.collect(), ..Breakdown::default() }
}

/// A cluster in which everything is wrong at once; one server of it is at `monitor`.
fn evidence(
    monitor: &Url,
    servers: u64,
    max_connections: i64,
    account: (&str, Option<&str>),
    alert: &str,
) -> Evidence {
    let at: Timestamp = "2026-11-24T15:00:00Z".parse().unwrap();
    let servers = (1..=servers).map(|n| {
        let vitals = ServerVitals {
            at: Some(at),
            started_at: Some(Timestamp::UNIX_EPOCH),
            connections: 900,
            cpu_percent: Some(190.0),
            cores: Some(2),
            memory_bytes: Some(950 << 20),
            memory_limit_bytes: Some(1_000 << 20),
            ping_interval_ms: Some(120_000),
            ping_max: Some(2),
            write_deadline_ms: Some(2_000),
            auth_timeout_ms: Some(2_000),
            max_pending_bytes: Some(1 << 26),
            ..ServerVitals::default()
        };
        ServerCoverage {
            url: Some(if n == 1 {
                monitor.clone()
            } else {
                format!("http://nats-{n}:8222").parse().unwrap()
            }),
            via: None,
            name: Some(format!("n{n}")),
            server_id: None,
            version: Some("2.15.1".to_owned()),
            seen: 900,
            connz_total: Some(900),
            varz_connections: Some(900),
            max_connections: Some(max_connections),
            vitals: Some(vitals),
            duration_ms: 1,
            bytes: 1,
            error: None,
            counted_at: None,
        }
    });
    let reasons = ["Stale Connection", "Authentication Timeout", "Authentication Failure"];
    let reasons = reasons.map(|reason| ReasonCount {
        reason: reason.to_owned(),
        connections: 50,
        refused: is_refusal(reason),
    });
    let languages = ["go 1", "python3 2", "java 2", "nats.js 3", "rust 0", ".NET 2"];
    let breakdowns: Breakdowns = [
        (Dimension::Account.into(), breakdown(&[(account.0, 900, account.1)])),
        (Dimension::Library.into(), breakdown(&languages.map(|lang| (lang, 1, None)))),
    ]
    .into();
    let labels: Labels = [("alertname".to_owned(), alert.to_owned())].into_iter().collect();
    let alert = Alert {
        fingerprint: labels.fingerprint(),
        labels,
        annotations: Labels::default(),
        status: AlertStatus::Firing,
        starts_at: at,
        generator_url: String::new(),
        value: None,
    };
    Evidence {
        incident: IncidentId(Uuid::nil()),
        account_limits: BTreeMap::new(),
        owners: Arc::default(),
        at,
        opened_at: at,
        alerts: vec![AlertEvidence { member: Member::join(alert, None, at), threshold: None }],
        applications: Arc::new(ApplicationRules::default()),
        snapshot: Arc::new(Snapshot {
            cluster: "prod".to_owned(),
            taken_at: at,
            coverage: Coverage::of(servers.collect(), 1),
            breakdowns,
            closed: Some(ClosedConnections { reasons: reasons.to_vec(), ..ClosedConnections::default() }),
        }),
        churn: Vec::new(),
        earlier_vitals: BTreeMap::new(),
        history: Looked::Unseen("none".to_owned()),
        first_seen: BTreeMap::new(),
        changes: Looked::Unseen("none".to_owned()),
        metrics: Looked::Unseen("none".to_owned()),
        logs: Looked::Unseen("none".to_owned()),
        metric_prefix: "gnatsd".to_owned(),
    }
}

/// A finding of a kind, about whom it is about.
fn about(kind: FindingKind, account: &str, application: &str) -> Finding {
    let (dimension, key) = match kind {
        FindingKind::NearLimit
        | FindingKind::RefusedAtLimit
        | FindingKind::RestartHerd
        | FindingKind::Imbalance
        | FindingKind::SaturatedValue
        | FindingKind::ResourcePressure => (Dimension::Server, "n1"),
        FindingKind::NearAccountLimit => (Dimension::Account, account),
        FindingKind::SharedAddress | FindingKind::Outlier => (Dimension::Ip, "10.0.0.1"),
        _ => (Dimension::Application, application),
    };
    finding(kind, dimension, key)
}

/// Everything that is ever recommended, for plain and for hostile names.
fn everything(monitor: &Url) -> Vec<Recommendation> {
    let public_key = format!("A{}", "B".repeat(55));
    let mut all = Vec::new();
    for (account, alert, application) in [
        (("APP", None), "NatsHighNumberOfConnections", PLAIN),
        ((HOSTILE, None), HOSTILE, HOSTILE),
        ((public_key.as_str(), Some(HOSTILE)), "a\nb\u{202e}\u{7f}: [", "a\nb\u{202e}"),
    ] {
        for kind in FindingKind::ALL {
            for (servers, limit) in [(1, 1_000), (3, 1_000), (1, 0)] {
                let evidence = evidence(monitor, servers, limit, account, alert);
                let finding = about(kind, account.0, application);
                let rules = DiagnosisRules::default();
                all.extend(recommendations(&evidence, &[finding], &[culprit(application)], &rules));
            }
        }
    }
    all
}

/// Every snippet of a place, once.
fn snippets<'a>(all: &'a [Recommendation], place: &str) -> BTreeSet<&'a str> {
    let snippets = all.iter().flat_map(|recommendation| &recommendation.snippets);
    let found: BTreeSet<&str> =
        snippets.filter(|snippet| snippet.place == place).map(|snippet| snippet.text.as_str()).collect();
    assert!(!found.is_empty(), "no snippet for {place}");
    found
}

/// Runs a program in a directory; what it wrote, and whether it was content.
fn program(directory: &Path, program: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.success(), text)
}

fn somewhere() -> Url {
    "http://nats-1:8222".parse().unwrap()
}

#[test]
fn servers_accept_the_recommended_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let all = everything(&somewhere());
    let found = snippets(&all, "nats-server.conf");
    for wanted in [
        "max_connections: ",
        "limits { max_connections: ",
        "ping_interval: ",
        "timeout: ",
        "lame_duck_duration: ",
        "write_deadline: ",
        "routes: [",
    ] {
        assert!(found.iter().any(|text| text.contains(wanted)), "{wanted} is in none of {found:#?}");
    }
    for text in found {
        std::fs::write(directory.path().join("nats-server.conf"), text).unwrap();
        for line in [OLDER, NEWEST] {
            let server = tool(&format!("nats-server-{line}"));
            let (content, said) = program(directory.path(), &server, &["-t", "-c", "nats-server.conf"]);
            assert!(content, "{line} does not accept\n{text}\n{said}");
        }
    }
}

#[test]
fn prometheus_accepts_the_recommended_rules() {
    let directory = tempfile::tempdir().unwrap();
    let all = everything(&somewhere());
    for text in snippets(&all, "prometheus rules") {
        std::fs::write(directory.path().join("rules.yml"), text).unwrap();
        let (content, said) = program(directory.path(), &tool("promtool"), &["check", "rules", "rules.yml"]);
        assert!(content, "promtool does not accept\n{text}\n{said}");
        // the name of an alert is one string, whatever is in it
        let rules = yaml::document(text);
        let rule = &rules["groups"][0]["rules"][0];
        assert!(rule["alert"].is_string() && rule["annotations"].is_object(), "{rule}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recommended_commands_are_commands_and_nothing_in_a_name_is_one() {
    let nats = NatsServer::start(NEWEST, "").await;
    let directory = tempfile::tempdir().unwrap();
    let all = everything(&nats.monitor);
    // stand-ins that write down what they are given
    let stand_in = "#!/bin/sh\nprintf '%s\\0' \"$0\" \"$@\" >> called\nprintf '\\n' >> called\n";
    let path = directory.path().join("bin");
    std::fs::create_dir(&path).unwrap();
    for name in ["nats-server", "nsc", "pidof", "grep", "connwarden"] {
        let file = path.join(name);
        std::fs::write(&file, stand_in).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut inspected = 0;
    for text in snippets(&all, "shell") {
        let output = Command::new("/bin/sh")
            .args(["-euc", text])
            .env("PATH", &path)
            .current_dir(directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{text}\n{said}");
        assert!(!directory.path().join("pwned").exists(), "{text}");
        // connwarden itself is at hand
        if let Some(arguments) =
            text.strip_prefix("connwarden ").filter(|text| text.matches("http").count() == 1)
        {
            let arguments: Vec<&str> = arguments.split(' ').collect();
            let (code, _, errors) = run(&arguments).await;
            assert_eq!((code, errors.as_str()), (0, ""), "{text}");
            inspected += 1;
        }
    }
    assert!(inspected > 0);
    let called = std::fs::read_to_string(directory.path().join("called")).unwrap();
    // the hostile name reached nsc as one word
    // and connwarden as one too
    let planned = format!("plan\0kick\0--incident\0{}\0--application={HOSTILE}\0--no-traffic\0", Uuid::nil());
    assert!(called.contains(&planned), "{called}");
    assert!(called.contains(&format!("nsc\0edit\0account\0--name\0{HOSTILE}\0--conns\0900\0")), "{called}");
}

#[test]
fn other_snippets_are_what_they_claim_to_be() {
    let all = everything(&somewhere());
    for text in snippets(&all, "systemd drop-in") {
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("[Service]"));
        assert!(lines.all(|line| line.split_once('=').is_some()), "{text}");
    }
    for text in snippets(&all, "Kubernetes container") {
        assert!(yaml::document(text)["resources"]["limits"].is_object(), "{text}");
    }
    for text in snippets(&all, "client configuration") {
        assert!(text.split(',').all(|url| Url::parse(url).is_ok_and(|url| url.scheme() == "nats")), "{text}");
    }
    let tested = ["nats-server.conf", "prometheus rules", "shell", "systemd drop-in", "Kubernetes container"];
    let is_known = |snippet: &&Snippet| {
        tested.contains(&snippet.place.as_str())
            || snippet.place == "client configuration"
            // no compiler of theirs is at hand
            || snippet.place.starts_with("client code, ")
    };
    let unknown: Vec<_> =
        all.iter().flat_map(|it| &it.snippets).filter(|snippet| !is_known(snippet)).collect();
    assert!(unknown.is_empty(), "nobody checks these: {unknown:?}");
}

#[test]
fn every_finding_has_a_recommendation_and_every_step_of_the_runbook_is_used() {
    let steps: BTreeSet<MitigationStep> = everything(&somewhere()).iter().map(|it| it.step).collect();
    assert_eq!(steps.len(), 6);
    let mut evidence = evidence(&somewhere(), 3, 1_000, ("APP", None), "A");
    // that samples are missing is not a reason of its own here
    evidence.history = Looked::Seen(History::default());
    for kind in FindingKind::ALL {
        let finding = about(kind, "APP", PLAIN);
        let found = recommendations(&evidence, &[finding], &[], &DiagnosisRules::default());
        assert!(!found.is_empty(), "{kind}");
    }
}
