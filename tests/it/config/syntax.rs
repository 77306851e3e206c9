//! The text of a configuration file: YAML, and only so much of it as is understood.

use connwarden::config::MAX_FILE_BYTES;
use insta::assert_snapshot;

use super::{fixture, parse, problems, read};

#[test]
fn aliases_and_tags_are_refused() {
    assert_snapshot!(problems("aliases-and-tags"), @r"
    connwarden.yml:3:10: storage: aliases are not supported, write the value out
    connwarden.yml:5:3: log.<<: merging is not supported, write the keys out
    connwarden.yml:6:10: log.level: tags are not supported, put the value in quotes to make it text
    3 problems in connwarden.yml
    ");
}

#[test]
fn keys_are_text() {
    assert_snapshot!(problems("complex-keys"), @r"
    connwarden.yml:1:1: a key must be text, found a list
    connwarden.yml:2:3: a key must be text, found a mapping
    connwarden.yml:4:1: a key must be text, found nothing
    connwarden.yml:6:10: log.level: expected `error`, `warn`, `info`, `debug`, `trace` or filter directives, found `loud`, write `loud=debug` for a target
    4 problems in connwarden.yml
    ");
}

#[test]
fn a_file_is_one_document() {
    assert_snapshot!(problems("two-documents"), @r"
    connwarden.yml:2:13: web.max_body: must be at least 1KiB, found `1`
    connwarden.yml:3:1: a second document starts here, the configuration is only one
    2 problems in connwarden.yml
    ");
}

#[test]
fn syntax_errors_have_their_place() {
    let report = ["tab", "syntax", "unclosed-quote", "reserved-character", "too-deep"].map(problems);

    assert_snapshot!(report.join("\n\n"), @r"
    connwarden.yml:2:2: indented with a tab, YAML wants spaces
    1 problem in connwarden.yml

    connwarden.yml:3:2: not valid YAML: while parsing a block mapping, did not find expected key
    1 problem in connwarden.yml

    connwarden.yml:3:19: not valid YAML: invalid indentation in quoted scalar
    1 problem in connwarden.yml

    connwarden.yml:3:19: a value cannot start with `%`, `@` or a backtick, put it in quotes
    1 problem in connwarden.yml

    connwarden.yml:1:67: nested deeper than 16 levels
    1 problem in connwarden.yml
    ");
}

#[test]
fn nesting_is_bounded_before_it_costs_anything() {
    for opening in ["[", "{a: ", "- ", "? "] {
        let text = opening.repeat(MAX_FILE_BYTES / opening.len());
        assert!(parse(&text).is_err(), "{opening}");
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_harmless() {
    let text = format!("\u{feff}{}", fixture("everything").replace('\n', "\r\n"));
    let config = parse(&text).unwrap();

    assert_eq!(format!("{config:?}"), format!("{:?}", read("everything")));
}
