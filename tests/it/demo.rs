//! The demo: what a newcomer sees first must work, and leave nothing behind.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::harness::daemon::program;

/// The demo opens thousands of connections and starts four programs.
const DEMO_PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_goes_from_a_leak_to_its_verified_end_and_cleans_up() {
    let programs = program().parent().unwrap();
    let swarm = programs.join("examples/swarm");
    assert!(swarm.exists(), "{} is missing: run `cargo build --example swarm`", swarm.display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo");
    let folder = tempfile::tempdir().unwrap();

    // its own folder for temporary files: whatever works there is its doing
    let demo = tokio::process::Command::new(script)
        .arg("--bin-dir")
        .arg(programs)
        .env("DEMO_ONCE", "1")
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(DEMO_PATIENCE, demo).await.expect("the demo ends").unwrap();
    let text = String::from_utf8(ended.stdout).unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), errors.as_str()), (Some(0), ""), "{text}");

    for said in [
        "right: report-worker is named as the culprit",
        "Connection leak: application report-worker",
        "$ connwarden plan drain --incident ",
        "right: it names ",
        "/approve \\\n    --oauth2-bearer ",
        " is running",
        " asked to leave, 0 cut: ",
        " is finished (effective)",
        "right: the incident is resolved (verified)",
        "connections of the other applications are still there",
        "NATS agrees that it is over: ",
        "Where to look, while it runs",
        "/mitigations/",
        "export CONNWARDEN_SERVER=http://127.0.0.1:",
        "done, everything was right",
    ] {
        assert!(text.contains(said), "no `{said}` in\n{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files are left over");
    assert_eq!(working_in(folder.path()), Vec::<String>::new(), "processes are left over");
}

/// The processes whose working directory is, or was, below `folder`.
fn working_in(folder: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let working = processes.filter(|process| {
        let directory: Option<PathBuf> = std::fs::read_link(process.join("cwd")).ok();
        directory.is_some_and(|directory| directory.starts_with(folder))
    });
    working.map(|process| process.display().to_string()).collect()
}
