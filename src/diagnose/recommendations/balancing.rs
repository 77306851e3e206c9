//! Mitigation step 5: balancing the cluster.

use super::{Ground, SERVER_CONFIGURATION, recommendation, snippet};
use crate::diagnose::servers::Server;
use crate::model::diagnosis::{FindingKind, MitigationStep, Recommendation};
use crate::model::printable::{excerpt, with_commas};

/// The port at which servers of a cluster connect to each other, by convention.
const CLUSTER_PORT: u16 = 6222;

/// The port at which clients connect, by default.
const CLIENT_PORT: u16 = 4222;

pub(super) fn recommend(ground: &Ground<'_>, recommendations: &mut Vec<Recommendation>) {
    recommendations.extend(even_out(ground));
    recommendations.extend(second_server(ground));
}

/// Connections that are on one server.
fn even_out(ground: &Ground<'_>) -> Option<Recommendation> {
    let finding = ground.of(FindingKind::Imbalance).next()?;
    let subject = finding.subject.as_ref()?;
    let clients: Vec<(&Server<'_>, u64)> =
        ground.servers.iter().filter_map(|server| Some((server, server.clients()?))).collect();
    let all: u64 = clients.iter().map(|(_, clients)| *clients).fold(0, u64::saturating_add);
    let mean = all / (clients.len() as u64).max(1);
    let own = clients.iter().find(|(server, _)| server.coverage.display_name() == subject.key);
    let (_, own) = own?;
    let name = excerpt(&subject.key);
    let hosts: Vec<String> =
        ground.servers.iter().filter_map(host).map(|host| format!("nats://{host}:{CLIENT_PORT}")).collect();
    let snippets = match hosts.len() == ground.servers.len() && hosts.len() > 1 {
        true => vec![snippet("client configuration", hosts.join(","))],
        false => Vec::new(),
    };
    Some(recommendation(
        MitigationStep::Balancing,
        format!("Spread the clients of {name} over the cluster"),
        format!(
            "Even would be {} on each server; {name} has {} more. Let clients know all servers and choose at random: that \
             is what libraries do unless it is turned off (`noRandomize`, `DontRandomize`) or their URL leads to one server \
             only. Connections stay where they are until they end: start the largest applications anew, a few instances \
             at a time, when their URLs are right.",
            with_commas(mean),
            with_commas(own.saturating_sub(mean))
        ),
        snippets,
    ))
}

/// One server that carries everything.
fn second_server(ground: &Ground<'_>) -> Option<Recommendation> {
    let [server] = ground.servers.as_slice() else { return None };
    if !ground.has(&[FindingKind::NearLimit, FindingKind::RefusedAtLimit, FindingKind::ResourcePressure]) {
        return None;
    }
    let clusters = server.vitals.and_then(|vitals| vitals.nats_cluster.as_deref());
    if clusters.is_some() {
        // it is in a cluster whose other servers connwarden does not know
        return Some(recommendation(
            MitigationStep::Balancing,
            format!("Let connwarden know the other servers of {}'s cluster", server.name),
            "Only one server of it is configured here, so whether the clients are spread evenly is not known. List all \
             of them at `clusters[].monitor`.",
            Vec::new(),
        ));
    }
    let host = host(server).unwrap_or_else(|| "THIS-HOST".to_owned());
    let lines = format!(
        "# the same on both servers\ncluster {{\n  name: \"nats\"\n  listen: \"0.0.0.0:{CLUSTER_PORT}\"\n  routes: [\n    \
         \"nats://{host}:{CLUSTER_PORT}\"\n    \"nats://OTHER-HOST:{CLUSTER_PORT}\"\n  ]\n}}"
    );
    Some(recommendation(
        MitigationStep::Balancing,
        format!("Put a second server beside {}", server.name),
        "One server carries every client. In a cluster of two each has about half of them, and clients that know both find \
         the other one when one leaves. It needs a new start of this one.",
        vec![snippet(SERVER_CONFIGURATION, lines)],
    ))
}

/// The host of a server, as it is reached for monitoring; `None` on this host.
fn host(server: &Server<'_>) -> Option<String> {
    let host = server.coverage.url.as_ref()?.host()?;
    let is_here = match &host {
        url::Host::Domain(name) => *name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    };
    (!is_here).then(|| host.to_string())
}
