//! Culprits: who explains the trouble, named only where the evidence singles somebody out.

use crate::diagnose::case::{Case, Suspect};
use crate::diagnose::growth::GroupGrowth;
use crate::diagnose::instances::origins;
use crate::diagnose::text::minutes_ago;
use crate::model::breakdown::{By, Dimension, Group, share};
use crate::model::diagnosis::{Culprit, Finding, FindingKind};
use crate::model::owner::Owner;
use crate::model::printable::{percent, with_commas};

/// Names who explains the trouble that the findings tell of, most first.
pub fn culprits(case: &Case<'_>, findings: &[Finding]) -> Vec<Culprit> {
    let Some(first) = findings.first() else { return Vec::new() };
    let stormers = || case.storm.iter().flat_map(|storm| &storm.behind).filter(|stormer| !stormer.absent);
    let culprits: Vec<Culprit> = match first.kind {
        // a herd has no culprit: everybody came because the server left
        FindingKind::RestartHerd => Vec::new(),
        FindingKind::ReconnectStorm => stormers()
            .map(|stormer| of_storm(case, &stormer.application, stormer.closed, stormer.share))
            .collect(),
        FindingKind::RefusedAtLimit if case.suspects.is_empty() => stormers()
            .map(|stormer| of_storm(case, &stormer.application, stormer.closed, stormer.share))
            .collect(),
        _ if !case.suspects.is_empty() => {
            case.suspects.iter().map(|suspect| of_growth(case, suspect)).collect()
        }
        FindingKind::IdleHoard | FindingKind::SlowConsumers => first
            .subject
            .iter()
            .filter(|subject| subject.dimension == Dimension::Application)
            .filter_map(|subject| holder(case, &subject.key).or_else(|| slow(case, &subject.key)))
            .collect(),
        FindingKind::Outlier => first
            .subject
            .iter()
            .filter_map(|subject| match subject.dimension {
                Dimension::Ip => tenant(case, &subject.key),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    culprits.into_iter().map(told_whose).collect()
}

/// With whom to talk to.
fn told_whose(mut culprit: Culprit) -> Culprit {
    if let Some(owner) = &culprit.owner {
        culprit.summary.push_str(&format!("; it belongs to {}", owner.team));
        if let Some(contact) = &owner.contact {
            culprit.summary.push_str(&format!(" ({contact})"));
        }
    }
    culprit
}

fn open<'a>(case: &'a Case<'_>, application: &str) -> Option<&'a Group> {
    let all = case.evidence.breakdown(Dimension::Application)?;
    all.groups.iter().find(|group| group.key == application)
}

fn of_growth(case: &Case<'_>, suspect: &Suspect) -> Culprit {
    let group = &suspect.group;
    let silent = open(case, &group.key)
        .map_or(0.0, |open| share(open.figures.without_traffic, open.figures.connections));
    let whole = case.growth.as_ref().map_or(0, |growth| growth.grown_by());
    let mut summary = format!(
        "of +{} since {}, {} are {}",
        with_commas(whole),
        minutes_ago(case, suspect.since),
        with_commas(group.grown_by()),
        group.key,
    );
    if let Some(origin) = suspect.origins.first() {
        let more = suspect.addresses.count().saturating_sub(1);
        summary.push_str(&format!(" from {}", origin.address));
        if more > 0 {
            summary.push_str(&format!(" and {} more", with_commas(more)));
        }
    }
    summary.push_str(&format!(", {} without traffic", percent(silent)));
    Culprit {
        grown_by: Some(group.grown_by()),
        explained_share: suspect.share,
        since: Some(suspect.since),
        addresses: suspect.origins.clone(),
        summary,
        ..base(case, &group.key)
    }
}

fn of_storm(case: &Case<'_>, application: &str, closed: u64, part: f64) -> Culprit {
    Culprit {
        grown_by: Some(closed),
        explained_share: part,
        since: case.storm.as_ref().and_then(|storm| storm.since),
        summary: format!(
            "{} of the connections that ended are of {application}, {} of all that the servers remember",
            with_commas(closed),
            percent(part),
        ),
        ..base(case, application)
    }
}

/// Who holds many connections without having grown.
fn holder(case: &Case<'_>, application: &str) -> Option<Culprit> {
    let open = open(case, application)?;
    Some(Culprit {
        explained_share: open.share,
        since: open.figures.oldest_start,
        summary: format!(
            "{application} has {} connections, {} of all",
            with_commas(open.figures.connections),
            percent(open.share),
        ),
        ..base(case, application)
    })
}

/// Who has just been cut off altogether.
fn slow(case: &Case<'_>, application: &str) -> Option<Culprit> {
    let closed = case.evidence.snapshot.closed.as_ref()?;
    let group = closed.applications.iter().find(|group| !group.absent && group.key == application)?;
    let part = share(group.closed, closed.closed);
    Some(Culprit {
        explained_share: part,
        summary: format!(
            "{application} has no connection now: {} of those that ended are of it, {} of all",
            with_commas(group.closed),
            percent(part),
        ),
        ..base(case, application)
    })
}

/// The application that nearly everything from an address is of.
fn tenant(case: &Case<'_>, ip: &str) -> Option<Culprit> {
    let crossed =
        case.evidence.snapshot.breakdowns.get(&By::crossed(Dimension::Application, Dimension::Ip))?;
    let largest = crossed
        .groups
        .iter()
        .filter(|group| !group.absent && group.keys.get(&Dimension::Ip).is_some_and(|key| key == ip))
        .max_by_key(|group| group.figures.connections)?;
    holder(case, largest.keys.get(&Dimension::Application)?)
}

fn base(case: &Case<'_>, application: &str) -> Culprit {
    let open = open(case, application);
    let figures = open.map(|open| &open.figures);
    let group = GroupGrowth {
        key: application.to_owned(),
        absent: open.is_some_and(|open| open.absent),
        before: 0,
        now: figures.map_or(0, |figures| figures.connections),
    };
    Culprit {
        dimension: Dimension::Application,
        key: application.to_owned(),
        label: open.and_then(|open| open.label.clone()),
        connections: group.now,
        grown_by: None,
        explained_share: 0.0,
        since: None,
        without_traffic_share: figures.map_or(0.0, |it| share(it.without_traffic, it.connections)),
        addresses: origins(case.evidence, &group),
        first_seen_at: case
            .evidence
            .first_seen
            .get(&(Dimension::Application, application.to_owned()))
            .map(|seen| seen.at),
        owner: owner_of(case, open, application).cloned(),
        summary: String::new(),
    }
}

/// Who owns an application; else the address that most of it comes from.
fn owner_of<'a>(case: &'a Case<'_>, open: Option<&Group>, application: &str) -> Option<&'a Owner> {
    let owners = &case.evidence.owners;
    let named = open.is_none_or(|open| !open.absent);
    named.then(|| owners.of(Dimension::Application, application)).flatten().or_else(|| {
        let group = GroupGrowth { key: application.to_owned(), absent: !named, before: 0, now: 0 };
        let origin = origins(case.evidence, &group).into_iter().next()?;
        owners.of(Dimension::Ip, &origin.address)
    })
}
