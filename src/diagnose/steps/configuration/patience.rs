//! How long servers bear with clients that are dead, slow or late.

use std::time::Duration;

use crate::diagnose::servers::{Server, alike, values};
use crate::diagnose::steps::notes::Notes;
use crate::diagnose::text::span;
use crate::diagnose::words::whose;
use crate::model::evidence::Evidence;
use crate::model::printable::{size, with_commas};
use crate::model::vitals::ServerVitals;

/// A dead connection that stays for longer is worth a finding; by default it is six minutes.
const LINGERS_TOO_LONG: Duration = Duration::from_secs(15 * 60);

/// Clients that are pinged more often cost more than they tell.
const PINGED_TOO_OFTEN: Duration = Duration::from_secs(5);

/// A socket that may stay silent for longer before it has authenticated is worth a finding: it counts as a connection.
const AUTHENTICATES_TOO_LATE: Duration = Duration::from_secs(60);

/// So many clients that ran out of time while they authenticated are no accident.
const MANY_LATE: u64 = 10;

/// If so few clients that do not read fill the memory, it is worth a finding.
const FEW_FILL_MEMORY: u64 = 10;

/// The reason of a closed connection that did not authenticate in time (`ClosedState.String` of nats-server).
const LATE: &str = "Authentication Timeout";

/// What a server is configured to wait for, as it tells it in milliseconds.
type Setting = fn(&ServerVitals) -> Option<u64>;

pub(super) fn look(notes: &mut Notes, servers: &[Server<'_>], evidence: &Evidence) {
    dead(notes, servers);
    late(notes, servers, evidence);
    slow(notes, servers);
}

/// How long dead connections linger.
fn dead(notes: &mut Notes, servers: &[Server<'_>]) {
    // the first ping goes out up to one interval after the last activity, and the answer to the last one is waited for
    let lingers = |server: &Server<'_>| {
        let vitals = server.vitals?;
        let interval = Duration::from_millis(vitals.ping_interval_ms?);
        let pings = u32::try_from(vitals.ping_max?.saturating_add(1)).unwrap_or(u32::MAX);
        Some((interval, interval.saturating_mul(pings)))
    };
    for ((interval, lingers), names) in alike(servers, lingers) {
        let whose = whose(&names, servers.len());
        let text = format!(
            "A connection whose client has died without closing it counts for up to {} on {whose} (a ping every {}).",
            span(lingers),
            span(interval)
        );
        notes.time("dead_connections_linger", lingers, text.clone());
        if lingers > LINGERS_TOO_LONG {
            notes.find(text);
        } else {
            notes.remark(text);
        }
        if interval < PINGED_TOO_OFTEN {
            notes.remark(format!(
                "A ping every {} to each idle client of {whose} is often; the default is 2 minutes.",
                span(interval)
            ));
        }
    }
}

/// How long clients may take to authenticate.
fn late(notes: &mut Notes, servers: &[Server<'_>], evidence: &Evidence) {
    let timeouts = waits(servers, |vitals| vitals.auth_timeout_ms);
    if timeouts.is_empty() {
        return;
    }
    let text = format!("Clients have {} to authenticate", values(&timeouts, |timeout| span(*timeout)));
    let reasons = evidence.snapshot.closed.as_ref().map_or(&[][..], |closed| &closed.reasons);
    let late = reasons.iter().filter(|reason| reason.reason == LATE).map(|reason| reason.connections).sum();
    if late >= MANY_LATE {
        notes.find(format!(
            "{text}, and {} ran out of it: the servers or the networks are too slow for that at the moment.",
            with_commas(late)
        ));
    } else if timeouts.iter().any(|(timeout, _)| *timeout > AUTHENTICATES_TOO_LATE) {
        notes.find(format!("{text}: until then a silent socket counts as a connection."));
    } else {
        notes.remark(format!("{text}."));
    }
}

/// What clients that do not read may cost.
fn slow(notes: &mut Notes, servers: &[Server<'_>]) {
    let deadlines = waits(servers, |vitals| vitals.write_deadline_ms);
    if !deadlines.is_empty() {
        notes.remark(format!(
            "A client that does not read is cut off after {} (write_deadline).",
            values(&deadlines, |deadline| span(*deadline))
        ));
    }
    let fills = |server: &Server<'_>| {
        let vitals = server.vitals?;
        let pending = vitals.max_pending_bytes.filter(|pending| *pending > 0)?;
        Some((pending, vitals.memory_limit_bytes.filter(|memory| *memory > 0)))
    };
    for ((pending, memory), names) in alike(servers, fills) {
        let whose = whose(&names, servers.len());
        let Some(memory) = memory else {
            notes.remark(format!(
                "Each client of {whose} that does not read may hold up to {} of memory (max_pending); no memory limit \
                 is told (GOMEMLIMIT), so how many fill it is not known.",
                size(pending)
            ));
            continue;
        };
        let clients = (memory / pending).max(1);
        let text = format!(
            "{} that do not read fill the memory limit of {} on {whose}: each may hold {} (max_pending).",
            match clients {
                1 => "One or two clients".to_owned(),
                clients => format!("{} clients", with_commas(clients)),
            },
            size(memory),
            size(pending)
        );
        if clients < FEW_FILL_MEMORY {
            notes.find(text);
        } else {
            notes.remark(text);
        }
    }
}

/// What servers wait for, each time once.
fn waits<'s>(servers: &'s [Server<'_>], setting: Setting) -> Vec<(Duration, Vec<&'s str>)> {
    alike(servers, |server| server.vitals.and_then(setting).map(Duration::from_millis))
}
