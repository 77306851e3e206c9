//! What `max_connections` of a server means: 0 and below mean different things in different versions.

use crate::diagnose::version::Version;

/// The limit of a server that names none, in every version.
pub(super) const DEFAULT_LIMIT: u64 = 65_536;

/// The last version that was seen to take 0 for the default and −1 for no limit.
const LAST_LENIENT: Version = Version::new(2, 11, 11);

/// The first version that was seen to refuse everybody at 0 and below; versions of 2.13 and later ones follow it.
const FIRST_STRICT: Version = Version::new(2, 12, 8);

/// What `max_connections` of a server means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionLimit {
    /// So many clients are let in.
    At(u64),
    /// Everybody is let in.
    Without,
    /// Nobody is let in.
    Nobody,
    /// What the number means in this version is not known.
    Unknown(i64),
    /// The server does not say.
    Untold,
}

impl ConnectionLimit {
    /// Reads the limit of a server of a version.
    pub(super) fn of(max_connections: Option<i64>, version: Option<Version>) -> Self {
        let Some(max_connections) = max_connections else { return Self::Untold };
        match u64::try_from(max_connections) {
            Ok(limit) if limit > 0 => return Self::At(limit),
            _ => {}
        }
        match version {
            Some(version) if version <= LAST_LENIENT && max_connections == 0 => Self::At(DEFAULT_LIMIT),
            Some(version) if version <= LAST_LENIENT && max_connections == -1 => Self::Without,
            Some(version) if version >= FIRST_STRICT => Self::Nobody,
            _ => Self::Unknown(max_connections),
        }
    }

    /// How many clients are let in, if there is a number to it.
    pub(super) fn clients(self) -> Option<u64> {
        match self {
            Self::At(limit) => Some(limit),
            Self::Nobody => Some(0),
            Self::Without | Self::Unknown(_) | Self::Untold => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zero_and_below_mean_depends_on_the_version() {
        let old = Some(Version::new(2, 11, 11));
        let between = Some(Version::new(2, 12, 7));
        let new = Some(Version::new(2, 12, 8));
        let cases = [
            (Some(1), None, ConnectionLimit::At(1)),
            (Some(0), old, ConnectionLimit::At(65_536)),
            (Some(-1), old, ConnectionLimit::Without),
            (Some(-2), old, ConnectionLimit::Unknown(-2)),
            (Some(0), between, ConnectionLimit::Unknown(0)),
            (Some(0), None, ConnectionLimit::Unknown(0)),
            (Some(0), new, ConnectionLimit::Nobody),
            (Some(-1), Some(Version::new(2, 15, 1)), ConnectionLimit::Nobody),
            (None, new, ConnectionLimit::Untold),
        ];
        for (max_connections, version, limit) in cases {
            assert_eq!(
                ConnectionLimit::of(max_connections, version),
                limit,
                "{max_connections:?} {version:?}"
            );
        }
    }
}
