//! The daemon with a system account: alerts about servers without a monitoring URL, and what is said of the account.

use super::*;
use crate::harness::daemon::run;
use crate::harness::document::entries;
use crate::harness::payload::{ALERT, firing, notification, resolved};

/// An alert about a server of this name, that holds from some connections on.
fn high(server: &str, threshold: u64) -> Value {
    let mut alert = firing(ALERT, "exporter:7777");
    alert["labels"]["server_id"] = json!(server);
    alert["generatorURL"] = json!(format!(
        "http://prometheus.example:9090/graph?g0.expr=gnatsd_varz_connections+%3E+{threshold}&g0.tab=1"
    ));
    alert
}

async fn the_incident(app: &TestApp) -> Value {
    let list = app.get("/api/v1/incidents").await.json();
    let id = list["incidents"][0]["id"].as_str().unwrap();
    app.get(&format!("/api/v1/incidents/{id}")).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_a_server_without_a_monitoring_url_is_seen_to_its_end() {
    let nats = start_cluster(NEWEST, "east", 2, ACCOUNTS).await;
    let swarm = clients(&nats).await;
    let secrets = tempfile::tempdir().unwrap();
    let config = config(&urls(&nats[..1]), &[], "timeout: 5s", "sys", &secret(&secrets, "secret"));
    let app = TestApp::with(config).await;

    let before = app.get("/api/v1/clusters").await.json();
    assert_eq!(before["clusters"][0]["servers"], json!([]));
    assert_eq!(before["clusters"][0]["system_account"]["connected"], false);
    app.state.engine.learn_servers().await;
    let after = app.get("/api/v1/clusters").await.json();
    let cluster = &after["clusters"][0];
    let told: Vec<_> = cluster["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|server| (&server["url"], &server["name"]))
        .collect();
    assert_eq!(told, [(&Value::Null, &json!("east-0")), (&Value::Null, &json!("east-1"))]);
    assert_eq!(
        (&cluster["system_account"]["connected"], &cluster["system_account"]["error"]),
        (&json!(true), &Value::Null)
    );
    let metrics = app.get("/metrics").await.text;
    assert!(
        metrics.contains("connwarden_system_account_connected{cluster=\"prod\",role=\"reader\"} 1\n"),
        "{metrics}"
    );

    // it is remembered over a restart, before anybody was asked again
    let app = app.restart().await;
    let firing = high("east-1", 10);
    assert_eq!(app.notify(notification(std::slice::from_ref(&firing))).await.status, 202);
    app.run_jobs().await;
    let incident = the_incident(&app).await;
    let alert = &incident["alerts"][0];
    assert_eq!(
        (&alert["server_name"], &alert["server_url"], &alert["server_matched_by"]),
        (&json!("east-1"), &Value::Null, &json!("server_id"))
    );
    assert_eq!(
        (&alert["truth"]["server"], &incident["coverage"]["complete"]),
        (&json!("east-1"), &json!(true))
    );
    let count = alert["truth"]["connections"].as_u64().unwrap();
    assert!((60..=61).contains(&count), "{alert:#}");
    let page = app.browse(&format!("/incidents/{}", incident["id"].as_str().unwrap())).await;
    assert!(page.text.contains("by the system account"), "{}", page.text);

    // that it is over is false, and NATS says so over the system account
    let over = resolved(firing, "2026-11-24T08:59:30Z");
    assert_eq!(app.notify(notification(&[over])).await.status, 202);
    for _ in 0..2 {
        app.advance(Duration::from_secs(15));
        app.run_jobs().await;
    }
    let incident = the_incident(&app).await;
    assert_eq!(incident["state"], "triggered", "{incident:#}");
    let texts: Vec<&str> = entries(&incident).map(|(_, text)| text).collect();
    assert!(
        texts.iter().any(|text| text.contains("east-1 has") && text.contains("(threshold 10)")),
        "{texts:#?}"
    );

    // until it is true
    swarm.close().await;
    eventually("the end of the clients", async || (nats[1].connections().await <= 1).then_some(())).await;
    // the pause between two looks has grown
    for _ in 0..8 {
        app.advance(Duration::from_secs(15));
        app.run_jobs().await;
    }
    let incident = the_incident(&app).await;
    assert_eq!(
        (&incident["state"], &incident["resolution"]),
        (&json!("resolved"), &json!("verified")),
        "{incident:#}"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_connection_is_called_by_instance_and_cluster() {
    let nats = NatsServer::start(NEWEST, ACCOUNTS).await;
    let secrets = tempfile::tempdir().unwrap();
    let config = config(&[nats.url()], &[&nats], "timeout: 5s", "sys", &secret(&secrets, "secret"));
    let app = TestApp::with(config).await;
    let mut names = Vec::new();
    let named = async |app: &TestApp| {
        let breakdown = app.get("/api/v1/clusters/prod/breakdown?by=name").await.json();
        breakdown["breakdowns"]["name"]["groups"][0]["key"].as_str().unwrap().to_owned()
    };
    names.push(named(&app).await);
    let app = app.restart().await;
    names.push(named(&app).await);
    app.finish().await;
    assert_eq!(names[0], names[1], "it is another after a restart");
    let instance = names[0].strip_prefix("connwarden/").and_then(|rest| rest.strip_suffix("/prod")).unwrap();
    assert!(instance.len() == 16 && instance.bytes().all(|byte| byte.is_ascii_hexdigit()), "{instance}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_check_config_say_whether_it_can_be_used() {
    let nats = start_cluster(NEWEST, "east", 2, ACCOUNTS).await;
    let directory = tempfile::tempdir().unwrap();
    let password = secret(&directory, "secret");
    let file = directory.path().join("connwarden.yml");
    let storage = directory.path().join("data");
    let write = |user: &str, password: &Path| {
        let text = format!(
            "storage: {{path: {storage:?}}}\nobserve: {{connect_timeout: 2s}}\nclusters:\n  - name: prod\n    \
             system_account:\n      urls: [\"{}\"]\n      user: {user}\n      password_file: {password:?}\n",
            nats[0].url()
        );
        std::fs::write(&file, text).unwrap();
    };
    let file_name = file.to_str().unwrap();
    let doctor = async || run(&["doctor", "--config.file", file_name]).await;

    write("sys", &password);
    let (code, text, _) = run(&["check-config", file_name]).await;
    assert_eq!(code, 0, "{text}");
    let (code, text, errors) = doctor().await;
    assert_eq!(code, 0, "{text}{errors}");
    assert!(
        text.contains("ok       cluster prod: the system account shows 2 servers: east-0, east-1\n"),
        "{text}"
    );

    assert!(text.contains("ok       cluster prod: kick and drain can work\n"), "{text}");

    write("alice", &password);
    let (code, text, _) = doctor().await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("failed   cluster prod: PING over the system account: nobody answers: the user is not"),
        "{text}"
    );

    write("sys", &directory.path().join("gone"));
    for (code, text, _) in [run(&["check-config", file_name]).await, doctor().await] {
        assert_eq!(code, 1, "{text}");
        assert!(
            text.contains("system_account: cannot read ") && text.contains("gone: No such file"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_monitoring_url_that_starts_anew_is_the_same_server() {
    let mut nats = start_cluster(NEWEST, "east", 2, ACCOUNTS).await;
    let secrets = tempfile::tempdir().unwrap();
    let config = config(&urls(&nats[..1]), &[], "timeout: 5s", "sys", &secret(&secrets, "secret"));
    let app = TestApp::with(config).await;
    app.state.engine.learn_servers().await;
    let ids = async || {
        let clusters = app.get("/api/v1/clusters").await.json();
        let servers = clusters["clusters"][0]["servers"].as_array().unwrap().clone();
        let told = servers
            .iter()
            .map(|server| (server["name"].as_str().unwrap().to_owned(), server["server_id"].clone()));
        told.collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = ids().await;

    drop(nats.remove(1));
    let routes = nats[0].routes.unwrap();
    let own = format!(
        "cluster {{ name: east, listen: \"127.0.0.1:-1\", routes: [\"nats-route://{routes}\"] }}\n{ACCOUNTS}"
    );
    let _anew = NatsServer::start_named("east-1", NEWEST, &own).await;
    eventually("the server as it is now", async || {
        app.state.engine.learn_servers().await;
        (ids().await["east-1"] != before["east-1"]).then_some(())
    })
    .await;
    let after = ids().await;
    assert_eq!((after.len(), &after["east-0"]), (2, &before["east-0"]));
    let changes = app.get("/api/v1/changes").await.json();
    let titles =
        changes["changes"].as_array().unwrap().iter().map(|change| change["title"].as_str().unwrap());
    assert_eq!(titles.collect::<Vec<_>>(), ["east-1 was started anew"], "{changes:#}");
    app.finish().await;
}
