//! Notifications as they were received, word for word.

use jiff::Timestamp;

use crate::model::ids::NotificationId;
use crate::model::notification::Notification;
use crate::store::{Conn, StoreError, to_i64};

/// How hard bodies are compressed; more gains little.
const COMPRESSION_LEVEL: i32 = 3;

/// One received POST, ready to be kept: the one connection that writes is not kept waiting by anything but SQL.
#[derive(Debug)]
pub struct Received<'a> {
    /// Its id.
    pub id: NotificationId,
    /// When it came in.
    pub at: Timestamp,
    /// What the sender calls itself (its `User-Agent`).
    pub sender: &'a str,
    /// Its content digest: equal for the same alerts in the same state, whoever sent them.
    pub digest: &'a str,
    /// How many alerts it has.
    pub alert_count: usize,
    /// The body, word for word.
    pub body: PackedBody,
}

/// A body, compressed for storage.
#[derive(Debug)]
pub struct PackedBody {
    size_bytes: usize,
    compressed: Vec<u8>,
}

impl PackedBody {
    /// Compresses a body. Takes its time: not inside a transaction.
    pub fn pack(body: &[u8]) -> Self {
        let compressed =
            zstd::encode_all(body, COMPRESSION_LEVEL).expect("compressing memory into memory cannot fail");
        Self { size_bytes: body.len(), compressed }
    }
}

/// Keeps a notification.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.notifications.insert", skip_all, fields(notification.id = %received.id))]
pub async fn insert(
    conn: &mut Conn,
    received: &Received<'_>,
    notification: &Notification,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO notifications
                (notification_id, received_at, sender, receiver, group_key, alert_count, truncated_alerts,
                 digest, body_size_bytes, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(received.id.to_string())
    .bind(received.at.as_microsecond())
    .bind(received.sender)
    .bind(&notification.receiver)
    .bind(&notification.group_key)
    .bind(to_i64(received.alert_count as u64))
    .bind(to_i64(notification.truncated_alerts))
    .bind(received.digest)
    .bind(to_i64(received.body.size_bytes as u64))
    .bind(&received.body.compressed)
    .execute(conn)
    .await?;
    Ok(())
}

/// Finds the body of a notification, word for word.
///
/// # Errors
///
/// The database refused, or holds a body that cannot be read.
pub async fn find_body(conn: &mut Conn, id: NotificationId) -> Result<Option<Vec<u8>>, StoreError> {
    let body: Option<Vec<u8>> = sqlx::query_scalar(
        "SELECT body
           FROM notifications
          WHERE notification_id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(conn)
    .await?;
    let unreadable = |error: std::io::Error| crate::store::corrupt("notifications", "body", error);
    body.map(|body| zstd::decode_all(body.as_slice()).map_err(unreadable)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_compressed_before_there_is_a_transaction() {
        let body = "firing ".repeat(1000);
        let packed = PackedBody::pack(body.as_bytes());
        assert_eq!(packed.size_bytes, body.len());
        assert!(packed.compressed.len() < body.len() / 10);
        assert_eq!(zstd::decode_all(packed.compressed.as_slice()).unwrap(), body.as_bytes());
    }
}
