//! The architecture: the sources are read, and an arrow drawn backwards fails.
//!
//! The table is that of the house style. A layer that a module may not use is not reached through a re-export
//! either: what counts is the path as it is written.

mod source;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use self::source::{Source, Token};

/// Each module, and what it may use beside itself. `telemetry` is open to all but `model`.
const ARROWS: [(&str, &[&str]); 21] = [
    ("lib", &[]),
    ("main", &["cli"]),
    // `http::api` holds the API's own types, and a problem document is one of them
    (
        "cli",
        &[
            "app",
            "config",
            "model",
            "http::api",
            "http::error::Problem",
            "observe",
            "store",
            "clock",
            "outgoing",
        ],
    ),
    (
        "app",
        &[
            "config",
            "http",
            "engine",
            "mitigate",
            "diagnose",
            "observe",
            "notify",
            "jobs",
            "store",
            "nats",
            "alertmanager",
            "prometheus",
            "logs",
            "outgoing",
            "model",
            "clock",
        ],
    ),
    ("http", &["engine", "alertmanager", "store", "model", "clock"]),
    (
        "engine",
        &[
            "jobs",
            "store",
            "observe",
            "diagnose",
            "mitigate",
            "notify",
            "nats",
            "outgoing",
            "prometheus",
            "alertmanager",
            "logs",
            "model",
            "clock",
        ],
    ),
    ("mitigate", &["observe", "nats", "model", "clock"]),
    ("diagnose", &["model"]),
    ("observe", &["nats", "model", "clock"]),
    ("notify", &["model", "alertmanager", "nats", "clock"]),
    ("jobs", &["store", "model", "clock"]),
    ("store", &["model"]),
    ("nats", &["model", "outgoing"]),
    ("alertmanager", &["model", "outgoing"]),
    ("prometheus", &["model", "outgoing"]),
    ("logs", &["model", "outgoing"]),
    ("config", &["model"]),
    ("model", &[]),
    ("clock", &[]),
    ("outgoing", &["model"]),
    ("telemetry", &[]),
];

/// From how many lines on, tests not counted, a file hides a second subject.
const LONGEST: usize = 500;

/// The beginning of a statement.
static SQL: LazyLock<Regex> = LazyLock::new(|| {
    let statements = r"(?is)^\s*(select\b.+\bfrom|insert\s+into|update\b.+\bset|delete\s+from|begin\s+immediate|(create|alter|drop)\s+(table|index))\b";
    Regex::new(statements).unwrap()
});

#[test]
fn modules_use_only_what_is_drawn_below_them() {
    assert_nothing_found(forbidden_arrows);
}

#[test]
fn sql_stays_in_the_store() {
    assert_nothing_found(sql_outside_the_store);
}

#[test]
fn every_module_tells_its_story() {
    assert_nothing_found(missing_header);
}

#[test]
fn no_file_hides_a_second_subject() {
    assert_nothing_found(too_long);
}

#[test]
fn a_module_is_a_file_beside_its_folder() {
    let named_mod: Vec<PathBuf> = files().into_iter().filter(|path| path.ends_with("mod.rs")).collect();
    assert!(named_mod.is_empty(), "{named_mod:?}: name it after the module, beside the folder");
}

/// Says for each use of a module that is not drawn in the table where it is.
fn forbidden_arrows(module: &[String], source: &Source) -> Vec<String> {
    let from = module[0].as_str();
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == from) else {
        return vec![format!("1: the module `{from}` is not in the table of arrows")];
    };
    let is_allowed = |path: &[String]| {
        path.first().is_none_or(|to| to == from || (to == "telemetry" && from != "model"))
            || allowed.iter().any(|prefix| {
                let prefix: Vec<&str> = prefix.split("::").collect();
                path.len() >= prefix.len() && prefix.iter().zip(path).all(|(one, other)| one == other)
            })
    };
    let uses = source.uses(module).into_iter();
    uses.filter(|(_, path)| !is_allowed(path))
        .map(|(line, path)| format!("{line}: `{from}` may not use `{}`", path.join("::")))
        .collect()
}

/// Finds SQL, and the library that runs it, where neither belongs.
fn sql_outside_the_store(module: &[String], source: &Source) -> Vec<String> {
    if module[0] == "store" {
        return Vec::new();
    }
    let found = source.tokens.iter().filter_map(|(line, token)| match token {
        Token::Text(text) if SQL.is_match(text) => Some(format!("{line}: SQL outside the store: {text:?}")),
        Token::Word(word) if word == "sqlx" => Some(format!("{line}: sqlx outside the store")),
        _ => None,
    });
    found.collect()
}

fn missing_header(_: &[String], source: &Source) -> Vec<String> {
    if source.has_header { Vec::new() } else { vec!["1: it does not begin with `//!`".to_owned()] }
}

fn too_long(_: &[String], source: &Source) -> Vec<String> {
    let lines = source.lines;
    if lines <= LONGEST {
        Vec::new()
    } else {
        vec![format!("1: {lines} lines without its tests, above {LONGEST}")]
    }
}

/// Looks into every file, and fails with a list of everything that was found.
fn assert_nothing_found(look: impl Fn(&[String], &Source) -> Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let files = files();
    assert!(files.len() > 50, "the sources were not found");
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let place = path.strip_prefix(root).unwrap();
        let problems = look(&module_of(place.strip_prefix("src").unwrap()), &Source::read(&text));
        found.extend(problems.into_iter().map(|problem| format!("{}:{problem}", place.display())));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The sources, without the files that hold tests only.
fn files() -> Vec<PathBuf> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files.sort();
    files
}

/// The path of the module in a file: `http/api/incidents.rs` is `http::api::incidents`.
fn module_of(file: &Path) -> Vec<String> {
    file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows(file: &str, text: &str) -> Vec<String> {
        forbidden_arrows(&module_of(Path::new(file)), &Source::read(text))
    }

    #[test]
    fn a_forbidden_arrow_is_found_however_it_is_written() {
        let cases = [
            ("model/alert.rs", "use crate::clock::Clock;", "1: `model` may not use `clock::Clock`"),
            ("model/alert.rs", "use crate::telemetry;", "1: `model` may not use `telemetry`"),
            (
                "jobs.rs",
                "\nuse crate::{clock::Clock, engine::{self, Engine}};",
                "2: `jobs` may not use `engine`",
            ),
            (
                "cli/plan.rs",
                "fn f() { crate::nats::connz::read(1) }",
                "1: `cli` may not use `nats::connz::read`",
            ),
            (
                "cli/plan.rs",
                "use crate::http::error::ApiError;",
                "1: `cli` may not use `http::error::ApiError`",
            ),
            ("observe/sweep.rs", "use super::super::store as memory;", "1: `observe` may not use `store`"),
            ("observe.rs", "use super::store::*;", "1: `observe` may not use `store::*`"),
            ("store/alerts.rs", "pub(crate) use crate::http;", "1: `store` may not use `http`"),
            (
                "http/webhook.rs",
                "type A = Vec::<crate::observe::sweep::Observer>;",
                "1: `http` may not use `observe::sweep::Observer`",
            ),
            ("main.rs", "fn main() { connwarden::app::run() }", "1: `main` may not use `app::run`"),
            ("gossip.rs", "", "1: the module `gossip` is not in the table of arrows"),
        ];
        for (file, text, expected) in cases {
            let found = arrows(file, text);
            assert_eq!(found.first().map(String::as_str), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_drawn_commented_out_quoted_or_a_test_is_no_arrow() {
        let cases = [
            ("jobs.rs", "use crate::{clock::Clock, store::{self, jobs}, model::ids, telemetry::metrics};"),
            ("cli/incidents.rs", "use crate::http::{api::documents::IncidentList, error::Problem};"),
            ("config/cluster.rs", "use super::{problem::Problem, scalar::{self, quoted}};"),
            ("main.rs", "fn main() { connwarden::cli::main() }"),
            (
                "model.rs",
                "//! [`crate::store`]\n/* crate::http /* crate::app */ */ // crate::cli\npub mod alert;",
            ),
            (
                "model.rs",
                r##"const A: &str = "crate::store"; const B: &str = r#"crate::"http""#; const C: char = '"';"##,
            ),
            ("model.rs", "#[cfg(test)]\n#[path = \"t.rs\"]\nmod tests { use crate::store; fn f() { { } } }"),
            ("model.rs", "#[cfg(test)] use crate::store; pub(in crate) fn f<'a>(a: &'a str) {}"),
        ];
        for (file, text) in cases {
            assert_eq!(arrows(file, text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn sql_outside_the_store_is_found() {
        let found = |file: &str, text: &str| {
            sql_outside_the_store(&module_of(Path::new(file)), &Source::read(text)).len()
        };
        let statement = "const A: &str = \"\n   SELECT a\n FROM b\";";
        assert_eq!((found("engine/intake.rs", statement), found("store/alerts.rs", statement)), (1, 0));
        assert_eq!(found("http.rs", "fn f() { run(r#\"delete from \"jobs\" where 1\"#) }"), 1);
        assert_eq!(
            found("http.rs", "fn f() { run(concat!(\"UPDATE a \\\n SET b\", \"INSERT INTO c\")) }"),
            2
        );
        assert_eq!(found("http.rs", "use sqlx::Row;"), 1);
        assert_eq!(
            found(
                "http.rs",
                "// sqlx::Row, \"DELETE FROM a\"\nconst A: &str = \"select one from the list\";"
            ),
            1
        );
        assert_eq!(found("http.rs", "const A: &str = \"updated the set, selected from it\";"), 0);
    }

    #[test]
    fn headers_and_lengths_are_seen() {
        let module = ["model".to_owned()];
        assert_eq!(missing_header(&module, &Source::read("//! Alerts.\nuse a;")).len(), 0);
        assert_eq!(missing_header(&module, &Source::read("/// Alerts.\nuse a;")).len(), 1);
        let lines = |count: usize| "fn f() {}\n".repeat(count);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(400));
        assert_eq!(too_long(&module, &Source::read(&lines(501))).len(), 1);
        assert_eq!(too_long(&module, &Source::read(&(lines(500) + &tests))).len(), 0);
    }
}
