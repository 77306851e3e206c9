//! A report as Markdown. Every text passes through [`crate::model::markdown`]: names of clients are text from strangers.

use std::fmt::Write;

use jiff::Timestamp;

use crate::http::api::incidents::report::ReportDocument;
use crate::model::breakdown::{Breakdown, By, Dimension};
use crate::model::change::Change;
use crate::model::closed::ClosedConnections;
use crate::model::diagnosis::{Culprit, Diagnosis, Finding, Recommendation, Snippet};
use crate::model::entry::Entry;
use crate::model::incident::IncidentState;
use crate::model::markdown::{block, code, inline, item};
use crate::model::precedent::{CulpritHistory, SimilarIncident};
use crate::model::printable::{percent, span, with_commas};
use crate::model::truth::Truth;

/// How many groups of a breakdown are listed.
const TOP: usize = 5;

/// How many alerts are listed.
const MOST_ALERTS: usize = 20;

/// How many looks are listed: the first and the last ones.
const MOST_LOOKS: usize = 20;

/// Writes a report.
pub(super) fn write(report: &ReportDocument) -> String {
    let mut text = String::with_capacity(16 << 10);
    // writing into memory cannot fail
    let _ = head(&mut text, report);
    let _ = what(&mut text, report);
    if let Some(diagnosis) = &report.incident.diagnosis {
        let _ = who(&mut text, diagnosis, &report.incident.culprit_history);
        let _ = why(&mut text, diagnosis);
        let _ = steps(&mut text, diagnosis);
    } else {
        text.push_str("\n## Why\n\nThere is no diagnosis: NATS has not been seen; the timeline says why.\n");
    }
    let _ = changes(&mut text, &report.incident.changes);
    let _ = done(&mut text, report);
    if let Some(diagnosis) = &report.incident.diagnosis {
        let _ = to_do(&mut text, diagnosis);
    }
    let _ = similar(&mut text, &report.incident.similar);
    let _ = numbers(&mut text, report);
    let _ = timeline(&mut text, report);
    text
}

fn head(text: &mut String, report: &ReportDocument) -> std::fmt::Result {
    let head = &report.incident.head;
    writeln!(text, "# {}\n", inline(head.headline.as_deref().unwrap_or(&head.alert_name)))?;
    writeln!(text, "| | |\n| --- | --- |")?;
    let mut row = |name: &str, value: String| writeln!(text, "| {name} | {value} |");
    row("Incident", code(&head.id.to_string()))?;
    row("Alert", code(&head.alert_name))?;
    row("Cluster", code(&head.cluster_name()))?;
    let note = head.state.note().map(|note| format!(" ({})", inline(&note))).unwrap_or_default();
    row("State", format!("{}{note}: {}", head.state.name(), head.state.meaning()))?;
    if let Some(since) = report.since {
        row("Began", utc(since))?;
    }
    row("Opened", utc(head.opened_at))?;
    match &head.state {
        IncidentState::Resolved { resolved_at, .. } => {
            row("Resolved", format!("{}, after {}", utc(*resolved_at), span(report.duration_s)))?;
        }
        _ => row("Open for", span(report.duration_s))?,
    }
    if head.reopened > 0 {
        row("Opened again", format!("{} times", head.reopened))?;
    }
    if let Some(diagnosis) = &report.incident.diagnosis {
        row("Diagnosed", utc(diagnosis.made_at))?;
    }
    row("Report made", utc(report.made_at))
}

fn what(text: &mut String, report: &ReportDocument) -> std::fmt::Result {
    writeln!(text, "\n## What\n")?;
    if let Some(diagnosis) = &report.incident.diagnosis {
        writeln!(text, "{}\n", inline(&diagnosis.headline))?;
    }
    let alerts = &report.incident.alerts;
    if alerts.is_empty() {
        return writeln!(text, "No alert has told of it: it was opened by hand.");
    }
    writeln!(text, "| Server | Status | Alert says | NATS says | Since | Ended |")?;
    writeln!(text, "| --- | --- | ---: | ---: | --- | --- |")?;
    for alert in alerts.iter().take(MOST_ALERTS) {
        let unknown = || "unknown".to_owned();
        let says = alert.value.map_or_else(unknown, |value| value.to_string());
        let saturated = if alert.is_saturated() { " (saturated)" } else { "" };
        let truth = alert.truth.as_ref().and_then(Truth::count).unwrap_or_else(unknown);
        let ended = alert.ended_at.map(utc).unwrap_or_default();
        let (server, status) = (code(alert.server_name()), inline(&alert.status));
        writeln!(
            text,
            "| {server} | {status} | {says}{saturated} | {truth} | {} | {ended} |",
            utc(alert.starts_at)
        )?;
    }
    left_out(text, alerts.len().saturating_sub(MOST_ALERTS), "alerts")
}

fn who(text: &mut String, diagnosis: &Diagnosis, histories: &[CulpritHistory]) -> std::fmt::Result {
    writeln!(text, "\n## Who, and since when\n")?;
    if diagnosis.culprits.is_empty() {
        return writeln!(text, "No single culprit: nobody explains it by themselves.");
    }
    writeln!(
        text,
        "| Who | Connections | Grown by | Explains | Without traffic | Since | First seen | From |"
    )?;
    writeln!(text, "| --- | ---: | ---: | ---: | ---: | --- | --- | --- |")?;
    for culprit in &diagnosis.culprits {
        let addresses = culprit
            .addresses
            .iter()
            .map(|origin| format!("{} ({})", code(&origin.named()), with_commas(origin.connections)));
        let addresses: Vec<String> = addresses.collect();
        writeln!(
            text,
            "| {} {} | {} | {} | {} | {} | {} | {} | {} |",
            culprit.dimension.name(),
            called(culprit),
            with_commas(culprit.connections),
            culprit.grown_by.map_or_else(|| "–".to_owned(), with_commas),
            percent(culprit.explained_share),
            percent(culprit.without_traffic_share),
            culprit.since.map_or_else(|| "unknown".to_owned(), utc),
            culprit.first_seen_at.map_or_else(|| "unknown".to_owned(), utc),
            addresses.join(", "),
        )?;
    }
    writeln!(text)?;
    for culprit in &diagnosis.culprits {
        writeln!(text, "* {}", inline(&culprit.summary))?;
    }
    for history in histories {
        let others: Vec<String> = history
            .latest
            .iter()
            .map(|other| format!("{} of {}", code(&other.id.to_string()), utc(other.opened_at)))
            .collect();
        let plural = if history.other_incidents == 1 { "" } else { "s" };
        let count = with_commas(history.other_incidents);
        writeln!(
            text,
            "* {} {} was the culprit of {count} other incident{plural}: {}",
            history.dimension.name(),
            code(&history.key),
            others.join(", ")
        )?;
    }
    Ok(())
}

/// What a culprit is called, with its key where that is something else.
fn called(culprit: &Culprit) -> String {
    match &culprit.label {
        Some(label) => format!("{} ({})", code(label), code(&culprit.key)),
        None => code(&culprit.key),
    }
}

fn why(text: &mut String, diagnosis: &Diagnosis) -> std::fmt::Result {
    writeln!(text, "\n## Why\n")?;
    if diagnosis.findings.is_empty() {
        return writeln!(text, "Nothing was found wrong.");
    }
    for (place, finding) in diagnosis.findings.iter().enumerate() {
        let blank = if place > 0 { "\n" } else { "" };
        write!(text, "{blank}### {}. ", place + 1)?;
        self::finding(text, finding)?;
    }
    Ok(())
}

fn finding(text: &mut String, finding: &Finding) -> std::fmt::Result {
    let subject = finding.subject.as_ref();
    let subject = subject.map(|subject| format!(": {} {}", subject.dimension.name(), code(&subject.key)));
    writeln!(text, "{}{}\n", finding.kind.title(), subject.unwrap_or_default())?;
    let since = finding.since.map(|since| format!(", since {}", utc(since))).unwrap_or_default();
    let sure = percent(finding.confidence);
    writeln!(text, "**{}**, {sure} sure{since}.", finding.severity.name())?;
    writeln!(text, "{}\n", inline(&finding.summary))?;
    for fact in &finding.evidence {
        writeln!(text, "* {}", inline(&fact.text))?;
    }
    writeln!(text, "* It is so if: {}", inline(&finding.confirm))?;
    writeln!(text, "* It is not if: {}", inline(&finding.refute))
}

fn steps(text: &mut String, diagnosis: &Diagnosis) -> std::fmt::Result {
    if diagnosis.steps.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n## What was checked\n")?;
    for (place, step) in diagnosis.steps.iter().enumerate() {
        let (title, status) = (step.step.title(), step.status.name());
        writeln!(text, "{}. **{title}**: {status}. {}", place + 1, inline(&step.summary))?;
        for remark in &step.remarks {
            writeln!(text, "   * {}", inline(remark))?;
        }
        for fact in step.evidence.iter().filter(|fact| !step.remarks.contains(&fact.text)) {
            writeln!(text, "   * {}", inline(&fact.text))?;
        }
    }
    Ok(())
}

fn changes(text: &mut String, changes: &[Change]) -> std::fmt::Result {
    writeln!(text, "\n## Changes around it\n")?;
    if changes.is_empty() {
        return writeln!(text, "None is known.");
    }
    for change in changes {
        let about =
            [("cluster", &change.cluster), ("application", &change.application), ("server", &change.server)];
        let about = about.into_iter().filter_map(|(what, name)| {
            let name = name.as_ref()?;
            Some(format!(", {what} {}", code(name)))
        });
        writeln!(
            text,
            "* {} {}: {}{} (told by {})",
            utc(change.at),
            change.kind.title(),
            inline(&change.title),
            about.collect::<String>(),
            code(&change.author)
        )?;
    }
    Ok(())
}

fn done(text: &mut String, report: &ReportDocument) -> std::fmt::Result {
    writeln!(text, "\n## What was done\n")?;
    if report.acts.is_empty() {
        return writeln!(text, "Nobody has written anything down about it, and it is not over.");
    }
    report.acts.iter().try_for_each(|act| entry(text, act))
}

fn to_do(text: &mut String, diagnosis: &Diagnosis) -> std::fmt::Result {
    if diagnosis.recommendations.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n## What to do")?;
    diagnosis.recommendations.iter().try_for_each(|recommendation| advice(text, recommendation))
}

fn advice(text: &mut String, recommendation: &Recommendation) -> std::fmt::Result {
    writeln!(text, "\n### {}\n", inline(&recommendation.title))?;
    writeln!(text, "*{}.* {}", recommendation.step.title(), inline(&recommendation.effect))?;
    for snippet in &recommendation.snippets {
        writeln!(text, "\n{}:\n", code(&snippet.place))?;
        text.push_str(&block(&snippet.text, language(snippet)));
    }
    Ok(())
}

/// How a snippet is to be coloured.
fn language(snippet: &Snippet) -> &'static str {
    match snippet.place.as_str() {
        "shell" => "sh",
        "prometheus rules" => "yaml",
        _ => "",
    }
}

fn similar(text: &mut String, similar: &[SimilarIncident]) -> std::fmt::Result {
    if similar.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n## Similar incidents, and what became of them\n")?;
    for past in similar {
        let ending = match (&past.state, past.duration_s) {
            (IncidentState::Resolved { resolution, .. }, Some(seconds)) => {
                format!("resolved after {} ({})", span(seconds), resolution.name())
            }
            (state, _) => state.name().to_owned(),
        };
        let kind = past.same_kind.map(|kind| kind.title().to_owned());
        let shared = past.shared_culprits.iter().map(|culprit| code(&culprit.key));
        let alike: Vec<String> = kind.into_iter().chain(shared).collect();
        writeln!(
            text,
            "* {} of {}, {ending}; also: {}. {}",
            code(&past.id.to_string()),
            utc(past.opened_at),
            alike.join(", "),
            inline(past.headline.as_deref().unwrap_or(&past.alert_name)),
        )?;
        for note in &past.notes {
            writeln!(text, "  * {}: {}", code(&note.actor), inline(&note.text))?;
        }
    }
    Ok(())
}

fn numbers(text: &mut String, report: &ReportDocument) -> std::fmt::Result {
    let incident = &report.incident;
    let (Some(coverage), Some(taken_at)) = (&incident.coverage, incident.taken_at) else { return Ok(()) };
    writeln!(text, "\n## Numbers\n")?;
    let incomplete = if coverage.complete { "" } else { ", **incomplete**" };
    writeln!(
        text,
        "{} of {} connections seen at {}{incomplete}.\n",
        with_commas(coverage.seen),
        with_commas(coverage.total),
        utc(taken_at)
    )?;
    for error in coverage.errors() {
        writeln!(text, "* {}", inline(error))?;
    }
    for note in coverage.notes() {
        writeln!(text, "* {}", inline(&note))?;
    }
    for dimension in [Dimension::Application, Dimension::Ip, Dimension::Account, Dimension::Server] {
        if let Some(breakdown) = incident.breakdowns.get(&By::from(dimension)) {
            groups(text, dimension, breakdown)?;
        }
    }
    if let Some(closed) = incident.closed.as_ref().filter(|closed| closed.closed > 0) {
        self::closed(text, closed)?;
    }
    if incident.snapshots.len() > 1 {
        looks(text, report)?;
    }
    Ok(())
}

fn groups(text: &mut String, dimension: Dimension, breakdown: &Breakdown) -> std::fmt::Result {
    let title = dimension.title();
    writeln!(text, "\n| {title} | Connections | Share | Idle | Idle without traffic | Addresses |")?;
    writeln!(text, "| --- | ---: | ---: | ---: | ---: | ---: |")?;
    for group in breakdown.groups.iter().take(TOP) {
        let figures = &group.figures;
        let at_least = if figures.distinct_ips_exact { "" } else { "at least " };
        let label = group.label.as_ref().map(|label| format!("{} ", code(label))).unwrap_or_default();
        writeln!(
            text,
            "| {label}{} | {} | {} | {} | {} | {at_least}{} |",
            code(&group.key),
            with_commas(figures.connections),
            percent(group.share),
            with_commas(figures.idle),
            with_commas(figures.idle_without_traffic),
            with_commas(figures.distinct_ips),
        )?;
    }
    let listed = breakdown.groups.iter().take(TOP).map(|group| group.figures.connections);
    let rest = breakdown.total.connections.saturating_sub(listed.fold(0, u64::saturating_add));
    if rest > 0 {
        writeln!(text, "| others | {} | | | | |", with_commas(rest))?;
    }
    Ok(())
}

fn closed(text: &mut String, closed: &ClosedConnections) -> std::fmt::Result {
    writeln!(
        text,
        "\nThe servers remembered {} closed connections; {} of them were refused.\n",
        with_commas(closed.closed),
        with_commas(closed.refused)
    )?;
    writeln!(text, "| Reason | Connections | |\n| --- | ---: | --- |")?;
    for reason in &closed.reasons {
        let refused = if reason.refused { "refused" } else { "" };
        writeln!(text, "| {} | {} | {refused} |", code(&reason.reason), with_commas(reason.connections))?;
    }
    Ok(())
}

fn looks(text: &mut String, report: &ReportDocument) -> std::fmt::Result {
    writeln!(text, "\n| Looked at | Seen | Total | |\n| --- | ---: | ---: | --- |")?;
    let looks = &report.incident.snapshots;
    let (first, last) = (MOST_LOOKS / 2, looks.len().saturating_sub(MOST_LOOKS / 2));
    for (place, look) in looks.iter().enumerate() {
        if place == first && last > first {
            writeln!(text, "| {} others | | | |", last - first)?;
        }
        if place < first || place >= last {
            let complete = if look.coverage.complete { "" } else { "incomplete" };
            let (seen, total) = (with_commas(look.coverage.seen), with_commas(look.coverage.total));
            writeln!(text, "| {} | {seen} | {total} | {complete} |", utc(look.taken_at))?;
        }
    }
    Ok(())
}

fn timeline(text: &mut String, report: &ReportDocument) -> std::fmt::Result {
    writeln!(text, "\n## Timeline\n")?;
    if report.timeline_left_out > 0 {
        writeln!(text, "{} earlier entries are left out.\n", with_commas(report.timeline_left_out))?;
    }
    report.incident.timeline.iter().try_for_each(|line| entry(text, line))
}

fn entry(text: &mut String, entry: &Entry) -> std::fmt::Result {
    writeln!(text, "* {} {}: {}", utc(entry.at), code(&entry.actor), item(&entry.text))
}

fn left_out(text: &mut String, count: usize, what: &str) -> std::fmt::Result {
    if count > 0 { writeln!(text, "\n{count} more {what}.") } else { Ok(()) }
}

fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
