//! The audit log. Lines are added, never changed, and go when they are old.

use sqlx::{QueryBuilder, Sqlite};

use crate::model::audit::AuditLine;
use crate::store::{Conn, StoreError, instant};

#[derive(sqlx::FromRow)]
struct Row {
    audit_key: i64,
    at: i64,
    actor: String,
    act: String,
    subject: String,
    text: String,
}

impl TryFrom<Row> for AuditLine {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        Ok(Self {
            at: instant("audit", "at", row.at)?,
            actor: row.actor,
            act: row.act,
            subject: row.subject,
            text: row.text,
        })
    }
}

/// Which acts to list. All conditions hold.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// By this actor.
    pub actor: Option<String>,
    /// Of this kind.
    pub act: Option<String>,
    /// On this mitigation, by its id, or this pause, by its name.
    pub subject: Option<String>,
    /// Older than the one at this cursor.
    pub before: Option<i64>,
}

/// One page of acts.
#[derive(Debug)]
pub struct AuditPage {
    /// The acts, newest first.
    pub acts: Vec<AuditLine>,
    /// Where the next page begins, if there is one.
    pub next: Option<i64>,
}

/// Adds an act.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.audit.insert", level = "debug", skip_all)]
pub async fn insert(conn: &mut Conn, line: &AuditLine) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO audit (at, actor, act, subject, text)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(line.at.as_microsecond())
    .bind(&line.actor)
    .bind(&line.act)
    .bind(&line.subject)
    .bind(&line.text)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lists acts, newest first: in the order in which they were written, whatever the clock said.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.audit.list", level = "debug", skip_all)]
pub async fn list(conn: &mut Conn, filter: &AuditFilter, limit: u32) -> Result<AuditPage, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT audit_key, at, actor, act, subject, text
           FROM audit
          WHERE 1 = 1",
    );
    if let Some(actor) = &filter.actor {
        query.push(" AND actor = ").push_bind(actor);
    }
    if let Some(act) = &filter.act {
        query.push(" AND act = ").push_bind(act);
    }
    if let Some(subject) = &filter.subject {
        query.push(" AND subject = ").push_bind(subject);
    }
    if let Some(before) = filter.before {
        query.push(" AND audit_key < ").push_bind(before);
    }
    query.push(" ORDER BY audit_key DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let mut rows: Vec<Row> = query.build_query_as().fetch_all(conn).await?;

    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.audit_key);
    let acts = rows.into_iter().map(AuditLine::try_from).collect::<Result<_, _>>()?;
    Ok(AuditPage { acts, next })
}
