//! What taking notifications in is compared with: the same rows into the same tables, through the same driver, without
//! HTTP, parsing and lifecycle.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use connwarden::store::{self, Conn, Store};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Executor, QueryBuilder, Row, Sqlite, SqliteConnection, TypeInfo, ValueRef,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::intake::SENDERS;

/// The tables that a notification writes into, beside that of incidents.
const TABLES: [&str; 4] = ["notifications", "alerts", "entries", "jobs"];

/// Rows per statement. Twice as many gain nothing.
const ROWS: usize = 64;

/// The rows that a number of deliveries have left in a database.
pub struct Rows {
    deliveries: usize,
    /// All of them begin with the first few deliveries, before anything refers to them.
    incidents: Table,
    tables: Vec<Table>,
}

impl Rows {
    /// Reads them.
    pub async fn read(original: &Path, deliveries: usize) -> Arc<Self> {
        let options = SqliteConnectOptions::new().filename(original.join("connwarden.db"));
        let mut conn = options.connect().await.unwrap();
        let incidents = Table::read(&mut conn, "incidents").await;
        let mut tables = Vec::new();
        for name in TABLES {
            tables.push(Table::read(&mut conn, name).await);
        }
        Arc::new(Self { deliveries, incidents, tables })
    }

    /// Group commit: as many senders as the daemon has hand over the rows of one delivery each and wait until they are
    /// committed before they hand over the next; one thread writes what waits, in batches of as many as the daemon
    /// takes at the most. How long that takes, and how many batches it were.
    pub async fn write_for_senders(self: &Arc<Self>) -> (Duration, usize) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        self.make_ready(&store).await;
        let (queue, waiting) = mpsc::channel(SENDERS);
        let (rows, writing, runtime) = (self.clone(), store.clone(), Handle::current());
        let writer = thread::spawn(move || runtime.block_on(rows.write_what_waits(&writing, waiting)));

        let (mut senders, begun) = (JoinSet::new(), Instant::now());
        // in the order of their keys, as the daemon makes them: a row between others costs a page of its own
        let next = Arc::new(AtomicUsize::new(0));
        for _ in 0..SENDERS {
            let (next, queue, deliveries) = (next.clone(), queue.clone(), self.deliveries);
            senders.spawn(async move {
                loop {
                    let delivery = next.fetch_add(1, Ordering::Relaxed);
                    if delivery >= deliveries {
                        break;
                    }
                    let (answer, answered) = oneshot::channel();
                    queue.send((delivery, answer)).await.unwrap();
                    answered.await.unwrap();
                }
            });
        }
        senders.join_all().await;
        let took = begun.elapsed();
        drop(queue);
        let batches = writer.join().unwrap();
        store.close().await;
        (took, batches)
    }

    /// Writes until nobody sends any more; how many batches it were.
    async fn write_what_waits(
        &self,
        store: &Store,
        mut waiting: mpsc::Receiver<(usize, oneshot::Sender<()>)>,
    ) -> usize {
        let mut batches = 0;
        while let Some(first) = waiting.recv().await {
            let (mut deliveries, mut answers) = (vec![first.0], vec![first.1]);
            while deliveries.len() < store.batch()
                && let Ok((delivery, answer)) = waiting.try_recv()
            {
                deliveries.push(delivery);
                answers.push(answer);
            }
            self.write(store, &deliveries, batches == 0).await;
            batches += 1;
            for answer in answers {
                answer.send(()).unwrap();
            }
        }
        batches
    }

    /// Writes them with nobody waiting for one: batch after batch is full. How long that takes.
    pub async fn write_at_once(&self) -> Duration {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        self.make_ready(&store).await;
        let begun = Instant::now();
        let all: Vec<usize> = (0..self.deliveries).collect();
        for (place, deliveries) in all.chunks(store.batch()).enumerate() {
            self.write(&store, deliveries, place == 0).await;
        }
        let took = begun.elapsed();
        store.close().await;
        took
    }

    /// Writes the rows of some deliveries with one commit.
    async fn write(&self, store: &Store, deliveries: &[usize], begins: bool) {
        let mut tx = store.write().await.unwrap();
        if begins {
            self.incidents.write(&mut tx, self.incidents.rows.iter()).await;
        }
        for table in &self.tables {
            let share = |delivery: usize| table.rows.len() * delivery / self.deliveries;
            let rows =
                deliveries.iter().flat_map(|&delivery| &table.rows[share(delivery)..share(delivery + 1)]);
            table.write(&mut tx, rows).await;
        }
        store::commit(tx).await.unwrap();
    }

    /// Makes every statement ready that will be needed: the time that this takes is not the floor's.
    async fn make_ready(&self, store: &Store) {
        let mut tx = store.write().await.unwrap();
        for table in self.tables.iter().filter(|table| !table.rows.is_empty()) {
            for rows in 1..=ROWS {
                let query = table.insert(table.rows.iter().cycle().take(rows));
                tx.prepare(query.sql()).await.unwrap();
            }
        }
        store::commit(tx).await.unwrap();
    }
}

/// The rows of a table.
struct Table {
    insert: String,
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone)]
enum Cell {
    Nothing,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Table {
    async fn read(conn: &mut SqliteConnection, name: &str) -> Self {
        let query = AssertSqlSafe(format!("SELECT * FROM {name} ORDER BY 1"));
        let rows: Vec<SqliteRow> = sqlx::query(query).fetch_all(conn).await.unwrap();
        let cell = |row: &SqliteRow, place: usize| {
            let value = row.try_get_raw(place).unwrap();
            if value.is_null() {
                return Cell::Nothing;
            }
            match value.type_info().name() {
                "INTEGER" => Cell::Number(row.get_unchecked(place)),
                "TEXT" => Cell::Text(row.get_unchecked(place)),
                "BLOB" => Cell::Bytes(row.get_unchecked(place)),
                other => panic!("{name} holds a {other}"),
            }
        };
        let rows = rows.iter().map(|row| (0..row.len()).map(|place| cell(row, place)).collect()).collect();
        Self { insert: format!("INSERT INTO {name} "), rows }
    }

    /// Writes rows, with as few statements as there can be.
    async fn write<'a>(&self, conn: &mut Conn, rows: impl Iterator<Item = &'a Vec<Cell>>) {
        let rows: Vec<_> = rows.collect();
        for rows in rows.chunks(ROWS) {
            self.insert(rows.iter().copied()).build().execute(&mut *conn).await.unwrap();
        }
    }

    fn insert<'a>(&self, rows: impl Iterator<Item = &'a Vec<Cell>>) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::<Sqlite>::new(&self.insert);
        query.push_values(rows, |mut list, row| {
            for cell in row {
                match cell {
                    Cell::Nothing => list.push_bind(None::<i64>),
                    Cell::Number(number) => list.push_bind(*number),
                    Cell::Text(text) => list.push_bind(text.as_str()),
                    Cell::Bytes(bytes) => list.push_bind(bytes.as_slice()),
                };
            }
        });
        query
    }
}
