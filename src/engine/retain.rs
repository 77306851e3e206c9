//! Retention: what has been kept long enough goes, a few rows at a time.
//!
//! Notifications come in meanwhile: between two bites whoever waits for the one connection that writes has their turn.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::engine::Engine;
use crate::model::instants::earlier;
use crate::model::retention::{Keep, Retention};
use crate::store::retention::{Bite, Limits};
use crate::store::{self, StoreError};

/// What was over for less than this stays, however much there is: it may begin again.
const YOUNG: Duration = Duration::from_secs(3600);

/// Rows that were deleted, by table.
pub type Deleted = BTreeMap<&'static str, u64>;

impl Engine {
    /// Deletes what is older, or more, than is to be kept, until nothing is left to delete or it is told to stop.
    ///
    /// # Errors
    ///
    /// The store failed; what was deleted before stays deleted.
    #[tracing::instrument(name = "engine.retention.retain", skip_all)]
    pub async fn retain(
        &self,
        retention: &Retention,
        stop: &CancellationToken,
    ) -> Result<Deleted, StoreError> {
        self.expire_overdue().await;
        let now = self.0.clock.now();
        let mut deleted = Deleted::new();
        for kind in Kind::ALL {
            let mut next = Some(0);
            while let (Some(after), false) = (next, stop.is_cancelled()) {
                let bite = self.bite(kind, retention, now, after).await?;
                for (table, rows) in bite.deleted {
                    self.0.metrics.deleted(table, rows);
                    *deleted.entry(table).or_default() += rows;
                }
                next = bite.next;
                tokio::task::yield_now().await;
            }
        }
        if !deleted.is_empty() {
            self.tidy_up(stop).await?;
            let rows: u64 = deleted.values().sum();
            info!(rows, "deleted {rows} rows that were kept long enough: {deleted:?}");
        }
        Ok(deleted)
    }

    async fn bite(
        &self,
        kind: Kind,
        retention: &Retention,
        now: Timestamp,
        after: i64,
    ) -> Result<Bite, StoreError> {
        let mut tx = self.0.store.write().await?;
        let bite = match kind {
            Kind::Incidents => {
                let limits = self.limits(retention.incidents, now);
                store::retention::bite_of_incidents(&mut tx, &limits).await?
            }
            Kind::Snapshots => {
                let limits = self.limits(retention.snapshots, now);
                store::retention::bite_of_snapshots(&mut tx, &limits, after).await?
            }
            Kind::Notifications => {
                let limits = self.limits(retention.notifications, now);
                store::retention::bite_of_notifications(&mut tx, &limits, after).await?
            }
            Kind::Changes => {
                let limits = self.limits(retention.changes, now);
                store::retention::bite_of_changes(&mut tx, &limits).await?
            }
            Kind::Mitigations => {
                let limits = self.limits(retention.mitigations, now);
                store::retention::bite_of_mitigations(&mut tx, &limits).await?
            }
            Kind::Audit => {
                let limits = self.limits(retention.audit, now);
                store::retention::bite_of_audit(&mut tx, &limits, after).await?
            }
            Kind::Baselines => {
                let before = earlier(now, self.0.sampling.keep);
                store::thinning::bite_of_baselines(&mut tx, now, before).await?
            }
            Kind::FirstSeen => store::thinning::bite_of_first_seen(&mut tx, now).await?,
        };
        store::commit(tx).await?;
        Ok(bite)
    }

    fn limits(&self, keep: Keep, now: Timestamp) -> Limits {
        Limits { before: earlier(now, keep.age), count: keep.count, young: earlier(now, YOUNG) }
    }

    /// Gives back the room of what was deleted.
    async fn tidy_up(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut more = true;
        while more && !stop.is_cancelled() {
            let mut tx = self.0.store.write().await?;
            more = store::space::give_back(&mut tx).await?;
            store::commit(tx).await?;
            tokio::task::yield_now().await;
        }
        self.0.store.checkpoint().await
    }
}

/// What goes by rules of its own.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Incidents,
    Snapshots,
    Notifications,
    Changes,
    Mitigations,
    Audit,
    Baselines,
    FirstSeen,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Incidents,
        Self::Snapshots,
        Self::Notifications,
        Self::Changes,
        Self::Mitigations,
        Self::Audit,
        Self::Baselines,
        Self::FirstSeen,
    ];
}
