//! Step 3: recent changes: what was deployed, reloaded or restarted, and who is new among the clients.
//!
//! That something came before the alert does not make it the cause. It is listed so that somebody can judge.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::diagnose::growth::{GroupGrowth, Growth};
use crate::diagnose::servers::{Server, alike};
use crate::diagnose::steps::notes::Notes;
use crate::diagnose::text::span;
use crate::diagnose::words::{between, counted, list, time, whose};
use crate::model::breakdown::{Dimension, Group};
use crate::model::change::Change;
use crate::model::diagnosis::{Fact, Step, StepName};
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::{Evidence, Looked};
use crate::model::history::Sample;
use crate::model::printable::{excerpt, with_commas};

/// What was changed so shortly before the incident, or since, is worth a finding.
const SHORTLY_BEFORE: Duration = Duration::from_secs(2 * 3600);

/// What was changed longer before the incident is not looked at.
const RECENT: Duration = Duration::from_secs(24 * 3600);

/// The most changes that are told one by one.
const MOST_TOLD: usize = 10;

/// A configuration that was loaded so shortly after the start was loaded by the start.
const BY_THE_START: Duration = Duration::from_secs(2);

/// Looks for what was changed lately.
pub(super) fn step(evidence: &Evidence, rules: &DiagnosisRules, growth: Option<&Growth>) -> Step {
    let mut notes = Notes::default();
    told(&mut notes, evidence);
    of_servers(&mut notes, evidence);
    let newcomers =
        growth.map_or_else(BTreeSet::new, |growth| newcomers(&mut notes, evidence, rules, growth));
    among_clients(&mut notes, evidence, rules, &newcomers);
    notes.conclude(
        StepName::Changes,
        format!("No change is known from the {} before the alert or since.", span(SHORTLY_BEFORE)),
    )
}

/// When something was, against the incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Shortly before it opened, or since.
    Shortly,
    /// Earlier, but not long ago.
    Earlier,
    /// Too long ago to matter.
    LongAgo,
}

impl When {
    fn of(at: Timestamp, evidence: &Evidence) -> Self {
        match between(at, evidence.opened_at) {
            before if before <= SHORTLY_BEFORE => Self::Shortly,
            before if before <= RECENT => Self::Earlier,
            _ => Self::LongAgo,
        }
    }
}

/// Whether something was shortly before the incident opened, or since.
fn is_shortly(at: Timestamp, evidence: &Evidence) -> bool {
    When::of(at, evidence) == When::Shortly
}

/// `12m before the alert`, `3m after the alert`.
fn against_the_alert(at: Timestamp, evidence: &Evidence) -> String {
    match at <= evidence.opened_at {
        true => format!("{} before the alert", span(between(at, evidence.opened_at))),
        false => format!("{} after the alert", span(between(evidence.opened_at, at))),
    }
}

/// Changes that connwarden was told of, or has seen happen.
fn told(notes: &mut Notes, evidence: &Evidence) {
    let changes = match &evidence.changes {
        Looked::Seen(changes) => changes,
        Looked::Unseen(why) => {
            notes.unseen("what was deployed", why);
            return;
        }
    };
    notes.looked();
    let mut recent: Vec<&Change> = changes
        .iter()
        .filter(|change| change.at <= evidence.at && When::of(change.at, evidence) != When::LongAgo)
        .collect();
    recent.sort_by_key(|change| std::cmp::Reverse(change.at));
    notes.fact(Fact::count(
        "changes",
        recent.len() as u64,
        format!("{} since a day before the alert", counted(recent.len() as u64, "change", "changes")),
    ));
    for change in recent.iter().take(MOST_TOLD) {
        let of = [&change.application, &change.server].into_iter().flatten().next();
        let of = of.map_or_else(String::new, |of| format!(" of {}", excerpt(of)));
        let text = format!(
            "{}, {}: {}{of}: {}.",
            time(change.at, evidence.at),
            against_the_alert(change.at, evidence),
            change.kind.title(),
            excerpt(&change.title)
        );
        match When::of(change.at, evidence) {
            When::Shortly => notes.find(text),
            When::Earlier | When::LongAgo => notes.remark(text),
        }
    }
    if recent.len() > MOST_TOLD {
        notes.remark(format!("{} more changes are left out here.", recent.len() - MOST_TOLD));
    }
    if changes.is_empty() {
        notes.remark(
            "Nobody has told connwarden of any change: let your deployments do that with POST /api/v1/changes.",
        );
    }
}

/// Servers that started or loaded their configuration.
fn of_servers(notes: &mut Notes, evidence: &Evidence) {
    let servers = Server::all(&evidence.snapshot);
    for server in servers.iter().filter(|server| server.vitals.is_none()) {
        let why = server.coverage.error.as_deref().unwrap_or("it did not answer at /varz");
        notes.unseen(&format!("starts and reloads of {}", server.name), why);
    }
    let started = |server: &Server<'_>| server.vitals?.started_at;
    let reloaded = |server: &Server<'_>| {
        let vitals = server.vitals?;
        let (loaded, started) = (vitals.config_loaded_at?, vitals.started_at?);
        (between(started, loaded) > BY_THE_START).then_some(loaded)
    };
    for (what, at) in
        [("started", alike(&servers, started)), ("loaded the configuration again", alike(&servers, reloaded))]
    {
        for (at, names) in at {
            notes.looked();
            let text = format!(
                "{} {what} at {}, {}.",
                whose(&names, servers.len()),
                time(at, evidence.at),
                against_the_alert(at, evidence)
            );
            match When::of(at, evidence) {
                When::Shortly => notes.find(text),
                When::Earlier => notes.remark(text),
                When::LongAgo => {}
            }
        }
    }
    if servers.iter().any(|server| server.vitals.is_some()) {
        notes.looked();
    }
}

/// Applications, users and addresses that have a part in the growth and were seen for the first time shortly before the
/// incident or since; those that it has told.
fn newcomers<'a>(
    notes: &mut Notes,
    evidence: &Evidence,
    rules: &DiagnosisRules,
    growth: &'a Growth,
) -> BTreeSet<(Dimension, &'a str)> {
    let mut told = BTreeSet::new();
    let kinds = [
        (Dimension::Application, "application", "applications"),
        (Dimension::User, "user", "users"),
        (Dimension::Ip, "address", "addresses"),
    ];
    for (dimension, one, more) in kinds {
        let first_seen = |group: &'a GroupGrowth| {
            let seen = evidence.first_seen.get(&(dimension, group.key.clone()))?;
            // if nobody looked for long before, it may have come at any time since
            let came = [Some(seen.at), seen.not_seen_at];
            let lately = came.into_iter().all(|at| at.is_some_and(|at| is_shortly(at, evidence)));
            (group.grown_by() > 0 && lately).then_some((group, seen.at))
        };
        let new: Vec<(&GroupGrowth, Timestamp)> =
            growth.of(dimension).iter().filter_map(first_seen).collect();
        let connections: u64 = new.iter().map(|(group, _)| group.now).fold(0, u64::saturating_add);
        if connections < rules.least_connections {
            continue;
        }
        let having = |group: &GroupGrowth| counted(group.now, "connection", "connections");
        let text = match new.as_slice() {
            [(group, at)] => format!(
                "The {one} {}, with {}, was first seen {}.",
                excerpt(&group.key),
                having(group),
                against_the_alert(*at, evidence)
            ),
            several => {
                let names: Vec<String> = several
                    .iter()
                    .map(|(group, at)| {
                        let when = against_the_alert(*at, evidence);
                        format!("{} ({}, {when})", excerpt(&group.key), having(group))
                    })
                    .collect();
                format!(
                    "{} {more} with {} were first seen shortly before the alert or since: {}.",
                    with_commas(several.len() as u64),
                    counted(connections, "connection", "connections"),
                    list(&names)
                )
            }
        };
        notes.fact(Fact::count("newcomers", new.len() as u64, text.clone()));
        notes.find(text);
        told.extend(new.iter().map(|(group, _)| (dimension, group.key.as_str())));
    }
    told
}

/// Applications, accounts and client libraries that were not there before, without those that are told already.
fn among_clients(
    notes: &mut Notes,
    evidence: &Evidence,
    rules: &DiagnosisRules,
    told: &BTreeSet<(Dimension, &str)>,
) {
    let Some(before) = reference(notes, evidence) else { return };
    notes.looked();
    let kinds = [
        (Dimension::Application, "application", "applications"),
        (Dimension::Account, "account", "accounts"),
        (Dimension::Library, "client library", "client libraries"),
    ];
    for (dimension, one, more) in kinds {
        let Some(breakdown) = evidence.snapshot.breakdowns.get(&dimension.into()) else { continue };
        let is_new = |group: &&Group| {
            group.figures.connections >= rules.least_connections
                && !group.absent
                && before.group(dimension, &group.key) == Some(0)
                && !told.contains(&(dimension, group.key.as_str()))
        };
        let new: Vec<&Group> = breakdown.groups.iter().filter(is_new).collect();
        if new.is_empty() {
            continue;
        }
        let names: Vec<String> = new
            .iter()
            .map(|group| format!("{} ({})", excerpt(&group.key), with_commas(group.figures.connections)))
            .collect();
        let connections: u64 = new.iter().map(|group| group.figures.connections).fold(0, u64::saturating_add);
        let text = format!(
            "{} with {} that was not there at {}: {}.",
            counted(new.len() as u64, one, more),
            counted(connections, "connection", "connections"),
            time(before.at, evidence.at),
            list(&names)
        );
        notes.fact(Fact::count("new_groups", new.len() as u64, text.clone()));
        notes.find(text);
    }
}

/// The complete sample to compare with: the last one from before the time that counts as shortly before, else the oldest.
fn reference<'a>(notes: &mut Notes, evidence: &'a Evidence) -> Option<&'a Sample> {
    let samples = match &evidence.history {
        Looked::Seen(history) => &history.samples,
        Looked::Unseen(why) => {
            notes.unseen("who is new among the clients", why);
            return None;
        }
    };
    let complete = || samples.iter().filter(|sample| sample.complete && sample.at < evidence.opened_at);
    let recent = |sample: &&Sample| between(sample.at, evidence.opened_at) <= RECENT;
    let is_before = |sample: &&Sample| between(sample.at, evidence.opened_at) >= SHORTLY_BEFORE;
    let before = complete().rfind(|sample| is_before(sample) && recent(sample));
    let found = before.or_else(|| complete().find(recent));
    if found.is_none() {
        notes.unseen("who is new among the clients", "there is no complete sample from before the alert");
    }
    found
}

#[cfg(test)]
mod tests;
