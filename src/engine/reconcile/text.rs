//! What the timeline says of reconciliation: what was asked, and what it answered.

use std::collections::BTreeSet;

use crate::engine::intake::text::{TOLD_ONE_BY_ONE, describe, told};
use crate::model::alert::Alert;
use crate::model::member::{Member, Suppression};

/// Why the end of an alert that was never listed is not believed.
pub(super) const NEVER_LISTED: &str = "no Alertmanager that is configured has ever listed it; is the one that sent it missing (alertmanagers[].url)?";

/// What was asked about alerts that are over.
pub(super) fn seen(rounds: u32, alertmanagers: &str, prometheus: &str, nats: &BTreeSet<String>) -> String {
    let times = if rounds == 2 { "twice".to_owned() } else { format!("{rounds} times") };
    let mut seen = format!("asked {times} in a row: {alertmanagers}");
    if !prometheus.is_empty() {
        seen.push_str(&format!("; {prometheus} does not object"));
    }
    if !nats.is_empty() {
        let nats: Vec<&str> = nats.iter().map(String::as_str).collect();
        seen.push_str(&format!("; NATS: {}", nats.join("; ")));
    }
    seen
}

/// Of alerts that are over although nobody has told.
pub(super) fn not_listed(over: &[Member], seen: &str) -> String {
    match over {
        [member] => format!("no Alertmanager lists {} any more ({seen})", describe(&member.alert)),
        members => format!("no Alertmanager lists {} alerts any more ({seen})", members.len()),
    }
}

/// Of an alert that is not listed any more and is taken to fire on.
pub(super) fn objection(alert: &Alert, why: &str) -> String {
    format!("no Alertmanager lists {} any more, but it is taken to fire on: {why}", describe(alert))
}

/// Of an alert that was said to fire against its end, and that is not listed.
pub(super) fn old_news(alert: &Alert, asked: &str) -> String {
    format!(
        "what was said to fire does not: no Alertmanager lists {} (asked twice in a row: {asked})",
        describe(alert)
    )
}

/// Of alerts that fire although nobody has told.
pub(super) fn listed(alerts: &[Alert], asked: &str) -> String {
    let what = match alerts {
        [alert] => describe(alert),
        alerts => format!("{} alerts", alerts.len()),
    };
    format!("Alertmanager lists {what}, and no notification has told of that (asked twice in a row: {asked})")
}

/// Of a change of who keeps an alert quiet; nothing if it was not quiet and is not.
pub(super) fn suppression(alert: &Alert, was: Option<&Suppression>, now: &Suppression) -> Option<String> {
    let ids = |ids: &[String]| ids.iter().map(|id| told(id)).collect::<Vec<_>>().join(", ");
    let quiet = match (now.silenced_by.as_slice(), now.inhibited_by.as_slice()) {
        ([], []) => {
            let was_quiet = was.is_some_and(|was| *was != Suppression::default());
            return was_quiet.then(|| format!("no longer silenced or inhibited: {}", describe(alert)));
        }
        (silences, []) => format!("silenced by {}", ids(silences)),
        ([], alerts) => format!("inhibited by {}", ids(alerts)),
        (silences, alerts) => format!("silenced by {}, inhibited by {}", ids(silences), ids(alerts)),
    };
    Some(format!(
        "{quiet}: {}; meanwhile Alertmanager tells nothing about it, not even its end",
        describe(alert)
    ))
}

/// The first few texts, and how many more there are.
pub(super) fn few(mut texts: Vec<String>) -> Vec<String> {
    let more = texts.len().saturating_sub(TOLD_ONE_BY_ONE);
    texts.truncate(TOLD_ONE_BY_ONE);
    if more > 0 {
        texts.push(format!("and {more} more of that kind"));
    }
    texts
}
