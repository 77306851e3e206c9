//! The audit log: every act on mitigations and pauses with its actor, whether there is an incident or not. Lines are added,
//! never changed; they are there to be looked up in the database when somebody asks who did what.

use jiff::Timestamp;

use crate::store::{Conn, StoreError};

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
