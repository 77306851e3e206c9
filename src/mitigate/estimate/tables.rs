//! Tables: the breakdowns of a stored look, with what is asked of each group.

use std::collections::HashMap;

use crate::mitigate::estimate::figures::FigureQuestions;
use crate::mitigate::estimate::questions::{Fact, Questions, Value};
use crate::model::breakdown::{Breakdown, By, Dimension, Group};
use crate::model::estimate::CountRange;
use crate::model::snapshot::Snapshot;
use crate::model::starts::StartHistogram;

/// A breakdown by one or two dimensions; or by none, where all connections are one group.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) dimensions: Vec<Dimension>,
    pub(super) cells: Vec<Cell<'a>>,
    /// Connections whose group is not known.
    pub(super) folded: u64,
    /// Of these, those that have the figures that are asked for.
    pub(super) folded_figured: CountRange,
    /// Where the cells of a key are, for each dimension.
    places: Vec<HashMap<&'a str, Vec<usize>>>,
}

/// A group.
#[derive(Debug)]
pub(super) struct Cell<'a> {
    /// What it shares in each dimension of the table.
    pub(super) values: Vec<Asked<'a>>,
    pub(super) connections: u64,
    /// Those of them that have the figures that are asked for.
    pub(super) figured: CountRange,
    /// How many more it may have among those that are folded.
    pub(super) undercount: u64,
}

/// A value, and what the questions say of it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) value: Value<'a>,
    pub(super) facts: Vec<Fact>,
}

impl<'a> Table<'a> {
    /// Asks the groups of every breakdown of a look.
    pub(super) fn all(
        snapshot: &'a Snapshot,
        questions: &Questions<'a>,
        figures: &FigureQuestions<'_>,
    ) -> Vec<Self> {
        let breakdowns = snapshot.breakdowns.iter();
        let mut tables: Vec<Self> =
            breakdowns.map(|(by, breakdown)| Self::new(*by, breakdown, questions, figures)).collect();
        // of all connections together it is known when they began
        let whole = snapshot.breakdowns.values().max_by_key(|breakdown| breakdown.starts.total());
        tables.extend(whole.map(|breakdown| Self::whole(breakdown, figures)));
        tables
    }

    fn new(
        by: By,
        breakdown: &'a Breakdown,
        questions: &Questions<'a>,
        figures: &FigureQuestions<'_>,
    ) -> Self {
        let dimensions: Vec<Dimension> = by.dimensions().collect();
        let mut places = vec![HashMap::<&str, Vec<usize>>::new(); dimensions.len()];
        let mut cells = Vec::with_capacity(breakdown.groups.len());
        for (place, group) in breakdown.groups.iter().enumerate() {
            let ask = |(slot, value): (usize, Value<'a>)| {
                places[slot].entry(value.key).or_default().push(place);
                Asked { value, facts: questions.ask(dimensions[slot], value) }
            };
            cells.push(Cell {
                values: values(&dimensions, group).into_iter().enumerate().map(ask).collect(),
                connections: group.figures.connections,
                figured: figures.count(&group.figures, &group.starts),
                undercount: group.undercount,
            });
        }
        let other = &breakdown.other.figures;
        Self {
            dimensions,
            cells,
            folded: other.connections,
            folded_figured: figures.count(other, &StartHistogram::default()),
            places,
        }
    }

    fn whole(breakdown: &Breakdown, figures: &FigureQuestions<'_>) -> Self {
        let cell = Cell {
            values: Vec::new(),
            connections: breakdown.total.connections,
            figured: figures.count(&breakdown.total, &breakdown.starts),
            undercount: 0,
        };
        Self {
            dimensions: Vec::new(),
            cells: vec![cell],
            folded: 0,
            folded_figured: CountRange::default(),
            places: Vec::new(),
        }
    }

    /// Which column a dimension is in.
    pub(super) fn slot(&self, dimension: Dimension) -> Option<usize> {
        self.dimensions.iter().position(|it| *it == dimension)
    }

    /// Where the cells of a key are.
    pub(super) fn places(&self, slot: usize, key: &str) -> &[usize] {
        self.places[slot].get(key).map_or(&[], Vec::as_slice)
    }
}

/// What the connections of a group share in each dimension.
fn values<'a>(dimensions: &[Dimension], group: &'a Group) -> Vec<Value<'a>> {
    let [first, second] = dimensions else {
        let absent = Some(group.absent);
        return vec![Value { key: &group.key, absent, label: group.label.as_deref() }];
    };
    let key = |dimension: Dimension| group.keys.get(&dimension).map_or("", String::as_str);
    let says_absent = |dimension: Dimension| key(dimension) == dimension.absent();
    let value = |one: Dimension, other: Dimension| Value {
        key: key(one),
        absent: match (group.absent, says_absent(one), says_absent(other)) {
            (true, true, false) => Some(true),
            // one of the two is, or both
            (true, true, true) => None,
            _ => Some(false),
        },
        label: None,
    };
    vec![value(*first, *second), value(*second, *first)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_told_which_of_two_values_is_missing_unless_a_stranger_has_written_the_same() {
        let dimensions = [Dimension::Application, Dimension::Ip];
        let absent = |application: &str, ip: &str, absent: bool| {
            let keys = BTreeMap::from([
                (Dimension::Application, application.to_owned()),
                (Dimension::Ip, ip.to_owned()),
            ]);
            let group = Group { keys, absent, ..Group::default() };
            [0, 1].map(|slot| values(&dimensions, &group)[slot].absent)
        };
        assert_eq!(absent("(unnamed)", "10.0.0.1", true), [Some(true), Some(false)]);
        assert_eq!(absent("(unnamed)", "10.0.0.1", false), [Some(false), Some(false)]);
        assert_eq!(absent("a", "(in-process)", true), [Some(false), Some(true)]);
        assert_eq!(absent("(unnamed)", "(in-process)", true), [None, None]);
    }
}
