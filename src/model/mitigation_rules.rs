//! How mitigations go about their work: what stops them, and how fast they are.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::guard::GuardSettings;

/// What stops mitigations, and how fast they are.
#[derive(Debug, Clone, PartialEq)]
pub struct MitigationSettings {
    /// Whether mitigations may run at all. Nothing runs by itself either way.
    pub enabled: bool,
    /// From when on guards block.
    pub guards: GuardSettings,
    /// How fast a run is.
    pub pace: Pace,
    /// While this file is there nothing runs; its first line is the reason.
    pub pause_file: Option<PathBuf>,
}

/// How fast a run is, and when its effect is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// So many victims at a time.
    pub batch: u32,
    /// How long to wait after each batch.
    pub batch_pause: Duration,
    /// How long those that were asked to leave may take before they are cut.
    pub drain_wait: Duration,
    /// How long after a run its effect is looked at: one look for each, in ascending order.
    pub verify_after: Vec<Duration>,
}

impl Default for MitigationSettings {
    fn default() -> Self {
        Self { enabled: true, guards: GuardSettings::default(), pace: Pace::default(), pause_file: None }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            batch: 10,
            batch_pause: Duration::from_secs(2),
            drain_wait: Duration::from_secs(30),
            verify_after: [5, 30, 120, 600].map(Duration::from_secs).to_vec(),
        }
    }
}
