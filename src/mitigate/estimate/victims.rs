//! Victims: how many of those that are meant and not protected would have been picked, and of what.

use std::collections::BTreeMap;

use crate::mitigate::estimate::bounds::{Bounds, Place};
use crate::mitigate::estimate::tables::{Asked, Cell, Table};
use crate::mitigate::plan::{MOST_HITS, OTHERS};
use crate::model::breakdown::Dimension;
use crate::model::estimate::{CountRange, EstimatedHit};
use crate::model::picking::GROUPS_TOLD_APART;
use crate::model::victim::{KeepOf, VictimLimits};

/// Who could be picked.
#[derive(Debug)]
pub(super) struct Pool<'b, 't, 'a> {
    tables: &'t [Table<'a>],
    free: &'b Bounds<'t, 'a>,
    limits: VictimLimits,
    /// How many may be picked.
    most: u64,
    /// Those that stay because a minimum does.
    pub(super) kept: CountRange,
    /// All others, whatever may be picked.
    pub(super) available: CountRange,
}

/// What is picked of a dimension.
#[derive(Debug, Default)]
pub(super) struct Hits {
    pub(super) hits: Vec<EstimatedHit>,
    /// Whether some number is a range.
    pub(super) uncertain: bool,
}

impl<'b, 't, 'a> Pool<'b, 't, 'a> {
    pub(super) fn new(
        tables: &'t [Table<'a>],
        free: &'b Bounds<'t, 'a>,
        limits: VictimLimits,
        total: u64,
    ) -> Self {
        let most = u64::try_from(limits.most_of(total)).unwrap_or(u64::MAX);
        let none = CountRange::default();
        let mut pool = Self { tables, free, limits, most, kept: none, available: none };
        (pool.kept, pool.available) = pool.share_out();
        pool
    }

    /// How many victims there are.
    pub(super) fn victims(&self) -> CountRange {
        self.available.capped(self.most)
    }

    /// Whether there may be more than may be picked.
    pub(super) fn is_capped(&self) -> bool {
        self.available.at_most > self.most
    }

    /// Of what a minimum is kept.
    fn kept_of(&self) -> &'static [Dimension] {
        match self.limits.keep_of {
            KeepOf::Application => &[Dimension::Application],
            KeepOf::ApplicationAndIp => &[Dimension::Application, Dimension::Ip],
        }
    }

    fn table(&self, dimensions: &[Dimension]) -> Option<&'t Table<'a>> {
        self.tables.iter().find(|table| table.dimensions == dimensions)
    }

    /// Those that are kept, and those that are left.
    fn share_out(&self) -> (CountRange, CountRange) {
        let free = self.free.all();
        if self.limits.keep == 0 {
            return (CountRange::default(), free);
        }
        let Some(table) = self.table(self.kept_of()) else {
            // each may be one that is kept
            return (CountRange::up_to(free.at_most), CountRange::up_to(free.at_most));
        };
        let (kept, left): (Vec<CountRange>, Vec<CountRange>) =
            table.cells.iter().map(|cell| self.kept_and_left(cell, self.free_in(table, cell))).unzip();
        let (mut kept, mut left): (CountRange, CountRange) = (kept.into_iter().sum(), left.into_iter().sum());
        // those whose group is not known may stay or be left
        let folded = table.folded_figured.at_most.min(free.at_most);
        kept.at_most = kept.at_most.saturating_add(folded).min(free.at_most);
        left.at_most = left.at_most.saturating_add(folded);
        if table.cells.len() as u64 + table.folded > GROUPS_TOLD_APART as u64 {
            // a plan may not tell all groups apart, and keeps those that it does not
            (kept.at_most, left.at_least) = (free.at_most, 0);
        }
        let rest = free.without(kept);
        let available = CountRange::new(left.at_least.max(rest.at_least), left.at_most.min(rest.at_most));
        (CountRange::new(kept.at_least, kept.at_most), available)
    }

    /// How many connections of a group could be picked, were no minimum kept.
    fn free_in(&self, table: &Table<'a>, cell: &Cell<'a>) -> CountRange {
        let place = |(dimension, asked): (&Dimension, &Asked<'a>)| Place {
            dimension: *dimension,
            key: asked.value.key,
            absent: asked.value.absent.unwrap_or(true),
        };
        let places: Vec<Place<'_>> = table.dimensions.iter().zip(&cell.values).map(place).collect();
        let range = self.free.within(&places, cell.undercount);
        // where it is not known which value is missing, two groups are mixed
        let is_mixed = cell.values.iter().any(|asked| asked.value.absent.is_none());
        if is_mixed { CountRange::up_to(range.at_most) } else { range }
    }

    /// Of the connections of a group that could be picked, those that are kept and those that are left.
    fn kept_and_left(&self, cell: &Cell<'_>, free: CountRange) -> (CountRange, CountRange) {
        let keep = u64::from(self.limits.keep);
        let left = |free: u64, total: u64| free.min(total.saturating_sub(keep));
        let kept = |free: u64, total: u64| free - left(free, total);
        let (fewest, most) = (cell.connections, cell.connections.saturating_add(cell.undercount));
        let is_mixed = cell.values.iter().any(|asked| asked.value.absent.is_none());
        let least = if is_mixed { 0 } else { left(free.at_least, fewest) };
        (
            CountRange::new(
                kept(free.at_least, most),
                if is_mixed { free.at_most } else { kept(free.at_most, fewest) },
            ),
            CountRange::new(least, left(free.at_most, most)),
        )
    }

    /// Counts the victims by what they have in common in a dimension.
    pub(super) fn hits(&self, dimension: Dimension) -> Hits {
        let victims = self.victims();
        let Some(table) = self.table(&[dimension]) else {
            return Hits::of(Vec::new(), CountRange::up_to(victims.at_most), victims);
        };
        let by_kept_group = self.limits.keep > 0 && self.kept_of() == [dimension];
        let untold = table.cells.len() as u64 + table.folded > GROUPS_TOLD_APART as u64;
        let left = |cell: &Cell<'a>| {
            let free = self.free_in(table, cell);
            match by_kept_group {
                true if untold => CountRange::up_to(self.kept_and_left(cell, free).1.at_most),
                true => self.kept_and_left(cell, free).1,
                false => CountRange::new(free.at_least.saturating_sub(self.kept.at_most), free.at_most),
            }
        };
        let mut by_key: BTreeMap<&str, CountRange> = BTreeMap::new();
        for cell in &table.cells {
            // a client that calls itself what those without a name are called is one of them in every list
            let sum = by_key.entry(cell.values[0].value.key).or_default();
            *sum = [*sum, left(cell)].into_iter().sum();
        }
        let folded = CountRange::up_to(table.folded_figured.at_most.min(self.available.at_most));
        let everywhere: u64 = by_key
            .values()
            .map(|left| left.at_most.min(victims.at_most))
            .fold(folded.at_most.min(victims.at_most), u64::saturating_add);
        let beyond = self.available.at_most.saturating_sub(self.most);
        let picked = |left: CountRange| {
            let at_most = left.at_most.min(victims.at_most);
            // as many as cannot be elsewhere, and those that the limit does not spare
            let not_elsewhere = victims.at_least.saturating_sub(everywhere - at_most);
            CountRange::new(not_elsewhere.max(left.at_least.saturating_sub(beyond)), at_most)
        };
        let hits = by_key
            .into_iter()
            .map(|(key, left)| EstimatedHit { key: key.to_owned(), victims: picked(left) })
            .filter(|hit| !hit.victims.is_none())
            .collect();
        Hits::of(hits, folded.capped(victims.at_most), victims)
    }
}

impl Hits {
    /// Lists the most, and counts the rest together with those whose group is not known.
    fn of(mut hits: Vec<EstimatedHit>, folded: CountRange, victims: CountRange) -> Self {
        // stable: the alphabet is kept
        hits.sort_by_key(|hit| std::cmp::Reverse((hit.victims.at_most, hit.victims.at_least)));
        let rest = hits.split_off(hits.len().min(MOST_HITS));
        let rest = rest.into_iter().map(|hit| hit.victims).chain([folded]).sum::<CountRange>();
        let rest = rest.capped(victims.at_most);
        if !rest.is_none() {
            hits.push(EstimatedHit { key: OTHERS.to_owned(), victims: rest });
        }
        Self { uncertain: hits.iter().any(|hit| !hit.victims.is_exact()), hits }
    }
}
