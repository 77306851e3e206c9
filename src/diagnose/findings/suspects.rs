//! Those who explain a growth: a leak, more instances than before, a hoard, or a crowd without a name.

use std::time::Duration;

use crate::diagnose::case::{Case, Suspect};
use crate::diagnose::instances::Instances;
use crate::diagnose::text::minutes_ago;
use crate::model::breakdown::{Dimension, share};
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::printable::{percent, with_commas};

/// So much of a growth must be at new instances to be theirs; below the rest of it, it is that of the old ones.
const BY_NEW: f64 = 0.6;

/// New instances with so many times the connections of the old ones are not just more of the same.
const MORE_OF_THE_SAME: f64 = 2.5;

/// An instance with so many connections, where there is none to compare with, has more than it needs.
const MANY_PER_INSTANCE: f64 = 30.0;

/// What has not grown for so long is held, not leaked.
const SETTLED: Duration = Duration::from_secs(600);

/// A growth of which less than this began in the last quarter of its time has come to an end.
const GOES_ON: f64 = 0.1;

/// An application of which so much is idle without traffic hoards.
const HOARDED: f64 = 0.8;

/// One finding for each who explains the growth.
pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    case.suspects.iter().map(|suspect| finding(case, suspect)).collect()
}

fn finding(case: &Case<'_>, suspect: &Suspect) -> Finding {
    let signs = Signs::of(case, suspect);
    let kind = if suspect.group.absent {
        FindingKind::Unnamed
    } else if signs.lean() <= 0.0 {
        FindingKind::ScaleOut
    } else if suspect.hoarded >= HOARDED && suspect.newest.is_some_and(|newest| case.ago(newest) >= SETTLED) {
        FindingKind::IdleHoard
    } else {
        FindingKind::Leak
    };
    let confidence =
        if suspect.group.absent { 0.9 } else { 0.55 + (signs.lean().abs() / 3.0).min(1.0) * 0.4 };
    let (group, since) = (&suspect.group, suspect.since);
    let what = match kind {
        FindingKind::Unnamed => "clients without a name",
        _ => group.key.as_str(),
    };
    let mut summary = format!(
        "{what} grew by {} to {} connections since {} and explains {} of the growth",
        with_commas(group.grown_by()),
        with_commas(group.now),
        minutes_ago(case, since),
        percent(suspect.share),
    );
    if let Some(sign) = signs.strongest(kind) {
        summary.push_str(": ");
        summary.push_str(sign);
    }
    let mut evidence = vec![
        Fact::count("grown_by", group.grown_by(), format!("+{} connections", with_commas(group.grown_by()))),
        Fact::count("before", group.before, format!("{} before", with_commas(group.before))),
        Fact::count("now", group.now, format!("{} now", with_commas(group.now))),
        Fact::new("explained_share", suspect.share, format!("{} of the growth", percent(suspect.share))),
    ];
    evidence.extend(signs.facts());
    let (confirm, refute) = match kind {
        FindingKind::Leak => (
            "It goes on growing at the same pace while its work does not, and falls back when its instances are restarted",
            "Its own figures show more work, or more instances that need these connections",
        ),
        FindingKind::IdleHoard => (
            "A pool in its configuration is larger than what it uses at the same time",
            "Messages flow over these connections at other times of the day",
        ),
        FindingKind::Unnamed => (
            "Whoever runs the addresses below knows what was started there",
            "The owners of the addresses recognise these clients, and their number is right",
        ),
        _ => (
            "A deployment, an autoscaler or a rollout at that time has as many new instances",
            "The number of its instances is the same as before",
        ),
    };
    Finding {
        kind,
        severity: Severity::Warning,
        confidence,
        summary,
        subject: Some(Subject::new(Dimension::Application, &group.key)),
        since: Some(since),
        evidence,
        confirm: confirm.to_owned(),
        refute: refute.to_owned(),
    }
}

/// What speaks for a leak, and what for more instances.
struct Signs(Vec<Sign>);

struct Sign {
    name: &'static str,
    value: f64,
    text: String,
    /// Above 0 for a leak, below for more instances; the further away, the surer.
    weight: f64,
}

impl Signs {
    fn of(case: &Case<'_>, suspect: &Suspect) -> Self {
        let mut signs = Self(Vec::new());
        let grown_by = suspect.group.grown_by();
        let many_addresses = case
            .evidence
            .breakdown(Dimension::Ip)
            .is_some_and(|ips| ips.groups.len() > 2 || ips.other.figures.connections > 0);
        if many_addresses && suspect.addresses.count() > 0 {
            signs.by_instance(&suspect.addresses, grown_by, "address", "addresses", 2.0);
            // many instances may stand behind one address
            if suspect.addresses.new_share(grown_by) < 1.0 - BY_NEW
                && suspect.names.old.per_instance() > Some(1.2)
            {
                signs.new_names_only(&suspect.names, grown_by);
            }
        } else if suspect.names.count() > 0 {
            signs.by_instance(&suspect.names, grown_by, "name", "names", 1.5);
        }
        signs.traffic(case, suspect);
        if let Some(lately) = suspect.lately {
            let goes_on = lately >= GOES_ON;
            let text = if goes_on { "it went on lately" } else { "it has come to an end" };
            signs.add("opened_lately_share", lately, text.to_owned(), if goes_on { 0.75 } else { -0.75 });
        }
        signs
    }

    fn add(&mut self, name: &'static str, value: f64, text: String, weight: f64) {
        self.0.push(Sign { name, value, text, weight });
    }

    fn by_instance(&mut self, instances: &Instances, grown_by: u64, one: &str, many: &str, weight: f64) {
        let new_share = instances.new_share(grown_by);
        if new_share < 1.0 - BY_NEW {
            let text = format!(
                "the {many} are those that were there before, each has {} connections now",
                per(instances.old.per_instance()),
            );
            self.add("new_instances_share", new_share, text, weight);
            return;
        }
        if new_share < BY_NEW {
            return;
        }
        let (new, count) = (instances.new.per_instance().unwrap_or(0.0), instances.new.instances);
        let with = format!(
            "{} new {} with {} connections each",
            with_commas(count),
            if count == 1 { one } else { many },
            per(Some(new))
        );
        match instances.old.per_instance() {
            Some(old) if new <= old * MORE_OF_THE_SAME => {
                // where each connection has a name of its own, names tell instances apart badly
                let weight = if one == "name" && new <= 1.0 && old <= 1.0 { weight / 2.0 } else { weight };
                self.add("new_instances", count as f64, format!("{with}, as before"), -weight);
            }
            Some(old) => {
                self.add(
                    "new_instances",
                    count as f64,
                    format!("{with}, where it was {} before", per(Some(old))),
                    weight,
                );
            }
            None if new >= MANY_PER_INSTANCE => {
                self.add("new_instances", count as f64, with, weight * 0.75);
            }
            None => self.add("new_instances", count as f64, with, -weight / 2.0),
        }
    }

    fn new_names_only(&mut self, names: &Instances, grown_by: u64) {
        let (Some(new), Some(old)) = (names.new.per_instance(), names.old.per_instance()) else { return };
        if names.new_share(grown_by) >= BY_NEW && new <= old * MORE_OF_THE_SAME {
            let count = names.new.instances;
            let text = format!(
                "{} new client names with {} connections each, as before",
                with_commas(count),
                per(Some(new))
            );
            self.add("new_names", count as f64, text, -3.0);
        }
    }

    /// New connections without one message, where others have them.
    fn traffic(&mut self, case: &Case<'_>, suspect: &Suspect) {
        let Some(all) = case.evidence.breakdown(Dimension::Application) else { return };
        let Some(own) = all.groups.iter().find(|group| group.key == suspect.group.key) else { return };
        let grown_by = suspect.group.grown_by().max(1);
        let silent = share(own.figures.without_traffic, grown_by).min(1.0);
        let others = share(
            all.total.without_traffic.saturating_sub(own.figures.without_traffic),
            all.total.connections.saturating_sub(own.figures.connections),
        );
        if silent >= 0.8 && others <= 0.5 {
            let text = format!("{} of the new connections never had a message", percent(silent));
            self.add("without_traffic_share", silent, text, 1.0);
        } else if silent <= 0.3 {
            let text = format!("messages flow over {} of the new connections", percent(1.0 - silent));
            self.add("without_traffic_share", silent, text, -0.5);
        }
    }

    fn lean(&self) -> f64 {
        self.0.iter().map(|sign| sign.weight).sum()
    }

    /// What speaks most for a kind, in words.
    fn strongest(&self, kind: FindingKind) -> Option<&str> {
        let towards = if kind == FindingKind::ScaleOut { -1.0 } else { 1.0 };
        let best =
            self.0.iter().max_by(|one, two| (one.weight * towards).total_cmp(&(two.weight * towards)))?;
        (best.weight * towards > 0.0).then_some(best.text.as_str())
    }

    fn facts(&self) -> impl Iterator<Item = Fact> {
        self.0.iter().map(|sign| Fact::new(sign.name, sign.value, sign.text.clone()))
    }
}

fn per(connections: Option<f64>) -> String {
    match connections {
        Some(connections) if connections < 10.0 => format!("{connections:.1}"),
        Some(connections) => with_commas(connections.round() as u64),
        None => "no".to_owned(),
    }
}
