//! What came of mitigations: how often each action helped, by cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::mitigation::{Outcome, StopReason};
use crate::model::plan::ActionKind;
use crate::store::{Conn, StoreError, parse};

/// What came of the runs of an action in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionStatistics {
    /// The configured cluster.
    pub cluster: String,
    /// The action.
    pub action: ActionKind,
    /// How many were started.
    pub runs: u64,
    /// Of these, those that came to their end, by what they achieved.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Of these, those that ended before their last victim, by why.
    pub stopped: BTreeMap<StopReason, u64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    cluster: String,
    action: String,
    outcome: Option<String>,
    stop: Option<String>,
    runs: i64,
}

/// Counts the runs that were started since, by cluster and action.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.mitigations.statistics", level = "debug", skip_all)]
pub async fn list(conn: &mut Conn, since: Timestamp) -> Result<Vec<ActionStatistics>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT cluster, action, outcome, stop, count(*) AS runs
           FROM mitigations
          WHERE started_at >= $1
          GROUP BY cluster, action, outcome, stop
          ORDER BY cluster, action",
    )
    .bind(since.as_microsecond())
    .fetch_all(conn)
    .await?;
    let mut statistics: Vec<ActionStatistics> = Vec::new();
    for row in rows {
        let action = parse("mitigations", "action", &row.action, ActionKind::from_name)?;
        let runs = u64::try_from(row.runs).unwrap_or(0);
        let of_the_same = |last: &&mut ActionStatistics| last.cluster == row.cluster && last.action == action;
        let statistic = match statistics.last_mut().filter(of_the_same) {
            Some(statistic) => statistic,
            None => statistics.push_mut(ActionStatistics {
                cluster: row.cluster,
                action,
                runs: 0,
                outcomes: BTreeMap::new(),
                stopped: BTreeMap::new(),
            }),
        };
        statistic.runs += runs;
        if let Some(outcome) = row.outcome {
            let outcome = parse("mitigations", "outcome", &outcome, Outcome::from_name)?;
            *statistic.outcomes.entry(outcome).or_default() += runs;
        }
        if let Some(stop) = row.stop {
            let stop = parse("mitigations", "stop", &stop, StopReason::from_name)?;
            *statistic.stopped.entry(stop).or_default() += runs;
        }
    }
    Ok(statistics)
}
