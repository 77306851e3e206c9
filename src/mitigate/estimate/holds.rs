//! Whether something holds, as far as that is known.

/// Whether something holds of the connections of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holds {
    /// Of none of them.
    No,
    /// That is not known.
    Maybe,
    /// Of each of them.
    Yes,
}

impl Holds {
    /// Whether two things hold together.
    pub(super) fn and(self, other: Self) -> Self {
        self.min(other)
    }
}
