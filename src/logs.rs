//! Logs of NATS servers: files and Loki, and what their lines say.
//!
//! A line is whatever a client made the server write: names, users and garbage in it are text from strangers. What a line
//! says is therefore read from where the server itself begins to speak, never from anywhere in it.

mod kind;
mod line;

pub mod file;
pub mod loki;
pub mod tally;
