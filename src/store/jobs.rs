//! The durable queue: work that must happen, whatever happens to the process.
//!
//! A job is queued in the transaction of the change that causes it. A worker leases it; a job whose worker died is
//! seen by its lease running out. Whoever does the work finishes the job in the transaction of its result.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::instants::later;
use crate::store::mutations::{Mutation, execute_each};
use crate::store::{Conn, StoreError, instant, portions};

/// A job, and the right to work on it until the lease runs out.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LeasedJob {
    /// Where it is stored.
    pub job_key: i64,
    /// What kind of work it is.
    pub kind: String,
    /// What the work is about: the public id of something.
    pub subject: String,
    /// How often it has been begun, this time included.
    pub attempts: i64,
    /// How often its handler has failed since it last did what it could.
    pub failures: i64,
    /// When it was queued, in microseconds since 1970.
    pub created_at: i64,
}

/// A job to queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NewJob {
    /// What kind of work it is.
    pub kind: &'static str,
    /// What the work is about: the public id of something.
    pub subject: String,
    /// Not before this.
    pub due_at: Timestamp,
}

/// Queues jobs. Where the same work is waiting already, that begins anew, and no later than it was due.
///
/// # Errors
///
/// The database refused.
pub async fn insert(conn: &mut Conn, jobs: &[NewJob], now: Timestamp) -> Result<(), StoreError> {
    execute_each(conn, inserts(jobs, now)).await
}

/// Makes the statements that queue jobs, as [`insert`] does.
pub fn inserts(jobs: &[NewJob], now: Timestamp) -> impl Iterator<Item = Mutation> {
    portions(jobs).map(move |portion| {
        Mutation::any(portion.statement(
            "INSERT INTO jobs (kind, subject, created_at, due_at, state, attempts)
             SELECT *, 'waiting', 0
               FROM (VALUES ",
            "(?, ?, ?, ?)",
            ") AS queued WHERE column1 IS NOT NULL
             ON CONFLICT (kind, subject) WHERE state = 'waiting' DO UPDATE
                SET attempts = 0,
                    failures = 0,
                    created_at = excluded.created_at,
                    due_at = CASE WHEN jobs.due_at < excluded.due_at THEN jobs.due_at
                                  ELSE excluded.due_at END",
            |row, job| {
                row.bind(job.kind)
                    .bind(&job.subject)
                    .bind(now.as_microsecond())
                    .bind(job.due_at.as_microsecond());
            },
        ))
    })
}

/// Leases the job of a kind that is due the longest; one whose lease has run out is due again.
///
/// # Errors
///
/// The database refused.
#[tracing::instrument(name = "store.jobs.lease", level = "debug", skip_all)]
pub async fn lease(
    conn: &mut Conn,
    kind: &str,
    now: Timestamp,
    lease: Duration,
) -> Result<Option<LeasedJob>, StoreError> {
    let job = sqlx::query_as(
        "UPDATE jobs
            SET state = 'running', attempts = attempts + 1, lease_until = $2
          WHERE job_key = (SELECT job_key
                             FROM jobs
                            WHERE kind = $3
                              AND (state = 'waiting' OR state = 'running')
                              AND CASE state WHEN 'waiting' THEN due_at ELSE lease_until END <= $1
                            ORDER BY due_at, job_key
                            LIMIT 1)
         RETURNING job_key, kind, subject, attempts, failures, created_at",
    )
    .bind(now.as_microsecond())
    .bind(later(now, lease).as_microsecond())
    .bind(kind)
    .fetch_optional(conn)
    .await?;
    Ok(job)
}

/// Keeps a lease for longer, as long as the work goes on.
///
/// # Errors
///
/// [`StoreError::Conflict`] if the lease was lost to another worker, or the job is finished.
pub async fn renew(
    conn: &mut Conn,
    job: &LeasedJob,
    now: Timestamp,
    lease: Duration,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE jobs
            SET lease_until = $3
          WHERE job_key = $1 AND state = 'running' AND attempts = $2",
    )
    .bind(job.job_key)
    .bind(job.attempts)
    .bind(later(now, lease).as_microsecond())
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict("job")) }
}

/// Takes a finished job off the queue. Belongs into the transaction of the job's result.
///
/// # Errors
///
/// [`StoreError::Conflict`] if the lease was lost to another worker.
pub async fn finish(conn: &mut Conn, job: &LeasedJob) -> Result<(), StoreError> {
    let done = sqlx::query(
        "DELETE FROM jobs
          WHERE job_key = $1 AND state = 'running' AND attempts = $2",
    )
    .bind(job.job_key)
    .bind(job.attempts)
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict("job")) }
}

/// Puts a job back until `due_at`, whose handler did what could be done for now. If the same work has been queued
/// meanwhile, that takes its place.
///
/// # Errors
///
/// [`StoreError::Conflict`] if the lease was lost to another worker.
pub async fn retry(
    conn: &mut Conn,
    job: &LeasedJob,
    due_at: Timestamp,
    error: &str,
) -> Result<(), StoreError> {
    put_back(conn, job, due_at, error, 0).await
}

/// Puts a job back until `due_at`, whose handler failed.
///
/// # Errors
///
/// [`StoreError::Conflict`] if the lease was lost to another worker.
pub async fn fail(
    conn: &mut Conn,
    job: &LeasedJob,
    due_at: Timestamp,
    error: &str,
) -> Result<(), StoreError> {
    put_back(conn, job, due_at, error, job.failures + 1).await
}

async fn put_back(
    conn: &mut Conn,
    job: &LeasedJob,
    due_at: Timestamp,
    error: &str,
    failures: i64,
) -> Result<(), StoreError> {
    let waiting: Option<i64> = sqlx::query_scalar(
        "SELECT job_key
           FROM jobs
          WHERE kind = $1 AND subject = $2 AND state = 'waiting'",
    )
    .bind(&job.kind)
    .bind(&job.subject)
    .fetch_optional(&mut *conn)
    .await?;
    if waiting.is_some() {
        return finish(conn, job).await;
    }
    let done = sqlx::query(
        "UPDATE jobs
            SET state = 'waiting', due_at = $3, lease_until = NULL, last_error = $4, failures = $5
          WHERE job_key = $1 AND state = 'running' AND attempts = $2",
    )
    .bind(job.job_key)
    .bind(job.attempts)
    .bind(due_at.as_microsecond())
    .bind(error)
    .bind(failures)
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict("job")) }
}

/// Makes jobs due at once that were queued by a clock that was ahead: what they wait for by it may be days away.
///
/// # Errors
///
/// The database refused.
pub async fn pull_in(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE jobs
            SET due_at = $1, created_at = $1
          WHERE state = 'waiting' AND created_at > $1",
    )
    .bind(now.as_microsecond())
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a job up for good; it is kept to be looked at.
///
/// # Errors
///
/// [`StoreError::Conflict`] if the lease was lost to another worker.
pub async fn bury(conn: &mut Conn, job: &LeasedJob, error: &str) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE jobs
            SET state = 'dead', lease_until = NULL, last_error = $3
          WHERE job_key = $1 AND state = 'running' AND attempts = $2",
    )
    .bind(job.job_key)
    .bind(job.attempts)
    .bind(error)
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict("job")) }
}

/// What became of the jobs whose workers died.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// How many go on.
    pub go_on: u64,
    /// Kind and subject of those that were given up, because the process has ended too often while it worked on them.
    pub given_up: Vec<(String, String)>,
}

/// Gives back every lease; work that was cut short is no attempt, but it is counted: what has been cut short
/// `interruptions` times may be what ends the process. Only for the start of a process, when whoever held the leases
/// is certainly dead.
///
/// # Errors
///
/// The database refused.
pub async fn release_all(conn: &mut Conn, interruptions: i64) -> Result<Released, StoreError> {
    // a lease that ended in 1970 has been given back: a second start takes off no second attempt
    let done = sqlx::query(
        "UPDATE jobs
            SET lease_until = 0, attempts = attempts - 1, interruptions = interruptions + 1
          WHERE state = 'running' AND lease_until > 0",
    )
    .execute(&mut *conn)
    .await?;
    let given_up: Vec<(String, String)> = sqlx::query_as(
        "UPDATE jobs
            SET state = 'dead', last_error = 'connwarden ended again and again while it worked on this'
          WHERE state = 'running' AND interruptions >= $1
         RETURNING kind, subject",
    )
    .bind(interruptions)
    .fetch_all(conn)
    .await?;
    Ok(Released { go_on: done.rows_affected().saturating_sub(given_up.len() as u64), given_up })
}

/// Counts the jobs that are waiting or running.
///
/// # Errors
///
/// The database refused.
pub async fn count(conn: &mut Conn) -> Result<u64, StoreError> {
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state <> 'dead'").fetch_one(conn).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The jobs of one kind that wait or run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedJobs {
    /// What kind of work it is.
    pub kind: String,
    /// How many there are.
    pub count: u64,
    /// Since when the one that is due the longest is due; it may lie in the future.
    pub oldest_due_at: Timestamp,
}

/// Counts the jobs that wait or run, by kind.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn count_by_kind(conn: &mut Conn) -> Result<Vec<QueuedJobs>, StoreError> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT kind, count(*), min(due_at)
           FROM jobs
          WHERE state <> 'dead'
          GROUP BY kind",
    )
    .fetch_all(conn)
    .await?;
    let jobs = rows.into_iter().map(|(kind, count, due_at)| {
        let oldest_due_at = instant("jobs", "due_at", due_at)?;
        Ok(QueuedJobs { kind, count: u64::try_from(count).unwrap_or(0), oldest_due_at })
    });
    jobs.collect()
}

/// Lists the kinds of the jobs that wait or run, and when the next of each is due; what is due first comes first. A job
/// that runs is due when its lease runs out.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_due(conn: &mut Conn) -> Result<Vec<(String, Timestamp)>, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT kind, min(CASE state WHEN 'waiting' THEN due_at ELSE lease_until END) AS next_due_at
           FROM jobs
          WHERE state = 'waiting' OR state = 'running'
          GROUP BY kind
          ORDER BY next_due_at, min(job_key)",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|(kind, due_at)| Ok((kind, instant("jobs", "due_at", due_at)?))).collect()
}
