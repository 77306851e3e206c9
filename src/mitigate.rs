//! Mitigations: what can be done to connections, and what must hold before it is.

pub mod probe;
