//! The document of one incident, word for word.

use std::collections::BTreeSet;

use connwarden::http::api::documents::IncidentDocument;
use connwarden::model::breakdown::{By, Dimension};
use regex::Regex;

use super::{monitor, post};
use crate::harness::test_app::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn the_document_tells_everything() {
    let nats = monitor().await;
    let app = TestApp::watching([&nats.url]).await;
    let id = post(&app, "single-firing.am-0.33.1").await["id"].as_str().unwrap().to_owned();
    let answer = app.get(&format!("/api/v1/incidents/{id}?top=2")).await;

    // read and written again, as the command line does: nothing is lost
    let mut document: IncidentDocument = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), answer.json());
    assert!(document.breakdowns.keys().copied().eq(BTreeSet::from_iter(By::standard())));
    document.breakdowns.retain(|by, _| *by == By::from(Dimension::Application));

    let text = serde_json::to_string_pretty(&document)
        .unwrap()
        .replace(nats.url.as_str(), "http://nats-1.example:8222/");
    let text = Regex::new(r#"("duration_ms": | in )\d+"#).unwrap().replace_all(&text, "${1}0").into_owned();
    insta::assert_snapshot!(text, @r#"
    {
      "id": "01a20cc8-8e80-7000-8000-000000000002",
      "cluster": "nats",
      "mapped_by": "assumed",
      "alert_name": "NatsHighNumberOfConnections",
      "state": "triggered",
      "reopened": 0,
      "previous": null,
      "opened_at": "2026-11-24T09:00:00Z",
      "updated_at": "2026-11-24T09:00:00Z",
      "headline": "10 connections on labA; 20 % are orders; 1 have no name",
      "alerts": [
        {
          "fingerprint": "94fdb6a7190087da",
          "status": "firing",
          "generation": 1,
          "flaps": 0,
          "stale_since": null,
          "suppression": null,
          "starts_at": "2026-11-23T08:28:27.875107Z",
          "ended_at": null,
          "value": 1024.0,
          "value_source": "annotation_text",
          "truth": {
            "server": "labA",
            "connections": 10,
            "at_least": false,
            "varz_connections": 9,
            "connz_total": 10,
            "value_saturated": false
          },
          "server_url": "http://nats-1.example:8222/",
          "server_name": null,
          "server_matched_by": "only_server",
          "labels": {
            "alertname": "NatsHighNumberOfConnections",
            "cluster": "prod-eu",
            "env": "prod",
            "exp": "single",
            "instance": "nats-1:7777",
            "job": "nats",
            "server_id": "nats-1",
            "severity": "warning"
          },
          "annotations": {
            "description": "High number of NATS connections (1024) for nats-1\n  VALUE = 1024",
            "runbook_url": "https://runbooks.example/nats/high-connections",
            "summary": "NATS high number of connections (instance nats-1)"
          },
          "generator_url": "http://prometheus.example:9090/graph?g0.expr=gnatsd_connz_num_connections+%3E+1000&g0.tab=1",
          "first_seen_at": "2026-11-24T09:00:00Z",
          "last_seen_at": "2026-11-24T09:00:00Z"
        }
      ],
      "snapshots": [
        {
          "id": "01a20cc8-8e80-7000-8000-000000000003",
          "taken_at": "2026-11-24T09:00:00Z",
          "coverage": {
            "seen": 10,
            "total": 10,
            "complete": true,
            "duration_ms": 0,
            "bytes": 11886,
            "servers": [
              {
                "url": "http://nats-1.example:8222/",
                "via": "http",
                "name": "labA",
                "server_id": "NBAKGI336IOS37UHRV4ZPH6MCIUOTES4PRV7VD7U3SDJQHRVLPXHOMMC",
                "version": "2.15.1",
                "seen": 10,
                "connz_total": 10,
                "varz_connections": 9,
                "max_connections": 65536,
                "vitals": {
                  "at": "2026-11-23T08:28:35.332521622Z",
                  "started_at": "2026-11-23T08:28:31.519494375Z",
                  "config_loaded_at": "2026-11-23T08:28:31.519494375Z",
                  "config_digest": "sha256:2477060e602b18b578b0366f283392b553014d0bb88e74e5b389130d189e8139",
                  "nats_cluster": null,
                  "system_account": "SYS",
                  "connections": 9,
                  "total_connections": 9,
                  "max_connections": 65536,
                  "leafnodes": 1,
                  "cpu_percent": 0.0,
                  "cores": 2,
                  "memory_bytes": 21901312,
                  "memory_limit_bytes": null,
                  "slow_consumers": 0,
                  "slow_clients": 0,
                  "stale_connections": 0,
                  "stalled_clients": 0,
                  "ping_interval_ms": 120000,
                  "ping_max": 2,
                  "write_deadline_ms": 10000,
                  "auth_timeout_ms": 2000,
                  "max_pending_bytes": 67108864,
                  "subscriptions": 99,
                  "in_msgs": 1,
                  "out_msgs": 4,
                  "in_bytes": 2,
                  "out_bytes": 2252
                },
                "duration_ms": 0,
                "bytes": 11886,
                "error": null
              }
            ],
            "system_error": null,
            "idle_after_ms": 300000
          }
        }
      ],
      "snapshot": "01a20cc8-8e80-7000-8000-000000000003",
      "taken_at": "2026-11-24T09:00:00Z",
      "coverage": {
        "seen": 10,
        "total": 10,
        "complete": true,
        "duration_ms": 0,
        "bytes": 11886,
        "servers": [
          {
            "url": "http://nats-1.example:8222/",
            "via": "http",
            "name": "labA",
            "server_id": "NBAKGI336IOS37UHRV4ZPH6MCIUOTES4PRV7VD7U3SDJQHRVLPXHOMMC",
            "version": "2.15.1",
            "seen": 10,
            "connz_total": 10,
            "varz_connections": 9,
            "max_connections": 65536,
            "vitals": {
              "at": "2026-11-23T08:28:35.332521622Z",
              "started_at": "2026-11-23T08:28:31.519494375Z",
              "config_loaded_at": "2026-11-23T08:28:31.519494375Z",
              "config_digest": "sha256:2477060e602b18b578b0366f283392b553014d0bb88e74e5b389130d189e8139",
              "nats_cluster": null,
              "system_account": "SYS",
              "connections": 9,
              "total_connections": 9,
              "max_connections": 65536,
              "leafnodes": 1,
              "cpu_percent": 0.0,
              "cores": 2,
              "memory_bytes": 21901312,
              "memory_limit_bytes": null,
              "slow_consumers": 0,
              "slow_clients": 0,
              "stale_connections": 0,
              "stalled_clients": 0,
              "ping_interval_ms": 120000,
              "ping_max": 2,
              "write_deadline_ms": 10000,
              "auth_timeout_ms": 2000,
              "max_pending_bytes": 67108864,
              "subscriptions": 99,
              "in_msgs": 1,
              "out_msgs": 4,
              "in_bytes": 2,
              "out_bytes": 2252
            },
            "duration_ms": 0,
            "bytes": 11886,
            "error": null
          }
        ],
        "system_error": null,
        "idle_after_ms": 300000
      },
      "breakdowns": {
        "application": {
          "groups": [
            {
              "key": "orders",
              "share": 0.2,
              "connections": 2,
              "subscriptions": 2,
              "idle": 0,
              "idle_without_traffic": 0,
              "without_traffic": 1,
              "pending_bytes": 0,
              "in_msgs": 1,
              "out_msgs": 1,
              "in_bytes": 2,
              "out_bytes": 2,
              "oldest_start": "2026-11-23T08:28:32.61905Z",
              "newest_start": "2026-11-23T08:28:32.620487Z",
              "distinct_ips": 2,
              "distinct_ips_exact": true
            },
            {
              "key": "(unnamed)",
              "absent": true,
              "share": 0.1,
              "connections": 1,
              "subscriptions": 0,
              "idle": 0,
              "idle_without_traffic": 0,
              "without_traffic": 1,
              "pending_bytes": 0,
              "in_msgs": 0,
              "out_msgs": 0,
              "in_bytes": 0,
              "out_bytes": 0,
              "oldest_start": "2026-11-23T08:28:32.62284Z",
              "newest_start": "2026-11-23T08:28:32.62284Z",
              "distinct_ips": 1,
              "distinct_ips_exact": true
            }
          ],
          "other": {
            "groups": 7,
            "share": 0.7,
            "connections": 7,
            "subscriptions": 11,
            "idle": 0,
            "idle_without_traffic": 0,
            "without_traffic": 6,
            "pending_bytes": 0,
            "in_msgs": 0,
            "out_msgs": 3,
            "in_bytes": 0,
            "out_bytes": 2250,
            "oldest_start": "2026-11-23T08:28:32.578773Z",
            "newest_start": "2026-11-23T08:28:33.038063Z",
            "distinct_ips": 1,
            "distinct_ips_exact": false
          },
          "total": {
            "connections": 10,
            "subscriptions": 13,
            "idle": 0,
            "idle_without_traffic": 0,
            "without_traffic": 8,
            "pending_bytes": 0,
            "in_msgs": 1,
            "out_msgs": 4,
            "in_bytes": 2,
            "out_bytes": 2252,
            "oldest_start": "2026-11-23T08:28:32.578773Z",
            "newest_start": "2026-11-23T08:28:33.038063Z",
            "distinct_ips": 5,
            "distinct_ips_exact": true
          }
        }
      },
      "closed": {
        "servers": [
          {
            "server": "labA",
            "listed": 0,
            "full": false,
            "reaches_back_to": null,
            "at": "2026-11-23T08:28:35.255132Z"
          }
        ],
        "closed": 0,
        "refused": 0,
        "reasons": [],
        "applications": [],
        "ips": [],
        "accounts": [],
        "per_minute": []
      },
      "diagnosis": {
        "made_at": "2026-11-24T09:00:00Z",
        "headline": "10 connections on labA; 20 % are orders; 1 have no name",
        "findings": [],
        "culprits": [],
        "steps": [
          {
            "step": "logs",
            "status": "ok",
            "summary": "Nothing speaks of trouble with connections.",
            "evidence": [
              {
                "name": "closed",
                "value": 0.0,
                "text": "0 ended"
              },
              {
                "name": "refused",
                "value": 0.0,
                "text": "0 refused"
              }
            ],
            "remarks": [
              "The log could not be looked at: no logs of cluster `nats` are configured (`logs`)."
            ]
          },
          {
            "step": "configuration",
            "status": "ok",
            "summary": "There is room in every server that could be looked at.",
            "evidence": [
              {
                "name": "max_connections",
                "value": 65536.0,
                "text": "labA: at most 65,536"
              },
              {
                "name": "limit_share",
                "value": 0.0001,
                "text": "labA has 9 connections of at most 65,536 (< 0.1 %)"
              },
              {
                "name": "dead_connections_linger",
                "value": 360.0,
                "text": "A connection whose client has died without closing it counts for up to 6m on labA (a ping every 2m)."
              }
            ],
            "remarks": [
              "The limits of accounts could not be looked at: the servers tell none; where their configuration has some, name them in `account_limits`.",
              "labA has 9 connections of at most 65,536 (< 0.1 %); how fast it grows is not known yet.",
              "65,536 of labA is the default of nats-server: nobody has chosen it for this machine.",
              "nats-server does not tell how many file descriptors it may have. On the host of labA, `grep 'open files' /proc/$(pidof nats-server)/limits` does; it must be 65,636 at least, for 65,536 clients and what else is open. With fewer, new clients hang without any answer, and so does the monitoring port.",
              "A connection whose client has died without closing it counts for up to 6m on labA (a ping every 2m).",
              "Clients have 2s to authenticate.",
              "A client that does not read is cut off after 10s (write_deadline).",
              "Each client of labA that does not read may hold up to 67.1 MB of memory (max_pending); no memory limit is told (GOMEMLIMIT), so how many fill it is not known.",
              "nats-server 2.15.1 on labA writes only about one line in one or two seconds to its log about refused clients: do not count them there."
            ]
          },
          {
            "step": "changes",
            "status": "ok",
            "summary": "No change is known from the 2h 0m before the alert or since.",
            "evidence": [
              {
                "name": "changes",
                "value": 0.0,
                "text": "0 changes since a day before the alert"
              }
            ],
            "remarks": [
              "Who is new among the clients could not be looked at: no sample of the time before was taken yet.",
              "Nobody has told connwarden of any change: let your deployments do that with POST /api/v1/changes."
            ]
          },
          {
            "step": "metrics",
            "status": "ok",
            "summary": "The number of connections does nothing unusual.",
            "evidence": [
              {
                "name": "began_lately_share",
                "value": 1.0,
                "text": "10 of the 10 connections that are open now began within the last 60m (100 %)."
              }
            ],
            "remarks": [
              "Prometheus could not be looked at: no Prometheus is configured (`prometheus`).",
              "Samples could not be looked at: no sample of the time before was taken yet.",
              "10 of the 10 connections that are open now began within the last 60m (100 %)."
            ]
          },
          {
            "step": "resources",
            "status": "ok",
            "summary": "Processor time and memory suffice, and no clients are too slow.",
            "evidence": [
              {
                "name": "cpu_share",
                "value": 0.0,
                "text": "labA uses 0 % of its 2 cores"
              },
              {
                "name": "memory_bytes",
                "value": 21901312.0,
                "text": "labA uses 21.9 MB of memory; it tells no limit (GOMEMLIMIT), so how much is left is not known."
              },
              {
                "name": "out_bytes_per_second",
                "value": 590.606847032583,
                "text": "labA receives 0/s and sends 590/s on average since it started, over 3s; what its network can carry is not known."
              }
            ],
            "remarks": [
              "labA uses 0 % of its 2 cores.",
              "labA uses 21.9 MB of memory; it tells no limit (GOMEMLIMIT), so how much is left is not known.",
              "labA has had no slow consumers since it started.",
              "labA has had no stalls of producers since it started.",
              "labA receives 0/s and sends 590/s on average since it started, over 3s; what its network can carry is not known."
            ]
          }
        ],
        "recommendations": [
          {
            "step": "monitoring",
            "title": "Let the alert count, with a threshold that fits",
            "effect": "gnatsd_connz_num_connections is the length of one page of 1,024 and never exceeds it. gnatsd_varz_connections is the number of clients; the exporter needs its flag -varz for it. What is usual here is not known yet, so the threshold is as it was: 1,000. The busiest server has 9 now. When connwarden has samples of some days, it recommends one.",
            "snippets": [
              {
                "place": "prometheus rules",
                "text": "groups:\n  - name: nats-connections\n    rules:\n      - alert: \"NatsHighNumberOfConnections\"\n        expr: gnatsd_varz_connections > 1000\n        for: 5m\n        # a scrape that fails would end the alert although nothing is over\n        keep_firing_for: 2m\n        labels:\n          severity: warning\n        annotations:\n          summary: \"NATS server {{ $labels.server_id }} has many connections\"\n          description: \"VALUE = {{ $value }}\""
              }
            ]
          }
        ]
      },
      "culprit_history": [],
      "similar": [],
      "timeline": [
        {
          "at": "2026-11-24T09:00:00Z",
          "actor": "Alertmanager/0.33.1",
          "kind": "opened",
          "text": "NatsHighNumberOfConnections on cluster nats; the cluster is assumed: nothing in the alert names it, but `nats` is the only one without matchers",
          "notification": "01a20cc8-8e80-7000-8000-000000000001"
        },
        {
          "at": "2026-11-24T09:00:00Z",
          "actor": "Alertmanager/0.33.1",
          "kind": "alert_joined",
          "text": "fires: server_id=\"nats-1\" instance=\"nats-1:7777\", value 1024",
          "notification": "01a20cc8-8e80-7000-8000-000000000001"
        },
        {
          "at": "2026-11-24T09:00:00Z",
          "actor": "connwarden",
          "kind": "observed",
          "text": "saw 10 of 10 connections on 1 of 1 servers in 0 ms"
        }
      ],
      "notifications": [
        {
          "id": "01a20cc8-8e80-7000-8000-000000000001",
          "received_at": "2026-11-24T09:00:00Z",
          "last_seen_at": "2026-11-24T09:00:00Z",
          "seen_count": 1,
          "sender": "Alertmanager/0.33.1",
          "receiver": "single",
          "alert_count": 1,
          "truncated_alerts": 0
        }
      ],
      "changes": [],
      "mitigations": []
    }
    "#);
    app.finish().await;
}
