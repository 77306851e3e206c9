//! Hostile alerts and hostile clients, as they are shown by a running daemon.

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::{HOSTILE, assert_harmless};
use crate::harness::daemon::{Daemon, run};
use crate::harness::document::{entries, groups};
use crate::harness::fake::{Answer, FakeMonitor};
use crate::harness::payload::{firing, notification};

/// How a terminal shows [`HOSTILE`].
const VISIBLE: &str = r#"=cmd|' /C calc'!A0,"x";<script>alert(1)</script>\u{202e}txt\u{1b}[2J\u{1b}[31m\r\nlevel=error\t\u{9b}31m\u{7f}\u{200b}\u{feff}\u{0}"#;

/// A client whose name begins like a formula and holds a separator.
const FORMULA: &str = "@SUM(A1),\"b\"";

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_of_hostile_names_is_kept_unchanged_and_shown_harmlessly() {
    let varz = json!({ "server_id": "N", "server_name": HOSTILE, "version": HOSTILE, "connections": 5 });
    let client = |name: &str| json!({ "name": name, "ip": HOSTILE, "account": HOSTILE, "lang": HOSTILE, "name_tag": HOSTILE, "kind": HOSTILE });
    let clients = [client(HOSTILE), client(HOSTILE), client(HOSTILE), client(FORMULA), client("＝1+1")];
    // one client more than there is: the look is incomplete, and the error is shown too
    let list = json!({ "total": 6, "connections": clients });
    let fake = FakeMonitor::start(move |path| {
        Answer::json(&if path == "/varz" { varz.to_string() } else { list.to_string() })
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::watching(directory.path(), [&fake.url]).await;
    let (status, text) = daemon.notify(notification(&[firing(HOSTILE, HOSTILE)])).await;
    assert_eq!(status, 202, "{text}");
    let incident = daemon.incident("an incident that was looked at", |it| it["headline"].is_string()).await;

    // programs get every character
    assert_eq!(incident["alert_name"], HOSTILE);
    assert_eq!(incident["alerts"][0]["labels"]["instance"], HOSTILE);
    for dimension in ["name", "ip", "account"] {
        assert!(groups(&incident, dimension).contains_key(HOSTILE), "{dimension}: {incident:#}");
    }
    assert_eq!(groups(&incident, "name")[FORMULA], 1);
    assert_eq!(groups(&incident, "server").into_keys().collect::<Vec<_>>(), [HOSTILE]);
    assert!(entries(&incident).all(|(_, text)| !text.contains(['\n', '\u{1b}', '\u{202e}'])), "{incident:#}");

    // people are shown what is there, in lines that are only ours
    let id = incident["id"].as_str().unwrap();
    let incidents = async |arguments: &[&str]| {
        let all = [&["incidents", "--server", daemon.url.as_str()], arguments].concat();
        let (code, out, errors) = run(&all).await;
        assert_eq!((code, errors.as_str()), (0, ""), "{arguments:?}");
        out
    };
    let list = incidents(&["list"]).await;
    assert_harmless(&list);
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.lines().all(|line| line.width() <= 160), "{list}");

    let all = "application,name,ip,subnet,account,user,library,kind,server,application/ip";
    let show = incidents(&["show", id, "--by", all]).await;
    assert_harmless(&show);
    assert!(!show.lines().any(|line| line.starts_with("level=") || line.starts_with("txt")), "{show}");
    let lines: Vec<&str> = show.lines().collect();
    assert!(lines[0].starts_with(&format!("6 connections on {VISIBLE}; 60 % are =cmd")), "{}", lines[0]);
    assert_eq!(lines[3], format!("alert     {VISIBLE}"));
    for begin in [VISIBLE.split_at(20).0, FORMULA, "＝1+1"] {
        assert!(lines.iter().any(|line| line.starts_with(begin)), "no {begin} in\n{show}");
    }
    let timeline: Vec<&str> = lines.iter().copied().skip_while(|line| *line != "TIMELINE").skip(1).collect();
    assert_eq!(timeline.len(), incident["timeline"].as_array().unwrap().len(), "{show}");

    let report = incidents(&["report", id]).await;
    assert_harmless(&report);
    // in a block of code markup is text
    let outside: String = report.split("```").step_by(2).collect();
    assert!(!outside.contains("<script>") && outside.contains("&lt;script&gt;"), "{report}");
    let report: Value = serde_json::from_str(&incidents(&["report", id, "-o", "json"]).await).unwrap();
    assert_eq!(report["alert_name"], HOSTILE);
    let server = daemon.url.as_str();
    let (code, culprits, _) = run(&["culprits", "--server", server, "--since", "1d"]).await;
    assert_eq!(code, 0);
    assert_harmless(&culprits);

    // spreadsheets are given no formula
    for csv in [incidents(&["list", "-o", "csv"]).await, incidents(&["show", id, "-o", "csv"]).await] {
        assert_harmless(&csv);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let cells: Vec<String> = reader
            .records()
            .flat_map(|record| record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert!(cells.iter().any(|cell| *cell == format!("'{VISIBLE}")), "{csv}");
        let formula = cells
            .iter()
            .find(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']));
        assert_eq!(formula, None);
    }

    // and the JSON of the command line is the API's
    let document: Value = serde_json::from_str(&incidents(&["show", id, "-o", "json"]).await).unwrap();
    assert_eq!(
        (&document["alert_name"], &document["alerts"]),
        (&incident["alert_name"], &incident["alerts"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_of_hostile_words_is_kept_unchanged_and_shown_harmlessly() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &[]).await;
    let token = std::fs::read_to_string(directory.path().join("data/operator-token")).unwrap();
    let pause = json!({ "name": HOSTILE, "reason": HOSTILE });
    let answer = daemon.client.post(daemon.at("api/v1/pauses")).bearer_auth(token.trim()).json(&pause);
    assert_eq!(answer.send().await.unwrap().status(), 201);

    let audit = async |arguments: &[&str]| {
        let all = [&["audit", "--server", daemon.url.as_str()], arguments].concat();
        let (code, out, errors) = run(&all).await;
        assert_eq!((code, errors.as_str()), (0, ""), "{arguments:?}");
        out
    };
    let list = audit(&["--act", "pause", "--actor", "local-operator"]).await;
    assert_harmless(&list);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("WHAT") && lines[1].starts_with("all clusters paused: =cmd"));
    assert!(lines.len() == 2 && lines.iter().all(|line| line.width() <= 160), "{list}");
    // programs get every character
    let document: Value = serde_json::from_str(&audit(&["-o", "json"]).await).unwrap();
    assert_eq!(document, daemon.get("api/v1/audit").await);
    assert_eq!(document["acts"][0]["subject"], HOSTILE);
    assert_eq!(audit(&["--subject", "night"]).await, "no acts\n");
    let (code, _, errors) = run(&["audit", "--server", daemon.url.as_str(), "--act", "paused"]).await;
    assert_eq!(code, 1);
    assert!(errors.starts_with("connwarden: act: `paused` is not one of "), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_none_cannot_write_on_the_terminal() {
    let problem =
        json!({ "title": HOSTILE, "status": 500, "detail": HOSTILE, "request_id": HOSTILE }).to_string();
    let unreadable = json!({ "incidents": [{ "id": "0", "mapped_by": HOSTILE }] }).to_string();
    for answer in [
        Answer::http("500 Internal Server Error", &[], &problem),
        Answer::http("500 Internal Server Error", &[], HOSTILE),
        Answer::json(&unreadable),
        Answer::json(HOSTILE),
    ] {
        let fake = FakeMonitor::start(move |_| answer.clone()).await;
        let (code, out, errors) = run(&["incidents", "--server", fake.url.as_str(), "list"]).await;
        assert_eq!((code, out.as_str()), (1, ""));
        assert_harmless(&errors);
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.starts_with("connwarden: "), "{errors}");
    }
}
