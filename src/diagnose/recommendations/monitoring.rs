//! Mitigation step 6: regular monitoring, with rules that count and a threshold that fits this cluster.

use std::time::Duration;

use super::quoting::yaml;
use super::{Ground, half_more, recommendation, snippet};
use crate::diagnose::connection_limit::DEFAULT_LIMIT;
use crate::diagnose::text::span;
use crate::diagnose::words::{between, number};
use crate::model::diagnosis::{FindingKind, MitigationStep, Recommendation};
use crate::model::evidence::Looked;
use crate::model::printable::{excerpt, percent, with_commas};

/// Where rules go.
const RULES: &str = "prometheus rules";

/// What the alert is called if the incident has none.
const USUAL_ALERT: &str = "NatsHighNumberOfConnections";

/// What the threshold of that alert usually is.
const USUAL_THRESHOLD: u64 = 1_000;

/// The metric that cannot count beyond one page, behind its prefix.
const PAGE_LENGTH: &str = "_connz_num_connections";

/// Samples from so shortly before the incident belong to it.
const BELONGS_TO_IT: Duration = Duration::from_secs(30 * 60);

/// From fewer samples nothing is concluded about what is usual.
const FEWEST_SAMPLES: usize = 30;

/// What so many of the samples were below is usual.
const USUAL: f64 = 0.95;

pub(super) fn recommend(ground: &Ground<'_>, recommendations: &mut Vec<Recommendation>) {
    let saturates = ground.has(&[FindingKind::SaturatedValue]) || asks_for_a_page(ground);
    let too_low = ground.has(&[FindingKind::Growth, FindingKind::ScaleOut]) || ground.findings.is_empty();
    let near = ground.has(&[FindingKind::NearLimit, FindingKind::RefusedAtLimit]);
    let storm = ground.has(&[FindingKind::ReconnectStorm]);
    let firing = ground.evidence.alerts.iter().any(|alert| alert.member.is_firing());
    if saturates || (too_low && firing) {
        let threshold = threshold(ground);
        // a rule that counts and begins where it began is as good as it can be told to be
        if saturates || threshold.is_another {
            recommendations.push(corrected(ground, saturates, &threshold));
        }
    }
    if near || storm {
        recommendations.push(more_rules(ground, near, storm));
    }
    if let Looked::Unseen(why) = &ground.evidence.history
        && !ground.findings.is_empty()
    {
        recommendations.push(recommendation(
            MitigationStep::Monitoring,
            "Let connwarden take samples",
            format!(
                "It could not compare with the time before ({}). With samples it says who grew, by how much and since when.",
                excerpt(why)
            ),
            Vec::new(),
        ));
    }
}

/// Whether an alert's expression asks for the length of a page.
fn asks_for_a_page(ground: &Ground<'_>) -> bool {
    let expression = format!("{}{PAGE_LENGTH}", ground.evidence.metric_prefix);
    ground.evidence.alerts.iter().any(|alert| {
        let url = url::Url::parse(&alert.member.alert.generator_url).ok();
        url.is_some_and(|url| {
            url.query_pairs().any(|(name, text)| name == "g0.expr" && text.contains(&expression))
        })
    })
}

/// The alert's rule with a metric that counts, and a threshold that fits.
fn corrected(ground: &Ground<'_>, saturates: bool, threshold: &Threshold) -> Recommendation {
    let prefix = &ground.evidence.metric_prefix;
    let Threshold { connections: threshold, why, .. } = threshold;
    let alert = ground.evidence.alerts.iter().find_map(|alert| alert.member.alert.labels.get("alertname"));
    let alert = alert.unwrap_or(USUAL_ALERT);
    let metric = match saturates {
        true => format!(
            "{prefix}{PAGE_LENGTH} is the length of one page of 1,024 and never exceeds it. {prefix}_varz_connections is \
             the number of clients; the exporter needs its flag -varz for it. "
        ),
        false => String::new(),
    };
    let title = match saturates {
        true => "Let the alert count, with a threshold that fits".to_owned(),
        false => format!("Let the alert begin at {}", with_commas(*threshold)),
    };
    recommendation(
        MitigationStep::Monitoring,
        title,
        format!("{metric}{why}"),
        vec![snippet(
            RULES,
            format!(
                "groups:\n  - name: nats-connections\n    rules:\n      - alert: {}\n        expr: {prefix}_varz_connections \
                 > {threshold}\n        for: 5m\n        # a scrape that fails would end the alert although nothing is \
                 over\n        keep_firing_for: 2m\n        labels:\n          severity: warning\n        \
                 annotations:\n          summary: \"NATS server {{{{ $labels.server_id }}}} has many connections\"\n          \
                 description: \"VALUE = {{{{ $value }}}}\"",
                yaml(alert)
            ),
        )],
    )
}

/// Where an alert should begin.
struct Threshold {
    connections: u64,
    /// Why there.
    why: String,
    /// Whether that is not where it began.
    is_another: bool,
}

/// A threshold that fits this cluster, and why.
fn threshold(ground: &Ground<'_>) -> Threshold {
    let evidence = ground.evidence;
    let told = evidence.alerts.iter().filter_map(|alert| alert.threshold).max();
    let told = told.map(|threshold| threshold.connections.round() as u64);
    let fits =
        |connections: u64, why: String| Threshold { connections, why, is_another: told != Some(connections) };
    let limits = ground.servers.iter().filter_map(|server| server.limit().clients());
    let smallest = limits.filter(|limit| *limit > 0).min();
    let near = smallest.map(|limit| (limit as f64 * ground.rules.near_limit) as u64);
    let cap = |threshold: u64| near.map_or(threshold, |near| threshold.min(near));
    let samples = evidence.history.seen().map_or(&[][..], |history| &history.samples);
    let quiet = samples.iter().filter(|sample| {
        sample.at < evidence.opened_at && between(sample.at, evidence.opened_at) >= BELONGS_TO_IT
    });
    let mut busiest: Vec<u64> = quiet
        .clone()
        .filter_map(|sample| sample.servers.iter().map(|server| server.connections).max())
        .collect();
    busiest.sort_unstable();
    if busiest.len() >= FEWEST_SAMPLES {
        let place = ((busiest.len() as f64 * USUAL) as usize).min(busiest.len() - 1);
        let usual = busiest[place];
        let threshold = cap(half_more(usual).max(ground.rules.least_connections));
        let over = quiet.map(|sample| sample.at).min().map(|at| between(at, evidence.at)).unwrap_or_default();
        let why = format!(
            "In {} of the samples of the last {} the busiest server had at most {}; {} is half as much again{}.",
            percent(USUAL),
            span(over),
            with_commas(usual),
            with_commas(threshold),
            if near == Some(threshold) { ", but not beyond what counts as near the limit" } else { "" }
        );
        return fits(threshold, why);
    }
    if let Some((limit, near)) = smallest.zip(near).filter(|(limit, _)| *limit != DEFAULT_LIMIT) {
        let why = format!(
            "What is usual here is not known yet. {} is {} of the smallest limit, {}.",
            with_commas(near),
            percent(ground.rules.near_limit),
            with_commas(limit)
        );
        return fits(near, why);
    }
    // a rule about the length of a page had to stay below it
    let as_it_was = told.unwrap_or(USUAL_THRESHOLD).max(1);
    let now = ground.servers.iter().filter_map(|server| server.clients()).max().unwrap_or(0);
    let why = format!(
        "What is usual here is not known yet{} {}. The busiest server has {} now. When connwarden has samples of some days, it \
         recommends one.",
        match told {
            Some(_) => ", so the threshold is as it was:",
            None => ", nor where the alert begins; rules like it have",
        },
        with_commas(as_it_was),
        with_commas(now)
    );
    Threshold { connections: as_it_was, why, is_another: false }
}

/// Rules for what the alert cannot see.
fn more_rules(ground: &Ground<'_>, near: bool, storm: bool) -> Recommendation {
    let prefix = &ground.evidence.metric_prefix;
    let share = ground.rules.near_limit;
    let churn = ground.rules.churn_per_minute;
    let mut rules = String::from("groups:\n  - name: nats-connection-trouble\n    rules:");
    let mut told = Vec::new();
    if near {
        rules.push_str(&format!(
            "\n      - alert: NatsConnectionsNearLimit\n        expr: {prefix}_varz_connections > {share} * \
             ({prefix}_varz_max_connections > 0)\n        for: 5m\n        labels:\n          severity: critical\n        \
             annotations:\n          summary: \"NATS server {{{{ $labels.server_id }}}} is near its limit of connections\""
        ));
        told.push(format!("a server has {} of its limit", percent(share)));
    }
    if storm {
        rules.push_str(&format!(
            "\n      - alert: NatsConnectionStorm\n        expr: rate({prefix}_varz_total_connections[5m]) * 60 > \
             {churn}\n        for: 2m\n        labels:\n          severity: warning\n        annotations:\n          summary: \
             \"Clients of NATS server {{{{ $labels.server_id }}}} connect again and again\""
        ));
        told.push(format!("more than {} connections a minute are attempted", number(churn)));
    }
    recommendation(
        MitigationStep::Monitoring,
        "Be told earlier",
        format!(
            "An alert on the number of connections does not tell when {}: these do.",
            told.join(", or when ")
        ),
        vec![snippet(RULES, rules)],
    )
}
