//! Versions of nats-server, as far as they behave differently.

use std::fmt;

/// A version of nats-server, such as 2.10.26. What follows the numbers is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) patch: u32,
}

impl Version {
    /// A version by its numbers.
    pub(super) const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads `2.10.26`, `v2.10.26` or `2.12.0-RC.1`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let numbers = text.trim().trim_start_matches('v');
        let numbers = numbers.split(['-', '+']).next()?;
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        let version = Self::new(parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(version)
    }

    /// The release line, such as 2.10.
    pub(super) fn line(self) -> (u32, u32) {
        (self.major, self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_are_read() {
        assert_eq!(Version::parse("2.10.26"), Some(Version::new(2, 10, 26)));
        assert_eq!(Version::parse("v2.12.0-RC.1"), Some(Version::new(2, 12, 0)));
        for text in ["", "2", "2.10", "2.10.x", "2.10.26.1", "-1.2.3", "99999999999.1.1"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert!(Version::new(2, 9, 10) < Version::new(2, 10, 0));
    }
}
