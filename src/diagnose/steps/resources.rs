//! Step 5: resources: processor time, memory, slow consumers, stalls and the network.
//!
//! Counters since the start of a server are no news by themselves: they are compared with an earlier look.

use std::time::Duration;

use crate::diagnose::servers::Server;
use crate::diagnose::steps::notes::Notes;
use crate::diagnose::text::span;
use crate::diagnose::words::{between, counted, list, number, time};
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::{Fact, Step, StepName};
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::Evidence;
use crate::model::printable::{excerpt, percent, size, with_commas};
use crate::model::vitals::ServerVitals;

/// How far back an earlier look at the counters may be.
const LATELY: Duration = Duration::from_secs(15 * 60);

/// Bytes that wait for clients from which on it is worth a remark who keeps them waiting.
const MUCH_PENDING: u64 = 1_000_000;

/// Bytes that wait for clients from which on it is worth a finding, as a share of the memory of the servers.
const PENDING_SHARE: f64 = 0.1;

/// A server that takes so long to list its connections is busy.
const SLOW_TO_ANSWER: Duration = Duration::from_secs(3);

/// The reasons of closed connections that were too slow begin like this (`ClosedState.String` of nats-server).
const SLOW: &str = "Slow Consumer";

/// Looks at what the servers have to work with.
pub(super) fn step(evidence: &Evidence, rules: &DiagnosisRules) -> Step {
    let servers = Server::all(&evidence.snapshot);
    let mut notes = Notes::default();
    if servers.is_empty() {
        notes.unseen("resources", "no server is known");
    }
    for server in &servers {
        let Some(vitals) = server.vitals else {
            let why = server.coverage.error.as_deref().unwrap_or("it did not answer at /varz");
            notes.unseen(&format!("the resources of {}", server.name), why);
            continue;
        };
        notes.looked();
        processor(&mut notes, server, vitals, rules);
        memory(&mut notes, server, vitals, rules);
        counters(&mut notes, server, vitals, evidence);
        network(&mut notes, server, vitals, evidence);
        let took = Duration::from_millis(server.coverage.duration_ms);
        if took >= SLOW_TO_ANSWER {
            notes.remark(format!("{} took {} to tell its connections: it is busy.", server.name, span(took)));
        }
    }
    slow_and_closed(&mut notes, evidence);
    pending(&mut notes, &servers, evidence);
    notes.conclude(StepName::Resources, "Processor time and memory suffice, and no clients are too slow.")
}

/// Processor time against the cores.
fn processor(notes: &mut Notes, server: &Server<'_>, vitals: &ServerVitals, rules: &DiagnosisRules) {
    let name = &server.name;
    let Some(percent_of_core) = vitals.cpu_percent else { return };
    let Some(cores) = vitals.cores.filter(|cores| *cores > 0) else {
        notes.remark(format!(
            "{name} uses {} % of one core; how many it may use is not told.",
            number(percent_of_core)
        ));
        return;
    };
    let share = percent_of_core / 100.0 / cores as f64;
    let text = format!("{name} uses {} of its {}", percent(share), counted(cores, "core", "cores"));
    notes.fact(Fact::new("cpu_share", share, text.clone()));
    if share >= rules.cpu_share {
        notes.find(format!("{text}: clients wait."));
    } else {
        notes.remark(format!("{text}."));
    }
}

/// Memory against its limit, and for each connection.
fn memory(notes: &mut Notes, server: &Server<'_>, vitals: &ServerVitals, rules: &DiagnosisRules) {
    let name = &server.name;
    let Some(memory) = vitals.memory_bytes else { return };
    let (each, measured) = server.bytes_per_connection();
    let each = if measured { format!(", {} for each connection", size(each)) } else { String::new() };
    match vitals.memory_limit_bytes.filter(|limit| *limit > 0) {
        Some(limit) => {
            let share = memory as f64 / limit as f64;
            let text = format!(
                "{name} uses {} of memory, {} of its limit of {} (GOMEMLIMIT){each}.",
                size(memory),
                percent(share),
                size(limit)
            );
            notes.fact(Fact::new("memory_share", share, text.clone()));
            if share >= rules.memory_share {
                notes.find(text);
            } else {
                notes.remark(text);
            }
        }
        None => {
            let text = format!(
                "{name} uses {} of memory{each}; it tells no limit (GOMEMLIMIT), so how much is left is not known.",
                size(memory)
            );
            notes.fact(Fact::count("memory_bytes", memory, text.clone()));
            notes.remark(text);
        }
    }
}

/// Slow consumers, and producers that were made to wait.
fn counters(notes: &mut Notes, server: &Server<'_>, vitals: &ServerVitals, evidence: &Evidence) {
    let slow = Count {
        what: ("slow consumer", "slow consumers"),
        fact: "slow_consumers",
        now: vitals.slow_consumers,
        earlier: earlier_slow(server, vitals, evidence),
    };
    let stalls = Count {
        what: ("stall of a producer", "stalls of producers"),
        fact: "stalled_clients",
        now: vitals.stalled_clients,
        earlier: earlier(server, vitals, evidence)
            .and_then(|(earlier, ago)| earlier.stalled_clients.zip(Some(ago))),
    };
    for count in [slow, stalls] {
        count.tell(notes, server, vitals);
    }
}

/// A counter of a server, and what it was before.
struct Count {
    what: (&'static str, &'static str),
    fact: &'static str,
    now: Option<u64>,
    earlier: Option<(u64, Duration)>,
}

impl Count {
    fn tell(self, notes: &mut Notes, server: &Server<'_>, vitals: &ServerVitals) {
        let name = &server.name;
        let (one, more) = self.what;
        let Some(now) = self.now else { return };
        match self.earlier {
            Some((before, over)) if now >= before => {
                let new = now - before;
                notes.fact(Fact::count(
                    self.fact,
                    new,
                    format!("{name}: {} in {}", with_commas(new), span(over)),
                ));
                if new > 0 {
                    let text = counted(new, one, more);
                    notes.find(format!("{name} had {text} in the last {}.", span(over)));
                } else {
                    notes.remark(format!("{name} had no {more} in the last {}.", span(over)));
                }
            }
            _ if now == 0 => notes.remark(format!("{name} has had no {more} since it started.")),
            _ => {
                let since = vitals.started_at.zip(vitals.at).map(|(started, at)| between(started, at));
                let since = since.map_or_else(String::new, |since| format!(" {} ago", span(since)));
                notes.remark(format!(
                    "{name} has had {} since it started{since}; whether any of them is new is not known without an \
                     earlier look.",
                    counted(now, one, more)
                ));
            }
        }
    }
}

/// What the server said of itself before, in the same run and not long ago.
fn earlier<'a>(
    server: &Server<'_>,
    vitals: &ServerVitals,
    evidence: &'a Evidence,
) -> Option<(&'a ServerVitals, Duration)> {
    let earlier = evidence.earlier_vitals.get(server.coverage.display_name())?;
    let ago = between(earlier.at?, vitals.at?);
    let same_run = earlier.started_at == vitals.started_at;
    (same_run && !ago.is_zero() && ago <= LATELY).then_some((earlier, ago))
}

/// How many slow consumers there had been: by the oldest sample of the last quarter of an hour, else by the look before.
fn earlier_slow(server: &Server<'_>, vitals: &ServerVitals, evidence: &Evidence) -> Option<(u64, Duration)> {
    let samples = evidence.history.seen().map_or(&[][..], |history| &history.samples);
    let sampled = samples.iter().find_map(|sample| {
        let ago = between(sample.at, evidence.snapshot.taken_at);
        let own = sample.servers.iter().find(|own| own.server == server.coverage.display_name())?;
        let same_run = own.started_at == vitals.started_at;
        let counts = same_run && !ago.is_zero() && ago <= LATELY;
        own.slow_consumers.filter(|_| counts).map(|slow| (slow, ago))
    });
    sampled.or_else(|| {
        let (earlier, ago) = earlier(server, vitals, evidence)?;
        Some((earlier.slow_consumers?, ago))
    })
}

/// Bytes and messages a second.
fn network(notes: &mut Notes, server: &Server<'_>, vitals: &ServerVitals, evidence: &Evidence) {
    let traffic = |vitals: &ServerVitals| Some((vitals.in_bytes?, vitals.out_bytes?));
    let Some((received, sent)) = traffic(vitals) else { return };
    let lately = earlier(server, vitals, evidence).and_then(|(earlier, over)| {
        let (before_received, before_sent) = traffic(earlier)?;
        Some((received.checked_sub(before_received)?, sent.checked_sub(before_sent)?, over, "over the last"))
    });
    let since_start = || {
        let over = between(vitals.started_at?, vitals.at?);
        (!over.is_zero()).then_some((received, sent, over, "on average since it started, over"))
    };
    let Some((received, sent, over, when)) = lately.or_else(since_start) else { return };
    let a_second = |bytes: u64| size((bytes as f64 / over.as_secs_f64()) as u64);
    let text = format!(
        "{} receives {}/s and sends {}/s {when} {}; what its network can carry is not known.",
        server.name,
        a_second(received),
        a_second(sent),
        span(over)
    );
    notes.fact(Fact::new("out_bytes_per_second", sent as f64 / over.as_secs_f64(), text.clone()));
    notes.remark(text);
}

/// Clients that were cut off because they were too slow.
fn slow_and_closed(notes: &mut Notes, evidence: &Evidence) {
    let Some(closed) = &evidence.snapshot.closed else { return };
    let slow = closed.reasons.iter().filter(|reason| reason.reason.starts_with(SLOW));
    let slow: u64 = slow.map(|reason| reason.connections).fold(0, u64::saturating_add);
    if slow == 0 {
        return;
    }
    let reaches = closed.servers.iter().filter_map(|ring| ring.reaches_back_to).min();
    let since = reaches.map_or_else(String::new, |at| format!(" since {}", time(at, evidence.at)));
    let text = format!(
        "{} cut off{since} because they did not read fast enough.",
        counted(slow, "client was", "clients were")
    );
    let recent = reaches.is_some_and(|at| {
        let hours = between(at, evidence.at).as_secs_f64() / 3600.0;
        slow as f64 >= hours
    });
    if recent {
        notes.find(text);
    } else {
        notes.remark(text);
    }
}

/// What waits to be sent, and to whom.
fn pending(notes: &mut Notes, servers: &[Server<'_>], evidence: &Evidence) {
    let Some(breakdown) = evidence.snapshot.breakdowns.get(&Dimension::Application.into()) else { return };
    let pending = breakdown.total.pending_bytes;
    if pending < MUCH_PENDING {
        return;
    }
    let mut groups: Vec<_> =
        breakdown.groups.iter().filter(|group| group.figures.pending_bytes > 0).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.figures.pending_bytes));
    let names: Vec<String> = groups
        .iter()
        .map(|group| format!("{} ({})", excerpt(&group.key), size(group.figures.pending_bytes)))
        .collect();
    let whom = if names.is_empty() { String::new() } else { format!(", for {}", list(&names)) };
    let text = format!("{} wait to be sent to clients{whom}.", size(pending));
    notes.fact(Fact::count("pending_bytes", pending, text.clone()));
    let memory: u64 =
        servers.iter().filter_map(|server| server.vitals?.memory_bytes).fold(0, u64::saturating_add);
    if memory > 0 && pending as f64 >= memory as f64 * PENDING_SHARE {
        notes.find(text);
    } else {
        notes.remark(text);
    }
}

#[cfg(test)]
mod tests;
