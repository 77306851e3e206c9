//! Retention: how long what is over is kept.

use std::time::Duration;

/// How long each kind of record is kept. What an unresolved incident needs is kept in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Incidents, since they were resolved, with everything that belongs to them.
    pub incidents: Keep,
    /// Notifications, since they were last received.
    pub notifications: Keep,
    /// Snapshots of resolved incidents, since they were taken.
    pub snapshots: Keep,
    /// Changes, since they happened.
    pub changes: Keep,
    /// Mitigations without an incident, since they ended; the others go with their incident.
    pub mitigations: Keep,
    /// Acts in the audit log, since they were done.
    pub audit: Keep,
}

/// How much of a kind is kept: what is older goes, and of more than this the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// How long.
    pub age: Duration,
    /// How many.
    pub count: u64,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            incidents: Keep { age: DAY * 90, count: 10_000 },
            notifications: Keep { age: DAY * 30, count: 100_000 },
            snapshots: Keep { age: DAY * 30, count: 5000 },
            changes: Keep { age: DAY * 90, count: 10_000 },
            mitigations: Keep { age: DAY * 90, count: 10_000 },
            audit: Keep { age: DAY * 366, count: 100_000 },
        }
    }
}
