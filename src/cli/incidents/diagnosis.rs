//! A diagnosis on a terminal, compact: what was found, who explains it, what to do, and what was checked.

use std::fmt::Write;

use jiff::Timestamp;

use crate::cli::incidents::{INSTANT, paragraph};
use crate::cli::table::{Column, draw, table_width};
use crate::http::api::documents::IncidentDocument;
use crate::model::diagnosis::{Culprit, Diagnosis, Finding, Recommendation, StepStatus};
use crate::model::incident::IncidentState;
use crate::model::precedent::{CulpritHistory, SimilarIncident};
use crate::model::printable::{age, percent, span, visible, with_commas};

/// How many findings are told with their evidence; the others get a line.
const TOP: usize = 3;

/// Tells what the evidence of an incident says; nothing if there is no diagnosis.
pub(super) fn diagnosis(document: &IncidentDocument, now: Timestamp, terminal: Option<usize>) -> String {
    let mut text = String::new();
    if let Some(diagnosis) = &document.diagnosis {
        // writing into memory cannot fail
        let _ = findings(&mut text, diagnosis, document.head.headline.as_deref(), terminal);
        let _ = culprits(&mut text, &diagnosis.culprits, &document.culprit_history, now, terminal);
        let _ = recommendations(&mut text, &diagnosis.recommendations, terminal);
        let _ = steps(&mut text, diagnosis, terminal);
    }
    let _ = similar(&mut text, &document.similar, terminal);
    text
}

fn findings(
    text: &mut String,
    diagnosis: &Diagnosis,
    headline: Option<&str>,
    terminal: Option<usize>,
) -> std::fmt::Result {
    writeln!(text, "\nDIAGNOSIS")?;
    if headline != Some(&diagnosis.headline) {
        text.push_str(&paragraph("", &diagnosis.headline, terminal));
    }
    if diagnosis.findings.is_empty() {
        writeln!(text, "nothing was found wrong")?;
    }
    for (place, finding) in diagnosis.findings.iter().enumerate() {
        text.push_str(&paragraph(&format!("{:<9} ", finding.severity.name()), &title(finding), terminal));
        if place < TOP {
            text.push_str(&paragraph("          ", &finding.summary, terminal));
            for fact in &finding.evidence {
                text.push_str(&paragraph("          - ", &fact.text, terminal));
            }
        }
    }
    Ok(())
}

fn title(finding: &Finding) -> String {
    let subject = finding.subject.as_ref();
    let subject = subject.map(|subject| format!(": {} {}", subject.dimension.name(), subject.key));
    let since = finding.since.map(|since| format!(", since {}", since.strftime(INSTANT)));
    format!(
        "{}{}, {} sure{}",
        finding.kind.title(),
        subject.unwrap_or_default(),
        percent(finding.confidence),
        since.unwrap_or_default()
    )
}

fn culprits(
    text: &mut String,
    culprits: &[Culprit],
    histories: &[CulpritHistory],
    now: Timestamp,
    terminal: Option<usize>,
) -> std::fmt::Result {
    if culprits.is_empty() {
        return writeln!(text, "\nno single culprit: nobody explains it by themselves");
    }
    let columns = [
        Column { heading: "CULPRIT", numeric: false, expendable: 0 },
        Column { heading: "CONNECTIONS", numeric: true, expendable: 0 },
        Column { heading: "GROWN BY", numeric: true, expendable: 0 },
        Column { heading: "EXPLAINS", numeric: true, expendable: 0 },
        Column { heading: "NO TRAFFIC", numeric: true, expendable: 2 },
        Column { heading: "SINCE", numeric: true, expendable: 1 },
        Column { heading: "FIRST SEEN", numeric: true, expendable: 4 },
        Column { heading: "FROM", numeric: false, expendable: 3 },
    ];
    let ago = |at: Option<Timestamp>| match at {
        Some(at) => format!("{} ago", age(Some(at), now)),
        None => "?".to_owned(),
    };
    let rows = culprits.iter().map(|culprit| {
        let from = culprit.addresses.first().map(|origin| match culprit.addresses.len() {
            1 => origin.named(),
            count => format!("{} and {} more", origin.named(), count - 1),
        });
        vec![
            match &culprit.label {
                Some(label) => format!("{} {label} ({})", culprit.dimension, culprit.key),
                None => format!("{} {}", culprit.dimension, culprit.key),
            },
            with_commas(culprit.connections),
            culprit.grown_by.map_or_else(|| "-".to_owned(), with_commas),
            percent(culprit.explained_share),
            percent(culprit.without_traffic_share),
            ago(culprit.since),
            ago(culprit.first_seen_at),
            from.unwrap_or_default(),
        ]
    });
    write!(text, "\n{}", draw(&columns, &rows.collect::<Vec<_>>(), table_width(terminal)))?;
    for history in histories {
        let plural = if history.other_incidents == 1 { "" } else { "s" };
        let ids: Vec<String> = history.latest.iter().map(|other| other.id.to_string()).collect();
        let count = with_commas(history.other_incidents);
        let told =
            format!("{} was the culprit of {count} other incident{plural}: {}", history.key, ids.join(", "));
        text.push_str(&paragraph("", &told, terminal));
    }
    Ok(())
}

fn recommendations(
    text: &mut String,
    recommendations: &[Recommendation],
    terminal: Option<usize>,
) -> std::fmt::Result {
    if recommendations.is_empty() {
        return Ok(());
    }
    writeln!(text, "\nWHAT TO DO")?;
    for (place, recommendation) in recommendations.iter().enumerate() {
        let title = format!("{} ({})", recommendation.title, recommendation.step.title());
        text.push_str(&paragraph(&format!("{}. ", place + 1), &title, terminal));
        text.push_str(&paragraph("   ", &recommendation.effect, terminal));
        for snippet in &recommendation.snippets {
            writeln!(text, "   {}:", visible(&snippet.place))?;
            // to be copied: neither broken nor cut
            for line in snippet.text.lines() {
                writeln!(text, "{}", format!("       {}", visible(line)).trim_end())?;
            }
        }
    }
    Ok(())
}

fn steps(text: &mut String, diagnosis: &Diagnosis, terminal: Option<usize>) -> std::fmt::Result {
    if diagnosis.steps.is_empty() {
        return Ok(());
    }
    writeln!(text, "\nCHECKED")?;
    for (place, step) in diagnosis.steps.iter().enumerate() {
        let before = format!("{}. {:<8} ", place + 1, step.status.name());
        text.push_str(&paragraph(&before, &format!("{}: {}", step.step.title(), step.summary), terminal));
        // what is well needs no more words
        let remarks = step.remarks.iter().filter(|_| step.status != StepStatus::Ok);
        for remark in remarks {
            text.push_str(&paragraph("            - ", remark, terminal));
        }
    }
    Ok(())
}

fn similar(text: &mut String, similar: &[SimilarIncident], terminal: Option<usize>) -> std::fmt::Result {
    if similar.is_empty() {
        return Ok(());
    }
    writeln!(text, "\nSIMILAR INCIDENTS")?;
    for past in similar {
        let ending = match (&past.state, past.duration_s) {
            (IncidentState::Resolved { resolution, .. }, Some(seconds)) => {
                format!("resolved after {} ({})", span(seconds), resolution.name())
            }
            (state, _) => state.name().to_owned(),
        };
        let told = format!("{}, {ending}", past.opened_at.strftime(INSTANT));
        text.push_str(&paragraph(&format!("{}  ", past.id), &told, terminal));
        let headline = past.headline.as_deref().unwrap_or(&past.alert_name);
        text.push_str(&paragraph("    ", headline, terminal));
        for note in &past.notes {
            text.push_str(&paragraph(&format!("    {}: ", visible(&note.actor)), &note.text, terminal));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(terminal: Option<usize>) -> String {
        let name = "orders\u{1b}[31m";
        let fact =
            json!({ "name": "grown_by", "value": 2940.0, "text": "2,940 connections more than at 02:51" });
        let id = "019b8d7a-0000-7000-8000-00000000000a";
        let finding = |severity: &str, kind: &str| {
            json!({
                "kind": kind, "severity": severity, "confidence": 0.9, "summary": "they are opened and not closed",
                "subject": { "dimension": "application", "key": name }, "since": "2026-11-24T02:51:00Z",
                "evidence": [fact], "confirm": "it goes on", "refute": "it stops"
            })
        };
        let document: IncidentDocument = serde_json::from_value(json!({
            "id": id, "cluster": "nats", "mapped_by": "matchers", "alert_name": "High", "state": "triggered",
            "opened_at": "2026-11-24T09:00:00Z", "updated_at": "2026-11-24T11:00:00Z",
            "headline": "2,940 of +3,100 are orders", "alerts": [], "snapshots": [], "breakdowns": {}, "timeline": [],
            "diagnosis": {
                "made_at": "2026-11-24T09:00:00Z", "headline": "2,940 of +3,100 are orders",
                "findings": [finding("critical", "leak"), finding("info", "growth")],
                "culprits": [{
                    "dimension": "application", "key": name, "connections": 3000, "grown_by": 2940,
                    "explained_share": 0.9484, "since": "2026-11-24T02:51:00Z", "without_traffic_share": 0.97,
                    "addresses": [{ "address": "10.2.0.0/16", "connections": 2940 }], "summary": "nearly all of it"
                }],
                "steps": [{
                    "step": "logs", "status": "skipped", "summary": "no log is configured", "evidence": [],
                    "remarks": ["12 closed connections are remembered"]
                }],
                "recommendations": [{
                    "step": "application", "title": "Have it close its connections", "effect": "60 would be left",
                    "snippets": [{ "place": "shell", "text": "kubectl rollout undo deployment/orders\n\u{1b}[2J" }]
                }]
            },
            "culprit_history": [{
                "dimension": "application", "key": name, "other_incidents": 7,
                "latest": [{ "id": id, "alert_name": "High", "opened_at": "2026-11-20T09:00:00Z" }]
            }],
            "similar": [{
                "id": id, "alert_name": "High", "state": "resolved", "resolution": "manual",
                "resolved_at": "2026-11-20T10:01:00Z", "resolved_by": "ada", "opened_at": "2026-11-20T09:00:00Z",
                "duration_s": 3660, "headline": "the same again", "same_kind": "leak", "shared_culprits": [],
                "notes": [{
                    "at": "2026-11-20T10:01:00Z", "actor": "ada", "kind": "resolved", "text": "rolled back\nto 1.4"
                }]
            }]
        }))
        .unwrap();
        diagnosis(&document, "2026-11-24T11:00:00Z".parse().unwrap(), terminal)
    }

    #[test]
    fn a_diagnosis_is_told_in_lines_that_can_be_printed() {
        insta::assert_snapshot!(shown(None), @r"
        DIAGNOSIS
        critical  Connection leak: application orders\u{1b}[31m, 90 % sure, since 2026-11-24 02:51:00Z
                  they are opened and not closed
                  - 2,940 connections more than at 02:51
        info      Growth without a culprit: application orders\u{1b}[31m, 90 % sure, since 2026-11-24 02:51:00Z
                  they are opened and not closed
                  - 2,940 connections more than at 02:51

        CULPRIT                       CONNECTIONS  GROWN BY  EXPLAINS  NO TRAFFIC   SINCE  FIRST SEEN  FROM
        application orders\u{1b}[31m        3,000     2,940    94.8 %        97 %  8h ago           ?  10.2.0.0/16
        orders\u{1b}[31m was the culprit of 7 other incidents: 019b8d7a-0000-7000-8000-00000000000a

        WHAT TO DO
        1. Have it close its connections (The application)
           60 would be left
           shell:
               kubectl rollout undo deployment/orders
               \u{1b}[2J

        CHECKED
        1. skipped  Log errors and closed connections: no log is configured
                    - 12 closed connections are remembered

        SIMILAR INCIDENTS
        019b8d7a-0000-7000-8000-00000000000a  2026-11-20 09:00:00Z, resolved after 1 h 1 min (manual)
            the same again
            ada: rolled back\nto 1.4
        ");
    }

    #[test]
    fn a_terminal_has_its_lines_broken() {
        let text = shown(Some(60));
        let is_table = |line: &str| line.contains("CONNECTIONS") || line.contains("94.8 %");
        let long = text.lines().find(|line| line.len() > 60 && !is_table(line));
        assert_eq!(long, None, "{text}");
    }
}
