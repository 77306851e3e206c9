//! What an estimate says in words: what would have happened, and why numbers are ranges.

use std::collections::BTreeSet;

use crate::mitigate::estimate::bounds::Bounds;
use crate::mitigate::estimate::tables::Table;
use crate::mitigate::estimate::victims::Hits;
use crate::model::breakdown::Dimension;
use crate::model::estimate::{CountRange, EstimatedHit};
use crate::model::plan::ActionKind;
use crate::model::printable::{excerpt, with_commas};
use crate::model::snapshot::Coverage;

/// How many applications the expected effect names.
const NAMED: usize = 3;

/// Who stays, and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Staying {
    pub(super) matched: CountRange,
    pub(super) protected: CountRange,
    pub(super) kept: CountRange,
}

/// Says what would have been done to whom.
pub(super) fn expected_effect(
    cluster: &str,
    action: ActionKind,
    total: u64,
    victims: CountRange,
    applications: &[EstimatedHit],
    staying: Staying,
) -> String {
    let of_all = format!("{} connections of cluster `{}`", with_commas(total), excerpt(cluster));
    let Staying { matched, protected, kept } = staying;
    let reasons = [(protected, "protected"), (kept, "kept as a minimum")];
    let why: Vec<String> = reasons
        .into_iter()
        .filter(|(count, _)| !count.is_none())
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    let why = if why.is_empty() { String::new() } else { format!(", {}", why.join(", ")) };
    if victims.is_none() {
        return format!("nothing would have been done to the {of_all}: {matched} were meant{why}");
    }
    let done = match action {
        ActionKind::Kick => "would have been cut",
        ActionKind::Drain => "would have been asked to leave, and cut if they stayed",
    };
    let mut who: Vec<String> = applications
        .iter()
        .take(NAMED)
        .map(|hit| format!("{} of `{}`", hit.victims, excerpt(&hit.key)))
        .collect();
    let rest: CountRange = applications.iter().skip(NAMED).map(|hit| hit.victims).sum();
    let rest = rest.capped(victims.at_most);
    if !rest.is_none() {
        who.push(format!("{rest} of others"));
    }
    format!("{victims} of {of_all} {done}: {}; {matched} were meant{why}", who.join(", "))
}

/// What has to be known to say why numbers are ranges.
#[derive(Debug)]
pub(super) struct Doubts<'n, 't, 'a> {
    pub(super) tables: &'t [Table<'a>],
    pub(super) matched: &'n Bounds<'t, 'a>,
    pub(super) free: &'n Bounds<'t, 'a>,
    /// The dimensions of the blast radius, with what was counted of each.
    pub(super) hits: &'n [(Dimension, Hits)],
    pub(super) is_capped: bool,
    pub(super) keeps: bool,
    /// Whether the selector asks for figures, and they are not known in each group.
    pub(super) has_vague_figures: bool,
    pub(super) coverage: &'n Coverage,
}

impl Doubts<'_, '_, '_> {
    /// Says why numbers are ranges, and what else a look at the connections would have told.
    pub(super) fn notes(&self) -> Vec<String> {
        let minded = |bounds: &Bounds<'_, '_>| -> Vec<Dimension> {
            Dimension::ALL.into_iter().filter(|dimension| bounds.minds(*dimension)).collect()
        };
        let is_certain = self.matched.all().is_exact() && self.free.all().is_exact();
        // whoever is not counted in one breakdown has to be found out by two
        let mind = minded(if self.matched.all().is_exact() { self.free } else { self.matched });
        let uncertain: Vec<Dimension> =
            self.hits.iter().filter(|(_, hits)| hits.uncertain).map(|(dimension, _)| *dimension).collect();
        let doubted: Vec<Dimension> = match is_certain {
            true => uncertain.clone(),
            false => mind.iter().chain(&uncertain).copied().collect(),
        };
        let all: Vec<Dimension> = if is_certain { minded(self.free) } else { mind };
        let mut notes = self.not_crossed(&doubted, &all);
        notes.extend(self.folded(&doubted.iter().chain(&all).copied().collect()));
        notes.extend(self.ambiguous(&doubted));
        if !is_certain && self.has_vague_figures {
            notes.push(
                "how old, idle or busy single connections are is known as far as the sums of their groups say"
                    .to_owned(),
            );
        }
        if !uncertain.is_empty() && self.is_capped {
            notes.push("which of those that are meant go first is known of connections only".to_owned());
        }
        if self.keeps && uncertain.iter().any(|dimension| *dimension != Dimension::Application) {
            notes.push("which connections stay as a minimum is known of connections only".to_owned());
        }
        notes.extend(self.unknown());
        notes
    }

    /// The dimensions that no breakdown has together: one line for all that one of them is not crossed with.
    fn not_crossed(&self, some: &[Dimension], others: &[Dimension]) -> Vec<String> {
        let crossed = |one: Dimension, other: Dimension| {
            self.tables.iter().any(|table| table.slot(one).is_some() && table.slot(other).is_some())
        };
        let pairs = some.iter().flat_map(|one| others.iter().map(|other| (*one, *other)));
        let mut pairs: BTreeSet<(Dimension, Dimension)> = pairs
            .filter(|(one, other)| one != other && !crossed(*one, *other))
            .map(|(one, other)| (one.min(other), one.max(other)))
            .collect();
        let mut lines = Vec::new();
        let has =
            |pair: &(Dimension, Dimension), dimension: Dimension| pair.0 == dimension || pair.1 == dimension;
        while let Some(most) = Dimension::ALL
            .into_iter()
            .rev()
            .max_by_key(|dimension| pairs.iter().filter(|pair| has(pair, *dimension)).count())
            .filter(|_| !pairs.is_empty())
        {
            let theirs: Vec<(Dimension, Dimension)> =
                pairs.iter().copied().filter(|pair| has(pair, most)).collect();
            let partners: Vec<&str> =
                theirs.iter().map(|(one, other)| plural(if *one == most { *other } else { *one })).collect();
            lines.push(format!("{} are not crossed with {} in this look", plural(most), partners.join(", ")));
            pairs.retain(|pair| !has(pair, most));
        }
        lines
    }

    /// What was not counted, and of what not every group was kept.
    fn folded(&self, dimensions: &BTreeSet<Dimension>) -> Vec<String> {
        let uncounted = dimensions
            .iter()
            .filter(|dimension| !self.tables.iter().any(|table| table.dimensions == [**dimension]));
        let uncounted = uncounted.map(|it| format!("{} were not counted in this look", plural(*it)));
        let folded = self.tables.iter().filter(|table| {
            table.folded > 0 && table.dimensions.iter().all(|dimension| dimensions.contains(dimension))
        });
        let folded = folded.map(|table| {
            let groups: Vec<&str> = table.dimensions.iter().map(|dimension| plural(*dimension)).collect();
            format!(
                "of {} connections it is not known to which of the many {} they belong",
                with_commas(table.folded),
                groups.join(" and ")
            )
        });
        uncounted.chain(folded).collect()
    }

    /// The dimensions with values that can be read in several ways, of which some are meant and others are not.
    fn ambiguous(&self, dimensions: &[Dimension]) -> Vec<String> {
        let once: BTreeSet<&Dimension> = dimensions.iter().collect();
        let is_ambiguous = |dimension: &Dimension| {
            let tables = self.tables.iter().filter_map(|table| Some((table, table.slot(*dimension)?)));
            let mut asked =
                tables.flat_map(|(table, slot)| table.cells.iter().map(move |cell| &cell.values[slot]));
            asked.any(|asked| asked.facts.windows(2).any(|pair| pair[0] != pair[1]))
        };
        let told = |dimension| format!("some {} in this look can be read in several ways", plural(dimension));
        once.into_iter().filter(|dimension| is_ambiguous(dimension)).map(|it| told(*it)).collect()
    }

    /// What no stored look tells.
    fn unknown(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let silent = self.coverage.servers.iter().filter(|server| {
            server.seen > 0 && server.vitals.as_ref().and_then(|it| it.system_account.as_ref()).is_none()
        });
        let silent: Vec<&str> = silent.map(|server| server.display_name()).collect();
        if !silent.is_empty() {
            notes.push(format!(
                "which account is the system account of {} is not known: `$SYS` was taken for it",
                excerpt(&silent.join(", "))
            ));
        }
        notes.push(
            "accounts in which authorisation callouts are answered are protected too: they are asked for when a plan is \
             made of a live look"
                .to_owned(),
        );
        notes
    }
}

/// What the values of a dimension are.
fn plural(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Application => "applications",
        Dimension::Name => "names",
        Dimension::Ip => "addresses",
        Dimension::Subnet => "subnets",
        Dimension::Account => "accounts",
        Dimension::User => "users",
        Dimension::Library => "client libraries",
        Dimension::Kind => "kinds of connections",
        Dimension::Server => "servers",
    }
}
