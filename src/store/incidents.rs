//! Incidents, their state and their key.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::ids::IncidentId;
use crate::model::incident::{Incident, IncidentKey, IncidentState, Resolution};
use crate::model::mapping::MappedBy;
use crate::store::{Conn, StoreError, corrupt, instant, parse};

#[derive(sqlx::FromRow)]
struct Row {
    incident_key: i64,
    incident_id: String,
    cluster: Option<String>,
    mapped_by: Option<String>,
    subject: Option<String>,
    alert_name: String,
    state: String,
    resolution: Option<String>,
    resolved_at: Option<i64>,
    opened_at: i64,
    updated_at: i64,
    headline: Option<String>,
}

impl TryFrom<Row> for Incident {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let key = match row.cluster {
            Some(cluster) => {
                let mapped_by = row.mapped_by.unwrap_or_default();
                IncidentKey::Cluster {
                    cluster,
                    mapped_by: parse("incidents", "mapped_by", &mapped_by, MappedBy::from_name)?,
                    alert_name: row.alert_name,
                }
            }
            None => {
                IncidentKey::Unmapped { subject: row.subject.unwrap_or_default(), alert_name: row.alert_name }
            }
        };
        let state = match (row.state.as_str(), row.resolution, row.resolved_at) {
            ("triggered", None, None) => IncidentState::Triggered,
            ("resolved", Some(resolution), Some(resolved_at)) => IncidentState::Resolved {
                resolution: parse("incidents", "resolution", &resolution, Resolution::from_name)?,
                resolved_at: instant("incidents", "resolved_at", resolved_at)?,
            },
            _ => return Err(corrupt("incidents", "state", row.state)),
        };
        Ok(Self {
            id: parse("incidents", "incident_id", &row.incident_id, |id| id.parse().ok())?,
            key,
            state,
            opened_at: instant("incidents", "opened_at", row.opened_at)?,
            updated_at: instant("incidents", "updated_at", row.updated_at)?,
            headline: row.headline,
        })
    }
}

/// The columns of [`Row`]; every query that reads incidents begins with it.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT incident_key, incident_id, cluster, mapped_by, subject, alert_name, state, resolution,
                    resolved_at, opened_at, updated_at, headline
               FROM incidents ",
            $rest
        )
    };
}

/// Adds a new incident.
///
/// # Errors
///
/// The database refused, also if an unresolved incident of the same identity is there.
#[tracing::instrument(name = "store.incidents.insert", skip_all, fields(incident.id = %incident.id))]
pub async fn insert(conn: &mut Conn, incident: &Incident) -> Result<(), StoreError> {
    let (mapped_by, subject) = match &incident.key {
        IncidentKey::Cluster { mapped_by, .. } => (Some(mapped_by.name()), None),
        IncidentKey::Unmapped { subject, .. } => (None, Some(subject.as_str())),
    };
    let (resolution, resolved_at) = resolved_columns(&incident.state);
    sqlx::query(
        "INSERT INTO incidents
                (incident_id, identity, cluster, mapped_by, subject, alert_name, state, resolution, resolved_at,
                 opened_at, updated_at, headline)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(incident.id.to_string())
    .bind(incident.key.identity())
    .bind(incident.key.cluster())
    .bind(mapped_by)
    .bind(subject)
    .bind(incident.key.alert_name())
    .bind(incident.state.name())
    .bind(resolution)
    .bind(resolved_at)
    .bind(incident.opened_at.as_microsecond())
    .bind(incident.updated_at.as_microsecond())
    .bind(&incident.headline)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes an incident back, provided it is still in the state `was`.
///
/// # Errors
///
/// [`StoreError::Conflict`] if another writer moved it first.
#[tracing::instrument(name = "store.incidents.save", skip_all, fields(incident.id = %incident.id))]
pub async fn save(conn: &mut Conn, incident: &Incident, was: &str) -> Result<(), StoreError> {
    let (resolution, resolved_at) = resolved_columns(&incident.state);
    let done = sqlx::query(
        "UPDATE incidents
            SET state = $1, resolution = $2, resolved_at = $3, updated_at = $4, headline = $5
          WHERE incident_id = $6 AND state = $7",
    )
    .bind(incident.state.name())
    .bind(resolution)
    .bind(resolved_at)
    .bind(incident.updated_at.as_microsecond())
    .bind(&incident.headline)
    .bind(incident.id.to_string())
    .bind(was)
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict("incident")) }
}

fn resolved_columns(state: &IncidentState) -> (Option<&'static str>, Option<i64>) {
    match state {
        IncidentState::Triggered => (None, None),
        IncidentState::Resolved { resolution, resolved_at } => {
            (Some(resolution.name()), Some(resolved_at.as_microsecond()))
        }
    }
}

/// Finds an incident by its id.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.incidents.find", skip_all, fields(incident.id = %id))]
pub async fn find(conn: &mut Conn, id: IncidentId) -> Result<Option<Incident>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as(select!("WHERE incident_id = $1")).bind(id.to_string()).fetch_optional(conn).await?;
    row.map(Incident::try_from).transpose()
}

/// Finds the unresolved incident of a key; there is at most one.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find_unresolved(conn: &mut Conn, key: &IncidentKey) -> Result<Option<Incident>, StoreError> {
    let row: Option<Row> = sqlx::query_as(select!("WHERE identity = $1 AND state <> 'resolved'"))
        .bind(key.identity())
        .fetch_optional(conn)
        .await?;
    row.map(Incident::try_from).transpose()
}

/// Which incidents to list. All conditions hold.
#[derive(Debug, Clone, Default)]
pub struct IncidentFilter {
    /// Of this configured cluster.
    pub cluster: Option<String>,
    /// With this alert name.
    pub alert_name: Option<String>,
    /// In this state, by its name.
    pub state: Option<String>,
    /// Older than the one at this cursor.
    pub before: Option<i64>,
}

/// One page of incidents.
#[derive(Debug)]
pub struct IncidentPage {
    /// The incidents, newest first.
    pub incidents: Vec<Incident>,
    /// Where the next page begins, if there is one.
    pub next: Option<i64>,
}

/// Lists incidents, newest first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.incidents.list", skip_all)]
pub async fn list(conn: &mut Conn, filter: &IncidentFilter, limit: u32) -> Result<IncidentPage, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(select!("WHERE 1 = 1"));
    if let Some(cluster) = &filter.cluster {
        query.push(" AND cluster = ").push_bind(cluster);
    }
    if let Some(alert_name) = &filter.alert_name {
        query.push(" AND alert_name = ").push_bind(alert_name);
    }
    if let Some(state) = &filter.state {
        query.push(" AND state = ").push_bind(state);
    }
    if let Some(before) = filter.before {
        query.push(" AND incident_key < ").push_bind(before);
    }
    query.push(" ORDER BY incident_key DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let mut rows: Vec<Row> = query.build_query_as().fetch_all(conn).await?;

    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.incident_key);
    let incidents = rows.into_iter().map(Incident::try_from).collect::<Result<_, _>>()?;
    Ok(IncidentPage { incidents, next })
}

/// Counts unresolved incidents.
///
/// # Errors
///
/// The database refused.
pub async fn count_unresolved(conn: &mut Conn) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM incidents WHERE state <> 'resolved'")
        .fetch_one(conn)
        .await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Sets what there is to know of an incident in one line, whatever its state.
///
/// # Errors
///
/// The database refused.
pub async fn save_headline(
    conn: &mut Conn,
    id: IncidentId,
    headline: &str,
    updated_at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE incidents
            SET headline = $1, updated_at = $2
          WHERE incident_id = $3",
    )
    .bind(headline)
    .bind(updated_at.as_microsecond())
    .bind(id.to_string())
    .execute(conn)
    .await?;
    Ok(())
}
