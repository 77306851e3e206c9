use proptest::prelude::*;

use super::*;

const PAGE: &str = include_str!("../../../tests/fixtures/nats/2.15.1/connz-open-auth.json");
const SYSTEM_REPLY: &str = include_str!("../../../tests/fixtures/nats/2.15.1/sys-connz-reply.json");
const BEARER_JWTS: &str = include_str!("../../../tests/fixtures/nats/2.10.26/connz-jwt-auth.json");

/// Reads the input piece by piece and tells what was seen, connection by connection.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Result<Envelope, ConnzError>) {
    read_with(ConnzReader::default(), pieces)
}

fn read_with<'a>(
    mut reader: ConnzReader,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<String>, Result<Envelope, ConnzError>) {
    let mut seen = Vec::new();
    let mut each = |_: &Envelope, connection: &Connection<'_>| seen.push(format!("{connection:?}"));
    let outcome = pieces
        .into_iter()
        .try_for_each(|piece| reader.feed(piece, &mut each))
        .and_then(|()| reader.finish(&mut each));
    (seen, outcome)
}

#[test]
fn a_page_is_read_with_what_it_says_of_itself() {
    let (seen, envelope) = read([PAGE.as_bytes()]);
    let envelope = envelope.unwrap();
    assert_eq!(seen.len(), 10);
    assert_eq!(envelope.read, 10);
    assert_eq!(envelope.total, Some(10));
    assert_eq!(envelope.now.as_deref(), Some("2026-11-23T08:28:35.255132053Z"));
    assert!(envelope.server_id.unwrap().starts_with("NBAKGI"));
}

#[test]
fn a_system_account_reply_holds_the_same_list() {
    let (seen, envelope) = read([SYSTEM_REPLY.as_bytes()]);
    let envelope = envelope.unwrap();
    assert_eq!(envelope.read, seen.len() as u64);
    assert!(envelope.read > 0);
    assert!(envelope.total.is_some());
}

#[test]
fn a_jwt_is_never_looked_at() {
    assert!(BEARER_JWTS.contains("\"jwt\": \"eyJ"));
    let (seen, envelope) = read([BEARER_JWTS.as_bytes()]);
    assert!(envelope.unwrap().read > 0);
    assert!(!seen.iter().any(|connection| connection.contains("eyJ")));
}

#[test]
fn an_empty_list_may_be_null() {
    for list in ["[]", "null"] {
        let page = format!(r#"{{"server_id":"","total":0,"connections":{list}}}"#);
        assert_eq!(read([page.as_bytes()]).1.unwrap().total, Some(0));
    }
}

#[test]
fn what_is_not_a_connection_list_is_refused_with_its_place() {
    let cases = [
        ("<html>", "not a connection list: unexpected `<` at byte 0"),
        ("[]", "not a connection list: unexpected `[` at byte 0"),
        (r#"{"total":1,"connections":[{"cid":1},7]}"#, "not a connection list: unexpected `7` at byte 36"),
        (
            r#"{"connections":[{"ip":7}]}"#,
            "not a connection list: connection 1: invalid type: integer `7`, expected a text at byte 16",
        ),
        ("{}", "not a connection list: it has no `connections`"),
        (r#"{"total":1,"connections":7}"#, "not a connection list: it has no `connections`"),
        (r#"{"total":1} x"#, "not a connection list: something behind its end at byte 12"),
        (r#"{"total":NaN}"#, "not a connection list: expected value at byte 9"),
        (r#"{"total":1"#, "the connection list ended in the middle, after 0 connections"),
        (
            r#"{"connections":[{"cid":1},{"cid":2},{"ci"#,
            "the connection list ended in the middle, after 2 connections",
        ),
        ("", "the connection list ended in the middle, after 0 connections"),
    ];
    for (input, expected) in cases {
        assert_eq!(read([input.as_bytes()]).1.unwrap_err().to_string(), expected, "{input}");
    }
}

#[test]
fn numbers_no_server_should_send_do_no_harm() {
    let page =
        r#"{"total":-5,"connections":[{"in_msgs":-1,"out_msgs":1e3,"in_bytes":1e300,"subscriptions":null}]}"#;
    let mut counts = (9, 9, 9, 9);
    let mut reader = ConnzReader::default();
    let mut each = |_: &Envelope, c: &Connection<'_>| {
        counts = (c.in_msgs, c.out_msgs, c.in_bytes, c.subscriptions);
    };
    reader.feed(page.as_bytes(), &mut each).unwrap();
    assert_eq!(reader.finish(&mut each).unwrap().total, Some(0));
    assert_eq!(counts, (0, 1000, u64::MAX, 0));
}

#[test]
fn an_endless_value_is_refused_before_it_fills_the_memory() {
    let mut reader = ConnzReader::default();
    let mut each = |_: &Envelope, _: &Connection<'_>| {};
    reader.feed(br#"{"connections":[{"name":""#, &mut each).unwrap();
    let piece = [b'a'; 100_000];
    let refused = (0..100).find_map(|_| reader.feed(&piece, &mut each).err());
    assert_eq!(refused, Some(ConnzError::TooLong { at: 16 }));
    assert!(reader.buffer.capacity() < 8 * 1024 * 1024);
}

#[test]
fn how_long_a_value_may_be_does_not_depend_on_the_split() {
    // (the longest part, whether it is accepted)
    let cases = [(LONGEST_ELEMENT - 100, true), (LONGEST_ELEMENT, false), (LONGEST_ELEMENT + 70_000, false)];
    for (length, accepted) in cases {
        let long = "a".repeat(length);
        let pages = [
            format!(r#"{{"connections":[{{"cid":1}},{{"name":"{long}"}}],"x":1}}"#),
            format!(r#"{{"connections":[{{"cid":1}}],"x":"{long}"}}"#),
            format!(r#"{{"connections":[{{"cid":1}}],"x" {}:1}}"#, " ".repeat(length)),
            // wrong, but beyond what is looked at
            format!(r#"{{"connections":[{{"cid":1}},{{"name":"{long}"?}}]}}"#),
        ];
        for page in &pages {
            let whole = read([page.as_bytes()]);
            let refused = matches!(whole.1, Err(ConnzError::TooLong { .. }));
            assert_eq!(refused, !accepted, "{:?}", whole.1);
            for (piece, step) in [(1000, STEP), (100_000, STEP), (page.len() / 2 + 1, 30_000)] {
                let split = read_with(ConnzReader::with_step(step), page.as_bytes().chunks(piece));
                assert_eq!(split, whole, "in pieces of {piece} bytes");
            }
        }
    }
}

#[test]
fn what_is_wrong_does_not_depend_on_the_split() {
    let pages = [
        r#"{"connections":[{"ip":66666666666666666666666666666666,"cid":1}]}"#,
        "{\"connections\":[\n{\n\n\"ip\":\n6.5e3\n,\"cid\":1}]}",
        r#"{"x":{"y":123456?},"connections":[]}"#,
        r#"{"total":123x,"connections":[]}"#,
        "{\"x\":\n\n[1\n2],\"connections\":[]}",
        r#"{"connections":[{"name":"\ud800"},{}]}"#,
    ];
    for page in pages {
        let whole = read([page.as_bytes()]);
        assert!(matches!(whole.1, Err(ConnzError::Malformed { .. })), "{:?}", whole.1);
        for step in 1..page.len() {
            let split = read_with(ConnzReader::with_step(step), page.as_bytes().chunks(1));
            assert_eq!(split, whole, "{step} bytes at a time");
        }
    }
}

#[test]
fn what_is_not_utf_8_is_refused_only_where_it_is_looked_at() {
    let page = b"{\"connections\":[{\"name\":\"\xc3\xbc\"},{\"jwt\":\"\xff\",\"name\":\"b\"},{\"name\":\"c\xff\"},{}]}";
    let whole = read([page.as_slice()]);
    assert_eq!(whole.0.len(), 2);
    let reason = "connection 3: invalid unicode code point".to_owned();
    assert_eq!(whole.1, Err(ConnzError::Malformed { reason, at: 53 }));
    for step in 1..page.len() {
        assert_eq!(read_with(ConnzReader::with_step(step), page.chunks(1)), whole, "{step} bytes at a time");
    }
}

#[test]
fn an_error_repeats_only_the_beginning_of_what_is_wrong() {
    let page = format!(r#"{{"connections":[{{"in_msgs":"{}"}}]}}"#, "x".repeat(100_000));
    let refused = read([page.as_bytes()]).1.unwrap_err().to_string();
    assert!(
        refused.starts_with("not a connection list: connection 1: invalid type: string \"xxx"),
        "{refused}"
    );
    assert!(refused.len() < 300, "{refused}");
}

#[test]
fn deep_nesting_is_skipped_without_deep_recursion() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let page = format!(r#"{{"x":{deep},"connections":[{{"cid":1,"y":{deep}}}]}}"#);
    assert_eq!(read([page.as_bytes()]).1.unwrap().read, 1);
}

proptest! {
    #[test]
    fn where_the_input_is_split_does_not_matter(
        cuts in prop::collection::vec(0..PAGE.len(), 0..12),
        step in 1..3000usize,
    ) {
        let mut cuts = cuts;
        cuts.extend([0, PAGE.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &PAGE.as_bytes()[ends[0]..ends[1]]);
        let (seen, envelope) = read_with(ConnzReader::with_step(step), pieces);
        prop_assert_eq!(&seen, &read([PAGE.as_bytes()]).0);
        prop_assert_eq!(envelope.unwrap().total, Some(10));
    }

    #[test]
    fn every_prefix_ends_in_the_middle(end in 0..PAGE.trim_end().len()) {
        let (seen, envelope) = read([&PAGE.as_bytes()[..end]]);
        prop_assert_eq!(envelope, Err(ConnzError::Ended { read: seen.len() as u64 }));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let whole = read([bytes.as_slice()]);
        let split = read_with(ConnzReader::with_step(1), bytes.chunks(7));
        prop_assert_eq!(whole, split);
    }
}
