//! The writer against a real database file.

use std::sync::Mutex;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::store::settings;

/// A delivery: the name of a setting. Those that begin with `bad` cannot be written.
type Names = Writer<String, usize>;

/// What became of each delivery, by its name.
type Answers = JoinSet<(String, Result<usize, WriteError>)>;

struct Desk {
    store: Store,
    writer: Names,
    batches: Batches<String, usize>,
    /// The names of each transaction that was tried.
    tried: Arc<Mutex<Vec<Vec<String>>>>,
    directory: TempDir,
}

impl Desk {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let (writer, batches) = Writer::new(MOST_DELIVERIES);
        Self { store, writer, batches, tried: Arc::default(), directory }
    }

    /// Sends deliveries, and waits until they wait.
    async fn send(&self, deliveries: impl IntoIterator<Item = (String, usize)>) -> Answers {
        let (mut answers, before) = (JoinSet::new(), self.writer.waiting());
        for (name, size_bytes) in deliveries {
            let writer = self.writer.clone();
            answers.spawn(async move {
                let answer = writer.write(name.clone(), size_bytes).await;
                (name, answer)
            });
        }
        while self.writer.waiting() < before + answers.len() {
            tokio::task::yield_now().await;
        }
        answers
    }

    /// Writes the next batch; how many deliveries it had.
    async fn write_next(&mut self) -> usize {
        let batch = self.batches.next().await.unwrap();
        let (count, tried) = (batch.deliveries(), self.tried.clone());
        let written = batch.write(&self.store, move |conn, names| {
            tried.lock().unwrap().push(names.to_vec());
            Box::pin(insert(conn, names))
        });
        let written = written.await;
        if let Some(error) = written.unreachable() {
            self.batches.refuse(error);
        }
        written.answer();
        count
    }

    async fn stored(&self) -> Vec<String> {
        let mut tx = self.store.read().await.unwrap();
        let names = sqlx::query_scalar("SELECT name FROM settings ORDER BY name");
        names.fetch_all(&mut *tx).await.unwrap()
    }

    /// The number of names in each transaction that was tried.
    fn tried(&self) -> Vec<usize> {
        self.tried.lock().unwrap().iter().map(Vec::len).collect()
    }
}

/// Writes names; the result of each is its place in the transaction.
async fn insert(conn: &mut Conn, names: &[String]) -> Result<Vec<usize>, StoreError> {
    for name in names {
        match name.as_str() {
            "bad: refused" => return Err(StoreError::Conflict("setting")),
            "bad: panics" => panic!("as the test wants"),
            "bad: silent" => return Ok(Vec::new()),
            // an orphan that is noticed when the transaction is committed
            "bad: late" => {
                sqlx::query("PRAGMA defer_foreign_keys = ON").execute(&mut *conn).await?;
                let orphan =
                    "INSERT INTO entries (incident_key, at, actor, kind, text) VALUES (7, 0, '', '', '')";
                sqlx::query(orphan).execute(&mut *conn).await?;
            }
            name => settings::insert(conn, name, "").await?,
        }
    }
    Ok((0..names.len()).collect())
}

fn named(names: &[&str]) -> Vec<(String, usize)> {
    names.iter().map(|name| ((*name).to_owned(), 1)).collect()
}

#[tokio::test]
async fn what_waits_together_is_committed_together_and_a_lone_delivery_waits_for_nobody() {
    let mut desk = Desk::open().await;
    let answers = desk.send((0..150).map(|serial| (format!("{serial:03}"), 100))).await;
    assert_eq!([desk.write_next().await, desk.write_next().await, desk.write_next().await], [64, 64, 22]);
    let mut places: Vec<usize> =
        answers.join_all().await.into_iter().map(|(_, place)| place.unwrap()).collect();
    places.sort_unstable();
    let expected = (0..22).flat_map(|place| [place; 3]).chain((22..64).flat_map(|place| [place; 2]));
    assert!(places.into_iter().eq(expected), "everybody has an answer of their own");
    assert_eq!((desk.tried(), desk.stored().await.len()), (vec![64, 64, 22], 150));

    let alone = desk.send(named(&["alone"])).await;
    assert_eq!(desk.write_next().await, 1);
    assert_eq!(alone.join_all().await[0].1.as_ref().unwrap(), &0);
}

#[tokio::test]
async fn one_that_cannot_be_written_harms_nobody_else() {
    for bad in ["bad: refused", "bad: panics", "bad: silent", "bad: late"] {
        let mut desk = Desk::open().await;
        let answers = desk.send(named(&["a", "b", bad, "c"])).await;
        assert_eq!(desk.write_next().await, 4);
        for (name, answer) in answers.join_all().await {
            match (bad, answer) {
                (_, Ok(place)) => assert!(name != bad && place == 0, "{bad}: {name}"),
                ("bad: refused", Err(WriteError::Store(error))) => {
                    assert!(name == bad && matches!(*error, StoreError::Conflict("setting")));
                }
                ("bad: late", Err(WriteError::Store(error))) => {
                    assert!(name == bad && format!("{error:?}").contains("FOREIGN KEY"), "{error:?}");
                }
                (_, Err(WriteError::Defect)) => assert_eq!(name, bad),
                (_, Err(error)) => panic!("{bad}: {name}: {error}"),
            }
        }
        assert_eq!(desk.tried(), [4, 1, 1, 1, 1]);
        assert_eq!(desk.stored().await, ["a", "b", "c"]);
    }
}

#[tokio::test]
async fn nobody_is_answered_before_the_commit() {
    let mut desk = Desk::open().await;
    let answers = desk.send(named(&["a", "b"])).await;
    let batch = desk.batches.next().await.unwrap();
    let written = batch.write(&desk.store, |conn, names| Box::pin(insert(conn, names))).await;
    assert_eq!(desk.stored().await, ["a", "b"], "it is there before anybody is told");
    written.answer();
    assert!(answers.join_all().await.iter().all(|(_, answer)| answer.is_ok()));
}

#[tokio::test]
async fn large_deliveries_do_not_share_a_transaction() {
    let mut desk = Desk::open().await;
    let sizes = [("a", 600_000), ("b", 400_000), ("c", 100_000), ("d", 5_000_000), ("e", 10), ("f", 10)];
    let answers = desk.send(sizes.map(|(name, size)| (name.to_owned(), size))).await;
    for _ in 0..4 {
        desk.write_next().await;
    }
    assert_eq!(desk.tried(), [2, 1, 1, 2]);
    assert_eq!(answers.join_all().await.len(), 6);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_by_number_and_by_size() {
    let mut desk = Desk::open().await;
    let answers = desk.send((0..QUEUE).map(|serial| (serial.to_string(), 0))).await;
    let refused = desk.writer.write("one more".to_owned(), 0).await.unwrap_err();
    assert_eq!(refused.reason().as_deref(), Some("too many wait already"));
    assert_eq!(desk.writer.waiting(), QUEUE);
    for _ in 0..QUEUE / MOST_DELIVERIES {
        desk.write_next().await;
    }
    assert!(answers.join_all().await.iter().all(|(_, answer)| answer.is_ok()));
    assert_eq!(desk.writer.waiting(), 0);

    // larger than all the room there is, but nobody else is there
    let answers = desk.send([("large".to_owned(), usize::MAX)]).await;
    assert!(matches!(desk.writer.write("small".to_owned(), 1).await, Err(WriteError::Full)));
    desk.write_next().await;
    assert!(answers.join_all().await[0].1.is_ok());
    let answers = desk.send(named(&["small"])).await;
    desk.write_next().await;
    assert!(answers.join_all().await[0].1.is_ok(), "the room was given back");
}

#[tokio::test]
async fn while_the_database_is_locked_everybody_is_refused_at_once() {
    let mut desk = Desk::open().await;
    let file = desk.directory.path().join("connwarden.db");
    let mut other = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let answers = desk.send((0..100).map(|serial| (serial.to_string(), 10))).await;
    assert_eq!(desk.write_next().await, 64);
    for (name, answer) in answers.join_all().await {
        let reason = answer.unwrap_err().reason();
        assert_eq!(reason.as_deref(), Some("the database is locked by another process"), "{name}");
    }
    assert_eq!(desk.tried(), Vec::<usize>::new());

    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    let answers = desk.send(named(&["later"])).await;
    desk.write_next().await;
    assert!(answers.join_all().await[0].1.is_ok());
    assert_eq!(desk.stored().await, ["later"]);
}

#[tokio::test]
async fn what_waits_when_the_end_comes_is_still_written() {
    let mut desk = Desk::open().await;
    let answers = desk.send((0..70).map(|serial| (serial.to_string(), 10))).await;
    desk.batches.close();
    assert!(matches!(desk.writer.write("late".to_owned(), 1).await, Err(WriteError::Closed)));
    assert_eq!([desk.write_next().await, desk.write_next().await], [64, 6]);
    assert!(desk.batches.next().await.is_none());
    assert!(answers.join_all().await.iter().all(|(_, answer)| answer.is_ok()));
    assert_eq!(desk.stored().await.len(), 70);
}
