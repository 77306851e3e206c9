//! The TLS listener: who is vouched for, and certificates that are renewed while it runs.

use std::path::Path;

use serde_json::{Value, json};

use super::delivery::{Guarded, alert, client, told};
use super::pki::{Authority, Certificate};
use crate::harness::alertmanager::Alertmanager;
use crate::harness::daemon::run;
use crate::harness::eventually;

/// The section `web` of a listener with a certificate, whose clients are vouched for by `clients`.
fn web(directory: &Path, clients: &Authority, credentials: Value) -> Value {
    let ca = directory.join("clients.crt");
    std::fs::write(&ca, &clients.pem).unwrap();
    json!({
        "tls": {
            "cert_file": directory.join("server.crt"),
            "key_file": directory.join("server.key"),
            "client_ca_file": ca,
        },
        "credentials": credentials,
    })
}

fn identity(certificate: &Certificate) -> String {
    format!("{}{}", certificate.pem, certificate.key)
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_proves_itself_by_a_certificate() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let directory = tempfile::tempdir().unwrap();
    servers.server().write(directory.path(), "server");
    let (certificate, key) = clients.client("alertmanager", None).write(directory.path(), "alertmanager");
    let credentials = json!([
        { "name": "alertmanager", "role": "webhook", "client_certificate": { "common_name": "alertmanager" } },
    ]);
    let web = web(directory.path(), &clients, credentials);
    let guarded = Guarded::start_trusting(directory, &web, Some(&servers.pem)).await;
    let daemon = &guarded.daemon;
    assert_eq!(daemon.url.scheme(), "https");

    let ca = guarded.path().join("servers.crt");
    std::fs::write(&ca, &servers.pem).unwrap();
    let http_config = format!(
        "tls_config:\n  ca_file: {}\n  cert_file: {}\n  key_file: {}",
        ca.display(),
        certificate.display(),
        key.display()
    );
    let alertmanager = Alertmanager::start_with(&daemon.webhook(), &http_config).await;
    alertmanager.push(&alert("WithCertificate")).await;
    told(daemon, "WithCertificate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_worth_its_names_and_its_authority() {
    let (servers, clients, others) =
        (Authority::new("servers"), Authority::new("clients"), Authority::new("others"));
    let directory = tempfile::tempdir().unwrap();
    servers.server().write(directory.path(), "server");
    let credentials = json!([
        { "name": "by-common-name", "role": "viewer", "client_certificate": { "common_name": "viewer" } },
        { "name": "by-dns-name", "role": "viewer", "client_certificate": { "dns_name": "viewer.example" } },
        { "name": "by-uri", "role": "webhook", "client_certificate": { "uri": "spiffe://example/am" } },
    ]);
    let web = web(directory.path(), &clients, credentials);
    let guarded = Guarded::start_trusting(directory, &web, Some(&servers.pem)).await;

    let get = async |certificate: Option<Certificate>| {
        let identity = certificate.as_ref().map(identity);
        let client = client(Some(&servers.pem), None, identity.as_deref());
        let answer = client.get(guarded.daemon.at("api/v1/incidents")).send().await.ok()?;
        Some(answer.status().as_u16())
    };
    let of = |common, alternative| Some(clients.client(common, alternative));
    assert_eq!(get(of("viewer", None)).await, Some(200));
    assert_eq!(get(of("viewer", Some("elsewhere.example"))).await, Some(200));
    assert_eq!(get(of("anybody", Some("viewer.example"))).await, Some(200));
    assert_eq!(get(of("anybody", Some("spiffe://example/am"))).await, Some(403), "a webhook");
    assert_eq!(get(of("Viewer", None)).await, Some(401));
    assert_eq!(get(of("viewer.example", None)).await, Some(401), "a common name is no DNS name");
    assert_eq!(get(of("anybody", Some("viewer"))).await, Some(401), "and no DNS name a common name");
    assert_eq!(get(of("anybody", Some("*.example"))).await, Some(401), "a pattern is not what it fits");
    assert_eq!(get(None).await, Some(401));
    assert_eq!(get(Some(others.client("viewer", None))).await, None, "nobody vouches for it");
    assert_eq!(get(Some(servers.client("viewer", None))).await, None);

    let plain = format!("http://127.0.0.1:{}/-/healthy", guarded.daemon.url.port().unwrap());
    assert!(client(None, None, None).get(plain).send().await.is_err(), "nobody speaks in the clear");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_while_it_runs_and_a_bad_one_changes_nothing() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let directory = tempfile::tempdir().unwrap();
    old.server().write(directory.path(), "server");
    let (cert_file, key_file) = (directory.path().join("server.crt"), directory.path().join("server.key"));
    let web = json!({ "tls": { "cert_file": cert_file, "key_file": key_file } });
    let guarded = Guarded::start_trusting(directory, &web, Some(&old.pem)).await;
    let healthy = guarded.daemon.at("-/healthy");
    // a new client each time: kept connections keep their certificate
    let trusted = async |authority: &Authority| {
        client(Some(&authority.pem), None, None).get(healthy.clone()).send().await.is_ok()
    };
    let token = std::fs::read_to_string(guarded.path().join("data/operator-token")).unwrap();
    let refused = async |authority: &Authority| {
        let client = client(Some(&authority.pem), Some(token.trim()), None);
        let text = client.get(guarded.daemon.at("metrics")).send().await.ok()?.text().await.ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("connwarden_tls_certificate_refused "))?;
        Some(line == "1")
    };
    assert!(trusted(&old).await && !trusted(&new).await);
    assert_eq!(refused(&old).await, Some(false));

    for (chain, key) in [
        (String::from("no certificate"), old.server().key),
        // one file of two is there already
        (new.server().pem, new.server().key),
        (new.server().pem, String::new()),
    ] {
        std::fs::write(&cert_file, chain).unwrap();
        std::fs::write(&key_file, key).unwrap();
        eventually("that it is refused", async || refused(&old).await.filter(|refused| *refused)).await;
        assert!(trusted(&old).await && !trusted(&new).await);
        old.server().write(guarded.path(), "server");
        eventually("that it is good again", async || refused(&old).await.filter(|refused| !refused)).await;
    }
    std::fs::remove_file(&key_file).unwrap();
    eventually("that it is refused", async || refused(&old).await.filter(|refused| *refused)).await;

    new.server().write(guarded.path(), "server");
    eventually("the new certificate", async || trusted(&new).await.then_some(())).await;
    assert!(!trusted(&old).await);
    assert_eq!(refused(&new).await, Some(false));
    let log = guarded.daemon.process.log();
    assert!(
        log.contains("the earlier certificate is served on") && log.contains("new connections get"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_authority_is_replaced_while_it_runs() {
    let (servers, old, new) = (Authority::new("servers"), Authority::new("old"), Authority::new("new"));
    let directory = tempfile::tempdir().unwrap();
    servers.server().write(directory.path(), "server");
    let credentials = json!([
        { "name": "viewer", "role": "viewer", "client_certificate": { "common_name": "viewer" } },
    ]);
    let web = web(directory.path(), &old, credentials);
    let guarded = Guarded::start_trusting(directory, &web, Some(&servers.pem)).await;
    let (one, other) = (identity(&old.client("viewer", None)), identity(&new.client("viewer", None)));
    let status = async |identity: &str| {
        let client = client(Some(&servers.pem), None, Some(identity));
        let answer = client.get(guarded.daemon.at("api/v1/incidents")).send().await.ok()?;
        Some(answer.status().as_u16())
    };
    assert_eq!((status(&one).await, status(&other).await), (Some(200), None));
    std::fs::write(guarded.path().join("clients.crt"), &new.pem).unwrap();
    eventually("the new authority", async || status(&other).await.filter(|status| *status == 200)).await;
    assert_eq!(status(&one).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_the_handshake_of_somebody_else_and_neither_does_the_end() {
    let servers = Authority::new("servers");
    let directory = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = servers.server().write(directory.path(), "server");
    let web = json!({ "tls": { "cert_file": cert_file, "key_file": key_file } });
    let mut guarded = Guarded::start_trusting(directory, &web, Some(&servers.pem)).await;
    let address = ("127.0.0.1", guarded.daemon.url.port().unwrap());
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let client = client(Some(&servers.pem), None, None);
    assert_eq!(client.get(guarded.daemon.at("-/healthy")).send().await.unwrap().status(), 200);
    drop(client);
    guarded.daemon.process.terminate();
    assert!(guarded.daemon.process.ended().await.success());
    let log = guarded.daemon.process.log();
    assert!(log.contains("stopped; everything that had begun is finished"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_of_tls_is_spoken_only_if_it_may_be() {
    let servers = Authority::new("servers");
    for (least, spoken) in [("1.2", true), ("1.3", false)] {
        let directory = tempfile::tempdir().unwrap();
        let (cert_file, key_file) = servers.server().write(directory.path(), "server");
        let web = json!({ "tls": { "cert_file": cert_file, "key_file": key_file, "min_version": least } });
        let guarded = Guarded::start_trusting(directory, &web, Some(&servers.pem)).await;
        let old = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([reqwest::Certificate::from_pem(servers.pem.as_bytes()).unwrap()])
            .tls_version_max(reqwest::tls::Version::TLS_1_2)
            .build()
            .unwrap();
        assert_eq!(old.get(guarded.daemon.at("-/healthy")).send().await.is_ok(), spoken, "{least}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_a_usable_certificate_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("servers");
    let (cert_file, key_file) = authority.server().write(directory.path(), "server");
    let refusal = async |cert_file: &Path, key_file: &Path, client_ca_file: Option<&Path>| {
        let mut tls = json!({ "cert_file": cert_file, "key_file": key_file });
        if let Some(file) = client_ca_file {
            tls["client_ca_file"] = json!(file);
        }
        let file = directory.path().join("connwarden.yml");
        let storage = directory.path().join("data");
        let config =
            json!({ "web": { "tls": tls, "listen_address": "127.0.0.1:0" }, "storage": { "path": storage } });
        std::fs::write(&file, config.to_string()).unwrap();
        let (code, _, errors) = run(&["serve", "--config.file", file.to_str().unwrap()]).await;
        assert_eq!(code, 1, "{errors}");
        errors.replace(directory.path().to_str().unwrap(), "")
    };
    let missing = directory.path().join("missing");
    let other = directory.path().join("other.key");
    std::fs::write(&other, authority.server().key).unwrap();
    let said = refusal(&missing, &key_file, None).await;
    assert!(said.contains("setting up web.tls: reading /missing: No such file"), "{said}");
    let said = refusal(&key_file, &key_file, None).await;
    assert!(said.contains("/server.key holds no certificate in PEM"), "{said}");
    let said = refusal(&cert_file, &cert_file, None).await;
    assert!(said.contains("/server.crt holds no private key in PEM"), "{said}");
    let said = refusal(&cert_file, &other, None).await;
    assert!(said.contains("using /server.crt with /other.key"), "{said}");
    let said = refusal(&cert_file, &key_file, Some(&key_file)).await;
    assert!(said.contains("/server.key holds no certificate in PEM"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_finds_a_daemon_with_tls_by_its_configuration() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let directory = tempfile::tempdir().unwrap();
    servers.server().write(directory.path(), "server");
    let credentials = json!([
        { "name": "viewer", "role": "viewer", "bearer_token": "token-of-the-viewer" },
    ]);
    let web = web(directory.path(), &clients, credentials);
    let guarded = Guarded::start_trusting(directory, &web, Some(&servers.pem)).await;
    let write = |name: &str, text: &str| {
        let file = guarded.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let ca = write("servers.crt", &servers.pem);
    let others = write("others.crt", &clients.pem);
    let empty = write("empty.crt", "");
    let port = guarded.daemon.url.port().unwrap();
    // what it says of secrets is for the daemon alone
    let mut seen = web.clone();
    seen["listen_address"] = json!(format!("0.0.0.0:{port}"));
    seen["credentials"] = json!([
        { "name": "alertmanager", "role": "webhook", "bearer_token_file": "/nowhere/a" },
        { "name": "grafana", "role": "webhook", "hmac": { "secret_file": "/nowhere/b" } },
        { "name": "ann", "role": "operator", "basic_auth": { "username": "ann", "password_file": "/nowhere/c" } },
    ]);
    let config = json!({
        "web": seen,
        "storage": { "path": guarded.path().join("data") },
        "clusters": [{ "name": "a", "monitor": "http://a", "bearer_token_file": "/nowhere/d" }],
    });
    let config = write("seen.yml", &config.to_string());
    let list = async |arguments: &[&str]| {
        let mut all = vec!["incidents", "list"];
        all.extend(arguments);
        let (code, out, errors) = run(&all).await;
        (code, format!("{out}{errors}"))
    };

    let (code, text) = list(&["--config.file", &config, "--ca-file", &ca]).await;
    assert_eq!((code, text.as_str()), (0, "no incidents\n"));
    for arguments in [&["--config.file", &config][..], &["--config.file", &config, "--ca-file", &others]] {
        let (code, text) = list(arguments).await;
        assert!(code == 1 && text.contains("the TLS certificate of https://127.0.0.1:"), "{text}");
        assert!(text.contains("--ca-file") && !text.contains("serve"), "{text}");
    }
    let (code, text) = list(&["--config.file", &config, "--ca-file", &empty]).await;
    assert!(code == 1 && text.contains("empty.crt holds no certificate in PEM"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_refuses_the_certificates_that_a_start_would_refuse() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let directory = tempfile::tempdir().unwrap();
    let web = web(directory.path(), &clients, json!([]));
    let file = directory.path().join("connwarden.yml");
    std::fs::write(&file, json!({ "web": web }).to_string()).unwrap();
    let file = file.to_str().unwrap();
    let check = async || {
        let (code, out, _) = run(&["check-config", file]).await;
        (code, out)
    };

    let (code, out) = check().await;
    assert!(code == 1 && out.contains("web.tls: reading ") && out.contains("server.crt"), "{out}");
    let (certificate, other) = (servers.server(), servers.server());
    Certificate { pem: certificate.pem.clone(), key: other.key }.write(directory.path(), "server");
    let (code, out) = check().await;
    assert!(code == 1 && out.contains("web.tls: using "), "{out}");
    certificate.write(directory.path(), "server");
    let (code, out) = check().await;
    assert!(code == 0 && out.ends_with("connwarden.yml: good: 0 clusters, 0 servers\n"), "{out}");
}
