//! Member alerts of incidents.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::alert::{Alert, AlertStatus, AlertValue, ValueSource};
use crate::model::ids::IncidentId;
use crate::model::labels::Fingerprint;
use crate::model::mapping::ServerMatch;
use crate::model::member::Member;
use crate::store::mutations::{Mutation, execute_each};
use crate::store::portions::Portion;
use crate::store::{Conn, StoreError, corrupt, from_json, instant, parse, portions, to_json};

#[derive(sqlx::FromRow)]
struct Row {
    incident_id: String,
    fingerprint: String,
    generation: i64,
    flaps: i64,
    stale_since: Option<i64>,
    suppression: Option<String>,
    status: String,
    starts_at: i64,
    ended_at: Option<i64>,
    labels: String,
    annotations: String,
    generator_url: String,
    value: Option<String>,
    value_source: Option<String>,
    server_url: Option<String>,
    server_matched_by: Option<String>,
    first_seen_at: i64,
    last_seen_at: i64,
}

impl TryFrom<Row> for Member {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let status = match (row.status.as_str(), row.ended_at) {
            ("firing", None) => AlertStatus::Firing,
            ("resolved", Some(ended_at)) => {
                AlertStatus::Resolved { ended_at: instant("alerts", "ended_at", ended_at)? }
            }
            _ => return Err(corrupt("alerts", "status", row.status)),
        };
        let value = match (row.value, row.value_source) {
            (Some(value), Some(source)) => Some(AlertValue {
                value: parse("alerts", "value", &value, |value| value.parse().ok())?,
                source: parse("alerts", "value_source", &source, ValueSource::from_name)?,
            }),
            _ => None,
        };
        let server = match (row.server_url, row.server_matched_by) {
            (Some(key), Some(matched_by)) => Some(ServerMatch {
                key: parse("alerts", "server_url", &key, |key| key.parse().ok())?,
                matched_by,
            }),
            _ => None,
        };
        let count = |column, count: i64| u32::try_from(count).map_err(|_| corrupt("alerts", column, count));
        Ok(Self {
            alert: Alert {
                fingerprint: parse("alerts", "fingerprint", &row.fingerprint, |text| text.parse().ok())?,
                labels: from_json("alerts", "labels", &row.labels)?,
                annotations: from_json("alerts", "annotations", &row.annotations)?,
                status,
                starts_at: instant("alerts", "starts_at", row.starts_at)?,
                generator_url: row.generator_url,
                value,
            },
            generation: count("generation", row.generation)?,
            flaps: count("flaps", row.flaps)?,
            stale_since: row.stale_since.map(|us| instant("alerts", "stale_since", us)).transpose()?,
            suppression: row.suppression.map(|text| from_json("alerts", "suppression", &text)).transpose()?,
            server,
            first_seen_at: instant("alerts", "first_seen_at", row.first_seen_at)?,
            last_seen_at: instant("alerts", "last_seen_at", row.last_seen_at)?,
        })
    }
}

/// The columns of [`Row`]; every query that reads members begins with it.
macro_rules! select {
    () => {
        "SELECT incident_id, alerts.fingerprint, generation, flaps, stale_since, suppression, status, starts_at,
                ended_at, labels, annotations, generator_url, value, value_source, server_url, server_matched_by,
                first_seen_at, last_seen_at
           FROM alerts
           JOIN incidents ON incidents.incident_key = alerts.incident_key "
    };
}

/// Lists the members of an incident by fingerprint.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list(
    conn: &mut Conn,
    incident: IncidentId,
) -> Result<BTreeMap<Fingerprint, Member>, StoreError> {
    let query = sqlx::query_as(concat!(select!(), "WHERE incident_id = $1"));
    let rows: Vec<Row> = query.bind(incident.to_string()).fetch_all(conn).await?;
    rows.into_iter()
        .map(|row| Member::try_from(row).map(|member| (member.alert.fingerprint.clone(), member)))
        .collect()
}

/// Finds members by incident and fingerprint, as far as they are there.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find(
    conn: &mut Conn,
    wanted: &[(IncidentId, &Fingerprint)],
) -> Result<Vec<(IncidentId, Member)>, StoreError> {
    let mut members = Vec::new();
    for portion in portions(wanted) {
        // pairs, not two lists: those would be looked up crosswise
        let statement = portion.statement(
            "WITH wanted (id, fingerprint) AS (VALUES ",
            "(?, ?)",
            concat!(
                ") ",
                select!(),
                "JOIN wanted ON wanted.id = incidents.incident_id AND wanted.fingerprint = alerts.fingerprint"
            ),
            |row, (incident, fingerprint)| _ = row.bind(incident.to_string()).bind(fingerprint.as_str()),
        );
        let rows: Vec<Row> = statement.query_as().fetch_all(&mut *conn).await?;
        for row in rows {
            let id = parse("incidents", "incident_id", &row.incident_id, |id| id.parse().ok())?;
            members.push((id, Member::try_from(row)?));
        }
    }
    Ok(members)
}

/// Lists the members that are said to fire although their end was told.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_stale(conn: &mut Conn) -> Result<Vec<(IncidentId, Member)>, StoreError> {
    let query = sqlx::query_as(concat!(select!(), "WHERE alerts.stale_since IS NOT NULL"));
    let rows: Vec<Row> = query.fetch_all(conn).await?;
    let members = rows.into_iter().map(|row| {
        let id = parse("incidents", "incident_id", &row.incident_id, |id| id.parse().ok())?;
        Ok((id, Member::try_from(row)?))
    });
    members.collect()
}

/// What the members of an incident come to that is not settled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outstanding {
    /// How many fire.
    pub firing: usize,
    /// Since when the first of those stands that are said to fire although their end was told.
    pub stale_since: Option<Timestamp>,
}

/// Finds what is not settled, for each of some incidents that has any.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find_outstanding(
    conn: &mut Conn,
    incidents: &[IncidentId],
) -> Result<BTreeMap<IncidentId, Outstanding>, StoreError> {
    let mut outstanding: BTreeMap<IncidentId, Outstanding> = BTreeMap::new();
    for portion in portions(incidents) {
        // two halves, each by its own index
        let mut query = QueryBuilder::<Sqlite>::new("");
        push_outstanding(&mut query, "count(*), NULL", "alerts.status = 'firing'", &portion);
        query.push(" UNION ALL ");
        push_outstanding(&mut query, "0, min(stale_since)", "alerts.stale_since IS NOT NULL", &portion);
        let rows: Vec<(String, i64, Option<i64>)> = query.build_query_as().fetch_all(&mut *conn).await?;
        for (id, firing, stale_since) in rows {
            let id = parse("incidents", "incident_id", &id, |id| id.parse().ok())?;
            let known = outstanding.entry(id).or_default();
            known.firing += usize::try_from(firing).unwrap_or(0);
            known.stale_since = match stale_since {
                Some(us) => Some(instant("alerts", "stale_since", us)?),
                None => known.stale_since,
            };
        }
    }
    Ok(outstanding)
}

fn push_outstanding(
    query: &mut QueryBuilder<Sqlite>,
    columns: &str,
    condition: &str,
    portion: &Portion<'_, IncidentId>,
) {
    query.push(format_args!(
        "SELECT incident_id, {columns}
           FROM incidents
           JOIN alerts ON alerts.incident_key = incidents.incident_key AND {condition}
          WHERE incident_id IN ("
    ));
    let mut list = query.separated(", ");
    for incident in portion.padded() {
        list.push_bind(incident.map(IncidentId::to_string));
    }
    query.push(") GROUP BY incident_id");
}

/// Writes members of incidents, new ones and known ones.
///
/// # Errors
///
/// [`StoreError::Conflict`] if one of the incidents is not there.
#[tracing::instrument(name = "store.alerts.save", skip_all)]
pub async fn save(conn: &mut Conn, members: &[(IncidentId, &Member)]) -> Result<(), StoreError> {
    execute_each(conn, saves(members)).await
}

/// Makes the statements that write members, as [`save`] does; a conflict if one of the incidents is not there.
pub fn saves<'a>(members: &'a [(IncidentId, &Member)]) -> impl Iterator<Item = Mutation> + 'a {
    portions(members).map(|portion| {
        let statement = portion.statement(
            "INSERT INTO alerts
                    (incident_key, fingerprint, generation, flaps, stale_since, suppression, status, starts_at,
                     ended_at, labels, annotations, generator_url, value, value_source, server_url,
                     server_matched_by, first_seen_at, last_seen_at)
             SELECT *
               FROM (VALUES ",
            "((SELECT incident_key FROM incidents WHERE incident_id = ?),
              ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ") AS saved WHERE column1 IS NOT NULL
             ON CONFLICT (incident_key, fingerprint) DO UPDATE
                SET generation = excluded.generation,
                    flaps = excluded.flaps,
                    stale_since = excluded.stale_since,
                    suppression = excluded.suppression,
                    status = excluded.status,
                    starts_at = excluded.starts_at,
                    ended_at = excluded.ended_at,
                    annotations = excluded.annotations,
                    generator_url = excluded.generator_url,
                    value = excluded.value,
                    value_source = excluded.value_source,
                    server_url = excluded.server_url,
                    server_matched_by = excluded.server_matched_by,
                    last_seen_at = excluded.last_seen_at",
            |row, (incident, member)| {
                let alert = &member.alert;
                let (status, ended_at) = match alert.status {
                    AlertStatus::Firing => ("firing", None),
                    AlertStatus::Resolved { ended_at } => ("resolved", Some(ended_at.as_microsecond())),
                };
                row.bind(incident.to_string())
                    .bind(alert.fingerprint.as_str())
                    .bind(i64::from(member.generation))
                    .bind(i64::from(member.flaps))
                    .bind(member.stale_since.map(jiff::Timestamp::as_microsecond))
                    .bind(member.suppression.as_ref().map(to_json))
                    .bind(status)
                    .bind(alert.starts_at.as_microsecond())
                    .bind(ended_at)
                    .bind(to_json(&alert.labels))
                    .bind(to_json(&alert.annotations))
                    .bind(&alert.generator_url)
                    .bind(alert.value.map(|value| value.value.to_string()))
                    .bind(alert.value.map(|value| value.source.name()))
                    .bind(member.server.as_ref().map(|server| server.key.to_string()))
                    .bind(member.server.as_ref().map(|server| server.matched_by.as_str()))
                    .bind(member.first_seen_at.as_microsecond())
                    .bind(member.last_seen_at.as_microsecond());
            },
        );
        Mutation::exactly(portion.len(), "incident", statement)
    })
}
