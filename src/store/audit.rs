//! The audit log: every act with its actor, whether it concerns an incident or not. Lines are added and read, never
//! changed.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

use crate::store::{Conn, StoreError, instant};

/// One act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLine {
    /// When.
    pub at: Timestamp,
    /// Who: `connwarden`, or the name of a person's credential.
    pub actor: String,
    /// What was done, in one word: the kind of the entry, where a timeline has one too.
    pub act: String,
    /// To what: the id of a mitigation, or the name of a pause.
    pub subject: String,
    /// In words. May hold text from strangers: escape it where it is shown.
    pub text: String,
}

/// One page of the audit log.
#[derive(Debug)]
pub struct AuditPage {
    /// The acts, newest first.
    pub lines: Vec<AuditLine>,
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

/// Lists acts, newest first: all, or those done to `subject`; behind the page whose `next` is `before`.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.audit.list", level = "debug", skip_all)]
pub async fn list(
    conn: &mut Conn,
    subject: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> Result<AuditPage, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT audit_key, at, actor, act, subject, text FROM audit");
    query.push(" WHERE audit_key < ").push_bind(before.unwrap_or(i64::MAX));
    if let Some(subject) = subject {
        query.push(" AND subject = ").push_bind(subject);
    }
    query.push(" ORDER BY audit_key DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let mut rows: Vec<(i64, i64, String, String, String, String)> =
        query.build_query_as().fetch_all(conn).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|(key, ..)| *key);
    let read = |(_, at, actor, act, subject, text)| {
        Ok(AuditLine { at: instant("audit", "at", at)?, actor, act, subject, text })
    };
    let lines = rows.into_iter().map(read).collect::<Result<_, StoreError>>()?;
    Ok(AuditPage { lines, next })
}
