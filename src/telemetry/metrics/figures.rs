//! What others have counted, for the metrics to show.

use std::time::Duration;

/// What a look at a cluster has shown.
#[derive(Debug)]
pub struct LookFigures<'a> {
    /// The cluster's configured name.
    pub cluster: &'a str,
    /// When it began, in seconds since 1970.
    pub began_at_seconds: f64,
    /// How long it took.
    pub took: Duration,
    /// How much was read, in bytes.
    pub bytes: u64,
    /// Connections seen.
    pub seen: u64,
    /// Connections there were.
    pub total: u64,
    /// Whether every server answered in full.
    pub complete: bool,
}

/// What is counted in the store.
#[derive(Debug)]
pub struct StoreFigures {
    /// Unresolved incidents by state; all states, also those without any.
    pub unresolved: Vec<(&'static str, u64)>,
    /// Jobs that wait or run; all kinds, also those without any.
    pub jobs: Vec<JobFigures>,
    /// How mitigations stand in each configured cluster.
    pub mitigations: Vec<MitigationFigures>,
}

/// How mitigations stand in a cluster.
#[derive(Debug, Clone)]
pub struct MitigationFigures {
    /// The cluster's configured name.
    pub cluster: String,
    /// Whether one runs.
    pub running: bool,
    /// Whether none may run now: by a person, by the pause file, or by the configuration.
    pub paused: bool,
}

/// The jobs of one kind.
#[derive(Debug, Clone)]
pub struct JobFigures {
    /// What kind of work it is.
    pub kind: &'static str,
    /// How many wait or run.
    pub queued: u64,
    /// How long the oldest has been due; nothing if none is.
    pub due_for: Duration,
}
