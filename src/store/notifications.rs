//! Notifications as they were received, word for word.

use std::cell::RefCell;
use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::ids::{IncidentId, NotificationId};
use crate::store::mutations::Mutation;
use crate::store::{Conn, StoreError, corrupt, instant, parse, portions, to_i64};

/// How hard bodies are compressed, before their senders are answered. At 1 they take up a fifth less room, and several
/// times the time.
const COMPRESSION_LEVEL: i32 = -1;

/// From how many bytes on a body gets a compressor of its own, whose tables are given back.
const LARGE: usize = 256 << 10;

thread_local! {
    /// Setting one up takes much longer than compressing a usual body.
    static COMPRESSOR: RefCell<zstd::bulk::Compressor<'static>> = RefCell::new(
        zstd::bulk::Compressor::new(COMPRESSION_LEVEL).expect("the level is one that there is"),
    );
}

/// One received POST, ready to be kept: the one connection that writes is not kept waiting by anything but SQL.
#[derive(Debug)]
pub struct Received {
    /// Its id.
    pub id: NotificationId,
    /// When it came in.
    pub at: Timestamp,
    /// What the sender calls itself (its `User-Agent`).
    pub sender: String,
    /// The receiver's name as the sender writes it.
    pub receiver: String,
    /// The group's key.
    pub group_key: String,
    /// How many alerts it has.
    pub alert_count: usize,
    /// How many alerts of the group the sender left out.
    pub truncated_alerts: u64,
    /// Its content digest: equal for the same alerts in the same state, whoever sent them.
    pub digest: String,
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
        let compressed = if body.len() > LARGE {
            zstd::bulk::compress(body, COMPRESSION_LEVEL)
        } else {
            COMPRESSOR.with_borrow_mut(|compressor| compressor.compress(body))
        };
        let compressed = compressed.expect("compressing memory into memory cannot fail");
        Self { size_bytes: body.len(), compressed }
    }
}

/// A stored notification without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationSummary {
    /// Its id.
    pub id: NotificationId,
    /// When it first came in.
    pub received_at: Timestamp,
    /// What the sender calls itself.
    pub sender: String,
    /// The receiver's name as the sender writes it.
    pub receiver: String,
    /// How many alerts it has.
    pub alert_count: u64,
    /// How many alerts of the group the sender left out.
    pub truncated_alerts: u64,
    /// How often the same content came in, this time included.
    pub seen_count: u64,
    /// When it last came in.
    pub last_seen_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct SummaryRow {
    notification_key: i64,
    notification_id: String,
    received_at: i64,
    sender: String,
    receiver: String,
    alert_count: i64,
    truncated_alerts: i64,
    seen_count: i64,
    last_seen_at: i64,
}

impl TryFrom<SummaryRow> for NotificationSummary {
    type Error = StoreError;

    fn try_from(row: SummaryRow) -> Result<Self, Self::Error> {
        let count =
            |column, count: i64| u64::try_from(count).map_err(|_| corrupt("notifications", column, count));
        Ok(Self {
            id: parse("notifications", "notification_id", &row.notification_id, |id| id.parse().ok())?,
            received_at: instant("notifications", "received_at", row.received_at)?,
            sender: row.sender,
            receiver: row.receiver,
            alert_count: count("alert_count", row.alert_count)?,
            truncated_alerts: count("truncated_alerts", row.truncated_alerts)?,
            seen_count: count("seen_count", row.seen_count)?,
            last_seen_at: instant("notifications", "last_seen_at", row.last_seen_at)?,
        })
    }
}

/// Makes the statements that keep notifications.
pub fn inserts<'a>(received: &'a [&Received]) -> impl Iterator<Item = Mutation> + 'a {
    portions(received).map(|portion| {
        Mutation::any(portion.statement(
            "INSERT INTO notifications
                    (notification_id, received_at, sender, receiver, group_key, alert_count, truncated_alerts,
                     digest, body_size_bytes, body, seen_count, last_seen_at)
             SELECT *
               FROM (VALUES ",
            "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
            ") AS received WHERE column1 IS NOT NULL",
            |row, received| {
                row.bind(received.id.to_string())
                    .bind(received.at.as_microsecond())
                    .bind(&received.sender)
                    .bind(&received.receiver)
                    .bind(&received.group_key)
                    .bind(to_i64(received.alert_count as u64))
                    .bind(to_i64(received.truncated_alerts))
                    .bind(&received.digest)
                    .bind(to_i64(received.body.size_bytes as u64))
                    .bind(received.body.compressed.as_slice())
                    .bind(received.at.as_microsecond());
            },
        ))
    })
}

/// Counts the same content once more.
///
/// # Errors
///
/// The database refused.
pub async fn count_again(
    conn: &mut Conn,
    id: NotificationId,
    times: u64,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE notifications
            SET seen_count = seen_count + $2, last_seen_at = $3
          WHERE notification_id = $1",
    )
    .bind(id.to_string())
    .bind(to_i64(times))
    .bind(at.as_microsecond())
    .execute(conn)
    .await?;
    Ok(())
}

/// Finds notifications by their content digests; of several with the same the latest.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find_by_digest(
    conn: &mut Conn,
    digests: &[&str],
) -> Result<BTreeMap<String, NotificationId>, StoreError> {
    let mut found = BTreeMap::new();
    for portion in portions(digests) {
        let statement = portion.statement(
            "SELECT digest, notification_id
               FROM notifications
              WHERE digest IN (",
            "?",
            ") ORDER BY notification_key",
            |row, digest| _ = row.bind(*digest),
        );
        let rows: Vec<(String, String)> = statement.query_as().fetch_all(&mut *conn).await?;
        for (digest, id) in rows {
            found.insert(digest, parse("notifications", "notification_id", &id, |id| id.parse().ok())?);
        }
    }
    Ok(found)
}

/// Finds a notification.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn find(conn: &mut Conn, id: NotificationId) -> Result<Option<NotificationSummary>, StoreError> {
    let row: Option<SummaryRow> = sqlx::query_as(
        "SELECT notification_key, notification_id, received_at, sender, receiver, alert_count, truncated_alerts,
                seen_count, last_seen_at
           FROM notifications
          WHERE notification_id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(conn)
    .await?;
    row.map(NotificationSummary::try_from).transpose()
}

/// One page of notifications.
#[derive(Debug)]
pub struct NotificationPage {
    /// The notifications, newest first.
    pub notifications: Vec<NotificationSummary>,
    /// Where the next page begins, if there is one.
    pub next: Option<i64>,
}

/// Lists notifications, newest first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list(conn: &mut Conn, before: Option<i64>, limit: u32) -> Result<NotificationPage, StoreError> {
    let mut rows: Vec<SummaryRow> = sqlx::query_as(
        "SELECT notification_key, notification_id, received_at, sender, receiver, alert_count, truncated_alerts,
                seen_count, last_seen_at
           FROM notifications
          WHERE notification_key < $1
          ORDER BY notification_key DESC
          LIMIT $2",
    )
    .bind(before.unwrap_or(i64::MAX))
    .bind(i64::from(limit) + 1)
    .fetch_all(conn)
    .await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.notification_key);
    let notifications = rows.into_iter().map(NotificationSummary::try_from).collect::<Result<_, _>>()?;
    Ok(NotificationPage { notifications, next })
}

/// Lists the notifications that the timeline of an incident names, oldest first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_of(conn: &mut Conn, incident: IncidentId) -> Result<Vec<NotificationSummary>, StoreError> {
    let rows: Vec<SummaryRow> = sqlx::query_as(
        "SELECT notification_key, notification_id, received_at, sender, receiver, alert_count, truncated_alerts,
                seen_count, last_seen_at
           FROM notifications
          WHERE notification_id IN (SELECT notification_id
                                      FROM entries
                                     WHERE incident_key = (SELECT incident_key
                                                             FROM incidents
                                                            WHERE incident_id = $1))
          ORDER BY notification_key",
    )
    .bind(incident.to_string())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(NotificationSummary::try_from).collect()
}

/// Lists the receivers that the last thousand notifications were sent to, as their senders write them.
///
/// # Errors
///
/// The database refused.
pub async fn recent_receivers(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    let receivers = sqlx::query_scalar(
        "SELECT DISTINCT receiver
           FROM (SELECT receiver
                   FROM notifications
                  ORDER BY notification_key DESC
                  LIMIT 1000) AS recent",
    )
    .fetch_all(conn)
    .await?;
    Ok(receivers)
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
    let unreadable = |error: std::io::Error| corrupt("notifications", "body", error);
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
