//! Changes: what others tell of, each kept once, and which of them may have to do with an incident.

use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use tracing::info;

use crate::engine::Engine;
use crate::model::change::{Change, ChangeReport, InvalidChange};
use crate::model::ids::ChangeId;
use crate::model::incident::{Incident, IncidentState};
use crate::store::{self, Conn, StoreError};

/// For how long before an incident was opened the changes are shown with it.
pub const BEFORE_INCIDENT: SignedDuration = SignedDuration::from_hours(24);

/// How many changes before an incident was opened are shown with it, and how many since.
const MOST_AROUND: u32 = 50;

/// For how long a report without a time and an id of its own is taken for a repetition of the same words.
const REPETITION: SignedDuration = SignedDuration::from_mins(10);

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It tells of a change that was not known.
    New,
    /// It tells something else of a change that was known.
    Updated,
    /// All of it was known.
    Known,
}

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It says what cannot be.
    #[error(transparent)]
    Invalid(#[from] InvalidChange),
    /// The store failed.
    #[error("the change could not be stored")]
    Store(#[from] StoreError),
}

impl Engine {
    /// Keeps what somebody tells of a change. The same report again is the same change: by its source and foreign id,
    /// else by its content. What is told anew of a known source and id takes the place of what was told before.
    ///
    /// # Errors
    ///
    /// The report says what cannot be.
    #[tracing::instrument(name = "engine.changes.record", skip_all)]
    pub async fn record_change(
        &self,
        report: ChangeReport,
        actor: &str,
    ) -> Result<(Change, Recorded), ChangeError> {
        let now = self.0.clock.now();
        report.check(now)?;
        if let Some(cluster) = &report.cluster {
            self.accept_cluster(cluster)?;
        }
        let digest = digest_of(&report);
        let mut tx = self.0.store.write().await?;
        let known = store::changes::find_by_digest(&mut tx, &digest).await?.filter(|known| {
            let is_named = report.external_id.is_some() || report.at.is_some();
            is_named || now.duration_since(known.received_at).abs() <= REPETITION
        });
        let (change, recorded) = match known {
            None => {
                let usual_at = report.ended_at.map_or(now, |ended_at| ended_at.min(now));
                let change = made_of(report, ChangeId(self.0.clock.new_id()), usual_at, actor);
                store::changes::insert(&mut tx, &change, &digest, now).await?;
                (change, Recorded::New)
            }
            Some(known) => {
                let was = known.change;
                let change = made_of(report, was.id, was.at, &was.author);
                if change == was {
                    return Ok((change, Recorded::Known));
                }
                if change.ended_at.is_some_and(|ended_at| ended_at < change.at) {
                    let reason = format!("is before {}, when it began", change.at);
                    return Err(InvalidChange { field: "ended_at", reason }.into());
                }
                let change = Change { author: actor.to_owned(), ..change };
                store::changes::save(&mut tx, &change).await?;
                (change, Recorded::Updated)
            }
        };
        store::commit(tx).await?;
        info!(change.id = %change.id, actor, "change {} told by {actor} ({recorded:?})", change.id);
        Ok((change, recorded))
    }

    fn accept_cluster(&self, cluster: &str) -> Result<(), InvalidChange> {
        let names: Vec<&str> = self.clusters().map(|targets| targets.name.as_str()).collect();
        if names.contains(&cluster) {
            return Ok(());
        }
        let names = names.join("`, `");
        let reason = format!("no cluster `{cluster}` is configured; leave it out, or give one of `{names}`");
        Err(InvalidChange { field: "cluster", reason })
    }

    /// Lists the changes that may have to do with an incident, oldest first: from a day before it was opened until it
    /// was over, or until now, of its cluster and of none.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn changes_around(
        &self,
        conn: &mut Conn,
        incident: &Incident,
    ) -> Result<Vec<Change>, StoreError> {
        let opened_at = incident.opened_at;
        let from = opened_at.saturating_sub(BEFORE_INCIDENT).unwrap_or(Timestamp::MIN);
        let to = match incident.state {
            IncidentState::Resolved { resolved_at, .. } => resolved_at,
            _ => self.0.clock.now(),
        };
        // what happened at that very moment belongs to it
        let to = to.max(opened_at).saturating_add(SignedDuration::from_micros(1)).unwrap_or(Timestamp::MAX);
        store::changes::list_around(conn, incident.key.cluster(), (from, opened_at, to), MOST_AROUND).await
    }
}

/// The change that a report tells of.
fn made_of(report: ChangeReport, id: ChangeId, usual_at: Timestamp, author: &str) -> Change {
    let ChangeReport { at, ended_at, kind, cluster, application, server, .. } = report;
    let at = at.unwrap_or(usual_at);
    // stored in microseconds
    let whole = |at: Timestamp| Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at);
    Change {
        id,
        at: whole(at),
        ended_at: ended_at.map(whole),
        kind,
        cluster,
        application,
        server,
        title: report.title,
        text: report.text,
        url: report.url,
        tags: report.tags,
        author: author.to_owned(),
        source: report.source,
        external_id: report.external_id,
    }
}

/// Equal for reports of the same change.
fn digest_of(report: &ChangeReport) -> String {
    let source = &report.source;
    // the names before them keep the two kinds apart
    let content = match &report.external_id {
        Some(id) => serde_json::json!(["id", source, id]),
        None => serde_json::json!([
            "content",
            source,
            report.at,
            report.ended_at,
            report.kind,
            report.cluster,
            report.application,
            report.server,
            report.title,
            report.text,
            report.url,
            report.tags,
        ]),
    };
    hexadecimal(&content.to_string())
}

/// Equal for the same parts in the same order.
pub(super) fn digest_of_parts(parts: &[&str]) -> String {
    hexadecimal(&serde_json::json!(["parts", parts]).to_string())
}

fn hexadecimal(content: &str) -> String {
    let digest = digest(&SHA256, content.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_of_the_same_change_by_their_source_and_id_else_by_their_content() {
        let report = |source: &str, id: Option<&str>, title: &str| {
            digest_of(&ChangeReport {
                source: source.to_owned(),
                external_id: id.map(str::to_owned),
                title: title.to_owned(),
                ..ChangeReport::default()
            })
        };
        assert_eq!(report("ci", Some("7"), "a"), report("ci", Some("7"), "b"));
        assert_ne!(report("ci", Some("7"), "a"), report("cd", Some("7"), "a"));
        assert_ne!(report("ci", Some("7"), "a"), report("ci", None, "a"));
        assert_eq!(report("ci", None, "a"), report("ci", None, "a"));
        assert_ne!(report("ci", None, "a"), report("ci", None, "b"));
    }
}
