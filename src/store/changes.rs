//! What was changed around incidents, by the time at which it happened.
//!
//! Changes are told in any order, so a page continues behind an instant and a key. Whether a change is known is looked
//! up by its digest and then written, within one transaction that holds the write lock.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::change::{Change, ChangeKind};
use crate::store::{Conn, StoreError, from_json, instant, parse, to_json};

#[derive(sqlx::FromRow)]
struct Row {
    change_key: i64,
    change_id: String,
    at: i64,
    ended_at: Option<i64>,
    kind: String,
    cluster: Option<String>,
    application: Option<String>,
    server: Option<String>,
    title: String,
    text: String,
    url: Option<String>,
    tags: String,
    author: String,
    source: String,
    external_id: Option<String>,
    received_at: i64,
}

impl TryFrom<Row> for Change {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        Ok(Self {
            id: parse("changes", "change_id", &row.change_id, |id| id.parse().ok())?,
            at: instant("changes", "at", row.at)?,
            ended_at: row.ended_at.map(|at| instant("changes", "ended_at", at)).transpose()?,
            kind: parse("changes", "kind", &row.kind, ChangeKind::from_name)?,
            cluster: row.cluster,
            application: row.application,
            server: row.server,
            title: row.title,
            text: row.text,
            url: row.url,
            tags: from_json("changes", "tags", &row.tags)?,
            author: row.author,
            source: row.source,
            external_id: row.external_id,
        })
    }
}

/// The columns of [`Row`]; every query that reads changes begins with it.
const SELECT: &str =
    "SELECT change_key, change_id, at, ended_at, kind, cluster, application, server, title, text, url, tags,
            author, source, external_id, received_at
       FROM changes";

/// Which changes to list.
#[derive(Debug, Clone, Default)]
pub struct ChangeFilter {
    /// Only of this cluster.
    pub cluster: Option<String>,
    /// Only of this application.
    pub application: Option<String>,
    /// Only of this kind.
    pub kind: Option<ChangeKind>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before, this instant not included.
    pub to: Option<Timestamp>,
    /// Behind the page that ended here.
    pub before: Option<ChangeCursor>,
}

/// Where a page of changes ended: the time of its last change, in microseconds, and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeCursor {
    at_us: i64,
    key: i64,
}

impl fmt::Display for ChangeCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at_us, self.key)
    }
}

/// Refused because it is no cursor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`before` is not the `next` of a page")]
pub struct InvalidCursor;

impl FromStr for ChangeCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at, key) = text.split_once('.').ok_or(InvalidCursor)?;
        match (at.parse(), key.parse()) {
            (Ok(at_us), Ok(key)) => Ok(Self { at_us, key }),
            _ => Err(InvalidCursor),
        }
    }
}

/// One page of changes.
#[derive(Debug)]
pub struct ChangePage {
    /// The changes, newest first.
    pub changes: Vec<Change>,
    /// Where the next page begins, if there is one.
    pub next: Option<ChangeCursor>,
}

/// A change that is known, and when it was first told of.
#[derive(Debug)]
pub struct KnownChange {
    /// The change.
    pub change: Change,
    /// When it was first told of.
    pub received_at: Timestamp,
}

/// Finds the latest change with a digest.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.changes.find", level = "debug", skip_all)]
pub async fn find_by_digest(conn: &mut Conn, digest: &str) -> Result<Option<KnownChange>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push(" WHERE digest = ").push_bind(digest).push(" ORDER BY change_key DESC LIMIT 1");
    let row: Option<Row> = query.build_query_as().fetch_optional(conn).await?;
    let known = row.map(|row| {
        let received_at = instant("changes", "received_at", row.received_at)?;
        Ok(KnownChange { change: row.try_into()?, received_at })
    });
    known.transpose()
}

/// Adds a change that was told of at `received_at`.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.changes.insert", skip_all, fields(change.id = %change.id))]
pub async fn insert(
    conn: &mut Conn,
    change: &Change,
    digest: &str,
    received_at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO changes (change_id, digest, at, ended_at, kind, cluster, application, server, title, text, url,
                              tags, author, source, external_id, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(change.id.to_string())
    .bind(digest)
    .bind(change.at.as_microsecond())
    .bind(change.ended_at.map(Timestamp::as_microsecond))
    .bind(change.kind.name())
    .bind(&change.cluster)
    .bind(&change.application)
    .bind(&change.server)
    .bind(&change.title)
    .bind(&change.text)
    .bind(&change.url)
    .bind(to_json(&change.tags))
    .bind(&change.author)
    .bind(&change.source)
    .bind(&change.external_id)
    .bind(received_at.as_microsecond())
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes what is now told of a change that is known.
///
/// # Errors
///
/// [`StoreError::Conflict`] if it is gone.
#[tracing::instrument(name = "store.changes.save", skip_all, fields(change.id = %change.id))]
pub async fn save(conn: &mut Conn, change: &Change) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE changes
            SET at = $1, ended_at = $2, kind = $3, cluster = $4, application = $5, server = $6, title = $7, text = $8,
                url = $9, tags = $10, author = $11
          WHERE change_id = $12",
    )
    .bind(change.at.as_microsecond())
    .bind(change.ended_at.map(Timestamp::as_microsecond))
    .bind(change.kind.name())
    .bind(&change.cluster)
    .bind(&change.application)
    .bind(&change.server)
    .bind(&change.title)
    .bind(&change.text)
    .bind(&change.url)
    .bind(to_json(&change.tags))
    .bind(&change.author)
    .bind(change.id.to_string())
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict("change")) }
}

/// Lists changes, newest first.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.changes.list", level = "debug", skip_all)]
pub async fn list(conn: &mut Conn, filter: &ChangeFilter, limit: u32) -> Result<ChangePage, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push(" WHERE at >= ").push_bind(filter.from.map_or(i64::MIN, Timestamp::as_microsecond));
    query.push(" AND at < ").push_bind(filter.to.map_or(i64::MAX, Timestamp::as_microsecond));
    if let Some(cluster) = &filter.cluster {
        query.push(" AND cluster = ").push_bind(cluster);
    }
    if let Some(application) = &filter.application {
        query.push(" AND application = ").push_bind(application);
    }
    if let Some(kind) = filter.kind {
        query.push(" AND kind = ").push_bind(kind.name());
    }
    if let Some(ChangeCursor { at_us, key }) = filter.before {
        query.push(" AND (at < ").push_bind(at_us).push(" OR at = ").push_bind(at_us);
        query.push(" AND change_key < ").push_bind(key).push(")");
    }
    query.push(" ORDER BY at DESC, change_key DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let mut rows: Vec<Row> = query.build_query_as().fetch_all(conn).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| ChangeCursor { at_us: row.at, key: row.change_key });
    let changes = rows.into_iter().map(Change::try_from).collect::<Result<_, _>>()?;
    Ok(ChangePage { changes, next })
}

/// Lists what may concern a cluster between two instants, oldest first: what names it, and what names no cluster. Of
/// what happened before `middle`, and of what happened from then on, at most `most` each: those nearest to it.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.changes.list_around", level = "debug", skip_all)]
pub async fn list_around(
    conn: &mut Conn,
    cluster: Option<&str>,
    (from, middle, to): (Timestamp, Timestamp, Timestamp),
    most: u32,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    for (from, to, order) in [
        (from, middle, " ORDER BY at DESC, change_key DESC LIMIT "),
        (middle, to, " ORDER BY at, change_key LIMIT "),
    ] {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push(" WHERE at >= ").push_bind(from.as_microsecond());
        query.push(" AND at < ").push_bind(to.as_microsecond());
        query.push(" AND (cluster IS NULL OR cluster = ").push_bind(cluster).push(")");
        query.push(order).push_bind(i64::from(most));
        let rows: Vec<Row> = query.build_query_as().fetch_all(&mut *conn).await?;
        for row in rows {
            changes.push((row.at, row.change_key, Change::try_from(row)?));
        }
    }
    changes.sort_by_key(|(at, key, _)| (*at, *key));
    Ok(changes.into_iter().map(|(.., change)| change).collect())
}
