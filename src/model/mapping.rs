//! Mapping: from an alert's labels to the configured cluster and server it is about.
//!
//! The cluster: its matchers; else the cluster that owns the server the alert names; else, if exactly one
//! cluster without matchers is configured, that one, marked `assumed`. The server: the alert's `server_id`,
//! compared with each known server's nats id, name and monitoring URL; then the configured labels; otherwise
//! the whole cluster is meant. A loopback URL identifies nothing: a side-car exporter says
//! `http://localhost:8222` for every server.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::model::incident::IncidentKey;
use crate::model::labels::Labels;
use crate::model::matcher::Matchers;
use crate::model::server::ServerKey;

/// Which alerts belong to a configured cluster.
#[derive(Debug, Clone)]
pub struct ClusterRoute {
    /// The cluster's configured name.
    pub name: String,
    /// All must hold; none at all means "no matchers", not "everything".
    pub matchers: Option<Matchers>,
    /// Alert labels whose value may name a server of the cluster.
    pub server_labels: Vec<String>,
}

/// What is known of one server of a configured cluster; what it is called is learnt from itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownServer {
    /// The cluster's configured name.
    pub cluster: String,
    /// Its configured monitoring URL; none if only the system account has shown it: then its name is known.
    pub url: Option<Url>,
    /// Its nats id (`N…`), new at each start of the server.
    pub server_id: Option<String>,
    /// Its server name.
    pub server_name: Option<String>,
}

impl KnownServer {
    /// What tells it from the others of its cluster.
    pub fn key(&self) -> ServerKey {
        let name = self.server_name.as_deref().or(self.server_id.as_deref());
        ServerKey::of(self.url.as_ref(), Some(name.unwrap_or_default())).expect("a name is given")
    }
}

/// How an alert's cluster was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MappedBy {
    /// A person said so.
    Operator,
    /// The cluster's matchers hold for the alert.
    Matchers,
    /// The alert names a server of the cluster.
    Server,
    /// Nothing says so, but no other cluster is configured.
    Assumed,
}

impl MappedBy {
    const ALL: [Self; 4] = [Self::Operator, Self::Matchers, Self::Server, Self::Assumed];

    /// The way as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Matchers => "matchers",
            Self::Server => "server",
            Self::Assumed => "assumed",
        }
    }

    /// Reads what [`MappedBy::name`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }
}

/// The server an alert is about, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerMatch {
    /// Which of the cluster.
    pub key: ServerKey,
    /// What identified it: the name of a label, or `only_server`.
    pub matched_by: String,
}

/// Where an alert belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The incident it is a member of.
    pub key: IncidentKey,
    /// The server it is about; `None` means the whole cluster.
    pub server: Option<ServerMatch>,
}

/// Maps an alert to the incident it belongs to and the server it is about.
pub fn map_alert(labels: &Labels, clusters: &[ClusterRoute], servers: &[KnownServer]) -> Mapping {
    let alert_name = labels.alert_name().unwrap_or("(unnamed alert)").to_owned();
    let matching: Vec<&ClusterRoute> = clusters
        .iter()
        .filter(|cluster| cluster.matchers.as_ref().is_some_and(|matchers| matchers.matches(labels)))
        .collect();

    let (cluster, mapped_by, server) = if let Some(first) = matching.first() {
        // where several clusters' matchers hold, the one that owns the server wins, else the first in the file
        match find_server(labels, &matching, servers) {
            Some((server, by)) => (owner(server, clusters), MappedBy::Matchers, Some(matched(server, by))),
            None => (*first, MappedBy::Matchers, None),
        }
    } else if let Some((server, by)) = find_server(labels, &clusters.iter().collect::<Vec<_>>(), servers) {
        (owner(server, clusters), MappedBy::Server, Some(matched(server, by)))
    } else if let Some(cluster) = only_without_matchers(clusters) {
        (cluster, MappedBy::Assumed, None)
    } else {
        let subject = labels.get("server_id").or_else(|| labels.get("instance")).unwrap_or_default();
        return Mapping {
            key: IncidentKey::Unmapped { subject: subject.to_owned(), alert_name },
            server: None,
        };
    };

    let server = server.or_else(|| only_server(&cluster.name, servers));
    Mapping { key: IncidentKey::Cluster { cluster: cluster.name.clone(), mapped_by, alert_name }, server }
}

fn owner<'a>(server: &KnownServer, clusters: &'a [ClusterRoute]) -> &'a ClusterRoute {
    let owner = clusters.iter().find(|cluster| cluster.name == server.cluster);
    owner.expect("a server is only found among those of the clusters")
}

fn matched(server: &KnownServer, by: &str) -> ServerMatch {
    ServerMatch { key: server.key(), matched_by: by.to_owned() }
}

fn only_without_matchers(clusters: &[ClusterRoute]) -> Option<&ClusterRoute> {
    let mut without = clusters.iter().filter(|cluster| cluster.matchers.is_none());
    match (without.next(), without.next()) {
        (Some(cluster), None) => Some(cluster),
        _ => None,
    }
}

fn only_server(cluster: &str, servers: &[KnownServer]) -> Option<ServerMatch> {
    let mut own = servers.iter().filter(|server| server.cluster == cluster);
    match (own.next(), own.next()) {
        (Some(server), None) => Some(matched(server, "only_server")),
        _ => None,
    }
}

/// Finds the one server among `clusters` that the alert's labels name, and the label that named it.
fn find_server<'a, 'b>(
    labels: &Labels,
    clusters: &[&'b ClusterRoute],
    servers: &'a [KnownServer],
) -> Option<(&'a KnownServer, &'b str)> {
    let owned = |server: &&KnownServer| clusters.iter().any(|cluster| cluster.name == server.cluster);
    let by_id = labels
        .get("server_id")
        .and_then(|id| unique(servers.iter().filter(owned).filter(|server| is_named_by_id(server, id))));
    by_id.map(|server| (server, "server_id")).or_else(|| {
        // pods and hosts are called alike in many clusters: one hit is one, two are none
        let mut hits = clusters.iter().filter_map(|cluster| find_by_labels(labels, cluster, servers));
        let first = hits.next()?;
        hits.next().is_none().then_some(first)
    })
}

/// Finds the server of one cluster that its labels name: label by label, in the order in which they are listed.
fn find_by_labels<'a, 'b>(
    labels: &Labels,
    cluster: &'b ClusterRoute,
    servers: &'a [KnownServer],
) -> Option<(&'a KnownServer, &'b str)> {
    let own = || servers.iter().filter(|server| server.cluster == cluster.name);
    cluster.server_labels.iter().find_map(|label| {
        let value = labels.get(label)?;
        let place = Place::read(value);
        let host = place.clone().map(|place| Place { port: None, ..place });
        // `pod` holds a name, `instance` a host, mostly with the port of an exporter beside the server
        let named = unique(own().filter(|server| is_name_of(server, value)))
            .or_else(|| {
                unique(own().filter(|server| place.as_ref().is_some_and(|place| place.is_of(server))))
            })
            .or_else(|| unique(own().filter(|server| host.as_ref().is_some_and(|host| host.is_of(server)))))
            .or_else(|| {
                unique(
                    own().filter(|server| host.as_ref().is_some_and(|host| is_name_of(server, &host.host))),
                )
            });
        named.map(|server| (server, label.as_str()))
    })
}

/// Whether a label's value is an address that only its own host can use: a side-car exporter says
/// `http://localhost:8222` for every server.
pub fn is_loopback_address(text: &str) -> bool {
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("nats://{text}")) };
    let host = url.ok().and_then(|url| Some(url.host_str()?.trim_end_matches('.').to_ascii_lowercase()));
    host.is_some_and(|host| is_loopback(&host))
}

/// Whether a label's value is a nats id: it is another one after each start of the server.
pub fn is_nats_id(text: &str) -> bool {
    let is_base32 = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
    text.len() == 56 && text.starts_with('N') && text.bytes().all(is_base32)
}

/// The only one; two candidates identify nothing.
fn unique<'a>(mut servers: impl Iterator<Item = &'a KnownServer>) -> Option<&'a KnownServer> {
    let first = servers.next()?;
    servers.next().is_none().then_some(first)
}

fn is_named_by_id(server: &KnownServer, id: &str) -> bool {
    server.server_id.as_deref() == Some(id)
        || is_name_of(server, id)
        || Place::read(id).is_some_and(|place| place.port.is_some() && place.is_of(server))
}

fn is_name_of(server: &KnownServer, name: &str) -> bool {
    server.server_name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name))
}

/// A host and perhaps a port, normalised so that two spellings of the same place are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: String,
    port: Option<u16>,
}

impl Place {
    /// Reads `http://NATS-1:8222/`, `nats-1:8222` or `nats-1`; a loopback host is no place at all.
    fn read(text: &str) -> Option<Self> {
        let (url, has_scheme) = match text.split_once("://") {
            Some(_) => (Url::parse(text).ok()?, true),
            // a scheme without a default port, which would hide it
            None => (Url::parse(&format!("nats://{text}")).ok()?, false),
        };
        let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
        let port = if has_scheme { url.port_or_known_default() } else { url.port() };
        (!is_loopback(&host)).then_some(Self { host, port })
    }

    fn is_of(&self, server: &KnownServer) -> bool {
        let url = server.url.as_ref();
        url.and_then(|url| Self::read(url.as_str()))
            .is_some_and(|own| own.host == self.host && (self.port.is_none() || own.port == self.port))
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, matchers: &str) -> ClusterRoute {
        ClusterRoute {
            name: name.to_owned(),
            matchers: (!matchers.is_empty()).then(|| matchers.parse().unwrap()),
            server_labels: vec!["pod".to_owned(), "instance".to_owned()],
        }
    }

    fn server(cluster: &str, url: &str, id: &str, name: &str) -> KnownServer {
        let learnt = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        KnownServer {
            cluster: cluster.to_owned(),
            url: (!url.is_empty()).then(|| Url::parse(url).unwrap()),
            server_id: learnt(id),
            server_name: learnt(name),
        }
    }

    /// `cluster way server(matched by)`, as short as a table wants it.
    fn map(labels: &str, clusters: &[ClusterRoute], servers: &[KnownServer]) -> String {
        let labels: Labels = labels
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mapping = map_alert(&labels, clusters, servers);
        let cluster = match &mapping.key {
            IncidentKey::Cluster { cluster, mapped_by, .. } => format!("{cluster} {}", mapped_by.name()),
            IncidentKey::Unmapped { subject, .. } => return format!("unmapped {subject}"),
        };
        match mapping.server {
            Some(server) => format!("{cluster} {}({})", server.key, server.matched_by),
            None => format!("{cluster} -"),
        }
    }

    #[test]
    fn an_alert_is_mapped_by_what_its_exporter_says() {
        let alone = [route("prod", "")];
        let three = [
            server("prod", "http://nats-1:8222", "NAAA", "nats-1"),
            server("prod", "http://nats-2:8222", "NBBB", "nats-2"),
            server("prod", "http://nats-3.nats:8222", "NCCC", "n3"),
        ];
        let one = [server("prod", "http://127.0.0.1:8222", "NAAA", "nats-0")];
        let one_host = [
            server("prod", "http://box:80", "NAAA", "a"),
            server("prod", "http://box:8222", "NBBB", "b"),
            server("prod", "http://box:8223", "NCCC", "c"),
        ];
        let side_cars = [
            server("prod", "http://localhost:8222", "NAAA", "nats-0"),
            server("prod", "http://localhost:8223", "NBBB", "nats-1"),
        ];
        let without_urls = [server("prod", "", "NCCC", "nats-3"), server("prod", "", "NDDD", "nats-4")];
        let cases: &[(&str, &str, &[KnownServer], &str)] = &[
            (
                "default exporter",
                "server_id=http://nats-1:8222 instance=exporter:7777",
                &three,
                "prod server http://nats-1:8222/(server_id)",
            ),
            (
                "upper-case host",
                "server_id=http://NATS-1:8222",
                &three,
                "prod server http://nats-1:8222/(server_id)",
            ),
            (
                "trailing slash",
                "server_id=http://nats-1:8222/",
                &three,
                "prod server http://nats-1:8222/(server_id)",
            ),
            ("other port is another server", "server_id=http://nats-1:9999", &three, "prod assumed -"),
            (
                "internal id",
                "server_id=NBBB instance=nats-exporter:7777",
                &three,
                "prod server http://nats-2:8222/(server_id)",
            ),
            ("internal name", "server_id=n3", &three, "prod server http://nats-3.nats:8222/(server_id)"),
            (
                "helm side-car",
                "server_id=NCCC pod=n3 instance=10.1.2.3:7777",
                &three,
                "prod server http://nats-3.nats:8222/(server_id)",
            ),
            (
                "helm side-car after a restart: the pod knows",
                "server_id=NOLD pod=nats-2",
                &three,
                "prod server http://nats-2:8222/(pod)",
            ),
            (
                "several side-cars, one loopback URL: the pod knows",
                "server_id=http://localhost:8222 pod=nats-1",
                &side_cars,
                "prod server http://localhost:8223/(pod)",
            ),
            (
                "several side-cars, one loopback URL, no pod",
                "server_id=http://localhost:8222",
                &side_cars,
                "prod assumed -",
            ),
            (
                "one server, loopback URL",
                "server_id=http://127.0.0.1:8222",
                &one,
                "prod assumed http://127.0.0.1:8222/(only_server)",
            ),
            (
                "grafana: instance of the exporter beside the server",
                "instance=nats-1:7777 grafana_folder=NATS",
                &three,
                "prod server http://nats-1:8222/(instance)",
            ),
            (
                "several servers on one host: the port knows",
                "instance=box:8223",
                &one_host,
                "prod server http://box:8223/(instance)",
            ),
            (
                "several servers on one host, port of an exporter",
                "instance=box:7777",
                &one_host,
                "prod assumed -",
            ),
            (
                "a port that goes without saying",
                "server_id=box:80",
                &one_host,
                "prod server http://box/(server_id)",
            ),
            (
                "no monitoring URL: the internal id",
                "server_id=NDDD instance=nats-exporter:7777",
                &without_urls,
                "prod server name:nats-4(server_id)",
            ),
            (
                "no monitoring URL: the pod",
                "server_id=NOLD pod=nats-3",
                &without_urls,
                "prod server name:nats-3(pod)",
            ),
            ("no server label", "severity=warning", &three, "prod assumed -"),
            ("unknown server", "server_id=http://elsewhere:8222", &three, "prod assumed -"),
        ];
        for (name, labels, servers, expected) in cases {
            assert_eq!(map(labels, &alone, servers), *expected, "{name}");
        }
    }

    #[test]
    fn what_does_not_tell_a_server_for_long_is_recognised() {
        for text in [
            "http://localhost:8222",
            "127.0.0.1:8222",
            "http://[::1]:8222/",
            "localhost",
            "HTTP://LocalHost.",
        ] {
            assert!(is_loopback_address(text), "{text}");
        }
        for text in ["http://nats-1:8222", "nats-1", "10.0.0.1:8222", "", "a b", "NATS 1"] {
            assert!(!is_loopback_address(text), "{text}");
        }
        let id = "NBIKIDUGV63Z6VLBE6PQS7XNXI2LRC3TPZEFKJTLNX4SMVC2IRKWBWFM";
        assert!(is_nats_id(id));
        assert!(!is_nats_id(&id[1..]) && !is_nats_id(&id.to_lowercase()) && !is_nats_id("nats-1"));
    }

    #[test]
    fn of_several_clusters_matchers_decide_then_the_server_then_nothing() {
        let clusters = [
            route("eu", r#"cluster="eu""#),
            route("us", r#"cluster="us""#),
            route("lab", ""),
            route("dev", ""),
        ];
        let servers = [
            server("eu", "http://nats-1.eu:8222", "NAAA", "nats-1"),
            server("eu", "http://nats-2.eu:8222", "NBBB", "nats-2"),
            server("us", "http://nats-1.us:8222", "NCCC", "nats-1"),
            server("us", "http://nats-2.us:8222", "NDDD", "nats-2"),
            server("lab", "http://lab:8222", "NEEE", "lab"),
        ];
        let cases = [
            ("cluster=us pod=nats-1", "us matchers http://nats-1.us:8222/(pod)"),
            ("cluster=eu", "eu matchers -"),
            ("cluster=eu server_id=NCCC", "eu matchers -"),
            ("server_id=NCCC", "us server http://nats-1.us:8222/(server_id)"),
            ("instance=lab:7777", "lab server http://lab:8222/(instance)"),
            // two clusters have a pod of that name, and nothing else says which is meant
            ("pod=nats-1", "unmapped "),
            ("cluster=eu pod=nats-1", "eu matchers http://nats-1.eu:8222/(pod)"),
            // two servers have that name: it identifies neither
            ("server_id=nats-1", "unmapped nats-1"),
            ("server_id=http://x:1 instance=i:7777", "unmapped http://x:1"),
            ("instance=i:7777", "unmapped i:7777"),
            ("severity=warning", "unmapped "),
        ];
        for (labels, expected) in cases {
            assert_eq!(map(labels, &clusters, &servers), expected, "{labels}");
        }
    }

    #[test]
    fn only_the_one_cluster_without_matchers_is_assumed() {
        let eu = route("eu", r#"cluster="eu""#);
        assert_eq!(map("instance=i", std::slice::from_ref(&eu), &[]), "unmapped i");
        assert_eq!(map("instance=i", &[eu, route("lab", "")], &[]), "lab assumed -");
    }
}
