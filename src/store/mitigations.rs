//! Mitigations: the frozen plan, where it stands, and what it was seen to do.
//!
//! The plan is written once and never changed; only the state moves. What a run does to its victims is in
//! [`crate::store::victims`].

mod looks;
mod runs;
pub mod statistics;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use crate::model::ids::{IncidentId, MitigationId};
use crate::model::mitigation::{Mitigation, MitigationState, MitigationSummary};
use crate::model::plan::{ActionKind, Plan};
use crate::model::selector::Conditions;
use crate::store::{Conn, StoreError, corrupt, from_json, instant, parse, to_i64, to_json, victims};

pub use crate::store::mitigations::looks::{find_before, list_looks, save_before, save_look};
pub use crate::store::mitigations::runs::{PastRun, count_cut_since, list_ended_since, list_runs_against};

#[derive(sqlx::FromRow)]
struct Row {
    mitigation_key: i64,
    mitigation_id: String,
    incident_id: Option<String>,
    cluster: String,
    action: String,
    target: String,
    digest: String,
    state: String,
    planned_by: String,
    planned_at: i64,
    reason: Option<String>,
    victim_count: i64,
    state_data: String,
}

impl TryFrom<Row> for MitigationSummary {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let state: MitigationState = from_json("mitigations", "state_data", &row.state_data)?;
        if state.name() != row.state {
            return Err(corrupt("mitigations", "state", row.state));
        }
        let incident = row.incident_id.map(|id| parse("incidents", "incident_id", &id, |id| id.parse().ok()));
        Ok(Self {
            id: parse("mitigations", "mitigation_id", &row.mitigation_id, |id| id.parse().ok())?,
            incident: incident.transpose()?,
            cluster: row.cluster,
            action: parse("mitigations", "action", &row.action, ActionKind::from_name)?,
            selector: from_json("mitigations", "target", &row.target)?,
            victims: u64::try_from(row.victim_count)
                .map_err(|_| corrupt("mitigations", "victim_count", row.victim_count))?,
            digest: row.digest,
            planned_by: row.planned_by,
            planned_at: instant("mitigations", "planned_at", row.planned_at)?,
            reason: row.reason,
            state,
        })
    }
}

#[derive(sqlx::FromRow)]
struct WholeRow {
    #[sqlx(flatten)]
    row: Row,
    request_digest: Option<String>,
    plan: String,
}

/// The columns of [`Row`], and others; every query that reads mitigations begins with it.
macro_rules! select {
    ($others:literal, $rest:literal) => {
        concat!(
            "SELECT mitigation_key, mitigation_id,
                    (SELECT incident_id
                       FROM incidents
                      WHERE incidents.incident_key = mitigations.incident_key) AS incident_id,
                    cluster, action, target, digest, state, planned_by, planned_at, reason, victim_count, state_data",
            $others,
            " FROM mitigations ",
            $rest
        )
    };
}

/// The columns of a state. What it does not say stays as it is.
#[derive(Default)]
struct StateColumns<'a> {
    approved_by: Option<&'a str>,
    approved_at: Option<Timestamp>,
    valid_until: Option<Timestamp>,
    started_at: Option<Timestamp>,
    executed_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    outcome: Option<&'static str>,
    stop: Option<&'static str>,
}

impl<'a> StateColumns<'a> {
    fn of(state: &'a MitigationState) -> Self {
        let known = Self {
            approved_by: state.approved_by(),
            started_at: state.begun().map(|begun| begun.started_at),
            ..Self::default()
        };
        match state {
            MitigationState::Planned | MitigationState::Proposed { .. } | MitigationState::Running { .. } => {
                known
            }
            MitigationState::Approved { approved_at, valid_until, .. } => {
                Self { approved_at: Some(*approved_at), valid_until: Some(*valid_until), ..known }
            }
            MitigationState::Verifying { executed_at, .. } => {
                Self { executed_at: Some(*executed_at), ..known }
            }
            MitigationState::Finished { executed_at, finished_at, outcome, .. } => Self {
                executed_at: Some(*executed_at),
                finished_at: Some(*finished_at),
                outcome: Some(outcome.name()),
                ..known
            },
            MitigationState::Stopped { stopped_at, stop, .. } => {
                Self { finished_at: Some(*stopped_at), stop: Some(stop.name()), ..known }
            }
            MitigationState::Refused { refused_at: at, .. }
            | MitigationState::Rejected { rejected_at: at, .. }
            | MitigationState::Expired { expired_at: at, .. } => Self { finished_at: Some(*at), ..known },
        }
    }

    /// Gives a query their values, in the order in which they are declared.
    fn bind_to(self, query: Query<'a, Sqlite, SqliteArguments>) -> Query<'a, Sqlite, SqliteArguments> {
        let instant = |instant: Option<Timestamp>| instant.map(Timestamp::as_microsecond);
        query
            .bind(self.approved_by)
            .bind(instant(self.approved_at))
            .bind(instant(self.valid_until))
            .bind(instant(self.started_at))
            .bind(instant(self.executed_at))
            .bind(instant(self.finished_at))
            .bind(self.outcome)
            .bind(self.stop)
    }
}

/// Adds a mitigation with its plan and its victims, all of them pending. `idempotency` is a key and the digest of the
/// request that it was used for, if whoever had it planned gave one.
///
/// # Errors
///
/// [`StoreError::Conflict`] with `incident` if its incident is not there, and with `idempotency key` if the key has been
/// used.
#[tracing::instrument(name = "store.mitigations.insert", skip_all, fields(mitigation.id = %mitigation.id))]
pub async fn insert(
    conn: &mut Conn,
    mitigation: &Mitigation,
    idempotency: Option<(&str, &str)>,
) -> Result<(), StoreError> {
    let incident_key: Option<i64> = match mitigation.incident {
        Some(incident) => {
            let key = sqlx::query_scalar("SELECT incident_key FROM incidents WHERE incident_id = $1")
                .bind(incident.to_string())
                .fetch_optional(&mut *conn)
                .await?;
            Some(key.ok_or(StoreError::Conflict("incident"))?)
        }
        None => None,
    };
    let plan = &mitigation.plan;
    let state = StateColumns::of(&mitigation.state);
    let query = sqlx::query(
        "INSERT INTO mitigations
                (mitigation_id, incident_key, cluster, action, target, digest, state, planned_by, planned_at, reason,
                 approved_by, approved_at, valid_until, started_at, executed_at, finished_at, outcome, stop,
                 idempotency_key, request_digest, victim_count, state_data, plan)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
                 $23)
         RETURNING mitigation_key",
    )
    .bind(mitigation.id.to_string())
    .bind(incident_key)
    .bind(&plan.cluster)
    .bind(plan.action.name())
    .bind(target(&plan.selector))
    .bind(&plan.digest)
    .bind(mitigation.state.name())
    .bind(&mitigation.planned_by)
    .bind(mitigation.planned_at.as_microsecond())
    .bind(&mitigation.reason);
    let inserted = state
        .bind_to(query)
        .bind(idempotency.map(|(key, _)| key))
        .bind(idempotency.map(|(_, request_digest)| request_digest))
        .bind(to_i64(plan.victims.len() as u64))
        .bind(to_json(&mitigation.state))
        .bind(to_json(&Plan { victims: Vec::new(), ..plan.clone() }))
        .fetch_one(&mut *conn)
        .await;
    let key: i64 = match inserted {
        Err(error) if idempotency.is_some() && is_taken(&error) => {
            return Err(StoreError::Conflict("idempotency key"));
        }
        inserted => inserted?.try_get("mitigation_key")?,
    };
    victims::insert(conn, key, &plan.victims, mitigation.planned_at).await
}

/// Writes that a mitigation stands in `state` now, provided it is still in the one called `was`.
///
/// # Errors
///
/// [`StoreError::Conflict`] with `mitigation` if another writer moved it first, and with `cluster` if it would run while
/// another one runs in its cluster.
#[tracing::instrument(name = "store.mitigations.save", skip_all, fields(mitigation.id = %id))]
pub async fn save(
    conn: &mut Conn,
    id: MitigationId,
    state: &MitigationState,
    was: &str,
) -> Result<(), StoreError> {
    let columns = StateColumns::of(state);
    let query = sqlx::query(
        "UPDATE mitigations
            SET state = $1, state_data = $2, approved_by = coalesce($3, approved_by),
                approved_at = coalesce($4, approved_at), valid_until = coalesce($5, valid_until),
                started_at = coalesce($6, started_at), executed_at = coalesce($7, executed_at),
                finished_at = coalesce($8, finished_at), outcome = coalesce($9, outcome), stop = coalesce($10, stop)
          WHERE mitigation_id = $11 AND state = $12",
    )
    .bind(state.name())
    .bind(to_json(state));
    let saved = columns.bind_to(query).bind(id.to_string()).bind(was).execute(conn).await;
    match saved {
        Ok(saved) if saved.rows_affected() == 1 => Ok(()),
        Ok(_) => Err(StoreError::Conflict("mitigation")),
        // nothing else that is written here must be unique
        Err(error) if is_taken(&error) => Err(StoreError::Conflict("cluster")),
        Err(error) => Err(error.into()),
    }
}

/// Finds a mitigation by its id, with its plan and all victims.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.mitigations.find", skip_all, fields(mitigation.id = %id))]
pub async fn find(conn: &mut Conn, id: MitigationId) -> Result<Option<Mitigation>, StoreError> {
    let row: Option<WholeRow> = sqlx::query_as(select!(", request_digest, plan", "WHERE mitigation_id = $1"))
        .bind(id.to_string())
        .fetch_optional(&mut *conn)
        .await?;
    match row {
        Some(row) => Ok(Some(whole(conn, row).await?.0)),
        None => Ok(None),
    }
}

/// Finds a mitigation by its id, without its plan.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find_summary(
    conn: &mut Conn,
    id: MitigationId,
) -> Result<Option<MitigationSummary>, StoreError> {
    let row: Option<Row> = sqlx::query_as(select!("", "WHERE mitigation_id = $1"))
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?;
    row.map(MitigationSummary::try_from).transpose()
}

/// Finds the mitigation that was planned under an idempotency key, and the digest of the request for it. Whose key it
/// was is `planned_by`.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.mitigations.find_by_idempotency_key", skip_all)]
pub async fn find_by_idempotency_key(
    conn: &mut Conn,
    key: &str,
) -> Result<Option<(Mitigation, String)>, StoreError> {
    let row: Option<WholeRow> =
        sqlx::query_as(select!(", request_digest, plan", "WHERE idempotency_key = $1"))
            .bind(key)
            .fetch_optional(&mut *conn)
            .await?;
    match row {
        Some(row) => Ok(Some(whole(conn, row).await?)),
        None => Ok(None),
    }
}

/// Which mitigations to list. All conditions hold.
#[derive(Debug, Clone, Default)]
pub struct MitigationFilter {
    /// In this configured cluster.
    pub cluster: Option<String>,
    /// Of this incident.
    pub incident: Option<IncidentId>,
    /// In this state, by its name.
    pub state: Option<String>,
    /// Older than the one at this cursor.
    pub before: Option<i64>,
}

/// One page of mitigations.
#[derive(Debug)]
pub struct MitigationPage {
    /// The mitigations, newest first.
    pub mitigations: Vec<MitigationSummary>,
    /// Where the next page begins, if there is one.
    pub next: Option<i64>,
}

/// Lists mitigations, newest first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.mitigations.list", skip_all)]
pub async fn list(
    conn: &mut Conn,
    filter: &MitigationFilter,
    limit: u32,
) -> Result<MitigationPage, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(select!("", "WHERE 1 = 1"));
    if let Some(cluster) = &filter.cluster {
        query.push(" AND cluster = ").push_bind(cluster);
    }
    if let Some(incident) = filter.incident {
        query.push(" AND incident_key = (SELECT incident_key FROM incidents WHERE incident_id = ");
        query.push_bind(incident.to_string()).push(")");
    }
    if let Some(state) = &filter.state {
        query.push(" AND state = ").push_bind(state);
    }
    if let Some(before) = filter.before {
        query.push(" AND mitigation_key < ").push_bind(before);
    }
    query.push(" ORDER BY mitigation_key DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let mut rows: Vec<Row> = query.build_query_as().fetch_all(conn).await?;

    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.mitigation_key);
    let mitigations = rows.into_iter().map(MitigationSummary::try_from).collect::<Result<_, _>>()?;
    Ok(MitigationPage { mitigations, next })
}

/// Lists those that run: after a start, those that were interrupted. There is at most one in each cluster.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_running(conn: &mut Conn) -> Result<Vec<MitigationId>, StoreError> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT mitigation_id
           FROM mitigations
          WHERE state = 'running'
          ORDER BY mitigation_key",
    )
    .fetch_all(conn)
    .await?;
    read_ids(ids)
}

/// Finds the one that runs in a cluster.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find_running(conn: &mut Conn, cluster: &str) -> Result<Option<MitigationId>, StoreError> {
    let id: Option<String> = sqlx::query_scalar(
        "SELECT mitigation_id
           FROM mitigations
          WHERE state = 'running'
            AND cluster = $1",
    )
    .bind(cluster)
    .fetch_optional(conn)
    .await?;
    id.map(|id| parse("mitigations", "mitigation_id", &id, |id| id.parse().ok())).transpose()
}

/// Lists those that have waited too long, the oldest first, at most `limit`: approved until before `now`, or planned or
/// proposed but not approved, and planned before `before`.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_overdue(
    conn: &mut Conn,
    now: Timestamp,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<MitigationId>, StoreError> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT mitigation_id
           FROM mitigations
          WHERE finished_at IS NULL
            AND (state = 'approved' AND valid_until <= $1
                 OR state IN ('planned', 'proposed') AND planned_at < $2)
          ORDER BY mitigation_key
          LIMIT $3",
    )
    .bind(now.as_microsecond())
    .bind(before.as_microsecond())
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    read_ids(ids)
}

fn read_ids(ids: Vec<String>) -> Result<Vec<MitigationId>, StoreError> {
    ids.iter().map(|id| parse("mitigations", "mitigation_id", id, |id| id.parse().ok())).collect()
}

/// Adds plan and victims to a row; also gives the digest of the request.
async fn whole(conn: &mut Conn, row: WholeRow) -> Result<(Mitigation, String), StoreError> {
    let WholeRow { row, request_digest, plan } = row;
    let mut plan: Plan = from_json("mitigations", "plan", &plan)?;
    plan.victims = victims::list_frozen(conn, row.mitigation_key).await?;
    let summary = MitigationSummary::try_from(row)?;
    if plan.victims.len() as u64 != summary.victims {
        return Err(corrupt("mitigations", "victim_count", summary.victims));
    }
    let mitigation = Mitigation {
        id: summary.id,
        incident: summary.incident,
        plan,
        planned_by: summary.planned_by,
        planned_at: summary.planned_at,
        reason: summary.reason,
        state: summary.state,
    };
    Ok((mitigation, request_digest.unwrap_or_default()))
}

/// The conditions of a selector as they are compared: equal for equal ones, for their fields are written in one order.
fn target(selector: &Conditions) -> String {
    to_json(selector)
}

/// Whether something that must be unique is there already.
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
