//! The integration tests: one binary, one file per feature, one harness.
//!
//! They run real `nats-server` and Alertmanager processes on loopback (`make tools` fetches them), and a real browser
//! (`make browser`). A fake stands in only for what a real one cannot be made to do: garbage, hanging, lying.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod config;
mod harness;
mod incidents;
mod screenshots;
mod ui;

#[path = "../swarm/swarm.rs"]
mod swarm;
