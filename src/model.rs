//! The domain, pure: no I/O, no SQL, no HTTP, no clock.
//!
//! Everything here is a value or a rule about values. Wire formats stay in their adapters and are
//! converted at the edge, so a change of a NATS or Alertmanager version never reaches this module.

pub mod alert;
pub mod application;
pub mod breakdown;
pub mod capability;
pub mod change;
pub mod closed;
pub mod comparison;
pub mod credential;
pub mod diagnosis;
pub mod diagnosis_rules;
pub mod endpoint;
pub mod entry;
pub mod evidence;
pub mod first_seen;
pub mod guard;
pub mod headline;
pub mod history;
pub mod ids;
pub mod incident;
pub mod journal;
pub mod labels;
pub mod log_evidence;
pub mod log_source;
pub mod mapping;
pub mod markdown;
pub mod matcher;
pub mod member;
pub mod mitigation;
pub mod mitigation_look;
pub mod mitigation_rules;
pub mod notification;
pub mod owner;
pub mod pattern;
pub mod pause;
pub mod picking;
pub mod plan;
pub mod precedent;
pub mod printable;
pub mod protection;
pub mod remote_auth;
pub mod retention;
pub mod rise;
pub mod sampling;
pub mod selector;
pub mod server;
pub mod server_run;
pub mod snapshot;
pub mod starts;
pub mod system_account;
pub mod threshold;
pub mod truth;
pub mod victim;
pub mod vitals;
