//! Mitigation step 3: tuning of the servers.

use std::time::Duration;

use super::{Ground, SERVER_CONFIGURATION, SHELL, load_configuration, recommendation, snippet};
use crate::diagnose::servers::{Server, alike};
use crate::diagnose::text::span;
use crate::diagnose::words::{list, number};
use crate::model::diagnosis::{FindingKind, MitigationStep, Recommendation};
use crate::model::printable::{excerpt, size, with_commas};

/// So many connections that ended for one reason are no accident.
const MANY: u64 = 10;

/// How often an idle client is pinged where dead connections are a problem.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// The usual number of pings without an answer.
const PINGS: u64 = 2;

/// The longest time to authenticate that is recommended.
const LONGEST_AUTH_TIMEOUT: u64 = 10;

/// How many clients a second may come to the other servers when one leaves.
const COMERS_PER_SECOND: u64 = 50;

/// How long nats-server takes to send its clients away, unless it is configured (`lame_duck_duration`).
const USUAL_LAME_DUCK: Duration = Duration::from_secs(120);

/// The longest time to send clients away that is recommended.
const LONGEST_LAME_DUCK: Duration = Duration::from_secs(1800);

/// How long a write may take, unless it is configured (`write_deadline`).
const USUAL_WRITE_DEADLINE_MS: u64 = 10_000;

pub(super) fn recommend(ground: &Ground<'_>, recommendations: &mut Vec<Recommendation>) {
    recommendations.extend(dead(ground));
    recommendations.extend(late(ground));
    recommendations.extend(slow(ground));
    recommendations.extend(herd(ground));
}

/// Dead connections that linger.
fn dead(ground: &Ground<'_>) -> Option<Recommendation> {
    let kinds =
        [FindingKind::Leak, FindingKind::IdleHoard, FindingKind::NearLimit, FindingKind::RefusedAtLimit];
    let stale = ground.closed_for("Stale Connection");
    if !ground.has(&kinds) || stale < MANY {
        return None;
    }
    let lingers = |server: &Server<'_>| {
        let vitals = server.vitals?;
        let interval = Duration::from_millis(vitals.ping_interval_ms?);
        let pings = u32::try_from(vitals.ping_max?.saturating_add(1)).unwrap_or(u32::MAX);
        Some(interval.saturating_mul(pings)).filter(|_| interval > PING_INTERVAL)
    };
    let groups = alike(&ground.servers, lingers);
    let (longest, _) = groups.iter().max_by_key(|(lingers, _)| *lingers)?;
    let names: Vec<&str> = groups.iter().flat_map(|(_, names)| names).copied().collect();
    let clients: u64 = ground.servers.iter().filter_map(Server::clients).fold(0, u64::saturating_add);
    Some(recommendation(
        MitigationStep::Tuning,
        format!("Let {} ping idle clients every {}", list(&names), span(PING_INTERVAL)),
        format!(
            "{} connections ended because their client did not answer any more. Until then such a connection counts, for \
             up to {} as it is and {} with this. It costs at most {} pings a second. It does not end connections of a \
             living process that leaks them: its library answers.",
            with_commas(stale),
            span(*longest),
            span(PING_INTERVAL * 3),
            number(clients as f64 / PING_INTERVAL.as_secs_f64())
        ),
        vec![
            snippet(
                SERVER_CONFIGURATION,
                format!("ping_interval: \"{}s\"\nping_max: {PINGS}", PING_INTERVAL.as_secs()),
            ),
            load_configuration(),
        ],
    ))
}

/// Clients that run out of time while they authenticate.
fn late(ground: &Ground<'_>) -> Option<Recommendation> {
    let late = ground.closed_for("Authentication Timeout");
    let kinds = [FindingKind::ReconnectStorm, FindingKind::RestartHerd, FindingKind::RefusedAtLimit];
    if late < MANY || !ground.has(&kinds) {
        return None;
    }
    let timeouts = ground.servers.iter().filter_map(|server| server.vitals?.auth_timeout_ms);
    let shortest = timeouts.min()?;
    let longer = (shortest / 1_000).max(1).saturating_mul(2).min(LONGEST_AUTH_TIMEOUT);
    (longer * 1_000 > shortest).then(|| {
        recommendation(
            MitigationStep::Tuning,
            format!("Give clients {longer}s to authenticate"),
            format!(
                "{} clients were cut off because they had not authenticated within {}, and came back at once, which makes \
                 it worse. With more time more of them get in at the first attempt.",
                with_commas(late),
                span(Duration::from_millis(shortest))
            ),
            vec![
                snippet(
                    SERVER_CONFIGURATION,
                    format!(
                        "# add the line to the authorization block if there is one\nauthorization {{\n  timeout: {longer}\n}}"
                    ),
                ),
                load_configuration(),
            ],
        )
    })
}

/// Clients that do not read.
fn slow(ground: &Ground<'_>) -> Option<Recommendation> {
    if !ground.has(&[FindingKind::SlowConsumers]) {
        return None;
    }
    let deadlines = ground.servers.iter().filter_map(|server| server.vitals?.write_deadline_ms);
    let shortest = deadlines.min()?;
    let pending = ground.servers.iter().filter_map(|server| server.vitals?.max_pending_bytes).max();
    let pending = pending.map_or_else(String::new, |pending| {
        format!(
            " Raising max_pending ({} for each client) only makes clients that do not read hold more memory before they \
             are cut off.",
            size(pending)
        )
    });
    if shortest >= USUAL_WRITE_DEADLINE_MS {
        return Some(recommendation(
            MitigationStep::Tuning,
            "Leave write_deadline and max_pending as they are",
            format!(
                "The servers wait {} for a client that does not read, which is enough. It is the clients that have to \
                 read faster, or to ask for less.{pending}",
                span(Duration::from_millis(shortest))
            ),
            Vec::new(),
        ));
    }
    Some(recommendation(
        MitigationStep::Tuning,
        "Wait 10s for clients that do not read",
        format!(
            "The servers cut them off after {}, and they reconnect at once. With the usual 10s a short pause of a client \
             costs no connection.{pending}",
            span(Duration::from_millis(shortest))
        ),
        vec![snippet(SERVER_CONFIGURATION, "write_deadline: \"10s\""), load_configuration()],
    ))
}

/// Clients that come all at once when a server leaves.
fn herd(ground: &Ground<'_>) -> Option<Recommendation> {
    let finding = ground.of(FindingKind::RestartHerd).next()?;
    let largest = ground.servers.iter().filter_map(Server::clients).max()?;
    let needed = Duration::from_secs(largest / COMERS_PER_SECOND);
    let duration = needed.clamp(USUAL_LAME_DUCK, LONGEST_LAME_DUCK);
    let minutes = duration.as_secs().div_ceil(60);
    let who = finding.subject.as_ref().map_or_else(|| "servers".to_owned(), |subject| excerpt(&subject.key));
    Some(recommendation(
        MitigationStep::Tuning,
        format!("Shut {who} down in lame duck mode, over {minutes}m"),
        format!(
            "It then sends its clients away one after the other, {} a second at the most, and not all at once. Whatever \
             stops it must wait for that long: in Kubernetes terminationGracePeriodSeconds of {} or more. The line takes \
             effect when the server starts the next time.",
            with_commas((largest / (minutes * 60).max(1)).max(1)),
            with_commas(minutes * 60 + 60)
        ),
        vec![
            snippet(
                SERVER_CONFIGURATION,
                format!("lame_duck_duration: \"{minutes}m\"\nlame_duck_grace_period: \"10s\""),
            ),
            snippet(
                SHELL,
                "# instead of stopping the server, on its host\nnats-server --signal ldm=\"$(pidof -s nats-server)\"",
            ),
        ],
    ))
}
