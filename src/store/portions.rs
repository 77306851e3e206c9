//! Portions: rows are written and looked up many at a time, by statements that are made ready once.
//!
//! A statement is a turn of the database's own thread, whatever it does, and making one ready takes longer than
//! running it. So the sizes are few, and what does not fill one is filled up with blank rows: rows of nothing but NULL,
//! which no comparison finds and which are left out where rows are added.

use sqlx::query::{Query, QueryAs};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Encode, FromRow, Sqlite, Type};

/// How many rows a statement has. A blank row is bound and read like any other, so they are at most a third.
const SIZES: [usize; 14] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128];

/// How many rows a statement has at the most.
pub(super) const LARGEST_PORTION: usize = SIZES[SIZES.len() - 1];

/// How many statements a connection keeps ready: those of every size.
pub(super) const READY_STATEMENTS: usize = 256;

/// Cuts rows into portions. Each gives its rows, and `None` for each blank one.
pub(super) fn portions<T>(rows: &[T]) -> impl Iterator<Item = Portion<'_, T>> {
    rows.chunks(LARGEST_PORTION).map(|rows| Portion { rows })
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

    /// A statement about its rows: what comes before them, `row` for each with a `?` for each of its values, separated
    /// by commas, and what comes after them. `bind` gives the values of a row.
    ///
    /// (A `QueryBuilder` would format every `?` by itself, and this is written while senders wait.)
    pub(super) fn statement(
        &self,
        before: &str,
        row: &str,
        after: &str,
        bind: impl Fn(&mut Values, &'a T),
    ) -> Statement {
        let rows = self.padded().count();
        let columns = row.matches('?').count();
        let mut sql = String::with_capacity(before.len() + rows * (row.len() + 2) + after.len());
        let mut values = Values(SqliteArguments::default());
        values.0.reserve(rows * columns, 0);
        sql.push_str(before);
        for (place, content) in self.padded().enumerate() {
            sql.push_str(if place == 0 { "" } else { ", " });
            sql.push_str(row);
            match content {
                Some(content) => bind(&mut values, content),
                None => (0..columns).for_each(|_| _ = values.bind(None::<i64>)),
            }
        }
        sql.push_str(after);
        debug_assert_eq!(values.0.len(), rows * columns, "a value for each `?`: {row}");
        Statement { sql, values }
    }
}

/// The values of rows, one after the other.
#[derive(Debug)]
pub(super) struct Values(SqliteArguments);

impl Values {
    /// Adds one.
    pub(super) fn bind<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) -> &mut Self {
        self.0.add(value).expect("numbers, texts and bytes can be bound");
        self
    }
}

/// A statement with its values.
#[derive(Debug)]
pub(super) struct Statement {
    sql: String,
    values: Values,
}

impl Statement {
    /// Adds a value that comes after the rows.
    pub(super) fn bind<'v>(mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) -> Self {
        self.values.bind(value);
        self
    }

    /// To be executed.
    pub(super) fn query(self) -> Query<'static, Sqlite, SqliteArguments> {
        // texts of this program: whatever comes from elsewhere is bound
        sqlx::query_with(AssertSqlSafe(self.sql), self.values.0)
    }

    /// To be asked for rows.
    pub(super) fn query_as<O>(self) -> QueryAs<'static, Sqlite, O, SqliteArguments>
    where
        O: for<'r> FromRow<'r, SqliteRow>,
    {
        sqlx::query_as_with(AssertSqlSafe(self.sql), self.values.0)
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
