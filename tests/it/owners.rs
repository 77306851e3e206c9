//! The owners file: read strictly, and again when it changes.

use connwarden::app::owners::OwnersFile;
use connwarden::config::parse_owners;
use connwarden::model::breakdown::Dimension;
use insta::assert_snapshot;

use crate::harness::daemon::{Daemon, run};
use crate::harness::eventually;

const OWNERS: &str = "
owners:
  - application: [orders-*, checkout]
    team: orders
    runbook: https://wiki.example/orders
    contact: '#orders'
  - account: PAYMENTS
    team: payments
  - ip: [10.4.0.0/16, '::ffff:10.5.0.1', 2001:db8::/32]
    team: network
  - {user: svc-*, team: services}
";

#[test]
fn every_key_is_read() {
    let owners = parse_owners(OWNERS, "owners.yml").unwrap();
    let orders = owners.of(Dimension::Application, "orders-api").unwrap();
    assert_eq!(orders.team, "orders");
    assert_eq!(orders.runbook.as_deref(), Some("https://wiki.example/orders"));
    assert_eq!(orders.contact.as_deref(), Some("#orders"));
    for (dimension, key, team) in [
        (Dimension::Application, "checkout", Some("orders")),
        (Dimension::Account, "PAYMENTS", Some("payments")),
        (Dimension::Ip, "10.4.3.2", Some("network")),
        (Dimension::Ip, "10.5.0.1", Some("network")),
        (Dimension::Ip, "10.5.0.2", None),
        (Dimension::User, "svc-mail", Some("services")),
    ] {
        assert_eq!(owners.of(dimension, key).map(|owner| owner.team.as_str()), team, "{key}");
    }
    assert!(parse_owners("", "owners.yml").unwrap().is_empty());
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let problems = parse_owners(
        "
owners:
  - {application: a, team: one, runbok: 'https://wiki.example'}
  - {application: a, team: two}
  - {team: three}
  - {ip: 10.4.0.1/16, team: four}
  - {ip: [10.4.0.0/33, example], team: five}
  - {account: B, runbook: 'javascript:alert(1)', contact: ''}
  - nonsense
owner: []
",
        "owners.yml",
    )
    .unwrap_err();
    assert_snapshot!(problems.to_string(), @r"
    owners.yml:3:33: owners[0].runbok: unknown key, did you mean `runbook`?
    owners.yml:4:19: owners[1].application: has an owner already, on line 3
    owners.yml:5:5: owners[2].application: is missing, give it or one of `account`, `user`, `ip`
    owners.yml:6:10: owners[3].ip: `10.4.0.1/16` has bits behind its prefix, write `10.4.0.0/16`
    owners.yml:7:11: owners[4].ip[0]: expected a network such as `10.4.0.0/16`, or an address, found `10.4.0.0/33`
    owners.yml:7:24: owners[4].ip[1]: expected a network such as `10.4.0.0/16`, or an address, found `example`
    owners.yml:8:5: owners[5].team: is missing
    owners.yml:8:27: owners[5].runbook: expected an address that begins with `http://` or `https://`, found `javascript:alert(1)`
    owners.yml:8:59: owners[5].contact: expected one line of text, found ``
    owners.yml:9:5: owners[6]: expected a mapping of `application`, `account`, `user`, `ip`, `team`, `runbook`, `contact`, found text
    owners.yml:10:1: owner: unknown key, did you mean `owners`?
    11 problems in owners.yml
    ");
}

#[test]
fn a_file_is_read_again_when_it_changes_and_its_mistakes_are_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("owners.yml");
    assert!(OwnersFile::open(path.clone()).unwrap_err().to_string().contains("cannot read the owners file"));
    std::fs::write(&path, OWNERS).unwrap();
    let (mut file, owners) = OwnersFile::open(path.clone()).unwrap();
    assert_eq!(owners.len(), 7);
    assert_eq!(file.reread(), Ok(None), "it has not changed");

    std::fs::write(&path, "owners: [{application: a}]").unwrap();
    assert!(file.reread().unwrap_err().to_string().contains("owners[0].team: is missing"));
    assert_eq!(file.reread(), Ok(None), "that was told");
    // as editors and Kubernetes replace files
    let other = directory.path().join("other.yml");
    std::fs::write(&other, "owners: [{application: a, team: b}]").unwrap();
    std::fs::rename(&other, &path).unwrap();
    assert_eq!(file.reread().unwrap().map(|owners| owners.len()), Some(1));
    std::fs::remove_file(&path).unwrap();
    assert!(file.reread().is_err());
    assert_eq!(file.reread(), Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_keeps_the_owners_of_before_when_the_file_is_spoilt() {
    let directory = tempfile::tempdir().unwrap();
    let owners = directory.path().join("owners.yml");
    let config = directory.path().join("connwarden.yml");
    std::fs::write(&config, format!("owners_file: {}\n", owners.display())).unwrap();
    std::fs::write(&owners, "owners: [{application: a}]").unwrap();
    let (code, out, _) = run(&["check-config", config.to_str().unwrap()]).await;
    assert!(code == 1 && out.contains("owners.yml:1:10: owners[0].team: is missing"), "{out}");

    std::fs::write(&owners, OWNERS).unwrap();
    let (code, out, _) = run(&["check-config", config.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{out}");
    let arguments = ["--config.file".to_owned(), config.display().to_string()];
    let daemon = Daemon::start(directory.path(), &arguments).await;
    std::fs::write(&owners, "owners: [{application: a}]").unwrap();
    let said = async |what: &str| {
        eventually(what, async || daemon.process.log().contains(what).then_some(())).await;
    };
    said("owners.yml cannot be used").await;
    said("owners[0].team: is missing").await;
    std::fs::write(&owners, "owners: [{application: a, team: b}]").unwrap();
    said("1 things have an owner").await;
}
