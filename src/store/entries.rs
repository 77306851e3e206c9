//! The timeline: entries are added and read, never changed.

use crate::model::entry::{Entry, EntryKind};
use crate::model::ids::IncidentId;
use crate::store::mutations::{Mutation, execute_each};
use crate::store::{Conn, StoreError, instant, parse, portions};

#[derive(sqlx::FromRow)]
struct Row {
    at: i64,
    actor: String,
    kind: String,
    text: String,
    notification_id: Option<String>,
}

impl TryFrom<Row> for Entry {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        Ok(Self {
            at: instant("entries", "at", row.at)?,
            actor: row.actor,
            kind: parse("entries", "kind", &row.kind, EntryKind::from_name)?,
            text: row.text,
            notification: row
                .notification_id
                .map(|id| parse("entries", "notification_id", &id, |id| id.parse().ok()))
                .transpose()?,
        })
    }
}

/// Adds entries to the timeline of an incident, in the order given.
///
/// # Errors
///
/// The database refused.
pub async fn insert(conn: &mut Conn, incident: IncidentId, entries: &[Entry]) -> Result<(), StoreError> {
    let entries: Vec<_> = entries.iter().map(|entry| (incident, entry)).collect();
    execute_each(conn, inserts(&entries)).await
}

/// Makes the statements that add entries to the timelines of several incidents, in the order given; a conflict if one of
/// the incidents is not there.
pub fn inserts<'a>(entries: &'a [(IncidentId, &Entry)]) -> impl Iterator<Item = Mutation> + 'a {
    portions(entries).map(|portion| {
        let statement = portion.statement(
            "INSERT INTO entries (incident_key, at, actor, kind, text, notification_id)
             SELECT *
               FROM (VALUES ",
            "((SELECT incident_key FROM incidents WHERE incident_id = ?), ?, ?, ?, ?, ?)",
            ") AS added WHERE column1 IS NOT NULL",
            |row, (incident, entry)| {
                row.bind(incident.to_string())
                    .bind(entry.at.as_microsecond())
                    .bind(&entry.actor)
                    .bind(entry.kind.name())
                    .bind(&entry.text)
                    .bind(entry.notification.map(|id| id.to_string()));
            },
        );
        Mutation::exactly(portion.len(), "incident", statement)
    })
}

/// Lists the timeline of an incident, oldest first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list(conn: &mut Conn, incident: IncidentId) -> Result<Vec<Entry>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT at, actor, kind, text, notification_id
           FROM entries
          WHERE incident_key = (SELECT incident_key FROM incidents WHERE incident_id = $1)
          ORDER BY entry_key",
    )
    .bind(incident.to_string())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Entry::try_from).collect()
}

/// Lists the last `limit` things that people wrote down about an incident, oldest first: notes, and why somebody ended it.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_notes(conn: &mut Conn, incident: IncidentId, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT at, actor, kind, text, notification_id
           FROM entries
          WHERE incident_key = (SELECT incident_key FROM incidents WHERE incident_id = $1)
            AND (kind = 'note'
                 OR (kind = 'resolved'
                     AND actor = (SELECT resolved_by FROM incidents WHERE incident_id = $1)))
          ORDER BY entry_key DESC
          LIMIT $2",
    )
    .bind(incident.to_string())
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    rows.into_iter().rev().map(Entry::try_from).collect()
}
