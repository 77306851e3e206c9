//! Group commit: notifications that come at the same time are stored in one transaction.
//!
//! [`crate::store::writer`] holds the queue and the transaction; this is who works it off, and what is measured of it.
//! It lives as long as the engine: what waits when the process stops is still stored and answered.

use std::sync::{Arc, Weak};
use std::thread;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::engine::intake::{Delivery, Taken};
use crate::engine::{Engine, Parts};
use crate::model::ids::NotificationId;
use crate::store::writer::{Batches, WriteError, Writer};
use crate::store::{Store, StoreError};

/// Where notifications wait to be stored, and who stores them.
#[derive(Debug)]
pub(super) struct Intake {
    writer: Writer<Delivery, Taken>,
    stop: CancellationToken,
    task: TaskTracker,
}

impl Intake {
    /// Makes the queue, and what is to be worked off with [`Intake::start`].
    pub(super) fn new(store: &Store) -> (Self, Batches<Delivery, Taken>) {
        let (writer, batches) = Writer::new(store.batch());
        (Self { writer, stop: CancellationToken::new(), task: TaskTracker::new() }, batches)
    }

    /// Begins to work the queue off, in a thread of its own: a batch is a dozen turns of the database's thread, and as a
    /// task among those that read and answer it waited in their queue after each.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub(super) fn start(engine: &Engine, batches: Batches<Delivery, Taken>) -> Result<(), StoreError> {
        let Intake { stop, task, .. } = &engine.0.intake;
        let (runtime, token) = (Handle::current(), task.token());
        let work = work_off(Arc::downgrade(&engine.0), batches, stop.clone());
        let thread = thread::Builder::new().name("intake".to_owned()).spawn(move || {
            runtime.block_on(work);
            drop(token);
        });
        thread.map_err(StoreError::Thread)?;
        task.close();
        Ok(())
    }

    /// Has a delivery stored; answers after the commit.
    pub(super) async fn write(&self, delivery: Delivery, size_bytes: usize) -> Result<Taken, WriteError> {
        self.writer.write(delivery, size_bytes).await
    }

    /// Takes nothing more, and waits until everything that waits is stored and answered.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.task.wait().await;
    }
}

impl Engine {
    /// How many notifications wait to be stored.
    pub fn waiting_notifications(&self) -> usize {
        self.0.intake.writer.waiting()
    }
}

/// How much one batch has stored.
#[derive(Default)]
struct Stored {
    notifications: usize,
    alerts: usize,
    repeated: usize,
    last: Option<NotificationId>,
}

impl Stored {
    fn of<'a>(results: impl Iterator<Item = &'a Taken>) -> Self {
        let mut sums = Self::default();
        for Taken { receipt, alerts, .. } in results {
            sums.notifications += 1;
            sums.alerts += alerts;
            sums.repeated += usize::from(receipt.repeated);
            sums.last = Some(receipt.notification);
        }
        sums
    }

    /// One line, however many notifications it were: a storm is not to fill the log too.
    fn log(&self) {
        let Self { notifications, alerts, repeated, last } = self;
        if let Some(last) = last {
            info!(
                notifications,
                alerts,
                repeated,
                notification.id = %last,
                "received notifications: {notifications} with {alerts} alerts, {repeated} of them repeated",
            );
        }
    }
}

async fn work_off(engine: Weak<Parts>, mut batches: Batches<Delivery, Taken>, stop: CancellationToken) {
    let mut stopping = false;
    loop {
        let batch = tokio::select! {
            batch = batches.next() => batch,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                batches.close();
                continue;
            }
        };
        // whoever waits for an answer has the engine
        let (Some(batch), Some(parts)) = (batch, engine.upgrade()) else { return };
        let engine = Engine(parts);
        let (count, stopwatch) = (batch.deliveries(), engine.0.clock.stopwatch());
        let taking = engine.clone();
        let written = batch.write(&engine.0.store, move |conn, deliveries| {
            let engine = taking.clone();
            Box::pin(async move { engine.take_in(conn, deliveries).await })
        });
        let written = written.await;
        engine.0.metrics.batch_written(count, stopwatch.elapsed());
        if let Some(error) = written.unreachable() {
            batches.refuse(error);
        }
        let sums = Stored::of(written.results());
        // the storage directory is free once those who were answered let go of the engine
        drop(engine);
        written.answer();
        sums.log();
    }
}
