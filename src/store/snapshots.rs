//! Snapshots and their breakdowns, each breakdown one compressed document; and what was seen of closed connections,
//! another.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::QueryBuilder;

use crate::model::breakdown::{Breakdown, Breakdowns, By};
use crate::model::closed::ClosedConnections;
use crate::model::ids::{IncidentId, SnapshotId};
use crate::model::snapshot::{Coverage, Snapshot};
use crate::store::{Conn, StoreError, corrupt, from_json, instant, parse, to_i64, to_json};

/// zstd of JSON. Another way of writing breakdowns would get another number.
const FORMAT: i64 = 1;

/// More gains little (measured: at most a tenth for real trouble).
const COMPRESSION_LEVEL: i32 = 3;

/// A stored snapshot, without its breakdowns.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotSummary {
    /// Its id.
    pub id: SnapshotId,
    /// The cluster's configured name.
    pub cluster: String,
    /// When the look began.
    pub taken_at: jiff::Timestamp,
    /// How much was seen.
    pub coverage: Coverage,
}

#[derive(sqlx::FromRow)]
struct Row {
    snapshot_id: String,
    cluster: String,
    taken_at: i64,
    coverage: String,
}

impl TryFrom<Row> for SnapshotSummary {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        Ok(Self {
            id: parse("snapshots", "snapshot_id", &row.snapshot_id, |id| id.parse().ok())?,
            cluster: row.cluster,
            taken_at: instant("snapshots", "taken_at", row.taken_at)?,
            coverage: from_json("snapshots", "coverage", &row.coverage)?,
        })
    }
}

/// A snapshot, ready to be kept: the one connection that writes is not kept waiting by anything but SQL.
#[derive(Debug)]
pub struct PackedSnapshot<'a> {
    snapshot: &'a Snapshot,
    coverage: String,
    /// What each breakdown is by, and its compressed document.
    documents: Vec<(String, Vec<u8>)>,
    /// The compressed document of closed connections.
    closed: Option<Vec<u8>>,
}

impl<'a> PackedSnapshot<'a> {
    /// Writes and compresses what a snapshot has seen. Takes its time: not inside a transaction.
    pub fn pack(snapshot: &'a Snapshot) -> Self {
        let documents =
            snapshot.breakdowns.iter().map(|(by, breakdown)| (by.to_string(), compress(breakdown)));
        Self {
            snapshot,
            coverage: to_json(&snapshot.coverage),
            documents: documents.collect(),
            closed: snapshot.closed.as_ref().map(compress),
        }
    }
}

fn compress(document: &impl Serialize) -> Vec<u8> {
    zstd::encode_all(to_json(document).as_bytes(), COMPRESSION_LEVEL)
        .expect("compressing memory into memory cannot fail")
}

/// Keeps a snapshot of an incident.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.snapshots.insert", skip_all, fields(incident.id = %incident))]
pub async fn insert(
    conn: &mut Conn,
    id: SnapshotId,
    incident: IncidentId,
    packed: PackedSnapshot<'_>,
) -> Result<(), StoreError> {
    let PackedSnapshot { snapshot, coverage, documents, closed } = packed;
    let snapshot_key: i64 = sqlx::query_scalar(
        "INSERT INTO snapshots
                (snapshot_id, incident_key, cluster, taken_at, seen, total, complete, coverage, closed)
         VALUES ($1, (SELECT incident_key FROM incidents WHERE incident_id = $2), $3, $4, $5, $6, $7, $8, $9)
         RETURNING snapshot_key",
    )
    .bind(id.to_string())
    .bind(incident.to_string())
    .bind(&snapshot.cluster)
    .bind(snapshot.taken_at.as_microsecond())
    .bind(to_i64(snapshot.coverage.seen))
    .bind(to_i64(snapshot.coverage.total))
    .bind(i64::from(snapshot.coverage.complete))
    .bind(coverage)
    .bind(closed)
    .fetch_one(&mut *conn)
    .await?;

    if documents.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::new("INSERT INTO breakdowns (snapshot_key, grouped_by, format, document) ");
    query.push_values(documents, |mut row, (by, document)| {
        row.push_bind(snapshot_key).push_bind(by).push_bind(FORMAT).push_bind(document);
    });
    query.build().execute(conn).await?;
    Ok(())
}

/// Lists the snapshots of an incident, oldest first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list(conn: &mut Conn, incident: IncidentId) -> Result<Vec<SnapshotSummary>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT snapshot_id, cluster, taken_at, coverage
           FROM snapshots
          WHERE incident_key = (SELECT incident_key FROM incidents WHERE incident_id = $1)
          ORDER BY snapshot_key",
    )
    .bind(incident.to_string())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(SnapshotSummary::try_from).collect()
}

/// Finds a snapshot, and the incident that it is of.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find(
    conn: &mut Conn,
    id: SnapshotId,
) -> Result<Option<(IncidentId, SnapshotSummary)>, StoreError> {
    let row: Option<(String, String, i64, String)> = sqlx::query_as(
        "SELECT incidents.incident_id, snapshots.cluster, snapshots.taken_at, snapshots.coverage
           FROM snapshots
           JOIN incidents ON incidents.incident_key = snapshots.incident_key
          WHERE snapshots.snapshot_id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(conn)
    .await?;
    let Some((incident, cluster, taken_at, coverage)) = row else { return Ok(None) };
    let incident = parse("incidents", "incident_id", &incident, |id| id.parse().ok())?;
    let row = Row { snapshot_id: id.to_string(), cluster, taken_at, coverage };
    Ok(Some((incident, SnapshotSummary::try_from(row)?)))
}

/// The most connections that a look at the cluster of an incident has seen since then, if there was one.
///
/// # Errors
///
/// The database refused.
pub async fn most_seen_since(
    conn: &mut Conn,
    incident: IncidentId,
    since_us: i64,
) -> Result<Option<u64>, StoreError> {
    let seen: Option<i64> = sqlx::query_scalar(
        "SELECT max(seen)
           FROM snapshots
          WHERE incident_key = (SELECT incident_key FROM incidents WHERE incident_id = $1) AND taken_at >= $2",
    )
    .bind(incident.to_string())
    .bind(since_us)
    .fetch_one(conn)
    .await?;
    Ok(seen.and_then(|seen| u64::try_from(seen).ok()))
}

/// Lists the breakdowns of a snapshot: all of them, or those of `wanted` that it has.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_breakdowns(
    conn: &mut Conn,
    id: SnapshotId,
    wanted: Option<&[By]>,
) -> Result<Breakdowns, StoreError> {
    let mut query = QueryBuilder::new(
        "SELECT grouped_by, format, document
           FROM breakdowns
          WHERE snapshot_key = (SELECT snapshot_key FROM snapshots WHERE snapshot_id = ",
    );
    query.push_bind(id.to_string()).push(")");
    match wanted {
        Some([]) => return Ok(Breakdowns::new()),
        Some(wanted) => {
            query.push(" AND grouped_by IN (");
            let mut list = query.separated(", ");
            for by in wanted {
                list.push_bind(by.to_string());
            }
            query.push(")");
        }
        None => {}
    }
    let rows: Vec<(String, i64, Vec<u8>)> = query.build_query_as().fetch_all(conn).await?;
    rows.into_iter()
        .map(|(by, format, document)| {
            let by = parse("breakdowns", "grouped_by", &by, |text| text.parse().ok())?;
            Ok((by, read_breakdown(format, &document)?))
        })
        .collect()
}

/// Finds what a snapshot has seen of closed connections, if it was asked for.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find_closed(conn: &mut Conn, id: SnapshotId) -> Result<Option<ClosedConnections>, StoreError> {
    let document: Option<Vec<u8>> = sqlx::query_scalar(
        "SELECT closed
           FROM snapshots
          WHERE snapshot_id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(conn)
    .await?
    .flatten();
    document.map(|document| decompress("snapshots", "closed", &document)).transpose()
}

fn read_breakdown(format: i64, document: &[u8]) -> Result<Breakdown, StoreError> {
    if format != FORMAT {
        return Err(corrupt("breakdowns", "format", format));
    }
    decompress("breakdowns", "document", document)
}

fn decompress<T: DeserializeOwned>(
    table: &'static str,
    column: &'static str,
    document: &[u8],
) -> Result<T, StoreError> {
    let json = zstd::decode_all(document).map_err(|error| corrupt(table, column, error))?;
    serde_json::from_slice(&json).map_err(|error| corrupt(table, column, error))
}
