//! Storms: clients that connect and are gone again, over and over, and who they are.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::breakdown::{By, Dimension, share};
use crate::model::closed::ClosedGroup;
use crate::model::diagnosis_rules::DiagnosisRules;
use crate::model::evidence::Evidence;
use crate::model::vitals::per_minute;

/// Fewer ended connections than this are no storm, however short the time.
const LEAST_CLOSED: u64 = 50;

/// Over how much of what ended lately a storm is measured at the most.
const LATELY: SignedDuration = SignedDuration::from_mins(3);

/// Over how much at the least.
const SHORTEST: SignedDuration = SignedDuration::from_secs(10);

/// A client whose connections last longer than this does not storm.
const LONGEST_LIFETIME_S: f64 = 60.0;

/// Who stands for so much of a storm by themselves is behind it.
const BEHIND_IT: f64 = 0.5;

/// How often the clients behind a storm have come again, at least: a deployment replaces each connection once.
const TIMES_OVER: f64 = 2.0;

/// How often all connections have been replaced, at least, where nobody stands out: some always come and go.
const ALL_OVER: f64 = 1.0;

/// How a server begins to say that it cut a client that did not read.
const SLOW_CONSUMER: &str = "Slow Consumer";

/// Clients that connect and are gone again.
#[derive(Debug, Clone, PartialEq)]
pub struct Storm {
    /// Connections that ended a minute.
    pub closed_per_minute: f64,
    /// Connections that were attempted a minute, if two looks at the counters tell.
    pub attempts_per_minute: Option<f64>,
    /// Connections that ended, of those the servers remember.
    pub closed: u64,
    /// How many of them were refused.
    pub refused: u64,
    /// The reason of most of them.
    pub reason: Option<String>,
    /// Since when, as far back as the servers remember.
    pub since: Option<Timestamp>,
    /// The applications behind it, most first; none if nobody stands out.
    pub behind: Vec<Stormer>,
}

/// An application that connects and is gone again.
#[derive(Debug, Clone, PartialEq)]
pub struct Stormer {
    /// The application.
    pub application: String,
    /// Whether it is the group of clients without a name.
    pub absent: bool,
    /// How many of its connections ended.
    pub closed: u64,
    /// Which share of what ended it is.
    pub share: f64,
    /// How long half of them lasted at most, in seconds.
    pub median_lifetime_s: Option<f64>,
}

impl Storm {
    /// Finds the storm that the evidence shows, if there is one.
    pub fn find(evidence: &Evidence, rules: &DiagnosisRules) -> Option<Self> {
        let closed = evidence.snapshot.closed.as_ref();
        let (ended, span) = closed.map_or((0, Duration::ZERO), |_| ended_lately(evidence));
        let by_memory = per_minute(ended, span);
        // every server by itself: the threshold is that of one
        let busiest = evidence
            .churn
            .iter()
            .filter(|churn| churn.closed >= LEAST_CLOSED)
            .max_by(|one, two| one.closed_per_minute().total_cmp(&two.closed_per_minute()));
        let by_counters = busiest.map_or(0.0, |churn| churn.closed_per_minute());
        let closed_per_minute = by_memory.max(by_counters);
        if closed_per_minute < rules.churn_per_minute {
            return None;
        }
        let (refused, all) = closed.map_or((0, 0), |closed| (closed.refused, closed.closed));
        let behind = closed.map_or_else(Vec::new, |_| stormers(evidence));
        // clients that all left at once and came back do not storm
        let lasted = behind.first().and_then(|first| first.median_lifetime_s);
        if lasted.is_some_and(|lasted| lasted > LONGEST_LIFETIME_S) && share(refused, all) < BEHIND_IT {
            return None;
        }
        if !is_over_and_over(evidence, &behind, closed_per_minute) {
            return None;
        }
        let reason = closed.and_then(|closed| closed.reasons.first()).map(|reason| reason.reason.clone());
        let since =
            closed.and_then(|closed| closed.servers.iter().filter_map(|ring| ring.reaches_back_to).max());
        Some(Self {
            closed_per_minute,
            attempts_per_minute: busiest.map(|churn| churn.attempts_per_minute()),
            closed: all,
            refused,
            reason,
            since,
            behind,
        })
    }
}

/// Whether clients come back again and again: what ends is mostly refused, or more of it ended than a deployment or the
/// usual coming and going explain. Clients that are cut because they do not read are another matter.
fn is_over_and_over(evidence: &Evidence, behind: &[Stormer], closed_per_minute: f64) -> bool {
    let Some(closed) = &evidence.snapshot.closed else { return true };
    if share(closed.refused, closed.closed) >= BEHIND_IT {
        return true;
    }
    let slow = closed.reasons.iter().filter(|reason| reason.reason.starts_with(SLOW_CONSUMER));
    if share(slow.map(|reason| reason.connections).sum(), closed.closed) >= BEHIND_IT {
        return false;
    }
    // a ring that is full has forgotten how many there were: as many as end in the time that is looked at
    let is_forgotten = closed.servers.iter().any(|ring| ring.full);
    let remembered = closed.closed as f64;
    let all = if is_forgotten {
        remembered.max(closed_per_minute * LATELY.as_secs_f64() / 60.0)
    } else {
        remembered
    };
    if behind.is_empty() {
        return all >= ALL_OVER * evidence.snapshot.coverage.seen as f64;
    }
    let applications = evidence.snapshot.breakdowns.get(&By::from(Dimension::Application));
    let open: u64 = applications.map_or(0, |breakdown| {
        let groups = breakdown
            .groups
            .iter()
            .filter(|group| behind.iter().any(|it| it.application == group.key && it.absent == group.absent));
        groups.map(|group| group.figures.connections).sum()
    });
    let ended: f64 = behind.iter().map(|stormer| stormer.share * all).sum();
    ended >= TIMES_OVER * open as f64
}

/// How many connections ended lately on all servers together, and in how long a time: over the one, two or three last
/// minutes, whichever had most in its time.
fn ended_lately(evidence: &Evidence) -> (u64, Duration) {
    let Some(closed) = &evidence.snapshot.closed else { return (0, Duration::ZERO) };
    let Some(now) = closed.servers.iter().map(|ring| ring.at).max() else { return (0, Duration::ZERO) };
    let earliest = now.saturating_sub(LATELY).unwrap_or(Timestamp::MIN);
    // a ring that was flushed reaches back less far than the minute it is counted in
    let reached = closed.servers.iter().filter_map(|ring| ring.reaches_back_to).min().unwrap_or(earliest);
    let minutes = closed.per_minute.iter().rev().take_while(|minute| minute.at >= earliest);
    let mut ended = 0;
    let windows = minutes.map(|minute| {
        ended += minute.closed;
        let begin = minute.at.max(reached);
        (ended, now.duration_since(begin).max(SHORTEST).unsigned_abs())
    });
    let rate = |window: &(u64, Duration)| per_minute(window.0, window.1);
    windows
        .filter(|(ended, _)| *ended >= LEAST_CLOSED)
        .max_by(|one, two| rate(one).total_cmp(&rate(two)))
        .unwrap_or((0, SHORTEST.unsigned_abs()))
}

/// Who is behind what ended. Clients that were refused before they said their name are known by their address: whoever
/// else comes from there is taken for them.
fn stormers(evidence: &Evidence) -> Vec<Stormer> {
    let Some(closed) = &evidence.snapshot.closed else { return Vec::new() };
    let nameless = closed.applications.iter().find(|group| group.absent);
    let refused_unnamed = nameless.map_or(0, |group| group.refused);
    let mut by_application: BTreeMap<(String, bool), Stormer> = BTreeMap::new();
    let mut add = |application: &str, absent: bool, ended: u64, group: Option<&ClosedGroup>| {
        let entry = by_application.entry((application.to_owned(), absent)).or_insert_with(|| Stormer {
            application: application.to_owned(),
            absent,
            closed: 0,
            share: 0.0,
            median_lifetime_s: group.and_then(|group| group.median_lifetime_s),
        });
        entry.closed += ended;
    };
    for group in &closed.applications {
        let ended =
            if group.absent { group.closed - refused_unnamed.min(group.closed) } else { group.closed };
        if ended > 0 {
            add(&group.key, group.absent, ended, Some(group));
        }
    }
    if refused_unnamed > 0 {
        let named_refused: u64 =
            closed.applications.iter().filter(|group| !group.absent).map(|group| group.refused).sum();
        let refused: u64 = closed.ips.iter().map(|group| group.refused).sum();
        // of each address, the share that had no name
        let unnamed = share(refused_unnamed, refused_unnamed + named_refused);
        let mut left = refused_unnamed;
        for ip in closed.ips.iter().filter(|ip| ip.refused > 0 && refused > 0) {
            let ended = ((ip.refused as f64 * unnamed).round() as u64).min(left);
            left -= ended;
            match tenant(evidence, &ip.key) {
                Some(application) => add(&application, false, ended, None),
                None => add(Dimension::Application.absent(), true, ended, None),
            }
        }
        if left > 0 {
            add(Dimension::Application.absent(), true, left, None);
        }
    }
    let whole: u64 = by_application.values().map(|stormer| stormer.closed).sum();
    let mut stormers: Vec<Stormer> = by_application.into_values().collect();
    for stormer in &mut stormers {
        stormer.share = share(stormer.closed, whole);
    }
    stormers.sort_by_key(|stormer| std::cmp::Reverse(stormer.closed));
    stormers.retain(|stormer| stormer.share >= 0.2);
    let together: f64 = stormers.iter().map(|stormer| stormer.share).sum();
    if together < BEHIND_IT { Vec::new() } else { stormers }
}

/// The one application that nearly all open connections from an address are of.
fn tenant(evidence: &Evidence, ip: &str) -> Option<String> {
    let crossed = evidence.snapshot.breakdowns.get(&By::crossed(Dimension::Application, Dimension::Ip))?;
    let here: Vec<_> = crossed
        .groups
        .iter()
        .filter(|group| group.keys.get(&Dimension::Ip).is_some_and(|key| key == ip))
        .collect();
    let whole: u64 = here.iter().map(|group| group.figures.connections).sum();
    let largest = here.into_iter().max_by_key(|group| group.figures.connections)?;
    if largest.absent || share(largest.figures.connections, whole) < 0.8 {
        return None;
    }
    largest.keys.get(&Dimension::Application).cloned()
}
