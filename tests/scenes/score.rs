//! What the runs come to: the confusion table, precision and recall, and whether that is good enough.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

/// In how many runs the first finding must be right, in percent.
const TOP_TARGET: f64 = 95.0;
/// How many of those named must be culprits, and how many culprits must be named, in percent.
const CULPRIT_TARGET: f64 = 98.0;

/// Dimension and key.
pub type Culprit = (String, String);

/// What a diagnosis must say.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    /// The kinds that are right for the first finding.
    pub top: Vec<String>,
    /// Who must be named.
    pub culprits: BTreeSet<Culprit>,
    /// Who may be named as well.
    pub tolerated: BTreeSet<Culprit>,
}

/// What came of one run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub run: String,
    /// What the servers did not show although the scene is about it.
    pub not_happened: Vec<String>,
    /// Whether the daemon made a diagnosis.
    pub diagnosed: bool,
    pub expectation: Expectation,
    /// The kind of the first finding; `none` if there is none, and something else if there is no diagnosis.
    pub top: String,
    /// All that are named.
    pub named: BTreeSet<Culprit>,
    /// From the webhook to the finished diagnosis.
    pub took: Duration,
    /// What the servers showed, in some lines.
    pub report: String,
}

impl Outcome {
    /// Whether the first finding is right.
    pub fn is_top_right(&self) -> bool {
        self.diagnosed && self.expectation.top.contains(&self.top)
    }

    /// Those named of whom it matters whether they are right: in the dimensions of those expected, or in any if nobody
    /// is.
    fn judged(&self) -> impl Iterator<Item = &Culprit> {
        let expected = &self.expectation.culprits;
        let dimensions: BTreeSet<_> = expected.iter().map(|(dimension, _)| dimension).collect();
        self.named.iter().filter(move |culprit| {
            let tolerated = self.expectation.tolerated.contains(culprit);
            !tolerated && (dimensions.is_empty() || dimensions.contains(&culprit.0))
        })
    }

    fn found(&self) -> usize {
        self.expectation.culprits.intersection(&self.named).count()
    }

    fn wrongly_named(&self) -> usize {
        self.judged().filter(|culprit| !self.expectation.culprits.contains(culprit)).count()
    }

    fn missed(&self) -> usize {
        self.expectation.culprits.len() - self.found()
    }

    /// Whether everything is right.
    pub fn is_right(&self) -> bool {
        self.not_happened.is_empty() && self.is_top_right() && self.wrongly_named() == 0 && self.missed() == 0
    }

    /// One line about the run.
    pub fn line(&self) -> String {
        let verdict = match self {
            _ if !self.not_happened.is_empty() => format!("DID NOT HAPPEN: {}", self.not_happened.join("; ")),
            _ if self.is_right() => "right".to_owned(),
            _ if !self.diagnosed => "NOT DIAGNOSED".to_owned(),
            _ => "WRONG".to_owned(),
        };
        format!(
            "{:<42} expected {:<34} got {:<18} culprits {} / {}  {:.2} s  {verdict}",
            self.run,
            self.expectation.top.join("|"),
            self.top,
            listed(&self.expectation.culprits),
            listed(&self.named),
            self.took.as_secs_f64(),
        )
    }
}

fn listed(culprits: &BTreeSet<Culprit>) -> String {
    if culprits.is_empty() {
        return "-".to_owned();
    }
    let all = culprits.iter().map(|(dimension, key)| match dimension.as_str() {
        "application" => key.clone(),
        _ => format!("{dimension}={key}"),
    });
    all.collect::<Vec<_>>().join("+")
}

/// All runs together.
#[derive(Debug, Default)]
pub struct Score(pub Vec<Outcome>);

impl Score {
    /// How often which kind was found first where which was expected.
    pub fn confusion(&self) -> String {
        let mut cells = BTreeMap::<(&str, &str), usize>::new();
        for outcome in &self.0 {
            // where several kinds are right, the one that was found is no confusion
            let expected = if outcome.is_top_right() { &outcome.top } else { &outcome.expectation.top[0] };
            *cells.entry((expected, &outcome.top)).or_default() += 1;
        }
        let rows: BTreeSet<_> = cells.keys().map(|(expected, _)| *expected).collect();
        let columns: BTreeSet<_> = cells.keys().map(|(_, got)| *got).collect();
        let width = rows.iter().chain(&columns).map(|kind| kind.len()).max().unwrap_or_default() + 2;
        let mut table = format!("{:<width$}", "expected \\ got");
        for column in &columns {
            write!(table, "{column:>width$}").expect("a string takes any text");
        }
        for row in rows {
            write!(table, "\n{row:<width$}").expect("a string takes any text");
            for &column in &columns {
                let count = cells.get(&(row, column)).map_or_else(|| "·".to_owned(), usize::to_string);
                write!(table, "{count:>width$}").expect("a string takes any text");
            }
        }
        table
    }

    /// How long the diagnoses took: the median and the longest.
    pub fn durations(&self) -> String {
        let mut all: Vec<_> = self.0.iter().map(|outcome| outcome.took.as_secs_f64()).collect();
        all.sort_by(f64::total_cmp);
        let median = all.get(all.len() / 2).copied().unwrap_or_default();
        let longest = all.last().copied().unwrap_or_default();
        format!("from the webhook to the finished diagnosis: median {median:.2} s, longest {longest:.2} s")
    }

    fn top_right(&self) -> f64 {
        percent(self.0.iter().filter(|outcome| outcome.is_top_right()).count(), self.0.len())
    }

    fn precision(&self) -> f64 {
        let (found, wrong) = (self.sum(Outcome::found), self.sum(Outcome::wrongly_named));
        percent(found, found + wrong)
    }

    fn recall(&self) -> f64 {
        let (found, missed) = (self.sum(Outcome::found), self.sum(Outcome::missed));
        percent(found, found + missed)
    }

    /// Those named where nobody is behind it.
    fn false_culprits(&self) -> usize {
        let without = self.0.iter().filter(|outcome| outcome.expectation.culprits.is_empty());
        without.map(Outcome::wrongly_named).sum()
    }

    fn sum(&self, figure: impl Fn(&Outcome) -> usize) -> usize {
        self.0.iter().map(figure).sum()
    }

    /// The last line.
    pub fn line(&self) -> String {
        format!(
            "scenes: {} runs, top finding right {:.1} %, culprit precision {:.1} %, recall {:.1} %, false culprits {}",
            self.0.len(),
            self.top_right(),
            self.precision(),
            self.recall(),
            self.false_culprits(),
        )
    }

    /// Whether every scene happened.
    pub fn happened(&self) -> bool {
        self.0.iter().all(|outcome| outcome.not_happened.is_empty())
    }

    /// Whether it is good enough.
    pub fn is_met(&self) -> bool {
        !self.0.is_empty()
            && self.happened()
            && self.top_right() >= TOP_TARGET
            && self.precision() >= CULPRIT_TARGET
            && self.recall() >= CULPRIT_TARGET
            && self.false_culprits() == 0
    }
}

/// Nothing of nothing is everything.
fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 100.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn culprits(applications: &[&str]) -> BTreeSet<Culprit> {
        applications.iter().map(|key| ("application".to_owned(), (*key).to_owned())).collect()
    }

    fn outcome(top: (&str, &str), expected: &[&str], named: &[&str]) -> Outcome {
        let expectation = Expectation {
            top: vec![top.0.to_owned()],
            culprits: culprits(expected),
            tolerated: BTreeSet::new(),
        };
        Outcome {
            diagnosed: true,
            expectation,
            top: top.1.to_owned(),
            named: culprits(named),
            ..Outcome::default()
        }
    }

    #[test]
    fn the_last_line_counts_what_was_named_and_what_was_not() {
        let score = Score(vec![
            outcome(("leak", "leak"), &["orders"], &["orders"]),
            outcome(("leak", "growth"), &["orders", "billing"], &["orders", "carts"]),
            outcome(("growth", "growth"), &[], &["orders"]),
            outcome(("growth", "growth"), &[], &[]),
        ]);

        let wanted = "scenes: 4 runs, top finding right 75.0 %, culprit precision 50.0 %, recall 66.7 %, false culprits 1";
        assert_eq!(score.line(), wanted);
        assert!(!score.is_met());
        assert_eq!(
            score.confusion().lines().map(|line| line.split_whitespace().collect()).collect::<Vec<Vec<_>>>(),
            [
                vec!["expected", "\\", "got", "growth", "leak"],
                vec!["growth", "2", "·"],
                vec!["leak", "1", "1"],
            ],
        );
    }

    #[test]
    fn an_address_counts_only_where_an_address_is_asked_for_or_nobody_is() {
        let ip = ("ip".to_owned(), "127.0.0.9".to_owned());
        let mut with = outcome(("leak", "leak"), &["orders"], &["orders"]);
        with.named.insert(ip.clone());
        let mut without = outcome(("growth", "growth"), &[], &[]);
        without.named.insert(ip.clone());

        assert!(with.is_right());
        assert_eq!(Score(vec![with, without.clone()]).false_culprits(), 1);
        without.expectation.tolerated.insert(ip);
        assert!(Score(vec![without]).is_met());
    }

    #[test]
    fn what_did_not_happen_or_was_not_diagnosed_meets_no_target() {
        let right = outcome(("leak", "leak"), &["orders"], &["orders"]);
        let missing = Outcome { not_happened: vec!["grew by 3".to_owned()], ..right.clone() };
        let silent = Outcome { diagnosed: false, ..right.clone() };

        assert!(Score(vec![right]).is_met());
        assert!(!Score(vec![missing]).is_met());
        assert!(!Score(vec![silent]).is_met());
        assert!(!Score(Vec::new()).is_met());
    }
}
