//! connwarden: an Alertmanager receiver that says who holds the connections of your NATS servers.
//!
//! The modules read like the story: Alertmanager posts ([`alertmanager`], [`http`]), an incident is stored
//! ([`model`], [`store`], [`engine`]), a durable job ([`jobs`]) looks at the NATS servers ([`nats`], [`observe`]), and
//! anyone can read who it is ([`http`], [`cli`]). `docs/architecture.md` draws it.

pub mod alertmanager;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod diagnose;
pub mod engine;
pub mod http;
pub mod jobs;
pub mod logs;
pub mod mitigate;
pub mod model;
pub mod nats;
pub mod observe;
pub mod outgoing;
pub mod prometheus;
pub mod store;
pub mod telemetry;
