//! The systemd unit and the Kubernetes objects.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{connwarden_accepts, flag, help_of_serve, only_known_flags, read, words};
use crate::harness::{daemon, yaml};

const UNIT: &str = "deploy/connwarden.service";
const KUBERNETES: &str = "deploy/kubernetes.yml";

/// The settings of the unit with this name.
fn settings(name: &str) -> Vec<String> {
    let unit = read(UNIT);
    let settings = unit.lines().filter_map(|line| line.split_once('='));
    settings.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn the_systemd_unit_starts_the_daemon_where_it_may_write() {
    let start: Vec<String> = settings("ExecStart")[0].split_whitespace().map(str::to_owned).collect();
    assert_eq!(start[1], "serve");
    only_known_flags(&start, &help_of_serve());
    let state = format!("/var/lib/{}", settings("StateDirectory")[0]);
    assert_eq!(flag(&start, "--storage.path"), state);
    let check = format!("{} check-config {}", start[0], flag(&start, "--config.file"));
    assert_eq!(settings("ExecStartPre"), [check]);
    for (name, value) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("CapabilityBoundingSet", ""),
    ] {
        assert_eq!(settings(name), [value], "{name}");
    }
}

/// Where systemd is, it reads the unit itself, with this program in the place of the installed one.
#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let analyze = Path::new("/usr/bin/systemd-analyze");
    if !analyze.exists() {
        eprintln!("systemd-analyze is not here: not checked");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let unit = read(UNIT).replace("/usr/local/bin/connwarden", daemon::program().to_str().unwrap());
    let file = directory.path().join("connwarden.service");
    std::fs::write(&file, unit).unwrap();
    let output = Command::new(analyze).arg("verify").arg("--man=no").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // it may have something to say about other units of the machine
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("connwarden")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

fn objects() -> Vec<Value> {
    yaml::documents(&read(KUBERNETES))
}

fn object(kind: &str) -> Value {
    let mut found: Vec<Value> = objects().into_iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "one {kind}");
    found.remove(0)
}

fn by_name<'v>(list: &'v Value, name: &str) -> &'v Value {
    list.as_array()
        .unwrap()
        .iter()
        .find(|item| item["name"] == name)
        .unwrap_or_else(|| panic!("{name} in {list}"))
}

#[test]
fn kubernetes_mounts_a_configuration_that_connwarden_accepts() {
    let deployment = object("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments = words(&container["args"]);
    only_known_flags(&arguments, &help_of_serve());

    let file = Path::new(flag(&arguments, "--config.file"));
    let mount = by_name(&container["volumeMounts"], "config");
    assert_eq!(file.parent().unwrap().to_str(), mount["mountPath"].as_str());
    let map = object("ConfigMap");
    assert_eq!(by_name(&pod["volumes"], "config")["configMap"]["name"], map["metadata"]["name"]);
    let config =
        map["data"][file.file_name().unwrap().to_str().unwrap()].as_str().expect("the file in the map");
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("connwarden.yml");
    let secrets = by_name(&container["volumeMounts"], "secrets");
    let mounted = secrets["mountPath"].as_str().unwrap();
    assert_eq!(by_name(&pod["volumes"], "secrets")["secret"]["secretName"], "connwarden");
    for name in ["alertmanager", "prometheus"] {
        assert!(config.contains(&format!("{mounted}/{name}\n")), "{name}");
        assert!(read(KUBERNETES).contains(&format!("--from-literal={name}=")), "{name} is made by nobody");
        std::fs::write(directory.path().join(name), format!("0123456789abcdef-{name}")).unwrap();
    }
    std::fs::write(&copy, config.replace(mounted, directory.path().to_str().unwrap())).unwrap();
    connwarden_accepts(&copy);
    let hosts = words(&yaml::document(config)["web"]["allowed_hosts"]);
    assert!(hosts.iter().any(|host| host == "connwarden.monitoring.svc"));

    let storage = by_name(&container["volumeMounts"], "storage");
    assert_eq!(storage["mountPath"], flag(&arguments, "--storage.path"));
    let claim = &by_name(&pod["volumes"], "storage")["persistentVolumeClaim"]["claimName"];
    assert_eq!(*claim, object("PersistentVolumeClaim")["metadata"]["name"]);

    let port = by_name(&container["ports"], "http")["containerPort"].as_u64().unwrap();
    assert_eq!(yaml::document(config)["web"]["listen_address"], format!("0.0.0.0:{port}"));
    let service = object("Service");
    assert_eq!(service["spec"]["ports"][0], json!({ "name": "http", "port": port, "targetPort": "http" }));
    assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
}

#[test]
fn kubernetes_never_runs_two_and_asks_the_paths_that_there_are() {
    let deployment = object("Deployment");
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"], json!({ "type": "Recreate" }));
    let pod = &deployment["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"], deployment["spec"]["selector"]["matchLabels"]);
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["image"], concat!("connwarden:", env!("CARGO_PKG_VERSION")));
    assert_eq!(container["livenessProbe"]["httpGet"], json!({ "path": "/-/healthy", "port": "http" }));
    assert_eq!(container["readinessProbe"]["httpGet"], json!({ "path": "/-/ready", "port": "http" }));
}

#[test]
fn kubernetes_runs_it_as_the_user_of_the_image_without_rights_and_shut_off() {
    let deployment = object("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let user = &pod["securityContext"]["runAsUser"];
    assert!(read("Dockerfile").contains(&format!("USER {user}:{}", pod["securityContext"]["runAsGroup"])));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["containers"][0]["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        })
    );
    // what is sent is sent in the clear: that is only as good as this
    let policy = object("NetworkPolicy");
    let selected = &policy["spec"]["podSelector"]["matchLabels"];
    assert_eq!(*selected, deployment["spec"]["selector"]["matchLabels"]);
    assert!(policy["spec"]["ingress"][0]["from"][0].is_object());
}
