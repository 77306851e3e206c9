//! Diagnoses, one for each look at the cluster of an incident, and what of the last of them can be searched for.

use sqlx::QueryBuilder;

use crate::model::diagnosis::Diagnosis;
use crate::model::ids::{IncidentId, SnapshotId};
use crate::store::{Conn, StoreError, corrupt, to_i64, to_json};

/// zstd of JSON. Another way of writing diagnoses would get another number.
const FORMAT: i64 = 1;

/// As for breakdowns: more gains little.
const COMPRESSION_LEVEL: i32 = 3;

/// A diagnosis, ready to be kept.
#[derive(Debug)]
pub struct PackedDiagnosis<'a> {
    diagnosis: &'a Diagnosis,
    document: Vec<u8>,
}

impl<'a> PackedDiagnosis<'a> {
    /// Writes and compresses a diagnosis. Takes its time: not inside a transaction.
    pub fn pack(diagnosis: &'a Diagnosis) -> Self {
        let document = zstd::encode_all(to_json(diagnosis).as_bytes(), COMPRESSION_LEVEL)
            .expect("compressing memory into memory cannot fail");
        Self { diagnosis, document }
    }
}

/// Keeps the diagnosis of a look; it is what the incident is found by from now on.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.diagnoses.insert", skip_all, fields(incident.id = %incident))]
pub async fn insert(
    conn: &mut Conn,
    incident: IncidentId,
    snapshot: SnapshotId,
    packed: PackedDiagnosis<'_>,
) -> Result<(), StoreError> {
    let PackedDiagnosis { diagnosis, document } = packed;
    sqlx::query(
        "INSERT INTO diagnoses (snapshot_key, made_at, format, document)
         VALUES ((SELECT snapshot_key FROM snapshots WHERE snapshot_id = $1), $2, $3, $4)",
    )
    .bind(snapshot.to_string())
    .bind(diagnosis.made_at.as_microsecond())
    .bind(FORMAT)
    .bind(document)
    .execute(&mut *conn)
    .await?;
    let incident_key: i64 = sqlx::query_scalar("SELECT incident_key FROM incidents WHERE incident_id = $1")
        .bind(incident.to_string())
        .fetch_one(&mut *conn)
        .await?;

    for table in
        ["DELETE FROM findings WHERE incident_key = $1", "DELETE FROM culprits WHERE incident_key = $1"]
    {
        sqlx::query(table).bind(incident_key).execute(&mut *conn).await?;
    }
    if !diagnosis.findings.is_empty() {
        let mut query = QueryBuilder::new("INSERT INTO findings (incident_key, place, kind) ");
        query.push_values((0_i64..).zip(&diagnosis.findings), |mut row, (place, finding)| {
            row.push_bind(incident_key).push_bind(place).push_bind(finding.kind.name());
        });
        query.build().execute(&mut *conn).await?;
    }
    if !diagnosis.culprits.is_empty() {
        let mut query =
            QueryBuilder::new("INSERT INTO culprits (incident_key, dimension, group_key, grown_by) ");
        query.push_values(&diagnosis.culprits, |mut row, culprit| {
            row.push_bind(incident_key)
                .push_bind(culprit.dimension.name())
                .push_bind(&culprit.key)
                .push_bind(to_i64(culprit.grown_by.unwrap_or(0)));
        });
        query.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Finds the diagnosis of a look.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find(conn: &mut Conn, snapshot: SnapshotId) -> Result<Option<Diagnosis>, StoreError> {
    let row: Option<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT format, document
               FROM diagnoses
              WHERE snapshot_key = (SELECT snapshot_key FROM snapshots WHERE snapshot_id = $1)",
    )
    .bind(snapshot.to_string())
    .fetch_optional(conn)
    .await?;
    row.map(|(format, document)| read_diagnosis(format, &document)).transpose()
}

fn read_diagnosis(format: i64, document: &[u8]) -> Result<Diagnosis, StoreError> {
    if format != FORMAT {
        return Err(corrupt("diagnoses", "format", format));
    }
    let json = zstd::decode_all(document).map_err(|error| corrupt("diagnoses", "document", error))?;
    serde_json::from_slice(&json).map_err(|error| corrupt("diagnoses", "document", error))
}
