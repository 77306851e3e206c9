//! A herd after a restart: a server left or started anew, and its clients came all at once.

use jiff::{SignedDuration, Timestamp};

use crate::diagnose::case::Case;
use crate::diagnose::text::minutes_ago;
use crate::model::breakdown::{Dimension, share};
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::history::Sample;
use crate::model::printable::{percent, with_commas};

/// A restart longer ago than this has been digested.
const LATELY: SignedDuration = SignedDuration::from_mins(20);

/// So long after a restart clients that come are those that were cut off.
const BURST: SignedDuration = SignedDuration::from_mins(3);

/// So much of all connections must have come with the burst.
const HERD: f64 = 0.2;

/// One application that restarts is no herd.
const LEAST_APPLICATIONS: usize = 3;

/// What happened to a server.
struct Upset {
    server: String,
    at: Timestamp,
    what: &'static str,
}

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let upset = upsets(case).into_iter().max_by_key(|upset| upset.at)?;
    let all = case.evidence.breakdown(Dimension::Application)?;
    // the clock of a sample is ours, a start is the server's
    let from = upset.at.saturating_sub(SignedDuration::from_secs(15)).ok()?;
    let to = upset.at.saturating_add(BURST).ok()?;
    let herd = all.starts.opened_between(from, to);
    let applications = all.groups.iter().filter(|group| group.starts.opened_between(from, to) > 0).count();
    let part = share(herd, all.starts.total());
    if herd < case.rules.least_connections
        || part < HERD
        || applications < LEAST_APPLICATIONS.min(all.groups.len())
        || applications < 2
    {
        return None;
    }
    Some(Finding {
        kind: FindingKind::RestartHerd,
        severity: Severity::Warning,
        confidence: 0.6 + part * 0.35,
        summary: format!(
            "{} {} at {}, and {} clients of {applications} applications ({} of all) connected within minutes of it",
            upset.server,
            upset.what,
            minutes_ago(case, upset.at),
            with_commas(herd),
            percent(part),
        ),
        subject: Some(Subject::new(Dimension::Server, &upset.server)),
        since: Some(upset.at),
        evidence: vec![
            Fact::count("connected_after", herd, format!("{} connections began within 3 minutes of it", with_commas(herd))),
            Fact::new("connected_after_share", part, format!("{} of all", percent(part))),
            Fact::count("applications", applications as u64, format!("of {applications} applications")),
        ],
        confirm: "The server's uptime in /varz, and a deployment, an eviction or an out-of-memory kill at that time"
            .to_owned(),
        refute: "The number of connections of the whole cluster is higher than before the restart".to_owned(),
    })
}

/// The servers that left or started anew lately, as far as earlier samples show what was before.
fn upsets(case: &Case<'_>) -> Vec<Upset> {
    let now = case.now();
    let Some(history) = case.evidence.history.seen() else { return Vec::new() };
    let earliest = now.saturating_sub(LATELY).unwrap_or(Timestamp::MIN);
    let before: Vec<&Sample> = history.samples.iter().filter(|sample| sample.at < now).collect();
    let mut upsets: Vec<Upset> = Vec::new();
    for (server, vitals) in case.servers() {
        let Some(started_at) = vitals.started_at.filter(|at| *at >= earliest) else { continue };
        let name = server.display_name();
        let known = before.iter().any(|sample| {
            sample.servers.iter().any(|sampled| {
                let same = sampled.server == name;
                let earlier = sampled.started_at.is_some_and(|start| start < started_at);
                // a server without a name has a new id as its name at each start
                earlier && (same || nobody_else_has(case, &sampled.server))
            })
        });
        if known {
            upsets.push(Upset { server: name.to_owned(), at: started_at, what: "started anew" });
        }
    }
    let present: Vec<&str> = case.servers().map(|(server, _)| server.display_name()).collect();
    let last_seen = before.iter().rev().filter(|sample| sample.at >= earliest).flat_map(|sample| {
        sample.servers.iter().map(|server| (server.server.as_str(), server.connections, sample.at))
    });
    for (name, connections, at) in last_seen {
        let noted = upsets.iter().any(|upset| upset.server == name);
        if !present.contains(&name) && !noted && connections > 0 && upsets.is_empty() {
            upsets.push(Upset { server: name.to_owned(), at, what: "was last seen" });
        }
    }
    upsets
}

/// Whether no server that answers now has this name.
fn nobody_else_has(case: &Case<'_>, name: &str) -> bool {
    case.servers().all(|(server, _)| server.display_name() != name)
}
