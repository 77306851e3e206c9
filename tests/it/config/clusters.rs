//! Clusters in the configuration: their servers, matchers and system accounts.

use connwarden::config::{Config, parse_monitor_url};
use connwarden::model::system_account::{SystemLogin, SystemTls};
use insta::assert_snapshot;

use super::{parse, problems, read, warnings};

#[test]
fn clusters_are_checked() {
    assert_snapshot!(problems("same-name-on-one-line"), @r"
    connwarden.yml:1:54: clusters[1].name: `a` is the name of the cluster on line 1
    1 problem in connwarden.yml
    ");
    assert_snapshot!(problems("clusters"), @r"
    connwarden.yml:2:5: clusters[0].name: is missing
    connwarden.yml:3:11: clusters[1].name: expected 1 to 63 of the characters A-Z, a-z, 0-9, `_`, `.`, `-`, found `prod eu`
    connwarden.yml:4:14: clusters[1].monitor: expected at least one monitoring address
    connwarden.yml:6:5: clusters[2].monitor: expected at least one monitoring address
    connwarden.yml:7:5: clusters[3].monitor: is missing, give it, or a `system_account`
    connwarden.yml:7:11: clusters[3].name: `b` is the name of the cluster on line 5
    connwarden.yml:9:15: clusters[4].monitor[0]: expected a monitoring address such as `http://nats-1:8222`, found `nats://nats-1:4222`: that is where clients connect, the monitoring port is another (`http_port`)
    connwarden.yml:9:35: clusters[4].monitor[1]: expected a monitoring address such as `http://nats-1:8222`, found `nats-1:8222`, write `http://` before it
    connwarden.yml:9:48: clusters[4].monitor[2]: expected a monitoring address without a path, found `http://nats-3:8222/varz`, write `http://nats-3:8222`
    connwarden.yml:10:20: clusters[4].metric_prefix: the `_` behind the prefix is added, write `gnatsd`
    connwarden.yml:11:26: clusters[4].server_labels[1]: `pod` is listed twice
    connwarden.yml:11:31: clusters[4].server_labels[2]: expected a label name
    connwarden.yml:14:20: clusters[5].metric_prefix: expected the prefix of metric names such as `gnatsd`, found `9nats`
    13 problems in connwarden.yml
    ");
}

#[test]
fn a_monitoring_address_belongs_to_one_cluster() {
    assert_snapshot!(problems("same-address"), @r"
    connwarden.yml:3:33: clusters[0].monitor[1]: `http://nats-1` is listed twice, first on line 3
    connwarden.yml:8:9: clusters[1].monitor[1]: `http://nats-1` belongs to cluster `a` already, on line 3
    2 problems in connwarden.yml
    ");
}

#[test]
fn several_clusters_without_matchers_are_warned_about() {
    assert_snapshot!(warnings(&read("no-matchers")), @r"
    connwarden.yml:2:5: clusters[0].match: cluster `a` is one of 2 without matchers, so alerts are only found to be about it by their server
    connwarden.yml:6:12: clusters[1].match: cluster `b` is one of 2 without matchers, so alerts are only found to be about it by their server
    ");
    assert_eq!(warnings(&read("one-without-matchers")), "");
}

#[test]
fn without_a_file_one_cluster_is_watched() {
    let urls = ["http://nats-1:8222", "http://NATS-2:8222/"].map(|url| parse_monitor_url(url).unwrap());
    let config = Config::from_monitors(urls.to_vec());
    let same = parse("clusters: [{name: nats, monitor: [http://nats-1:8222, http://nats-2:8222]}]");

    assert_eq!(format!("{config:?}"), format!("{:?}", same.unwrap()));
}

#[test]
fn a_system_account_has_an_address_and_one_login() {
    assert_snapshot!(problems("system-accounts"), @r"
    connwarden.yml:3:21: clusters[0].system_account.urls: is missing
    connwarden.yml:3:21: clusters[0].system_account.credentials_file: is missing, give it, or an `nkey_file`, or a `user` and its `password_file`
    connwarden.yml:5:21: clusters[1].system_account.password_file: is missing
    connwarden.yml:5:28: clusters[1].system_account.urls: expected at least one address where clients connect
    connwarden.yml:7:29: clusters[2].system_account.urls[0]: expected an address where clients connect such as `nats://nats-1:4222`, found `http://nats-1:8222`: monitoring addresses belong into `monitor`
    connwarden.yml:7:64: clusters[2].system_account.urls[2]: `nats://nats-1:4222` is listed twice
    connwarden.yml:7:118: clusters[2].system_account.user: both `credentials_file` and `user` are given, only one can be shown
    connwarden.yml:9:75: clusters[3].system_account.password_file: is given without a `user`
    connwarden.yml:9:95: clusters[3].system_account.tls.cert_file: is given without a `key_file`
    connwarden.yml:12:21: clusters[4].system_account.urls: is missing
    connwarden.yml:12:21: clusters[4].system_account.credentials_file: is missing, give it, or an `nkey_file`, or a `user` and its `password_file`
    connwarden.yml:12:22: clusters[4].system_account.url: unknown key, did you mean `urls`?
    connwarden.yml:12:42: clusters[4].system_account.password: unknown key, did you mean `password_file`?
    13 problems in connwarden.yml
    ");
    let config = parse(
        "clusters:\n  - name: a\n    match: env=\"a\"\n    system_account:\n      urls: [nats://NATS-1, 'tls://nats-2:4443']\n      \
         nkey_file: reader.nk\n      tls: {ca_file: ca.crt, cert_file: a.crt, key_file: a.key}\n",
    );
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((warnings(&config).as_str(), config.clusters[0].monitor.len()), ("", 0));
    let account = config.clusters[0].system_account.as_ref().unwrap();
    let urls: Vec<&str> = account.urls.iter().map(url::Url::as_str).collect();
    assert_eq!(urls, ["nats://nats-1:4222", "tls://nats-2:4443"]);
    assert_eq!(account.login, SystemLogin::Nkey("reader.nk".into()));
    let (ca_file, client) = (Some("ca.crt".into()), Some(("a.crt".into(), "a.key".into())));
    assert_eq!(account.tls, Some(SystemTls { ca_file, client }));
}
