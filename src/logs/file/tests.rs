use std::path::Path;
use std::time::Duration;

use super::*;
use crate::model::log_evidence::{LogEvidence, LogKind};

const MOST: u64 = 1 << 20;

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

/// A refusal so many minutes ago, as a server in a zone so many hours from UTC writes it.
fn refusal(minutes: i64, zone: i64) -> String {
    let local = (ago(minutes) + SignedDuration::from_hours(zone)).strftime("%Y/%m/%d %H:%M:%S.000000");
    format!("[1] {local} [ERR] 10.0.0.1:1 - cid:7 - maximum connections exceeded\n")
}

fn write(path: &Path, text: impl AsRef<[u8]>, changed: Timestamp) {
    std::fs::write(path, text).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    let since_epoch = Duration::from_secs(changed.as_second().unsigned_abs());
    file.set_modified(SystemTime::UNIX_EPOCH + since_epoch).unwrap();
}

/// Reads the last hour.
fn last_hour(path: &Path, most: u64) -> Result<LogEvidence, String> {
    let mut tally = Tally::new(ago(60), now());
    read(path, Some("n1"), most, &mut tally);
    tally.evidence()
}

/// When the refusals were that counted, in minutes ago.
fn refused(evidence: &LogEvidence) -> Vec<i64> {
    let count = evidence.kinds.iter().find(|count| count.kind == LogKind::ServerLimit);
    let minutes = count.map(|count| count.per_minute.as_slice()).unwrap_or_default();
    minutes.iter().map(|(at, _)| now().duration_since(*at).as_mins()).collect()
}

#[test]
fn the_end_of_a_file_is_read_whatever_the_zone_of_the_server_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nats.log");
    for zone in [-9, 0, 2, 13] {
        let text: String = [90, 59, 30, 1].map(|minutes| refusal(minutes, zone)).concat();
        write(&path, text, ago(1));
        let evidence = last_hour(&path, MOST).unwrap();
        assert_eq!((refused(&evidence), evidence.complete), (vec![59, 30, 1], true), "{zone}");
        assert_eq!(evidence.problems, [""; 0]);
        assert_eq!(evidence.kinds[0].servers["n1"], 3);
    }
}

#[test]
fn times_that_fit_no_zone_are_taken_as_utc_and_that_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nats.log");
    // somebody has copied the file
    write(&path, refusal(30, 0), ago(23));
    let evidence = last_hour(&path, MOST).unwrap();
    assert_eq!(refused(&evidence), [30]);
    let [problem] = evidence.problems.as_slice() else { panic!("{evidence:?}") };
    assert!(
        problem.ends_with("nats.log do not fit the time it was last written, and are taken as UTC"),
        "{problem}"
    );
    assert!(!evidence.complete);
}

#[test]
fn of_a_large_file_only_the_end_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nats.log");
    let text: String = (0..50).rev().map(|minutes| refusal(minutes, 0)).collect();
    write(&path, &text, now());
    let evidence = last_hour(&path, text.len() as u64 / 5).unwrap();
    assert_eq!((refused(&evidence).first(), evidence.complete), (Some(&8), false));
    // the part that was read reaches back far enough
    let text: String = (0..200).rev().map(|minutes| refusal(minutes, 0)).collect();
    write(&path, &text, now());
    let evidence = last_hour(&path, text.len() as u64 / 2).unwrap();
    assert_eq!((refused(&evidence).len(), evidence.complete), (61, true));
}

#[test]
fn rotated_files_are_read_too() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    write(&file("nats.log"), refusal(1, 2), ago(1));
    write(&file("nats.log.2026.11.24.11.50.00.000000000"), refusal(10, 2), ago(10));
    write(&file("nats.log-20261124"), refusal(70, 2) + &refusal(40, 2), ago(40));
    write(&file("nats.log.2"), refusal(45, 2), ago(45));
    write(&file("nats.log.old"), refusal(100, 2), ago(100));
    write(&file("nats.logger"), refusal(5, 2), ago(5));
    let evidence = last_hour(&file("nats.log"), MOST).unwrap();
    // the third reaches back far enough, so the fourth is not asked
    assert_eq!((refused(&evidence), evidence.complete), (vec![40, 10, 1], true));

    // what is packed is not read, and what is missing is told
    std::fs::remove_file(file("nats.log-20261124")).unwrap();
    std::fs::remove_file(file("nats.log.2")).unwrap();
    write(&file("nats.log.1.gz"), "packed", ago(40));
    let evidence = last_hour(&file("nats.log"), MOST).unwrap();
    assert_eq!((refused(&evidence), evidence.complete), (vec![10, 1], false));
}

#[test]
fn a_young_file_is_complete_with_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nats.log");
    write(&path, refusal(5, 0), ago(5));
    assert!(last_hour(&path, MOST).unwrap().complete);
    write(&path, "", ago(5));
    let evidence = last_hour(&path, MOST).unwrap();
    assert_eq!((evidence.kinds.len(), evidence.complete), (0, true));
}

#[test]
fn what_cannot_be_read_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("nats.log");
    let error = last_hour(&missing, MOST).unwrap_err();
    assert_eq!(error, format!("cannot read {}: No such file or directory (os error 2)", missing.display()));
    let error = last_hour(directory.path(), MOST).unwrap_err();
    assert_eq!(error, format!("cannot read {}: it is no regular file", directory.path().display()));
    assert!(last_hour(Path::new("/dev/zero"), MOST).unwrap_err().ends_with("it is no regular file"));
}

#[test]
fn bytes_that_are_no_text_and_lines_of_containers_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    let mut bytes = b"\xff\xfe\0\n".to_vec();
    // the time of the wrapper counts, not the one inside
    bytes.extend(format!("{} stderr F {}", ago(20), refusal(20, 5)).bytes());
    let docker =
        serde_json::json!({ "log": refusal(10, 5), "stream": "stderr", "time": ago(10).to_string() });
    bytes.extend(format!("{docker}\n[1] half a l").bytes());
    write(&path, bytes, ago(3));
    let evidence = last_hour(&path, MOST).unwrap();
    assert_eq!((refused(&evidence), evidence.lines_read), (vec![20, 10], 4));
    assert_eq!(evidence.problems, [""; 0]);
}
