//! The alert rule, and what the manual tells people to write into their configuration of Alertmanager and Prometheus.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{alertmanager_accepts, path, read, receivers, succeeds};
use crate::harness::test_app::TestApp;
use crate::harness::{fixture, tool, yaml};

const RULES: &str = "deploy/prometheus-rules.yml";
const SELF_RULES: &str = "deploy/connwarden-rules.yml";
const ROUTE: &str = "deploy/alertmanager-route.yml";

/// The YAML blocks of a page that have a line which begins so.
fn blocks(page: &str, line: &str) -> Vec<String> {
    let text = read(page);
    let blocks = text.split("\n```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned());
    blocks.filter(|block| block.lines().any(|candidate| candidate.starts_with(line))).collect()
}

fn rules(file: &Value) -> &Value {
    &file["groups"][0]["rules"][0]
}

#[test]
fn the_alert_rule_fires_above_a_thousand_and_a_failed_scrape_does_not_end_it() {
    let tests = path("tests/fixtures/prometheus/prometheus-rules.test.yml");
    succeeds(&tool("promtool"), &[Path::new("test"), Path::new("rules"), &tests]);
}

#[test]
fn the_alerts_about_connwarden_itself_fire_when_they_should() {
    let tests = path("tests/fixtures/prometheus/connwarden-rules.test.yml");
    succeeds(&tool("promtool"), &[Path::new("test"), Path::new("rules"), &tests]);
}

/// Rules about a metric that does not exist never fire.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_alerts_about_connwarden_itself_is_there() {
    let app = TestApp::watching([&"http://127.0.0.1:1".parse().unwrap()]).await;
    app.notify(fixture("alertmanager/single-firing.am-0.33.1.json")).await;
    let metrics = app.get("/metrics").await.text;
    for _ in 0..5 {
        app.run_jobs().await;
        app.advance(std::time::Duration::from_secs(600));
    }
    let mut sampler = app.state.engine.sampler("nats").unwrap();
    app.state.engine.sample(&mut sampler).await.expect_err("nobody is there");
    // as with a system account
    app.state.metrics.system_account_connected("nats", "reader", false);
    let metrics = metrics + &app.get("/metrics").await.text;
    let rules = read(SELF_RULES);
    let names: BTreeSet<&str> = rules
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("connwarden_"))
        .collect();
    assert!(names.len() > 6, "{names:?}");
    for name in names {
        assert!(
            metrics
                .lines()
                .any(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} "))),
            "{name} is in no answer of /metrics"
        );
    }
    app.finish().await;
}

#[test]
fn the_alert_rule_of_the_manual_is_the_one_in_deploy() {
    succeeds(&tool("promtool"), &[Path::new("check"), Path::new("rules"), &path(RULES)]);
    let [manual] = &blocks("docs/getting-started.md", "groups:")[..] else { panic!("one block of rules") };
    assert_eq!(rules(&yaml::document(manual)), rules(&yaml::document(&read(RULES))));
    assert!(rules(&yaml::document(manual))["keep_firing_for"].is_string());
}

#[test]
fn every_alertmanager_snippet_loads() {
    alertmanager_accepts(&path(ROUTE));
    let directory = tempfile::tempdir().unwrap();
    for page in ["README.md", "docs/getting-started.md", "docs/deployment.md"] {
        let found = blocks(page, "receivers:");
        assert!(!found.is_empty(), "{page}");
        for (index, mut block) in found.into_iter().enumerate() {
            if yaml::document(&block).get("route").is_none() {
                block.push_str("\nroute: { receiver: connwarden }\n");
            }
            let file = directory.path().join(format!("{index}.yml"));
            std::fs::write(&file, block).unwrap();
            alertmanager_accepts(&file);
        }
    }
}

#[test]
fn the_route_tells_connwarden_and_whoever_was_told_before() {
    assert_eq!(receivers(&path(ROUTE), "NatsHighNumberOfConnections"), ["connwarden", "on-call"]);
    assert_eq!(receivers(&path(ROUTE), "SomethingElse"), ["on-call"]);
    let [manual] = &blocks("docs/getting-started.md", "route:")[..] else { panic!("one block with a route") };
    assert_eq!(yaml::document(manual), yaml::document(&read(ROUTE)));
}

#[test]
fn the_readme_in_deploy_names_every_file() {
    let readme = read("deploy/README.md");
    for folder in ["", "compose/"] {
        for entry in path(&format!("deploy/{folder}")).read_dir().unwrap() {
            let name = format!("{folder}{}", entry.unwrap().file_name().to_str().unwrap());
            assert!(name == "README.md" || readme.contains(&format!("({name})")), "{name}");
        }
    }
}
