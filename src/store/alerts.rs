//! Member alerts of incidents.

use std::collections::BTreeMap;

use sqlx::{QueryBuilder, Sqlite};
use url::Url;

use crate::model::alert::{Alert, AlertStatus, AlertValue, ValueSource};
use crate::model::ids::IncidentId;
use crate::model::labels::Fingerprint;
use crate::model::mapping::ServerMatch;
use crate::model::member::Member;
use crate::store::{Conn, StoreError, corrupt, from_json, instant, parse, to_json};

/// Rows per statement.
const CHUNK: usize = 64;

#[derive(sqlx::FromRow)]
struct Row {
    fingerprint: String,
    generation: i64,
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
            (Some(url), Some(matched_by)) => Some(ServerMatch {
                url: parse("alerts", "server_url", &url, |url| Url::parse(url).ok())?,
                matched_by,
            }),
            _ => None,
        };
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
            generation: parse("alerts", "generation", &row.generation.to_string(), |text| text.parse().ok())?,
            server,
            first_seen_at: instant("alerts", "first_seen_at", row.first_seen_at)?,
            last_seen_at: instant("alerts", "last_seen_at", row.last_seen_at)?,
        })
    }
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
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT fingerprint, generation, status, starts_at, ended_at, labels, annotations, generator_url, value,
                value_source, server_url, server_matched_by, first_seen_at, last_seen_at
           FROM alerts
          WHERE incident_key = (SELECT incident_key FROM incidents WHERE incident_id = $1)",
    )
    .bind(incident.to_string())
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Member::try_from(row).map(|member| (member.alert.fingerprint.clone(), member)))
        .collect()
}

/// Writes members of an incident, new ones and known ones.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.alerts.save", skip_all, fields(incident.id = %incident))]
pub async fn save(conn: &mut Conn, incident: IncidentId, members: &[&Member]) -> Result<(), StoreError> {
    for members in members.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO alerts
                    (incident_key, fingerprint, generation, status, starts_at, ended_at, labels, annotations,
                     generator_url, value, value_source, server_url, server_matched_by, first_seen_at,
                     last_seen_at) ",
        );
        query.push_values(members, |mut row, member| {
            let alert = &member.alert;
            let (status, ended_at) = match alert.status {
                AlertStatus::Firing => ("firing", None),
                AlertStatus::Resolved { ended_at } => ("resolved", Some(ended_at.as_microsecond())),
            };
            row.push("(SELECT incident_key FROM incidents WHERE incident_id = ")
                .push_bind_unseparated(incident.to_string())
                .push_unseparated(")")
                .push_bind(alert.fingerprint.as_str())
                .push_bind(i64::from(member.generation))
                .push_bind(status)
                .push_bind(alert.starts_at.as_microsecond())
                .push_bind(ended_at)
                .push_bind(to_json(&alert.labels))
                .push_bind(to_json(&alert.annotations))
                .push_bind(&alert.generator_url)
                .push_bind(alert.value.map(|value| value.value.to_string()))
                .push_bind(alert.value.map(|value| value.source.name()))
                .push_bind(member.server.as_ref().map(|server| server.url.as_str()))
                .push_bind(member.server.as_ref().map(|server| server.matched_by.as_str()))
                .push_bind(member.first_seen_at.as_microsecond())
                .push_bind(member.last_seen_at.as_microsecond());
        });
        query.push(
            " ON CONFLICT (incident_key, fingerprint) DO UPDATE
                SET generation = excluded.generation,
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
        );
        query.build().execute(&mut *conn).await?;
    }
    Ok(())
}
