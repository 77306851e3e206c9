//! What came of mitigations: how often each action helped, by cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::mitigation::{Outcome, StopReason};
use crate::model::mitigation_look::Look;
use crate::model::mitigation_statistics::ActionStatistics;
use crate::model::plan::ActionKind;
use crate::store::{Conn, StoreError, from_json, parse};

/// After how many runs of an action in a cluster it is read who came back: the newest ones.
const MOST_LOOKS: i64 = 100;

/// Which runs to count. All conditions hold.
#[derive(Debug, Clone, Default)]
pub struct StatisticsFilter {
    /// In this configured cluster.
    pub cluster: Option<String>,
    /// With this action.
    pub action: Option<ActionKind>,
    /// Started then or later.
    pub since: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct RunRow {
    cluster: String,
    action: String,
    outcome: Option<String>,
    stop: Option<String>,
    runs: i64,
}

/// Counts the runs that are there, by cluster and action, in the order of their names. Of the last hundred of each it is
/// told who came back.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.mitigations.statistics", level = "debug", skip_all)]
pub async fn list(conn: &mut Conn, filter: &StatisticsFilter) -> Result<Vec<ActionStatistics>, StoreError> {
    let mut statistics: BTreeMap<(String, ActionKind), ActionStatistics> = BTreeMap::new();
    let mut query = started(
        "SELECT cluster, action, outcome, stop, count(*) AS runs
           FROM mitigations",
        filter,
    );
    query.push(" GROUP BY cluster, action, outcome, stop");
    let rows: Vec<RunRow> = query.build_query_as().fetch_all(&mut *conn).await?;
    for row in rows {
        let outcome = row.outcome.map(|name| parse("mitigations", "outcome", &name, Outcome::from_name));
        let stop = row.stop.map(|name| parse("mitigations", "stop", &name, StopReason::from_name));
        let runs = u64::try_from(row.runs).unwrap_or(0);
        entry(&mut statistics, row.cluster, &row.action)?.add_runs(
            runs,
            outcome.transpose()?,
            stop.transpose()?,
        );
    }

    let mut query = started(
        "SELECT cluster, action, count(*)
           FROM victims
           JOIN mitigations ON mitigations.mitigation_key = victims.mitigation_key",
        filter,
    );
    query.push(" AND victims.state IN ('sent', 'confirmed', 'left') GROUP BY cluster, action");
    let rows: Vec<(String, String, i64)> = query.build_query_as().fetch_all(&mut *conn).await?;
    for (cluster, action, victims) in rows {
        entry(&mut statistics, cluster, &action)?.victims = u64::try_from(victims).unwrap_or(0);
    }

    let mut query = started(
        "SELECT cluster, action, document
           FROM (SELECT cluster, action, mitigation_key,
                        row_number() OVER (PARTITION BY cluster, action
                                               ORDER BY started_at DESC, mitigation_key DESC) AS place
                   FROM mitigations",
        filter,
    );
    query.push(
        " AND outcome IS NOT NULL) AS runs
           JOIN mitigation_looks ON mitigation_looks.mitigation_key = runs.mitigation_key
          WHERE after_ms = (SELECT max(after_ms)
                              FROM mitigation_looks AS looks
                             WHERE looks.mitigation_key = runs.mitigation_key
                               AND looks.after_ms > 0)
            AND place <= ",
    );
    query.push_bind(MOST_LOOKS);
    let rows: Vec<(String, String, String)> = query.build_query_as().fetch_all(conn).await?;
    for (cluster, action, document) in rows {
        let look: Look = from_json("mitigation_looks", "document", &document)?;
        entry(&mut statistics, cluster, &action)?.add_look(&look);
    }
    Ok(statistics.into_values().collect())
}

/// Begins a query of mitigations that were started.
fn started(select: &str, filter: &StatisticsFilter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(select);
    query.push(" WHERE started_at IS NOT NULL");
    if let Some(cluster) = &filter.cluster {
        query.push(" AND cluster = ").push_bind(cluster.clone());
    }
    if let Some(action) = filter.action {
        query.push(" AND action = ").push_bind(action.name());
    }
    if let Some(since) = filter.since {
        query.push(" AND started_at >= ").push_bind(since.as_microsecond());
    }
    query
}

fn entry<'a>(
    statistics: &'a mut BTreeMap<(String, ActionKind), ActionStatistics>,
    cluster: String,
    action: &str,
) -> Result<&'a mut ActionStatistics, StoreError> {
    let action = parse("mitigations", "action", action, ActionKind::from_name)?;
    let fresh = ActionStatistics::new(&cluster, action);
    Ok(statistics.entry((cluster, action)).or_insert(fresh))
}
