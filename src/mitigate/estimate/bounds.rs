//! Bounds: how many connections belong to a share, where each table knows of some dimensions only.
//!
//! There are no more than any table allows. There are no fewer than one table is sure of, less those that another table
//! says might be outside: of each dimension that the first does not have, the table counts that knows most of it. Where
//! one table has all dimensions that are asked about, both are the same number.

use crate::mitigate::estimate::holds::Holds;
use crate::mitigate::estimate::questions::Share;
use crate::mitigate::estimate::tables::{Asked, Table};
use crate::model::breakdown::Dimension;
use crate::model::estimate::CountRange;

/// A group whose part in a share is asked for: a key of a dimension.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) dimension: Dimension,
    pub(super) key: &'a str,
    /// Whether it is the group without a value.
    pub(super) absent: bool,
}

/// The share that is asked about, held against every group of every table.
#[derive(Debug)]
pub(super) struct Bounds<'t, 'a> {
    tables: &'t [Table<'a>],
    /// The dimensions by which the share is told.
    asked: Vec<Dimension>,
    /// Whether each group has its connections, by each dimension of its table.
    held: Vec<Vec<[Holds; 2]>>,
    /// What each table counts where no group is asked for.
    whole: Vec<Counted>,
}

/// What is to be avoided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// That a dimension, in this column, does not hold.
    Column(usize),
    /// That the figures do not.
    Figures,
}

const MISSING: [Missing; 3] = [Missing::Column(0), Missing::Column(1), Missing::Figures];

/// The columns of a table that are known to hold, as a set of bits.
type Columns = usize;

/// Two ways to reckon: with the figures in each table, or with the figures as one dimension more.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    figured: u64,
    all: u64,
}

impl Sums {
    fn add(&mut self, figured: u64, all: u64) {
        self.figured = self.figured.saturating_add(figured);
        self.all = self.all.saturating_add(all);
    }

    fn min(self, other: Self) -> Self {
        Self { figured: self.figured.min(other.figured), all: self.all.min(other.all) }
    }
}

/// What a table says of a share.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    /// There are no more.
    most: u64,
    /// There are no fewer by its own dimensions.
    sure: Sums,
    /// Those that may be missing something, by what that is and by what is known to hold of them.
    missing: [[Sums; 4]; 3],
}

impl<'t, 'a> Bounds<'t, 'a> {
    pub(super) fn new(tables: &'t [Table<'a>], asked: Vec<Dimension>, share: Share) -> Self {
        let hold = |table: &Table<'a>, slot: usize, asked: &Asked<'a>| {
            share.holds(table.dimensions[slot], &asked.facts)
        };
        let held: Vec<Vec<[Holds; 2]>> = tables
            .iter()
            .map(|table| {
                let held = |slot: usize, values: &[Asked<'a>]| {
                    values.get(slot).map_or(Holds::Yes, |value| hold(table, slot, value))
                };
                table.cells.iter().map(|cell| [held(0, &cell.values), held(1, &cell.values)]).collect()
            })
            .collect();
        let mut bounds = Self { tables, asked, held, whole: Vec::new() };
        bounds.whole = (0..tables.len())
            .map(|at| {
                let all = 0..tables[at].cells.len();
                bounds.count(at, all.map(|cell| (cell, bounds.held[at][cell])), tables[at].folded)
            })
            .collect();
        bounds
    }

    /// How many connections the share has.
    pub(super) fn all(&self) -> CountRange {
        self.range(&[], &self.whole)
    }

    /// How many of its connections are in a group, or in one of two dimensions crossed. Of those that are folded as
    /// many may be too as the group may lack.
    pub(super) fn within(&self, places: &[Place<'_>], undercount: u64) -> CountRange {
        let counted: Vec<Counted> =
            (0..self.tables.len()).map(|at| self.count_within(at, places, undercount)).collect();
        self.range(places, &counted)
    }

    /// Whether there are connections that may not belong to the share because of a dimension.
    pub(super) fn minds(&self, dimension: Dimension) -> bool {
        let doubts =
            |(table, whole): (&Table<'a>, &Counted)| Some(whole.missing[table.slot(dimension)?][0].all > 0);
        let mut told = self.tables.iter().zip(&self.whole).filter_map(doubts).peekable();
        // what was not counted is not known of anybody
        self.asked.contains(&dimension) && (told.peek().is_none() || told.any(|doubts| doubts))
    }

    fn count_within(&self, at: usize, places: &[Place<'_>], undercount: u64) -> Counted {
        let table = &self.tables[at];
        let here: Vec<(usize, &Place<'_>)> =
            places.iter().filter_map(|place| Some((table.slot(place.dimension)?, place))).collect();
        let cells = here.iter().map(|(slot, place)| table.places(*slot, place.key));
        let Some(cells) = cells.min_by_key(|cells| cells.len()) else { return self.whole[at] };
        let narrowed = |cell: usize| {
            let mut held = self.held[at][cell];
            for (slot, place) in &here {
                let value = table.cells[cell].values[*slot].value;
                let fits = match value.absent {
                    _ if value.key != place.key => Holds::No,
                    None => Holds::Maybe,
                    Some(absent) if absent == place.absent => Holds::Yes,
                    Some(_) => Holds::No,
                };
                held[*slot] = held[*slot].and(fits);
            }
            (cell, held)
        };
        // who is asked for by all there is to know of them in this table
        let folded = if table.dimensions.len() == here.len() && places.len() == here.len() {
            table.folded.min(undercount)
        } else {
            table.folded
        };
        self.count(at, cells.iter().map(|cell| narrowed(*cell)), folded)
    }

    fn count(&self, at: usize, cells: impl Iterator<Item = (usize, [Holds; 2])>, folded: u64) -> Counted {
        let table = &self.tables[at];
        let mut counted = Counted::default();
        let folded_figured = table.folded_figured.capped(folded);
        counted.most = folded_figured.at_most;
        for (place, missing) in MISSING.into_iter().enumerate() {
            for sums in &mut counted.missing[place] {
                match missing {
                    Missing::Column(_) => sums.add(folded_figured.at_most, folded),
                    Missing::Figures => sums.add(0, folded),
                }
            }
        }
        for (cell, held) in cells {
            let (figured, all) = (table.cells[cell].figured, table.cells[cell].connections);
            let together = held[0].and(held[1]);
            if together != Holds::No {
                counted.most = counted.most.saturating_add(figured.at_most);
            }
            if together == Holds::Yes {
                counted.sure.add(figured.at_least, all);
            }
            for (place, missing) in MISSING.into_iter().enumerate() {
                for (columns, sums) in counted.missing[place].iter_mut().enumerate() {
                    let known_to_hold = |slot: usize| columns & (1 << slot) != 0;
                    if (0..2).any(|slot| known_to_hold(slot) && held[slot] == Holds::No) {
                        continue;
                    }
                    match missing {
                        Missing::Column(slot) if held[slot] == Holds::Yes => {}
                        Missing::Column(_) => sums.add(figured.at_most, all),
                        Missing::Figures => sums.add(0, all - figured.at_least),
                    }
                }
            }
        }
        counted
    }

    fn range(&self, places: &[Place<'_>], counted: &[Counted]) -> CountRange {
        let most = counted.iter().map(|counted| counted.most).min().unwrap_or(0);
        let is_base = |table: &Table<'a>| places.iter().all(|place| table.slot(place.dimension).is_some());
        let bases = (0..self.tables.len()).filter(|at| is_base(&self.tables[*at]));
        let least = bases.map(|base| self.sure_of(base, counted)).max().unwrap_or(0);
        CountRange::new(least, most)
    }

    /// How many there are at least, by one table and what the others say of the dimensions that it lacks.
    fn sure_of(&self, base: usize, counted: &[Counted]) -> u64 {
        let base_dimensions = &self.tables[base].dimensions;
        let lacking = self.asked.iter().filter(|dimension| !base_dimensions.contains(dimension));
        let mut outside = Sums::default();
        for dimension in lacking {
            let known = (0..self.tables.len()).filter_map(|at| {
                let slot = self.tables[at].slot(*dimension)?;
                Some(counted[at].missing[slot][self.shared(at, base_dimensions)])
            });
            let Some(fewest) = known.reduce(Sums::min) else { return 0 };
            outside.add(fewest.figured, fewest.all);
        }
        let without_figures = (0..self.tables.len())
            .map(|at| counted[at].missing[2][self.shared(at, base_dimensions)].all)
            .min()
            .unwrap_or(0);
        let Sums { figured, all } = counted[base].sure;
        let apart = all.saturating_sub(outside.all).saturating_sub(without_figures);
        figured.saturating_sub(outside.figured).max(apart)
    }

    /// The columns of a table that are dimensions of another one.
    fn shared(&self, at: usize, dimensions: &[Dimension]) -> Columns {
        let columns = self.tables[at].dimensions.iter().enumerate();
        columns.filter(|(_, it)| dimensions.contains(it)).map(|(slot, _)| 1 << slot).sum()
    }
}
