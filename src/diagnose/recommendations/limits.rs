//! Mitigation step 2: limits.
//!
//! nats-server has limits for a server and for an account, and none for a user, a client name or an address. A limit that
//! is lowered below what there is cuts connections at random, so nothing below the present number is recommended.

use super::quoting::server_configuration;
use super::{
    Ground, SERVER_CONFIGURATION, SHELL, half_more, load_configuration, recommendation, round_up, snippet,
};
use crate::diagnose::connection_limit::{ConnectionLimit, DEFAULT_LIMIT};
use crate::diagnose::servers::Server;
use crate::diagnose::text::span;
use crate::diagnose::words::rate;
use crate::model::breakdown::{Dimension, Group, share};
use crate::model::diagnosis::{FindingKind, MitigationStep, Recommendation, Snippet};
use crate::model::printable::{excerpt, size, with_commas};

/// The kinds whose cause goes on: more room is filled too.
const GOES_ON: [FindingKind; 3] = [FindingKind::Leak, FindingKind::ReconnectStorm, FindingKind::IdleHoard];

/// The kinds for which a limit on the account contains what is going on.
const CONTAINED: [FindingKind; 4] =
    [FindingKind::Leak, FindingKind::IdleHoard, FindingKind::ScaleOut, FindingKind::Outlier];

/// The reason of connections that an account's limit refused (`ClosedState.String` of nats-server).
const ACCOUNT_FULL: &str = "Maximum Account Connections Exceeded";

/// The reason of connections that a server's limit refused.
const SERVER_FULL: &str = "Maximum Connections Exceeded";

pub(super) fn recommend(ground: &Ground<'_>, recommendations: &mut Vec<Recommendation>) {
    let by_account = ground.closed_for(ACCOUNT_FULL) > ground.closed_for(SERVER_FULL);
    let mut servers = ground.concerned(&[FindingKind::NearLimit]);
    if !by_account {
        for server in ground.concerned(&[FindingKind::RefusedAtLimit]) {
            if !servers.iter().any(|other| other.name == server.name) && is_near(ground, server) {
                servers.push(server);
            }
        }
    }
    recommendations.extend(servers.into_iter().filter_map(|server| raise(ground, server)));
    for server in &ground.servers {
        recommendations.extend(set(server).filter(|_| !ground.findings.is_empty()));
    }
    recommendations.extend(account(ground, by_account));
}

fn is_near(ground: &Ground<'_>, server: &Server<'_>) -> bool {
    server
        .clients()
        .zip(server.limit().clients())
        .is_some_and(|(clients, limit)| share(clients, limit.max(1)) >= ground.rules.near_limit)
}

/// More room on a server that is nearly full.
fn raise(ground: &Ground<'_>, server: &Server<'_>) -> Option<Recommendation> {
    let (clients, limit) = (server.clients()?, server.limit().clients().filter(|limit| *limit > 0)?);
    let name = &server.name;
    let raised = half_more(limit.max(clients));
    let (each, measured) = server.bytes_per_connection();
    let room = raised.saturating_sub(limit);
    let memory = format!(
        "{} more connections take about {} of memory ({} each{})",
        with_commas(room),
        size(room.saturating_mul(each)),
        size(each),
        if measured { "" } else { ", as usual" }
    );
    let wins = match server.growth(ground.evidence) {
        Some((per_minute, _)) if per_minute > 0.0 => {
            let seconds = raised.saturating_sub(clients) as f64 * 60.0 / per_minute;
            let time = std::time::Duration::try_from_secs_f64(seconds).ok();
            time.map_or_else(String::new, |time| {
                format!(" At the present growth of {} it would be full in {}.", rate(per_minute), span(time))
            })
        }
        _ => String::new(),
    };
    let (title, advice) = match ground.has(&GOES_ON) {
        true => (
            format!("Raise max_connections of {name} only to win time: {}", with_commas(raised)),
            " The cause goes on, and fills that room as well: mend the application first.",
        ),
        false => (
            format!("Raise max_connections of {name} from {} to {}", with_commas(limit), with_commas(raised)),
            "",
        ),
    };
    Some(recommendation(
        MitigationStep::Limits,
        title,
        format!(
            "{name} has {} of {} connections. Raising the limit takes effect at once and cuts nobody.{wins} {memory}. \
             Never lower it below what there is: the server then cuts connections at random.{advice}",
            with_commas(clients),
            with_commas(limit)
        ),
        vec![snippet(SERVER_CONFIGURATION, format!("max_connections: {raised}")), load_configuration()],
    ))
}

/// A number for a server that has none.
fn set(server: &Server<'_>) -> Option<Recommendation> {
    let name = &server.name;
    let (title, why) = match server.limit() {
        ConnectionLimit::Without => (
            format!("Give {name} a limit"),
            "It takes connections until descriptors or memory are used up, and then nobody gets an answer.",
        ),
        ConnectionLimit::Nobody => (
            format!("Let clients in on {name}"),
            "max_connections of 0 and below refuses everybody from 2.12.8 on; before, 0 was the default and -1 was no \
             limit.",
        ),
        ConnectionLimit::At(_) | ConnectionLimit::Unknown(_) | ConnectionLimit::Untold => return None,
    };
    let limit = DEFAULT_LIMIT.max(half_more(server.clients().unwrap_or(0)));
    Some(recommendation(
        MitigationStep::Limits,
        title,
        format!("{why} A number above 0 means the same in every version."),
        vec![snippet(SERVER_CONFIGURATION, format!("max_connections: {limit}")), load_configuration()],
    ))
}

/// A limit of the account of whoever causes it, or more room in one that is full.
fn account(ground: &Ground<'_>, by_account: bool) -> Option<Recommendation> {
    let accounts = ground.evidence.snapshot.breakdowns.get(&Dimension::Account.into())?;
    let is_account = |group: &&Group| group.key != Dimension::Account.absent() && !group.absent;
    let full = || {
        let near = ground.of(FindingKind::NearAccountLimit).find_map(|finding| finding.subject.as_ref());
        let near = near.filter(|subject| subject.dimension == Dimension::Account).map(|it| it.key.as_str());
        let refusing = ground.evidence.snapshot.closed.as_ref().and_then(|closed| {
            let refusing = closed.accounts.iter().filter(|account| account.refused > 0 && !account.absent);
            refusing.max_by_key(|account| account.refused).map(|account| account.key.as_str())
        });
        near.or(refusing.filter(|_| by_account))
    };
    if ground.has(&[FindingKind::NearAccountLimit])
        || (by_account && ground.has(&[FindingKind::RefusedAtLimit]))
    {
        let key = full()?;
        let group = accounts.groups.iter().filter(is_account).find(|group| group.key == key)?;
        return Some(room_in_account(ground, group));
    }
    if !ground.has(&CONTAINED) {
        return None;
    }
    let culprit = ground.culprits.first()?;
    let single = accounts.groups.as_slice();
    let group = match (culprit.dimension, single) {
        (Dimension::Account, groups) => groups.iter().find(|group| group.key == culprit.key)?,
        (_, [group]) if accounts.other.figures.connections == 0 => group,
        // which account the application uses is not known, and a limit would hit somebody else
        _ => return None,
    };
    Some(contain(culprit.dimension, &culprit.key, group))
}

/// More room in an account that is full.
fn room_in_account(ground: &Ground<'_>, group: &Group) -> Recommendation {
    let connections = group.figures.connections;
    let raised = half_more(connections);
    let name = excerpt(group.label.as_deref().unwrap_or(&group.key));
    let advice = match ground.has(&GOES_ON) {
        true => " The cause goes on, and fills that room as well: mend the application first.",
        false => "",
    };
    recommendation(
        MitigationStep::Limits,
        format!("Raise the limit of account {name} to {}", with_commas(raised)),
        format!(
            "It has {} connections. An account's limit counts all servers of the cluster together, where the system \
             account connects them. Raising it takes effect at once and cuts nobody.{advice}",
            with_commas(connections)
        ),
        set_account(group, raised),
    )
}

/// A limit that keeps an account where it is.
fn contain(dimension: Dimension, key: &str, group: &Group) -> Recommendation {
    let who = excerpt(key);
    let name = excerpt(group.label.as_deref().unwrap_or(&group.key));
    let nothing_finer = "nats-server has no limit for a user, a client name or an address";
    if group.key == Dimension::Account.absent() || group.absent {
        return recommendation(
            MitigationStep::Limits,
            format!("Give {who} an account of its own"),
            format!(
                "All clients are in the global account, which has no limit of its own, and {nothing_finer}: today no \
                 limit can hit {who} alone. With an account and credentials of its own it can have one. This is for \
                 later: it changes how clients sign in."
            ),
            Vec::new(),
        );
    }
    let limit = round_up(group.figures.connections);
    let shared = match dimension {
        Dimension::Account => String::new(),
        _ => format!(
            " The limit is that of the whole account: other applications in it are refused as well, and {nothing_finer}. \
             An account of its own for {who} would change that."
        ),
    };
    recommendation(
        MitigationStep::Limits,
        format!("Hold account {name} at {} connections", with_commas(limit)),
        format!(
            "It has {} now: nobody is cut, and what comes beyond {} is refused. Refused clients try again and again, each \
             attempt costs the server a little.{shared}",
            with_commas(group.figures.connections),
            with_commas(limit)
        ),
        set_account(group, limit),
    )
}

/// How an account gets a limit: in the servers' configuration, or by its JWT where its key is a public key.
fn set_account(group: &Group, limit: u64) -> Vec<Snippet> {
    let is_public_key = group.key.len() == 56
        && group.key.starts_with('A')
        && group.key.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    if is_public_key {
        // nsc knows accounts by name
        let name = group.label.as_deref().and_then(super::quoting::shell);
        let commands = name.map(|name| {
            snippet(SHELL, format!("nsc edit account --name {name} --conns {limit}\nnsc push -a {name}"))
        });
        return commands.into_iter().collect();
    }
    let Some(name) = server_configuration(&group.key) else { return Vec::new() };
    let lines = format!(
        "# add the limits to the account that is there already, on every server\n\
         accounts {{\n  {name} {{\n    limits {{ max_connections: {limit} }}\n  }}\n}}"
    );
    vec![snippet(SERVER_CONFIGURATION, lines), load_configuration()]
}
