//! Coverage and breakdowns as pages show them: numbers written out, bars measured, what is missing said in words.

use jiff::Timestamp;

use crate::model::breakdown::{Breakdown, By, Dimension, Figures, Group};
use crate::model::printable::{age, limit, percent, size, with_commas};
use crate::model::snapshot::{Coverage, ServerCoverage, Via};

/// How many groups of a breakdown a page lists, unless it is asked for more or fewer.
pub(super) const DEFAULT_TOP: usize = 20;

/// How many groups a page offers to list beyond that, one after the other.
const MORE: [usize; 2] = [100, 1000];

/// How much of a cluster was seen.
pub(super) struct CoverageView {
    /// Whether all of it was.
    pub(super) complete: bool,
    /// In one line.
    pub(super) summary: String,
    /// Servers that did not answer in full.
    pub(super) failed: usize,
    /// Servers that there should be.
    pub(super) expected: usize,
    /// Why the system account has not shown which servers there are, if it has not.
    pub(super) system_error: Option<String>,
    /// Each server.
    pub(super) servers: Vec<ServerRow>,
}

/// What one server let us see.
pub(super) struct ServerRow {
    pub(super) name: String,
    pub(super) url: Option<String>,
    /// The way by which it was seen, if that is not the usual one.
    pub(super) via: Option<&'static str>,
    pub(super) answer: &'static str,
    pub(super) answer_class: &'static str,
    pub(super) version: String,
    pub(super) seen: String,
    pub(super) total: String,
    pub(super) limit: String,
    /// How much of the limit is in use.
    pub(super) used: Option<String>,
    pub(super) took: String,
    pub(super) error: Option<String>,
    /// What is worth knowing though nothing is wrong.
    pub(super) note: Option<String>,
}

/// A breakdown by one dimension.
pub(super) struct Section {
    /// For links to it.
    pub(super) id: String,
    pub(super) title: String,
    /// What there is to know of it while it is closed.
    pub(super) summary: String,
    pub(super) is_open: bool,
    pub(super) rows: Vec<GroupRow>,
    pub(super) undercount: Option<String>,
    /// How many groups to list next, if there are more.
    pub(super) more: Option<usize>,
}

/// A group, the rest, or the total.
pub(super) struct GroupRow {
    pub(super) kind: &'static str,
    pub(super) key: String,
    /// The key itself, where it has a name; or an example of what is in the group.
    pub(super) note: Option<String>,
    pub(super) connections: String,
    pub(super) share: String,
    /// The length of the bar, from 0 to 100; none has no bar.
    pub(super) bar: Option<String>,
    pub(super) idle: String,
    pub(super) unused: String,
    pub(super) ips: String,
    pub(super) subscriptions: String,
    pub(super) pending: String,
    pub(super) oldest: String,
    pub(super) newest: String,
}

impl CoverageView {
    pub(super) fn new(coverage: &Coverage) -> Self {
        // what did not answer at all may have any number
        let is_known = coverage.each_server().all(|server| server.total().is_some());
        Self {
            complete: coverage.complete,
            summary: format!(
                "{} of {}{} connections seen in {} ms",
                with_commas(coverage.seen),
                if is_known { "" } else { "at least " },
                with_commas(coverage.total),
                with_commas(coverage.duration_ms)
            ),
            failed: coverage.servers.iter().filter(|server| server.error.is_some()).count(),
            expected: coverage.each_server().count(),
            system_error: coverage.system_error.clone(),
            servers: coverage.servers.iter().map(ServerRow::new).collect(),
        }
    }
}

impl ServerRow {
    fn new(server: &ServerCoverage) -> Self {
        let unknown = || "unknown".to_owned();
        let most = server.max_connections.and_then(|limit| u64::try_from(limit).ok());
        let used = server.total().zip(most).filter(|(_, most)| *most > 0);
        Self {
            name: server.display_name().to_owned(),
            url: server.shown_url().filter(|url| *url != server.display_name()).map(str::to_owned),
            via: (server.via == Some(Via::System)).then_some("by the system account"),
            answer: server.answer(),
            answer_class: if server.error.is_none() { "good" } else { "bad" },
            version: server.version.clone().unwrap_or_else(unknown),
            seen: with_commas(server.seen),
            total: match server.counted_at {
                Some(_) => "–".to_owned(),
                None => server.total().map_or_else(unknown, with_commas),
            },
            limit: server.max_connections.map_or_else(unknown, limit),
            used: used.map(|(total, most)| percent(total as f64 / most as f64)),
            took: format!("{} ms", with_commas(server.duration_ms)),
            error: server.error.clone(),
            note: server.note(),
        }
    }
}

impl Section {
    /// Shows a breakdown of which `top` groups were asked for; ages are told as of `then`.
    pub(super) fn new(by: By, breakdown: &Breakdown, then: Timestamp, top: usize, is_open: bool) -> Self {
        let mut rows: Vec<GroupRow> =
            breakdown.groups.iter().map(|group| GroupRow::of_group(by, group, then)).collect();
        let other = &breakdown.other;
        if other.figures.connections > 0 {
            let count = other
                .groups
                .map_or_else(|| "others".to_owned(), |groups| format!("{} more", with_commas(groups)));
            rows.push(GroupRow::new("other", count, other.share, &other.figures, then));
        }
        let total = &breakdown.total;
        let whole = if total.connections > 0 { 1.0 } else { 0.0 };
        rows.push(GroupRow { bar: None, ..GroupRow::new("total", "total".to_owned(), whole, total, then) });

        let undercount = breakdown.groups.iter().map(|group| group.undercount).max().unwrap_or(0);
        let is_cut = breakdown.groups.len() >= top && other.figures.connections > 0;
        Self {
            id: format!("by-{}", by.to_string().replace('/', "-")),
            title: by.title(),
            summary: summary(by, breakdown),
            is_open,
            rows,
            undercount: (undercount > 0).then(|| with_commas(undercount)),
            more: MORE.into_iter().find(|more| is_cut && *more > top),
        }
    }
}

/// How many groups there are, and which is the largest.
fn summary(by: By, breakdown: &Breakdown) -> String {
    let listed = breakdown.groups.len() as u64;
    let count = match breakdown.other.groups {
        Some(groups) => with_commas(listed + groups),
        None => format!("more than {}", with_commas(listed)),
    };
    let noun = if count == "1" { "group" } else { "groups" };
    match breakdown.groups.first() {
        Some(group) => format!("{count} {noun}; {} {}", percent(group.share), called(by, group)),
        None => "nothing was seen".to_owned(),
    }
}

/// What a group is called; an address by itself: its name is what its owner likes.
fn called(by: By, group: &Group) -> &str {
    match &group.label {
        Some(label) if by != Dimension::Ip.into() => label,
        _ => &group.key,
    }
}

impl GroupRow {
    fn new(kind: &'static str, key: String, share: f64, figures: &Figures, then: Timestamp) -> Self {
        let at_least = if figures.distinct_ips_exact { "" } else { "≥ " };
        Self {
            kind,
            key,
            note: None,
            connections: with_commas(figures.connections),
            share: percent(share),
            bar: Some(format!("{:.2}", share.clamp(0.0, 1.0) * 100.0)),
            idle: with_commas(figures.idle),
            unused: with_commas(figures.idle_without_traffic),
            ips: format!("{at_least}{}", with_commas(figures.distinct_ips)),
            subscriptions: with_commas(figures.subscriptions),
            pending: size(figures.pending_bytes),
            oldest: age(figures.oldest_start, then),
            newest: age(figures.newest_start, then),
        }
    }

    fn of_group(by: By, group: &Group, then: Timestamp) -> Self {
        let note = match (&group.label, &group.example) {
            (Some(label), _) if by == Dimension::Ip.into() => Some(label.clone()),
            (Some(_), _) => Some(group.key.clone()),
            (None, Some(example)) if *example != group.key => Some(format!("e.g. {example}")),
            (None, _) => None,
        };
        let kind = if group.absent { "absent" } else { "group" };
        Self { note, ..Self::new(kind, called(by, group).to_owned(), group.share, &group.figures, then) }
    }
}
