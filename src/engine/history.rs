//! What was before: the samples of a cluster, what has changed between two of them, and what was seen when first.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Engine, LookError};
use crate::model::breakdown::Dimension;
use crate::model::comparison::{Comparison, HealthyReason, Problem, last_healthy};
use crate::model::first_seen::FirstSeen;
use crate::model::history::{History, Sample, chosen};
use crate::store::baselines::SampleTime;
use crate::store::{self, StoreError};

/// How many samples of a cluster are looked through for a history.
const MOST_TIMES: u32 = 50_000;

/// How far back a sample of a cluster that was well is looked for.
const LOOKED_BACK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What to compare; whatever is not given is chosen.
#[derive(Debug, Clone, Copy, Default)]
pub struct ComparisonWish {
    /// The last sample until then is the earlier one; otherwise the last of a cluster that was well.
    pub from: Option<Timestamp>,
    /// The last sample until then is the later one; otherwise the cluster is looked at now.
    pub to: Option<Timestamp>,
    /// From how many connections of one server on a cluster is not well; otherwise as the configuration says.
    pub threshold: Option<u64>,
}

/// A comparison that was asked for.
#[derive(Debug, Clone)]
pub struct Compared {
    /// What is different.
    pub comparison: Comparison,
    /// Why the cluster is thought to have been well at its beginning; `None` if that was not asked.
    pub healthy: Option<HealthyReason>,
}

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The cluster is not known, or could not be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// There is no sample from then or before.
    #[error("there is no sample of cluster `{cluster}` from {at} or before")]
    NoSample {
        /// The cluster.
        cluster: String,
        /// When one was looked for.
        at: Timestamp,
    },
    /// There is no sample of the last week.
    #[error("there is no sample of cluster `{0}` in the week before: nothing says what is normal")]
    NothingNormal(String),
    /// The end is before the beginning.
    #[error("`to` is before `from`")]
    Backwards,
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Whether a cluster of this name is configured.
    ///
    /// # Errors
    ///
    /// None is.
    pub fn check_cluster(&self, cluster: &str) -> Result<(), LookError> {
        if self.clusters().any(|known| known.name == cluster) {
            Ok(())
        } else {
            Err(LookError::UnknownCluster(cluster.to_owned()))
        }
    }

    /// What samples remember of a cluster from `from` to `to`: about every one of the last hour, fewer of the time
    /// before, and those of a day and of a week before `to`, whatever `from` is. Never more than
    /// [`LONGEST_HISTORY`](crate::model::history::LONGEST_HISTORY).
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    #[tracing::instrument(name = "engine.history.list", level = "debug", skip_all, fields(%cluster))]
    pub async fn history(
        &self,
        cluster: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<History, StoreError> {
        let week = SignedDuration::from_hours(8 * 24);
        let earliest = from.min(to.saturating_sub(week).unwrap_or(Timestamp::MIN));
        let stored = {
            let mut conn = self.0.store.read().await?;
            let times = store::baselines::list_times(&mut conn, cluster, earliest, to, MOST_TIMES).await?;
            let at: Vec<Timestamp> = times.iter().map(|time| time.at).collect();
            let wanted: Vec<SampleTime> =
                chosen(&at, from, to).into_iter().map(|place| times[place]).collect();
            store::baselines::list(&mut conn, &wanted).await?
        };
        // many documents take a while, and others have their turn
        let unpacked = tokio::task::spawn_blocking(move || stored.unpack()).await;
        let samples = unpacked.expect("unpacking does not panic and is not aborted")?;
        Ok(History { samples })
    }

    /// Finds when keys of a dimension were first seen in a cluster; those that never were are left out.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn first_seen(
        &self,
        cluster: &str,
        dimension: Dimension,
        keys: &[&str],
    ) -> Result<BTreeMap<String, FirstSeen>, StoreError> {
        store::first_seen::find(&mut *self.0.store.read().await?, cluster, dimension, keys).await
    }

    /// Says when a look last saw every key of each dimension.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(super) async fn whole_looks(
        &self,
        cluster: &str,
    ) -> Result<BTreeMap<Dimension, Timestamp>, StoreError> {
        store::first_seen::list_whole_looks(&mut *self.0.store.read().await?, cluster).await
    }

    /// Says what has changed in a cluster, by default since it was last well until now.
    ///
    /// # Errors
    ///
    /// The cluster is not known, or there is nothing to compare.
    #[tracing::instrument(name = "engine.history.compare", skip_all, fields(%cluster))]
    pub async fn compare(&self, cluster: &str, wish: ComparisonWish) -> Result<Compared, CompareError> {
        self.check_cluster(cluster)?;
        if let (Some(from), Some(to)) = (wish.from, wish.to)
            && to < from
        {
            return Err(CompareError::Backwards);
        }
        // first what there is to compare with: a look costs the servers something
        let (before, healthy) = match wish.from {
            Some(from) => (self.sample_at(cluster, from).await?, None),
            None => {
                let noticed_at = wish.to.unwrap_or_else(|| self.0.clock.now());
                let (sample, reason) = self.last_healthy(cluster, wish.threshold, noticed_at).await?;
                (sample, Some(reason))
            }
        };
        let after = match wish.to {
            Some(to) => self.sample_at(cluster, to).await?,
            None => Sample::of(&*self.look(cluster, &[]).await?, self.0.sampling.top),
        };
        Ok(Compared { comparison: Comparison::between(&before, &after), healthy })
    }

    /// The last sample that was taken until `at`.
    async fn sample_at(&self, cluster: &str, at: Timestamp) -> Result<Sample, CompareError> {
        let stored = {
            let mut conn = self.0.store.read().await?;
            let times = store::baselines::list_times(&mut conn, cluster, Timestamp::MIN, at, 1).await?;
            store::baselines::list(&mut conn, &times).await?
        };
        let sample = stored.unpack()?.pop();
        sample.ok_or_else(|| CompareError::NoSample { cluster: cluster.to_owned(), at })
    }

    /// The last sample of a cluster that was well before `noticed_at`, and why that is thought.
    async fn last_healthy(
        &self,
        cluster: &str,
        threshold: Option<u64>,
        noticed_at: Timestamp,
    ) -> Result<(Sample, HealthyReason), CompareError> {
        let of_cluster = self.0.rules.thresholds.iter().filter(|((name, _), _)| name == cluster);
        let threshold = threshold.or_else(|| of_cluster.map(|(_, connections)| *connections).min());
        let from = noticed_at.saturating_sub(LOOKED_BACK).unwrap_or(Timestamp::MIN);
        let history = self.history(cluster, from, noticed_at).await?;
        let found = last_healthy(&history, &Problem { server: None, threshold, noticed_at });
        let found = found.map(|healthy| (healthy.sample.clone(), healthy.reason));
        found.ok_or_else(|| CompareError::NothingNormal(cluster.to_owned()))
    }
}
