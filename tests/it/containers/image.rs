//! `Dockerfile` and `.dockerignore`.

use std::path::Path;
use std::process::Command;

use regex::Regex;

use super::{flag, help_of_serve, only_known_flags, path, read, start_daemon};
use crate::harness::daemon;
use crate::harness::yaml;

/// An instruction of the Dockerfile: its name, and the rest of its line.
struct Instruction {
    name: String,
    text: String,
}

impl Instruction {
    /// What stands in a JSON list.
    fn words(&self) -> Vec<String> {
        let list = self.text.split_once('[').expect("a list").1;
        serde_json::from_str(&format!("[{list}")).unwrap()
    }
}

fn instructions() -> Vec<Instruction> {
    let text = read("Dockerfile");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty());
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let split = joined.lines().map(|line| line.split_once(' ').expect("an instruction and its arguments"));
    split.map(|(name, text)| Instruction { name: name.to_owned(), text: text.trim().to_owned() }).collect()
}

/// The arguments of every instruction of a name.
fn all(name: &str) -> Vec<String> {
    instructions().into_iter().filter(|found| found.name == name).map(|found| found.text).collect()
}

/// The only instruction of a name.
fn only(name: &str) -> Instruction {
    let mut found: Vec<_> = instructions().into_iter().filter(|found| found.name == name).collect();
    assert_eq!(found.len(), 1, "one {name}");
    found.remove(0)
}

/// What is copied from outside.
fn sources() -> Vec<String> {
    let copies = all("COPY").into_iter().filter(|copy| !copy.starts_with("--from="));
    copies
        .flat_map(|copy| {
            let mut words: Vec<String> = copy.split_whitespace().map(str::to_owned).collect();
            words.pop();
            words
        })
        .collect()
}

/// Whether `.dockerignore` keeps a path from the builder: the last pattern about it or a folder above decides.
fn ignored(path: &str) -> bool {
    let text = read(".dockerignore");
    let patterns = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    patterns.fold(false, |ignored, pattern| {
        let (exception, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, pattern),
        };
        let pattern = regex::escape(pattern.trim_matches('/')).replace(r"\*\*", ".*").replace(r"\*", "[^/]*");
        let pattern = Regex::new(&format!("^{pattern}(/.*)?$")).unwrap();
        if pattern.is_match(path) { !exception } else { ignored }
    })
}

#[test]
fn the_image_is_built_with_the_pinned_toolchain() {
    let pinned = read("rust-toolchain.toml");
    let pinned = pinned.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    let images = all("FROM");
    assert!(images[0].starts_with(&format!("rust:{pinned}-slim-")), "{images:?}");
    assert!(all("RUN").iter().any(|run| run.contains("cargo build --locked --release --bin connwarden")));
}

#[test]
fn what_the_image_copies_exists_and_reaches_the_builder_and_nothing_else_does() {
    for source in sources() {
        assert!(path(&source).exists(), "{source}");
        assert!(!ignored(&source), "{source} is in .dockerignore");
    }
    assert!(!ignored("src/main.rs") && !ignored("migrations/0001_main_job.sql"));
    for entry in path("").read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert_eq!(ignored(&name), !sources().contains(&name), "{name}");
    }
}

#[test]
fn cargo_finds_its_targets_in_what_the_image_copies() {
    let directory = tempfile::tempdir().unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-r").args(sources().iter().map(|source| path(source))).arg(directory.path());
    assert!(copy.status().unwrap().success());
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version=1"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let targets = metadata["packages"][0]["targets"].as_array().unwrap();
    for kind in ["lib", "bin", "custom-build"] {
        let target =
            targets.iter().find(|target| target["kind"][0] == kind).unwrap_or_else(|| panic!("{kind}"));
        assert!(std::path::Path::new(target["src_path"].as_str().unwrap()).exists(), "{target}");
    }
}

/// The files of this repository that the library was last compiled from, as the compiler noted them beside it: sources, and
/// whatever was compiled in (migrations, templates and their configuration, styles).
///
/// Cargo's own note beside the program would know the same, but `cargo test` alone does not write it.
fn compiled_in() -> Vec<String> {
    let test = std::env::current_exe().unwrap();
    let beside = test.parent().expect("a test is in a folder");
    let compiled = beside.read_dir().unwrap().map(|entry| entry.unwrap()).filter(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with("libconnwarden-") && name.ends_with(".rlib")
    });
    let newest = compiled.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap());
    let library = newest.expect("the tests are linked with the library").path();
    let note = library.to_str().unwrap().replace("/libconnwarden-", "/connwarden-").replace(".rlib", ".d");
    let note = std::fs::read_to_string(&note).unwrap_or_else(|error| panic!("{note}: {error}"));
    let mut rules = note.lines().filter_map(|line| line.split_once(": "));
    let (_, files) = rules.find(|(made, _)| made.ends_with(".rlib")).expect("what the library is made of");
    // a space inside a path has a backslash before it
    let files = files.replace("\\ ", "\0");
    let files = files.split_whitespace().map(|file| file.replace('\0', " "));
    let root = format!("{}/", path("").display().to_string().trim_end_matches('/'));
    let inside = files.map(|file| file.strip_prefix(&root).unwrap_or(&file).to_owned());
    let inside = inside.inspect(|file| assert!(!file.starts_with('/'), "{file} is elsewhere"));
    inside.collect()
}

#[test]
fn everything_that_is_compiled_in_is_copied() {
    let (files, sources) = (compiled_in(), sources());
    for known in ["src/lib.rs", "migrations/0001_main_job.sql", "askama.toml", "src/http/ui/assets/style.css"]
    {
        assert!(files.iter().any(|file| file == known), "{known} is not among {files:?}");
    }
    for file in files {
        let copied = sources.iter().any(|source| Path::new(&file).starts_with(source));
        assert!(copied, "the image is built without {file}");
    }
}

#[test]
fn the_image_runs_the_daemon_as_a_user_without_rights() {
    assert_eq!(only("ENTRYPOINT").words(), ["connwarden"]);
    let command = only("CMD").words();
    assert_eq!(command[0], "serve");
    only_known_flags(&command, &help_of_serve());

    let user = only("USER").text;
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
    let storage = flag(&command, "--storage.path");
    assert_eq!(only("VOLUME").text, storage);
    let (id, group) = user.split_once(':').unwrap();
    let made = format!("install -d -m 0750 -o {id} -g {group} {storage}");
    assert!(all("RUN").contains(&made), "{made}");

    let default = yaml::document(&read("connwarden.example.yml"));
    let port = default["web"]["listen_address"].as_str().unwrap().rsplit(':').next().unwrap();
    assert_eq!(only("EXPOSE").text, port);
    // without them, no monitoring address with https is trusted
    assert!(all("RUN").iter().any(|run| run.contains("ca-certificates")));
}

#[tokio::test]
async fn the_health_check_of_the_image_succeeds_only_while_the_daemon_answers() {
    let check = only("HEALTHCHECK").words();
    assert_eq!(check[0], "connwarden");
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = start_daemon(directory.path(), &[]).await;
    let check = async |url: &str| {
        let mut command = tokio::process::Command::new(daemon::program());
        command.args(&check[1..]).env("CONNWARDEN_SERVER", url).output().await.unwrap().status.code()
    };
    let url = daemon.url.to_string();
    assert_eq!(check(&url).await, Some(0));
    daemon.process.kill();
    assert_eq!(check(&url).await, Some(1));
}
