//! The group-commit writer: what waits to be written at the same time is written in one transaction.
//!
//! A commit costs the disk the same whatever is in it. So deliveries wait in a bounded queue, one transaction takes
//! what waits, and each sender gets its own answer after the commit. A delivery that comes alone waits for no company.
//! A batch that fails is rolled back and its members are tried one by one: one that cannot be written harms nobody
//! else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::store::{self, Conn, Store, StoreError};

/// How many deliveries one transaction takes. Measured: twice as many gain nothing.
pub(super) const MOST_DELIVERIES: usize = 64;

/// How many bytes one transaction takes, unless its first delivery alone has more. Large ones gain nothing together.
const MOST_BYTES: usize = 1 << 20;

/// How many deliveries may wait.
const QUEUE: usize = 1024;

/// How many KiB may wait. A delivery that has more by itself waits alone.
const QUEUE_KIB: u32 = 64 << 10;

/// Why a delivery was not written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// Too many wait already.
    #[error("too many wait already")]
    Full,
    /// Nobody writes any more: the process ends.
    #[error("connwarden is stopping")]
    Closed,
    /// Whoever was to write it panicked, or did not say what became of it.
    #[error("a defect of connwarden ended the attempt")]
    Defect,
    /// The store failed, perhaps for several deliveries at once.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
}

impl WriteError {
    /// What an outsider may be told of it, as far as it is known.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.reason().map(str::to_owned),
            other => Some(other.to_string()),
        }
    }
}

/// Takes deliveries to be written, and brings the answers. Cheap to clone.
#[derive(Debug)]
pub struct Writer<D, R> {
    queue: mpsc::Sender<Waiting<D, R>>,
    room: Arc<Semaphore>,
}

// not derived: that would want deliveries to be cloned too
impl<D, R> Clone for Writer<D, R> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), room: self.room.clone() }
    }
}

/// A delivery in the queue.
#[derive(Debug)]
struct Waiting<D, R> {
    delivery: D,
    size_bytes: usize,
    answer: Answer<R>,
    room: OwnedSemaphorePermit,
}

/// Where the answer to a delivery goes.
type Answer<R> = oneshot::Sender<Result<R, WriteError>>;

/// Somebody who waits for an answer, and the room that the delivery takes up until then.
type Asker<R> = (Answer<R>, OwnedSemaphorePermit);

impl<D, R> Writer<D, R> {
    /// Makes a writer, and the batches of at most `most` deliveries that somebody has to write.
    pub fn new(most: usize) -> (Self, Batches<D, R>) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let room = Arc::new(Semaphore::new(QUEUE_KIB as usize));
        (Self { queue: sender, room }, Batches { queue, held: None, most })
    }

    /// Has a delivery of about `size_bytes` written. Answers once it is committed, together with others or alone.
    ///
    /// # Errors
    ///
    /// It was not written, and nothing of it was.
    pub async fn write(&self, delivery: D, size_bytes: usize) -> Result<R, WriteError> {
        let room = u32::try_from(size_bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(QUEUE_KIB);
        let room = self.room.clone().try_acquire_many_owned(room).map_err(|_| WriteError::Full)?;
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Waiting { delivery, size_bytes, answer, room }).map_err(|error| match error {
            TrySendError::Full(_) => WriteError::Full,
            TrySendError::Closed(_) => WriteError::Closed,
        })?;
        answered.await.unwrap_or(Err(WriteError::Closed))
    }

    /// How many deliveries wait.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

/// The other end of the queue.
#[derive(Debug)]
pub struct Batches<D, R> {
    queue: mpsc::Receiver<Waiting<D, R>>,
    /// Taken off the queue, but too large for the batch before.
    held: Option<Waiting<D, R>>,
    most: usize,
}

impl<D, R> Batches<D, R> {
    /// Waits for the next batch: what is in the queue, as far as one transaction takes it. `None` once all is taken
    /// and nothing more can come.
    pub async fn next(&mut self) -> Option<Batch<D, R>> {
        let first = match self.held.take() {
            Some(held) => held,
            None => self.queue.recv().await?,
        };
        let mut size_bytes = first.size_bytes;
        let mut waiting = vec![first];
        while waiting.len() < self.most {
            let Ok(next) = self.queue.try_recv() else { break };
            size_bytes = size_bytes.saturating_add(next.size_bytes);
            if size_bytes > MOST_BYTES {
                self.held = Some(next);
                break;
            }
            waiting.push(next);
        }
        Some(Batch::of(waiting))
    }

    /// Takes nothing more in; what waits is still there.
    pub fn close(&mut self) {
        self.queue.close();
    }

    /// Refuses everything that waits: nobody should wait for what has just failed for others.
    pub fn refuse(&mut self, error: &Arc<StoreError>) {
        while let Some(waiting) = self.held.take().or_else(|| self.queue.try_recv().ok()) {
            let _ = waiting.answer.send(Err(error.clone().into()));
        }
    }
}

/// What is being written.
pub type Applying<'a, R> = Pin<Box<dyn Future<Output = Result<Vec<R>, StoreError>> + Send + 'a>>;

/// Deliveries for one transaction.
#[derive(Debug)]
pub struct Batch<D, R> {
    deliveries: Vec<D>,
    askers: Vec<Asker<R>>,
}

/// Why an attempt failed.
enum Failure {
    /// There is no transaction to be had: there would be none for the others either.
    Unreachable(StoreError),
    /// Perhaps because of one of the deliveries.
    Refused(WriteError),
}

impl<D, R> Batch<D, R> {
    fn of(waiting: Vec<Waiting<D, R>>) -> Self {
        let (mut deliveries, mut askers) = (Vec::new(), Vec::new());
        for Waiting { delivery, answer, room, .. } in waiting {
            deliveries.push(delivery);
            askers.push((answer, room));
        }
        Self { deliveries, askers }
    }

    /// How many deliveries it has.
    pub fn deliveries(&self) -> usize {
        self.askers.len()
    }
}

impl<D, R> Batch<D, R>
where
    D: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Writes the batch. `apply` gets a transaction and deliveries, and returns one result for each of them; it may be
    /// called again for a delivery whose transaction was rolled back.
    pub async fn write<F>(self, store: &Store, apply: F) -> Written<D, R>
    where
        F: for<'a> Fn(&'a mut Conn, &'a [D]) -> Applying<'a, R> + Send + Sync + 'static,
    {
        let Self { deliveries, askers } = self;
        let count = deliveries.len();
        let mut results = Vec::with_capacity(count);
        let mut unreachable = None;
        match attempt(store, &deliveries, &apply).await {
            Ok(all) => results.extend(all.into_iter().map(Ok)),
            Err(Failure::Unreachable(error)) => unreachable = Some(Arc::new(error)),
            Err(Failure::Refused(error)) if count == 1 => results.push(Err(error)),
            Err(Failure::Refused(error)) => {
                tracing::warn!(
                    deliveries = count,
                    "a batch could not be written, trying one by one: {error}"
                );
                for place in 0..count {
                    match attempt(store, &deliveries[place..=place], &apply).await {
                        Ok(one) => results.extend(one.into_iter().map(Ok)),
                        Err(Failure::Refused(error)) => results.push(Err(error)),
                        Err(Failure::Unreachable(error)) => {
                            unreachable = Some(Arc::new(error));
                            break;
                        }
                    }
                }
            }
        }
        if let Some(error) = &unreachable {
            results.resize_with(count, || Err(error.clone().into()));
        }
        Written { answers: askers.into_iter().zip(results).collect(), unreachable, _deliveries: deliveries }
    }
}

/// Writes some of the deliveries in a transaction of their own. If that panics, whoever waits is told.
async fn attempt<D, R, F>(store: &Store, deliveries: &[D], apply: &F) -> Result<Vec<R>, Failure>
where
    F: for<'a> Fn(&'a mut Conn, &'a [D]) -> Applying<'a, R>,
{
    let refused = |error| Failure::Refused(WriteError::Store(Arc::new(error)));
    let work = async {
        let mut tx = store.write().await.map_err(Failure::Unreachable)?;
        let applied = apply(&mut tx, deliveries).await;
        let results = applied.inspect_err(|error| store.note_failure(error)).map_err(refused)?;
        if results.len() != deliveries.len() {
            return Err(Failure::Refused(WriteError::Defect));
        }
        store::commit(tx).await.map_err(refused)?;
        Ok(results)
    };
    caught(work).await.unwrap_or(Err(Failure::Refused(WriteError::Defect)))
}

/// Does some work to its end; `None` if it panics.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    // what has panicked is not looked at again: it ends here, and what it had with it
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(progress) => progress.map(Some),
        Err(_) => std::task::Poll::Ready(None),
    })
    .await
}

/// A batch that was written, or not; nobody has been told yet.
#[derive(Debug)]
pub struct Written<D, R> {
    answers: Vec<(Asker<R>, Result<R, WriteError>)>,
    unreachable: Option<Arc<StoreError>>,
    /// Let go of after the answers: those who got them do not wait for that.
    _deliveries: Vec<D>,
}

impl<D, R> Written<D, R> {
    /// Why no transaction was to be had, if that is so.
    pub fn unreachable(&self) -> Option<&Arc<StoreError>> {
        self.unreachable.as_ref()
    }

    /// What was written, as those who wait are going to be told.
    pub fn results(&self) -> impl Iterator<Item = &R> {
        self.answers.iter().filter_map(|(_, result)| result.as_ref().ok())
    }

    /// Tells everybody who waits.
    pub fn answer(self) {
        for ((answer, _room), result) in self.answers {
            // somebody who has hung up will send it again
            let _ = answer.send(result);
        }
    }
}

#[cfg(test)]
mod tests;
