//! A reconnect storm: clients connect and are gone again, over and over.

use crate::diagnose::case::Case;
use crate::diagnose::text::rate;
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::printable::{percent, with_commas};

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let storm = case.storm.as_ref()?;
    let mut evidence = vec![Fact::new(
        "closed_per_minute",
        storm.closed_per_minute,
        format!("{} connections end {}", "about", rate(storm.closed_per_minute)),
    )];
    if let Some(attempts) = storm.attempts_per_minute {
        evidence.push(Fact::new("attempts_per_minute", attempts, format!("{} attempted", rate(attempts))));
    }
    evidence.push(Fact::count(
        "closed",
        storm.closed,
        format!("{} ended connections are remembered by the servers", with_commas(storm.closed)),
    ));
    evidence.push(Fact::count(
        "refused",
        storm.refused,
        format!("{} of them were refused", with_commas(storm.refused)),
    ));
    let who = match storm.behind.as_slice() {
        [] => "clients of several applications connect".to_owned(),
        [one] => format!("{} connects", named(&one.application)),
        several => {
            let names: Vec<&str> = several.iter().map(|one| named(&one.application)).collect();
            format!("{} connect", names.join(" and "))
        }
    };
    let mut summary = format!("{who} again and again: {} connections end", rate(storm.closed_per_minute));
    if let Some(first) = storm.behind.first() {
        summary.push_str(&format!(", {} of them its", percent(first.share)));
        evidence.push(Fact::new(
            "share",
            first.share,
            format!("{} are of {}", percent(first.share), first.application),
        ));
        if let Some(lifetime) = first.median_lifetime_s {
            evidence.push(Fact::new(
                "median_lifetime_s",
                lifetime,
                format!("half of them last {lifetime:.1} s at most"),
            ));
        }
    }
    if let Some(reason) = &storm.reason {
        summary.push_str(&format!(", most by \"{reason}\""));
    }
    Some(Finding {
        kind: FindingKind::ReconnectStorm,
        severity: Severity::Critical,
        confidence: if storm.behind.is_empty() { 0.7 } else { 0.9 },
        summary,
        subject: storm.behind.first().map(|one| Subject::new(Dimension::Application, &one.application)),
        since: storm.since,
        evidence,
        confirm:
            "The clients' own logs show why each connection ends: a crash, an exception, a time-out, a wrong \
                  password"
                .to_owned(),
        refute: "These are short jobs that are meant to connect once and leave, and always were this many"
            .to_owned(),
    })
}

fn named(application: &str) -> &str {
    if application == Dimension::Application.absent() { "somebody without a name" } else { application }
}
