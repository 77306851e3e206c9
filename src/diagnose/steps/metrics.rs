//! Step 4: the pattern of the metrics, and anomalies.
//!
//! Prometheus is asked first. Without it connwarden's own samples are read, and without those the start times of the
//! connections that are open now.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::diagnose::growth::begin_of_all;
use crate::diagnose::steps::notes::Notes;
use crate::diagnose::text::span;
use crate::diagnose::words::{between, counted, number, rate};
use crate::model::breakdown::{Dimension, share};
use crate::model::diagnosis::{Fact, Step, StepName};
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::{Evidence, Looked};
use crate::model::history::History;
use crate::model::pattern::{MetricsEvidence, Pattern, PatternKind, Point, Series, ServerMetrics};
use crate::model::printable::{excerpt, percent, with_commas};
use crate::model::truth::Truth;

/// A pattern that is less sure is told, and no finding.
const SURE: f64 = 0.5;

/// So many times as many as at the same time before are an anomaly.
const UNUSUAL: f64 = 1.5;

/// So many times as many new connections as usual are an anomaly.
const UNUSUAL_RATE: f64 = 3.0;

/// If a larger share of the points is missing, it is told.
const MANY_MISSING: f64 = 0.1;

/// The time of which samples are read as a series: all of them are kept.
const SAMPLED: Duration = Duration::from_secs(3600);

/// Samples fewer than these make no pattern.
const FEWEST_SAMPLES: usize = 5;

/// The time within which connections began lately.
const LATELY: Duration = Duration::from_secs(3600);

/// From this share of open connections that began lately on, it is an anomaly.
const LARGE_SHARE: f64 = 0.5;

/// Looks at what the number of connections did.
pub(super) fn step(evidence: &Evidence, rules: &DiagnosisRules) -> Step {
    let mut notes = Notes::default();
    saturated_alerts(&mut notes, evidence);
    match &evidence.metrics {
        Looked::Seen(metrics) => prometheus(&mut notes, metrics, rules),
        Looked::Unseen(why) => {
            notes.unseen("Prometheus", why);
            samples(&mut notes, evidence, rules);
        }
    }
    notes.conclude(StepName::Metrics, "The number of connections does nothing unusual.")
}

/// Alerts whose number is the length of a page.
fn saturated_alerts(notes: &mut Notes, evidence: &Evidence) {
    let saturated = evidence.alerts.iter().filter_map(|alert| {
        let truth = Truth::about(&alert.member, &evidence.snapshot.coverage)?;
        let said = alert.member.alert.value?.value;
        let text = format!(
            "The alert says {}, but {} has {}: its metric is the length of one page of 1,024 and never exceeds it.",
            number(said),
            truth.server.as_deref().map_or_else(|| "the cluster".to_owned(), excerpt),
            truth.count()?
        );
        (truth.value_saturated == Some(true)).then_some(text)
    });
    // several alerts of one incident may be about the same server
    for text in saturated.collect::<BTreeSet<String>>() {
        notes.find(text);
    }
}

/// What Prometheus knows.
fn prometheus(notes: &mut Notes, metrics: &MetricsEvidence, rules: &DiagnosisRules) {
    if metrics.servers.is_empty() {
        notes.unseen("Prometheus", &format!("it has no values of {}", metrics.source.metric));
    }
    if metrics.saturated {
        notes.find(format!(
            "Prometheus has only {}, the length of one page of 1,024, and it is at its end: how many connections there \
             are, and whether they grow, cannot be seen there.",
            excerpt(&metrics.source.metric)
        ));
    }
    for server in &metrics.servers {
        notes.looked();
        of_server(notes, server, rules);
    }
    if metrics.more_servers > 0 {
        notes.remark(format!("{} more servers are left out here.", metrics.more_servers));
    }
    for warning in &metrics.warnings {
        notes.remark(format!("It may be only a part: {}.", excerpt(warning)));
    }
}

fn of_server(notes: &mut Notes, server: &ServerMetrics, rules: &DiagnosisRules) {
    let name = excerpt(&server.server);
    match &server.pattern {
        Some(pattern) => told(notes, &name, pattern),
        None => notes.remark(format!("{name} has too few points in Prometheus to say what it did.")),
    }
    for (then, when) in [(server.yesterday, "yesterday"), (server.last_week, "a week ago")] {
        let Some((now, then)) = server.now.zip(then) else { continue };
        let text = format!("{name} has {}; at the same time {when} it had {}.", number(now), number(then));
        let least = rules.least_connections as f64;
        if now >= then * UNUSUAL && now - then >= least {
            notes.find(text);
        } else {
            notes.remark(text);
        }
    }
    if let Some(new) = server.new_per_minute {
        let usual = server.usual_new_per_minute;
        let compared = usual.map_or_else(String::new, |usual| format!(", usually {}", rate(usual)));
        let text = format!("{name} accepts {}{compared}.", rate_of_new(new));
        notes.fact(Fact::new("new_per_minute", new, text.clone()));
        let far_more = usual.is_some_and(|usual| new >= usual * UNUSUAL_RATE && new >= 60.0);
        if new >= rules.churn_per_minute || far_more {
            notes.find(text);
        } else {
            notes.remark(text);
        }
    }
    if server.missing_share >= MANY_MISSING {
        notes.remark(format!("{} of the points of {name} are missing.", percent(server.missing_share)));
    }
}

fn rate_of_new(per_minute: f64) -> String {
    format!("{} new connections a minute", number(per_minute))
}

/// Tells a pattern: a finding if it is sure and something rose.
fn told(notes: &mut Notes, name: &str, pattern: &Pattern) {
    let text = format!("{name} {}.", pattern.summary.trim_end_matches('.'));
    notes.fact(Fact::new("pattern_confidence", pattern.confidence, text.clone()));
    let rises = match pattern.kind {
        PatternKind::Step | PatternKind::Ramp => pattern.after > pattern.before,
        PatternKind::Spike | PatternKind::Sawtooth => true,
        PatternKind::Seasonal | PatternKind::Flat | PatternKind::Noisy => false,
    };
    if rises && pattern.confidence >= SURE {
        notes.find(text);
    } else {
        notes.remark(text);
    }
}

/// What connwarden's own samples say.
fn samples(notes: &mut Notes, evidence: &Evidence, rules: &DiagnosisRules) {
    match &evidence.history {
        Looked::Seen(history) => {
            let pattern = series(history, evidence).and_then(|series| Pattern::of(&series, &[]));
            match pattern {
                Some(pattern) => {
                    notes.looked();
                    told(notes, "By the samples of the last hour, the number of connections", &pattern);
                }
                None => notes.unseen("samples", "there are too few of them yet"),
            }
        }
        Looked::Unseen(why) => notes.unseen("samples", why),
    }
    if !notes.has_found() {
        start_times(notes, evidence, rules);
    }
}

/// The complete samples of the last hour as a series, with the look itself at its end.
fn series(history: &History, evidence: &Evidence) -> Option<Series> {
    let now = evidence.snapshot.taken_at;
    let samples =
        history.samples.iter().filter(|sample| sample.complete && between(sample.at, now) <= SAMPLED);
    let mut points: Vec<Point> = samples
        .filter(|sample| sample.at < now)
        .map(|sample| Point { at: sample.at, value: sample.connections() as f64 })
        .collect();
    if points.len() < FEWEST_SAMPLES {
        return None;
    }
    let mut steps: Vec<Duration> = points
        .windows(2)
        .map(|pair| between(pair[0].at, pair[1].at))
        .filter(|step| !step.is_zero())
        .collect();
    steps.sort_unstable();
    let step = steps.get(steps.len() / 2).copied()?;
    let clients: Option<u64> = evidence
        .snapshot
        .coverage
        .servers
        .iter()
        .map(|server| server.varz_connections.or(server.total()))
        .try_fold(0_u64, |sum, clients| Some(sum.saturating_add(clients?)));
    points.extend(clients.map(|clients| Point { at: now, value: clients as f64 }));
    Some(Series::new(points, step))
}

/// When the connections that are open now began.
fn start_times(notes: &mut Notes, evidence: &Evidence, rules: &DiagnosisRules) {
    let breakdown = evidence.snapshot.breakdowns.get(&Dimension::Application.into());
    let Some(starts) = breakdown.map(|breakdown| &breakdown.starts).filter(|starts| !starts.is_empty())
    else {
        notes.unseen("start times", "this look has not counted them");
        return;
    };
    let now = evidence.snapshot.taken_at;
    let since = now.checked_sub(LATELY).unwrap_or(now);
    let (all, lately) = (starts.total(), starts.opened_since(since));
    let oldest = starts.buckets.first().map(|bucket| between(bucket.from, now)).unwrap_or_default();
    let text = format!(
        "{} of the {} that are open now began within the last {} ({}).",
        with_commas(lately),
        counted(all, "connection", "connections"),
        span(LATELY),
        percent(share(lately, all))
    );
    notes.fact(Fact::new("began_lately_share", share(lately, all), text.clone()));
    // where nothing is older, a restart may have made all of them new
    let older = oldest > LATELY * 2 || begin_of_all(evidence).is_some();
    if lately >= rules.least_connections && share(lately, all) >= LARGE_SHARE && older {
        notes.find(text);
    } else {
        notes.remark(text);
    }
}

#[cfg(test)]
mod tests;
