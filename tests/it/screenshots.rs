//! The pages in a real browser, wide and narrow, light and dark; pictures go to `target/screenshots/`.
//!
//! What only a browser can say is checked on each: nothing is loaded from elsewhere, nothing breaks the policy,
//! nothing is wider than the window, and text can be told from what is behind it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use connwarden::clock::Clock;
use serde_json::{Value, json};

use crate::harness::alertmanager::Alertmanager;
use crate::harness::browser::Browser;
use crate::harness::daemon::{Daemon, run};
use crate::harness::fake::ClosedPort;
use crate::harness::fixture;
use crate::harness::nats::{ACCOUNTS, NEWEST, NatsServer};
use crate::harness::payload::ALERT;
use crate::swarm::{ClientSpec, Options, Population, Swarm};

/// A desk and a phone.
const WIDTHS: [u32; 2] = [1280, 390];

const SCHEMES: [&str; 2] = ["light", "dark"];

/// Names that try to break out of the page, out of their line, or out of their column.
const HOSTILE: [&str; 5] = [
    "<img src=http://elsewhere.invalid/x onerror=alert(1)>",
    "invoice\u{202e}fdp.exe",
    "\u{1b}[31mred\u{7}",
    "ACCOUNT_SERVICE_WITH_A_NAME_THAT_HAS_NEITHER_SPACES_NOR_AN_END_AND_WOULD_PUSH_EVERYTHING_OUT_OF_THE_WINDOW",
    "größe Ελλάδα \" onmouseover=\"alert(1)",
];

#[tokio::test(flavor = "multi_thread")]
async fn pages_fit_their_window_and_load_nothing_from_elsewhere() {
    let nats = NatsServer::start_named("nats-1", NEWEST, ACCOUNTS).await;
    let mut second = NatsServer::start_named("nats-2", NEWEST, "").await;
    let swarm = leak_and_strangers(&nats, &second).await;
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::watching(directory.path(), [&nats.monitor, &second.monitor]).await;
    let browser = Browser::start().await;
    let pages = Pages { daemon: &daemon, browser: &browser, folder: folder() };

    pages.check("empty", "").await;
    let whole = pages.incident_of(&fixture("alertmanager/single-firing.am-0.33.1.json"), 1, true).await;
    pages.incident_of(&fixture("alertmanager/group3-firing.am-0.33.1.json"), 2, true).await;
    second.kill();
    let mut alert: Value =
        serde_json::from_str(&fixture("alertmanager/group3-firing.am-0.33.1.json")).unwrap();
    for alert in alert["alerts"].as_array_mut().unwrap() {
        alert["labels"]["alertname"] = json!("NatsSlowConsumers");
        alert["labels"]["pod"] = json!(HOSTILE[0]);
        alert["annotations"]["summary"] = json!(HOSTILE[1]);
        alert["generatorURL"] = json!("javascript:alert(1)");
    }
    let part = pages.incident_of(&alert.to_string(), 1, false).await;
    for resolved in ["single-resolved", "group3-mixed", "group3-rest-resolved"] {
        daemon.notify(fixture(&format!("alertmanager/{resolved}.am-0.33.1.json"))).await;
    }

    pages.check("incidents", "").await;
    pages.check("incidents-none", "?state=resolved&cluster=elsewhere").await;
    pages.check("incident", &format!("incidents/{whole}")).await;
    let document = daemon.get(&format!("api/v1/incidents/{whole}")).await;
    let earlier = document["snapshots"][0]["id"].as_str().unwrap();
    pages.check("incident-earlier", &format!("incidents/{whole}?snapshot={earlier}")).await;
    pages.check_folded(&format!("incidents/{whole}#by-ip")).await;
    let mitigation = plan_against_all(&daemon, directory.path(), &whole).await;
    pages.check("mitigation", &format!("mitigations/{mitigation}")).await;
    let pause = json!({ "name": "release-42", "reason": HOSTILE[3] }).to_string();
    let token = std::fs::read_to_string(directory.path().join("data/operator-token")).unwrap();
    let paused = daemon.client.post(daemon.at("api/v1/pauses")).bearer_auth(token.trim()).body(pause);
    let paused = paused.header("Content-Type", "application/json").send().await.unwrap();
    assert_eq!(paused.status(), 201);
    pages.check("mitigations", "mitigations").await;
    pages.check("mitigations-none", "mitigations?state=running").await;
    pages.check("incident-incomplete", &format!("incidents/{part}")).await;
    pages.check("cluster", "clusters/nats").await;
    pages.check("cluster-by-name", "clusters/nats?by=name,library&top=30").await;
    pages.check("error-404", "nowhere").await;
    pages.check("error-400", "clusters/nats?by=colour").await;
    swarm.close().await;

    let (quiet, incident) = with_a_silenced_alert(directory.path()).await;
    let pages = Pages { daemon: &quiet, browser: &browser, folder: pages.folder };
    pages.check("incident-silenced", &format!("incidents/{incident}")).await;
}

/// Plans to cut everybody, the newest first, which guards block.
async fn plan_against_all(daemon: &Daemon, storage: &Path, incident: &str) -> String {
    let server = daemon.at("").to_string();
    let (code, out, err) = run(&[
        "plan",
        "kick",
        "--incident",
        incident,
        "--kind",
        "client/nats",
        "--order",
        "newest",
        "--output",
        "json",
        "--server",
        &server,
        "--storage.path",
        storage.join("data").to_str().unwrap(),
    ])
    .await;
    assert_ne!(code, 0, "{out}{err}");
    let plan: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    plan["id"].as_str().unwrap().to_owned()
}

/// A daemon that has asked an Alertmanager about an alert that is silenced twice, and its incident.
async fn with_a_silenced_alert(beside: &Path) -> (Daemon, String) {
    let am = Alertmanager::start(&ClosedPort::new().url).await;
    let notification = fixture("alertmanager/single-firing.am-0.33.1.json");
    let sent: Value = serde_json::from_str(&notification).unwrap();
    am.push(&json!([{ "labels": sent["alerts"][0]["labels"] }])).await;
    let silences =
        [am.silence(ALERT, Clock::system().now()).await, am.silence(ALERT, Clock::system().now()).await];
    am.lists(ALERT, "suppressed").await;

    let directory = beside.join("quiet");
    std::fs::create_dir(&directory).unwrap();
    let config = directory.join("connwarden.yml");
    std::fs::write(&config, format!("alertmanagers: [{{ url: '{}' }}]\n", am.url)).unwrap();
    let arguments = ["--config.file".to_owned(), config.display().to_string()];
    let daemon = Daemon::start(&directory, &arguments).await;
    assert_eq!(daemon.notify(notification).await.0, 202);
    // it asks at every start
    drop(daemon);
    let daemon = Daemon::start(&directory, &arguments).await;
    let by = |incident: &Value| incident["alerts"][0]["suppression"]["silenced_by"].clone();
    let is_quiet = |incident: &Value| by(incident).as_array().is_some_and(|ids| ids.len() == silences.len());
    let incident = daemon.incident("a silenced alert", is_quiet).await;
    (daemon, incident["id"].as_str().unwrap().to_owned())
}

/// An application that leaks, others that do not, some without a name, and some with hostile ones.
async fn leak_and_strangers(nats: &NatsServer, second: &NatsServer) -> Swarm {
    let model = ClientSpec::new(nats.clients).user("alice", "secret").library("go", "1.42.0");
    let sources = (2..20).map(|last| Ipv4Addr::new(127, 0, 0, last));
    let population = Population::new(model.clone(), 500)
        .names([("orders-api-{pod}", 30), ("billing-{pod}", 14), ("checkout-web-{n}", 5), ("", 6)])
        .users([("alice", "secret", 5), ("bob", "secret", 2), ("carol", "secret", 1)])
        .sources(sources);
    let swarm = Swarm::open(population.plan().unwrap(), Options::default()).await.unwrap();
    let leak = model.clone().source(Ipv4Addr::new(127, 0, 0, 99)).library("nats.rs", "0.42.0");
    let leak = Population::new(leak, 800).names([("report-worker-{n}", 1)]);
    swarm.add(leak.plan().unwrap()).await.unwrap();
    let strangers = HOSTILE.into_iter().zip(1..).flat_map(|(name, count)| {
        let stranger = model.clone().name(name).library(name, "<b>1</b>");
        std::iter::repeat_n(stranger, count)
    });
    swarm.add(strangers).await.unwrap();
    let others = Population::new(ClientSpec::new(second.clients), 60).names([("metrics-{pod}", 1)]);
    swarm.add(others.plan().unwrap()).await.unwrap();
    swarm
}

/// Where pictures go; those of the last run are taken away.
fn folder() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("screenshots");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

struct Pages<'a> {
    daemon: &'a Daemon,
    browser: &'a Browser,
    folder: PathBuf,
}

impl Pages<'_> {
    /// Sends a notification, and waits until its incident has so many looks.
    async fn incident_of(&self, notification: &str, looks: usize, complete: bool) -> String {
        let (status, text) = self.daemon.notify(notification.to_owned()).await;
        assert_eq!(status, 202, "{text}");
        let incident = self
            .daemon
            .incident("a look", |incident| {
                incident["coverage"]["complete"] == json!(complete)
                    && incident["snapshots"].as_array().is_some_and(|all| all.len() == looks)
            })
            .await;
        incident["id"].as_str().unwrap().to_owned()
    }

    /// Looks at a page on a desk and on a phone, by day and by night.
    async fn check(&self, name: &str, path: &str) {
        let url = self.daemon.at(path);
        for width in WIDTHS {
            for scheme in SCHEMES {
                self.browser.emulate(width, scheme).await;
                self.browser.open(&url).await;
                let here = format!("{name} at {width}, {scheme}");
                self.browser.screenshot(&self.folder.join(format!("{name}-{width}-{scheme}.png"))).await;

                // what is folded away at first must fit as well
                self.browser
                    .run("document.querySelectorAll('details').forEach(one => one.open = true)")
                    .await;
                if name == "incident" && scheme == "light" {
                    let file = self.folder.join(format!("{name}-unfolded-{width}-{scheme}.png"));
                    self.browser.screenshot(&file).await;
                }
                let seen = self.browser.run(include_str!("screenshots/check.js")).await;
                assert_eq!(seen["problems"], json!([]), "{here}: {seen:#}");
                assert_eq!(seen["width"], json!(width), "{here}");
                let strangers = seen["loaded"].as_array().unwrap().iter();
                let strangers: Vec<_> =
                    strangers.filter(|loaded| !self.is_ours(loaded.as_str().unwrap())).collect();
                assert!(strangers.is_empty(), "{here} loaded {strangers:?}");

                let requests = self.browser.requests().await;
                assert!(requests.contains(&url), "{here}: {requests:?}");
                assert!(
                    requests.iter().all(|request| self.is_ours(request.as_str())),
                    "{here}: {requests:?}"
                );
                let mut complaints = self.browser.complaints().await;
                if name.starts_with("error-") {
                    // that the page itself is an error is no news
                    complaints.retain(|complaint| !complaint.contains("Failed to load resource"));
                }
                assert!(complaints.is_empty(), "{here}: {complaints:?}");
            }
        }
    }

    /// A link to a folded breakdown unfolds it, and where the keyboard is can be seen.
    async fn check_folded(&self, path: &str) {
        self.browser.open(&self.daemon.at("")).await;
        self.browser.open(&self.daemon.at(path)).await;
        let unfolded = "return document.getElementById('by-ip').closest('details').open";
        assert_eq!(self.browser.run(unfolded).await, json!(true));
        let outline = "const link = document.querySelector('main a'); link.focus({ focusVisible: true }); \
                       return getComputedStyle(link).outlineStyle";
        assert_eq!(self.browser.run(outline).await, json!("solid"));
    }

    fn is_ours(&self, url: &str) -> bool {
        url.starts_with(self.daemon.url.as_str())
    }
}
