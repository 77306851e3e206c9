//! The configuration file: what is read, and how every mistake is reported.

mod clusters;
mod manual;
mod mitigations;
mod secrets;
mod settings;
mod syntax;

use std::{fs, io, path::Path};

use connwarden::config::{Config, MAX_FILE_BYTES, Problems};
use insta::assert_snapshot;
use proptest::prelude::*;

/// What the secret files hold that the fixtures name.
fn read_secret(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("secrets/password" | "secrets/token") => Ok("hunter2\n".to_owned()),
        Some("secrets/empty") => Ok("\n".to_owned()),
        Some("secrets/two-lines") => Ok("hunter2\nhunter2\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, "connwarden.yml", &read_secret)
}

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/config/{name}.yml", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn read(name: &str) -> Config {
    parse(&fixture(name)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(name: &str) -> String {
    match parse(&fixture(name)) {
        Ok(_) => "no problems".to_owned(),
        Err(problems) => problems.to_string(),
    }
}

fn warnings(config: &Config) -> String {
    config.warnings().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn unknown_keys_are_problems_with_a_suggestion() {
    assert_snapshot!(problems("unknown-keys"), @r"
    connwarden.yml:2:3: web.listen_adress: unknown key, did you mean `listen_address`?
    connwarden.yml:3:3: web.timeout: unknown key here, did you mean `observe.timeout`?
    connwarden.yml:4:1: cluster: unknown key, did you mean `clusters`?
    connwarden.yml:6:3: storage.directory: unknown key, expected one of `path`
    connwarden.yml:9:5: clusters[0].monitors: unknown key, did you mean `monitor`?
    connwarden.yml:11:5: clusters[0].username: unknown key here, did you mean `clusters[].basic_auth.username`?
    6 problems in connwarden.yml
    ");
}

#[test]
fn wrong_places_of_logs_are_problems() {
    assert_snapshot!(problems("logs"), @r#"
    connwarden.yml:5:9: clusters[0].logs[0].file: is missing, give it or `loki`
    connwarden.yml:7:15: clusters[0].logs[1].loki: both `file` and `loki` are given, write two elements
    connwarden.yml:9:16: clusters[0].logs[2].loki.url: expected the address of a Loki such as `http://loki:3100`, found `http://loki:3100/loki/api/v1`: the path of the API is added, write `http://loki:3100`
    connwarden.yml:10:18: clusters[0].logs[2].loki.query: expected a query for lines such as `{app="nats"}`, found `rate({a=\"b\"}[5m])`
    connwarden.yml:11:15: clusters[0].logs[3].loki.query: is missing
    connwarden.yml:11:49: clusters[0].logs[3].loki.tenant: expected a tenant of 1 to 150 letters, digits and `!-_.*'()`, with `|` between several, found `a b`
    connwarden.yml:12:17: clusters[0].logs[3].server: is for a `file`; the labels of Loki say which server wrote a line
    connwarden.yml:13:9: clusters[0].logs[4].file: has no value
    connwarden.yml:14:9: clusters[0].logs[5]: expected a mapping of `file`, `server`, `loki`, found text
    connwarden.yml:16:9: clusters[0].logs[6].path: unknown key here, did you mean `storage.path`?
    10 problems in connwarden.yml
    "#);
}

#[test]
fn duplicate_keys_are_problems() {
    assert_snapshot!(problems("duplicate-keys"), @r"
    connwarden.yml:3:3: web.max_body: appears a second time, first on line 2
    connwarden.yml:6:1: web: appears a second time, first on line 1
    2 problems in connwarden.yml
    ");
}

#[test]
fn wrong_types_are_problems() {
    assert_snapshot!(problems("wrong-types"), @"
    connwarden.yml:1:6: web: expected a mapping of `listen_address`, `max_body`, `credentials`, `tls`, `allowed_hosts`, `rate_limit`, found text
    connwarden.yml:3:9: storage.path: expected text, found a list
    connwarden.yml:6:5: log.level: expected text, found a mapping
    connwarden.yml:8:10: applications.strip: expected a list, found text
    connwarden.yml:10:7: applications.rules[0]: expected a mapping of `pattern`, `application`, found text
    connwarden.yml:11:6: applications.rules[1]: expected a mapping, found nothing
    connwarden.yml:12:7: applications.rules[2]: expected a mapping of `pattern`, `application`, found a list
    connwarden.yml:14:3: clusters: expected a list, found a mapping
    8 problems in connwarden.yml
    ");
    assert_snapshot!(problems("wrong-root"), @r"
    connwarden.yml:1:1: expected a mapping of `web`, `storage`, `log`, `observe`, `incidents`, `diagnosis`, `mitigations`, `retention`, `baseline`, `applications`, `clusters`, `alertmanagers`, `prometheus`, `owners_file`, `reverse_dns`, found a list
    1 problem in connwarden.yml
    ");
}

#[test]
fn wrong_values_are_problems_with_a_hint() {
    assert_snapshot!(problems("wrong-values"), @r"
    connwarden.yml:2:19: web.listen_address: expected an address and a port such as `127.0.0.1:9480`, found `localhost:9480`, host names are not resolved, write `127.0.0.1:9480`
    connwarden.yml:3:13: web.max_body: expected a size such as `16MiB`, `2GB` or plain bytes, found `16Mib`, did you mean `MiB`?
    connwarden.yml:5:9: storage.path: expected a path
    connwarden.yml:7:10: log.level: expected `error`, `warn`, `info`, `debug`, `trace` or filter directives, found `inof`, did you mean `info`?
    connwarden.yml:8:11: log.format: expected `text` or `json`, found `xml`
    connwarden.yml:10:20: observe.connect_timeout: expected a duration such as `30s`, `5m` or `1h30m`, found `3`, write `3s` for seconds
    connwarden.yml:11:12: observe.timeout: must be longer than 0
    connwarden.yml:12:15: observe.idle_after: expected a duration such as `30s`, `5m` or `1h30m`, found `30m1h`, write larger units first and each once
    connwarden.yml:13:14: observe.max_reply: must be at least 64KiB, found `12`
    9 problems in connwarden.yml
    ");
    assert_snapshot!(problems("more-wrong-values"), @r#"
    connwarden.yml:2:19: web.listen_address: expected an address and a port such as `127.0.0.1:9480`, found `:9480`, write `0.0.0.0:9480` for all addresses
    connwarden.yml:3:13: web.max_body: must be at most 1GiB, found `2GiB`
    connwarden.yml:5:10: log.level: expected `error`, `warn`, `info`, `debug`, `trace` or filter directives: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5
    connwarden.yml:6:3: log.format: has no value, remove the key for the default
    connwarden.yml:8:20: observe.connect_timeout: expected a duration such as `30s`, `5m` or `1h30m`, found `soon`
    connwarden.yml:9:12: observe.timeout: must be at most 3600s, found `2h`
    connwarden.yml:10:15: observe.idle_after: the duration `99999999999y` is too long
    connwarden.yml:11:14: observe.max_reply: expected a size such as `16MiB`, `2GB` or plain bytes, found `-1`
    connwarden.yml:13:20: retention.incidents.age: must be at least 1d, found `1h`
    connwarden.yml:13:31: retention.incidents.count: must be at least 1
    connwarden.yml:14:20: retention.snapshots.age: expected a duration such as `30s`, `5m` or `1h30m`, found `forever`
    connwarden.yml:14:36: retention.snapshots.count: expected a whole number such as `10000`, found `1e3`
    12 problems in connwarden.yml
    "#);
}

#[test]
fn connecting_must_fit_into_the_timeout() {
    assert_snapshot!(problems("timeouts-crossed"), @r"
    connwarden.yml:2:20: observe.connect_timeout: connect_timeout (60s) is longer than timeout (30s), which includes it
    1 problem in connwarden.yml
    ");
    assert_snapshot!(problems("timeout-below-default"), @r"
    connwarden.yml:2:12: observe.timeout: connect_timeout (3s) is longer than timeout (2s), which includes it
    1 problem in connwarden.yml
    ");
}

#[test]
fn application_rules_are_checked() {
    assert_snapshot!(problems("applications"), @r"
    connwarden.yml:2:17: applications.strip[1]: expected one of uuid, pod, nuid, hex, ip, version, number, found `pods`, did you mean `pod`?
    connwarden.yml:2:23: applications.strip[2]: `uuid` is listed twice
    connwarden.yml:2:29: applications.strip[3]: expected one of uuid, pod, nuid, hex, ip, version, number, found `ulid`, did you mean `uuid`?
    connwarden.yml:4:16: applications.rules[0].pattern: invalid regular expression: unclosed group
    connwarden.yml:7:20: applications.rules[1].application: `${1}` is no group of the pattern, which has none: put parentheses around what you want to keep
    connwarden.yml:9:20: applications.rules[2].application: `${1_all}` is no group of the pattern, write `${1}_all` for group 1 and then `_all`
    connwarden.yml:10:7: applications.rules[3].application: is missing
    connwarden.yml:11:20: applications.rules[4].application: the application cannot be empty
    8 problems in connwarden.yml
    ");
}

#[test]
fn matchers_are_checked() {
    assert_snapshot!(problems("matchers"), @r#"
    connwarden.yml:5:9: clusters[0].match[0]: column 14: expected a comma after the value, found `e`: separate matchers or quote the value
    connwarden.yml:6:9: clusters[0].match[1]: column 10: invalid regular expression: unclosed group
    connwarden.yml:7:9: clusters[0].match[2]: expected a matcher such as `cluster="prod"`, found none
    connwarden.yml:8:9: clusters[0].match[3]: column 7: missing closing brace `}`
    connwarden.yml:9:9: clusters[0].match[4]: expected text, found a mapping
    connwarden.yml:12:12: clusters[1].match: column 8: expected `=`, `!=`, `=~` or `!~` after the label name `cluster`
    6 problems in connwarden.yml
    "#);
}

#[test]
fn addresses_of_apis_are_checked() {
    assert_snapshot!(problems("endpoints"), @r"
    connwarden.yml:3:10: alertmanagers[1].url: `http://am-1:9093` is listed twice, first on line 2
    connwarden.yml:4:5: alertmanagers[2].url: is missing
    connwarden.yml:5:10: alertmanagers[3].url: expected the address of an Alertmanager such as `http://alertmanager-1:9093`, found a user or password in it, use `basic_auth` for that
    connwarden.yml:6:10: alertmanagers[4].url: expected the address of an Alertmanager such as `http://alertmanager-1:9093`, found `http://am-2:9093/api/v2/alerts`: the path of the API is added, write `http://am-2:9093`
    connwarden.yml:8:17: alertmanagers[4].basic_auth: both `basic_auth` and a bearer token are given, only one can be sent
    connwarden.yml:9:5: alertmanagers[5]: expected a mapping of `url`, `basic_auth`, `bearer_token`, `bearer_token_file`, `tenant`, found text
    connwarden.yml:11:3: prometheus: expected a list, found a mapping
    7 problems in connwarden.yml
    ");
}

#[test]
fn files_that_cannot_be_read_are_problems() {
    let folder = tempfile::tempdir().unwrap();
    let large = "#".repeat(MAX_FILE_BYTES + 1);
    let report: Vec<String> = [
        ("missing.yml", None),
        ("latin1.yml", Some(b"# a\n# caf\xe9\n".as_slice())),
        ("large.yml", Some(large.as_bytes())),
    ]
    .into_iter()
    .map(|(name, content)| {
        let path = folder.path().join(name);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let problems = Config::load(&path).unwrap_err().to_string();
        problems.replace(&format!("{}/", folder.path().display()), "")
    })
    .collect();

    assert_snapshot!(report.join("\n"), @r"
    missing.yml: cannot read the configuration: No such file or directory (os error 2)
    1 problem in missing.yml
    latin1.yml: cannot read the configuration: line 2 is not UTF-8 text
    1 problem in latin1.yml
    large.yml: cannot read the configuration: the file is larger than 1048576 bytes
    1 problem in large.yml
    ");
    assert_snapshot!(parse(&large).unwrap_err().to_string(), @r"
    connwarden.yml: the configuration is larger than 1048576 bytes
    1 problem in connwarden.yml
    ");
    assert!(parse(&large[1..]).is_ok());
}

proptest! {
    #[test]
    fn no_damage_to_a_file_makes_the_reader_panic(
        start in 0..900_usize,
        length in 0..40_usize,
        inserted in "[\\[\\]{}:,&*!|>'\"%@`# \n\t\\-~?a0é]{0,3}",
    ) {
        let mut characters: Vec<char> = fixture("everything").chars().collect();
        let start = start.min(characters.len());
        let end = (start + length).min(characters.len());
        characters.splice(start..end, inserted.chars());
        let text: String = characters.into_iter().collect();

        if let Err(problems) = parse(&text) {
            for problem in problems.iter() {
                let place = problem.place.expect("a problem of a text has a place");
                prop_assert!(place.line >= 1 && place.line <= text.lines().count() + 1);
                prop_assert!(place.column >= 1);
            }
        }
    }
}
