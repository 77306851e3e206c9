//! Portions: rows are written and looked up many at a time, by statements that are made ready once.
//!
//! A statement is a turn of the database's own thread, whatever it does, and making one ready takes longer than
//! running it. So the sizes are few, and what does not fill one is filled up with blank rows: rows of nothing but NULL,
//! which no comparison finds and which are left out where rows are added.

use sqlx::Sqlite;
use sqlx::query_builder::Separated;

/// How many rows a statement has. A blank row is bound and read like any other, so they are at most a third.
const SIZES: [usize; 14] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128];

/// How many statements a connection keeps ready: those of every size.
pub(super) const READY_STATEMENTS: usize = 256;

/// Cuts rows into portions. Each gives its rows, and `None` for each blank one.
pub(super) fn portions<T>(rows: &[T]) -> impl Iterator<Item = Portion<'_, T>> {
    rows.chunks(SIZES[SIZES.len() - 1]).map(|rows| Portion { rows })
}

/// The rows of one statement.
#[derive(Debug)]
pub(super) struct Portion<'a, T> {
    rows: &'a [T],
}

impl<'a, T> Portion<'a, T> {
    /// How many rows it has, blank ones not counted.
    pub(super) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Its rows, then the blank ones.
    pub(super) fn padded(&self) -> impl Iterator<Item = Option<&'a T>> + use<'a, T> {
        let size = SIZES.into_iter().find(|size| *size >= self.rows.len());
        let blank = size.unwrap_or(0).saturating_sub(self.rows.len());
        self.rows.iter().map(Some).chain(std::iter::repeat_n(None, blank))
    }
}

/// Fills `columns` columns of a blank row.
pub(super) fn push_blank(row: &mut Separated<'_, Sqlite, &'static str>, columns: usize) {
    for _ in 0..columns {
        row.push_bind(None::<i64>);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_portion_and_few_sizes_are_used() {
        for count in 0..400 {
            let rows: Vec<usize> = (0..count).collect();
            let mut all = Vec::new();
            for portion in portions(&rows) {
                let padded: Vec<_> = portion.padded().collect();
                assert!(SIZES.contains(&padded.len()), "{} rows", padded.len());
                let (real, blank) = padded.split_at(usize::try_from(portion.len()).unwrap());
                assert!(3 * blank.len() <= padded.len(), "{} blank rows for {}", blank.len(), real.len());
                assert!(blank.iter().all(Option::is_none));
                all.extend(real.iter().map(|row| *row.unwrap()));
            }
            assert_eq!(all, rows);
        }
    }
}
