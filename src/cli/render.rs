//! Breakdowns and coverage, for people and for spreadsheets.

use std::fmt::Write;

use jiff::Timestamp;

use crate::cli::printable::spreadsheet;
use crate::cli::table::{Column, draw};
use crate::model::breakdown::{Breakdown, By, Dimension, Figures, Group};
use crate::model::printable::{age, percent, size, visible, with_commas};
use crate::model::snapshot::Coverage;

/// Says how much was seen of which server, and what went wrong.
pub(super) fn coverage(coverage: &Coverage, width: usize) -> String {
    let columns = [
        Column { heading: "SERVER", numeric: false, expendable: 0 },
        Column { heading: "VERSION", numeric: false, expendable: 2 },
        Column { heading: "SEEN", numeric: true, expendable: 0 },
        Column { heading: "TOTAL", numeric: true, expendable: 0 },
        Column { heading: "LIMIT", numeric: true, expendable: 3 },
        Column { heading: "TOOK", numeric: true, expendable: 4 },
        Column { heading: "STATE", numeric: false, expendable: 0 },
    ];
    let rows: Vec<Vec<String>> = coverage
        .servers
        .iter()
        .map(|server| {
            let url = server.url.as_str().trim_end_matches('/');
            let name = server.name.as_ref().map(|name| format!("{name} {url}"));
            vec![
                name.unwrap_or_else(|| url.to_owned()),
                server.version.clone().unwrap_or_else(|| "?".to_owned()),
                with_commas(server.seen),
                server.total().map_or_else(|| "?".to_owned(), with_commas),
                server.max_connections.map_or_else(|| "?".to_owned(), limit),
                format!("{} ms", with_commas(server.duration_ms)),
                server.answer().to_owned(),
            ]
        })
        .collect();
    let mut text = draw(&columns, &rows, width);
    for error in coverage.errors() {
        let _ = writeln!(text, "! {}", visible(error));
    }
    text
}

fn limit(connections: i64) -> String {
    u64::try_from(connections).map_or_else(|_| connections.to_string(), with_commas)
}

/// Draws one breakdown; ages are told as of `now`.
pub(super) fn breakdown(by: By, breakdown: &Breakdown, now: Timestamp, width: usize) -> String {
    let columns = [
        Column { heading: &by.title().to_uppercase(), numeric: false, expendable: 0 },
        Column { heading: "CONNECTIONS", numeric: true, expendable: 0 },
        Column { heading: "SHARE", numeric: true, expendable: 0 },
        Column { heading: "IDLE", numeric: true, expendable: 2 },
        Column { heading: "UNUSED", numeric: true, expendable: 1 },
        Column { heading: "IPS", numeric: true, expendable: 3 },
        Column { heading: "SUBS", numeric: true, expendable: 7 },
        Column { heading: "PENDING", numeric: true, expendable: 6 },
        Column { heading: "OLDEST", numeric: true, expendable: 5 },
        Column { heading: "NEWEST", numeric: true, expendable: 4 },
    ];
    let row = |key: String, share: f64, figures: &Figures| {
        let at_least = if figures.distinct_ips_exact { "" } else { ">=" };
        vec![
            key,
            with_commas(figures.connections),
            percent(share),
            with_commas(figures.idle),
            with_commas(figures.idle_without_traffic),
            format!("{at_least}{}", with_commas(figures.distinct_ips)),
            with_commas(figures.subscriptions),
            size(figures.pending_bytes),
            age(figures.oldest_start, now),
            age(figures.newest_start, now),
        ]
    };
    let mut rows: Vec<Vec<String>> =
        breakdown.groups.iter().map(|group| row(name(by, group), group.share, &group.figures)).collect();
    let other = &breakdown.other;
    if other.figures.connections > 0 {
        let count =
            other.groups.map_or_else(|| "more".to_owned(), |groups| format!("{} more", with_commas(groups)));
        rows.push(row(format!("… {count}"), other.share, &other.figures));
    }
    rows.push(row(
        "total".to_owned(),
        if breakdown.total.connections > 0 { 1.0 } else { 0.0 },
        &breakdown.total,
    ));
    let mut text = draw(&columns, &rows, width);
    let undercount = breakdown.groups.iter().map(|group| group.undercount).max().unwrap_or(0);
    if undercount > 0 {
        let count = with_commas(undercount);
        let _ = writeln!(
            text,
            "there are too many distinct values to keep them all; a group may have up to {count} more"
        );
    }
    text
}

/// What a group is called.
fn name(by: By, group: &Group) -> String {
    if !group.absent && group.key == by.first().absent() && by.first() != Dimension::Account {
        // a client that calls itself what those without a name are called
        return format!("{:?}", group.key);
    }
    match (&group.label, &group.example) {
        (Some(label), _) => format!("{label} ({})", group.key),
        (None, Some(example)) => format!("{}  e.g. {example}", group.key),
        (None, None) => group.key.clone(),
    }
}

/// Writes breakdowns as CSV: one line per group, its dimension in the first column.
pub(super) fn csv<'a>(
    breakdowns: impl IntoIterator<Item = (&'a By, &'a Breakdown)>,
) -> anyhow::Result<String> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    lines.write_record([
        "dimension",
        "key",
        "absent",
        "label",
        "connections",
        "share",
        "subscriptions",
        "idle",
        "idle_without_traffic",
        "pending_bytes",
        "in_msgs",
        "out_msgs",
        "in_bytes",
        "out_bytes",
        "oldest_start",
        "newest_start",
        "distinct_ips",
        "distinct_ips_exact",
    ])?;
    for (by, breakdown) in breakdowns {
        let mut line = |key: &str, absent: bool, label: &str, share: f64, figures: &Figures| {
            let instant = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
            lines.write_record([
                &*by.to_string(),
                &spreadsheet(key),
                &absent.to_string(),
                &spreadsheet(label),
                &figures.connections.to_string(),
                &share.to_string(),
                &figures.subscriptions.to_string(),
                &figures.idle.to_string(),
                &figures.idle_without_traffic.to_string(),
                &figures.pending_bytes.to_string(),
                &figures.in_msgs.to_string(),
                &figures.out_msgs.to_string(),
                &figures.in_bytes.to_string(),
                &figures.out_bytes.to_string(),
                &instant(figures.oldest_start),
                &instant(figures.newest_start),
                &figures.distinct_ips.to_string(),
                &figures.distinct_ips_exact.to_string(),
            ])
        };
        for group in &breakdown.groups {
            line(
                &group.key,
                group.absent,
                group.label.as_deref().unwrap_or_default(),
                group.share,
                &group.figures,
            )?;
        }
        if breakdown.other.figures.connections > 0 {
            line("(other)", false, "", breakdown.other.share, &breakdown.other.figures)?;
        }
    }
    Ok(String::from_utf8(lines.into_inner()?)?)
}
