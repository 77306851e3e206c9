//! Precedents: what the last diagnoses of incidents have in common. Nothing is written here, see [`diagnoses`](super::diagnoses).

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::breakdown::Dimension;
use crate::model::diagnosis::{FindingKind, Subject};
use crate::model::ids::IncidentId;
use crate::model::incident::{Incident, IncidentState};
use crate::model::precedent::{Conclusion, CulpritHistory, Offender, OtherIncident, SimilarIncident};
use crate::store::portions::Portion;
use crate::store::{Conn, StoreError, entries, incidents, instant, parse, portions};

/// How many earlier incidents of a cluster are compared with one, the newest.
const COMPARED: i64 = 500;

/// How many similar incidents are told.
const MOST_SIMILAR: i64 = 5;

/// How many culprits that two incidents share are told.
const MOST_SHARED: i64 = 5;

/// How many of what people wrote about an earlier incident is told.
const MOST_NOTES: u32 = 3;

/// How many culprits of one incident have their history told.
const MOST_CULPRITS: i64 = 10;

/// How many other incidents of a culprit are named.
const MOST_OTHERS: i64 = 5;

/// What the last diagnoses of incidents come down to; those without one are missing.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_conclusions(
    conn: &mut Conn,
    incidents: &[IncidentId],
) -> Result<BTreeMap<IncidentId, Conclusion>, StoreError> {
    let mut conclusions: BTreeMap<IncidentId, Conclusion> = BTreeMap::new();
    for incidents in portions(incidents) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT incidents.incident_id, findings.kind
               FROM incidents
               JOIN findings ON findings.incident_key = incidents.incident_key AND findings.place = 0
              WHERE incidents.incident_id IN (",
        );
        push_ids(&mut query, &incidents);
        let rows: Vec<(String, String)> = query.build_query_as().fetch_all(&mut *conn).await?;
        for (id, kind) in rows {
            conclusions.entry(read_id(&id)?).or_default().top_finding = Some(read_kind(&kind)?);
        }

        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT incidents.incident_id, culprits.dimension, culprits.group_key
               FROM incidents
               JOIN culprits ON culprits.incident_key = incidents.incident_key
              WHERE incidents.incident_id IN (",
        );
        push_ids(&mut query, &incidents);
        query.push(" ORDER BY culprits.grown_by DESC, culprits.dimension, culprits.group_key");
        let rows: Vec<(String, String, String)> = query.build_query_as().fetch_all(&mut *conn).await?;
        for (id, dimension, key) in rows {
            let culprit = &mut conclusions.entry(read_id(&id)?).or_default().culprit;
            if culprit.is_none() {
                *culprit = Some(Subject { dimension: read_dimension(&dimension)?, key });
            }
        }
    }
    Ok(conclusions)
}

fn push_ids(query: &mut QueryBuilder<Sqlite>, incidents: &Portion<'_, IncidentId>) {
    let mut list = query.separated(", ");
    for incident in incidents.padded() {
        list.push_bind(incident.map(ToString::to_string));
    }
    query.push(")");
}

/// Lists earlier incidents of the same cluster that had a culprit or the top finding's kind in common with one, most
/// similar first: a shared culprit says more than the same kind.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.precedents.list_similar", skip_all, fields(incident.id = %incident))]
pub async fn list_similar(conn: &mut Conn, incident: IncidentId) -> Result<Vec<SimilarIncident>, StoreError> {
    let Some((key, cluster)) = place_of(conn, incident).await? else { return Ok(Vec::new()) };
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT incident_id, same_kind, shared
           FROM (SELECT past.incident_key, past.incident_id,
                        (SELECT count(*)
                           FROM findings AS mine
                           JOIN findings AS theirs ON theirs.kind = mine.kind
                          WHERE mine.incident_key = $1 AND mine.place = 0
                            AND theirs.incident_key = past.incident_key AND theirs.place = 0) AS same_kind,
                        (SELECT count(*)
                           FROM culprits AS mine
                           JOIN culprits AS theirs
                             ON theirs.dimension = mine.dimension AND theirs.group_key = mine.group_key
                          WHERE mine.incident_key = $1 AND theirs.incident_key = past.incident_key) AS shared
                   FROM (SELECT incident_key, incident_id
                           FROM incidents
                          WHERE cluster = $2 AND incident_key < $1
                          ORDER BY incident_key DESC
                          LIMIT $3) AS past) AS compared
          WHERE same_kind + shared > 0
          ORDER BY CASE WHEN shared > 0 THEN 2 ELSE 0 END + same_kind DESC, incident_key DESC
          LIMIT $4",
    )
    .bind(key)
    .bind(cluster)
    .bind(COMPARED)
    .bind(MOST_SIMILAR)
    .fetch_all(&mut *conn)
    .await?;

    let conclusion = list_conclusions(conn, &[incident]).await?.remove(&incident).unwrap_or_default();
    let mut similar = Vec::new();
    for (id, same_kind, shared) in rows {
        let id = read_id(&id)?;
        let Some(past) = incidents::find(conn, id).await? else { continue };
        let shared = if shared > 0 { list_shared_culprits(conn, incident, id).await? } else { Vec::new() };
        let notes = entries::list_notes(conn, id, MOST_NOTES).await?;
        let same_kind = conclusion.top_finding.filter(|_| same_kind > 0);
        similar.push(SimilarIncident {
            duration_s: duration_s(&past),
            id,
            alert_name: past.key.alert_name().to_owned(),
            state: past.state,
            opened_at: past.opened_at,
            headline: past.headline,
            same_kind,
            shared_culprits: shared,
            notes,
        });
    }
    Ok(similar)
}

/// How long an incident took until it was over.
fn duration_s(incident: &Incident) -> Option<u64> {
    let IncidentState::Resolved { resolved_at, .. } = incident.state else { return None };
    u64::try_from(resolved_at.duration_since(incident.opened_at).as_secs()).ok()
}

async fn list_shared_culprits(
    conn: &mut Conn,
    one: IncidentId,
    other: IncidentId,
) -> Result<Vec<Subject>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT mine.dimension, mine.group_key
           FROM culprits AS mine
           JOIN culprits AS theirs ON theirs.dimension = mine.dimension AND theirs.group_key = mine.group_key
          WHERE mine.incident_key = (SELECT incident_key FROM incidents WHERE incident_id = $1)
            AND theirs.incident_key = (SELECT incident_key FROM incidents WHERE incident_id = $2)
          ORDER BY mine.grown_by DESC, mine.dimension, mine.group_key
          LIMIT $3",
    )
    .bind(one.to_string())
    .bind(other.to_string())
    .bind(MOST_SHARED)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(dimension, key)| Ok(Subject { dimension: read_dimension(&dimension)?, key }))
        .collect()
}

/// Lists of which other incidents of the same cluster the culprits of one were culprits too, the largest culprit first;
/// those of no other are missing.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.precedents.list_histories", skip_all, fields(incident.id = %incident))]
pub async fn list_histories(
    conn: &mut Conn,
    incident: IncidentId,
) -> Result<Vec<CulpritHistory>, StoreError> {
    let Some((incident_key, cluster)) = place_of(conn, incident).await? else { return Ok(Vec::new()) };
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT dimension, group_key, others
           FROM (SELECT mine.dimension, mine.group_key, mine.grown_by,
                        (SELECT count(*)
                           FROM culprits AS theirs
                           JOIN incidents ON incidents.incident_key = theirs.incident_key
                          WHERE theirs.dimension = mine.dimension AND theirs.group_key = mine.group_key
                            AND theirs.incident_key <> mine.incident_key AND incidents.cluster = $2) AS others
                   FROM culprits AS mine
                  WHERE mine.incident_key = $1) AS counted
          WHERE others > 0
          ORDER BY grown_by DESC, dimension, group_key
          LIMIT $3",
    )
    .bind(incident_key)
    .bind(&cluster)
    .bind(MOST_CULPRITS)
    .fetch_all(&mut *conn)
    .await?;

    let mut histories = Vec::new();
    for (dimension, key, others) in rows {
        let latest: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT incidents.incident_id, incidents.alert_name, incidents.opened_at
               FROM culprits
               JOIN incidents ON incidents.incident_key = culprits.incident_key
              WHERE culprits.dimension = $1 AND culprits.group_key = $2
                AND culprits.incident_key <> $3 AND incidents.cluster = $4
              ORDER BY culprits.incident_key DESC
              LIMIT $5",
        )
        .bind(&dimension)
        .bind(&key)
        .bind(incident_key)
        .bind(&cluster)
        .bind(MOST_OTHERS)
        .fetch_all(&mut *conn)
        .await?;
        let latest = latest.into_iter().map(|(id, alert_name, opened_at)| {
            let opened_at = instant("incidents", "opened_at", opened_at)?;
            Ok(OtherIncident { id: read_id(&id)?, alert_name, opened_at })
        });
        histories.push(CulpritHistory {
            dimension: read_dimension(&dimension)?,
            other_incidents: u64::try_from(others).unwrap_or(0),
            latest: latest.collect::<Result<_, StoreError>>()?,
            key,
        });
    }
    Ok(histories)
}

/// The key and the cluster of an incident that has one.
async fn place_of(conn: &mut Conn, incident: IncidentId) -> Result<Option<(i64, String)>, StoreError> {
    let place: Option<(i64, Option<String>)> =
        sqlx::query_as("SELECT incident_key, cluster FROM incidents WHERE incident_id = $1")
            .bind(incident.to_string())
            .fetch_optional(conn)
            .await?;
    Ok(place.and_then(|(key, cluster)| Some((key, cluster?))))
}

/// Which culprits to list. All conditions hold.
#[derive(Debug, Clone, Default)]
pub struct OffenderFilter {
    /// Of incidents of this configured cluster.
    pub cluster: Option<String>,
    /// Of incidents that were opened then or later.
    pub since: Option<Timestamp>,
}

/// Lists who was a culprit, those of most incidents first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.precedents.list_offenders", skip_all)]
pub async fn list_offenders(
    conn: &mut Conn,
    filter: &OffenderFilter,
    limit: u32,
) -> Result<Vec<Offender>, StoreError> {
    // a server may have lied about what was attempted, and a sum that is too large is an error
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT offenders.dimension, offenders.group_key, offenders.incidents, offenders.grown_by,
                incidents.incident_id, incidents.cluster, incidents.opened_at
           FROM (SELECT culprits.dimension, culprits.group_key, count(*) AS incidents,
                        CAST(sum(CASE WHEN culprits.grown_by > 1000000000000 THEN 1000000000000
                                      ELSE culprits.grown_by END) AS BIGINT) AS grown_by,
                        max(culprits.incident_key) AS last_key
                   FROM culprits
                   JOIN incidents ON incidents.incident_key = culprits.incident_key
                  WHERE 1 = 1",
    );
    if let Some(cluster) = &filter.cluster {
        query.push(" AND incidents.cluster = ").push_bind(cluster);
    }
    if let Some(since) = filter.since {
        query.push(" AND incidents.opened_at >= ").push_bind(since.as_microsecond());
    }
    query.push(
        "         GROUP BY culprits.dimension, culprits.group_key) AS offenders
           JOIN incidents ON incidents.incident_key = offenders.last_key
          ORDER BY offenders.incidents DESC, offenders.grown_by DESC, offenders.dimension, offenders.group_key
          LIMIT ",
    );
    query.push_bind(i64::from(limit));
    let rows: Vec<OffenderRow> = query.build_query_as().fetch_all(conn).await?;
    rows.into_iter().map(Offender::try_from).collect()
}

#[derive(sqlx::FromRow)]
struct OffenderRow {
    dimension: String,
    group_key: String,
    incidents: i64,
    grown_by: i64,
    incident_id: String,
    cluster: Option<String>,
    opened_at: i64,
}

impl TryFrom<OffenderRow> for Offender {
    type Error = StoreError;

    fn try_from(row: OffenderRow) -> Result<Self, Self::Error> {
        Ok(Self {
            dimension: read_dimension(&row.dimension)?,
            key: row.group_key,
            incidents: u64::try_from(row.incidents).unwrap_or(0),
            grown_by: u64::try_from(row.grown_by).unwrap_or(0),
            last_incident: read_id(&row.incident_id)?,
            last_cluster: row.cluster,
            last_opened_at: instant("incidents", "opened_at", row.opened_at)?,
        })
    }
}

fn read_id(text: &str) -> Result<IncidentId, StoreError> {
    parse("incidents", "incident_id", text, |id| id.parse().ok())
}

fn read_kind(text: &str) -> Result<FindingKind, StoreError> {
    parse("findings", "kind", text, FindingKind::from_name)
}

fn read_dimension(text: &str) -> Result<Dimension, StoreError> {
    parse("culprits", "dimension", text, |name| name.parse().ok())
}
