//! The example configuration and the manual: they show every key, tell the defaults, and promise what is done.

use std::collections::BTreeSet;

use connwarden::config::{Config, KEYS, OWNER_KEYS};
use insta::assert_snapshot;

use super::{parse, warnings};

const EXAMPLE: &str = include_str!("../../../connwarden.example.yml");
const MANUAL: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_example_has_no_problems_and_no_warnings() {
    let config = parse(EXAMPLE).unwrap_or_else(|problems| panic!("{problems}"));

    assert_eq!(warnings(&config), "");
    assert_eq!(config.clusters.len(), 1);
}

#[test]
fn the_example_shows_every_key_and_no_other() {
    let shown = keys_shown(&uncommented(EXAMPLE));
    let known: BTreeSet<String> = KEYS.iter().map(ToString::to_string).collect();

    assert_eq!(shown, known);
}

#[test]
fn what_the_example_comments_out_would_work() {
    let everything = uncommented(EXAMPLE);

    // All alternatives at once: only their being alternatives is a problem.
    assert_snapshot!(
        parse(&everything).map(|_| ()).unwrap_err().to_string(),
        @"
    connwarden.yml:41:26: web.credentials[0].bearer_token_file: both `bearer_token` and `bearer_token_file` are given
    connwarden.yml:48:24: web.credentials[1].basic_auth.password_file: both `password` and `password_file` are given
    connwarden.yml:54:19: web.credentials[2].client_certificate.dns_name: both `common_name` and `dns_name` are given
    connwarden.yml:61:22: web.credentials[3].hmac.secret_file: both `secret` and `secret_file` are given
    connwarden.yml:259:7: clusters[0].basic_auth: both `basic_auth` and a bearer token are given, only one can be sent
    connwarden.yml:261:22: clusters[0].basic_auth.password_file: both `password` and `password_file` are given
    connwarden.yml:264:24: clusters[0].bearer_token_file: both `bearer_token` and `bearer_token_file` are given
    connwarden.yml:272:18: clusters[0].system_account.nkey_file: both `credentials_file` and `nkey_file` are given, only one can be shown
    connwarden.yml:278:20: clusters[0].system_account.actor.nkey_file: both `credentials_file` and `nkey_file` are given, only one can be shown
    connwarden.yml:297:13: clusters[0].logs[1].loki.basic_auth: both `basic_auth` and a bearer token are given, only one can be sent
    connwarden.yml:299:28: clusters[0].logs[1].loki.basic_auth.password_file: both `password` and `password_file` are given
    connwarden.yml:301:30: clusters[0].logs[1].loki.bearer_token_file: both `bearer_token` and `bearer_token_file` are given
    connwarden.yml:313:7: alertmanagers[1].basic_auth: both `basic_auth` and a bearer token are given, only one can be sent
    connwarden.yml:315:22: alertmanagers[1].basic_auth.password_file: both `password` and `password_file` are given
    connwarden.yml:318:24: alertmanagers[1].bearer_token_file: both `bearer_token` and `bearer_token_file` are given
    connwarden.yml:327:7: prometheus[0].basic_auth: both `basic_auth` and a bearer token are given, only one can be sent
    connwarden.yml:329:22: prometheus[0].basic_auth.password_file: both `password` and `password_file` are given
    connwarden.yml:331:24: prometheus[0].bearer_token_file: both `bearer_token` and `bearer_token_file` are given
    18 problems in connwarden.yml
    "
    );
}

#[test]
fn the_example_tells_the_defaults() {
    // what is commented out is not needed
    let until_applications = EXAMPLE.split("\napplications:").next().unwrap();
    let config = parse(until_applications).unwrap();

    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
}

#[test]
fn the_manual_documents_every_key() {
    let missing: Vec<&str> = KEYS
        .iter()
        .chain(OWNER_KEYS)
        .filter(|key| !MANUAL.lines().any(|line| line.starts_with(&format!("| `{key}` |"))))
        .copied()
        .collect();

    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn the_manual_documents_no_other_key() {
    let documented = MANUAL.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    for (key, _) in documented.filter(|(key, _)| key.contains('.') && !key.contains(' ')) {
        let is_key = KEYS.contains(&key) || OWNER_KEYS.contains(&key);
        // In the table of examples, a client name is followed by its application.
        let is_name = MANUAL.contains(&format!("| `{key}` | `"));
        assert!(is_key || is_name, "{key}");
    }
}

/// The examples of application names in the manual are what really happens.
#[test]
fn the_manual_tells_the_truth_about_applications() {
    let rules = connwarden::model::application::ApplicationRules::default();
    let table = MANUAL.split("| Client name | Application |").nth(1).expect("the table is there");
    let rows: Vec<(&str, &str)> = table
        .lines()
        .skip(2)
        .map_while(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, rest)| {
            let application = rest.trim().trim_start_matches('`').split('`').next();
            (name, application.unwrap_or_default())
        })
        .collect();

    assert!(rows.len() >= 10, "{rows:?}");
    for (name, application) in rows {
        assert_eq!(rules.application(name), application, "{name}");
    }
}

/// Activates what is commented out: `#key` is, `# words` are not.
fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let rest = line.trim_start();
        match rest.strip_prefix('#') {
            Some(code) if code.starts_with(|c: char| c.is_alphabetic() || c == '-') => {
                format!("{}{code}", &line[..line.len() - rest.len()])
            }
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Lists the dotted paths of the keys that are no sections, going by the indentation.
fn keys_shown(text: &str) -> BTreeSet<String> {
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut paths = BTreeSet::new();
    for line in text.lines() {
        let rest = line.trim_start();
        if rest.is_empty() || rest.starts_with('#') {
            continue;
        }
        let mut indentation = line.len() - rest.len();
        while parents.last().is_some_and(|(depth, _)| *depth >= indentation) {
            parents.pop();
        }
        let parent = parents.last().map(|(_, parent)| parent.clone());
        let (parent, entry) = match (parent, rest.strip_prefix("- ")) {
            (Some(list), Some(element)) => {
                let list = format!("{list}[]");
                parents.push((indentation, list.clone()));
                indentation += 2;
                (Some(list), element)
            }
            (parent, _) => (parent, rest),
        };
        let Some((key, _)) = entry.split_once(": ").or(entry.strip_suffix(':').map(|key| (key, ""))) else {
            continue;
        };
        let path = parent.map_or(key.to_owned(), |parent| format!("{parent}.{key}"));
        paths.insert(path.clone());
        parents.push((indentation, path));
    }
    let is_section = |path: &String| {
        paths.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '['])))
    };
    paths.iter().filter(|path| !is_section(path)).cloned().collect()
}
