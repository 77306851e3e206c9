//! The integration tests: one binary, one file per feature, one harness.
//!
//! They run real `nats-server` and Alertmanager processes on loopback (`make tools` fetches them), and a real browser
//! (`make browser`). A fake stands in only for what a real one cannot be made to do: garbage, hanging, lying.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod access;
mod acts;
mod apis;
mod architecture;
mod backup;
mod baseline;
mod changes;
mod closed;
mod clusters;
mod config;
mod containers;
mod crash;
mod demo;
mod diagnoses;
mod doctor;
mod durability;
mod end_to_end;
mod false_resolve;
mod ha;
mod harness;
mod hostile;
mod incidents;
mod inspect;
mod intake;
mod library;
mod lifecycle;
mod log_evidence;
mod management;
mod metrics_evidence;
mod mitigations;
mod observation_faults;
mod openapi;
mod owners;
mod properties;
mod recommendations;
mod reconcile;
mod recovery;
mod retention;
mod reverse_dns;
mod screenshots;
mod sequences;
mod serve;
mod sharing;
mod starts;
mod torture;
mod ui;
mod users;
mod vitals;

mod storms;
#[path = "../swarm/swarm.rs"]
mod swarm;
mod system_account;
