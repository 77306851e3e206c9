//! What a stranger's server says, before it gets into an error, an entry or the log.

use crate::model::printable::visible;

/// How much is repeated, in characters.
const LONGEST: usize = 200;

/// Cuts a text to one short line in which nothing is hidden.
pub fn excerpt(text: &str) -> String {
    let mut characters = text.chars();
    let kept: String = characters.by_ref().take(LONGEST).collect();
    let mut excerpt = visible(&kept).into_owned();
    if characters.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_is_one_short_line() {
        assert_eq!(excerpt("nats-1"), "nats-1");
        assert_eq!(excerpt("a\nlevel=info b\u{1b}[2J"), r"a\nlevel=info b\u{1b}[2J");
        assert_eq!(excerpt(&"x".repeat(200)), "x".repeat(200));
        assert_eq!(excerpt(&"é".repeat(1 << 20)), format!("{}…", "é".repeat(200)));
    }
}
