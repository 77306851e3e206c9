//! The names that DNS gave client addresses of a look. A name is text from strangers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::ids::SnapshotId;
use crate::store::{Conn, StoreError, parse};

/// Keeps the names of addresses of a look; one that has a name already keeps it. A look that is gone gets none.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.address_names.insert", skip_all, fields(snapshot.id = %snapshot))]
pub async fn insert(
    conn: &mut Conn,
    snapshot: SnapshotId,
    names: &BTreeMap<IpAddr, String>,
) -> Result<(), StoreError> {
    for (address, name) in names {
        sqlx::query(
            "INSERT INTO address_names (snapshot_key, address, name)
             SELECT snapshot_key, $2, $3
               FROM snapshots
              WHERE snapshot_id = $1
                 ON CONFLICT (snapshot_key, address) DO NOTHING",
        )
        .bind(snapshot.to_string())
        .bind(address.to_string())
        .bind(name)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Lists the names that addresses of a look were given.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list(conn: &mut Conn, snapshot: SnapshotId) -> Result<BTreeMap<IpAddr, String>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT address, name
           FROM address_names
          WHERE snapshot_key = (SELECT snapshot_key FROM snapshots WHERE snapshot_id = $1)",
    )
    .bind(snapshot.to_string())
    .fetch_all(conn)
    .await?;
    let read = |(address, name): (String, String)| {
        let address = parse("address_names", "address", &address, |text| text.parse().ok())?;
        Ok((address, name))
    };
    rows.into_iter().map(read).collect()
}
