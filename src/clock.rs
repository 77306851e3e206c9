//! Time and new ids: the only source of both.
//!
//! Everything that needs the present or a fresh id is handed a [`Clock`], so that a test can hold time
//! still and read the ids it is going to see.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use uuid::{ContextV7, Uuid};

/// The present, and ids that sort by it.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System(Arc<Mutex<ContextV7>>),
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    now_us: AtomicI64,
    ids: AtomicU64,
}

impl Clock {
    /// Follows the machine's clock.
    pub fn system() -> Self {
        Self(Source::System(Arc::new(Mutex::new(ContextV7::new()))))
    }

    /// Stands still at `start` until [`Clock::advance`] moves it; its ids count up from zero.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Manual {
            now_us: AtomicI64::new(start.as_microsecond()),
            ids: AtomicU64::new(0),
        })))
    }

    /// Tells the time, in microseconds: the precision in which it is stored.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    pub fn now(&self) -> Timestamp {
        let now_us = match &self.0 {
            Source::System(_) => Timestamp::now().as_microsecond(),
            Source::Manual(manual) => manual.now_us.load(Ordering::SeqCst),
        };
        Timestamp::from_microsecond(now_us).expect("a clock's microseconds are a valid timestamp")
    }

    /// Makes a UUID v7; ids of one clock sort in the order in which they were made.
    pub fn new_id(&self) -> Uuid {
        let now = self.now();
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        match &self.0 {
            Source::System(context) => {
                let context = context.lock().unwrap_or_else(PoisonError::into_inner);
                let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
                Uuid::new_v7(uuid::Timestamp::from_unix(&*context, seconds, nanos))
            }
            Source::Manual(manual) => {
                let serial = manual.ids.fetch_add(1, Ordering::SeqCst);
                let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
                let bytes = serial.to_be_bytes();
                let mut tail = [0; 10];
                tail[2..].copy_from_slice(&bytes);
                uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
            }
        }
    }

    /// Starts measuring how long something takes.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Moves a manual clock forward; the system's clock moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(manual) = &self.0 {
            let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
            let by_us = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            manual.now_us.fetch_add(by_us, Ordering::SeqCst);
        }
    }

    /// Sets a manual clock, forward or back, as a machine's clock is when it is corrected.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual(manual) = &self.0 {
            manual.now_us.store(to.as_microsecond(), Ordering::SeqCst);
        }
    }
}

/// Measures how long something takes, whatever the wall clock does meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Tells how long ago the stopwatch was started.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_system_clock_sort_in_the_order_they_were_made() {
        let clock = Clock::system();
        let ids: Vec<_> = (0..1000).map(|_| clock.new_id()).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids[0].get_version_num(), 7);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual("2026-01-05T09:00:00Z".parse().unwrap());
        assert_eq!(clock.now().to_string(), "2026-01-05T09:00:00Z");
        clock.advance(Duration::from_secs(120));
        assert_eq!(clock.now().to_string(), "2026-01-05T09:02:00Z");
        assert!(clock.new_id() < clock.new_id());
    }
}
