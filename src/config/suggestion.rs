//! What somebody who mistyped a word probably meant.

/// Finds the one of `words` that `typed` was meant to be, if one is close enough.
pub(super) fn closest<'w>(typed: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let typed = normalized(typed);
    words
        .into_iter()
        .filter_map(|word| Some((distance_to(&typed, &normalized(word))?, word)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Returns `, did you mean …?`, or nothing.
pub(super) fn did_you_mean<'w>(typed: &str, words: impl IntoIterator<Item = &'w str>) -> String {
    closest(typed, words).map_or_else(String::new, |word| format!(", did you mean `{word}`?"))
}

fn normalized(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(64).collect()
}

/// Counts the edits between two words; none if they are too far apart to be the same.
fn distance_to(typed: &str, word: &str) -> Option<usize> {
    let shorter = typed.len().min(word.len());
    if shorter >= 4 && (typed.starts_with(word) || word.starts_with(typed)) {
        return Some(1);
    }
    let (typed_length, word_length) = (typed.chars().count(), word.chars().count());
    let allowed = (word_length / 3).max(1);
    if typed_length.abs_diff(word_length) > allowed {
        return None;
    }
    let distance = edits(typed, word);
    (distance <= allowed).then_some(distance)
}

/// Counts insertions, deletions, substitutions and swaps of neighbours.
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substitution = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_words_are_recognized() {
        let words = ["monitor", "match", "name", "metric_prefix", "server_labels", "basic_auth"];
        for (typed, meant) in [
            ("monitors", Some("monitor")),
            ("montior", Some("monitor")),
            ("matchers", Some("match")),
            ("Name", Some("name")),
            ("nmae", Some("name")),
            ("metricPrefix", Some("metric_prefix")),
            ("metric-prefix", Some("metric_prefix")),
            ("basic-auth", Some("basic_auth")),
            ("labels", None),
            ("url", None),
            ("", None),
        ] {
            assert_eq!(closest(typed, words), meant, "{typed}");
        }
    }
}
