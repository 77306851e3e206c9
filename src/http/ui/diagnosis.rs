//! A diagnosis as the page of an incident shows it: numbers written out, what is bad said in words.

use jiff::Timestamp;

use crate::http::ui::layout::Moment;
use crate::model::closed::{ClosedConnections, ClosedGroup};
use crate::model::diagnosis::{
    Culprit, Diagnosis, Finding, Recommendation, Severity, Snippet, Step, StepStatus,
};
use crate::model::incident::IncidentState;
use crate::model::precedent::{CulpritHistory, SimilarIncident};
use crate::model::printable::{percent, span, with_commas};

/// How many findings are shown at first.
const TOP_FINDINGS: usize = 3;

/// How many groups of closed connections are shown.
const TOP_CLOSED: usize = 5;

/// What the evidence of an incident says.
pub(super) struct DiagnosisView {
    pub(super) made: Moment,
    pub(super) headline: String,
    pub(super) top: Vec<FindingCard>,
    /// The findings that are folded away at first.
    pub(super) rest: Vec<FindingCard>,
    pub(super) culprits: Vec<CulpritRow>,
    pub(super) steps: Vec<StepRow>,
    pub(super) recommendations: Vec<Advice>,
}

/// A finding.
pub(super) struct FindingCard {
    pub(super) title: &'static str,
    pub(super) severity: &'static str,
    pub(super) severity_class: &'static str,
    pub(super) confidence: String,
    /// Whom it is about: of which dimension, and who.
    pub(super) subject: Option<(&'static str, String)>,
    pub(super) since: Option<Moment>,
    pub(super) summary: String,
    pub(super) evidence: Vec<String>,
    pub(super) confirm: String,
    pub(super) refute: String,
}

/// Who explains the trouble.
pub(super) struct CulpritRow {
    pub(super) dimension: &'static str,
    pub(super) key: String,
    /// The key itself, where it has a name.
    pub(super) note: Option<String>,
    pub(super) connections: String,
    pub(super) grown_by: Option<String>,
    pub(super) explained: String,
    pub(super) since: Option<Moment>,
    pub(super) without_traffic: String,
    /// Addresses, each with its number of connections.
    pub(super) addresses: Vec<(String, Option<String>, String)>,
    pub(super) first_seen: Option<Moment>,
    pub(super) summary: String,
    /// Of how many other incidents it was a culprit, and links to some of them.
    pub(super) others: Option<(String, Vec<OtherLink>)>,
}

/// A link to another incident.
pub(super) struct OtherLink {
    pub(super) href: String,
    pub(super) opened: Moment,
}

/// A step of the runbook.
pub(super) struct StepRow {
    pub(super) title: &'static str,
    pub(super) status: &'static str,
    pub(super) status_class: &'static str,
    pub(super) summary: String,
    pub(super) evidence: Vec<String>,
    pub(super) remarks: Vec<String>,
}

/// Something to do.
pub(super) struct Advice {
    pub(super) step: &'static str,
    pub(super) title: String,
    pub(super) effect: String,
    pub(super) snippets: Vec<SnippetView>,
}

/// Something to copy.
pub(super) struct SnippetView {
    pub(super) place: String,
    pub(super) lines: Vec<String>,
}

/// What the servers remember of connections that ended.
pub(super) struct ClosedView {
    pub(super) summary: String,
    /// Whether any were refused.
    pub(super) any_refused: bool,
    /// Reason, how many, and whether the server refused them.
    pub(super) reasons: Vec<(String, String, bool)>,
    pub(super) groups: Vec<ClosedRow>,
    pub(super) errors: Vec<String>,
}

/// The closed connections of an application.
pub(super) struct ClosedRow {
    pub(super) key: String,
    pub(super) closed: String,
    pub(super) refused: String,
    pub(super) short_lived: String,
    pub(super) top_reason: String,
}

/// An earlier incident that was alike.
pub(super) struct SimilarRow {
    pub(super) href: String,
    pub(super) headline: String,
    pub(super) state: &'static str,
    pub(super) ending: String,
    pub(super) opened: Moment,
    pub(super) alike: Vec<String>,
    /// Who wrote what.
    pub(super) notes: Vec<(String, String)>,
}

impl DiagnosisView {
    pub(super) fn new(diagnosis: Diagnosis, histories: &[CulpritHistory], now: Timestamp) -> Self {
        let mut findings = diagnosis.findings.into_iter().map(|finding| FindingCard::new(finding, now));
        let top = findings.by_ref().take(TOP_FINDINGS).collect();
        Self {
            made: Moment::new(diagnosis.made_at, now),
            headline: diagnosis.headline,
            top,
            rest: findings.collect(),
            culprits: diagnosis
                .culprits
                .into_iter()
                .map(|culprit| CulpritRow::new(culprit, histories, now))
                .collect(),
            steps: diagnosis.steps.into_iter().map(StepRow::new).collect(),
            recommendations: diagnosis.recommendations.into_iter().map(Advice::new).collect(),
        }
    }
}

impl FindingCard {
    fn new(finding: Finding, now: Timestamp) -> Self {
        Self {
            title: finding.kind.title(),
            severity: finding.severity.name(),
            severity_class: match finding.severity {
                Severity::Info => "",
                Severity::Warning => "warn",
                Severity::Critical => "bad",
            },
            confidence: percent(finding.confidence),
            subject: finding.subject.map(|subject| (subject.dimension.title(), subject.key)),
            since: finding.since.map(|since| Moment::new(since, now)),
            summary: finding.summary,
            evidence: finding.evidence.into_iter().map(|fact| fact.text).collect(),
            confirm: finding.confirm,
            refute: finding.refute,
        }
    }
}

impl CulpritRow {
    fn new(culprit: Culprit, histories: &[CulpritHistory], now: Timestamp) -> Self {
        let history = histories
            .iter()
            .find(|history| history.dimension == culprit.dimension && history.key == culprit.key);
        let others = history.map(|history| {
            let count = match history.other_incidents {
                1 => "1 other incident".to_owned(),
                count => format!("{} other incidents", with_commas(count)),
            };
            let links = history.latest.iter().map(|other| OtherLink {
                href: format!("/incidents/{}", other.id),
                opened: Moment::new(other.opened_at, now),
            });
            (count, links.collect())
        });
        let (key, note) = match culprit.label {
            Some(label) => (label, Some(culprit.key)),
            None => (culprit.key, None),
        };
        Self {
            dimension: culprit.dimension.title(),
            key,
            note,
            connections: with_commas(culprit.connections),
            grown_by: culprit.grown_by.map(with_commas),
            explained: percent(culprit.explained_share),
            since: culprit.since.map(|since| Moment::new(since, now)),
            without_traffic: percent(culprit.without_traffic_share),
            addresses: culprit
                .addresses
                .into_iter()
                .map(|origin| (origin.address, origin.name, with_commas(origin.connections)))
                .collect(),
            first_seen: culprit.first_seen_at.map(|at| Moment::new(at, now)),
            summary: culprit.summary,
            others,
        }
    }
}

impl StepRow {
    fn new(step: Step) -> Self {
        Self {
            title: step.step.title(),
            status: step.status.name(),
            status_class: match step.status {
                StepStatus::Ok => "good",
                StepStatus::Finding => "warn",
                StepStatus::Skipped => "",
            },
            summary: step.summary,
            evidence: step
                .evidence
                .into_iter()
                .map(|fact| fact.text)
                .filter(|text| !step.remarks.contains(text))
                .collect(),
            remarks: step.remarks,
        }
    }
}

impl Advice {
    fn new(recommendation: Recommendation) -> Self {
        Self {
            step: recommendation.step.title(),
            title: recommendation.title,
            effect: recommendation.effect,
            snippets: recommendation.snippets.into_iter().map(SnippetView::new).collect(),
        }
    }
}

impl SnippetView {
    fn new(snippet: Snippet) -> Self {
        Self { place: snippet.place, lines: snippet.text.lines().map(str::to_owned).collect() }
    }
}

impl ClosedView {
    pub(super) fn new(closed: ClosedConnections) -> Self {
        Self {
            summary: format!(
                "{} closed connections are remembered, {} of them were refused",
                with_commas(closed.closed),
                with_commas(closed.refused)
            ),
            any_refused: closed.refused > 0,
            reasons: closed
                .reasons
                .into_iter()
                .map(|count| (count.reason, with_commas(count.connections), count.refused))
                .collect(),
            groups: closed.applications.into_iter().take(TOP_CLOSED).map(ClosedRow::new).collect(),
            errors: closed.errors,
        }
    }
}

impl ClosedRow {
    fn new(group: ClosedGroup) -> Self {
        Self {
            key: group.key,
            closed: with_commas(group.closed),
            refused: with_commas(group.refused),
            short_lived: with_commas(group.short_lived),
            top_reason: group.top_reason,
        }
    }
}

impl SimilarRow {
    pub(super) fn new(similar: SimilarIncident, now: Timestamp) -> Self {
        let ending = match (&similar.state, similar.duration_s) {
            (IncidentState::Resolved { resolution, .. }, Some(seconds)) => {
                format!("after {}: {}", span(seconds), resolution.meaning())
            }
            (state, _) => state.meaning().to_owned(),
        };
        let kind = similar.same_kind.map(|kind| format!("also: {}", kind.title()));
        let shared = similar.shared_culprits.into_iter().map(|culprit| format!("also: {}", culprit.key));
        Self {
            href: format!("/incidents/{}", similar.id),
            headline: similar.headline.unwrap_or(similar.alert_name),
            state: similar.state.name(),
            ending,
            opened: Moment::new(similar.opened_at, now),
            alike: kind.into_iter().chain(shared).collect(),
            notes: similar.notes.into_iter().map(|note| (note.actor, note.text)).collect(),
        }
    }
}
