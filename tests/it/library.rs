//! A real client library, as it introduces itself.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::daemon::run;
use crate::harness::document::groups;
use crate::harness::nats::{NEWEST, NatsServer};

#[tokio::test(flavor = "multi_thread")]
async fn a_real_library_is_shown_with_language_version_and_name() {
    let nats = NatsServer::start(NEWEST, "").await;
    let options = async_nats::ConnectOptions::new().name("orders-api-7d9f8b6c5-x2k4z");
    let client = options.connect(nats.clients.to_string()).await.unwrap();

    let monitor = nats.monitor.as_str();
    let (code, out, errors) = run(&["inspect", monitor, "--by", "library,name", "-o", "json"]).await;
    assert_eq!((code, errors.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&out).unwrap();
    let library = format!("rust {}", locked_version("async-nats"));
    assert_eq!(groups(&document, "library").into_iter().collect::<Vec<_>>(), [(library.as_str(), 1)]);
    let names = groups(&document, "name");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [("orders-api-7d9f8b6c5-x2k4z", 1)]);
    assert_eq!(document["coverage"]["complete"], json!(true));
    drop(client);
}

/// The version of a dependency, from the lock file.
fn locked_version(name: &str) -> String {
    let lock = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let entry = lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1).unwrap();
    entry.split('"').next().unwrap().to_owned()
}
