//! Public ids: UUID v7, so that they sort by the time at which they were made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::printable::excerpt;

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not the id of {of}: those are like 019b8d7a-3c1e-7d04-8a5b-2f6e8d9c0b1a", excerpt(.text))]
pub struct NotAnId {
    of: &'static str,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $of:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "String")]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self).map_err(|_| NotAnId { of: $of, text: text.to_owned() })
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    };
}

id! {
    /// Names one incident, from first firing to resolved.
    IncidentId, "an incident"
}

id! {
    /// Names one accepted webhook POST.
    NotificationId, "a notification"
}

id! {
    /// Names one stored look at a cluster.
    SnapshotId, "a look"
}

id! {
    /// Names one mitigation.
    MitigationId, "a mitigation"
}

id! {
    /// Names one change that was told of or seen.
    ChangeId, "a change"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_and_read_as_text_and_what_is_none_is_named() {
        let id: IncidentId = "019b8d7a-3c1e-7d04-8a5b-2f6e8d9c0b1a".parse().unwrap();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"019b8d7a-3c1e-7d04-8a5b-2f6e8d9c0b1a\"");
        assert_eq!(serde_json::from_str::<IncidentId>(&json).unwrap(), id);

        let refused = "a\u{1b}[2Jb".parse::<NotificationId>().unwrap_err().to_string();
        let like = "those are like 019b8d7a-3c1e-7d04-8a5b-2f6e8d9c0b1a";
        assert_eq!(refused, format!("`a\\u{{1b}}[2Jb` is not the id of a notification: {like}"));
        let refused = serde_json::from_str::<SnapshotId>("\"latest\"").unwrap_err().to_string();
        assert!(refused.starts_with(&format!("`latest` is not the id of a look: {like}")), "{refused}");
    }
}
