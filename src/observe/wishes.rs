//! Wishes: what a look is to tell, so that nobody pays for what nobody wants.

use crate::model::breakdown::By;

/// What a look is to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// What to count connections by.
    pub by: Vec<By>,
    /// Whether the servers are asked for their closed connections too, before anything else: a storm flushes what
    /// they remember of them within seconds.
    pub closed: bool,
    /// Whether it is counted when the connections began, of all and of the largest groups of the dimensions that
    /// [tell](By::tells_starts) it.
    pub starts: bool,
}

impl Wishes {
    /// Connections counted by each of `by`, and nothing else.
    pub fn by(by: &[By]) -> Self {
        Self { by: by.to_vec(), ..Self::default() }
    }

    /// All there is to know, for an incident.
    pub fn everything() -> Self {
        Self { by: By::standard(), closed: true, starts: true }
    }

    /// Whether who wishes for this gets what `other` wishes for.
    pub fn include(&self, other: &Self) -> bool {
        other.by.iter().all(|by| self.by.contains(by))
            && self.closed >= other.closed
            && self.starts >= other.starts
    }

    /// Wishes for what `other` wishes for too.
    pub fn absorb(&mut self, other: &Self) {
        let more = other.by.iter().filter(|by| !self.by.contains(by));
        let more: Vec<By> = more.copied().collect();
        self.by.extend(more);
        self.closed |= other.closed;
        self.starts |= other.starts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_wishes_together_include_both() {
        let cross = Wishes::by(&By::parse_list("account/ip").unwrap());
        let mut both = Wishes::everything();
        assert!(!both.include(&cross) && !cross.include(&both));
        both.absorb(&cross);
        assert!(both.include(&cross) && both.include(&Wishes::everything()));
        assert_eq!(both.by.len(), By::standard().len() + 1);
    }
}
