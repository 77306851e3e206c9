//! What the servers themselves show: whether a scene really happened. connwarden has no part in it.

use std::collections::BTreeMap;

use connwarden::model::application::ApplicationRules;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cast::Cast;
use crate::harness::http;
use crate::scene::{Check, Key, Size};
use crate::servers::NatsServers;

/// For how many seconds a client that is called idle said and heard nothing.
const IDLE_SECONDS: i64 = 5;

/// All servers at one moment.
#[derive(Debug, Default, Serialize)]
pub struct Look {
    /// Connections of each server.
    pub servers: Vec<u64>,
    /// Connections that each server ever accepted since it started.
    accepted: Vec<u64>,
    /// Connections and idle connections by dimension and key.
    groups: BTreeMap<&'static str, BTreeMap<String, Group>>,
    /// Closed connections by reason.
    closed: BTreeMap<String, u64>,
    /// Clients that each server closed because they did not read.
    slow_consumers: u64,
    /// How much of its memory limit each server uses, in percent; 0 of one that tells none.
    memory_percent: Vec<u64>,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Group {
    connections: u64,
    idle: u64,
}

#[derive(Deserialize)]
struct Varz {
    total_connections: u64,
    #[serde(default)]
    slow_consumers: u64,
    mem: u64,
    #[serde(default)]
    gomemlimit: u64,
}

#[derive(Deserialize)]
struct Connz {
    now: Timestamp,
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
struct Connection {
    #[serde(default)]
    name: String,
    #[serde(default)]
    ip: String,
    #[serde(default = "global_account")]
    account: String,
    #[serde(default)]
    authorized_user: String,
    last_activity: Timestamp,
    #[serde(default)]
    reason: String,
}

fn global_account() -> String {
    "$G".to_owned()
}

impl Look {
    /// Looks at every server.
    pub async fn at(servers: &NatsServers) -> Self {
        let client = http();
        let mut look = Self::default();
        let rules = ApplicationRules::default();
        for server in &servers.servers {
            let at = |path: &str| server.monitor.join(path).unwrap();
            let varz: Varz = get(&client, at("varz")).await;
            look.accepted.push(varz.total_connections);
            look.slow_consumers += varz.slow_consumers;
            look.memory_percent.push((varz.mem * 100).checked_div(varz.gomemlimit).unwrap_or(0));
            let open: Connz = get(&client, at("connz?auth=1&limit=100000")).await;
            look.servers.push(open.connections.len() as u64);
            for connection in open.connections {
                let idle = open.now.duration_since(connection.last_activity).as_secs() >= IDLE_SECONDS;
                let application = match connection.name.as_str() {
                    "" => "(unnamed)".to_owned(),
                    name => rules.application(name).into_owned(),
                };
                look.count("application", application, idle);
                look.count("ip", connection.ip, idle);
                look.count("account", connection.account, idle);
                look.count("user", connection.authorized_user, idle);
            }
            let closed: Connz = get(&client, at("connz?auth=1&state=closed&limit=100000")).await;
            for connection in closed.connections {
                *look.closed.entry(connection.reason).or_default() += 1;
            }
        }
        look
    }

    fn count(&mut self, dimension: &'static str, key: String, idle: bool) {
        let group = self.groups.entry(dimension).or_default().entry(key).or_default();
        group.connections += 1;
        group.idle += u64::from(idle);
    }

    /// All connections.
    pub fn total(&self) -> u64 {
        self.servers.iter().sum()
    }

    fn group(&self, key: &Key) -> Group {
        self.groups.get(key.dimension()).and_then(|groups| groups.get(key.key())).copied().unwrap_or_default()
    }

    fn closed_since(&self, before: &Self, reason: &str) -> u64 {
        let count = |look: &Self| {
            let fitting = look.closed.iter().filter(|(closed, _)| closed.starts_with(reason));
            fitting.map(|(_, count)| count).sum::<u64>()
        };
        // a server that came back has forgotten
        count(self).saturating_sub(count(before))
    }

    fn accepted_since(&self, before: &Self) -> u64 {
        let pairs = self.accepted.iter().zip(&before.accepted);
        pairs.map(|(now, before)| now.checked_sub(*before).unwrap_or(*now)).sum()
    }

    /// Tells what a check of the definition asks for, and whether it holds.
    pub fn check(&self, before: &Self, check: &Check, cast: &Cast, size: Size) -> Result<String, String> {
        let grown = |of: &Option<Key>| {
            let of = of.as_ref().map(|key| cast.key(key));
            let count =
                |look: &Self| of.as_ref().map_or(look.total(), |key| look.group(key).connections) as i64;
            (count(self) - count(before), of.map_or_else(|| "all".to_owned(), |key| key.key().to_owned()))
        };
        let scaled = |figure: &u64| (figure * size.factor()) as i64;
        let percent = |part: u64| (part * 100 / self.total().max(1)) as i64;
        let (text, figure, bound, at_most) = match check {
            Check::Grew { of, at_least } => {
                let (grown, of) = grown(of);
                (format!("{of} grew by"), grown, scaled(at_least), false)
            }
            Check::Steady { of, at_most } => {
                let (grown, of) = grown(of);
                (format!("{of} grew by"), grown, scaled(at_most), true)
            }
            Check::HoldsPercent { of, at_least } => {
                let key = cast.key(of);
                let share = percent(self.group(&key).connections);
                (format!("{} holds percent", key.key()), share, *at_least as i64, false)
            }
            Check::ServerPercent { server, at_least } => {
                let share = percent(self.servers[*server]);
                (format!("server {server} holds percent"), share, *at_least as i64, false)
            }
            Check::Idle { of, at_least } => {
                let key = cast.key(of);
                (format!("{} idle", key.key()), self.group(&key).idle as i64, scaled(at_least), false)
            }
            Check::Closed { reason, at_least } => {
                let closed = self.closed_since(before, reason) as i64;
                (format!("closed by `{reason}`"), closed, scaled(at_least), false)
            }
            Check::MemoryPercent { server, at_least } => {
                let share = self.memory_percent[*server] as i64;
                (format!("server {server} uses percent of its memory limit"), share, *at_least as i64, false)
            }
            Check::Accepted { at_least } => {
                ("accepted".to_owned(), self.accepted_since(before) as i64, scaled(at_least), false)
            }
        };
        let holds = if at_most { figure <= bound } else { figure >= bound };
        let wanted = if at_most { "at most" } else { "at least" };
        if holds {
            Ok(format!("{text} {figure}"))
        } else {
            Err(format!("{text} {figure}, not {wanted} {bound}"))
        }
    }

    /// Says in some lines what there is, against `before`.
    pub fn describe(&self, before: &Self) -> Vec<String> {
        let mut lines = vec![format!(
            "connections {:?} (before: {:?}), accepted {}, slow consumers {}, memory {:?} %",
            self.servers,
            before.servers,
            self.accepted_since(before),
            self.slow_consumers,
            self.memory_percent,
        )];
        for (dimension, groups) in &self.groups {
            let mut groups: Vec<_> = groups.iter().collect();
            groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.connections));
            let shown = groups.iter().take(6).map(|(key, group)| {
                let before = before.groups.get(dimension).and_then(|groups| groups.get(*key));
                let before = before.map_or(0, |group| group.connections);
                format!("{key} {}→{} ({} idle)", before, group.connections, group.idle)
            });
            let shown = shown.collect::<Vec<_>>().join(", ");
            lines.push(format!("by {dimension} ({}): {shown}", groups.len()));
        }
        lines.push(format!("closed: {:?} (before: {:?})", self.closed, before.closed));
        lines
    }
}

async fn get<T: DeserializeOwned>(client: &reqwest::Client, url: url::Url) -> T {
    client.get(url).send().await.unwrap().json().await.unwrap()
}
