//! What connwarden says of itself: logs, and metrics in Prometheus' manner.

pub mod logs;
pub mod metrics;
