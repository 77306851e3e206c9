//! `docker-compose.yml` and the files that it mounts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use super::{
    alertmanager_accepts, connwarden_accepts, flag, help_of_serve, only_known_flags, path, read,
    read as read_repository, receivers,
};
use super::{start_daemon, succeeds, words};
use crate::access::delivery::client;
use crate::harness::nats::NEWEST;
use crate::harness::{tool, yaml};

const NATS: [&str; 3] = ["nats-1", "nats-2", "nats-3"];

fn compose() -> Value {
    yaml::document(&read("docker-compose.yml"))
}

fn services(compose: &Value) -> BTreeMap<String, Value> {
    let services = compose["services"].as_object().unwrap();
    services.iter().map(|(name, service)| (name.clone(), service.clone())).collect()
}

fn command(service: &str) -> Vec<String> {
    words(&compose()["services"][service]["command"])
}

fn list(service: &Value, key: &str) -> Vec<String> {
    service.get(key).map(words).unwrap_or_default()
}

/// The services that must have been started before.
fn dependencies(service: &Value) -> Vec<String> {
    match &service["depends_on"] {
        Value::Object(conditions) => conditions.keys().cloned().collect(),
        _ => list(service, "depends_on"),
    }
}

/// The mounts of a service: where from, where to.
fn mounts(service: &Value) -> Vec<(String, String)> {
    let mounts = list(service, "volumes");
    mounts
        .iter()
        .map(|mount| {
            let mut parts = mount.split(':');
            (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned())
        })
        .collect()
}

/// Where the secrets are that the service `secrets` makes.
const SECRETS: &str = "/run/connwarden";

/// The files of a service as its container sees them, below a folder of their own; those that name secrets name them
/// there.
struct Root {
    directory: TempDir,
}

impl Root {
    fn of(service: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = Self { directory };
        for (from, to) in mounts(&compose()["services"][service]) {
            if let Some(from) = from.strip_prefix("./") {
                let to = root.file(&to);
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                let text = std::fs::read_to_string(path(from)).unwrap();
                std::fs::write(to, text.replace(SECRETS, root.file(SECRETS).to_str().unwrap())).unwrap();
            } else if from == "secrets" {
                assert_eq!(to, SECRETS);
                root.make_secrets();
            }
        }
        root
    }

    /// Runs what the service `secrets` runs; it wants nothing but what every shell has.
    fn make_secrets(&self) {
        let directory = self.file(SECRETS);
        std::fs::create_dir_all(&directory).unwrap();
        let words = command("secrets");
        // compose takes one dollar sign of two away
        let script = words.last().unwrap().replace("$$", "$").replace(SECRETS, directory.to_str().unwrap());
        succeeds(Path::new("/bin/sh"), &[&words[1], &script]);
    }

    fn file(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside.trim_start_matches('/'))
    }
}

fn monitors() -> Vec<String> {
    words(&yaml::document(&read("deploy/compose/connwarden.yml"))["clusters"][0]["monitor"])
}

fn prometheus() -> Value {
    yaml::document(&read("deploy/compose/prometheus.yml"))
}

/// The port on which a service listens inside its container.
fn port_of(service: &str) -> Option<u16> {
    match service {
        "exporter-1" | "exporter-2" | "exporter-3" => Some(7777),
        "prometheus" => Some(9090),
        "alertmanager" => Some(9093),
        "connwarden" => {
            let config = yaml::document(&read("deploy/compose/connwarden.yml"));
            config["web"]["listen_address"].as_str()?.strip_prefix("0.0.0.0:")?.parse().ok()
        }
        _ => None,
    }
}

fn address(url: &str) -> (String, u16) {
    let url = Url::parse(url).unwrap();
    (url.host_str().unwrap().to_owned(), url.port().unwrap())
}

#[test]
fn every_mounted_file_exists_and_every_volume_is_declared() {
    let compose = compose();
    let declared = compose["volumes"].as_object().unwrap();
    let mut used = Vec::new();
    for (name, service) in services(&compose) {
        for (from, to) in mounts(&service) {
            assert!(to.starts_with('/'), "{name}: {to}");
            match from.strip_prefix("./") {
                Some(file) => assert!(path(file).is_file(), "{name}: {file}"),
                None => used.push(from),
            }
        }
    }
    used.sort();
    used.dedup();
    assert_eq!(used.iter().collect::<Vec<_>>(), declared.keys().collect::<Vec<_>>());
}

#[test]
fn every_port_is_published_on_loopback_only_and_once() {
    let mut published = Vec::new();
    for (name, service) in services(&compose()) {
        for port in list(&service, "ports") {
            let parts: Vec<&str> = port.split(':').collect();
            let [host, outside, inside] = parts[..] else { panic!("{name}: {port}") };
            assert_eq!(host, "127.0.0.1", "{name}: {port}");
            let inside: u16 = inside.parse().unwrap();
            assert!(
                port_of(&name).map_or([4222, 8222].contains(&inside), |port| port == inside),
                "{name} does not listen on {inside}"
            );
            published.push(outside.to_owned());
        }
        assert!(service.get("network_mode").is_none(), "{name}");
    }
    let count = published.len();
    published.sort();
    published.dedup();
    assert_eq!(published.len(), count);
}

#[test]
fn every_image_has_a_version_and_nats_the_one_that_is_tested() {
    let compose = compose();
    let services = services(&compose);
    for (name, service) in &services {
        match service.get("image") {
            Some(image) => {
                let (_, tag) = image.as_str().unwrap().split_once(':').unwrap_or_default();
                assert!(
                    tag.starts_with(|first: char| first.is_ascii_digit() || first == 'v'),
                    "{name}: {image}"
                );
            }
            None => assert_eq!((name.as_str(), &service["build"]), ("connwarden", &json!("."))),
        }
        for other in dependencies(service) {
            assert!(services.contains_key(&other), "{name} depends on {other}");
        }
    }
    for name in NATS {
        assert_eq!(services[name]["image"], format!("nats:{NEWEST}"));
    }
}

#[test]
fn every_flag_of_the_compose_file_is_known_to_its_program() {
    for name in NATS {
        let help = succeeds(&tool(&format!("nats-server-{NEWEST}")), &["--help"]);
        only_known_flags(&command(name), &help);
        assert_eq!(flag(&command(name), "--name"), name);
    }
    only_known_flags(&command("prometheus"), &succeeds(&tool("prometheus"), &["--help"]));
    only_known_flags(&command("alertmanager"), &succeeds(&tool("alertmanager"), &["--help"]));
    only_known_flags(&command("connwarden"), &help_of_serve());
}

#[test]
fn every_nats_server_accepts_its_configuration() {
    for name in NATS {
        let root = Root::of(name);
        let config = root.file(flag(&command(name), "--config"));
        succeeds(&tool(&format!("nats-server-{NEWEST}")), &[Path::new("-t"), Path::new("-c"), &config]);
    }
}

#[test]
fn prometheus_watches_an_exporter_for_each_server_and_tells_alertmanager() {
    let root = Root::of("prometheus");
    let config = root.file(flag(&command("prometheus"), "--config.file"));
    succeeds(&tool("promtool"), &[Path::new("check"), Path::new("config"), &config]);

    let prometheus = prometheus();
    let targets = |of: &Value| -> Vec<String> {
        let groups = of["static_configs"].as_array().unwrap();
        groups.iter().flat_map(|group| words(&group["targets"])).collect()
    };
    let jobs = prometheus["scrape_configs"].as_array().unwrap();
    let mut all: Vec<String> = jobs.iter().flat_map(&targets).collect();
    let alertmanagers = targets(&prometheus["alerting"]["alertmanagers"][0]);
    assert_eq!(alertmanagers.len(), 1);
    all.extend(alertmanagers);
    for target in &all {
        let (service, port) = target.split_once(':').unwrap();
        assert!(services(&compose()).contains_key(service), "{target}");
        assert_eq!(port_of(service), port.parse().ok(), "{target}");
    }
    for exporter in services(&compose()).keys().filter(|name| name.starts_with("exporter-")) {
        assert!(all.iter().any(|target| target.starts_with(&format!("{exporter}:"))), "{exporter}");
    }
}

#[test]
fn the_exporters_call_the_servers_as_connwarden_does() {
    let exporters = services(&compose()).into_iter().filter(|(name, _)| name.starts_with("exporter-"));
    let urls: Vec<String> = exporters
        .map(|(name, service)| {
            let words = words(&service["command"]);
            // -varz has the number of the rule; an id of the server's own would change at every restart
            assert_eq!(words[..words.len() - 1], ["-varz", "-connz"], "{name}");
            words.last().unwrap().clone()
        })
        .collect();
    assert_eq!(urls, monitors());

    let config = read("deploy/compose/nats.conf");
    for (url, name) in monitors().iter().zip(NATS) {
        assert_eq!(address(url), (name.to_owned(), 8222));
        assert!(config.contains(&format!("\"nats://{name}:6222\"")), "{name} in the routes");
    }
    assert!(config.contains("http: \"0.0.0.0:8222\"") && config.contains("listen: \"0.0.0.0:6222\""));
}

#[test]
fn alertmanager_posts_to_connwarden() {
    let root = Root::of("alertmanager");
    let config = root.file(flag(&command("alertmanager"), "--config.file"));
    alertmanager_accepts(&config);
    assert_eq!(receivers(&config, "NatsHighNumberOfConnections"), ["connwarden"]);

    let alertmanager = yaml::document(&read("deploy/compose/alertmanager.yml"));
    let receivers = alertmanager["receivers"].as_array().unwrap();
    let connwarden = receivers.iter().find(|receiver| receiver["name"] == "connwarden").unwrap();
    let url = Url::parse(connwarden["webhook_configs"][0]["url"].as_str().unwrap()).unwrap();
    assert_eq!(url.host_str(), Some("connwarden"));
    assert_eq!(url.port(), port_of("connwarden"));
    assert_eq!(url.path(), "/api/v1/webhook/alertmanager");
}

#[test]
fn secrets_are_made_once_and_are_nobody_elses() {
    let roots = [Root::of("connwarden"), Root::of("connwarden")];
    let read = |root: &Root, name: &str| std::fs::read_to_string(root.file(SECRETS).join(name)).unwrap();
    let mut all = Vec::new();
    for root in &roots {
        for name in ["alertmanager", "prometheus", "viewer"] {
            let secret = read(root, name);
            assert!(secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()), "{secret}");
            all.push(secret);
        }
    }
    roots[0].make_secrets();
    assert_eq!(read(&roots[0], "viewer"), all[2], "it is not made anew");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6);
    assert_eq!(roots[0].file(SECRETS).read_dir().unwrap().count(), 3);
    // who shows one finds it where it is made, and it is there before anybody reads it
    let compose = compose();
    for name in ["alertmanager", "prometheus", "connwarden"] {
        assert!(mounts(&compose["services"][name]).contains(&("secrets".into(), SECRETS.into())), "{name}");
    }
    let condition = &compose["services"]["connwarden"]["depends_on"]["secrets"]["condition"];
    assert_eq!(condition, "service_completed_successfully");
}

#[tokio::test]
async fn the_alert_of_the_compose_file_is_about_its_cluster_and_one_server() {
    let root = Root::of("connwarden");
    let words = command("connwarden");
    let config = root.file(flag(&words, "--config.file"));
    connwarden_accepts(&config);
    let volume = flag(&words, "--storage.path");
    assert!(mounts(&compose()["services"]["connwarden"]).contains(&("connwarden".into(), volume.into())));

    let mut alert = json!({
        "status": "firing",
        "labels": {
            "alertname": "NatsHighNumberOfConnections",
            "instance": "exporter-2:7777",
            "job": "nats",
            "server_id": monitors()[1],
            "severity": "warning",
        },
        "annotations": { "description": "VALUE = 1001" },
        "startsAt": "2026-11-24T09:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
    });
    for (name, value) in prometheus()["global"]["external_labels"].as_object().unwrap() {
        alert["labels"][name] = value.clone();
    }

    let directory = tempfile::tempdir().unwrap();
    let flags = ["--config.file".to_owned(), config.display().to_string()];
    let mut daemon = start_daemon(directory.path(), &flags).await;
    let body = json!({ "version": "4", "groupKey": "{}", "status": "firing", "alerts": [alert] }).to_string();
    assert_eq!(daemon.notify(body.clone()).await.0, 401);
    let read = |path: &str| std::fs::read_to_string(root.file(path)).unwrap();
    // what the others show, by the names by which they know it
    let shown = |service: &str, of: &str| {
        let config = yaml::document(&read_repository(&format!("deploy/compose/{service}.yml")));
        read(config.pointer(of).unwrap_or_else(|| panic!("{service}: {of}")).as_str().unwrap())
    };
    let file = "/receivers/1/webhook_configs/0/http_config/authorization/credentials_file";
    let delivery = daemon.client.post(daemon.webhook()).bearer_auth(shown("alertmanager", file));
    let delivery = delivery.header("Host", "connwarden:9480").body(body);
    assert_eq!(delivery.send().await.unwrap().status(), 202);
    let file = "/scrape_configs/1/authorization/credentials_file";
    let scrape = daemon.client.get(daemon.at("metrics")).bearer_auth(shown("prometheus", file));
    assert_eq!(scrape.send().await.unwrap().status(), 200);
    let page = daemon.client.get(daemon.at("")).basic_auth("viewer", Some(read("/run/connwarden/viewer")));
    assert_eq!(page.send().await.unwrap().status(), 200);

    let operator = std::fs::read_to_string(directory.path().join("data/operator-token")).unwrap();
    daemon.client = client(None, Some(operator.trim()), None);
    let incident = daemon.incident("an incident", |incident| incident["alerts"][0].is_object()).await;
    assert_eq!(incident["cluster"], "compose");
    assert_eq!(incident["mapped_by"], "matchers");
    assert_eq!(incident["alerts"][0]["server_url"], "http://nats-2:8222/");
    assert_eq!(incident["alerts"][0]["server_matched_by"], "server_id");
}
