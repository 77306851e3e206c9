//! The files that connwarden is deployed with: each is loaded in its own program, and they agree with each other.
//!
//! No container is built or started here. What one would read is read where it lies, by the programs of `make tools`.

mod compose;
mod image;
mod manual;
mod units;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::daemon::{self, Daemon};
use crate::harness::tool;

/// A file of this repository, by its path.
fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The text of a file of this repository.
fn read(relative: &str) -> String {
    std::fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// Runs a program that has to succeed; what it wrote.
fn succeeds(program: &Path, arguments: &[impl AsRef<OsStr>]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} ended with {}:\n{text}", program.display(), output.status);
    text
}

/// The words of a list of texts.
fn words(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("a list, not {list}"));
    list.iter().map(|word| word.as_str().unwrap_or_else(|| panic!("a text, not {word}")).to_owned()).collect()
}

/// The value of a flag, as in `--flag value` or `--flag=value`.
fn flag<'w>(words: &'w [String], name: &str) -> &'w str {
    let value = words.iter().enumerate().find_map(|(index, word)| match word.strip_prefix(name)? {
        "" => words.get(index + 1).map(String::as_str),
        rest => rest.strip_prefix('='),
    });
    value.unwrap_or_else(|| panic!("{name} in {words:?}"))
}

/// Fails if a command line has a flag that the help text of its program does not.
fn only_known_flags(words: &[String], help: &str) {
    for word in words.iter().filter(|word| word.starts_with('-')) {
        let name = word.split('=').next().unwrap_or_default();
        let known = help.split_whitespace().any(|other| {
            let other = other.trim_end_matches(',');
            other == name || other.split(['=', '[']).next() == Some(name)
        });
        assert!(known, "{name} is not a flag of the program:\n{help}");
    }
}

/// Starts the daemon; the tests here may be the first to speak HTTP.
async fn start_daemon(directory: &Path, flags: &[String]) -> Daemon {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Daemon::start(directory, flags).await
}

/// The help text of `connwarden serve`.
fn help_of_serve() -> String {
    succeeds(daemon::program(), &["serve", "--help"])
}

/// Checks a configuration file of connwarden; there must be nothing to complain about, not even a warning.
fn connwarden_accepts(file: &Path) {
    let said = succeeds(daemon::program(), &[OsStr::new("check-config"), file.as_os_str()]);
    assert!(said.contains("good: 1 clusters, 3 servers") && !said.contains("warning"), "{said}");
}

/// Checks a configuration file of Alertmanager.
fn alertmanager_accepts(file: &Path) {
    succeeds(&tool("amtool"), &[OsStr::new("check-config"), file.as_os_str()]);
}

/// Who Alertmanager would notify of an alert.
fn receivers(file: &Path, alert_name: &str) -> Vec<String> {
    let config = format!("--config.file={}", file.display());
    let alert = format!("alertname={alert_name}");
    let output =
        Command::new(tool("amtool")).args(["config", "routes", "test", &config, &alert]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().split(',').map(str::to_owned).collect()
}
