//! Breakdowns and coverage, for people and for spreadsheets.

use std::fmt::Write;

use jiff::Timestamp;

use crate::cli::printable::spreadsheet;
use crate::cli::table::{Column, draw};
use crate::model::breakdown::{Breakdown, By, Dimension, Figures, Group};
use crate::model::printable::{age, limit, percent, size, visible, with_commas};
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
            let own = server.display_name();
            let url = server.shown_url().filter(|url| *url != own);
            vec![
                url.map_or_else(|| own.to_owned(), |url| format!("{own} {url}")),
                server.version.clone().unwrap_or_else(|| "?".to_owned()),
                with_commas(server.seen),
                match server.counted_at {
                    Some(_) => "-".to_owned(),
                    None => server.total().map_or_else(|| "?".to_owned(), with_commas),
                },
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
    for note in coverage.notes() {
        let _ = writeln!(text, "  {}", visible(&note));
    }
    text
}

/// Draws one breakdown; ages are told as of `then`, when the look began.
pub(super) fn breakdown(by: By, breakdown: &Breakdown, then: Timestamp, width: usize) -> String {
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
            age(figures.oldest_start, then),
            age(figures.newest_start, then),
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
        // a name of an address is what its owner likes
        (Some(label), _) if by == Dimension::Ip.into() => format!("{} ({label})", group.key),
        (Some(label), _) => format!("{label} ({})", group.key),
        (None, Some(example)) => format!("{}  e.g. {example}", group.key),
        (None, None) => group.key.clone(),
    }
}

/// The columns of [`csv()`]: which group, how many, what helps to recognise it, then all its counts.
const CSV_COLUMNS: [&str; 22] = [
    "dimension",
    "key",
    "absent",
    "label",
    "connections",
    "share",
    "key_1",
    "key_2",
    "example",
    "undercount",
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
];

/// Writes breakdowns as CSV: one line per group, its dimension in the first column.
pub(super) fn csv<'a>(
    breakdowns: impl IntoIterator<Item = (&'a By, &'a Breakdown)>,
) -> anyhow::Result<String> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    lines.write_record(CSV_COLUMNS)?;
    for (by, breakdown) in breakdowns {
        for group in &breakdown.groups {
            lines.write_record(csv_line(*by, group))?;
        }
        let other = &breakdown.other;
        if other.figures.connections > 0 {
            let other = Group {
                key: "(other)".to_owned(),
                share: other.share,
                figures: other.figures.clone(),
                ..Group::default()
            };
            lines.write_record(csv_line(*by, &other))?;
        }
    }
    Ok(String::from_utf8(lines.into_inner()?)?)
}

fn csv_line(by: By, group: &Group) -> [String; CSV_COLUMNS.len()] {
    let text = |text: &str| spreadsheet(text).into_owned();
    let instant = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let optional = |own: Option<&String>| own.map(|own| text(own)).unwrap_or_default();
    let key_of = |dimension: Option<Dimension>| optional(dimension.and_then(|own| group.keys.get(&own)));
    let figures = &group.figures;
    [
        by.to_string(),
        text(&group.key),
        group.absent.to_string(),
        optional(group.label.as_ref()),
        figures.connections.to_string(),
        group.share.to_string(),
        key_of(Some(by.first())),
        key_of(by.second()),
        optional(group.example.as_ref()),
        group.undercount.to_string(),
        figures.subscriptions.to_string(),
        figures.idle.to_string(),
        figures.idle_without_traffic.to_string(),
        figures.pending_bytes.to_string(),
        figures.in_msgs.to_string(),
        figures.out_msgs.to_string(),
        figures.in_bytes.to_string(),
        figures.out_bytes.to_string(),
        instant(figures.oldest_start),
        instant(figures.newest_start),
        figures.distinct_ips.to_string(),
        figures.distinct_ips_exact.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::breakdown::Breakdowns;

    /// Counts that are all 0 but the first.
    fn figures(connections: u64) -> Value {
        json!({
            "connections": connections, "subscriptions": 0, "idle": 0, "idle_without_traffic": 0, "pending_bytes": 0,
            "in_msgs": 0, "out_msgs": 0, "in_bytes": 0, "out_bytes": 0, "distinct_ips": 1, "distinct_ips_exact": true
        })
    }

    /// What one object says and the other adds.
    fn with(mut more: Value, figures: Value) -> Value {
        let (Value::Object(all), Value::Object(figures)) = (&mut more, figures) else {
            panic!("not objects")
        };
        all.extend(figures);
        more
    }

    #[test]
    fn an_address_stands_before_its_name_and_an_account_behind_it() {
        let group = Group { key: "10.0.0.1".to_owned(), label: Some("api".to_owned()), ..Group::default() };
        assert_eq!(name(Dimension::Ip.into(), &group), "10.0.0.1 (api)");
        assert_eq!(name(Dimension::Account.into(), &group), "api (10.0.0.1)");
    }

    #[test]
    fn csv_has_the_parts_of_a_crossed_key_examples_and_undercounts() {
        let breakdown = |group: Value| {
            let other = with(json!({ "groups": 1, "share": 0.25 }), figures(1));
            json!({ "groups": [with(group, figures(3))], "other": other, "total": figures(4) })
        };
        let crossed = json!({
            "key": "orders / 10.0.0.7", "keys": { "application": "orders", "ip": "10.0.0.7" }, "share": 0.75
        });
        let application = json!({ "key": "orders", "example": "=orders-1", "undercount": 2, "share": 0.75 });
        let breakdowns: Breakdowns = serde_json::from_value(json!({
            "application": breakdown(application),
            "application/ip": breakdown(crossed),
        }))
        .unwrap();
        insta::assert_snapshot!(csv(&breakdowns).unwrap(), @r"
        dimension,key,absent,label,connections,share,key_1,key_2,example,undercount,subscriptions,idle,idle_without_traffic,pending_bytes,in_msgs,out_msgs,in_bytes,out_bytes,oldest_start,newest_start,distinct_ips,distinct_ips_exact
        application,orders,false,,3,0.75,,,'=orders-1,2,0,0,0,0,0,0,0,0,,,1,true
        application,(other),false,,1,0.25,,,,0,0,0,0,0,0,0,0,0,,,1,true
        application/ip,orders / 10.0.0.7,false,,3,0.75,orders,10.0.0.7,,0,0,0,0,0,0,0,0,0,,,1,true
        application/ip,(other),false,,1,0.25,,,,0,0,0,0,0,0,0,0,0,,,1,true
        ");
    }
}
