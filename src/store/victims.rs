//! Victims, and what became of each: the journal of a run.
//!
//! A line is written before a request and after it, and only goes forward: the states from which a victim may come are in
//! the `WHERE`, so that what may have been sent is never sent again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::ids::MitigationId;
use crate::model::journal::{JournalLine, VictimState};
use crate::model::victim::{Victim, VictimKey};
use crate::store::mutations::{Mutation, execute_each};
use crate::store::{Conn, StoreError, corrupt, from_json, instant, parse, portions, to_json};

/// A victim, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournaledVictim {
    /// Its place in the plan; the first one has 0.
    pub place: u64,
    /// Which connection it is, and what was known of it when the plan was made.
    pub victim: Victim,
    /// What became of it.
    pub state: VictimState,
    /// When that was written down.
    pub at: Timestamp,
    /// What its server said, where it refused.
    pub error: Option<String>,
}

/// One page of victims.
#[derive(Debug)]
pub struct VictimPage {
    /// The victims, the first ones first.
    pub victims: Vec<JournaledVictim>,
    /// Where the next page begins, if there is one.
    pub next: Option<u64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    place: i64,
    state: String,
    at: i64,
    error: Option<String>,
    known: String,
}

impl TryFrom<Row> for JournaledVictim {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        Ok(Self {
            place: u64::try_from(row.place).map_err(|_| corrupt("victims", "place", row.place))?,
            victim: from_json("victims", "known", &row.known)?,
            state: parse("victims", "state", &row.state, VictimState::from_name)?,
            at: instant("victims", "at", row.at)?,
            error: row.error,
        })
    }
}

#[derive(sqlx::FromRow)]
struct LineRow {
    server_id: String,
    cid: i64,
    start: String,
    state: String,
    at: i64,
    error: Option<String>,
}

impl TryFrom<LineRow> for JournalLine {
    type Error = StoreError;

    fn try_from(row: LineRow) -> Result<Self, Self::Error> {
        Ok(Self {
            victim: VictimKey { server_id: row.server_id, cid: row.cid.cast_unsigned(), start: row.start },
            state: parse("victims", "state", &row.state, VictimState::from_name)?,
            at: instant("victims", "at", row.at)?,
            error: row.error,
        })
    }
}

/// Adds the victims of a new mitigation, all of them pending.
pub(super) async fn insert(
    conn: &mut Conn,
    mitigation_key: i64,
    victims: &[Victim],
    at: Timestamp,
) -> Result<(), StoreError> {
    let victims: Vec<(i64, &Victim)> = (0..).zip(victims).collect();
    execute_each(conn, inserts(mitigation_key, &victims, at)).await
}

/// Makes the statements that add victims at their places.
fn inserts<'a>(
    mitigation_key: i64,
    victims: &'a [(i64, &Victim)],
    at: Timestamp,
) -> impl Iterator<Item = Mutation> + 'a {
    portions(victims).map(move |portion| {
        Mutation::any(portion.statement(
            "INSERT INTO victims (mitigation_key, place, server_id, cid, start, state, at, known)
             SELECT *
               FROM (VALUES ",
            "(?, ?, ?, ?, ?, ?, ?, ?)",
            ") AS frozen WHERE column1 IS NOT NULL",
            |row, (place, victim)| {
                row.bind(mitigation_key)
                    .bind(*place)
                    .bind(&victim.key.server_id)
                    .bind(victim.key.cid.cast_signed())
                    .bind(&victim.key.start)
                    .bind(VictimState::Pending.name())
                    .bind(at.as_microsecond())
                    .bind(to_json(victim));
            },
        ))
    })
}

/// Lists the victims of a plan as they were frozen, the first ones first.
pub(super) async fn list_frozen(conn: &mut Conn, mitigation_key: i64) -> Result<Vec<Victim>, StoreError> {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT known
           FROM victims
          WHERE mitigation_key = $1
          ORDER BY place",
    )
    .bind(mitigation_key)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|known| from_json("victims", "known", known)).collect()
}

/// Lists victims with what became of them, the first ones first, from the place `from` on. `state` gives only those in it.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
#[tracing::instrument(name = "store.victims.list", level = "debug", skip_all, fields(mitigation.id = %mitigation))]
pub async fn list(
    conn: &mut Conn,
    mitigation: MitigationId,
    state: Option<VictimState>,
    from: u64,
    limit: u32,
) -> Result<VictimPage, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT place, state, at, error, known
           FROM victims
          WHERE mitigation_key = (SELECT mitigation_key FROM mitigations WHERE mitigation_id = ",
    );
    query.push_bind(mitigation.to_string());
    query.push(") AND place >= ").push_bind(i64::try_from(from).unwrap_or(i64::MAX));
    if let Some(state) = state {
        query.push(" AND state = ").push_bind(state.name());
    }
    query.push(" ORDER BY place LIMIT ").push_bind(i64::from(limit) + 1);
    let rows: Vec<Row> = query.build_query_as().fetch_all(conn).await?;
    let mut victims = rows.into_iter().map(JournaledVictim::try_from).collect::<Result<Vec<_>, _>>()?;
    let next = victims.get(limit as usize).map(|victim| victim.place);
    victims.truncate(limit as usize);
    Ok(VictimPage { victims, next })
}

/// Lists the first victims in a state, at most `limit`.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn list_in(
    conn: &mut Conn,
    mitigation: MitigationId,
    state: VictimState,
    limit: u32,
) -> Result<Vec<JournalLine>, StoreError> {
    let rows: Vec<LineRow> = sqlx::query_as(
        "SELECT server_id, cid, start, state, at, error
           FROM victims
          WHERE mitigation_key = (SELECT mitigation_key FROM mitigations WHERE mitigation_id = $1)
            AND state = $2
          ORDER BY place
          LIMIT $3",
    )
    .bind(mitigation.to_string())
    .bind(state.name())
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(JournalLine::try_from).collect()
}

/// Writes down what became of victims, one line each, provided each may come from where it stands into its new state.
///
/// # Errors
///
/// [`StoreError::Conflict`] if a victim is not there, stands elsewhere, or has several lines.
#[tracing::instrument(name = "store.victims.record", level = "debug", skip_all, fields(mitigation.id = %mitigation))]
pub async fn record(
    conn: &mut Conn,
    mitigation: MitigationId,
    lines: &[JournalLine],
) -> Result<(), StoreError> {
    execute_each(conn, records(mitigation, lines)).await
}

/// Makes the statements that write lines, as [`record`] does.
fn records(mitigation: MitigationId, lines: &[JournalLine]) -> impl Iterator<Item = Mutation> {
    portions(lines).map(move |portion| {
        let statement = portion.statement(
            "WITH lines (server_id, cid, start, was, or_was, state, at, error) AS (VALUES ",
            "(?, ?, ?, ?, ?, ?, ?, ?)",
            ")
             UPDATE victims
                SET state = lines.state, at = lines.at, error = lines.error
               FROM lines
              WHERE victims.server_id = lines.server_id
                AND victims.cid = lines.cid
                AND victims.start = lines.start
                AND victims.state IN (lines.was, lines.or_was)
                AND victims.mitigation_key = (SELECT mitigation_key FROM mitigations WHERE mitigation_id = ?)",
            |row, line| {
                let (was, or_was) = match line.state.comes_from() {
                    [] => (None, None),
                    [was] => (Some(was.name()), None),
                    [was, or_was, ..] => (Some(was.name()), Some(or_was.name())),
                };
                row.bind(&line.victim.server_id)
                    .bind(line.victim.cid.cast_signed())
                    .bind(&line.victim.start)
                    .bind(was)
                    .bind(or_was)
                    .bind(line.state.name())
                    .bind(line.at.as_microsecond())
                    .bind(&line.error);
            },
        );
        Mutation::exactly(portion.len(), "victim", statement.bind(mitigation.to_string()))
    })
}

/// Writes down that all that are pending are left alone; how many.
///
/// # Errors
///
/// The database refused.
pub async fn spare_pending(
    conn: &mut Conn,
    mitigation: MitigationId,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE victims
            SET state = 'spared', at = $1
          WHERE mitigation_key = (SELECT mitigation_key FROM mitigations WHERE mitigation_id = $2)
            AND state = 'pending'",
    )
    .bind(at.as_microsecond())
    .bind(mitigation.to_string())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Counts victims by what became of them; states without any are left out.
///
/// # Errors
///
/// The database refused, or holds what cannot be read.
pub async fn counts(
    conn: &mut Conn,
    mitigation: MitigationId,
) -> Result<BTreeMap<VictimState, u64>, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT state, count(*)
           FROM victims
          WHERE mitigation_key = (SELECT mitigation_key FROM mitigations WHERE mitigation_id = $1)
          GROUP BY state",
    )
    .bind(mitigation.to_string())
    .fetch_all(conn)
    .await?;
    let read = |(state, count): (String, i64)| {
        let state = parse("victims", "state", &state, VictimState::from_name)?;
        Ok((state, u64::try_from(count).unwrap_or(0)))
    };
    rows.into_iter().map(read).collect()
}

/// Counts the victims in some states by the nats id of their server; servers without any are left out.
///
/// # Errors
///
/// The database refused.
pub async fn count_by_server(
    conn: &mut Conn,
    mitigation: MitigationId,
    states: &[VictimState],
) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT server_id, count(*)
           FROM victims
          WHERE mitigation_key = (SELECT mitigation_key FROM mitigations WHERE mitigation_id = ",
    );
    query.push_bind(mitigation.to_string()).push(") AND state IN (");
    let mut names = query.separated(", ");
    for state in states {
        names.push_bind(state.name());
    }
    query.push(") GROUP BY server_id");
    let rows: Vec<(String, i64)> = query.build_query_as().fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(id, count)| (id, u64::try_from(count).unwrap_or(0))).collect())
}
