//! What the tests share: real servers, the daemon as a process, the daemon inside the test, and fakes that misbehave.
//!
//! (The paths are spelt out because the benchmarks use it too.)
//!
//! Nothing here sleeps to be on the safe side: everything waits on the thing itself, for [`PATIENCE`] at most.

#[path = "harness/alertmanager.rs"]
pub mod alertmanager;
#[path = "harness/browser.rs"]
pub mod browser;
#[path = "harness/daemon.rs"]
pub mod daemon;
#[path = "harness/diagnosed.rs"]
pub mod diagnosed;
#[path = "harness/document.rs"]
pub mod document;
#[path = "harness/fake.rs"]
pub mod fake;
#[path = "harness/nats.rs"]
pub mod nats;
#[path = "harness/payload.rs"]
pub mod payload;
#[path = "harness/process.rs"]
pub mod process;
#[path = "harness/prometheus.rs"]
pub mod prometheus;
#[path = "harness/tee.rs"]
pub mod tee;
#[path = "harness/test_app.rs"]
pub mod test_app;
#[path = "harness/yaml.rs"]
pub mod yaml;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long anything may take before a test gives up. Machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often something that cannot ring a bell is looked at.
pub const GLANCE: Duration = Duration::from_millis(20);

/// A program that `make tools` or `make browser` has fetched.
pub fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin").join(name);
    assert!(path.exists(), "{} is missing: run `make tools browser`", path.display());
    path
}

/// The text of a fixture, by its path below `tests/fixtures`.
pub fn fixture(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A client for asking what the tests have started.
pub fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap()
}

/// Looks until there is something to see.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(GLANCE).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}
