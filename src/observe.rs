//! Looking at a cluster: a sweep of all its servers becomes a [`Snapshot`](crate::model::snapshot::Snapshot).
//!
//! Connections are counted while the bytes arrive and never collected: memory grows with the number of groups,
//! and that is bounded too. What was not seen is part of the result.

pub mod addresses;
pub mod closed;
pub mod instant;
pub mod keys;
pub mod picks;
pub mod roster;
pub mod sweep;
pub mod tally;
pub mod users;
pub mod wishes;
