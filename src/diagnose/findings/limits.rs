//! Limits: a server, or an account, that is full or nearly so.

use std::time::Duration;

use crate::diagnose::case::Case;
use crate::diagnose::servers::{FORESEEN, Server};
use crate::diagnose::text::span;
use crate::diagnose::words::rate;
use crate::model::breakdown::{Dimension, Group, share};
use crate::model::diagnosis::{Fact, Finding, FindingKind, Severity, Subject};
use crate::model::printable::{percent, with_commas};

/// The reasons of closed connections that mean a limit is reached (`ClosedState.String` of nats-server).
const AT_LIMIT: [&str; 2] = ["Maximum Connections Exceeded", "Maximum Account Connections Exceeded"];

/// Fewer refused connections than this may have been one client's bad moment.
const LEAST_REFUSED: u64 = 5;

/// A limit that refused nobody for so long is not reached any more.
const LATELY: Duration = Duration::from_secs(300);

/// From this share of a limit on, it is reached.
const FULL: f64 = 0.98;

/// Clients are turned away because a limit is reached.
pub(super) fn refused(case: &Case<'_>) -> Option<Finding> {
    let closed = case.evidence.snapshot.closed.as_ref()?;
    let at_limit = closed.reasons.iter().filter(|reason| AT_LIMIT.contains(&reason.reason.as_str()));
    let (mut refused, mut of_account) = (0, 0);
    for reason in at_limit {
        refused += reason.connections;
        if reason.reason == AT_LIMIT[1] {
            of_account += reason.connections;
        }
    }
    let lately: u64 = closed
        .per_minute
        .iter()
        .filter(|minute| case.ago(minute.at) <= LATELY)
        .map(|minute| minute.refused)
        .sum();
    if refused < LEAST_REFUSED || lately == 0 {
        return None;
    }
    let full: Vec<_> = fullness(case).filter(|full| full.share >= FULL).collect();
    let whose = if of_account * 2 > refused {
        let account = closed
            .accounts
            .iter()
            .filter(|account| account.refused > 0)
            .max_by_key(|account| account.refused);
        match account {
            Some(account) => format!("account {} is at its limit", account.key),
            None => "an account is at its limit".to_owned(),
        }
    } else {
        match full.as_slice() {
            [] => "a limit of connections is reached".to_owned(),
            [one] => format!(
                "{} is full ({} of {})",
                one.server.name,
                with_commas(one.connections),
                with_commas(one.limit)
            ),
            several => format!("{} servers are full", several.len()),
        }
    };
    let mut evidence = vec![
        Fact::count(
            "refused",
            refused,
            format!("{} connections were refused because of a limit", with_commas(refused)),
        ),
        Fact::count("refused_lately", lately, format!("{} in the last minutes", with_commas(lately))),
    ];
    evidence.extend(full.iter().map(Fullness::fact));
    Some(Finding {
        kind: FindingKind::RefusedAtLimit,
        severity: Severity::Critical,
        confidence: 0.95,
        summary: format!("{whose}: {} connections were refused, {} of them in the last minutes", with_commas(refused), with_commas(lately)),
        subject: full
            .first()
            .map(|full| Subject::new(Dimension::Server, full.server.coverage.display_name())),
        since: None,
        evidence,
        confirm: "The server's log says `maximum connections exceeded` or `maximum account active connections exceeded`"
            .to_owned(),
        refute: "The refusals are old: no more come, and connections are well below the limit".to_owned(),
    })
}

/// Servers and accounts that are close to their limit.
pub(super) fn near(case: &Case<'_>) -> Vec<Finding> {
    let near = fullness(case).filter(|full| full.share >= case.rules.near_limit);
    near.map(|full| near_limit(case, &full)).chain(near_accounts(case)).collect()
}

/// The accounts that are close to their limit.
fn near_accounts(case: &Case<'_>) -> Vec<Finding> {
    let Some(accounts) = case.evidence.breakdown(Dimension::Account) else { return Vec::new() };
    let known = accounts.groups.iter().filter_map(|account| {
        let limit = case.evidence.account_limits.get(&account.key).copied().filter(|limit| *limit > 0)?;
        let part = share(account.figures.connections, limit);
        (part >= case.rules.near_account_limit).then_some((account, limit, part))
    });
    let finding = |(account, limit, part): (&Group, u64, f64)| {
        let name = account.label.as_ref().unwrap_or(&account.key);
        let connections = account.figures.connections;
        let left = limit.saturating_sub(connections);
        Finding {
            kind: FindingKind::NearAccountLimit,
            severity: if left == 0 { Severity::Critical } else { Severity::Warning },
            confidence: 0.95,
            summary: format!(
                "account {name} has {} of the {} connections it may have in the whole cluster ({})",
                with_commas(connections),
                with_commas(limit),
                percent(part),
            ),
            subject: Some(Subject::new(Dimension::Account, &account.key)),
            since: None,
            evidence: vec![
                Fact::new(
                    "limit_share",
                    part,
                    format!("{} of {}", with_commas(connections), with_commas(limit)),
                ),
                Fact::count("left", left, format!("{} connections are left", with_commas(left))),
            ],
            confirm: "The account's limit in the servers' configuration, or in its JWT, says so".to_owned(),
            refute: "The limit was raised since, or the limit that is configured here is out of date"
                .to_owned(),
        }
    };
    known.map(finding).collect()
}

/// How full a server is.
struct Fullness<'a> {
    server: Server<'a>,
    connections: u64,
    limit: u64,
    share: f64,
}

impl Fullness<'_> {
    fn fact(&self) -> Fact {
        let text = format!(
            "{}: {} of {} ({})",
            self.server.name,
            with_commas(self.connections),
            with_commas(self.limit),
            percent(self.share),
        );
        Fact::new("limit_share", self.share, text)
    }
}

/// How full each server is that lets somebody in, but not everybody, as far as it says so.
fn fullness<'a>(case: &'a Case<'_>) -> impl Iterator<Item = Fullness<'a>> {
    Server::all(&case.evidence.snapshot).into_iter().filter_map(|server| {
        let limit = server.limit().clients().filter(|limit| *limit > 0)?;
        let connections = server.clients()?;
        Some(Fullness { connections, limit, share: share(connections, limit), server })
    })
}

fn near_limit(case: &Case<'_>, full: &Fullness<'_>) -> Finding {
    let name = &full.server.name;
    let left = full.limit.saturating_sub(full.connections);
    let mut evidence =
        vec![full.fact(), Fact::count("left", left, format!("{} connections are left", with_commas(left)))];
    let mut summary = format!(
        "{name} has {} of the {} connections it may have ({})",
        with_commas(full.connections),
        with_commas(full.limit),
        percent(full.share),
    );
    // as the step of the configuration foresees it
    let capacity = full.server.capacity(full.limit);
    let full_in = full.server.full_in(case.evidence, capacity).filter(|full_in| *full_in < FORESEEN);
    if let Some((full_in, (per_minute, _))) = full_in.zip(full.server.growth(case.evidence)) {
        let text = format!("full in {} if it goes on growing by {}", span(full_in), rate(per_minute));
        summary.push_str(": ");
        summary.push_str(&text);
        evidence.push(Fact::new("seconds_to_full", full_in.as_secs_f64(), text));
    }
    Finding {
        kind: FindingKind::NearLimit,
        severity: if full.share >= 0.95 { Severity::Critical } else { Severity::Warning },
        confidence: 0.95,
        summary,
        subject: Some(Subject::new(Dimension::Server, full.server.coverage.display_name())),
        since: None,
        evidence,
        confirm: "`max_connections` of /varz and its `connections` say so".to_owned(),
        refute: "The limit was raised since".to_owned(),
    }
}
