use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Counts the lines of a day.
fn tally() -> Tally {
    Tally::new(at("2026-11-23T00:00:00Z"), at("2026-11-23T23:59:59Z"))
}

fn counted(lines: &str) -> LogEvidence {
    let mut tally = tally();
    for line in lines.lines() {
        tally.count(line, None, None, SignedDuration::ZERO);
    }
    tally.read("a file".to_owned(), true);
    tally.evidence().unwrap()
}

/// The lines of each kind, the most first.
fn kinds(evidence: &LogEvidence) -> Vec<(LogKind, u64)> {
    evidence.kinds.iter().map(|count| (count.kind, count.lines)).collect()
}

macro_rules! captures {
    ($name:literal, $($version:literal),*) => {
        [$(($version, include_str!(concat!("../../../tests/fixtures/nats-logs/", $version, "/", $name, ".txt")))),*]
    };
}

#[test]
fn limits_are_seen_in_all_versions() {
    use LogKind::{AccountLimit, ServerLimit, Trimmed};
    for (version, log) in captures!("log-max-connections", "2.9.10", "2.10.26", "2.11.11", "2.12.8", "2.15.1")
    {
        assert_eq!(kinds(&counted(log)), [(ServerLimit, 6), (Trimmed, 2)], "{version}");
    }
    for (version, log) in
        captures!("log-max-account-connections", "2.9.10", "2.10.26", "2.11.11", "2.12.8", "2.15.1")
    {
        let lines = log.lines().count() as u64;
        assert_eq!(kinds(&counted(log)), [(AccountLimit, lines)], "{version}");
    }
}

#[test]
fn reloads_are_seen_in_all_versions() {
    for (version, log) in captures!("log-reload", "2.9.10", "2.10.26", "2.11.11", "2.12.8", "2.15.1") {
        let evidence = counted(log);
        let of = |kind| evidence.kinds.iter().find(|count| count.kind == kind).map(|count| count.lines);
        let expected = match version {
            "2.9.10" => (Some(4), Some(3)),
            _ => (Some(5), None),
        };
        assert_eq!((of(LogKind::Reload), of(LogKind::ReloadFailed)), expected, "{version}");
    }
}

#[test]
fn what_clients_do_wrong_is_seen_in_all_versions() {
    use LogKind::{AuthError, OutOfDescriptors, ProtocolError, SlowConsumer};
    for (version, log) in captures!("log-client-errors", "2.9.10", "2.10.26", "2.11.11", "2.12.8", "2.15.1") {
        let evidence = counted(log);
        let of = |kind| evidence.kinds.iter().find(|count| count.kind == kind).map(|count| count.lines);
        assert_eq!((of(AuthError), of(ProtocolError)), (Some(2), Some(3)), "{version}");
        assert!(of(SlowConsumer) >= Some(1), "{version}");
    }
    for (version, log) in
        captures!("log-too-many-open-files", "2.9.10", "2.10.26", "2.11.11", "2.12.8", "2.15.1")
    {
        let lines = log.lines().filter(|line| line.contains("too many open files")).count() as u64;
        let evidence = counted(log);
        assert_eq!(kinds(&evidence)[0], (OutOfDescriptors, lines), "{version}");
    }
}

#[test]
fn the_rest_of_the_captures_is_seen_too() {
    use LogKind::{AuthError, AuthTimeout, CalloutDenied, SlowReadLoop, Stale, TlsError};
    for (version, log) in captures!("log-auth-callout", "2.10.26", "2.12.8", "2.15.1") {
        let kinds: Vec<LogKind> = counted(log).kinds.iter().map(|count| count.kind).collect();
        for kind in [AuthError, CalloutDenied, SlowReadLoop] {
            assert!(kinds.contains(&kind), "{version}: {kind:?} is not in {kinds:?}");
        }
    }
    for (version, log) in captures!("log-debug-lifecycle", "2.10.26", "2.15.1") {
        let kinds: Vec<LogKind> = counted(log).kinds.iter().map(|count| count.kind).collect();
        for kind in [AuthError, AuthTimeout, Stale] {
            assert!(kinds.contains(&kind), "{version}: {kind:?} is not in {kinds:?}");
        }
    }
    for (version, log) in captures!("log-tls", "2.9.10", "2.10.26", "2.11.11", "2.12.8") {
        assert_eq!(kinds(&counted(log)), [(TlsError, log.lines().count() as u64)], "{version}");
    }
}

#[test]
fn lines_are_counted_by_minute_and_shown_first_and_last() {
    let refused = |minute: u32, port: u32| {
        format!(
            "[1] 2026/11/23 08:{minute:02}:30.000000 [ERR] 10.0.0.1:{port} - cid:7 - maximum connections exceeded\n"
        )
    };
    let lines: String =
        [(5, 1), (5, 2), (7, 3), (6, 4), (9, 5)].map(|(minute, port)| refused(minute, port)).concat();
    let evidence = counted(&lines);
    let [count] = evidence.kinds.as_slice() else { panic!("{evidence:?}") };
    assert_eq!(
        (count.first, count.last),
        (Some(at("2026-11-23T08:05:30Z")), Some(at("2026-11-23T08:09:30Z")))
    );
    let minutes: Vec<(String, u64)> =
        count.per_minute.iter().map(|(minute, lines)| (minute.to_string(), *lines)).collect();
    let expected = [("05", 2), ("06", 1), ("07", 1), ("09", 1)]
        .map(|(minute, lines)| (format!("2026-11-23T08:{minute}:00Z"), lines));
    assert_eq!(minutes, expected);
    let ports: Vec<&str> = count
        .samples
        .iter()
        .map(|sample| sample.split("10.0.0.1:").nth(1).unwrap().split(' ').next().unwrap())
        .collect();
    assert_eq!(ports, ["1", "3", "5"]);
}

#[test]
fn only_lines_of_the_time_count_and_zones_are_minded() {
    let line = "[1] 2026/11/23 00:30:00.000000 [ERR] 10.0.0.1:1 - cid:7 - maximum connections exceeded";
    let hour = SignedDuration::from_hours(1);
    for (offset, counts) in [(SignedDuration::ZERO, true), (hour, false), (-hour, true)] {
        let mut tally = tally();
        let told = tally.count(line, None, None, offset).unwrap();
        assert_eq!(told, at("2026-11-23T00:30:00Z") - offset);
        assert_eq!(!tally.counts.is_empty(), counts, "{offset:?}");
    }
    // whoever keeps the line knows best
    let mut tally = tally();
    tally.count(line, None, Some(at("2026-11-23T05:00:00Z")), hour);
    assert_eq!(tally.counts[&LogKind::ServerLimit].first, Some(at("2026-11-23T05:00:00Z")));
}

#[test]
fn lines_without_a_time_count_and_are_told() {
    let evidence =
        counted("[1] [ERR] 10.0.0.1:1 - cid:7 - maximum connections exceeded\n[1] [INF] Listening\n");
    assert_eq!((kinds(&evidence), evidence.undated_lines), (vec![(LogKind::ServerLimit, 1)], 1));
    assert_eq!((evidence.kinds[0].first, evidence.kinds[0].per_minute.len()), (None, 0));
    assert_eq!(evidence.lines_read, 2);
}

#[test]
fn versions_decide_whether_counts_are_lower_bounds() {
    let started =
        |version: &str| counted(&format!("[1] 2026/11/23 08:00:00.000000 [INF]   Version:  {version}\n"));
    assert!(started("2.15.1").rate_limited_versions);
    assert!(!started("2.10.26").rate_limited_versions);
    assert!(counted("").rate_limited_versions, "an unknown one may be");
    let mut one = tally();
    one.learn_version("2.10.26");
    let mut other = tally();
    other.learn_version("2.12.8");
    one.merge(other);
    one.read("x".to_owned(), true);
    assert!(one.evidence().unwrap().rate_limited_versions);
}

#[test]
fn what_strangers_wrote_is_neither_believed_nor_hidden() {
    let evidence = counted(
        "[1] 2026/11/23 08:00:00.000000 [DBG] 10.0.0.1:1 - cid:7 - \"v1:go:x\\\" - maximum connections exceeded\" - Client Ping Timer\n\
         [1] 2026/11/23 08:00:00.000000 [ERR] 10.0.0.1:1 - cid:7 - authentication error - User \"a\u{202e}b\u{1}\"\n",
    );
    assert_eq!(kinds(&evidence), [(LogKind::AuthError, 1)]);
    assert!(evidence.kinds[0].samples[0].ends_with("User \"a\\u{202e}b\\u{1}\""), "{evidence:?}");
    let long = format!(
        "[1] 2026/11/23 08:00:00.000000 [ERR] authentication error - User \"{}\"",
        "é".repeat(1 << 20)
    );
    assert!(counted(&long).kinds[0].samples[0].chars().count() <= 201);
}

#[test]
fn what_clients_showed_to_be_let_in_is_not_repeated() {
    let evidence = counted(
        "[1] 2026/11/23 08:00:00.000000 [ERR] 10.0.0.1:1 - cid:7 - authentication error - Token \"hunter2\"\n\
         [1] 2026/11/23 08:00:00.000000 [ERR] 10.0.0.1:1 - cid:8 - Client parser ERROR, state=0, i=0: proto='\"Authorization: hunter2\"...'\n",
    );
    let samples: Vec<&str> = evidence.kinds.iter().map(|count| count.samples[0].as_str()).collect();
    assert!(samples[0].ends_with("authentication error - Token \"[REDACTED]"), "{samples:?}");
    assert!(samples[1].ends_with("Client parser ERROR, state=0, i=0: proto='[REDACTED]"), "{samples:?}");
    assert!(!format!("{evidence:?}").contains("hunter2"));
}

#[test]
fn tallies_of_several_sources_are_added_up() {
    let line = |minute: u32| {
        format!(
            "[1] 2026/11/23 08:{minute:02}:00.000000 [ERR] 10.0.0.1:1 - cid:7 - maximum connections exceeded"
        )
    };
    let mut one = tally();
    one.count(&line(1), Some("n1"), None, SignedDuration::ZERO);
    one.read("/a".to_owned(), true);
    let mut other = tally();
    for minute in [1, 2, 3] {
        other.count(&line(minute), Some("n2"), None, SignedDuration::ZERO);
    }
    other.read("/b".to_owned(), false);
    other.problem("it was short".to_owned());
    one.merge(other);
    let evidence = one.evidence().unwrap();
    let count = &evidence.kinds[0];
    assert_eq!((count.lines, count.per_minute.len(), count.samples.len()), (4, 3, 3));
    assert_eq!(count.servers, BTreeMap::from([("n1".to_owned(), 1), ("n2".to_owned(), 3)]));
    assert_eq!((evidence.source.as_str(), evidence.complete), ("/a, /b", false));
    assert_eq!(evidence.problems, ["it was short"]);

    let mut none = tally();
    none.problem("cannot read /x".to_owned());
    assert_eq!(none.evidence().unwrap_err(), "cannot read /x");
}

proptest::proptest! {
    #[test]
    fn any_line_is_counted_or_not_without_harm(
        start in "(\\[[0-9]{0,3}\\] )?(2026/1[0-9]/[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6} )?(\\[(INF|ERR|XYZ)\\] )?",
        client in "(.{0,9} - [cwm]id:[0-9]{0,3} - (\".{0,9}\"? - )?)?",
        rest in "\\PC*|maximum connections exceeded.*|[\u{1b}\\[0-9;m\\\\\"{}é]*",
    ) {
        let mut tally = tally();
        tally.count(&format!("{start}{client}{rest}"), None, None, SignedDuration::from_hours(1));
        tally.read("x".to_owned(), true);
        let evidence = tally.evidence().unwrap();
        for sample in evidence.kinds.iter().flat_map(|count| &count.samples) {
            proptest::prop_assert!(!sample.contains(char::is_control), "{sample:?}");
        }
    }
}
