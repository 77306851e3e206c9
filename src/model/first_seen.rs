//! First seen: when an application, an address or whatever else connections share was there for the first time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When something was first seen in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FirstSeen {
    /// When the first look began that saw it.
    pub at: Timestamp,
    /// When the last look before that began that would have seen it; `None` if there was none: it may have been there
    /// ever since.
    pub not_seen_at: Option<Timestamp>,
}
