//! Clusters: what is watched, which alerts are about it, and how to be let in.

use std::collections::{BTreeMap, HashMap, btree_map::Entry};

use url::Url;

use super::{
    auth::{ReadSecret, read_auth},
    logs,
    problem::Problem,
    scalar::{self, quoted},
    section::Section,
    system_account,
};
use crate::model::log_source::LogSource;
use crate::model::matcher::{Matcher, Matchers};
use crate::model::remote_auth::RemoteAuth;
use crate::model::system_account::SystemAccess;

/// The prefix that the exporter of NATS metrics puts before their names by default.
const DEFAULT_METRIC_PREFIX: &str = "gnatsd";

/// The labels that name a server when nothing better does.
const DEFAULT_SERVER_LABELS: [&str; 2] = ["pod", "instance"];

/// One thing to watch: one NATS server, or the servers of one NATS cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The name, unique among the clusters.
    pub name: String,
    /// The monitoring addresses of its servers, normalized and unique among all clusters; may be empty where there is a
    /// system account.
    pub monitor: Vec<Url>,
    /// Which alerts are about it; none if only their server tells.
    pub matchers: Matchers,
    /// What the names of its metrics begin with: `gnatsd` in `gnatsd_varz_connections`.
    pub metric_prefix: String,
    /// The alert labels that name a server, the most telling first.
    pub server_labels: Vec<String>,
    /// How to be let in by its monitoring addresses.
    pub auth: Option<RemoteAuth>,
    /// Where the logs of its servers are.
    pub logs: Vec<LogSource>,
    /// Its system account, if that is to be asked.
    pub system_account: Option<SystemAccess>,
    /// As whom its connections are cut, if not as who asks the system account.
    pub system_actor: Option<SystemAccess>,
    /// From how many connections of one server on each alert holds, where the alert itself does not say so.
    pub thresholds: BTreeMap<String, u64>,
    /// How many connections its accounts may have, where the servers do not tell.
    pub account_limits: BTreeMap<String, u64>,
}

impl Cluster {
    /// Makes a cluster with default settings and without matchers.
    pub(super) fn new(name: &str, monitor: Vec<Url>) -> Self {
        Self {
            name: name.to_owned(),
            monitor,
            matchers: Matchers::default(),
            metric_prefix: DEFAULT_METRIC_PREFIX.to_owned(),
            server_labels: DEFAULT_SERVER_LABELS.map(str::to_owned).to_vec(),
            auth: None,
            logs: Vec::new(),
            system_account: None,
            system_actor: None,
            thresholds: BTreeMap::new(),
            account_limits: BTreeMap::new(),
        }
    }
}

/// Reads the address of a server's monitoring port, and normalizes it.
///
/// # Errors
///
/// A message for people that never repeats a user or a password.
pub fn parse_monitor_url(text: &str) -> Result<Url, String> {
    let expected = "expected a monitoring address such as `http://nats-1:8222`";
    if text.contains('@') {
        // Not repeated: what stands before the `@` may be a password.
        return Err(format!("{expected}, found a user or password in it, use `basic_auth` for that"));
    }
    let found = quoted(text);
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("{expected}, found {found}, write `http://` before it"));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => {}
        "nats" | "tls" | "ws" | "wss" => {
            let hint = "that is where clients connect, the monitoring port is another (`http_port`)";
            return Err(format!("{expected}, found {found}: {hint}"));
        }
        _ => return Err(format!("{expected}, found {found}")),
    }
    let url = Url::parse(text).map_err(|error| format!("{expected}, found {found}: {error}"))?;
    if rest.starts_with('/') || !url.has_host() {
        Err(format!("{expected}, found {found}: no host"))
    } else if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let base = &url[..url::Position::BeforePath];
        Err(format!("expected a monitoring address without a path, found {found}, write `{base}`"))
    } else if url.port() == Some(0) {
        Err(format!("{expected}, found {found}: no port 0"))
    } else {
        Ok(url)
    }
}

/// Reads the address of a server's monitoring port as it is typed: `nats-1:8222` is `http://nats-1:8222`.
///
/// # Errors
///
/// As [`parse_monitor_url`]; without a scheme the port must be there.
pub fn parse_typed_monitor_url(text: &str) -> Result<Url, String> {
    let has_port = || {
        let place = text.split('/').next().unwrap_or_default();
        // the colons of an IPv6 address stand in brackets
        place.rsplit(']').next().unwrap_or_default().contains(':')
    };
    if text.contains("://") || text.contains('@') || text.is_empty() {
        parse_monitor_url(text)
    } else if has_port() {
        parse_monitor_url(&format!("http://{text}"))
    } else {
        let expected = "expected a monitoring address such as `http://nats-1:8222` or `nats-1:8222`";
        Err(format!("{expected}, found {} without a port", quoted(text)))
    }
}

/// Reads all clusters, and what is allowed about them but probably not meant.
pub(super) fn read_all(root: &Section<'_>, read_secret: ReadSecret<'_>) -> (Vec<Cluster>, Vec<Problem>) {
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut owners: HashMap<Url, (String, usize)> = HashMap::new();
    let mut clusters = Vec::new();
    let mut without_matchers = Vec::new();

    for element in root.list("clusters") {
        let section = element.section();
        let name = section.required("name", scalar::cluster_name);
        if let Some(name) = &name {
            let line = section.line_of("name");
            match names.get(name) {
                Some(first) => {
                    let message = format!("`{name}` is the name of the cluster on line {first}");
                    section.problem("name", message);
                }
                None => {
                    names.insert(name.clone(), line);
                }
            }
        }
        let name = name.unwrap_or_default();
        let system = system_account::read(&section);
        let monitor = read_monitor(&section, &name, &mut owners);
        let cluster = Cluster {
            monitor,
            matchers: read_matchers(&section),
            metric_prefix: section
                .value("metric_prefix", scalar::metric_prefix)
                .unwrap_or_else(|| DEFAULT_METRIC_PREFIX.to_owned()),
            server_labels: read_server_labels(&section),
            auth: read_auth(&section, read_secret),
            logs: logs::read_all(&section, read_secret),
            system_account: system.reader,
            system_actor: system.actor,
            thresholds: read_thresholds(&section),
            account_limits: read_account_limits(&section),
            ..Cluster::new(&name, Vec::new())
        };
        if cluster.matchers.is_empty() {
            without_matchers.push((section, cluster.name.clone()));
        }
        clusters.push(cluster);
    }

    let mut warnings = Vec::new();
    if without_matchers.len() > 1 {
        let count = without_matchers.len();
        for (section, name) in without_matchers {
            let message = format!(
                "cluster `{name}` is one of {count} without matchers, \
                 so alerts are only found to be about it by their server",
            );
            warnings.push(section.warning("match", message));
        }
    }
    (clusters, warnings)
}

fn read_monitor(section: &Section<'_>, name: &str, owners: &mut HashMap<Url, (String, usize)>) -> Vec<Url> {
    let elements = section.one_or_many("monitor");
    if !section.mentions("monitor") {
        if !section.mentions("system_account") {
            section.missing("monitor", "is missing, give it, or a `system_account`");
        }
    } else if !section.has("monitor") || (elements.is_empty() && section.is_list("monitor")) {
        section.problem("monitor", "expected at least one monitoring address");
    }
    let mut urls = Vec::new();
    for element in elements {
        let Some(url) = element.value(parse_monitor_url) else {
            continue;
        };
        match owners.get(&url) {
            None => {
                owners.insert(url.clone(), (name.to_owned(), element.line()));
                urls.push(url);
            }
            Some((_, line)) if urls.contains(&url) => {
                element.problem(format!("{} is listed twice, first on line {line}", shown(&url)));
            }
            Some((owner, line)) => element
                .problem(format!("{} belongs to cluster `{owner}` already, on line {line}", shown(&url))),
        }
    }
    urls
}

pub(super) fn shown(url: &Url) -> String {
    format!("`{}`", url.as_str().trim_end_matches('/'))
}

fn read_matchers(section: &Section<'_>) -> Matchers {
    let mut matchers: Vec<Matcher> = Vec::new();
    for element in section.one_or_many("match") {
        let Some(parsed) = element.value(|text| text.parse::<Matchers>().map_err(|e| e.to_string())) else {
            continue;
        };
        if parsed.is_empty() {
            element.problem("expected a matcher such as `cluster=\"prod\"`, found none");
        }
        matchers.extend(parsed);
    }
    matchers.into_iter().collect()
}

fn read_server_labels(section: &Section<'_>) -> Vec<String> {
    if !section.has("server_labels") {
        return DEFAULT_SERVER_LABELS.map(str::to_owned).to_vec();
    }
    let mut labels: Vec<String> = Vec::new();
    for element in section.list("server_labels") {
        let Some(label) = element.value(label_name) else {
            continue;
        };
        if labels.contains(&label) {
            element.problem(format!("`{label}` is listed twice"));
        } else {
            labels.push(label);
        }
    }
    labels
}

fn read_thresholds(section: &Section<'_>) -> BTreeMap<String, u64> {
    let mut thresholds = BTreeMap::new();
    for element in section.list("thresholds") {
        let threshold = element.section();
        let alert = threshold.required("alert", scalar::alert_name);
        let connections = threshold.required("connections", scalar::connections);
        let (Some(alert), Some(connections)) = (alert, connections) else { continue };
        match thresholds.entry(alert) {
            Entry::Vacant(place) => {
                place.insert(connections);
            }
            Entry::Occupied(known) => {
                threshold.problem("alert", format!("{} has a threshold already", quoted(known.key())));
            }
        }
    }
    thresholds
}

fn read_account_limits(section: &Section<'_>) -> BTreeMap<String, u64> {
    let mut limits = BTreeMap::new();
    for element in section.list("account_limits") {
        let limit = element.section();
        let account = limit.required("account", scalar::account);
        let connections = limit.required("connections", scalar::connections);
        let (Some(account), Some(connections)) = (account, connections) else { continue };
        match limits.entry(account) {
            Entry::Vacant(place) => {
                place.insert(connections);
            }
            Entry::Occupied(known) => {
                limit.problem("account", format!("{} has a limit already", quoted(known.key())));
            }
        }
    }
    limits
}

fn label_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected a label name".to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitoring_addresses_are_normalized() {
        for (text, url) in [
            ("http://nats-1:8222", "http://nats-1:8222/"),
            ("http://nats-1:8222/", "http://nats-1:8222/"),
            ("HTTP://NATS-1:8222", "http://nats-1:8222/"),
            ("http://nats-1:80", "http://nats-1/"),
            ("https://nats-1:443/", "https://nats-1/"),
            ("http://[2001:DB8::1]:8222", "http://[2001:db8::1]:8222/"),
            ("http://10.0.0.1:8222", "http://10.0.0.1:8222/"),
        ] {
            assert_eq!(parse_monitor_url(text).map(String::from), Ok(url.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_address_is_typed_without_its_scheme() {
        for (text, url) in [
            ("nats-1:8222", "http://nats-1:8222/"),
            ("localhost:8222/", "http://localhost:8222/"),
            ("10.0.0.1:80", "http://10.0.0.1/"),
            ("[2001:DB8::1]:8222", "http://[2001:db8::1]:8222/"),
            ("https://nats-1", "https://nats-1/"),
        ] {
            assert_eq!(parse_typed_monitor_url(text).map(String::from), Ok(url.to_owned()), "{text}");
        }
        let refused = [
            "",
            "nats-1",
            "[::1]",
            "nats-1:port",
            "nats-1:8222/varz",
            "nats://nats-1:4222",
            "me:pw@nats-1:1",
        ];
        let report = refused.map(|text| parse_typed_monitor_url(text).unwrap_err());
        insta::assert_snapshot!(report.join("\n"), @r"
        expected a monitoring address such as `http://nats-1:8222`, found ``, write `http://` before it
        expected a monitoring address such as `http://nats-1:8222` or `nats-1:8222`, found `nats-1` without a port
        expected a monitoring address such as `http://nats-1:8222` or `nats-1:8222`, found `[::1]` without a port
        expected a monitoring address such as `http://nats-1:8222`, found `http://nats-1:port`: invalid port number
        expected a monitoring address without a path, found `http://nats-1:8222/varz`, write `http://nats-1:8222`
        expected a monitoring address such as `http://nats-1:8222`, found `nats://nats-1:4222`: that is where clients connect, the monitoring port is another (`http_port`)
        expected a monitoring address such as `http://nats-1:8222`, found a user or password in it, use `basic_auth` for that
        ");
    }

    #[test]
    fn other_addresses_are_refused_with_a_hint() {
        let report: Vec<String> = [
            "",
            "nats-1:8222",
            "10.0.0.1:8222",
            "nats://nats-1:4222",
            "ftp://nats-1",
            "http://",
            "http:///varz",
            "http://nats-1:port",
            "http://nats-1:0",
            "http://nats-1:8222/varz",
            "http://nats-1:8222/?a=b",
            "http://user:hunter2@nats-1:8222",
            "user:hunter2@nats-1:8222",
        ]
        .into_iter()
        .map(|text| parse_monitor_url(text).unwrap_err())
        .collect();

        insta::assert_snapshot!(report.join("\n"), @r"
        expected a monitoring address such as `http://nats-1:8222`, found ``, write `http://` before it
        expected a monitoring address such as `http://nats-1:8222`, found `nats-1:8222`, write `http://` before it
        expected a monitoring address such as `http://nats-1:8222`, found `10.0.0.1:8222`, write `http://` before it
        expected a monitoring address such as `http://nats-1:8222`, found `nats://nats-1:4222`: that is where clients connect, the monitoring port is another (`http_port`)
        expected a monitoring address such as `http://nats-1:8222`, found `ftp://nats-1`
        expected a monitoring address such as `http://nats-1:8222`, found `http://`: empty host
        expected a monitoring address such as `http://nats-1:8222`, found `http:///varz`: no host
        expected a monitoring address such as `http://nats-1:8222`, found `http://nats-1:port`: invalid port number
        expected a monitoring address such as `http://nats-1:8222`, found `http://nats-1:0`: no port 0
        expected a monitoring address without a path, found `http://nats-1:8222/varz`, write `http://nats-1:8222`
        expected a monitoring address without a path, found `http://nats-1:8222/?a=b`, write `http://nats-1:8222`
        expected a monitoring address such as `http://nats-1:8222`, found a user or password in it, use `basic_auth` for that
        expected a monitoring address such as `http://nats-1:8222`, found a user or password in it, use `basic_auth` for that
        ");
        assert!(!report.join("").contains("hunter2"));
    }
}
