//! Estimates: what a plan would have been when a look was taken that is stored.
//!
//! A stored look holds groups, by one dimension or by two, and no connections. Conditions and protections are asked of
//! the values of each dimension (`questions`), by the code that picks victims; of figures it is known as much as the
//! sums of a group tell (`figures`). What all breakdowns say together is a range (`bounds`): what the live plan would
//! have found lies in it, and where it is one number it is that number.
//!
//! Two things no stored look tells: who answers authorisation callouts, and which connections are connwarden's own. The
//! first is said in the notes; the second are of the system account, and counted there.

mod bounds;
mod figures;
mod forecast;
mod holds;
#[cfg(test)]
mod properties;
mod questions;
mod tables;
mod victims;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use self::bounds::Bounds;
use self::figures::FigureQuestions;
use self::forecast::{Outlook, forecast};
use self::questions::{Questions, Share};
use self::tables::Table;
use self::victims::{Hits, Pool};
use self::words::{Doubts, Staying, expected_effect};
use crate::model::breakdown::Dimension;
use crate::model::estimate::{CountRange, Estimate, EstimatedRadius};
use crate::model::guard::GuardSettings;
use crate::model::plan::PlanRequest;
use crate::model::protection::{Protection, ProtectionReason};
use crate::model::snapshot::Snapshot;

/// Says what a plan would have been, had it been made of this look.
pub fn estimate(
    snapshot: &Snapshot,
    request: &PlanRequest,
    settings: &GuardSettings,
    now: Timestamp,
) -> Estimate {
    let conditions = request.selector.conditions();
    let protection = protection(snapshot, settings);
    let questions = Questions::new(conditions, &protection, &snapshot.coverage);
    let figures = FigureQuestions::new(conditions, snapshot);
    let tables = Table::all(snapshot, &questions, &figures);
    let bounds = |share| Bounds::new(&tables, questions.dimensions(share).collect(), share);

    let total = snapshot.breakdowns.values().map(|breakdown| breakdown.total.connections).max().unwrap_or(0);
    let (matched, free) = (bounds(Share::Matched), bounds(Share::Free));
    let pool = Pool::new(&tables, &free, request.limits, total);
    let victims = pool.victims();
    let protected: BTreeMap<ProtectionReason, CountRange> = questions
        .reasons()
        .iter()
        .map(|reason| (*reason, bounds(Share::Protected(*reason)).all()))
        .filter(|(_, count)| !count.is_none())
        .collect();
    let spared: CountRange = protected.values().copied().sum();
    let rest = matched.all().without(free.all());
    let spared = CountRange::new(spared.at_least.max(rest.at_least), spared.at_most.min(rest.at_most));
    let hits = [Dimension::Application, Dimension::Account, Dimension::Ip, Dimension::Server]
        .map(|dimension| (dimension, pool.hits(dimension)));
    let notes = Doubts {
        tables: &tables,
        matched: &matched,
        free: &free,
        hits: &hits,
        is_capped: pool.is_capped(),
        keeps: !pool.kept.is_none(),
        has_vague_figures: figures.asks()
            && tables.iter().flat_map(|table| &table.cells).any(|cell| !cell.figured.is_exact()),
        coverage: &snapshot.coverage,
    }
    .notes();
    let outlook = Outlook { request, coverage: &snapshot.coverage, total, spared, victims };
    let guards = forecast(&outlook, settings);
    let matched = matched.all();
    let blast_radius = radius(hits);
    let staying = Staying { matched, protected: spared, kept: pool.kept };
    Estimate {
        cluster: snapshot.cluster.clone(),
        action: request.action,
        selector: conditions.clone(),
        order: request.order,
        limits: request.limits,
        taken_at: snapshot.taken_at,
        age_ms: age_ms(snapshot.taken_at, now),
        coverage: snapshot.coverage.clone(),
        total,
        matched,
        protected,
        kept: pool.kept,
        victims,
        expected_effect: expected_effect(
            &snapshot.cluster,
            request.action,
            total,
            victims,
            &blast_radius.applications,
            staying,
        ),
        warning: request.action.warning().to_owned(),
        blast_radius,
        guards,
        notes,
    }
}

/// What would never have been a victim, as far as that was kept.
fn protection(snapshot: &Snapshot, settings: &GuardSettings) -> Protection {
    let vitals = snapshot.coverage.servers.iter().filter_map(|server| server.vitals.as_ref());
    Protection {
        settings: settings.protected.clone(),
        system_accounts: vitals.filter_map(|vitals| vitals.system_account.clone()).collect(),
        ..Protection::default()
    }
}

fn radius(hits: [(Dimension, Hits); 4]) -> EstimatedRadius {
    let [(_, applications), (_, accounts), (_, ips), (_, servers)] = hits;
    EstimatedRadius {
        applications: applications.hits,
        accounts: accounts.hits,
        ips: ips.hits,
        servers: servers.hits,
    }
}

fn age_ms(taken_at: Timestamp, now: Timestamp) -> u64 {
    let age: Duration = now.duration_since(taken_at).try_into().unwrap_or_default();
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}
