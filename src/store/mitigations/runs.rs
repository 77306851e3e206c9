//! Earlier runs, as guards look at them: cool-down, circuit breaker, hourly budget.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::mitigation::{Outcome, StopReason};
use crate::model::selector::Conditions;
use crate::store::{Conn, StoreError, instant, parse};

/// How many runs are looked at: the newest ones.
const MOST_RUNS: i64 = 1000;

/// A mitigation that was run, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRun {
    /// When its last victim had been dealt with, or it was stopped; nothing while it runs.
    pub ended_at: Option<Timestamp>,
    /// What it achieved, once that is known.
    pub outcome: Option<Outcome>,
    /// Why it was stopped, if it was.
    pub stop: Option<StopReason>,
}

#[derive(sqlx::FromRow)]
struct Row {
    ended_at: Option<i64>,
    outcome: Option<String>,
    stop: Option<String>,
}

impl TryFrom<Row> for PastRun {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let ended_at = row.ended_at.map(|at| instant("mitigations", "executed_at", at));
        let outcome = row.outcome.map(|name| parse("mitigations", "outcome", &name, Outcome::from_name));
        let stop = row.stop.map(|name| parse("mitigations", "stop", &name, StopReason::from_name));
        Ok(Self { ended_at: ended_at.transpose()?, outcome: outcome.transpose()?, stop: stop.transpose()? })
    }
}

/// The columns of [`Row`]; every query that reads runs begins with it.
const SELECT: &str = "SELECT coalesce(executed_at, finished_at) AS ended_at, outcome, stop
                        FROM mitigations
                       WHERE started_at IS NOT NULL";

/// Lists the runs against the same connections of a cluster, the newest first, with the one that is going on. The same are
/// those that the same conditions mean.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.mitigations.list_runs_against", level = "debug", skip_all)]
pub async fn list_runs_against(
    conn: &mut Conn,
    cluster: &str,
    selector: &Conditions,
) -> Result<Vec<PastRun>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push(" AND cluster = ").push_bind(cluster);
    query.push(" AND target = ").push_bind(super::target(selector));
    query.push(" ORDER BY started_at DESC, mitigation_key DESC LIMIT ").push_bind(MOST_RUNS);
    let rows: Vec<Row> = query.build_query_as().fetch_all(conn).await?;
    rows.into_iter().map(PastRun::try_from).collect()
}

/// Lists the runs in a cluster of which it is known since then how they ended, the newest first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.mitigations.list_ended_since", level = "debug", skip_all)]
pub async fn list_ended_since(
    conn: &mut Conn,
    cluster: &str,
    since: Timestamp,
) -> Result<Vec<PastRun>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push(" AND cluster = ").push_bind(cluster);
    query.push(" AND finished_at >= ").push_bind(since.as_microsecond());
    query.push(" ORDER BY finished_at DESC, mitigation_key DESC LIMIT ").push_bind(MOST_RUNS);
    let rows: Vec<Row> = query.build_query_as().fetch_all(conn).await?;
    rows.into_iter().map(PastRun::try_from).collect()
}

/// Counts the connections of a cluster that were cut since, or asked to leave. Those of which it is not known count too: the
/// run was interrupted, or the server did not answer.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.mitigations.count_cut_since", level = "debug", skip_all)]
pub async fn count_cut_since(conn: &mut Conn, cluster: &str, since: Timestamp) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*)
           FROM victims
           JOIN mitigations ON mitigations.mitigation_key = victims.mitigation_key
          WHERE victims.state IN ('sent', 'asked', 'confirmed', 'left', 'error')
            AND victims.at >= $1
            AND mitigations.cluster = $2",
    )
    .bind(since.as_microsecond())
    .bind(cluster)
    .fetch_one(conn)
    .await?;
    Ok(u64::try_from(count).unwrap_or(0))
}
