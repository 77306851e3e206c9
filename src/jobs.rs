//! Workers for the durable queue of [`store::jobs`].
//!
//! A worker leases a job, runs the handler registered for its kind, and puts the job back when the handler fails.
//! The handler finishes the job itself, in the transaction of its result. Queueing rings a bell; looking now and
//! then is the safety net.
//!
//! Each kind of job is in a lane, and each lane has workers of its own: however long the jobs of one lane take, those
//! of the other are not behind them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, error, info_span, warn};

use crate::clock::Clock;
use crate::store::jobs::LeasedJob;
use crate::store::{self, Store, StoreError};
use crate::telemetry::metrics::{JobResult, Metrics};

/// How long a lease lasts; it is renewed as long as the handler runs.
pub const LEASE: Duration = Duration::from_secs(60);

/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(20);

/// How often a handler may fail before its job is given up: days, with the pauses in between.
const MOST_FAILURES: i64 = 1000;

/// By how much the clock may go back without having been set back: workers look at it one after the other.
const CLOCK_JITTER_US: i64 = 1_000_000;

/// How long a worker sleeps at the most.
const LONGEST_NAP: Duration = Duration::from_secs(5);

/// How long a job whose handler failed waits, times the number of failures.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// How long a job waits at the most.
const LONGEST_RETRY_PAUSE: Duration = Duration::from_secs(300);

/// What a handler returns: the work going on.
pub type Work = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

type Handler = Box<dyn Fn(LeasedJob) -> Work + Send + Sync>;

/// Jobs that are worked off by the same workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// What asks others and waits for their answers, which may take long.
    Looks,
    /// What is done to connections: the batches of a run.
    Runs,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Looks, Self::Runs];
}

/// Rung when a job is queued. Everybody who naps wakes, of whatever lane; whoever is about to nap looks once more.
#[derive(Debug, Clone, Default)]
pub struct Bell(watch::Sender<()>);

impl Bell {
    /// Wakes the workers.
    pub fn ring(&self) {
        self.0.send_replace(());
    }
}

/// Leases jobs and runs their handlers.
pub struct Worker {
    store: Store,
    clock: Clock,
    metrics: Metrics,
    bell: Bell,
    /// The lane of each kind of job, and who does it.
    handlers: HashMap<&'static str, (Lane, Handler)>,
    /// Runs for a job that has failed too often.
    given_up: Option<Handler>,
    /// The latest time at which a job was looked for, in microseconds since 1970.
    latest: AtomicI64,
}

impl Worker {
    /// Makes a worker that wakes when `bell` is rung.
    pub fn new(store: Store, clock: Clock, metrics: Metrics, bell: Bell) -> Self {
        let latest = AtomicI64::new(i64::MIN);
        Self { store, clock, metrics, bell, handlers: HashMap::new(), given_up: None, latest }
    }

    /// Lets `handler` run the jobs of a kind, in a lane.
    pub fn register<F, W>(&mut self, kind: &'static str, lane: Lane, handler: F)
    where
        F: Fn(LeasedJob) -> W + Send + Sync + 'static,
        W: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.handlers.insert(kind, (lane, Box::new(move |job| Box::pin(handler(job)))));
    }

    /// Lets `handler` see to it that nothing waits for a job that has failed too often.
    pub fn when_given_up<F, W>(&mut self, handler: F)
    where
        F: Fn(LeasedJob) -> W + Send + Sync + 'static,
        W: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.given_up = Some(Box::new(move |job| Box::pin(handler(job))));
    }

    /// Works in a lane until told to stop; a job that has been begun is finished first.
    pub async fn run(&self, lane: Lane, stop: CancellationToken) {
        let mut bell = self.bell.0.subscribe();
        while !stop.is_cancelled() {
            match self.run_next(lane).await {
                Ok(true) => {}
                Ok(false) => self.nap(lane, &mut bell, &stop).await,
                Err(error) => {
                    error!(error = &error as &dyn std::error::Error, "cannot reach the job queue: {error}");
                    self.nap(lane, &mut bell, &stop).await;
                }
            }
        }
    }

    /// Runs the job of a lane that is due the longest; `false` if none is due.
    ///
    /// # Errors
    ///
    /// The queue cannot be reached. A handler's failure is no error: its job is put back.
    pub async fn run_next(&self, lane: Lane) -> Result<bool, StoreError> {
        let Some(job) = self.lease(lane).await? else { return Ok(false) };
        let span = info_span!("job", kind = %job.kind, subject = %job.subject, attempts = job.attempts);
        let outcome = match self.handlers.get(job.kind.as_str()) {
            // a task of its own: a handler that panics takes no worker with it, but it goes when its worker goes
            Some((_, handler)) => {
                let task = tokio::spawn(handler(job.clone()).instrument(span));
                self.watch(&job, AbortOnDropHandle::new(task)).await
            }
            None => Err(anyhow::anyhow!("no handler for jobs of the kind `{}`", job.kind)),
        };
        match outcome {
            Ok(()) => self.metrics.job(&job.kind, JobResult::Done),
            Err(error) => {
                warn!(job = %job.kind, subject = %job.subject, "job `{}` failed: {error:#}", job.kind);
                self.metrics.job(&job.kind, JobResult::Retried);
                self.put_back(&job, &format!("{error:#}")).await?;
            }
        }
        Ok(true)
    }

    async fn lease(&self, lane: Lane) -> Result<Option<LeasedJob>, StoreError> {
        let now = self.clock.now();
        if self.latest.swap(now.as_microsecond(), Ordering::AcqRel) > now.as_microsecond() + CLOCK_JITTER_US {
            warn!("the clock was set back to {now}: what was to wait by it is done now");
            let mut tx = self.store.write().await?;
            store::jobs::pull_in(&mut tx, now).await?;
            store::commit(tx).await?;
        }
        // most looks find nothing: they should not take the one connection that writes
        while let Some((kind, due_at)) = self.next_due(lane).await?
            && due_at <= now
        {
            let mut tx = self.store.write().await?;
            let job = store::jobs::lease(&mut tx, &kind, now, LEASE).await?;
            store::commit(tx).await?;
            if job.is_some() {
                return Ok(job);
            }
            // somebody was quicker; there may be another one
        }
        Ok(None)
    }

    /// What the next job of a lane is, and when it is due.
    async fn next_due(&self, lane: Lane) -> Result<Option<(String, Timestamp)>, StoreError> {
        let due = store::jobs::list_due(&mut *self.store.read().await?).await?;
        Ok(due.into_iter().find(|(kind, _)| self.lane_of(kind) == lane))
    }

    /// The lane of a kind of job. A kind that nobody does is in the first, and fails there.
    fn lane_of(&self, kind: &str) -> Lane {
        self.handlers.get(kind).map_or(Lane::Looks, |(lane, _)| *lane)
    }

    /// Waits for a handler, and keeps its lease meanwhile.
    async fn watch(
        &self,
        job: &LeasedJob,
        mut task: AbortOnDropHandle<anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                outcome = &mut task => return outcome.context("running the handler")?,
                () = tokio::time::sleep(RENEWAL) => {
                    if let Err(error) = self.renew(job).await {
                        warn!(error = &error as &dyn std::error::Error, "cannot renew a lease: {error}");
                    }
                }
            }
        }
    }

    async fn renew(&self, job: &LeasedJob) -> Result<(), StoreError> {
        let mut tx = self.store.write().await?;
        store::jobs::renew(&mut tx, job, self.clock.now(), LEASE).await?;
        store::commit(tx).await
    }

    /// Puts a job back whose handler failed. If that fails too, its lease runs out.
    async fn put_back(&self, job: &LeasedJob, error: &str) -> Result<(), StoreError> {
        let factor = u32::try_from(job.failures + 1).unwrap_or(u32::MAX);
        let pause = RETRY_PAUSE.saturating_mul(factor).min(LONGEST_RETRY_PAUSE);
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
        let due_at = self.clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX);
        let mut tx = self.store.write().await?;
        let is_hopeless = job.failures + 1 >= MOST_FAILURES;
        let put_back = if is_hopeless {
            error!(job = %job.kind, subject = %job.subject, "gave up a job that failed {MOST_FAILURES} times: {error}");
            store::jobs::bury(&mut tx, job, error).await
        } else {
            store::jobs::fail(&mut tx, job, due_at, error).await
        };
        match put_back {
            // the handler got as far as finishing it, or somebody else has it
            Err(StoreError::Conflict(_)) => return store::commit(tx).await,
            put_back => put_back?,
        }
        store::commit(tx).await?;
        if let Some(given_up) = self.given_up.as_ref().filter(|_| is_hopeless)
            && let Err(error) = given_up(job.clone()).await
        {
            error!(job = %job.kind, subject = %job.subject, "cannot say that a job was given up: {error:#}");
        }
        Ok(())
    }

    async fn nap(&self, lane: Lane, bell: &mut watch::Receiver<()>, stop: &CancellationToken) {
        let next = self.next_due(lane).await.ok().flatten();
        let until_next =
            next.map(|(_, due)| Duration::try_from(due.duration_since(self.clock.now())).unwrap_or_default());
        let nap = until_next.unwrap_or(LONGEST_NAP).clamp(Duration::from_millis(50), LONGEST_NAP);
        tokio::select! {
            // it is never closed: the bell is ours, too
            _ = bell.changed() => {}
            () = tokio::time::sleep(nap) => {}
            () = stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;
    use tokio::task::JoinSet;

    use super::*;
    use crate::store::jobs::NewJob;

    async fn worker(directory: &tempfile::TempDir) -> Worker {
        let store = Store::open(directory.path()).await.unwrap();
        let clock = Clock::manual("2026-11-24T09:00:00Z".parse().unwrap());
        Worker::new(store, clock, Metrics::new(), Bell::default())
    }

    impl Worker {
        async fn queue(&self, kind: &'static str) {
            let now = self.clock.now();
            let job = NewJob { kind, subject: String::new(), due_at: now };
            let mut tx = self.store.write().await.unwrap();
            store::jobs::insert(&mut tx, &[job], now).await.unwrap();
            store::commit(tx).await.unwrap();
            self.bell.ring();
        }
    }

    #[tokio::test]
    async fn the_jobs_of_a_lane_are_begun_at_once_while_those_of_the_other_hang() {
        for (hanging, free) in [(Lane::Looks, Lane::Runs), (Lane::Runs, Lane::Looks)] {
            let directory = tempfile::tempdir().unwrap();
            let mut worker = worker(&directory).await;
            let (begin, mut begun) = mpsc::unbounded_channel();
            for (kind, lane) in [("hangs", hanging), ("waits", hanging), ("goes", free)] {
                let begin = begin.clone();
                worker.register(kind, lane, move |_| {
                    begin.send(kind).unwrap();
                    std::future::pending()
                });
            }
            let worker = Arc::new(worker);
            let mut workers = JoinSet::new();
            for lane in Lane::ALL {
                let worker = worker.clone();
                workers.spawn(async move { worker.run(lane, CancellationToken::new()).await });
            }
            worker.queue("hangs").await;
            assert_eq!(begun.recv().await, Some("hangs"));
            // this one was queued first, and has to wait
            worker.queue("waits").await;
            worker.queue("goes").await;
            let next = tokio::time::timeout(LONGEST_NAP / 2, begun.recv()).await;
            assert_eq!(next, Ok(Some("goes")), "{free:?}");
            workers.shutdown().await;
        }
    }

    #[tokio::test]
    async fn a_job_of_a_kind_that_nobody_does_is_put_back() {
        let directory = tempfile::tempdir().unwrap();
        let worker = worker(&directory).await;
        worker.queue("unheard_of").await;
        assert!(!worker.run_next(Lane::Runs).await.unwrap());
        assert!(worker.run_next(Lane::Looks).await.unwrap());
        assert!(!worker.run_next(Lane::Looks).await.unwrap(), "it waits for its next turn");
        worker.clock.advance(RETRY_PAUSE);
        assert!(worker.run_next(Lane::Looks).await.unwrap());
    }
}
