//! Incidents, their state and their key.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::ids::IncidentId;
use crate::model::incident::{Acknowledgement, Incident, IncidentKey, IncidentState, Resolution};
use crate::model::mapping::MappedBy;
use crate::model::threshold::Verdict;
use crate::store::mutations::{Mutation, execute_each};
use crate::store::portions::Values;
use crate::store::{Conn, StoreError, corrupt, instant, parse, portions};

#[derive(sqlx::FromRow)]
struct Row {
    incident_key: i64,
    incident_id: String,
    cluster: Option<String>,
    mapped_by: Option<String>,
    subject: Option<String>,
    alert_name: String,
    state: String,
    acknowledged_by: Option<String>,
    acknowledged_at: Option<i64>,
    recovering_since: Option<i64>,
    resolution: Option<String>,
    resolved_at: Option<i64>,
    resolved_by: Option<String>,
    reopened: i64,
    previous_id: Option<String>,
    verdict: Option<String>,
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
        let acknowledgement = match (row.acknowledged_by, row.acknowledged_at) {
            (Some(acknowledged_by), Some(at)) => Some(Acknowledgement {
                acknowledged_by,
                acknowledged_at: instant("incidents", "acknowledged_at", at)?,
            }),
            _ => None,
        };
        let state = match (row.state.as_str(), acknowledgement, row.recovering_since) {
            ("triggered", None, None) => IncidentState::Triggered,
            ("acknowledged", Some(acknowledgement), None) => IncidentState::Acknowledged(acknowledgement),
            ("recovering", acknowledgement, Some(since)) => IncidentState::Recovering {
                recovering_since: instant("incidents", "recovering_since", since)?,
                acknowledgement,
            },
            ("resolved", None, None) => match (row.resolution, row.resolved_at) {
                (Some(resolution), Some(resolved_at)) => IncidentState::Resolved {
                    resolution: parse("incidents", "resolution", &resolution, Resolution::from_name)?,
                    resolved_at: instant("incidents", "resolved_at", resolved_at)?,
                    resolved_by: row.resolved_by,
                },
                _ => return Err(corrupt("incidents", "resolution", row.state)),
            },
            _ => return Err(corrupt("incidents", "state", row.state)),
        };
        let verdict = row.verdict.map(|name| parse("incidents", "verdict", &name, Verdict::from_name));
        let previous = row.previous_id.map(|id| parse("incidents", "previous_id", &id, |id| id.parse().ok()));
        Ok(Self {
            id: parse("incidents", "incident_id", &row.incident_id, |id| id.parse().ok())?,
            key,
            state,
            reopened: u32::try_from(row.reopened)
                .map_err(|_| corrupt("incidents", "reopened", row.reopened))?,
            previous: previous.transpose()?,
            verdict: verdict.transpose()?,
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
            "SELECT incident_key, incident_id, cluster, mapped_by, subject, alert_name, state, acknowledged_by,
                    acknowledged_at, recovering_since, resolution, resolved_at, resolved_by, reopened, previous_id,
                    verdict, opened_at, updated_at, headline
               FROM incidents ",
            $rest
        )
    };
}

/// The columns of a state.
#[derive(Default)]
struct StateColumns<'a> {
    state: &'static str,
    acknowledged_by: Option<&'a str>,
    acknowledged_at: Option<i64>,
    recovering_since: Option<i64>,
    resolution: Option<&'static str>,
    resolved_at: Option<i64>,
    resolved_by: Option<&'a str>,
}

impl<'a> StateColumns<'a> {
    fn of(state: &'a IncidentState) -> Self {
        let named = || Self { state: state.name(), ..Self::default() };
        let acknowledged = |by: Option<&'a Acknowledgement>| Self {
            acknowledged_by: by.map(|by| by.acknowledged_by.as_str()),
            acknowledged_at: by.map(|by| by.acknowledged_at.as_microsecond()),
            ..named()
        };
        match state {
            IncidentState::Triggered => named(),
            IncidentState::Acknowledged(by) => acknowledged(Some(by)),
            IncidentState::Recovering { recovering_since, acknowledgement } => Self {
                recovering_since: Some(recovering_since.as_microsecond()),
                ..acknowledged(acknowledgement.as_ref())
            },
            IncidentState::Resolved { resolution, resolved_at, resolved_by } => Self {
                resolution: Some(resolution.name()),
                resolved_at: Some(resolved_at.as_microsecond()),
                resolved_by: resolved_by.as_deref(),
                ..named()
            },
        }
    }

    /// Gives a row their values, in the order in which they are declared.
    fn bind_to<'r>(&self, row: &'r mut Values) -> &'r mut Values {
        row.bind(self.state)
            .bind(self.acknowledged_by)
            .bind(self.acknowledged_at)
            .bind(self.recovering_since)
            .bind(self.resolution)
            .bind(self.resolved_at)
            .bind(self.resolved_by)
    }
}

/// Adds a new incident.
///
/// # Errors
///
/// The database refused, also if an unresolved incident of the same identity is there.
#[tracing::instrument(name = "store.incidents.insert", skip_all, fields(incident.id = %incident.id))]
pub async fn insert(conn: &mut Conn, incident: &Incident) -> Result<(), StoreError> {
    execute_each(conn, inserts(&[incident])).await
}

/// Makes the statements that add new incidents. The database refuses them if an unresolved one of the same identity is
/// there.
pub fn inserts<'a>(incidents: &'a [&Incident]) -> impl Iterator<Item = Mutation> + 'a {
    portions(incidents).map(|portion| {
        Mutation::any(portion.statement(
            "INSERT INTO incidents
                    (incident_id, identity, cluster, mapped_by, subject, alert_name, state, acknowledged_by,
                     acknowledged_at, recovering_since, resolution, resolved_at, resolved_by, reopened, previous_id,
                     verdict, opened_at, updated_at, headline)
             SELECT *
               FROM (VALUES ",
            "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ") AS opened WHERE column1 IS NOT NULL",
            |row, incident| {
                let (mapped_by, subject) = match &incident.key {
                    IncidentKey::Cluster { mapped_by, .. } => (Some(mapped_by.name()), None),
                    IncidentKey::Unmapped { subject, .. } => (None, Some(subject.as_str())),
                };
                row.bind(incident.id.to_string())
                    .bind(incident.key.identity())
                    .bind(incident.key.cluster())
                    .bind(mapped_by)
                    .bind(subject)
                    .bind(incident.key.alert_name());
                StateColumns::of(&incident.state)
                    .bind_to(row)
                    .bind(i64::from(incident.reopened))
                    .bind(incident.previous.map(|id| id.to_string()))
                    .bind(incident.verdict.map(Verdict::name))
                    .bind(incident.opened_at.as_microsecond())
                    .bind(incident.updated_at.as_microsecond())
                    .bind(incident.headline.as_deref());
            },
        ))
    })
}

/// Writes an incident back, provided it is still in the state `was`; its headline is written by [`save_headline`] alone.
///
/// # Errors
///
/// [`StoreError::Conflict`] if another writer moved it first.
#[tracing::instrument(name = "store.incidents.save", skip_all, fields(incident.id = %incident.id))]
pub async fn save(conn: &mut Conn, incident: &Incident, was: &str) -> Result<(), StoreError> {
    execute_each(conn, saves(&[(incident, was)])).await
}

/// Makes the statements that write incidents back, as [`save`] does, provided each is still in the state in which it was;
/// a conflict otherwise.
pub fn saves<'a>(incidents: &'a [(&Incident, &str)]) -> impl Iterator<Item = Mutation> + 'a {
    portions(incidents).map(|portion| {
        let statement = portion.statement(
            "WITH changed (incident_id, was, state, acknowledged_by, acknowledged_at, recovering_since, resolution,
                           resolved_at, resolved_by, reopened, verdict, updated_at) AS (VALUES ",
            "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ")
             UPDATE incidents
                SET state = changed.state, acknowledged_by = changed.acknowledged_by,
                    acknowledged_at = changed.acknowledged_at, recovering_since = changed.recovering_since,
                    resolution = changed.resolution, resolved_at = changed.resolved_at,
                    resolved_by = changed.resolved_by, reopened = changed.reopened, verdict = changed.verdict,
                    updated_at = changed.updated_at
               FROM changed
              WHERE incidents.incident_id = changed.incident_id AND incidents.state = changed.was",
            |row, (incident, was)| {
                row.bind(incident.id.to_string()).bind(*was);
                StateColumns::of(&incident.state)
                    .bind_to(row)
                    .bind(i64::from(incident.reopened))
                    .bind(incident.verdict.map(Verdict::name))
                    .bind(incident.updated_at.as_microsecond());
            },
        );
        Mutation::exactly(portion.len(), "incident", statement)
    })
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

/// Finds the newest incident of each identity; if one is unresolved, it is that one.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find_newest(conn: &mut Conn, identities: &[&str]) -> Result<Vec<Incident>, StoreError> {
    let mut found = Vec::new();
    for portion in portions(identities) {
        let statement = portion.statement(
            select!(
                "WHERE incident_key IN (SELECT max(incident_key)
                                          FROM incidents
                                         WHERE identity IN ("
            ),
            "?",
            ") GROUP BY identity)",
            |row, identity| _ = row.bind(*identity),
        );
        let rows: Vec<Row> = statement.query_as().fetch_all(&mut *conn).await?;
        for row in rows {
            found.push(Incident::try_from(row)?);
        }
    }
    Ok(found)
}

/// Lists the incidents that are not over, oldest first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_unresolved(conn: &mut Conn) -> Result<Vec<Incident>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as(select!("WHERE state <> 'resolved' ORDER BY incident_key")).fetch_all(conn).await?;
    rows.into_iter().map(Incident::try_from).collect()
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

/// Counts unresolved incidents by the name of their state.
///
/// # Errors
///
/// The database refused.
pub async fn count_unresolved(conn: &mut Conn) -> Result<BTreeMap<String, u64>, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT state, count(*)
           FROM incidents
          WHERE state <> 'resolved'
          GROUP BY state",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(state, count)| (state, u64::try_from(count).unwrap_or(0))).collect())
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
