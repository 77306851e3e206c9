//! What each server of a configured cluster last said of itself.
//!
//! The column `url` holds the key of a server: its monitoring URL, or its name where none is configured for it.

use jiff::Timestamp;

use crate::model::mapping::KnownServer;
use crate::model::server::ServerKey;
use crate::store::{Conn, StoreError, parse};

#[derive(sqlx::FromRow)]
struct Row {
    cluster: String,
    url: String,
    server_id: String,
    server_name: String,
}

impl TryFrom<Row> for KnownServer {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        let key = parse("servers", "url", &row.url, |key| key.parse::<ServerKey>().ok())?;
        Ok(Self {
            cluster: row.cluster,
            url: key.url().cloned(),
            server_id: known(row.server_id),
            server_name: known(row.server_name),
        })
    }
}

/// Remembers what was learnt of a server at `learnt_at`.
///
/// # Errors
///
/// The database refused.
pub async fn save(
    conn: &mut Conn,
    server: &KnownServer,
    version: &str,
    learnt_at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO servers (cluster, url, server_id, server_name, version, learnt_at)
         VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (cluster, url) DO UPDATE
            SET server_id = excluded.server_id,
                server_name = excluded.server_name,
                version = excluded.version,
                learnt_at = excluded.learnt_at",
    )
    .bind(&server.cluster)
    .bind(server.key().to_string())
    .bind(server.server_id.as_deref().unwrap_or_default())
    .bind(server.server_name.as_deref().unwrap_or_default())
    .bind(version)
    .bind(learnt_at.as_microsecond())
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets a server.
///
/// # Errors
///
/// The database refused.
pub async fn delete(conn: &mut Conn, cluster: &str, key: &ServerKey) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM servers
          WHERE cluster = $1 AND url = $2",
    )
    .bind(cluster)
    .bind(key.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Lists every server that has ever said who it is, also those that are no longer configured.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list(conn: &mut Conn) -> Result<Vec<KnownServer>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT cluster, url, server_id, server_name
           FROM servers
          ORDER BY cluster, url",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(KnownServer::try_from).collect()
}
