//! Secrets in the configuration: where they may stand, and that nothing repeats them.

use std::fs;

use connwarden::config::Config;
use connwarden::model::remote_auth::RemoteAuth;
use insta::assert_snapshot;
use secrecy::ExposeSecret;

use super::{fixture, parse, problems, read, warnings};

#[test]
fn only_one_way_to_be_let_in_can_be_given() {
    assert_snapshot!(problems("two-ways-in"), @r"
    connwarden.yml:4:65: clusters[0].basic_auth.password_file: both `password` and `password_file` are given
    connwarden.yml:7:17: clusters[1].basic_auth: both `basic_auth` and a bearer token are given, only one can be sent
    connwarden.yml:12:24: clusters[2].bearer_token_file: both `bearer_token` and `bearer_token_file` are given
    3 problems in connwarden.yml
    ");
}

#[test]
fn secrets_are_checked() {
    assert_snapshot!(problems("auth-incomplete"), @r"
    connwarden.yml:4:17: clusters[0].basic_auth.password: is missing, give it here or in a `password_file`
    connwarden.yml:7:5: clusters[1].basic_auth.username: is missing
    connwarden.yml:7:5: clusters[1].basic_auth.password: is missing, give it here or in a `password_file`
    connwarden.yml:10:28: clusters[2].basic_auth.username: expected a user name without a colon
    connwarden.yml:10:45: clusters[2].basic_auth.password: the secret is empty
    connwarden.yml:13:5: clusters[3].bearer_token: has no value
    connwarden.yml:16:24: clusters[4].bearer_token_file: cannot read `secrets/missing`: entity not found
    connwarden.yml:19:24: clusters[5].bearer_token_file: the secret is empty
    connwarden.yml:22:24: clusters[6].bearer_token_file: the token must be one line of printable ASCII characters without blanks
    9 problems in connwarden.yml
    ");
}

#[test]
fn secrets_in_wrong_places_are_not_repeated() {
    assert_snapshot!(problems("secrets-in-wrong-places"), @r"
    connwarden.yml:3:14: clusters[0].monitor: expected a monitoring address such as `http://nats-1:8222`, found a user or password in it, use `basic_auth` for that
    connwarden.yml:4:17: clusters[0].basic_auth: expected a mapping of `username`, `password`, `password_file`, found text
    connwarden.yml:9:17: clusters[1].basic_auth.password: expected text, found a list
    connwarden.yml:12:19: clusters[2].bearer_token: expected text, found a mapping
    connwarden.yml:15:19: clusters[3].bearer_token: the token must be one line of printable ASCII characters without blanks
    connwarden.yml:18:19: clusters[4].bearer_token: tags are not supported, put the value in quotes to make it text
    connwarden.yml:21:17: clusters[5].basic_auth.username: is missing
    connwarden.yml:21:17: clusters[5].basic_auth.password: is missing, give it here or in a `password_file`
    connwarden.yml:21:18: clusters[5].basic_auth: unknown key, expected one of `username`, `password`, `password_file`
    connwarden.yml:23:14: clusters[6].monitor: expected a monitoring address such as `http://nats-1:8222`, found a user or password in it, use `basic_auth` for that
    connwarden.yml:24:5: clusters[6].passwrod: unknown key here, did you mean `clusters[].basic_auth.password`?
    11 problems in connwarden.yml
    ");
}

#[test]
fn no_output_holds_a_secret() {
    for name in [
        "everything",
        "two-ways-in",
        "auth-incomplete",
        "secrets-in-wrong-places",
        "endpoints",
        "unclosed-quote",
        "reserved-character",
    ] {
        let result = parse(&fixture(name));
        let shown = match &result {
            Ok(config) => format!("{config:?}{config:#?}{}", warnings(config)),
            Err(problems) => format!("{problems}{problems:?}"),
        };
        assert!(!shown.contains("hunter"), "{name}: {shown}");
    }
    assert!(format!("{:?}", read("everything")).contains("REDACTED"));
}

#[test]
fn a_file_is_loaded_with_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    let file = folder.path().join("connwarden.yml");
    fs::write(&secret, "s3cret\r\n").unwrap();
    let text = format!("clusters: [{{name: a, monitor: http://nats-1:8222, bearer_token_file: {secret:?}}}]");
    fs::write(&file, text).unwrap();

    let config = Config::load(&file).unwrap();

    let Some(RemoteAuth::Bearer(token)) = &config.clusters[0].auth else { panic!() };
    assert_eq!(token.expose_secret(), "s3cret");
}
