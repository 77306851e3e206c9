//! What is read of a file, and what holds where a file says nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use connwarden::config::{Config, LogFormat};
use connwarden::model::application::InstancePart;
use connwarden::model::guard::{GuardSettings, TimeWindow};
use connwarden::model::labels::Labels;
use connwarden::model::log_source::LogSource;
use connwarden::model::mitigation_rules::Pace;
use connwarden::model::owner::Pattern;
use connwarden::model::protection::ProtectedBySettings;
use connwarden::model::remote_auth::RemoteAuth;
use connwarden::model::retention::Keep;
use insta::assert_snapshot;
use secrecy::ExposeSecret;

use super::{read, warnings};

#[test]
fn an_empty_file_means_all_defaults() {
    let defaults = format!("{:?}", Config::default());

    for name in ["empty", "comments-only", "nothing-in-sections"] {
        assert_eq!(format!("{:?}", read(name)), defaults, "{name}");
    }
    assert_snapshot!(format!("{:#?}", Config::default()), @r#"
    Config {
        web: Web {
            listen_address: 127.0.0.1:9480,
            max_body_bytes: 16777216,
            access: Access {
                credentials: [],
                tls: None,
                allowed_hosts: [],
                rate_limit: RateLimit {
                    requests_per_second: 100,
                    burst: 1000,
                },
            },
        },
        storage: Storage {
            path: "data",
        },
        log: Log {
            level: "info",
            format: Text,
        },
        observe: Observe {
            connect_timeout: 3s,
            timeout: 30s,
            idle_after: 300s,
            max_reply_bytes: 2147483648,
        },
        incidents: Incidents {
            reopen_window: 900s,
            stale_timeout: 600s,
            verify_interval: 15s,
            connection_alerts: [
                "NatsHighNumberOfConnections",
            ],
            reconcile_interval: 120s,
        },
        diagnosis: DiagnosisRules {
            near_limit: 0.8,
            near_account_limit: 0.9,
            churn_per_minute: 500.0,
            connections_per_user: 100,
            imbalance_factor: 2.0,
            imbalance_share: 0.7,
            least_connections: 50,
            cpu_share: 0.8,
            memory_share: 0.9,
        },
        mitigations: MitigationSettings {
            enabled: true,
            guards: GuardSettings {
                protected: ProtectedBySettings {
                    applications: [],
                    names: [],
                    accounts: [],
                    users: [],
                    networks: [],
                },
                max_victims: 50,
                max_share_percent: 10.0,
                keep: 1,
                max_snapshot_age: 120s,
                replan_threshold_percent: 10.0,
                cool_down: 600s,
                max_cool_down: 21600s,
                hourly_budget: 500,
                breaker_failures: 3,
                breaker_window: 14400s,
                max_unreachable_percent: 34.0,
                windows: [],
                approval_valid: 900s,
                stop_errors: 3,
                stop_errors_percent: 20.0,
            },
            pace: Pace {
                batch: 10,
                batch_pause: 2s,
                drain_wait: 30s,
                verify_after: [
                    5s,
                    30s,
                    120s,
                    600s,
                ],
            },
            pause_file: None,
        },
        retention: Retention {
            incidents: Keep {
                age: 7776000s,
                count: 10000,
            },
            notifications: Keep {
                age: 2592000s,
                count: 100000,
            },
            snapshots: Keep {
                age: 2592000s,
                count: 5000,
            },
            changes: Keep {
                age: 7776000s,
                count: 10000,
            },
            mitigations: Keep {
                age: 7776000s,
                count: 10000,
            },
            audit: Keep {
                age: 31622400s,
                count: 100000,
            },
        },
        baseline: Sampling {
            enabled: true,
            interval: 60s,
            keep: 2592000s,
            top: 500,
            metric_applications: 20,
        },
        applications: ApplicationRules {
            rules: [],
            strip: {
                Uuid,
                Pod,
                Nuid,
                Hex,
                Ip,
                Version,
                Number,
            },
        },
        clusters: [],
        alertmanagers: [],
        prometheus: [],
        owners_file: None,
        reverse_dns: ReverseDns {
            enabled: false,
            servers: [],
            timeout: 2s,
            cache_ttl: 3600s,
        },
        warnings: [],
    }
    "#);
}

#[test]
fn every_setting_is_read() {
    let config = read("everything");

    assert_eq!(config.web.listen_address.to_string(), "[::1]:9999");
    assert_eq!(config.web.max_body_bytes, 1_000_000);
    assert_eq!(config.storage.path, Path::new("/var/lib/connwarden"));
    assert_eq!(config.log.level, "info,connwarden=debug");
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.observe.connect_timeout, Duration::from_millis(500));
    assert_eq!(config.observe.timeout, Duration::from_secs(90));
    assert_eq!(config.observe.idle_after, Duration::from_secs(3600));
    assert_eq!(config.observe.max_reply_bytes, 64 << 20);
    assert_eq!(config.incidents.reopen_window, Duration::from_secs(1800));
    assert_eq!(config.incidents.stale_timeout, Duration::from_secs(300));
    assert_eq!(config.incidents.verify_interval, Duration::from_secs(1));
    assert_eq!(config.incidents.connection_alerts, ["A", "B"]);
    assert_eq!(config.incidents.reconcile_interval, Duration::from_secs(30));
    let [day, hour] = [24, 1].map(|hours| Duration::from_secs(3600 * hours));
    assert_eq!(config.retention.incidents, Keep { age: 365 * day, count: 7 });
    assert_eq!(config.retention.notifications, Keep { age: 36 * hour, count: 100_000 });
    assert_eq!(config.retention.snapshots, Keep { age: 30 * day, count: 1 });
    let parts: Vec<InstancePart> = config.applications.parts().collect();
    assert_eq!(parts, [InstancePart::Uuid, InstancePart::Number]);
    assert_eq!(config.applications.application("legacy-orders-9"), "legacy-orders");

    let mitigations = &config.mitigations;
    let guards = &mitigations.guards;
    let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::new(*text)).collect::<Vec<_>>();
    let protected = ProtectedBySettings {
        applications: patterns(&["payments-*", "billing"]),
        names: patterns(&["cron-?"]),
        accounts: patterns(&["BANK"]),
        users: patterns(&["root"]),
        networks: ["10.4.0.0/16", "2001:db8::1/128"].map(|text| text.parse().unwrap()).to_vec(),
    };
    let weekdays = [true, true, true, true, true, false, false];
    assert_eq!(
        *guards,
        GuardSettings {
            protected,
            max_victims: 10_000,
            max_share_percent: 2.5,
            keep: 0,
            max_snapshot_age: Duration::from_secs(30),
            replan_threshold_percent: 0.0,
            cool_down: hour,
            max_cool_down: day,
            hourly_budget: 1000,
            breaker_failures: 1,
            breaker_window: hour,
            max_unreachable_percent: 50.0,
            windows: vec![
                TimeWindow { days: weekdays, from_minute: 480, until_minute: 1080 },
                TimeWindow { days: weekdays.map(|day| !day), from_minute: 1320, until_minute: 360 },
            ],
            approval_valid: Duration::from_secs(300),
            ..GuardSettings::default()
        }
    );
    let pace = Pace {
        batch: 1,
        batch_pause: Duration::ZERO,
        drain_wait: Duration::from_secs(60),
        verify_after: vec![Duration::from_secs(60)],
    };
    assert_eq!((mitigations.enabled, &mitigations.pace), (false, &pace));
    assert_eq!(mitigations.pause_file.as_deref(), Some(Path::new("/etc/connwarden/pause")));

    let [eu, us] = config.clusters.as_slice() else { panic!("{:?}", config.clusters) };
    assert_eq!(eu.name, "prod-eu");
    assert_eq!(
        eu.monitor.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["http://nats-1:8222/", "http://nats-2/"]
    );
    assert_eq!(eu.matchers.to_string(), r#"{cluster="prod-eu", env=~"prod|staging", team!="x"}"#);
    assert!(eu.matchers.matches(&Labels::from_iter([("cluster", "prod-eu"), ("env", "prod")])));
    assert_eq!(eu.metric_prefix, "nats");
    assert_eq!(eu.server_labels, ["node", "pod.name"]);
    assert_eq!(eu.account_limits, BTreeMap::from([("APP".to_owned(), 300)]));
    assert_eq!(eu.thresholds, BTreeMap::from([("A".to_owned(), 500), ("B".to_owned(), 70_000)]));
    let Some(RemoteAuth::Basic { username, password }) = &eu.auth else { panic!("{:?}", eu.auth) };
    assert_eq!((username.as_str(), password.expose_secret()), ("watcher", "hunter2"));

    assert_eq!(us.monitor.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["https://nats.example/"]);
    assert_eq!(us.matchers.to_string(), r#"{cluster="prod-us"}"#);
    assert_eq!(us.metric_prefix, "gnatsd");
    let [file, other, loki] = eu.logs.as_slice() else { panic!("{:?}", eu.logs) };
    let LogSource::File { path, server } = file else { panic!("{file:?}") };
    assert_eq!((path.as_path(), server.as_deref()), (Path::new("/var/log/nats.log"), Some("nats-1")));
    assert!(matches!(other, LogSource::File { server: None, .. }), "{other:?}");
    let LogSource::Loki { endpoint, query } = loki else { panic!("{loki:?}") };
    assert_eq!((endpoint.url.as_str(), query.as_str()), ("https://loki.example/", "{app=\"nats\"} |= \"x\""));
    assert_eq!(endpoint.tenant.as_deref(), Some("team-a"));
    assert!(matches!(endpoint.auth, Some(RemoteAuth::Bearer(_))) && us.logs.is_empty());
    assert_eq!(us.server_labels, ["pod", "instance"]);
    let Some(RemoteAuth::Bearer(token)) = &us.auth else { panic!("{:?}", us.auth) };
    assert_eq!(token.expose_secret(), "hunter2");

    let [first, second] = config.alertmanagers.as_slice() else { panic!("{:?}", config.alertmanagers) };
    assert_eq!(first.url.as_str(), "http://am-1:9093/");
    let Some(RemoteAuth::Bearer(token)) = &first.auth else { panic!("{:?}", first.auth) };
    assert_eq!(token.expose_secret(), "hunter2");
    assert_eq!(second.url.as_str(), "http://mimir.example/alertmanager");
    assert!(second.auth.is_none());
    assert_eq!((first.tenant.as_deref(), second.tenant.as_deref()), (None, Some("team-a")));
    let [prometheus] = config.prometheus.as_slice() else { panic!("{:?}", config.prometheus) };
    assert_eq!(prometheus.url.as_str(), "https://prometheus.example/");
    let Some(RemoteAuth::Basic { username, password }) = &prometheus.auth else { panic!() };
    assert_eq!((username.as_str(), password.expose_secret()), ("reader", "hunter2"));
    assert_eq!(prometheus.tenant.as_deref(), Some("team-a|team-b"));

    assert_eq!(warnings(&config), "");
}
