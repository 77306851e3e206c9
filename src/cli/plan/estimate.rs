//! `connwarden plan --snapshot`: what a plan would have been when a stored look was taken.

use crate::cli::incidents::wrapped;
use crate::cli::mitigations::line;
use crate::cli::render::coverage;
use crate::cli::table::table_width;
use crate::http::api::estimates::EstimateDocument;
use crate::model::estimate::{CountRange, EstimatedHit, Foreseen, GuardForecast};
use crate::model::plan::kept_told;
use crate::model::printable::span;

/// How many applications, accounts, addresses and servers are shown.
const HITS_SHOWN: usize = 8;

/// Shows an estimate to people, in the order of a plan. Only a terminal has its lines broken.
pub(super) fn render(document: &EstimateDocument, terminal: Option<usize>) -> String {
    let estimate = &document.estimate;
    let mut text =
        format!("estimate of snapshot {}: nothing of it can be proposed or executed\n\n", document.snapshot);
    let mut add = |name: &str, value: &str| text.push_str(&line(name, value, terminal));
    add("what", &estimate.expected_effect);
    add("beware", &estimate.warning);
    add("look", &format!("at {:.0}, {} ago", estimate.taken_at, span(estimate.age_ms / 1000)));
    add("selector", &serde_json::json!(estimate.selector).to_string());
    add("victims", &estimate.victims.to_string());
    for (name, hits) in [
        ("application", &estimate.blast_radius.applications),
        ("account", &estimate.blast_radius.accounts),
        ("address", &estimate.blast_radius.ips),
        ("server", &estimate.blast_radius.servers),
    ] {
        if !hits.is_empty() {
            add(name, &hits_told(hits, estimate.victims));
        }
    }
    let protected: Vec<String> =
        estimate.protected.iter().map(|(reason, count)| format!("{count} {}", reason.title())).collect();
    if !protected.is_empty() {
        add("protected", &protected.join(", "));
    }
    if !estimate.kept.is_none() {
        add("kept", &kept_told(estimate.kept));
    }
    text.push_str(&guards(&estimate.guards, terminal));
    text.push_str("\nnotes\n");
    for note in &estimate.notes {
        text.push_str(&wrapped("  ", note, terminal));
    }
    text.push('\n');
    text.push_str(&coverage(&estimate.coverage, table_width(terminal)));
    text
}

/// What is foreseen of each guard; those that look at the present are named together.
fn guards(forecasts: &[GuardForecast], terminal: Option<usize>) -> String {
    let (later, asked): (Vec<_>, Vec<_>) =
        forecasts.iter().partition(|forecast| forecast.foreseen == Foreseen::NotAsked);
    let width = asked.iter().map(|forecast| forecast.guard.name().len()).max().unwrap_or(0);
    let mut text = "\nguards\n".to_owned();
    for forecast in asked {
        let mark = match forecast.foreseen {
            Foreseen::Passes => "ok",
            Foreseen::Blocks => "BLOCKS",
            Foreseen::Unclear | Foreseen::NotAsked => "unclear",
        };
        let before = format!("  {mark:<7} {:<width$}  ", forecast.guard.name());
        text.push_str(&wrapped(&before, &forecast.reason, terminal));
    }
    let later: Vec<&str> = later.iter().map(|forecast| forecast.guard.name()).collect();
    text.push_str(&wrapped("  asked when a plan is made of a live look: ", &later.join(", "), terminal));
    text
}

fn hits_told(hits: &[EstimatedHit], victims: CountRange) -> String {
    let mut told: Vec<String> =
        hits.iter().take(HITS_SHOWN).map(|hit| format!("{} {}", hit.victims, hit.key)).collect();
    let rest: CountRange = hits.iter().skip(HITS_SHOWN).map(|hit| hit.victims).sum();
    let rest = rest.capped(victims.at_most);
    if !rest.is_none() {
        told.push(format!("{rest} others"));
    }
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ranges_are_written_as_such_and_guards_say_what_is_foreseen() {
        let range = |least: u64, most: u64| json!({ "at_least": least, "at_most": most });
        let hits = |hits: &[(&str, u64, u64)]| -> Vec<serde_json::Value> {
            hits.iter()
                .map(|(key, least, most)| json!({ "key": key, "victims": range(*least, *most) }))
                .collect()
        };
        let many: Vec<(String, u64, u64)> = (1..=10).map(|last| (format!("10.0.0.{last}"), 0, 12)).collect();
        let many: Vec<(&str, u64, u64)> =
            many.iter().map(|(key, least, most)| (key.as_str(), *least, *most)).collect();
        let document = json!({
            "snapshot": "019b8d7a-0000-7000-8000-00000000000b",
            "incident": "019b8d7a-0000-7000-8000-00000000000a",
            "cluster": "prod", "action": "kick", "selector": { "application": "orders", "account": "APP" },
            "order": "no_traffic_idle",
            "limits": { "at_most": 50, "at_most_percent": 10.0, "keep": 1, "keep_of": "application" },
            "taken_at": "2026-11-24T09:00:00Z", "age_ms": 11_000_000,
            "coverage": {
                "seen": 1200, "total": 1200, "complete": true, "duration_ms": 12, "bytes": 1,
                "servers": [{
                    "url": "http://nats-1:8222/", "via": "http", "name": "nats-1", "server_id": "NA", "version": "2.15.1",
                    "seen": 1200, "connz_total": 1200, "varz_connections": 1200, "max_connections": 65536,
                    "vitals": null, "duration_ms": 12, "bytes": 1, "error": null
                }],
            },
            "total": 1200, "matched": range(3, 13), "protected": { "system_account": range(0, 1) },
            "kept": range(1, 1), "victims": range(2, 12),
            "blast_radius": {
                "applications": hits(&[("orders", 2, 12)]), "accounts": hits(&[("APP", 2, 12)]), "ips": hits(&many),
                "servers": hits(&[("nats-1", 2, 12)]),
            },
            "expected_effect": "2–12 of 1,200 connections of cluster `prod` would have been cut",
            "warning": "clients that are tended come back at once",
            "guards": [
                { "guard": "protected", "foreseen": "passes", "reason": "no victim is protected; 0–1 are and stay" },
                { "guard": "max_share", "foreseen": "unclear", "reason": "2–12 of 1,200 connections may be more" },
                { "guard": "snapshot_complete", "foreseen": "blocks", "reason": "not everything was seen" },
                { "guard": "pause", "foreseen": "not_asked", "reason": "asked when a plan is made of a live look" },
                { "guard": "cool_down", "foreseen": "not_asked", "reason": "asked when a plan is made of a live look" },
            ],
            "notes": ["accounts are not crossed with applications in this look"],
        });
        let document: EstimateDocument = serde_json::from_value(document).unwrap();
        insta::assert_snapshot!(render(&document, Some(100)), @r#"
        estimate of snapshot 019b8d7a-0000-7000-8000-00000000000b: nothing of it can be proposed or executed

          what         2–12 of 1,200 connections of cluster `prod` would have been cut
          beware       clients that are tended come back at once
          look         at 2026-11-24T09:00:00Z, 3 h 3 min ago
          selector     {"account":"APP","application":"orders"}
          victims      2–12
          application  2–12 orders
          account      2–12 APP
          address      0–12 10.0.0.1, 0–12 10.0.0.2, 0–12 10.0.0.3, 0–12 10.0.0.4, 0–12 10.0.0.5, 0–12
                       10.0.0.6, 0–12 10.0.0.7, 0–12 10.0.0.8, 0–12 others
          server       2–12 nats-1
          protected    0–1 of the system account
          kept         1 so that enough of each application stay

        guards
          ok      protected          no victim is protected; 0–1 are and stay
          unclear max_share          2–12 of 1,200 connections may be more
          BLOCKS  snapshot_complete  not everything was seen
          asked when a plan is made of a live look: pause, cool_down

        notes
          accounts are not crossed with applications in this look

        SERVER                     VERSION   SEEN  TOTAL   LIMIT   TOOK  STATE
        nats-1 http://nats-1:8222  2.15.1   1,200  1,200  65,536  12 ms  complete
        "#);
    }
}
