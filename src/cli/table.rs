//! Tables that fit the terminal.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use unicode_width::UnicodeWidthStr;

use crate::cli::printable::fit;
use crate::model::printable::visible;

/// The width of a table that goes into a pipe or a file.
const WIDTH_ELSEWHERE: usize = 160;

/// The narrowest that the first column gets while others can still be left out.
const NARROWEST_FIRST: usize = 28;

/// The narrowest that the first column gets at all.
const NARROWEST: usize = 12;

/// Space between two columns.
const GAP: usize = 2;

/// A column of a table.
pub(super) struct Column<'a> {
    /// Its heading.
    pub(super) heading: &'a str,
    /// Whether its cells are numbers.
    pub(super) numeric: bool,
    /// What is left out first where there is no room: the highest. 0 is never left out.
    pub(super) expendable: u8,
}

/// How wide the terminal is, if the output goes to one.
pub(super) fn terminal() -> Option<usize> {
    Table::new().width().map(usize::from)
}

/// How wide a table may be.
pub(super) fn table_width(terminal: Option<usize>) -> usize {
    terminal.unwrap_or(WIDTH_ELSEWHERE)
}

/// Draws a table of at most `width` columns. The first column takes what room there is and is cut where that is not
/// enough; columns that find no room are left out.
pub(super) fn draw(columns: &[Column<'_>], rows: &[Vec<String>], width: usize) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible(cell).into_owned()).collect()).collect();
    let wanted = |place: usize| {
        let cells = rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.width());
        cells.chain([columns[place].heading.width()]).max().unwrap_or(0)
    };
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let rest = |shown: &[usize]| shown.iter().skip(1).map(|place| wanted(*place) + GAP).sum::<usize>();
    while rest(&shown) + wanted(0).min(NARROWEST_FIRST) > width {
        let expendable = shown.iter().copied().filter(|place| columns[*place].expendable > 0);
        let Some(least) = expendable.max_by_key(|place| columns[*place].expendable) else { break };
        shown.retain(|place| *place != least);
    }
    let room = width.saturating_sub(rest(&shown)).max(NARROWEST);

    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(shown.iter().map(|place| cell(&columns[*place], columns[*place].heading)));
    for row in &rows {
        table.add_row(shown.iter().map(|place| {
            let text = row.get(*place).map_or("", String::as_str);
            let text = if *place == 0 { fit(text, room) } else { text.into() };
            cell(&columns[*place], &text)
        }));
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        let gap = if place + 1 == shown.len() { 0 } else { u16::try_from(GAP).unwrap_or(1) };
        column.set_padding((0, gap));
    }
    let drawn = table.to_string();
    let lines: Vec<&str> = drawn.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// A page of a list, and how to get the next one if there is one.
pub(super) fn with_next(page: String, next: Option<&str>) -> String {
    match next {
        Some(next) => format!("{page}\nthere are more: --before {next}\n"),
        None => page,
    }
}

fn cell(column: &Column<'_>, text: &str) -> Cell {
    let alignment = if column.numeric { CellAlignment::Right } else { CellAlignment::Left };
    Cell::new(text).set_alignment(alignment)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column<'static>; 3] = [
        Column { heading: "NAME", numeric: false, expendable: 0 },
        Column { heading: "CONNECTIONS", numeric: true, expendable: 0 },
        Column { heading: "PENDING", numeric: true, expendable: 1 },
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        vec![row(["orders-api-with-quite-a-long-name", "1,024", "0"]), row(["b\u{1b}[2J", "7", "12 kB"])]
    }

    #[test]
    fn a_wide_table_shows_everything() {
        insta::assert_snapshot!(draw(&COLUMNS, &rows(), 80), @r"
        NAME                               CONNECTIONS  PENDING
        orders-api-with-quite-a-long-name        1,024        0
        b\u{1b}[2J                                   7    12 kB
        ");
    }

    #[test]
    fn a_narrow_table_leaves_columns_out_and_cuts_the_first() {
        let drawn = draw(&COLUMNS, &rows(), 42);
        insta::assert_snapshot!(drawn, @r"
        NAME                           CONNECTIONS
        orders-api-with-quite-a-long…        1,024
        b\u{1b}[2J                               7
        ");
        assert!(drawn.lines().all(|line| line.width() <= 42));
    }
}
