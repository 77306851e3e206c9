//! How many connections each server takes, how full it is, and when it will be full.

use std::time::Duration;

use crate::diagnose::connection_limit::{ConnectionLimit, DEFAULT_LIMIT};
use crate::diagnose::servers::{FORESEEN, Server, alike, values};
use crate::diagnose::steps::notes::Notes;
use crate::diagnose::text::span;
use crate::diagnose::words::{counted, list, rate, whose};
use crate::model::breakdown::{Dimension, share};
use crate::model::diagnosis::Fact;
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::Evidence;
use crate::model::printable::{percent, size, with_commas};

/// A server that will be full within this time is worth a finding, however full it is now.
const FULL_SOON: Duration = Duration::from_secs(3600);

/// How many descriptors a server needs beside its clients: about ten of its own, eight for the routes to each other server
/// of its cluster, and some to spare.
const OTHER_DESCRIPTORS: u64 = 100;

pub(super) fn look(notes: &mut Notes, servers: &[Server<'_>], evidence: &Evidence, rules: &DiagnosisRules) {
    let mut full: Vec<&Server<'_>> = servers.iter().collect();
    let fullness = |server: &Server<'_>| match (server.clients(), server.limit().clients()) {
        (Some(clients), Some(limit)) => share(clients, limit.max(1)),
        _ => 0.0,
    };
    full.sort_by(|one, other| fullness(other).total_cmp(&fullness(one)));
    for server in full {
        headroom(notes, server, evidence, rules);
    }
    let limits = alike(servers, |server| match server.limit() {
        ConnectionLimit::Untold => None,
        limit => Some(limit),
    });
    if limits.len() > 1 {
        notes.find(format!("max_connections is not the same everywhere: {}.", values(&limits, shown)));
    }
    for (limit, names) in &limits {
        if *limit == ConnectionLimit::At(DEFAULT_LIMIT) {
            notes.remark(format!(
                "{} of {} is the default of nats-server: nobody has chosen it for this machine.",
                with_commas(DEFAULT_LIMIT),
                whose(names, servers.len())
            ));
        }
    }
    accounts(notes, evidence, rules);
    descriptors(notes, servers);
}

/// How full the accounts are whose limit is known.
fn accounts(notes: &mut Notes, evidence: &Evidence, rules: &DiagnosisRules) {
    let Some(accounts) = evidence.breakdown(Dimension::Account) else { return };
    let known = accounts.groups.iter().filter_map(|account| {
        let limit = evidence.account_limits.get(&account.key).copied().filter(|limit| *limit > 0)?;
        Some((account, limit))
    });
    let mut any = false;
    for (account, limit) in known {
        any = true;
        let part = share(account.figures.connections, limit);
        let text = format!(
            "account {} has {} of {} connections ({}).",
            account.label.as_ref().unwrap_or(&account.key),
            with_commas(account.figures.connections),
            with_commas(limit),
            percent(part),
        );
        if part >= rules.near_account_limit { notes.find(text) } else { notes.remark(text) }
    }
    if !any {
        notes.unseen(
            "the limits of accounts",
            "the servers tell none; where their configuration has some, name them in `account_limits`",
        );
    }
}

/// How full one server is.
fn headroom(notes: &mut Notes, server: &Server<'_>, evidence: &Evidence, rules: &DiagnosisRules) {
    let name = &server.name;
    let limit = match server.limit() {
        ConnectionLimit::At(limit) => limit,
        ConnectionLimit::Without => {
            notes.find(format!(
                "{name} has no limit (max_connections: -1): it takes connections until descriptors or memory are \
                 used up."
            ));
            return;
        }
        ConnectionLimit::Nobody => {
            notes.find(format!(
                "{name} lets nobody in: max_connections is 0 or below, which refuses every client from 2.12.8 on."
            ));
            return;
        }
        ConnectionLimit::Unknown(number) => {
            notes.remark(format!(
                "max_connections of {name} is {number}; what that means in its version is not known."
            ));
            return;
        }
        ConnectionLimit::Untold => return,
    };
    notes.fact(Fact::count("max_connections", limit, format!("{name}: at most {}", with_commas(limit))));
    let Some(clients) = server.clients() else {
        notes.remark(format!("{name} takes at most {}; how many it has is not known.", with_commas(limit)));
        return;
    };
    let capacity = server.capacity(limit);
    let used = share(clients, capacity);
    let mut text = format!(
        "{name} has {} of at most {} ({})",
        counted(clients, "connection", "connections"),
        with_commas(limit),
        percent(share(clients, limit))
    );
    if capacity < limit {
        text.push_str(&memory_bound(server, capacity));
    }
    notes.fact(Fact::new("limit_share", share(clients, limit), text.clone()));
    let full_in = match (server.growth(evidence), server.full_in(evidence, capacity)) {
        (Some((per_minute, over)), Some(full_in)) => {
            let growth = format!("it grew by {} over the last {}", rate(per_minute), span(over));
            if full_in < FORESEEN {
                text.push_str(&format!("; {growth}, and going on like this it is full in {}", span(full_in)));
                notes.time("full_in", full_in, format!("{name} is full in {}", span(full_in)));
            } else {
                text.push_str(&format!("; {growth}, which does not fill it within a month"));
            }
            Some(full_in)
        }
        (Some((per_minute, over)), None) if per_minute > 0.0 => {
            text.push_str(&format!("; it grew by {} over the last {}", rate(per_minute), span(over)));
            None
        }
        (Some((_, over)), None) => {
            text.push_str(&format!("; it did not grow over the last {}", span(over)));
            None
        }
        (None, _) => {
            text.push_str("; how fast it grows is not known yet");
            None
        }
    };
    text.push('.');
    if used >= rules.near_limit || full_in.is_some_and(|full_in| full_in <= FULL_SOON) {
        notes.find(text);
    } else {
        notes.remark(text);
    }
}

/// In words that a server's memory ends at `capacity` connections, before its limit.
fn memory_bound(server: &Server<'_>, capacity: u64) -> String {
    let memory = server.vitals.and_then(|vitals| vitals.memory_limit_bytes).unwrap_or(0);
    let (each, measured) = server.bytes_per_connection();
    let each = match measured {
        true => format!("{} per connection here", size(each)),
        false => format!("{} per connection is usual", size(each)),
    };
    format!(
        "; at {each} its memory limit of {} ends at about {}",
        size(memory),
        with_commas(round_down(capacity))
    )
}

/// Leaves two digits: it is an estimate.
fn round_down(count: u64) -> u64 {
    let digits = count.checked_ilog10().unwrap_or(0);
    let unit = 10_u64.pow(digits.saturating_sub(1));
    count / unit * unit
}

/// What nobody tells: how many descriptors a server may have.
fn descriptors(notes: &mut Notes, servers: &[Server<'_>]) {
    let limits: Vec<u64> = servers.iter().filter_map(|server| server.limit().clients()).collect();
    let Some(largest) = limits.iter().max().filter(|limit| **limit > 0) else { return };
    let silent = servers.iter().filter(|server| server.vitals.is_some()).map(|server| server.name.as_str());
    let silent: Vec<&str> = silent.collect();
    if silent.is_empty() {
        return;
    }
    notes.remark(format!(
        "nats-server does not tell how many file descriptors it may have. On the host of {}, \
         `grep 'open files' /proc/$(pidof nats-server)/limits` does; it must be {} at least, for {} clients and what \
         else is open. With fewer, new clients hang without any answer, and so does the monitoring port.",
        list(&silent),
        with_commas(largest.saturating_add(OTHER_DESCRIPTORS)),
        with_commas(*largest)
    ));
}

/// A limit in words.
fn shown(limit: &ConnectionLimit) -> String {
    match limit {
        ConnectionLimit::At(limit) => with_commas(*limit),
        ConnectionLimit::Without => "none".to_owned(),
        ConnectionLimit::Nobody => "nobody is let in".to_owned(),
        ConnectionLimit::Unknown(number) => number.to_string(),
        ConnectionLimit::Untold => "not told".to_owned(),
    }
}
