//! Rises: which level still belongs to the time before one.
//!
//! Who compares with the last healthy sample and who measures a growth look for the foot of a rise in their own way: the
//! one below a threshold, the other in the shortest span that has a rise. What a foot is, they both ask here.

/// The part of a rise, in percent, that is not worth speaking of.
const FOOT: u64 = 10;

/// Whether hardly anything of the rise from `quiet` to `height` has happened at `level`: a tenth of it at the most.
pub fn is_foot(level: u64, quiet: u64, height: u64) -> bool {
    level.saturating_sub(quiet).saturating_mul(100) <= height.saturating_sub(quiet).saturating_mul(FOOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_a_rise_is_its_foot_and_more_is_not() {
        assert!(is_foot(110, 100, 200) && !is_foot(111, 100, 200));
        assert!(is_foot(90, 100, 200), "below what is quiet");
        assert!(is_foot(100, 100, 100) && !is_foot(101, 100, 100), "of no rise, only what is not above it");
    }
}
