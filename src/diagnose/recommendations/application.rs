//! Mitigation step 4: the application that causes it.

use super::quoting::shell;
use super::{Ground, SHELL, client_code, recommendation, snippet};
use crate::diagnose::words::{counted, list, number, sentence, time};
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::{
    Culprit, Finding, FindingKind, MitigationStep, Recommendation, Snippet, Subject,
};
use crate::model::plan::ActionKind;
use crate::model::printable::{excerpt, percent, with_commas};

/// For how many culprits something is recommended.
const MOST_CULPRITS: usize = 3;

/// The reasons of closed connections of clients that may not come in.
const DENIED: &str = "Authentication Failure";

/// Beyond this share, most are.
const MOSTLY: f64 = 0.5;

/// How many servers are named in a command.
const MOST_SERVERS: usize = 10;

/// The kinds of findings whose cause is an application, the most telling first.
const CAUSES: [FindingKind; 5] = [
    FindingKind::ReconnectStorm,
    FindingKind::Leak,
    FindingKind::ScaleOut,
    FindingKind::IdleHoard,
    FindingKind::SlowConsumers,
];

pub(super) fn recommend(ground: &Ground<'_>, recommendations: &mut Vec<Recommendation>) {
    let causes = || CAUSES.into_iter().flat_map(|kind| ground.of(kind));
    for culprit in ground.culprits.iter().take(MOST_CULPRITS) {
        let subject = Subject::new(culprit.dimension, &culprit.key);
        let own = causes().find(|finding| finding.subject.as_ref() == Some(&subject));
        let cause = own.or_else(|| causes().find(|finding| finding.subject.is_none()));
        if let Some(cause) = cause.or_else(|| causes().next()) {
            recommendations.push(mend(ground, cause.kind, &subject, Some(culprit)));
        }
    }
    // findings about somebody who is no culprit
    for finding in causes() {
        let Some(subject) = &finding.subject else { continue };
        let named =
            ground.culprits.iter().any(|it| it.dimension == subject.dimension && it.key == subject.key);
        if !named && ground.culprits.is_empty() && subject.dimension == Dimension::Application {
            recommendations.push(mend(ground, finding.kind, subject, None));
        }
    }
    recommendations.extend(ground.of(FindingKind::Outlier).filter_map(|finding| outlier(ground, finding)));
    recommendations.extend(ground.of(FindingKind::Unnamed).next().map(|finding| unnamed(ground, finding)));
    recommendations
        .extend(ground.of(FindingKind::SharedAddress).next().map(|finding| shared(ground, finding)));
}

/// What an application that causes trouble has to change.
fn mend(
    ground: &Ground<'_>,
    kind: FindingKind,
    subject: &Subject,
    culprit: Option<&Culprit>,
) -> Recommendation {
    let who = excerpt(&subject.key);
    let whose = culprit.map_or_else(String::new, |culprit| numbers(ground, culprit));
    let word = quoted_word(subject);
    let (title, advice, mut snippets) = match kind {
        FindingKind::ReconnectStorm => {
            let denied = ground.closed_for(DENIED);
            let advice = match denied > 0 {
                true => format!(
                    "{} of the attempts failed because of wrong credentials: give it the right ones, and let it give up \
                     after some. ",
                    with_commas(denied)
                ),
                false => "Find out why its connections end; the reasons are among the evidence. ".to_owned(),
            };
            (
                format!("Let {who} wait longer before it reconnects"),
                format!(
                    "{advice}With a pause that grows and differs from instance to instance the servers have time to let \
                     everybody in. A limit does not end a storm: who is refused tries again."
                ),
                client_code::patience(ground),
            )
        }
        FindingKind::Leak => (
            format!("Let {who} close the connections it opens"),
            "Open one connection when the process starts, share it, and close it when the process ends. The usual places \
             are a connect in a request handler or a loop, and a path of errors that does not close. Starting its \
             instances anew ends what has leaked, until it has leaked again; cutting single connections does not help \
             while the library reconnects."
                .to_owned(),
            Vec::new(),
        ),
        FindingKind::ScaleOut => {
            let each = culprit.and_then(|culprit| per_address(ground, culprit));
            let each = each.map_or_else(String::new, |each| {
                format!("It has about {} connections for each address. ", number(each))
            });
            (
                format!("Ask whether {who} needs so many instances"),
                format!(
                    "{each}If the number of instances is meant, this is the new normal: give it room, and let the alert \
                     begin later. If not, take instances away, or let each of them open one connection."
                ),
                Vec::new(),
            )
        }
        FindingKind::SlowConsumers => (
            format!("Let {who} read faster, or ask for less"),
            "Take messages off the connection at once and work on them elsewhere; share the work in a queue group; \
             subscribe to fewer subjects; use a pull consumer where messages come in bursts."
                .to_owned(),
            Vec::new(),
        ),
        _ => (
            format!("Let {who} close connections it does not use"),
            "They have been idle and never carried a message. A pool that keeps connections for later is not needed: one \
             connection of NATS serves many tasks at a time."
                .to_owned(),
            Vec::new(),
        ),
    };
    snippets.extend(who_it_is(ground, word.is_some()));
    snippets.extend(culprit.and_then(|culprit| plan_it(ground, kind, culprit)));
    recommendation(MitigationStep::Application, title, format!("{whose}{advice}"), snippets)
}

/// How many connections a culprit has, since when, and from where.
fn numbers(ground: &Ground<'_>, culprit: &Culprit) -> String {
    let since =
        culprit.since.map_or_else(String::new, |at| format!(" since {}", time(at, ground.evidence.at)));
    let grown = match culprit.grown_by {
        None | Some(0) => String::new(),
        Some(grown) => format!(", {} of them more{since}", with_commas(grown)),
    };
    let silent = match culprit.without_traffic_share {
        share if share > 0.0 => format!(", {} of them idle and without any message", percent(share)),
        _ => String::new(),
    };
    let addresses: Vec<String> = culprit
        .addresses
        .iter()
        .map(|origin| format!("{} ({})", excerpt(&origin.address), with_commas(origin.connections)))
        .collect();
    let from = if addresses.is_empty() { String::new() } else { format!(", from {}", list(&addresses)) };
    format!("It has {}{grown}{silent}{from}. ", counted(culprit.connections, "connection", "connections"))
}

/// How many connections a culprit has for each of its addresses.
fn per_address(ground: &Ground<'_>, culprit: &Culprit) -> Option<f64> {
    let breakdown = ground.evidence.snapshot.breakdowns.get(&culprit.dimension.into())?;
    let figures = &breakdown.groups.iter().find(|group| group.key == culprit.key)?.figures;
    (figures.distinct_ips > 0).then(|| figures.connections as f64 / figures.distinct_ips as f64)
}

/// Somebody far above their peers.
fn outlier(ground: &Ground<'_>, finding: &Finding) -> Option<Recommendation> {
    let subject = finding.subject.as_ref()?;
    if ground
        .culprits
        .iter()
        .any(|culprit| culprit.dimension == subject.dimension && culprit.key == subject.key)
    {
        return None;
    }
    let who = excerpt(&subject.key);
    Some(recommendation(
        MitigationStep::Application,
        format!("Find out what {} {who} does differently", subject.dimension.name()),
        format!(
            "{} Its peers manage with far fewer: a connection for each request, a pool, or one instance too many is the \
             usual reason.",
            sentence(finding.summary.trim_end_matches('.')) + "."
        ),
        who_it_is(ground, true),
    ))
}

/// Clients that do not say who they are.
fn unnamed(ground: &Ground<'_>, finding: &Finding) -> Recommendation {
    recommendation(
        MitigationStep::Application,
        "Let every client say its name",
        format!(
            "{} With a name, connwarden and every other tool can say who they are. It is one option of the client library.",
            sentence(finding.summary.trim_end_matches('.')) + "."
        ),
        client_code::naming(ground, None),
    )
}

/// Many applications behind one address.
fn shared(ground: &Ground<'_>, finding: &Finding) -> Recommendation {
    recommendation(
        MitigationStep::Application,
        "Tell clients behind one address apart by their names",
        format!(
            "{} Whoever blocks or limits that address hits all of them; names, users or accounts tell them apart.",
            sentence(finding.summary.trim_end_matches('.')) + "."
        ),
        client_code::naming(ground, None),
    )
}

/// The name of an application, if it can be pasted anywhere.
fn quoted_word(subject: &Subject) -> Option<String> {
    shell(&subject.key)
}

/// How to look at who it is, right now.
fn who_it_is(ground: &Ground<'_>, by_application: bool) -> Vec<Snippet> {
    let servers = ground.evidence.snapshot.coverage.servers.iter().take(MOST_SERVERS);
    let urls: Option<Vec<String>> =
        servers.map(|server| shell(server.url.as_ref()?.as_str().trim_end_matches('/'))).collect();
    let Some(urls) = urls.filter(|urls| !urls.is_empty()) else { return Vec::new() };
    let by = if by_application { "application/ip,name,account" } else { "name,ip,account" };
    vec![snippet(SHELL, format!("connwarden inspect --by {by} --top 20 {}", urls.join(" ")))]
}

/// How to see what cutting its useless connections would do: where most of them never carried a message.
fn plan_it(ground: &Ground<'_>, kind: FindingKind, culprit: &Culprit) -> Option<Snippet> {
    let action = match kind {
        // nobody tends what has leaked
        FindingKind::Leak => ActionKind::Kick,
        FindingKind::IdleHoard => ActionKind::Drain,
        _ => return None,
    };
    if culprit.without_traffic_share <= MOSTLY {
        return None;
    }
    let of = |option: &str| Some(format!("--{option}={}", shell(&culprit.key)?));
    let who = match culprit.dimension {
        Dimension::Application | Dimension::Name if culprit.key == culprit.dimension.absent() => {
            "--unnamed".to_owned()
        }
        Dimension::Application | Dimension::Name | Dimension::Ip | Dimension::Account | Dimension::User => {
            of(culprit.dimension.name())?
        }
        _ => return None,
    };
    let (action, incident) = (action.name(), ground.evidence.incident);
    Some(snippet(
        SHELL,
        format!(
            "# shows whom it would hit and what speaks against it, and cuts nobody\n\
             connwarden plan {action} --incident {incident} {who} --no-traffic"
        ),
    ))
}
