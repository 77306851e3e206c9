//! Evidence for tests: clients are described, and counted as a look would count them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::diagnose::diagnose;
use crate::model::application::ApplicationRules;
use crate::model::breakdown::{Breakdown, By, Dimension, Figures, Group, share};
use crate::model::closed::{
    ClosedConnections, ClosedGroup, ClosedMinute, ClosedRing, ReasonCount, is_refusal,
};
use crate::model::diagnosis::{Diagnosis, FindingKind};
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::{AlertEvidence, Evidence, Looked};
use crate::model::history::{History, SAMPLED, Sample, SampledGroups, ServerSample};
use crate::model::ids::IncidentId;
use crate::model::snapshot::{Coverage, ServerCoverage, Snapshot, Via};
use crate::model::starts::{StartBucket, StartHistogram};
use crate::model::vitals::{Churn, ServerVitals};

/// The instant of the look.
pub fn now() -> Timestamp {
    "2026-03-01T03:00:00Z".parse().unwrap()
}

/// So many seconds before the look.
pub fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

/// Some clients that are alike.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The application; an empty one has no name.
    pub application: &'static str,
    /// How many instances, each with a name and an address of its own.
    pub instances: u64,
    /// Connections of each instance.
    pub each: u64,
    /// How many seconds before the look the first of them began; they came one after the other until `until`.
    pub since: i64,
    /// How many seconds before the look the last of them began.
    pub until: i64,
    /// Whether they never had a message, and are idle.
    pub silent: bool,
    /// The first two numbers of their addresses, the third tells the instance.
    pub network: &'static str,
    /// One address for all of them, instead.
    pub address: Option<&'static str>,
    /// The server.
    pub server: &'static str,
    /// The user.
    pub user: &'static str,
    /// The account.
    pub account: &'static str,
}

/// Clients that have been there for a day, with traffic.
pub fn steady(application: &'static str, instances: u64, each: u64) -> Clients {
    Clients {
        application,
        instances,
        each,
        since: 86_400,
        until: 80_000,
        silent: false,
        network: "10.0",
        address: None,
        server: "n1",
        user: "app",
        account: "APP",
    }
}

/// A scene: who is there now, what was before, what the servers say.
pub struct Scene {
    pub clients: Vec<Clients>,
    pub vitals: BTreeMap<&'static str, ServerVitals>,
    pub closed: Option<ClosedConnections>,
    pub churn: Vec<Churn>,
    /// Samples of the time before, by who of the clients was there.
    pub watched: bool,
    pub more_samples: Vec<Sample>,
    pub alerts: Vec<AlertEvidence>,
    pub rules: DiagnosisRules,
    pub account_limits: BTreeMap<String, u64>,
}

impl Scene {
    /// A dozen steady applications with about 300 connections, on one server that has been up for a month.
    pub fn quiet() -> Self {
        let names = [
            "auth", "billing", "cart", "catalog", "feed", "geo", "mail", "orders", "pricing", "search",
            "stock", "users",
        ];
        let clients = (1_u64..).zip(names).map(|(n, name)| Clients {
            network: ["10.1", "10.2", "10.3", "10.4", "10.5", "10.6"][n as usize % 6],
            ..steady(name, 2 + n, 1 + n % 4)
        });
        Self {
            clients: clients.collect(),
            vitals: BTreeMap::from([("n1", vitals())]),
            closed: None,
            churn: Vec::new(),
            watched: true,
            more_samples: Vec::new(),
            alerts: Vec::new(),
            rules: DiagnosisRules::default(),
            account_limits: BTreeMap::new(),
        }
    }

    /// With these clients as well.
    pub fn with(mut self, clients: Clients) -> Self {
        self.clients.push(clients);
        self
    }

    /// What there is to know.
    pub fn evidence(&self) -> Evidence {
        let connections: Vec<Connection> = self.clients.iter().flat_map(Clients::expand).collect();
        let by = Dimension::ALL.into_iter().map(By::from).chain([
            By::crossed(Dimension::Application, Dimension::Ip),
            By::crossed(Dimension::Application, Dimension::Server),
        ]);
        let servers = self.vitals.iter().map(|(name, vitals)| {
            let here = connections.iter().filter(|it| it.keys[&Dimension::Server] == *name).count() as u64;
            coverage(name, here, vitals)
        });
        let snapshot = Snapshot {
            cluster: "prod".to_owned(),
            taken_at: now(),
            coverage: Coverage::of(servers.collect(), 5),
            breakdowns: by.map(|by| (by, breakdown(by, &connections))).collect(),
            closed: self.closed.clone(),
        };
        let mut samples: Vec<Sample> = if self.watched {
            (0..60).rev().map(|n| self.sample(&connections, 30 + n * 60)).collect()
        } else {
            Vec::new()
        };
        samples.extend(self.more_samples.iter().cloned());
        samples.sort_by_key(|sample| sample.at);
        Evidence {
            incident: IncidentId(Uuid::nil()),
            at: now(),
            opened_at: ago(1),
            alerts: self.alerts.clone(),
            applications: Arc::new(ApplicationRules::default()),
            snapshot: Arc::new(snapshot),
            churn: self.churn.clone(),
            history: if samples.is_empty() {
                Looked::Unseen("no samples".to_owned())
            } else {
                Looked::Seen(History { samples })
            },
            first_seen: BTreeMap::new(),
            earlier_vitals: BTreeMap::new(),
            changes: Looked::Unseen("no changes".to_owned()),
            metrics: Looked::Unseen("no metrics".to_owned()),
            logs: Looked::Unseen("no logs".to_owned()),
            account_limits: self.account_limits.clone(),
            owners: Arc::default(),
            metric_prefix: "gnatsd".to_owned(),
        }
    }

    /// What follows from it.
    pub fn diagnosis(&self) -> Diagnosis {
        diagnose(&self.evidence(), &self.rules)
    }

    /// The kinds that are found, in their order.
    pub fn kinds(&self) -> Vec<FindingKind> {
        self.diagnosis().findings.into_iter().map(|finding| finding.kind).collect()
    }

    /// Who is named.
    pub fn culprits(&self) -> Vec<String> {
        self.diagnosis().culprits.into_iter().map(|culprit| culprit.key).collect()
    }

    /// A sample of so many seconds before the look.
    pub fn sampled(&self, seconds_ago: i64) -> Sample {
        let connections: Vec<Connection> = self.clients.iter().flat_map(Clients::expand).collect();
        self.sample(&connections, seconds_ago)
    }

    fn sample(&self, connections: &[Connection], seconds_ago: i64) -> Sample {
        let there: Vec<&Connection> = connections.iter().filter(|it| it.age >= seconds_ago).collect();
        let servers = self.vitals.iter().map(|(name, vitals)| ServerSample {
            server: (*name).to_owned(),
            connections: there.iter().filter(|it| it.keys[&Dimension::Server] == *name).count() as u64,
            started_at: vitals.started_at,
            slow_consumers: Some(0),
            ..ServerSample::default()
        });
        let groups = SAMPLED.into_iter().map(|dimension| {
            let mut groups = BTreeMap::new();
            for connection in &there {
                *groups.entry(connection.keys[&dimension].clone()).or_default() += 1;
            }
            (dimension, SampledGroups { groups, other: 0 })
        });
        Sample { at: ago(seconds_ago), complete: true, servers: servers.collect(), groups: groups.collect() }
    }
}

/// A server that has been up for a month, with all the limits of the defaults.
pub fn vitals() -> ServerVitals {
    ServerVitals {
        at: Some(now()),
        started_at: Some(ago(30 * 86_400)),
        max_connections: Some(65_536),
        cores: Some(2),
        cpu_percent: Some(3.0),
        slow_consumers: Some(0),
        ..ServerVitals::default()
    }
}

/// What the servers remember: so many of each application for each reason, within the last seconds.
pub fn closed(groups: &[(&str, &str, u64)], within: i64) -> ClosedConnections {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    groups.iter().for_each(|(_, reason, count)| *reasons.entry(reason).or_default() += count);
    let mut reasons: Vec<ReasonCount> = reasons
        .into_iter()
        .map(|(reason, connections)| ReasonCount {
            reason: reason.to_owned(),
            connections,
            refused: is_refusal(reason),
        })
        .collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.connections));
    let count = |refused: bool| groups.iter().filter(|it| !refused || is_refusal(it.1)).map(|it| it.2).sum();
    let applications = groups.iter().map(|(application, reason, count)| ClosedGroup {
        key: if application.is_empty() { "(unnamed)" } else { application }.to_owned(),
        absent: application.is_empty(),
        closed: *count,
        refused: if is_refusal(reason) { *count } else { 0 },
        short_lived: *count,
        median_lifetime_s: Some(0.5),
        top_reason: (*reason).to_owned(),
    });
    ClosedConnections {
        servers: vec![ClosedRing {
            server: "n1".to_owned(),
            listed: count(false),
            full: false,
            reaches_back_to: Some(ago(within)),
            at: now(),
        }],
        closed: count(false),
        refused: count(true),
        reasons,
        applications: applications.collect(),
        per_minute: vec![ClosedMinute {
            at: ago(within.min(59)),
            closed: count(false),
            refused: count(true),
        }],
        ..ClosedConnections::default()
    }
}

/// One connection, expanded.
struct Connection {
    keys: BTreeMap<Dimension, String>,
    absent: bool,
    age: i64,
    silent: bool,
}

impl Clients {
    fn expand(&self) -> Vec<Connection> {
        let total = self.instances * self.each;
        (0..total)
            .map(|n| {
                let instance = n % self.instances;
                let spread = (self.since - self.until) * n as i64 / total.max(1) as i64;
                let absent = self.application.is_empty();
                let ip = match self.address {
                    Some(address) => address.to_owned(),
                    None => format!("{}.{}.{}", self.network, 1 + instance / 250, 1 + instance % 250),
                };
                let name = if absent {
                    "(unnamed)".to_owned()
                } else {
                    format!("{}-{}", self.application, pod(self.network, instance))
                };
                let application = if absent { "(unnamed)" } else { self.application };
                let keys = BTreeMap::from([
                    (Dimension::Application, application.to_owned()),
                    (Dimension::Name, name),
                    (Dimension::Subnet, format!("{ip}/24")),
                    (Dimension::Ip, ip),
                    (Dimension::Account, self.account.to_owned()),
                    (Dimension::User, self.user.to_owned()),
                    (Dimension::Library, "go 1.39".to_owned()),
                    (Dimension::Kind, "client/nats".to_owned()),
                    (Dimension::Server, self.server.to_owned()),
                ]);
                Connection { keys, absent, age: self.since - spread, silent: self.silent }
            })
            .collect()
    }
}

/// What a ReplicaSet calls an instance: the application is the same without it.
fn pod(network: &str, instance: u64) -> String {
    let letters: Vec<char> = "bcdfghjklmnpqrstvwxz2456789".chars().collect();
    let pick = |n: u64| letters[(n % letters.len() as u64) as usize];
    let net: u64 = network.bytes().map(u64::from).sum();
    let hash: String = (0..10).map(|n| pick(net * 7 + n * 5)).collect();
    let end: String = (0..5).map(|n| pick(instance / 27_u64.pow(n) + u64::from(n))).collect();
    format!("{hash}-{end}")
}

fn breakdown(by: By, connections: &[Connection]) -> Breakdown {
    let mut members: BTreeMap<Vec<&str>, Vec<&Connection>> = BTreeMap::new();
    for connection in connections {
        let keys = by.dimensions().map(|dimension| connection.keys[&dimension].as_str()).collect();
        members.entry(keys).or_default().push(connection);
    }
    let crossed = by.second().is_some();
    let mut groups: Vec<Group> = members
        .into_iter()
        .map(|(keys, members)| Group {
            key: keys.join(" / "),
            keys: if crossed {
                by.dimensions().zip(keys.iter().map(ToString::to_string)).collect()
            } else {
                BTreeMap::new()
            },
            absent: members[0].absent && matches!(by.first(), Dimension::Application | Dimension::Name),
            share: share(members.len() as u64, connections.len() as u64),
            figures: figures(&members),
            starts: starts(&members),
            ..Group::default()
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.figures.connections));
    let all: Vec<&Connection> = connections.iter().collect();
    Breakdown { groups, total: figures(&all), starts: starts(&all), ..Breakdown::default() }
}

fn figures(members: &[&Connection]) -> Figures {
    let silent = members.iter().filter(|member| member.silent).count() as u64;
    let ips: BTreeSet<&str> = members.iter().map(|member| member.keys[&Dimension::Ip].as_str()).collect();
    Figures {
        connections: members.len() as u64,
        idle: silent,
        idle_without_traffic: silent,
        without_traffic: silent,
        oldest_start: members.iter().map(|member| ago(member.age)).min(),
        newest_start: members.iter().map(|member| ago(member.age)).max(),
        distinct_ips: ips.len() as u64,
        distinct_ips_exact: true,
        ..Figures::default()
    }
}

fn starts(members: &[&Connection]) -> StartHistogram {
    let mut buckets: BTreeMap<i64, u64> = BTreeMap::new();
    members.iter().for_each(|member| *buckets.entry(member.age / 5).or_default() += 1);
    let bucket = |(age, connections): (i64, u64)| StartBucket {
        from: ago(age * 5 + 5),
        to: ago(age * 5),
        connections,
    };
    StartHistogram { buckets: buckets.into_iter().rev().map(bucket).collect() }
}

fn coverage(name: &str, connections: u64, vitals: &ServerVitals) -> ServerCoverage {
    let vitals = ServerVitals { connections, ..vitals.clone() };
    ServerCoverage {
        url: Some(format!("http://{name}:8222").parse().unwrap()),
        via: Some(Via::Http),
        name: Some(name.to_owned()),
        server_id: Some(format!("N{name}")),
        version: Some("2.15.1".to_owned()),
        seen: connections,
        connz_total: Some(connections),
        varz_connections: Some(connections),
        max_connections: vitals.max_connections,
        vitals: Some(vitals),
        duration_ms: 1,
        bytes: 1,
        error: None,
        counted_at: None,
    }
}
