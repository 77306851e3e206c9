//! What holds of any input, tried on captures, on captures with mistakes in them, and on bytes of any kind.
//!
//! `make fuzz` tries the same properties on inputs that it finds by itself.

#[path = "../properties/connz.rs"]
mod connz;
#[path = "../properties/webhook.rs"]
mod webhook;

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::harness::fixture;

/// A mistake in a text: where, how many bytes are lost, and what is there instead.
type Mistake = (Index, usize, Vec<u8>);

fn mistakes() -> impl Strategy<Value = Vec<Mistake>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..3);
    let tokens = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "\\ud800",
        "null",
        "-1",
        "1e308",
        "0.5",
        "\0",
        "\0\u{3}\u{1}",
    ]);
    let instead = prop_oneof![bytes, tokens.prop_map(|token| token.as_bytes().to_vec())];
    prop::collection::vec((any::<Index>(), 0..4_usize, instead), 0..6)
}

fn with_mistakes(text: &str, mistakes: Vec<Mistake>) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (place, lost, instead) in mistakes {
        let begin = place.index(bytes.len() + 1);
        let end = bytes.len().min(begin + lost);
        bytes.splice(begin..end, instead);
    }
    bytes
}

proptest! {
    #[test]
    fn any_body_is_refused_in_one_line_or_understood_whatever_its_order(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        mistakes in mistakes(),
    ) {
        webhook::check(&bytes);
        webhook::check(&with_mistakes(&fixture("alertmanager/group3-mixed.am-0.33.1.json"), mistakes));
    }

    #[test]
    fn any_list_says_the_same_however_it_is_split_and_loses_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        splits in prop::collection::vec(any::<u8>(), 0..8),
        mistakes in mistakes(),
    ) {
        connz::check(&bytes);
        for name in ["nats/2.15.1/connz-open-auth.json", "nats/2.15.1/sys-connz-reply.json"] {
            let mut list = with_mistakes(&fixture(name), mistakes.clone());
            list.push(0);
            list.extend(&splits);
            connz::check(&list);
        }
    }
}

#[test]
fn captures_have_the_properties() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let check = |folder: &str, check: fn(&[u8])| {
        for file in std::fs::read_dir(fixtures.join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|end| end == "json") {
                check(&std::fs::read(path).unwrap());
            }
        }
    };
    check("alertmanager", webhook::check);
    check("nats/2.10.26", connz::check);
    check("nats/2.15.1", connz::check);
}
