//! How long what is over is kept.

use std::time::Duration;

use super::{scalar, section::Section};
use crate::model::retention::{Keep, Retention};

/// Below this age, what is needed to recognise a repetition would be gone before it comes.
const SHORTEST: Duration = Duration::from_secs(86_400);

pub(super) fn read(section: &Section<'_>) -> Retention {
    let default = Retention::default();
    Retention {
        incidents: read_keep(&section.section("incidents"), default.incidents),
        notifications: read_keep(&section.section("notifications"), default.notifications),
        snapshots: read_keep(&section.section("snapshots"), default.snapshots),
        changes: read_keep(&section.section("changes"), default.changes),
        mitigations: read_keep(&section.section("mitigations"), default.mitigations),
        audit: read_keep(&section.section("audit"), default.audit),
    }
}

fn read_keep(section: &Section<'_>, default: Keep) -> Keep {
    let age = |text: &str| match scalar::parse_duration(text)? {
        age if age < SHORTEST => Err(format!("must be at least 1d, found {}", scalar::quoted(text))),
        age => Ok(age),
    };
    Keep {
        age: section.value("age", age).unwrap_or(default.age),
        count: section.value("count", scalar::count).unwrap_or(default.count),
    }
}
