//! Growth that is simply growth: more connections than before, by nobody in particular.

use crate::diagnose::case::Case;
use crate::diagnose::text::minutes_ago;
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity};
use crate::model::printable::{percent, with_commas};

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let growth = case.growth.as_ref().filter(|_| case.suspects.is_empty())?;
    let groups = growth.of(Dimension::Application);
    let grown = groups.iter().filter(|group| group.grown_by() > 0).count();
    let mut summary = format!(
        "{} connections more than at {}, and no single culprit: {grown} of {} applications have grown",
        with_commas(growth.grown_by()),
        minutes_ago(case, growth.since),
        groups.len(),
    );
    if let Some(first) = groups.first() {
        let share = first.grown_by() as f64 / growth.grown_by().max(1) as f64;
        summary.push_str(&format!(
            ", {} most of them with {} of the growth",
            first.key,
            percent(share.min(1.0))
        ));
    }
    let mut evidence = vec![
        Fact::count("before", growth.before, format!("{} before", with_commas(growth.before))),
        Fact::count("now", growth.now, format!("{} now", with_commas(growth.now))),
        Fact::count("grown_applications", grown as u64, format!("{grown} applications have grown")),
    ];
    evidence.extend(groups.iter().take(5).filter(|group| group.grown_by() > 0).map(|group| {
        let text = format!("{}: {} → {}", group.key, with_commas(group.before), with_commas(group.now));
        Fact::count("grown_by", group.grown_by(), text)
    }));
    Some(Finding {
        kind: FindingKind::Growth,
        severity: Severity::Info,
        confidence: 0.8,
        summary,
        subject: None,
        since: Some(growth.since),
        evidence,
        confirm: "Traffic has grown as well, or the same time yesterday looked alike".to_owned(),
        refute: "A shared cause: a common library, proxy or platform was changed at that time".to_owned(),
    })
}
