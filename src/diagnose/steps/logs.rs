//! Step 1: the servers' logs, for errors about connections, and the reasons of closed connections.
//!
//! What a server remembers of its closed connections is the better witness: it has the reason of each one. A log has what
//! went on when nothing was closed, such as that there was no descriptor left.

use std::time::Duration;

use crate::diagnose::steps::notes::Notes;
use crate::diagnose::text::span;
use crate::diagnose::words::{between, counted, list, rate, time};
use crate::model::closed::{ClosedConnections, ClosedGroup};
use crate::model::diagnosis::{Fact, Step, StepName};
use crate::model::evidence::Evidence;
use crate::model::log_evidence::{LogCount, LogEvidence, LogKind};
use crate::model::printable::{excerpt, with_commas};

/// Fewer than this are one client's bad moment.
const FEW: u64 = 10;

/// What was refused longer ago is over.
const LATELY: Duration = Duration::from_secs(3600);

/// Ends that are no trouble: the client went, or was told to (`ClosedState.String` of nats-server).
const ORDINARY: [&str; 4] = ["Client Closed", "Server Shutdown", "Kicked", "Read Error"];

/// Looks at what the servers remember of closed connections, and at their logs.
pub(super) fn step(evidence: &Evidence) -> Step {
    let mut notes = Notes::default();
    match &evidence.snapshot.closed {
        Some(closed) if !closed.servers.is_empty() => {
            notes.looked();
            refused(&mut notes, closed, evidence);
            broken(&mut notes, closed, evidence);
        }
        Some(_) | None => notes.unseen("closed connections", "no server has listed them"),
    }
    for error in evidence.snapshot.closed.iter().flat_map(|closed| &closed.errors) {
        notes.unseen("closed connections of a server", error);
    }
    match evidence.logs.seen() {
        Some(logs) => lines(&mut notes, logs, evidence),
        None => {
            let why = evidence.logs.unseen().unwrap_or("nobody has looked");
            notes.unseen("the log", why);
        }
    }
    notes.conclude(StepName::Logs, "Nothing speaks of trouble with connections.")
}

/// Connections that were refused.
fn refused(notes: &mut Notes, closed: &ClosedConnections, evidence: &Evidence) {
    let lately: u64 = closed
        .per_minute
        .iter()
        .filter(|minute| between(minute.at, evidence.at) <= LATELY)
        .map(|minute| minute.refused)
        .fold(0, u64::saturating_add);
    let reaches = closed.servers.iter().filter_map(|ring| ring.reaches_back_to).min();
    if let Some(at) = reaches {
        let full = closed.servers.iter().filter(|ring| ring.full).count();
        let forgets = match full {
            0 => "",
            _ => "; older ones are forgotten",
        };
        let remembered = counted(closed.closed, "connection that has", "connections that have");
        notes.remark(format!(
            "The servers remember {remembered} ended since {}{forgets}.",
            time(at, evidence.at)
        ));
        notes.time("closed_reach_back", between(at, evidence.at), format!("since {}", time(at, evidence.at)));
    }
    notes.fact(Fact::count("closed", closed.closed, format!("{} ended", with_commas(closed.closed))));
    notes.fact(Fact::count("refused", closed.refused, format!("{} refused", with_commas(closed.refused))));
    if closed.refused == 0 {
        return;
    }
    let reasons = closed.reasons.iter().filter(|reason| reason.refused);
    let reasons: Vec<String> = reasons
        .map(|reason| format!("{} ({})", excerpt(&reason.reason), with_commas(reason.connections)))
        .collect();
    let whom = |groups: &[ClosedGroup]| {
        let groups = groups.iter().filter(|group| group.refused > 0 && !group.absent);
        let top = groups.max_by_key(|group| group.refused)?;
        Some(format!("most from {} ({})", excerpt(&top.key), with_commas(top.refused)))
    };
    let whom = whom(&closed.ips).map_or_else(String::new, |whom| format!("; {whom}"));
    let text = format!(
        "{} refused, {} of them in the last {}: {}{whom}.",
        counted(closed.refused, "connection was", "connections were"),
        with_commas(lately),
        span(LATELY),
        list(&reasons)
    );
    if lately >= FEW {
        notes.find(text);
    } else {
        notes.remark(text);
    }
}

/// Connections that ended by something that is not ordinary.
fn broken(notes: &mut Notes, closed: &ClosedConnections, evidence: &Evidence) {
    let reaches = closed.servers.iter().filter_map(|ring| ring.reaches_back_to).min();
    let hours = reaches.map(|at| between(at, evidence.at).as_secs_f64() / 3600.0);
    for reason in closed.reasons.iter().filter(|reason| !reason.refused) {
        let text = format!("{}: {}", excerpt(&reason.reason), with_commas(reason.connections));
        notes.fact(Fact::count("closed_for_reason", reason.connections, text));
        if ORDINARY.contains(&reason.reason.as_str()) {
            continue;
        }
        let since = reaches.map_or_else(String::new, |at| format!(" since {}", time(at, evidence.at)));
        let text = format!(
            "{} ended{since} by {}{}.",
            counted(reason.connections, "connection", "connections"),
            excerpt(&reason.reason),
            meaning(&reason.reason)
        );
        // many of them, and one an hour at least
        if reason.connections >= FEW && hours.is_some_and(|hours| reason.connections as f64 >= hours) {
            notes.find(text);
        } else {
            notes.remark(text);
        }
    }
}

/// What a reason means, for those who do not know.
fn meaning(reason: &str) -> &'static str {
    match reason {
        "Stale Connection" => ": the client did not answer pings any more",
        "Slow Consumer (Pending Bytes)" => ": the client left too much of what it had asked for unread",
        "Slow Consumer (Write Deadline)" => ": the client did not read for too long",
        "Write Error" => ": the client or the network was gone while it was written to",
        "Protocol Violation" | "Parse Error" => ": what came was not the NATS protocol",
        "Credentials Revoked" | "Authentication Expired" => ": its user may no longer connect",
        _ => "",
    }
}

/// What the log says.
fn lines(notes: &mut Notes, logs: &LogEvidence, evidence: &Evidence) {
    notes.looked();
    let window = between(logs.from, logs.to);
    for problem in &logs.problems {
        notes.unseen("a part of the log", problem);
    }
    let mut troubles: Vec<&LogCount> = logs.kinds.iter().filter(|count| count.lines > 0).collect();
    troubles.sort_by_key(|count| (std::cmp::Reverse(weight(count.kind)), std::cmp::Reverse(count.lines)));
    for count in troubles {
        let at_least =
            if logs.rate_limited_versions && count.kind.is_rate_limited() { "at least " } else { "" };
        let last = count.last.map_or_else(String::new, |at| format!(", last at {}", time(at, evidence.at)));
        let sample = count.samples.last().map_or_else(String::new, |line| format!(": `{}`", excerpt(line)));
        let text = format!(
            "The log has {at_least}{} \"{}\" of the last {}{last}{sample}.",
            counted(count.lines, "line", "lines"),
            count.kind.words(),
            span(window)
        );
        let fact = format!("{at_least}{} ({})", with_commas(count.lines), count.kind.words());
        notes.fact(Fact::count("log_lines", count.lines, fact));
        let is_trouble = match weight(count.kind) {
            Weight::Grave => true,
            Weight::InNumbers => count.lines >= FEW,
            Weight::News => false,
        };
        if is_trouble {
            notes.find(text);
        } else {
            notes.remark(text);
        }
    }
    if logs.rate_limited_versions {
        notes.remark(
            "From 2.12 on a server writes about one line in one or two seconds for refusals that read alike, however \
             many there are: what closed connections say counts.",
        );
    }
    if !logs.complete {
        notes.remark(format!(
            "Only a part of the log of the last {} was read ({}, {}): there may be more.",
            span(window),
            counted(logs.lines_read, "line", "lines"),
            rate(logs.lines_read as f64 * 60.0 / window.as_secs_f64().max(1.0))
        ));
    }
}

/// How grave it is that a log has a line of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Good to know.
    News,
    /// Trouble if there are many.
    InNumbers,
    /// Trouble if there is one.
    Grave,
}

fn weight(kind: LogKind) -> Weight {
    match kind {
        LogKind::ServerLimit | LogKind::AccountLimit | LogKind::OutOfDescriptors | LogKind::Trimmed => {
            Weight::Grave
        }
        LogKind::ReloadFailed => Weight::Grave,
        LogKind::AuthError
        | LogKind::AuthTimeout
        | LogKind::CalloutDenied
        | LogKind::SlowConsumer
        | LogKind::StalledProducer
        | LogKind::SlowReadLoop
        | LogKind::Stale
        | LogKind::TlsError
        | LogKind::ProtocolError => Weight::InNumbers,
        LogKind::Reload | LogKind::Start | LogKind::Stop | LogKind::LameDuck => Weight::News,
    }
}

#[cfg(test)]
mod tests;
