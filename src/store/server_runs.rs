//! What `/varz` last said of when each server was started, and with what.

use std::collections::BTreeMap;

use crate::model::server_run::ServerRun;
use crate::store::{Conn, StoreError, instant};

/// How many servers of a cluster are remembered: those that were started last.
const MOST_SERVERS: i64 = 1000;

#[derive(sqlx::FromRow)]
struct Row {
    cluster: String,
    server: String,
    version: String,
    started_at: i64,
    config_loaded_at: Option<i64>,
    config_digest: Option<String>,
}

impl TryFrom<Row> for ServerRun {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let loaded_at = row.config_loaded_at.map(|at| instant("server_runs", "config_loaded_at", at));
        Ok(Self {
            cluster: row.cluster,
            server: row.server,
            version: row.version,
            started_at: instant("server_runs", "started_at", row.started_at)?,
            config_loaded_at: loaded_at.transpose()?,
            config_digest: row.config_digest,
        })
    }
}

/// Lists the last known run of every server, by cluster and server.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list(conn: &mut Conn) -> Result<BTreeMap<(String, String), ServerRun>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT cluster, server, version, started_at, config_loaded_at, config_digest
           FROM server_runs",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| ServerRun::try_from(row).map(|run| ((run.cluster.clone(), run.server.clone()), run)))
        .collect()
}

/// Remembers a run in place of the one before.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.server_runs.save", level = "debug", skip_all)]
pub async fn save(conn: &mut Conn, run: &ServerRun) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO server_runs (cluster, server, version, started_at, config_loaded_at, config_digest)
         VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (cluster, server) DO UPDATE
            SET version = excluded.version,
                started_at = excluded.started_at,
                config_loaded_at = excluded.config_loaded_at,
                config_digest = excluded.config_digest",
    )
    .bind(&run.cluster)
    .bind(&run.server)
    .bind(&run.version)
    .bind(run.started_at.as_microsecond())
    .bind(run.config_loaded_at.map(jiff::Timestamp::as_microsecond))
    .bind(&run.config_digest)
    .execute(&mut *conn)
    .await?;
    // names may be made anew at each start
    sqlx::query(
        "DELETE FROM server_runs
          WHERE cluster = $1
            AND server NOT IN (SELECT server
                                 FROM server_runs
                                WHERE cluster = $1
                                ORDER BY started_at DESC, server
                                LIMIT $2)",
    )
    .bind(&run.cluster)
    .bind(MOST_SERVERS)
    .execute(conn)
    .await?;
    Ok(())
}
