//! How a swarm changes by itself: it grows (a ramp, a leak) or exchanges connections (churn).
//!
//! Both run until they are done or dropped; what they started stays.

use std::ops::Range;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use super::random::Random;
use super::spec::ClientSpec;
use super::{Swarm, SwarmError};

impl Swarm {
    /// Starts `per_second` of these clients each second until there are none left, and says
    /// how many it started. With the extras of a population this is a connection leak.
    ///
    /// # Errors
    ///
    /// [`SwarmError::Descriptors`] when the process may not have another one.
    pub async fn grow(
        &self,
        per_second: f64,
        specs: impl IntoIterator<Item = ClientSpec>,
    ) -> Result<usize, SwarmError> {
        let mut pace = pace(per_second);
        let mut started = 0;
        for spec in specs {
            pace.tick().await;
            self.launch([spec])?;
            started += 1;
        }
        Ok(started)
    }

    /// Closes and reopens `per_second` random clients each second, of those that are up and
    /// have an index in `among`. Runs until it is dropped.
    pub async fn churn(&self, per_second: f64, among: Range<usize>, seed: u64) {
        let mut pace = pace(per_second);
        let mut random = Random::new(seed, &[among.start as u64, among.end as u64]);
        loop {
            pace.tick().await;
            let mut connected = self.registry.connected_indices();
            connected.retain(|index| among.contains(index));
            if !connected.is_empty() {
                self.reopen([connected[random.position(connected.len())]]);
            }
        }
    }
}

/// Ticks at this rate, faster after a delay so that the rate holds over time.
fn pace(per_second: f64) -> Interval {
    let period = Duration::try_from_secs_f64(per_second.recip()).unwrap_or(Duration::MAX);
    let period = period.clamp(Duration::from_nanos(1), Duration::from_secs(86_400));
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
    interval
}
